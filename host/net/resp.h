/* resp.h: words and lists as Redis's protocol writes them, which is also how requests to PostgreSQL and their
 * answers pass the transport seam.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2) */
#ifndef TIDEMILL_NET_RESP_H
#define TIDEMILL_NET_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

void resp_add_list(struct buf *out, size_t count); /* as many follow */
void resp_add_word(struct buf *out, const char *text, size_t size);
void resp_add_text(struct buf *out, const char *text); /* NULL: nil */
void resp_add_integer(struct buf *out, int64_t number);

/* Of what these have written, so that it is well-formed: lists and words alone. */
struct resp {
    const char *at, *end;
};

bool resp_has_more(const struct resp *resp);
size_t resp_take_list(struct resp *resp);                    /* how many follow */
const char *resp_take_word(struct resp *resp, size_t *size); /* within the text; NULL: nil */

#endif
