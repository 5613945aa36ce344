/* lanes.c: see lanes.h. */
#include "dispatch/lanes.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

struct lane {
    struct list ready; /* in lanes.ready, or empty */
    struct lane *next_pooled;
    uint64_t item;
    size_t count;
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
        free(lanes->slots[i].lane);
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
    CHECK(lanes->count < lanes->capacity); /* or the search has no end */
    while (lanes->slots[at].lane && lanes->slots[at].item != item)
        at = (at + 1) & (lanes->capacity - 1);
    return at;
}

static void grow(struct lanes *lanes)
{
    struct lane_slot *old = lanes->slots;
    size_t old_capacity = lanes->capacity;
    lanes->capacity = old_capacity ? old_capacity * 2 : 64;
    lanes->slots = mem_zero(lanes->capacity * sizeof *lanes->slots);
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].lane)
            lanes->slots[slot_of(lanes, old[i].item)] = old[i];
    free(old);
}

static struct lane *lane_new(struct lanes *lanes, uint64_t item)
{
    struct lane *lane = lanes->pool;
    CHECK(!lane || !lane->head);
    if (lane)
        lanes->pool = lane->next_pooled;
    else
        lane = mem_alloc(sizeof *lane);
    list_init(&lane->ready);
    lane->item = item;
    lane->count = 0;
    lane->head = NULL;
    lane->end = &lane->head;
    return lane;
}

static void remove_lane(struct lanes *lanes, struct lane *lane)
{
    size_t mask = lanes->capacity - 1, hole = slot_of(lanes, lane->item);
    CHECK(lanes->slots[hole].lane == lane && !lane->head && !lane->count && list_empty(&lane->ready));
    lanes->slots[hole].lane = NULL;
    lanes->count--;
    for (size_t at = (hole + 1) & mask; lanes->slots[at].lane; at = (at + 1) & mask) {
        size_t home = lanes->slots[at].item & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            lanes->slots[hole] = lanes->slots[at];
            lanes->slots[at].lane = NULL;
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
    struct lane *lane = lanes->slots[at].lane;
    if (!lane) {
        lane = lane_new(lanes, item);
        lanes->slots[at] = (struct lane_slot){item, lane};
        lanes->count++;
        list_append(&lanes->ready, &lane->ready);
    }
    CHECK(!*lane->end);
    *entry = (struct lane_entry){.lane = lane};
    *lane->end = entry;
    lane->end = &entry->next;
    lanes->over += ++lane->count == lanes->count_max;
}

bool lanes_have(const struct lanes *lanes, uint64_t item)
{
    return lanes->count && lanes->slots[slot_of(lanes, item)].lane;
}

void lanes_add_taken(struct lanes *lanes, struct lane_entry *entry, uint64_t item)
{
    CHECK(!lanes_have(lanes, item));
    lanes_add(lanes, entry, item);
    list_remove(&entry->lane->ready);
    entry->taken = true;
}

struct lane_entry *lanes_peek(const struct lanes *lanes)
{
    return list_empty(&lanes->ready) ? NULL : list_entry(lanes->ready.next, struct lane, ready)->head;
}

struct lane_entry *lanes_next(struct lanes *lanes)
{
    struct lane_entry *entry = lanes_peek(lanes);
    if (!entry)
        return NULL;
    CHECK(!entry->taken && entry->lane->head == entry);
    list_remove(&entry->lane->ready);
    entry->taken = true;
    return entry;
}

struct lane_entry *lanes_next_behind(struct lane_entry *entry)
{
    CHECK(entry->taken && entry->lane);
    if (!entry->next)
        return NULL;
    CHECK(!entry->next->taken);
    entry->next->taken = true;
    return entry->next;
}

bool lanes_is_head(const struct lane_entry *entry)
{
    CHECK(entry->lane);
    return entry->lane->head == entry;
}

static void leave(struct lanes *lanes, struct lane *lane, struct lane_entry *entry)
{
    CHECK(lane->count > 0 && (lane->count != lanes->count_max || lanes->over > 0));
    lanes->over -= lane->count-- == lanes->count_max;
    entry->lane = NULL;
}

void lanes_done(struct lanes *lanes, struct lane_entry *entry)
{
    struct lane *lane = entry->lane;
    CHECK(lane->head == entry && entry->taken && list_empty(&lane->ready));
    lane->head = entry->next;
    leave(lanes, lane, entry);
    if (!lane->head)
        remove_lane(lanes, lane);
    else if (!lane->head->taken)
        list_append(&lanes->ready, &lane->ready);
}

void lanes_put_back(struct lanes *lanes, struct lane_entry *entry)
{
    CHECK(entry->taken && entry->lane);
    entry->taken = false;
    if (!lanes_is_head(entry))
        return;
    CHECK(list_empty(&entry->lane->ready));
    list_append(&lanes->ready, &entry->lane->ready);
}

void lanes_cut(struct lanes *lanes, struct lane_entry *entry)
{
    struct lane *lane = entry->lane;
    struct lane_entry **at = &lane->head;
    CHECK(!entry->taken);
    while (*at != entry) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = NULL;
    lane->end = at;
    for (struct lane_entry *gone = entry, *next; gone; gone = next) {
        next = gone->next;
        CHECK(!gone->taken && gone->lane == lane);
        leave(lanes, lane, gone);
    }
    if (!lane->head) {
        list_remove(&lane->ready);
        remove_lane(lanes, lane);
    }
}
