/* validate.c: first the types, as the service reads them out of JSON, then what the shapes allow. */
#include "local/model/validate.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/hash.h"

#define PROBLEMS_MAX 10
#define NAME_MAX_CHARS 255
#define NAME_MIN_CHARS 3
#define ARN_MAX_CHARS 1024

static bool is_attribute(const struct shape *shape)
{
    return strcmp(shape->name, "AttributeValue") == 0;
}

static const struct json *given(const struct json *structure, const char *name)
{
    const struct json *member = json_get(structure, name);
    return member && member->type != JSON_NULL ? member : NULL;
}

/* ---- types ---- */

static const char *const kind_names[] = {
    [SHAPE_STRING] = "String", [SHAPE_BOOLEAN] = "Boolean", [SHAPE_INTEGER] = "Integer",
    [SHAPE_LONG] = "Long",     [SHAPE_DOUBLE] = "Double",
};

static bool serialization(struct fault *fault, const char *problem)
{
    return fault_set(fault, "SerializationException", "%s", problem);
}

static bool wrong_scalar(struct fault *fault, const struct json *json, const struct shape *shape)
{
    static const char *const tokens[] = {
        [JSON_FALSE] = "FALSE_VALUE",
        [JSON_TRUE] = "TRUE_VALUE",
        [JSON_NUMBER] = "NUMBER_VALUE",
        [JSON_STRING] = "STRING_VALUE",
    };
    if (json->type == JSON_OBJECT)
        return serialization(fault, "Start of structure or map found where not expected");
    if (json->type == JSON_ARRAY)
        return fault_set(fault, "SerializationException", "Unrecognized collection type class java.%s%s",
                         shape->kind == SHAPE_BLOB ? "nio." : "lang.",
                         shape->kind == SHAPE_BLOB ? "ByteBuffer" : kind_names[shape->kind]);
    if (shape->kind == SHAPE_BLOB)
        return serialization(fault, "only base-64-encoded strings are convertible to bytes");
    if (shape->kind == SHAPE_BOOLEAN && json->type == JSON_STRING)
        return serialization(fault, "Unexpected token received from parser");
    const char *token = json->type == JSON_NUMBER && memchr(json->text, '.', json->size) ? "DECIMAL_VALUE"
                                                                                         : tokens[json->type];
    return fault_set(fault, "SerializationException", "%s cannot be converted to %s", token,
                     kind_names[shape->kind]);
}

static bool wrong_container(struct fault *fault, const struct json *json, const struct shape *shape)
{
    if (json->type == JSON_OBJECT)
        return serialization(fault, "Start of structure or map found where not expected");
    if (json->type != JSON_ARRAY)
        return serialization(fault, "Unexpected field type");
    if (shape->kind == SHAPE_STRUCTURE)
        return fault_set(fault, "SerializationException",
                         "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.%s",
                         shape->name);
    bool scalar = shape->value->kind == SHAPE_STRING;
    return fault_set(
        fault, "SerializationException", "Unrecognized collection type java.util.Map<java.lang.String, %s%s>",
        scalar ? "java.lang." : "com.amazonaws.dynamodb.v20120810.", scalar ? "String" : shape->value->name);
}

static bool types_fit(const struct json *json, const struct shape *shape, struct fault *fault);

/* A structure's member that is null was not said: nobody behind here meets it. */
static void drop_nulls(const struct json *structure)
{
    struct json *owner = (struct json *)structure; /* the tree is the request's own */
    for (const struct json **link = &owner->child; *link;) {
        struct json *member = (struct json *)*link;
        if (member->type == JSON_NULL) {
            *link = member->next;
            owner->count--;
        } else {
            link = &member->next;
        }
    }
}

static bool members_fit(const struct json *json, const struct shape *shape, struct fault *fault)
{
    drop_nulls(json);
    json_each(member, json) {
        const struct shape_member *known = shape->members;
        while (known->name && !json_key_is(member, known->name))
            known++;
        if (known->name && !types_fit(member, known->shape, fault))
            return false;
    }
    return true;
}

static bool types_fit(const struct json *json, const struct shape *shape, struct fault *fault)
{
    bool list = shape->kind == SHAPE_LIST, number = false, text = false, truth = false;
    if (json->type == JSON_NULL)
        return true;
    switch (shape->kind) {
    case SHAPE_LIST:
    case SHAPE_MAP:
        if (json->type != (list ? JSON_ARRAY : JSON_OBJECT))
            return wrong_container(fault, json, shape);
        json_each(element, json)
            if (!types_fit(element, shape->value, fault))
                return false;
        return true;
    case SHAPE_STRUCTURE:
        return json->type == JSON_OBJECT ? members_fit(json, shape, fault)
                                         : wrong_container(fault, json, shape);
    case SHAPE_STRING:
    case SHAPE_BLOB:
        text = true;
        break;
    case SHAPE_BOOLEAN:
        truth = true;
        break;
    default:
        number = true;
    }
    bool fits = (text && json->type == JSON_STRING) || (number && json->type == JSON_NUMBER) ||
                (truth && (json->type == JSON_TRUE || json->type == JSON_FALSE));
    return fits || wrong_scalar(fault, json, shape);
}

/* ---- what the service quotes: as Java writes it ---- */

static void quote(struct buf *out, const struct json *json, const struct shape *shape)
{
    if (!json || json->type == JSON_NULL) {
        buf_add_literal(out, "null");
    } else if (shape->kind == SHAPE_LIST) {
        buf_add_char(out, '[');
        json_each(element, json) {
            buf_add_text(out, element == json->child ? "" : ", ");
            quote(out, element, shape->value);
        }
        buf_add_char(out, ']');
    } else if (shape->kind == SHAPE_MAP) {
        buf_add_char(out, '{');
        json_each(element, json) {
            buf_add_text(out, element == json->child ? "" : ", ");
            buf_add(out, element->key, element->key_size);
            buf_add_char(out, '=');
            quote(out, element, shape->value);
        }
        buf_add_char(out, '}');
    } else if (is_attribute(shape)) {
        uint64_t hash = hash_bytes(json->text, json->size, 0);
        buf_printf(out, "com.amazonaws.dynamodb.v20120810.AttributeValue@%08" PRIx32, (uint32_t)hash);
    } else if (shape->kind == SHAPE_STRUCTURE) {
        buf_printf(out, "%s(", shape->name);
        for (const struct shape_member *member = shape->members; member->name; member++) {
            buf_printf(out, "%s%c%s=", member == shape->members ? "" : ", ",
                       tolower((unsigned char)*member->name), member->name + 1);
            quote(out, given(json, member->name), member->shape);
        }
        buf_add_char(out, ')');
    } else {
        buf_add(out, json->text, json->size);
    }
}

/* ---- what the shapes allow ---- */

/* Where in the request: a member of a structure, an element of a list (from 1) or of a map. */
struct place {
    const struct place *up; /* NULL: a member of the request itself */
    const char *name;       /* NULL: an element */
    struct {
        const char *data;
        size_t size;
    } key; /* of a map's element */
    size_t number;
    unsigned flags;
};

struct problem {
    struct buf text;
    bool alone;
};

struct check {
    struct problem problems[PROBLEMS_MAX];
    size_t count;
    bool missing; /* a required member of the request itself */
};

static void write_place(struct buf *out, const struct place *place, bool as_sent)
{
    if (place->up)
        write_place(out, place->up, as_sent);
    if (place->name) {
        int first = (unsigned char)*place->name;
        buf_printf(out, "%s%c%s", place->up ? "." : "", as_sent ? first : tolower(first), place->name + 1);
    } else if (place->key.data) {
        buf_add_char(out, '.');
        buf_add(out, place->key.data, place->key.size);
        buf_add_literal(out, ".member");
    } else {
        buf_printf(out, ".%zu.member", place->number);
    }
}

/* Begins a problem; NULL: there are enough. The caller writes the constraint. */
static struct buf *problem_with(struct check *check, const struct place *place, const struct json *json,
                                const struct shape *shape, bool generic)
{
    if (check->count == PROBLEMS_MAX)
        return NULL;
    struct problem *problem = &check->problems[check->count++];
    bool empty_name = shape->name_or_arn && json && !json->size;
    problem->alone = !place->up && (empty_name || (place->flags & MEMBER_ALONE));
    struct buf *out = &problem->text;
    buf_add_literal(out, "Value ");
    if (!generic) {
        buf_add_text(out, json ? "'" : "null");
        if (json && (place->flags & MEMBER_AS_JSON))
            json_write_value(out, json);
        else if (json)
            quote(out, json, shape);
        buf_add_text(out, json ? "' " : " ");
    }
    buf_add_literal(out, "at '");
    write_place(out, place, generic);
    buf_add_literal(out, "' failed to satisfy constraint: ");
    return out;
}

/* The length as Java counts: UTF-16's units. */
static int64_t characters(const char *text, size_t size)
{
    int64_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80 ? 1 + ((unsigned char)text[i] >= 0xf0) : 0;
    return count;
}

static bool in_set(const char *set, const char *end, char wanted)
{
    for (; set < end; set++) {
        if (set + 2 < end && set[1] == '-') {
            if (wanted >= set[0] && wanted <= set[2])
                return true;
            set += 2;
        } else if (*set == wanted) {
            return true;
        }
    }
    return false;
}

/* "[a-z]+", the only kind that shapes.c has. */
static bool matches(const char *pattern, const char *text, size_t size)
{
    const char *end = strrchr(pattern, ']');
    for (size_t i = 0; i < size; i++)
        if (!in_set(pattern + 1, end, text[i]))
            return false;
    return size > 0;
}

struct bounds {
    int64_t min, max;
    bool has_min, has_max;
    const char *pattern;
};

static struct bounds bounds_of(const struct shape *shape, const char *text, size_t size)
{
    struct bounds bounds = {shape->min, shape->max, shape->has_min, shape->has_max, shape->pattern};
    if (!shape->name_or_arn)
        return bounds;
    bool arn = size >= 4 && memcmp(text, "arn:", 4) == 0;
    bounds.has_min = bounds.has_max = true;
    bounds.min = size ? NAME_MIN_CHARS : 1;
    bounds.max = arn ? ARN_MAX_CHARS : NAME_MAX_CHARS;
    bounds.pattern = arn || !size ? NULL : shape->pattern;
    return bounds;
}

static const char *measure_of(const struct shape *shape)
{
    return shape->kind >= SHAPE_INTEGER && shape->kind <= SHAPE_DOUBLE ? "value" : "length";
}

static void write_at_most(struct buf *out, const struct shape *shape, int64_t max)
{
    buf_printf(out, "Member must have %s less than or equal to %" PRId64, measure_of(shape), max);
}

static void write_at_least(struct buf *out, const struct shape *shape, int64_t min)
{
    buf_printf(out, "Member must have %s greater than or equal to %" PRId64, measure_of(shape), min);
}

static void write_choice(struct buf *out, const struct shape *shape)
{
    buf_add_literal(out, "Member must satisfy enum value set: [");
    for (size_t i = 0; shape->values[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : "", shape->values[i]);
    buf_add_char(out, ']');
}

static bool is_choice(const struct shape *shape, const char *text, size_t size)
{
    for (size_t i = 0; shape->values[i]; i++)
        if (strlen(shape->values[i]) == size && memcmp(shape->values[i], text, size) == 0)
            return true;
    return false;
}

static int64_t measure(const struct json *json, const struct shape *shape)
{
    switch (shape->kind) {
    case SHAPE_STRING:
        return characters(json->text, json->size);
    case SHAPE_LIST:
    case SHAPE_MAP:
        return json->count;
    default:
        return json_int64(json, 0);
    }
}

/* A value by itself, without what is within. */
static void check_bounds(struct check *check, const struct place *place, const struct json *json,
                         const struct shape *shape)
{
    bool text = shape->kind == SHAPE_STRING, generic = place->flags & MEMBER_GENERIC;
    struct bounds bounds = bounds_of(shape, text ? json->text : "", text ? json->size : 0);
    int64_t size = measure(json, shape);
    struct buf *out;
    if (shape->values && !is_choice(shape, json->text, json->size) &&
        (out = problem_with(check, place, json, shape, false)))
        write_choice(out, shape);
    if (bounds.has_max && size > bounds.max && (out = problem_with(check, place, json, shape, generic)))
        write_at_most(out, shape, bounds.max);
    if (bounds.has_min && size < bounds.min && (out = problem_with(check, place, json, shape, generic)))
        write_at_least(out, shape, bounds.min);
    if (bounds.pattern && !matches(bounds.pattern, json->text, json->size) &&
        (out = problem_with(check, place, json, shape, false)))
        buf_printf(out, "Member must satisfy regular expression pattern: %s", bounds.pattern);
}

static void write_separator(struct buf *out)
{
    buf_add_text(out, out->data[out->size - 1] == '[' ? "" : ", ");
}

/* "[Member must ..., Member must ...]": all that such a shape asks for. */
static void write_constraints(struct buf *out, const struct shape *shape)
{
    struct bounds bounds = bounds_of(shape, "x", 1);
    buf_add_char(out, '[');
    if (shape->values)
        write_choice(out, shape);
    if (bounds.has_max) {
        write_separator(out);
        write_at_most(out, shape, bounds.max);
    }
    if (bounds.has_min) {
        write_separator(out);
        write_at_least(out, shape, bounds.min);
    }
    if (bounds.pattern) {
        write_separator(out);
        buf_printf(out, "Member must satisfy regular expression pattern: %s", bounds.pattern);
    }
    buf_add_char(out, ']');
}

static bool key_fits(const struct json *element, const struct shape *shape)
{
    struct bounds bounds = bounds_of(shape, element->key, element->key_size);
    int64_t size = characters(element->key, element->key_size);
    return (!bounds.has_max || size <= bounds.max) && (!bounds.has_min || size >= bounds.min) &&
           (!bounds.pattern || matches(bounds.pattern, element->key, element->key_size));
}

static bool element_fits(const struct json *element, const struct shape *shape)
{
    int64_t size = measure(element, shape);
    return element->type == JSON_NULL ||
           ((!shape->has_max || size <= shape->max) && (!shape->has_min || size >= shape->min) &&
            (!shape->values || is_choice(shape, element->text, element->size)) &&
            (!shape->pattern || matches(shape->pattern, element->text, element->size)));
}

/* What is wrong with a map's keys, or with its elements where they are no structures, is told of the map. */
static void check_entries(struct check *check, const struct place *place, const struct json *map,
                          const struct shape *shape)
{
    bool keys = true, elements = true;
    struct buf *out;
    json_each(element, map) {
        keys = keys && key_fits(element, shape->key);
        elements = elements && (shape->value->kind == SHAPE_STRUCTURE || element_fits(element, shape->value));
    }
    if (!keys && (out = problem_with(check, place, map, shape, false))) {
        buf_add_literal(out, "Map keys must satisfy constraint: ");
        write_constraints(out, shape->key);
    }
    if (!elements && (out = problem_with(check, place, map, shape, false))) {
        buf_add_literal(out, "Map value must satisfy constraint: ");
        write_constraints(out, shape->value);
    }
}

static void check_within(struct check *check, const struct place *place, const struct json *json,
                         const struct shape *shape);

static void check_value(struct check *check, const struct place *place, const struct json *json,
                        const struct shape *shape)
{
    check_bounds(check, place, json, shape);
    check_within(check, place, json, shape);
}

static void check_missing(struct check *check, const struct place *place, const struct shape *shape)
{
    struct buf *out = problem_with(check, place, NULL, shape, false);
    if (out)
        buf_add_literal(out, "Member must not be null");
}

static void check_members(struct check *check, const struct place *up, const struct json *json,
                          const struct shape *shape, bool later)
{
    for (const struct shape_member *member = shape->members; member->name; member++) {
        const struct json *value = given(json, member->name);
        const struct place place = {.up = up, .name = member->name, .flags = member->flags};
        if (!!(member->flags & MEMBER_LATER) != later && !up)
            continue;
        if (value)
            check_value(check, &place, value, member->shape);
        else if (member->flags & MEMBER_REQUIRED)
            check_missing(check, &place, member->shape);
        check->missing |= !up && !value && (member->flags & MEMBER_REQUIRED);
    }
}

static void check_within(struct check *check, const struct place *place, const struct json *json,
                         const struct shape *shape)
{
    struct place within = {.up = place};
    bool attributes = (shape->kind == SHAPE_LIST || shape->kind == SHAPE_MAP) && is_attribute(shape->value);
    if (shape->kind == SHAPE_MAP)
        check_entries(check, place, json, shape);
    if (attributes) /* what a value may be is said where it is read */
        return;
    if (shape->kind == SHAPE_STRUCTURE && !is_attribute(shape))
        check_members(check, place, json, shape, false);
    if (shape->kind != SHAPE_LIST && shape->kind != SHAPE_MAP)
        return;
    json_each(element, json) {
        within.number++;
        within.key.data = shape->kind == SHAPE_MAP ? element->key : NULL;
        within.key.size = element->key_size;
        if (element->type == JSON_NULL)
            check_missing(check, &within, shape->value);
        else if (shape->kind == SHAPE_LIST)
            check_value(check, &within, element, shape->value);
        else
            check_within(check, &within, element, shape->value);
    }
}

/* ---- all of it ---- */

static bool report(const struct check *check, struct fault *fault)
{
    const struct problem *alone = NULL;
    for (size_t i = 0; i < check->count && !check->missing && !alone; i++)
        alone = check->problems[i].alone ? &check->problems[i] : NULL;
    size_t count = alone ? 1 : check->count;
    if (!count)
        return true;
    fault_invalid(fault, "%zu validation error%s detected: ", count, count == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++) {
        const struct buf *text = alone ? &alone->text : &check->problems[i].text;
        buf_add_text(&fault->message, i ? "; " : "");
        buf_add(&fault->message, text->data, text->size);
    }
    return false;
}

bool validate(struct arena *arena, const struct json *request, const struct shape *input, struct fault *fault)
{
    if (!members_fit(request, input, fault))
        return false;
    for (const struct shape_member *member = input->members; member->name; member++)
        if ((member->flags & MEMBER_FIRST) && !given(request, member->name))
            return fault_invalid(fault, "The parameter '%s' is required but was not present in the request",
                                 member->name);
    struct check *check = arena_alloc(arena, sizeof *check);
    memset(check, 0, sizeof *check);
    check_members(check, NULL, request, input, false);
    if (!check->count)
        check_members(check, NULL, request, input, true);
    bool valid = report(check, fault);
    for (size_t i = 0; i < check->count; i++)
        buf_fini(&check->problems[i].text);
    return valid;
}
