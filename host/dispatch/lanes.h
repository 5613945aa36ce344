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
    struct lane *lane;       /* NULL: in none */
    bool taken;              /* given out and not put back */
};

struct lane_slot {
    uint64_t item;
    struct lane *lane; /* NULL: free */
};

struct lanes {
    struct lane_slot *slots; /* by item, open addressing */
    size_t capacity, count;
    size_t count_max;  /* entries of one item that are too many; 0: no such bound */
    size_t over;       /* lanes that hold so many */
    struct list ready; /* lanes whose head may start */
    struct lane *pool;
};

void lanes_init(struct lanes *lanes);
void lanes_fini(struct lanes *lanes);

/* At the end of the item's lane; ready at once when it is alone. */
void lanes_add(struct lanes *lanes, struct lane_entry *entry, uint64_t item);

/* Is there a lane of that item? */
bool lanes_have(const struct lanes *lanes, uint64_t item);

/* The head of a new lane, taken already; there is none of its item. */
void lanes_add_taken(struct lanes *lanes, struct lane_entry *entry, uint64_t item);

/* The next entry that may start, or NULL; it is taken now. lanes_peek only looks. */
struct lane_entry *lanes_next(struct lanes *lanes);
struct lane_entry *lanes_peek(const struct lanes *lanes);

/* Take the one behind a taken entry as well, for whoever runs both together; NULL when there is none. */
struct lane_entry *lanes_next_behind(struct lane_entry *entry);

/* Is everything before the entry in its lane done with? */
bool lanes_is_head(const struct lane_entry *entry);

/* The head of its lane is done with: the one behind it becomes ready, unless it is taken already. */
void lanes_done(struct lanes *lanes, struct lane_entry *entry);

/* A taken entry is not run after all: it waits for its turn again. */
void lanes_put_back(struct lanes *lanes, struct lane_entry *entry);

/* Drop the entry, which is not taken, and all behind it in its lane. */
void lanes_cut(struct lanes *lanes, struct lane_entry *entry);

#endif
