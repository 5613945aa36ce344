/* lanes.h: who may run now, when records of one item must not overlap.
 *
 * A lane is the queue of one item's records; its head is the only one of them that may run. Lanes exist only
 * while they hold something. */
#ifndef TIDEMILL_DISPATCH_LANES_H
#define TIDEMILL_DISPATCH_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct lane;

/* Inside its owner, one per record. */
struct lane_entry {
    struct lane_entry *next; /* behind it in the lane */
    struct lane *lane;
};

struct lanes {
    struct lane **slots; /* by item, open addressing */
    size_t capacity, count;
    struct list ready; /* lanes whose head may start */
    struct lane *pool;
};

void lanes_init(struct lanes *lanes);
void lanes_fini(struct lanes *lanes);

/* At the end of the item's lane; ready at once when it is alone. */
void lanes_add(struct lanes *lanes, struct lane_entry *entry, uint64_t item);

/* The next entry that may start, or NULL. It keeps its lane until lanes_done. */
struct lane_entry *lanes_next(struct lanes *lanes);

/* The head of its lane is done with: the one behind it becomes ready. */
void lanes_done(struct lanes *lanes, struct lane_entry *entry);

#endif
