/* board.h: what the reactors last said of themselves, for whoever looks from another thread: metrics, health,
 * a dashboard. A reactor puts up something new now and then and is never stopped by those who read. */
#ifndef TIDEMILL_STATS_BOARD_H
#define TIDEMILL_STATS_BOARD_H

#include <stdbool.h>
#include <stddef.h>

#include "stats/sheet.h"

struct board;

struct board *board_new(size_t places); /* one for each reactor, and whoever else puts something up */
void board_free(struct board *board);   /* NULL is allowed */

/* From any thread. Takes the sheet. */
void board_put(struct board *board, size_t place, struct sheet *sheet);

/* All sheets together; to be freed with sheet_fini. Sorted by metric and labels. */
struct sheet board_read(struct board *board);

/* ---- why not all is well ---- */

/* Whoever is at the place is not ready, and why: sentences with a line break behind each. "": it is. */
void board_put_reasons(struct board *board, size_t place, const char *reasons);

/* Those of all places, each once, likewise; one where nothing was put yet has a reason, too. To be freed. */
char *board_read_reasons(struct board *board);

/* ---- does everything turn? ---- */

/* The reactor at the place turns. `now_ms`: monotonic. */
void board_turned(struct board *board, size_t place, int64_t now_ms);

/* How long the one has not that has not for the longest time, of those that have at all. */
int64_t board_silent_ms(const struct board *board, int64_t now_ms);

#endif
