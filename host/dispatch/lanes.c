/* lanes.c: see lanes.h. */
#include "dispatch/lanes.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

struct lane {
    struct list ready; /* in lanes.ready, or empty */
    struct lane *next_pooled;
    uint64_t item;
    struct lane_entry *head, **end;
};

void lanes_init(struct lanes *lanes)
{
    *lanes = (struct lanes){0};
    list_init(&lanes->ready);
}

void lanes_fini(struct lanes *lanes)
{
    for (size_t i = 0; i < lanes->capacity; i++)
        free(lanes->slots[i]);
    for (struct lane *lane = lanes->pool, *next; lane; lane = next) {
        next = lane->next_pooled;
        free(lane);
    }
    free(lanes->slots);
}

/* Items are hashes already. */
static size_t slot_of(const struct lanes *lanes, uint64_t item)
{
    size_t at = item & (lanes->capacity - 1);
    while (lanes->slots[at] && lanes->slots[at]->item != item)
        at = (at + 1) & (lanes->capacity - 1);
    return at;
}

static void grow(struct lanes *lanes)
{
    struct lane **old = lanes->slots;
    size_t old_capacity = lanes->capacity;
    lanes->capacity = old_capacity ? old_capacity * 2 : 64;
    lanes->slots = mem_zero(lanes->capacity * sizeof *lanes->slots);
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i])
            lanes->slots[slot_of(lanes, old[i]->item)] = old[i];
    free(old);
}

static struct lane *lane_new(struct lanes *lanes, uint64_t item)
{
    struct lane *lane = lanes->pool;
    if (lane)
        lanes->pool = lane->next_pooled;
    else
        lane = mem_alloc(sizeof *lane);
    list_init(&lane->ready);
    lane->item = item;
    lane->head = NULL;
    lane->end = &lane->head;
    return lane;
}

static void remove_lane(struct lanes *lanes, struct lane *lane)
{
    size_t mask = lanes->capacity - 1, hole = slot_of(lanes, lane->item);
    lanes->slots[hole] = NULL;
    lanes->count--;
    for (size_t at = (hole + 1) & mask; lanes->slots[at]; at = (at + 1) & mask) {
        size_t home = lanes->slots[at]->item & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            lanes->slots[hole] = lanes->slots[at];
            lanes->slots[at] = NULL;
            hole = at;
        }
    }
    lane->next_pooled = lanes->pool;
    lanes->pool = lane;
}

void lanes_add(struct lanes *lanes, struct lane_entry *entry, uint64_t item)
{
    if ((lanes->count + 1) * 4 > lanes->capacity * 3)
        grow(lanes);
    size_t at = slot_of(lanes, item);
    struct lane *lane = lanes->slots[at];
    if (!lane) {
        lane = lanes->slots[at] = lane_new(lanes, item);
        lanes->count++;
        list_append(&lanes->ready, &lane->ready);
    }
    entry->next = NULL;
    entry->lane = lane;
    *lane->end = entry;
    lane->end = &entry->next;
}

struct lane_entry *lanes_next(struct lanes *lanes)
{
    if (list_empty(&lanes->ready))
        return NULL;
    struct lane *lane = list_entry(lanes->ready.next, struct lane, ready);
    list_remove(&lane->ready);
    return lane->head;
}

void lanes_done(struct lanes *lanes, struct lane_entry *entry)
{
    struct lane *lane = entry->lane;
    assert(lane->head == entry && list_empty(&lane->ready));
    lane->head = entry->next;
    entry->lane = NULL;
    if (lane->head)
        list_append(&lanes->ready, &lane->ready);
    else
        remove_lane(lanes, lane);
}
