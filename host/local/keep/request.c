/* request.c: members of a request, with the service's words for what is wrong with them. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "local/keep/call.h"

const struct json *call_member(const struct call *call, const char *name)
{
    const struct json *member = json_get(call->request, name);
    return member && member->type != JSON_NULL ? member : NULL;
}

bool call_text(struct call *call, const char *name, struct text *text)
{
    const struct json *member = call_member(call, name);
    *text = (struct text){NULL, 0};
    if (!member)
        return true;
    if (member->type != JSON_STRING)
        return fault_set(call->fault, "SerializationException", "%s: a string expected", name);
    *text = (struct text){member->text, member->size};
    return true;
}

bool call_flag(const struct call *call, const char *name)
{
    const struct json *member = call_member(call, name);
    return member && member->type == JSON_TRUE;
}

const char *lower_first(struct arena *arena, const char *name)
{
    char *copy = arena_copy(arena, name, strlen(name));
    *copy = (char)tolower((unsigned char)*copy);
    return copy;
}

bool call_required(struct call *call, const char *name)
{
    return call_member(call, name) != NULL ||
           fault_invalid(
               call->fault,
               "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must "
               "not be null",
               lower_first(call->arena, name));
}

int call_choice(struct call *call, const char *name, const char *const *choices)
{
    struct text text;
    struct buf all = BUF_INIT;
    if (!call_text(call, name, &text))
        return -1;
    if (!text.data)
        return 0;
    for (int i = 0; choices[i]; i++)
        if (text_is(text, choices[i], strlen(choices[i])))
            return i;
    for (int i = 0; choices[i]; i++)
        if (*choices[i]) /* an empty one stands for none */
            buf_printf(&all, "%s%s", all.size ? ", " : "", choices[i]);
    fault_invalid(
        call->fault,
        "1 validation error detected: Value '%.*s' at '%s' failed to satisfy constraint: Member must satisfy "
        "enum value set: [%s]",
        (int)text.size, text.data, lower_first(call->arena, name), all.data);
    buf_fini(&all);
    return -1;
}

bool valid_name(struct text name)
{
    if (name.size < 3 || name.size > 255)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (!isalnum((unsigned char)name.data[i]) && !strchr("_-.", name.data[i]))
            return false;
    return true;
}

/* A name may also be given as the table's ARN. */
static struct text name_of(struct text name)
{
    const char *slash =
        name.size > 4 && memcmp(name.data, "arn:", 4) == 0 ? memchr(name.data, '/', name.size) : NULL;
    return slash ? (struct text){slash + 1, (size_t)(name.data + name.size - slash - 1)} : name;
}

struct table *find_table(struct call *call, struct text text)
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
    if (!table)
        fault_set(call->fault, "ResourceNotFoundException", "Requested resource not found");
    return table;
}

struct table *call_table(struct call *call)
{
    struct text name;
    if (!call_required(call, "TableName") || !call_text(call, "TableName", &name))
        return NULL;
    return find_table(call, name);
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
