/* overview.h: what the dashboard shows at a glance, as JSON whose size does not grow with shards: of each
 * handler and stream the sums and the worst. */
#ifndef TIDEMILL_ADMIN_OVERVIEW_H
#define TIDEMILL_ADMIN_OVERVIEW_H

#include "admin/status.h"
#include "stats/sheet.h"

/* `sheet`: of the running host's board. `playground`: whoever looks may change something. */
void overview_write(const struct status *status, const struct sheet *sheet, bool playground, struct buf *out);

/* Shards, those furthest behind first, at most `limit`, whose name, stream or owner has `match` in it (NULL:
 * all), with their handlers. */
void overview_write_shards(const struct status *status, const char *match, size_t limit, struct buf *out);

#endif
