/* request.c: members of a request, with the service's words for what is wrong with them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "local/keep/call.h"

const struct json *call_member(const struct call *call, const char *name)
{
    const struct json *member = json_get(call->request, name);
    return member && member->type != JSON_NULL ? member : NULL;
}

struct text call_text(const struct call *call, const char *name)
{
    const struct json *member = call_member(call, name);
    return member && member->type == JSON_STRING ? (struct text){member->text, member->size}
                                                 : (struct text){NULL, 0};
}

bool call_flag(const struct call *call, const char *name)
{
    const struct json *member = call_member(call, name);
    return member && member->type == JSON_TRUE;
}

size_t call_choice(const struct call *call, const char *name, const char *const *choices)
{
    const struct json *member = call_member(call, name);
    for (size_t i = 0; member && choices[i]; i++)
        if (json_string_is(member, choices[i]))
            return i;
    return 0;
}

/* ---- lists ---- */

struct named {
    struct text name;
    const struct json *element;
    size_t at;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *left = a, *right = b;
    size_t size = left->name.size < right->name.size ? left->name.size : right->name.size;
    int order = size ? memcmp(left->name.data, right->name.data, size) : 0;
    if (order == 0 && left->name.size != right->name.size)
        order = left->name.size < right->name.size ? -1 : 1;
    return order != 0 ? order : left->at < right->at ? -1 : 1;
}

const struct json *call_duplicate(struct call *call, const struct json *list,
                                  struct text (*name_of)(const struct json *element))
{
    struct named *all = arena_alloc(call->arena, ((list ? list->count : 0) + 1) * sizeof *all), *first = NULL;
    size_t count = 0;
    json_each(element, list) {
        all[count] = (struct named){name_of(element), element, count};
        count++;
    }
    qsort(all, count, sizeof *all, compare_named);
    for (size_t i = 1; i < count; i++)
        if (text_equal(all[i - 1].name, all[i].name) && (!first || all[i].at < first->at))
            first = &all[i];
    return first ? first->element : NULL;
}

/* ---- tables ---- */

/* A name may also be given as the table's ARN. */
static struct text name_of(struct text name)
{
    const char *slash =
        name.size > 4 && memcmp(name.data, "arn:", 4) == 0 ? memchr(name.data, '/', name.size) : NULL;
    return slash ? (struct text){slash + 1, (size_t)(name.data + name.size - slash - 1)} : name;
}

static struct table *look_up(struct call *call, struct text text)
{
    struct text name = name_of(text);
    struct table *table = NULL;
    if (name.size < 3 || name.size > 255) {
        fault_invalid(call->fault,
                      "Invalid table/index name.  Table/index names must be between 3 and 255 characters "
                      "long, and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'");
        return NULL;
    }
    if (!memchr(name.data, '\0', name.size)) {
        char *key = mem_copy(name.data, name.size);
        table = map_get(&call->engine->tables, key);
        free(key);
    }
    if (table && name.data != text.data && call->by_arn) {
        struct named_by_arn *named = arena_alloc(call->arena, sizeof *named);
        *named = (struct named_by_arn){*call->by_arn, table, text};
        *call->by_arn = named;
    }
    return table;
}

struct table *find_table(struct call *call, struct text name)
{
    struct table *table = look_up(call, name);
    if (table && (!table->busy || strcmp(table->busy, "UPDATING") == 0))
        return table;
    fault_set(call->fault, "ResourceNotFoundException", "Requested resource not found");
    return NULL;
}

struct table *find_any_table(struct call *call, struct text text)
{
    struct table *table = look_up(call, text);
    struct text name = name_of(text);
    if (!table)
        fault_set(call->fault, "ResourceNotFoundException",
                  "Requested resource not found: Table: %.*s not found", (int)name.size, name.data);
    return table;
}

bool table_is_idle(struct call *call, const struct table *table)
{
    return !table->busy ||
           fault_set(call->fault, "ResourceInUseException",
                     "Attempt to change a resource which is still in use: Table is being %s: %s",
                     strcmp(table->busy, "CREATING") == 0   ? "created"
                     : strcmp(table->busy, "UPDATING") == 0 ? "updated"
                                                            : "deleted",
                     table->name);
}

bool index_is_filled(struct call *call, const struct index *index)
{
    return !index->filling ||
           fault_invalid(call->fault, "Cannot read from backfilling global secondary index: %s", index->name);
}

struct table *call_table(struct call *call)
{
    return find_table(call, call_text(call, "TableName"));
}

struct table *call_any_table(struct call *call)
{
    return find_any_table(call, call_text(call, "TableName"));
}

static void list_members(const struct call *call, const char *const *names, struct buf *out)
{
    for (size_t i = 0; names[i]; i++)
        if (call_member(call, names[i]))
            buf_printf(out, "%s%s", out->size ? ", " : "", names[i]);
}

bool call_not_both(struct call *call, const char *const *legacy, const char *const *expressions)
{
    struct buf old = BUF_INIT, new = BUF_INIT;
    list_members(call, legacy, &old);
    list_members(call, expressions, &new);
    bool both = old.size && new.size;
    if (both)
        fault_invalid(
            call->fault,
            "Can not use both expression and non-expression parameters in the same request: Non-expression "
            "parameters: {%s} Expression parameters: {%s}",
            old.data, new.data);
    buf_fini(&old);
    buf_fini(&new);
    return !both;
}
