/* key_condition.c: see key_condition.h. */
#include "local/operations/key_condition.h"

#include <string.h>

static bool is_text(struct text text, const char *literal)
{
    return text_is(text, literal, strlen(literal));
}

/* ---- taking an expression apart ---- */

struct taking {
    struct call *call;
    const struct key_schema *key;
    const char *index;
    struct key_condition *condition;
    struct wanted {
        bool seen;
        enum range_test test;
        struct attr *low, *high;
    } wanted[KEY_PARTS_MAX];
};

static bool wrong_operator(struct taking *t, const char *name, size_t size)
{
    return fault_invalid(t->call->fault, "Invalid operator used in KeyConditionExpression: %.*s", (int)size,
                         name);
}

static bool check_type(struct taking *t, const struct key_part *part, const struct attr *value, bool prefix)
{
    if (value->type != part->type)
        return fault_invalid(t->call->fault,
                             "One or more parameter values were invalid: Condition parameter type does "
                             "not match schema type");
    if (value->text.size || (prefix && !t->index))
        return true;
    const char *kind = value->type == ATTR_B ? "binary" : "string";
    if (!t->index)
        return fault_invalid(
            t->call->fault,
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
            "contain an empty %s value. Key: %.*s",
            kind, (int)part->name.size, part->name.data);
    return fault_invalid(
        t->call->fault,
        "One or more parameter values are not valid. A value specified for a secondary index key is not "
        "supported. The AttributeValue for a key attribute cannot contain an empty %s value. IndexName: "
        "%s, IndexKey: %.*s",
        kind, t->index, (int)part->name.size, part->name.data);
}

static bool missed(struct taking *t)
{
    size_t first = 0;
    while (first + 1 < t->key->count && t->wanted[first].seen)
        first++;
    return fault_invalid(t->call->fault, "Query condition missed key schema element: %.*s",
                         (int)t->key->parts[first].name.size, t->key->parts[first].name.data);
}

static bool take(struct taking *t, struct text name, enum range_test test, struct attr *low,
                 struct attr *high)
{
    size_t which = 0;
    while (which < t->key->count && !text_equal(t->key->parts[which].name, name))
        which++;
    if (which == t->key->count)
        return missed(t);
    if (t->wanted[which].seen)
        return fault_invalid(t->call->fault,
                             "KeyConditionExpressions must only contain one condition per key");
    t->wanted[which] = (struct wanted){true, test, low, high};
    if (which < t->key->hash_count && test != RANGE_EQ)
        return fault_invalid(t->call->fault, "Query key condition not supported");
    return check_type(t, &t->key->parts[which], low, test == RANGE_BEGINS) &&
           (!high || check_type(t, &t->key->parts[which], high, false));
}

/* Of several RANGE attributes the first ones, by equality all but the last of them. */
static bool has_no_gap(struct taking *t, size_t last)
{
    struct buf names = BUF_INIT;
    for (size_t i = t->key->hash_count; i < last; i++)
        if (!t->wanted[i].seen || t->wanted[i].test != RANGE_EQ)
            buf_printf(&names, "%s%.*s", names.size ? ", " : "", (int)t->key->parts[i].name.size,
                       t->key->parts[i].name.data);
    bool none = !names.size;
    if (!none)
        fault_invalid(t->call->fault,
                      "RANGE key attributes %s must have equality conditions specified in the query because "
                      "a condition is present on key attribute %.*s",
                      names.data, (int)t->key->parts[last].name.size, t->key->parts[last].name.data);
    buf_fini(&names);
    return none;
}

static bool conclude(struct taking *t)
{
    struct key_condition *condition = t->condition;
    size_t last = t->key->hash_count; /* behind the last part that is asked for */
    for (size_t i = 0; i < t->key->count; i++) {
        if (i < t->key->hash_count && !t->wanted[i].seen)
            return missed(t);
        if (t->wanted[i].seen && i >= t->key->hash_count)
            last = i + 1;
    }
    if (last > t->key->hash_count && !has_no_gap(t, last - 1))
        return false;
    condition->equal_count = last > t->key->hash_count ? last - 1 : last;
    for (size_t i = 0; i < condition->equal_count; i++)
        condition->equal[i] = t->wanted[i].low;
    const struct wanted *tested = &t->wanted[condition->equal_count];
    if (last > t->key->hash_count) {
        condition->test = tested->test;
        condition->low = tested->low;
        condition->high = tested->high;
    }
    return true;
}

/* The path and the values of a comparison, in whichever order they stand. */
static bool operands(struct taking *t, const struct expr *expr, const struct expr **path,
                     const struct expr *values[2])
{
    size_t count = 0;
    *path = NULL;
    for (const struct expr *operand = expr->first; operand; operand = operand->next) {
        if (operand->kind != EXPR_PATH && operand->kind != EXPR_VALUE)
            return fault_invalid(t->call->fault, "KeyConditionExpressions cannot contain nested operations");
        if (operand->kind == EXPR_PATH && *path)
            return fault_invalid(t->call->fault,
                                 "Invalid condition in KeyConditionExpression: Multiple attribute names "
                                 "used in one condition");
        if (operand->kind == EXPR_PATH)
            *path = operand;
        else if (count < 2)
            values[count++] = operand;
    }
    if (!*path || !count)
        return fault_invalid(t->call->fault,
                             "Invalid condition in KeyConditionExpression: No key attribute specified");
    if (expr->kind != EXPR_COMPARE && expr->first != *path)
        return fault_invalid(t->call->fault,
                             "Invalid condition in KeyConditionExpression: %s operator must have the key "
                             "attribute as its first operand",
                             expr->kind == EXPR_BETWEEN ? "BETWEEN" : "begins_with");
    if ((*path)->path.count > 1)
        return fault_invalid(
            t->call->fault,
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not "
            "allowed: Key: %.*s",
            (int)(*path)->path.steps[0].name.size, (*path)->path.steps[0].name.data);
    return true;
}

static bool take_expr(struct taking *t, const struct expr *expr)
{
    static const struct {
        const char *text;
        enum range_test test, mirrored;
    } tests[] = {{"=", RANGE_EQ, RANGE_EQ},
                 {"<", RANGE_LT, RANGE_GT},
                 {"<=", RANGE_LE, RANGE_GE},
                 {">", RANGE_GT, RANGE_LT},
                 {">=", RANGE_GE, RANGE_LE}};
    const struct expr *path = NULL, *values[2] = {NULL, NULL};
    enum range_test test = expr->kind == EXPR_BETWEEN ? RANGE_BETWEEN : RANGE_BEGINS;
    if (expr->kind == EXPR_AND)
        return take_expr(t, expr->first) && take_expr(t, expr->first->next);
    if (expr->kind == EXPR_OR || expr->kind == EXPR_NOT || expr->kind == EXPR_IN || is_text(expr->text, "<>"))
        return wrong_operator(t,
                              expr->kind == EXPR_OR    ? "OR"
                              : expr->kind == EXPR_NOT ? "NOT"
                                                       : expr->text.data,
                              expr->kind == EXPR_OR    ? 2
                              : expr->kind == EXPR_NOT ? 3
                                                       : expr->text.size);
    if (expr->kind == EXPR_CALL && !is_text(expr->text, "begins_with"))
        return wrong_operator(t, expr->text.data, expr->text.size);
    if (!operands(t, expr, &path, values) || !path || !values[0])
        return false;
    for (size_t i = 0; expr->kind == EXPR_COMPARE && i < sizeof tests / sizeof *tests; i++)
        if (is_text(expr->text, tests[i].text))
            test = expr->first == path ? tests[i].test : tests[i].mirrored;
    return take(t, path->path.steps[0].name, test, values[0]->value, values[1] ? values[1]->value : NULL);
}

/* ---- KeyConditions ---- */

static bool take_legacy(struct taking *t, const struct json *conditions)
{
    static const struct {
        const char *name;
        enum range_test test;
        size_t count;
    } tests[] = {{"EQ", RANGE_EQ, 1},
                 {"LT", RANGE_LT, 1},
                 {"LE", RANGE_LE, 1},
                 {"GT", RANGE_GT, 1},
                 {"GE", RANGE_GE, 1},
                 {"BETWEEN", RANGE_BETWEEN, 2},
                 {"BEGINS_WITH", RANGE_BEGINS, 1}};
    json_each(condition, conditions) {
        const struct json *name = json_get(condition, "ComparisonOperator"),
                          *values = json_get(condition, "AttributeValueList");
        struct attr *given[2] = {NULL, NULL};
        size_t count = 0, which = 0;
        while (which < sizeof tests / sizeof *tests && !json_string_is(name, tests[which].name))
            which++;
        if (which == sizeof tests / sizeof *tests)
            return fault_invalid(t->call->fault,
                                 "Attempted conditional constraint is not an indexable operation");
        json_each(value, values) {
            if (count < 2 && !(given[count] = attr_read(t->call->arena, value, t->call->fault)))
                return false;
            count++;
        }
        if (count != tests[which].count)
            return fault_invalid(
                t->call->fault,
                "One or more parameter values were invalid: Invalid number of argument(s) for the %s "
                "ComparisonOperator",
                tests[which].name);
        if (tests[which].test == RANGE_BEGINS && given[0]->type != ATTR_S && given[0]->type != ATTR_B)
            return fault_invalid(
                t->call->fault,
                "One or more parameter values were invalid: ComparisonOperator BEGINS_WITH is not valid for "
                "%s AttributeValue type",
                attr_type_names[given[0]->type]);
        if (count == 2 && given[0]->type == given[1]->type && attr_compare(given[0], given[1]) > 0)
            return fault_invalid(
                t->call->fault, "The BETWEEN condition was provided a range where the lower bound is greater "
                                "than the upper bound");
        if (!take(t, (struct text){condition->key, condition->key_size}, tests[which].test, given[0],
                  given[1]))
            return false;
    }
    return true;
}

bool key_condition_parse(struct call *call, struct placeholders *placeholders,
                         struct key_condition *condition)
{
    struct text text = call_text(call, "KeyConditionExpression");
    *condition = (struct key_condition){0};
    if (!text.data && !call_member(call, "KeyConditions"))
        return fault_invalid(call->fault,
                             "Either the KeyConditions or KeyConditionExpression parameter must be specified "
                             "in the request.");
    if (text.data)
        condition->expr = condition_parse(placeholders, "KeyConditionExpression", text);
    return !text.data || condition->expr;
}

bool key_condition_resolve(struct call *call, const struct key_schema *key, const char *index,
                           struct key_condition *condition)
{
    struct taking t = {.call = call, .key = key, .index = index, .condition = condition};
    condition->key = key;
    if (!condition->expr && key->count == 1 && call_member(call, "KeyConditions")->count > 1)
        return fault_invalid(call->fault, "Query key condition not supported");
    return (condition->expr ? take_expr(&t, condition->expr)
                            : take_legacy(&t, call_member(call, "KeyConditions"))) &&
           conclude(&t);
}

/* ---- places ---- */

static struct text kept(struct arena *arena, struct buf *bytes)
{
    struct text text = {arena_copy(arena, bytes->data ? bytes->data : "", bytes->size), bytes->size};
    buf_fini(bytes);
    return text;
}

static struct text bytes_of(struct arena *arena, const struct attr *value)
{
    struct buf bytes = BUF_INIT;
    attr_sort_key(&bytes, value);
    return kept(arena, &bytes);
}

static bool is_last(const struct key_condition *condition, size_t part)
{
    return part + 1 == condition->key->hash_count || part + 1 == condition->key->count;
}

struct text key_condition_hash(const struct key_condition *condition, struct arena *arena)
{
    struct buf bytes = BUF_INIT;
    for (size_t i = 0; i < condition->key->hash_count; i++)
        key_part_write(&bytes, condition->equal[i], is_last(condition, i));
    return kept(arena, &bytes);
}

/* What all that is wanted begins with: the RANGE attributes that are asked for by equality before the last.
 */
static void write_lead(struct buf *out, const struct key_condition *condition)
{
    for (size_t i = condition->key->hash_count; i < condition->equal_count; i++)
        key_part_write(out, condition->equal[i], is_last(condition, i));
}

static int compare(struct text a, struct text b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? (order > 0) - (order < 0) : (a.size > b.size) - (a.size < b.size);
}

static int place_of_part(const struct key_condition *condition, struct arena *arena, struct text part)
{
    if (condition->test == RANGE_ANY)
        return 0;
    struct text low = bytes_of(arena, condition->low);
    int order = compare(part, low);
    switch (condition->test) {
    case RANGE_EQ:
        return order;
    case RANGE_LT:
        return order < 0 ? 0 : 1;
    case RANGE_LE:
        return order <= 0 ? 0 : 1;
    case RANGE_GT:
        return order > 0 ? 0 : -1;
    case RANGE_GE:
        return order >= 0 ? 0 : -1;
    case RANGE_BETWEEN:
        if (order < 0)
            return -1;
        return compare(part, bytes_of(arena, condition->high)) > 0;
    default:
        if (part.size >= low.size && memcmp(part.data, low.data, low.size) == 0)
            return 0;
        return order;
    }
}

int key_condition_place(const struct key_condition *condition, struct arena *arena, struct text range)
{
    size_t tested = condition->equal_count;
    if (tested == condition->key->hash_count && (condition->test == RANGE_ANY || is_last(condition, tested)))
        return place_of_part(condition, arena, range);
    struct buf bytes = BUF_INIT;
    write_lead(&bytes, condition);
    struct text lead = kept(arena, &bytes);
    if (range.size < lead.size || memcmp(range.data, lead.data, lead.size) != 0)
        return compare(range, lead) < 0 ? -1 : 1;
    struct text rest = {range.data + lead.size, range.size - lead.size};
    return place_of_part(condition, arena, key_part_read(arena, rest, is_last(condition, tested)));
}

/* Behind all that begins with the lead: a part's end is a one. */
static struct text behind_lead(struct arena *arena, struct buf *lead)
{
    if (!lead->size) {
        buf_fini(lead);
        return storage_last_key;
    }
    lead->data[lead->size - 1]++;
    return kept(arena, lead);
}

/* Behind all that begins with these bytes, of which the first `lead` are the lead. */
static struct text behind(struct arena *arena, struct buf *bytes, size_t lead)
{
    while (bytes->size > lead && (unsigned char)bytes->data[bytes->size - 1] == 0xff)
        bytes->size--;
    if (bytes->size == lead)
        return behind_lead(arena, bytes);
    bytes->data[bytes->size - 1]++;
    return kept(arena, bytes);
}

static struct text descending_start(const struct key_condition *condition, struct arena *arena, bool last)
{
    struct buf bytes = BUF_INIT;
    write_lead(&bytes, condition);
    size_t lead = bytes.size;
    switch (condition->test) {
    case RANGE_ANY:
    case RANGE_GT:
    case RANGE_GE:
        return behind_lead(arena, &bytes);
    case RANGE_BEGINS:
        key_part_begin(&bytes, condition->low, last);
        return behind(arena, &bytes, lead);
    default:
        key_part_write(&bytes, condition->test == RANGE_BETWEEN ? condition->high : condition->low, last);
        return last || condition->test == RANGE_LT ? kept(arena, &bytes) : behind(arena, &bytes, lead);
    }
}

struct text key_condition_start(const struct key_condition *condition, struct arena *arena, bool descending)
{
    bool bounded_below = condition->test == RANGE_EQ || condition->test >= RANGE_GT;
    bool last = is_last(condition, condition->equal_count);
    struct buf bytes = BUF_INIT;
    if (descending)
        return descending_start(condition, arena, last);
    write_lead(&bytes, condition);
    if (bounded_below)
        key_part_begin(&bytes, condition->low, last);
    return kept(arena, &bytes);
}

/* ---- filters ---- */

bool filter_spares_key(struct call *call, const struct expr *filter, const struct key_schema *key)
{
    if (filter->kind == EXPR_PATH && key_has(key, filter->path.steps[0].name))
        return fault_invalid(call->fault,
                             "%s can only contain non-primary key attributes: Primary key attribute: %.*s",
                             call_member(call, "QueryFilter") ? "QueryFilter" : "Filter Expression",
                             (int)filter->path.steps[0].name.size, filter->path.steps[0].name.data);
    for (const struct expr *part = filter->first; part; part = part->next)
        if (!filter_spares_key(call, part, key))
            return false;
    return true;
}
