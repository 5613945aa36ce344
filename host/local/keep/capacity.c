/* capacity.c: what reading and writing costs, as the service counts it. */
#include <math.h>
#include <string.h>

#include "local/keep/call.h"

struct capacity capacity_new(struct call *call, const struct table *table)
{
    struct capacity capacity = {.table = table,
                                .indexes = arena_alloc(call->arena, table->index_count * sizeof(double) + 1)};
    for (size_t i = 0; i < table->index_count; i++)
        capacity.indexes[i] = 0;
    return capacity;
}

static double write_units(size_t bytes)
{
    return bytes <= 1024 ? 1 : ceil((double)bytes / 1024);
}

double read_units(size_t bytes, bool consistent)
{
    double units = bytes <= 4096 ? 1 : ceil((double)bytes / 4096);
    return consistent ? units : units / 2;
}

void capacity_write_item(struct capacity *capacity, const struct attr *before, const struct attr *after,
                         int factor)
{
    size_t old = before ? attr_item_size(before) : 0, new = after ? attr_item_size(after) : 0;
    double units = write_units(old > new ? old : new) * factor;
    capacity->units += units;
    capacity->any = true;
    for (size_t i = 0; i < capacity->table->index_count; i++) {
        struct arena arena = ARENA_INIT;
        struct row_key was, is;
        const struct key_schema *key = &capacity->table->indexes[i].key;
        bool had = before && key_of(&arena, key, before, &was),
             has = after && key_of(&arena, key, after, &is);
        bool moved = had && has && !same_key(was, is);
        if (had || has)
            capacity->indexes[i] += had && has && attr_equal(before, after) ? 0 : moved ? 2 * units : units;
        arena_fini(&arena);
    }
}

enum { CAPACITY_NONE, CAPACITY_TOTAL, CAPACITY_INDEXES };

static size_t mode_of(const struct call *call)
{
    static const char *const choices[] = {"NONE", "TOTAL", "INDEXES", NULL};
    return call_choice(call, "ReturnConsumedCapacity", choices);
}

static void write_index_units(struct buf *out, const struct capacity *capacity, bool global)
{
    bool any = false;
    for (size_t i = 0; i < capacity->table->index_count; i++) {
        if (capacity->table->indexes[i].global != global || capacity->indexes[i] == 0)
            continue;
        buf_printf(out, any ? ",\"%s\":{\"CapacityUnits\":%.1f}" : ",\"%sSecondaryIndexes\":{",
                   any      ? capacity->table->indexes[i].name
                   : global ? "Global"
                            : "Local",
                   capacity->indexes[i]);
        if (!any)
            buf_printf(out, "\"%s\":{\"CapacityUnits\":%.1f}", capacity->table->indexes[i].name,
                       capacity->indexes[i]);
        any = true;
    }
    if (any)
        buf_add_char(out, '}');
}

/* As the request names it:
 * https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ConsumedCapacity.html
 */
static struct text name_in(const struct call *call, const struct table *table)
{
    for (const struct named_by_arn *named = *call->by_arn; named; named = named->next)
        if (named->table == table)
            return named->arn;
    return (struct text){table->name, strlen(table->name)};
}

static void write_capacity(const struct call *call, const struct capacity *capacity, bool indexes)
{
    struct buf *out = call->out;
    struct text name = name_in(call, capacity->table);
    double total = capacity->units;
    for (size_t i = 0; i < capacity->table->index_count; i++)
        total += capacity->indexes[i];
    buf_add_text(out, "{\"TableName\":");
    json_write_string(out, name.data, name.size);
    buf_printf(out, ",\"CapacityUnits\":%.1f", total);
    if (indexes) {
        buf_printf(out, ",\"Table\":{\"CapacityUnits\":%.1f}", capacity->units);
        write_index_units(out, capacity, false);
        write_index_units(out, capacity, true);
    }
    buf_add_char(out, '}');
}

void call_write_capacity(struct call *call, const struct capacity *capacity, bool first)
{
    size_t mode = mode_of(call);
    if (mode == CAPACITY_NONE)
        return;
    buf_add_text(call->out, first ? "\"ConsumedCapacity\":" : ",\"ConsumedCapacity\":");
    write_capacity(call, capacity, mode == CAPACITY_INDEXES);
}

struct capacities capacities_new(struct call *call, size_t most)
{
    return (struct capacities){.call = call,
                               .list = arena_alloc(call->arena, most * sizeof(struct capacity) + 1)};
}

struct capacity *capacities_of(struct capacities *capacities, const struct table *table)
{
    for (size_t i = 0; i < capacities->count; i++)
        if (capacities->list[i].table == table)
            return &capacities->list[i];
    capacities->list[capacities->count] = capacity_new(capacities->call, table);
    return &capacities->list[capacities->count++];
}

bool call_write_capacities(const struct capacities *capacities, bool first)
{
    struct buf *out = capacities->call->out;
    size_t mode = mode_of(capacities->call);
    if (mode == CAPACITY_NONE || !capacities->count)
        return false;
    buf_add_text(out, first ? "\"ConsumedCapacity\":[" : ",\"ConsumedCapacity\":[");
    for (size_t i = 0; i < capacities->count; i++) {
        buf_add_text(out, i ? "," : "");
        write_capacity(capacities->call, &capacities->list[i], mode == CAPACITY_INDEXES);
    }
    buf_add_char(out, ']');
    return true;
}
