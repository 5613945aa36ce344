/* index_reads.c: see index_reads.h. */
#include "local/operations/index_reads.h"

#include <stdlib.h>
#include <string.h>

bool index_holds(const struct table *table, const struct index *index, struct text name)
{
    if (!index || index->projection == PROJECT_ALL || key_has(&index->key, name) ||
        key_has(&table->key, name))
        return true;
    for (size_t i = 0; i < index->included_count; i++)
        if (text_equal(index->included[i], name))
            return true;
    return false;
}

static int compare_names(const void *a, const void *b)
{
    const struct text *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* False and a fault that names each that is missing once, in their order. */
static bool holds_all(struct call *call, const struct table *table, const struct index *index,
                      struct text *names, size_t count, bool filter)
{
    struct buf missing = BUF_INIT;
    if (count)
        qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++)
        if (!index_holds(table, index, names[i]) && (i == 0 || !text_equal(names[i - 1], names[i])))
            buf_printf(&missing, "%s%.*s", missing.size ? ", " : "", (int)names[i].size, names[i].data);
    bool all = !missing.size;
    if (!all && filter)
        fault_invalid(call->fault,
                      "One or more parameter values were invalid: Secondary index %s does not project one or "
                      "more filter attributes: [%s]",
                      index->name, missing.data);
    else if (!all)
        fault_invalid(call->fault,
                      "One or more parameter values were invalid: Global secondary index %s does not project "
                      "[%s]",
                      index->name, missing.data);
    buf_fini(&missing);
    return all;
}

bool index_holds_projection(struct call *call, const struct table *table, const struct index *index,
                            const struct projection *projection)
{
    if (!projection || !index || !index->global)
        return true;
    struct text *names = arena_alloc(call->arena, projection->count * sizeof *names + 1);
    for (size_t i = 0; i < projection->count; i++)
        names[i] = projection->paths[i].steps[0].name;
    return holds_all(call, table, index, names, projection->count, false);
}

static size_t count_paths(const struct expr *expr)
{
    size_t count = expr->kind == EXPR_PATH;
    for (const struct expr *part = expr->first; part; part = part->next)
        count += count_paths(part);
    return count;
}

static void collect_names(const struct expr *expr, struct text *names, size_t *count)
{
    if (expr->kind == EXPR_PATH)
        names[(*count)++] = expr->path.steps[0].name;
    for (const struct expr *part = expr->first; part; part = part->next)
        collect_names(part, names, count);
}

bool index_holds_filter(struct call *call, const struct table *table, const struct index *index,
                        const struct expr *filter, bool any)
{
    size_t count = 0;
    if (!filter || !index || (!index->global && !any))
        return true;
    struct text *names = arena_alloc(call->arena, count_paths(filter) * sizeof *names + 1);
    collect_names(filter, names, &count);
    return holds_all(call, table, index, names, count, true);
}
