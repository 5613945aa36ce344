/* board.h: what the reactors last said of their numbers, for whoever looks from another thread: metrics, a
 * dashboard. A reactor puts up a new sheet now and then and is never stopped by those who read. */
#ifndef TIDEMILL_STATS_BOARD_H
#define TIDEMILL_STATS_BOARD_H

#include <stddef.h>

#include "stats/sheet.h"

struct board;

struct board *board_new(size_t places); /* one for each reactor */
void board_free(struct board *board);   /* NULL is allowed */

/* From any thread. Takes the sheet. */
void board_put(struct board *board, size_t place, struct sheet *sheet);

/* All sheets together; to be freed with sheet_fini. Sorted by metric and labels. */
struct sheet board_read(struct board *board);

#endif
