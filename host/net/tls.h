/* tls.h: TLS of a client over a socket that does not block. Certificates and names are always verified; TLS
 * 1.2 is the oldest that is spoken. */
#ifndef TIDEMILL_NET_TLS_H
#define TIDEMILL_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct tls_context; /* whom to trust; of one thread */
struct tls;
struct tls_session; /* what makes the next handshake with the same server a short one */

enum tls_result {
    TLS_DONE,
    TLS_WANTS_READ,  /* call again once the socket may be read ... */
    TLS_WANTS_WRITE, /* ... or written */
    TLS_CLOSED,      /* in order, from there */
    TLS_FAILED,      /* `err` says why */
};

/* `ca_bundle`: a PEM file instead of the authorities that libcurl knows; NULL: those. */
struct tls_context *tls_context_new(const char *ca_bundle, struct err *err);
void tls_context_free(struct tls_context *context); /* NULL is allowed; what was opened with it lives on */

/* `host`: a name, or an address. `fd` stays the caller's, and must stay until tls_free. `session` may be
 * NULL. */
struct tls *tls_open(struct tls_context *context, int fd, const char *host,
                     const struct tls_session *session);
enum tls_result tls_handshake(struct tls *tls, struct err *err);
enum tls_result tls_read(struct tls *tls, char *bytes, size_t size, size_t *got, struct err *err);

/* After TLS_WANTS_... the same bytes are to be given again, perhaps from another place. */
enum tls_result tls_write(struct tls *tls, const char *bytes, size_t size, size_t *put, struct err *err);

/* To be freed; NULL: this server gave none. Best after an answer was read: TLS 1.3 hands it out late. */
struct tls_session *tls_session_of(const struct tls *tls);
void tls_session_free(struct tls_session *session);

/* Says good-bye where the socket takes it at once. NULL is allowed. */
void tls_free(struct tls *tls);

#endif
