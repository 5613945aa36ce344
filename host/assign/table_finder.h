/* table_finder.h: which tables there are for a [stream] that names many, by patterns or a tag; asked anew
 * once in a while. Private to assign/. */
#ifndef TIDEMILL_ASSIGN_TABLE_FINDER_H
#define TIDEMILL_ASSIGN_TABLE_FINDER_H

#include "aws/client.h"
#include "base/map.h"
#include "conf/config.h"
#include "state/troubles.h"

struct table_finder;

struct table_finder_options {
    struct reactor *reactor;
    struct aws_client *client;
    struct log *log;
    const char *subject;                /* "stream orders" */
    const struct config_stream *stream; /* must stay */
    struct troubles *troubles;          /* or NULL */
};

/* All were looked at: `wanted` and `others` have the names of those that there are. From the reactor; it may
 * not free the finder. */
typedef void table_finder_fn(void *user, const struct map *wanted, const struct map *others);

struct table_finder *table_finder_new(const struct table_finder_options *options, table_finder_fn *listed,
                                      void *user);
void table_finder_free(struct table_finder *finder); /* NULL is allowed */

#endif
