/* attribute.c: reading, writing, comparing and measuring attribute values. */
#include "local/model/attribute.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "value/decimal.h"
#include "local/model/attr_index.h"

#define NESTING_MAX 32

const char *const attr_type_names[ATTR_TYPES] = {"S", "N", "B", "SS", "NS", "BS", "M", "L", "BOOL", "NULL"};

enum attr_type attr_type_named(const char *name, size_t size)
{
    for (int i = 0; i < ATTR_TYPES; i++)
        if (strlen(attr_type_names[i]) == size && memcmp(attr_type_names[i], name, size) == 0)
            return (enum attr_type)i;
    return ATTR_TYPES;
}

bool attr_is_set(const struct attr *value)
{
    return value->type == ATTR_SS || value->type == ATTR_NS || value->type == ATTR_BS;
}

enum attr_type attr_element_type(enum attr_type set)
{
    return set == ATTR_SS ? ATTR_S : set == ATTR_NS ? ATTR_N : ATTR_B;
}

/* ---- making ---- */

struct attr *attr_new(struct arena *arena, enum attr_type type)
{
    struct attr *value = arena_alloc(arena, sizeof *value);
    *value = (struct attr){.type = type};
    return value;
}

struct attr *attr_text(struct arena *arena, enum attr_type type, const char *data, size_t size)
{
    struct attr *value = attr_new(arena, type);
    value->text = (struct text){data, size};
    return value;
}

struct attr *attr_get(const struct attr *map, struct text name)
{
    attr_each(member, map) if (text_equal(member->name, name)) return member->value;
    return NULL;
}

struct attr *attr_get_named(const struct attr *map, const char *name)
{
    return attr_get(map, (struct text){name, strlen(name)});
}

struct attr *attr_at(const struct attr *list, size_t index)
{
    attr_each(member, list) if (index-- == 0) return member->value;
    return NULL;
}

static struct member **end_of(struct attr *container)
{
    struct member **end = &container->members;
    while (*end)
        end = &(*end)->next;
    return end;
}

static struct member *member_new(struct arena *arena, struct text name, struct attr *value)
{
    struct member *member = arena_alloc(arena, sizeof *member);
    *member = (struct member){.name = name, .value = value};
    return member;
}

void attr_append(struct arena *arena, struct attr *container, struct text name, struct attr *value)
{
    *end_of(container) = member_new(arena, name, value);
    container->count++;
}

struct attr *attr_copy(struct arena *arena, const struct attr *container)
{
    struct attr *copy = attr_new(arena, container->type);
    struct member **end = &copy->members;
    copy->text = container->text;
    copy->truth = container->truth;
    attr_each(member, container)
    {
        *end = member_new(arena, member->name, member->value);
        end = &(*end)->next;
        copy->count++;
    }
    return copy;
}

void attr_set(struct arena *arena, struct attr *map, struct text name, struct attr *value)
{
    attr_each(member, map)
    {
        if (text_equal(member->name, name)) {
            member->value = value;
            return;
        }
    }
    attr_append(arena, map, name, value);
}

bool attr_remove(struct attr *map, struct text name)
{
    for (struct member **at = &map->members; *at; at = &(*at)->next) {
        if (!text_equal((*at)->name, name))
            continue;
        *at = (*at)->next;
        map->count--;
        return true;
    }
    return false;
}

/* ---- reading ---- */

struct reading {
    struct arena *arena;
    struct fault *fault;
    bool trusted; /* the engine wrote it */
};

static struct attr *read_value(struct reading *r, const struct json *json, int depth);

static bool wrong_type(struct reading *r, const struct json *json, const char *expected)
{
    return fault_set(r->fault, "SerializationException", "%s cannot be converted to %s",
                     json->type == JSON_NUMBER                              ? "NUMBER_VALUE"
                     : json->type == JSON_STRING                            ? "STRING_VALUE"
                     : json->type == JSON_TRUE                              ? "TRUE_VALUE"
                     : json->type == JSON_FALSE                             ? "FALSE_VALUE"
                     : json->type == JSON_OBJECT || json->type == JSON_NULL ? "START_OBJECT"
                                                                            : "START_ARRAY",
                     expected);
}

static const char *const number_faults[] = {
    [DECIMAL_TOO_PRECISE] = "Attempting to store more than 38 significant digits in a Number",
    [DECIMAL_OVERFLOW] =
        "Number overflow. Attempting to store a number with magnitude larger than supported range",
    [DECIMAL_UNDERFLOW] =
        "Number underflow. Attempting to store a number with magnitude smaller than supported range",
};

static struct attr *number_value(struct arena *arena, const struct decimal *decimal)
{
    char text[DECIMAL_TEXT_SIZE];
    size_t size = decimal_write(decimal, text);
    return attr_text(arena, ATTR_N, arena_copy(arena, text, size), size);
}

/* Why a number of the right form is not read: it has too many digits, or a power beyond all bounds.
 * DECIMAL_OK: it is none. */
static enum decimal_fault unreadable(const char *text, size_t size)
{
    size_t at = 0, digits = 0, points = 0;
    bool zero = true;
    at += size && (text[0] == '-' || text[0] == '+');
    for (; at < size && ((text[at] >= '0' && text[at] <= '9') || text[at] == '.'); at++) {
        points += text[at] == '.';
        digits += text[at] != '.';
        zero = zero && (text[at] == '0' || text[at] == '.');
    }
    if (!digits || points > 1)
        return DECIMAL_OK;
    if (at == size)
        return DECIMAL_TOO_PRECISE;
    if (text[at] != 'e' && text[at] != 'E')
        return DECIMAL_OK;
    bool negative = ++at < size && text[at] == '-';
    at += at < size && (text[at] == '-' || text[at] == '+');
    size_t begun = at;
    while (at < size && text[at] >= '0' && text[at] <= '9')
        at++;
    if (at < size || at == begun)
        return DECIMAL_OK;
    if (at - begun < 7 || zero)
        return DECIMAL_TOO_PRECISE;
    return negative ? DECIMAL_UNDERFLOW : DECIMAL_OVERFLOW;
}

static struct attr *read_number(struct reading *r, const struct json *json)
{
    struct decimal decimal;
    if (r->trusted)
        return attr_text(r->arena, ATTR_N, json->text, json->size);
    if (!decimal_read(json->text, json->size, &decimal)) {
        enum decimal_fault why = unreadable(json->text, json->size);
        if (why != DECIMAL_OK)
            fault_invalid(r->fault, "%s", number_faults[why]);
        else if (json->size)
            fault_invalid(r->fault, "The parameter cannot be converted to a numeric value: %.*s",
                          (int)json->size, json->text);
        else
            fault_invalid(r->fault, "The parameter cannot be converted to a numeric value");
        return NULL;
    }
    enum decimal_fault problem = decimal_check(&decimal);
    if (problem != DECIMAL_OK) {
        fault_invalid(r->fault, "%s", number_faults[problem]);
        return NULL;
    }
    return number_value(r->arena, &decimal);
}

static struct attr *read_binary(struct reading *r, const struct json *json)
{
    char *bytes = arena_alloc(r->arena, BASE64_DECODED_MAX(json->size));
    size_t size;
    if (base64_decode(json->text, json->size, bytes, &size))
        return attr_text(r->arena, ATTR_B, bytes, size);
    fault_set(r->fault, "SerializationException",
              "Base64 encoded length is expected a multiple of 4 bytes but found: %u", json->size);
    return NULL;
}

static struct attr *read_scalar(struct reading *r, const struct json *json, enum attr_type type)
{
    if (json->type != JSON_STRING) {
        wrong_type(r, json, type == ATTR_B ? "Blob" : "String");
        return NULL;
    }
    if (type == ATTR_S)
        return attr_text(r->arena, ATTR_S, json->text, json->size);
    return type == ATTR_N ? read_number(r, json) : read_binary(r, json);
}

static int compare_members(const void *a, const void *b)
{
    return attr_compare((*(struct member *const *)a)->value, (*(struct member *const *)b)->value);
}

/* A set has no order of its own; the service gives strings and bytes bytewise, numbers by their value. */
void attr_sort_set(struct attr *set)
{
    struct member *few[16];
    struct member **members = set->count > 16 ? mem_alloc(set->count * sizeof *members) : few;
    size_t count = 0;
    attr_each(member, set) members[count++] = member;
    if (count > 1)
        qsort(members, count, sizeof *members, compare_members);
    for (size_t i = 0; i < count; i++)
        members[i]->next = i + 1 < count ? members[i + 1] : NULL;
    if (count)
        set->members = members[0];
    if (members != few)
        free(members);
}

static bool no_duplicates(struct reading *r, const struct attr *set, const struct json *json)
{
    struct attr_index index = attr_index_of(set);
    attr_index_fini(&index);
    if (!index.twice)
        return true;
    struct buf text = BUF_INIT;
    json_each(element, json)
        buf_printf(&text, "%s%.*s", element == json->child ? "" : ", ", (int)element->size, element->text);
    if (set->type == ATTR_NS)
        fault_invalid(r->fault, "Input collection contains duplicates");
    else
        fault_invalid(
            r->fault,
            "One or more parameter values were invalid: Input collection [%s]%s contains duplicates.",
            text.data ? text.data : "", set->type == ATTR_BS ? "of type BS" : "");
    buf_fini(&text);
    return false;
}

static struct attr *read_set(struct reading *r, const struct json *json, enum attr_type type)
{
    struct attr *set = attr_new(r->arena, type);
    struct member **end = &set->members;
    if (json->type != JSON_ARRAY) {
        wrong_type(r, json, "List");
        return NULL;
    }
    if (!json->child) {
        fault_invalid(r->fault, "One or more parameter values were invalid: %s",
                      type == ATTR_SS   ? "An string set  may not be empty"
                      : type == ATTR_NS ? "An number set  may not be empty"
                                        : "Binary sets should not be empty");
        return NULL;
    }
    json_each(element, json) {
        struct attr *value = read_scalar(r, element, attr_element_type(type));
        if (!value)
            return NULL;
        *end = member_new(r->arena, (struct text){0}, value);
        end = &(*end)->next;
        set->count++;
    }
    if (r->trusted)
        return set;
    if (!no_duplicates(r, set, json))
        return NULL;
    attr_sort_set(set);
    return set;
}

static struct attr *read_members(struct reading *r, const struct json *json, enum attr_type type, int depth)
{
    struct attr *container = attr_new(r->arena, type);
    struct member **end = &container->members;
    json_each(element, json) {
        struct attr *value = read_value(r, element, depth + 1);
        if (!value)
            return NULL;
        struct text name = {element->key, element->key_size};
        if (type == ATTR_M && !name.size && !r->trusted) {
            fault_invalid(r->fault, "Empty attribute name");
            return NULL;
        }
        *end = member_new(r->arena, name, value);
        end = &(*end)->next;
        container->count++;
    }
    return container;
}

static struct attr *read_typed(struct reading *r, const struct json *json, enum attr_type type, int depth)
{
    struct attr *value;
    switch (type) {
    case ATTR_S:
    case ATTR_N:
    case ATTR_B:
        return read_scalar(r, json, type);
    case ATTR_SS:
    case ATTR_NS:
    case ATTR_BS:
        return read_set(r, json, type);
    case ATTR_M:
    case ATTR_L:
        if (json->type != (type == ATTR_M ? JSON_OBJECT : JSON_ARRAY)) {
            wrong_type(r, json, type == ATTR_M ? "Map" : "List");
            return NULL;
        }
        return read_members(r, json, type, depth);
    default:
        if (json->type != JSON_TRUE && json->type != JSON_FALSE) {
            wrong_type(r, json, "Boolean");
            return NULL;
        }
        value = attr_new(r->arena, type);
        value->truth = json->type == JSON_TRUE;
        if (type == ATTR_NULL && !value->truth) {
            fault_invalid(r->fault,
                          "One or more parameter values were invalid: Null attribute value types must "
                          "have the value of true");
            return NULL;
        }
        return value;
    }
}

static struct attr *read_value(struct reading *r, const struct json *json, int depth)
{
    const struct json *typed = NULL;
    size_t count = 0;
    if (json->type != JSON_OBJECT) {
        fault_set(r->fault, "SerializationException", "Unexpected value type in payload");
        return NULL;
    }
    if (depth > NESTING_MAX) {
        fault_invalid(r->fault, "Nesting Levels have exceeded supported limits: Attributes in the item have "
                                "nested levels beyond supported limit");
        return NULL;
    }
    json_each(member, json) {
        if (member->type == JSON_NULL || attr_type_named(member->key, member->key_size) == ATTR_TYPES)
            continue;
        typed = member;
        count++;
    }
    if (count == 1)
        return read_typed(r, typed, attr_type_named(typed->key, typed->key_size), depth);
    fault_invalid(r->fault,
                  count ? "Supplied AttributeValue has more than one datatypes set, must contain exactly one "
                          "of the supported datatypes"
                        : "Supplied AttributeValue is empty, must contain exactly one of the supported "
                          "datatypes");
    return NULL;
}

struct attr *attr_read(struct arena *arena, const struct json *json, struct fault *fault)
{
    struct reading reading = {arena, fault, false};
    return read_value(&reading, json, 1);
}

struct attr *attr_read_item(struct arena *arena, const struct json *json, struct fault *fault)
{
    struct reading reading = {arena, fault, false};
    if (json->type != JSON_OBJECT) {
        wrong_type(&reading, json, "Map");
        return NULL;
    }
    return read_members(&reading, json, ATTR_M, 0);
}

struct attr *attr_parse_item(struct arena *arena, const char *text, size_t size)
{
    struct reading reading = {arena, NULL, true};
    const struct json *json = json_parse(arena, text, size, NULL);
    return json ? read_members(&reading, json, ATTR_M, 0) : NULL;
}

/* ---- writing ---- */

static void write_scalar(struct buf *out, const struct attr *value)
{
    if (value->type != ATTR_B) {
        json_write_string(out, value->text.data, value->text.size);
        return;
    }
    buf_add_char(out, '"');
    base64_write(out, value->text.data, value->text.size);
    buf_add_char(out, '"');
}

static void write_elements(struct buf *out, const struct attr *container)
{
    bool set = attr_is_set(container);
    buf_add_char(out, '[');
    attr_each(member, container)
    {
        if (member != container->members)
            buf_add_char(out, ',');
        if (set)
            write_scalar(out, member->value);
        else
            attr_write(out, member->value);
    }
    buf_add_char(out, ']');
}

void attr_write_item(struct buf *out, const struct attr *item)
{
    buf_add_char(out, '{');
    attr_each(member, item)
    {
        if (member != item->members)
            buf_add_char(out, ',');
        json_write_string(out, member->name.data, member->name.size);
        buf_add_char(out, ':');
        attr_write(out, member->value);
    }
    buf_add_char(out, '}');
}

void attr_write(struct buf *out, const struct attr *value)
{
    buf_add_literal(out, "{\"");
    buf_add_text(out, attr_type_names[value->type]);
    buf_add_literal(out, "\":");
    switch (value->type) {
    case ATTR_S:
    case ATTR_N:
    case ATTR_B:
        write_scalar(out, value);
        break;
    case ATTR_M:
        attr_write_item(out, value);
        break;
    case ATTR_BOOL:
    case ATTR_NULL:
        buf_add_text(out, value->truth ? "true" : "false");
        break;
    default:
        write_elements(out, value);
    }
    buf_add_char(out, '}');
}

/* ---- comparing ---- */

bool attr_in_set(const struct attr *set, const struct attr *element)
{
    if (attr_element_type(set->type) != element->type)
        return false;
    attr_each(member, set) if (text_equal(member->value->text, element->text)) return true;
    return false;
}

static bool equal_lists(const struct attr *a, const struct attr *b)
{
    const struct member *other = b->members;
    attr_each(member, a)
    {
        if (!attr_equal(member->value, other->value))
            return false;
        other = other->next;
    }
    return true;
}

/* Of maps and sets: whatever their order. */
static bool equal_members(const struct attr *a, const struct attr *b)
{
    struct attr_index index = attr_index_of(b);
    bool equal = true;
    attr_each(member, a)
    {
        const struct member *other =
            attr_index_get(&index, attr_is_set(a) ? member->value->text : member->name);
        equal = equal && other && (attr_is_set(a) || attr_equal(member->value, other->value));
    }
    attr_index_fini(&index);
    return equal;
}

/* Numbers are written in one way only, so equal numbers are equal texts. */
bool attr_equal(const struct attr *a, const struct attr *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case ATTR_S:
    case ATTR_N:
    case ATTR_B:
        return text_equal(a->text, b->text);
    case ATTR_BOOL:
    case ATTR_NULL:
        return a->truth == b->truth;
    case ATTR_L:
        return a->count == b->count && equal_lists(a, b);
    default:
        return a->count == b->count && equal_members(a, b);
    }
}

int attr_compare(const struct attr *a, const struct attr *b)
{
    if (a->type == ATTR_N) {
        struct decimal x, y;
        decimal_read(a->text.data, a->text.size, &x);
        decimal_read(b->text.data, b->text.size, &y);
        return decimal_compare(&x, &y);
    }
    size_t common = a->text.size < b->text.size ? a->text.size : b->text.size;
    int order = memcmp(a->text.data, b->text.data, common);
    return order ? order : (a->text.size > b->text.size) - (a->text.size < b->text.size);
}

void attr_sort_key(struct buf *out, const struct attr *value)
{
    if (value->type != ATTR_N) {
        buf_add(out, value->text.data, value->text.size);
        return;
    }
    struct decimal decimal;
    unsigned char key[DECIMAL_SORT_KEY_SIZE];
    decimal_read(value->text.data, value->text.size, &decimal);
    buf_add(out, key, decimal_sort_key(&decimal, key));
}

/* ---- measuring: as the developer guide's "item sizes and formats" says ---- */

static size_t number_size(struct text text)
{
    struct decimal decimal;
    decimal_read(text.data, text.size, &decimal);
    if (!decimal.digit_count)
        return 1;
    /* Two digits to a byte, in pairs from the decimal point on. */
    long low = decimal.exponent >> 1, high = (decimal.exponent + decimal.digit_count - 1) >> 1;
    return (size_t)(high - low + 1) + 1 + decimal.negative;
}

size_t attr_size(const struct attr *value)
{
    size_t size = 0;
    switch (value->type) {
    case ATTR_S:
    case ATTR_B:
        return value->text.size;
    case ATTR_N:
        return number_size(value->text);
    case ATTR_BOOL:
    case ATTR_NULL:
        return 1;
    case ATTR_M:
    case ATTR_L:
        attr_each(member, value) size += member->name.size + attr_size(member->value) + 1;
        return size + 3;
    default:
        attr_each(member, value) size += attr_size(member->value);
        return size;
    }
}

size_t attr_item_size(const struct attr *item)
{
    size_t size = 0;
    attr_each(member, item) size += member->name.size + attr_size(member->value);
    return size;
}

/* Where in a text that attr_write_item wrote; each step answers false at what it does not know. */
struct steps {
    const char *at, *end;
    size_t bytes;
    int depth;
};

static bool step(struct steps *steps, char expected)
{
    if (steps->at == steps->end || *steps->at != expected)
        return false;
    steps->at++;
    return true;
}

static bool step_text(struct steps *steps, struct text *text)
{
    if (!step(steps, '"'))
        return false;
    text->data = steps->at;
    while (steps->at < steps->end && *steps->at != '"' && *steps->at != '\\')
        steps->at++;
    text->size = (size_t)(steps->at - text->data);
    return step(steps, '"');
}

static bool step_scalar(struct steps *steps, enum attr_type type)
{
    struct text text;
    if (!step_text(steps, &text) || (type == ATTR_B && text.size % 4))
        return false;
    if (type == ATTR_N)
        steps->bytes += number_size(text);
    else if (type == ATTR_B)
        steps->bytes += text.size / 4 * 3 - (text.size && text.data[text.size - 1] == '=') -
                        (text.size && text.data[text.size - 2] == '=');
    else
        steps->bytes += text.size;
    return true;
}

static bool step_value(struct steps *steps);

/* `type`: of what has them; the item itself is ATTR_TYPES. */
static bool step_elements(struct steps *steps, enum attr_type type)
{
    bool named = type == ATTR_M || type == ATTR_TYPES, values = named || type == ATTR_L;
    const char open = named ? '{' : '[', close = named ? '}' : ']';
    struct text name = {"", 0};
    if (!step(steps, open))
        return false;
    steps->bytes += type == ATTR_M || type == ATTR_L ? 3 : 0;
    if (step(steps, close))
        return true;
    do {
        if (named && !(step_text(steps, &name) && step(steps, ':')))
            return false;
        steps->bytes += name.size + (type == ATTR_M || type == ATTR_L);
        if (!(values ? step_value(steps) : step_scalar(steps, attr_element_type(type))))
            return false;
    } while (step(steps, ','));
    return step(steps, close);
}

static bool step_word(struct steps *steps)
{
    size_t size = steps->at < steps->end && *steps->at == 't' ? sizeof "true" - 1 : sizeof "false" - 1;
    if ((size_t)(steps->end - steps->at) < size)
        return false;
    steps->at += size;
    steps->bytes++;
    return true;
}

static bool step_value(struct steps *steps)
{
    struct text name;
    if (steps->depth == NESTING_MAX || !step(steps, '{') || !step_text(steps, &name) || !step(steps, ':'))
        return false;
    steps->depth++;
    enum attr_type type = attr_type_named(name.data, name.size);
    bool known =
        type != ATTR_TYPES && (type == ATTR_S || type == ATTR_N || type == ATTR_B ? step_scalar(steps, type)
                               : type == ATTR_BOOL || type == ATTR_NULL           ? step_word(steps)
                                                                        : step_elements(steps, type));
    steps->depth--;
    return known && step(steps, '}');
}

bool attr_item_text_size(const char *text, size_t size, size_t *bytes)
{
    struct steps steps = {.at = text, .end = text + size};
    bool known = step_elements(&steps, ATTR_TYPES) && steps.at == steps.end;
    *bytes = steps.bytes;
    return known;
}

/* ---- arithmetic ---- */

struct attr *attr_add(struct arena *arena, const struct attr *a, const struct attr *b, bool subtract,
                      struct fault *fault)
{
    struct decimal x, y, sum;
    decimal_read(a->text.data, a->text.size, &x);
    decimal_read(b->text.data, b->text.size, &y);
    y.negative = y.digit_count && y.negative != subtract;
    enum decimal_fault problem = decimal_add(&x, &y, &sum);
    if (problem == DECIMAL_OK)
        return number_value(arena, &sum);
    fault_invalid(fault, "%s", number_faults[problem]);
    return NULL;
}
