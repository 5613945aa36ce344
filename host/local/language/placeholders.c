/* placeholders.c: ExpressionAttributeNames and ExpressionAttributeValues: checked before any expression is.
 */
#include <string.h>

#include "local/language/expression_parser.h"

static bool valid_key(const struct json *member, char sign)
{
    if (member->key_size < 2 || member->key[0] != sign)
        return false;
    for (size_t i = 1; i < member->key_size; i++) {
        char c = member->key[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'))
            return false;
    }
    return true;
}

static bool begin(const struct json *members, const char *parameter, char sign, bool expressions,
                  struct fault *fault)
{
    if (!expressions)
        return fault_invalid(fault, "%s can only be specified when using expressions", parameter);
    if (!members->child)
        return fault_invalid(fault, "%s must not be empty", parameter);
    json_each(member, members)
        if (!valid_key(member, sign))
            return fault_invalid(fault, "%s contains invalid key: Syntax error; key: \"%.*s\"", parameter,
                                 (int)member->key_size, member->key);
    return true;
}

static bool read_names(struct placeholders *p, const struct json *names)
{
    p->names = arena_alloc(p->arena, names->count * sizeof *p->names);
    json_each(member, names) {
        if (member->type != JSON_STRING)
            return fault_set(p->fault, "SerializationException",
                             "NUMBER_VALUE cannot be converted to String");
        if (!member->size)
            return fault_invalid(
                p->fault,
                "ExpressionAttributeNames contains invalid value: Empty attribute name for key %.*s",
                (int)member->key_size, member->key);
        p->names[p->name_count++] = (struct placeholder){.key = {member->key, member->key_size},
                                                         .name = {member->text, member->size}};
    }
    return true;
}

static bool read_values(struct placeholders *p, const struct json *values)
{
    struct fault inner = {0};
    p->values = arena_alloc(p->arena, values->count * sizeof *p->values);
    json_each(member, values) {
        struct attr *value = attr_read(p->arena, member, &inner);
        if (!value) {
            if (strcmp(inner.type, "ValidationException") == 0)
                fault_invalid(p->fault, "ExpressionAttributeValues contains invalid value: %s for key %.*s",
                              inner.message.data, (int)member->key_size, member->key);
            else
                fault_set(p->fault, inner.type, "%s", inner.message.data);
            fault_fini(&inner);
            return false;
        }
        p->values[p->value_count++] =
            (struct placeholder){.key = {member->key, member->key_size}, .value = value};
    }
    return true;
}

bool placeholders_read(struct placeholders *placeholders, struct arena *arena, const struct json *names,
                       const struct json *values, bool expressions, struct fault *fault)
{
    *placeholders = (struct placeholders){.arena = arena, .fault = fault};
    if (names && names->type == JSON_NULL)
        names = NULL;
    if (values && values->type == JSON_NULL)
        values = NULL;
    if ((names && names->type != JSON_OBJECT) || (values && values->type != JSON_OBJECT))
        return fault_set(fault, "SerializationException", "Unexpected value type in payload");
    if (names && !begin(names, "ExpressionAttributeNames", '#', expressions, fault))
        return false;
    if (values && !begin(values, "ExpressionAttributeValues", ':', expressions, fault))
        return false;
    return (!names || read_names(placeholders, names)) && (!values || read_values(placeholders, values));
}

static bool all_used(const struct placeholder *list, size_t count, const char *parameter, struct fault *fault)
{
    struct buf unused = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        if (!list[i].used)
            buf_printf(&unused, "%s%.*s", unused.size ? ", " : "", (int)list[i].key.size, list[i].key.data);
    if (unused.size)
        fault_invalid(fault, "Value provided in %s unused in expressions: keys: {%s}", parameter,
                      unused.data);
    bool all = !unused.size;
    buf_fini(&unused);
    return all;
}

bool placeholders_all_used(struct placeholders *placeholders)
{
    return all_used(placeholders->names, placeholders->name_count, "ExpressionAttributeNames",
                    placeholders->fault) &&
           all_used(placeholders->values, placeholders->value_count, "ExpressionAttributeValues",
                    placeholders->fault);
}
