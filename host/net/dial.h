/* dial.h: a TCP connection to the first of several addresses that takes it. */
#ifndef TIDEMILL_NET_DIAL_H
#define TIDEMILL_NET_DIAL_H

#include "net/resolve.h"

struct dial;

/* `fd` is the receiver's, does not block, and leads to `address`; or it is below 0, and `problem` is the
 * errno of the last address tried (EMFILE, ENFILE: no descriptor was to be had). */
typedef void dial_fn(void *user, int fd, const struct address *address, int problem);

struct dial_options {
    struct addresses addresses;
    long abrupt_ms; /* closing resets, and what is not acknowledged for so long is dropped; 0: as usual */
};

/* The next address is tried when one has failed, or has not answered for a quarter of a second; the others'
 * attempts go on meanwhile (RFC 8305, section 5). Never answers from inside of this call. */
struct dial *dial(struct reactor *reactor, const struct dial_options *options, dial_fn *done, void *user);
void dial_cancel(struct dial *dial); /* the answer will not come; not after it came */

#endif
