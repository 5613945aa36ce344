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
    bool seen[2];
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

static bool take(struct taking *t, struct text name, enum range_test test, struct attr *low,
                 struct attr *high)
{
    size_t which = 0;
    while (which < t->key->count && which < 2 && !text_equal(t->key->parts[which].name, name))
        which++;
    if (which == t->key->count || which == 2)
        return fault_invalid(t->call->fault, "Query condition missed key schema element: %.*s",
                             (int)t->key->parts[t->seen[0] && t->key->count > 1].name.size,
                             t->key->parts[t->seen[0] && t->key->count > 1].name.data);
    if (t->seen[which])
        return fault_invalid(t->call->fault,
                             "KeyConditionExpressions must only contain one condition per key");
    t->seen[which] = true;
    if (which == 0 && test != RANGE_EQ)
        return fault_invalid(t->call->fault, "Query key condition not supported");
    if (!check_type(t, &t->key->parts[which], low, test == RANGE_BEGINS) ||
        (high && !check_type(t, &t->key->parts[which], high, false)))
        return false;
    if (which == 0) {
        t->condition->hash = low;
        return true;
    }
    t->condition->test = test;
    t->condition->low = low;
    t->condition->high = high;
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
    struct text text;
    *condition = (struct key_condition){0};
    if (!call_text(call, "KeyConditionExpression", &text))
        return false;
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
    struct taking t = {call, key, index, condition, {false, false}};
    if (condition->expr ? !take_expr(&t, condition->expr)
                        : !take_legacy(&t, call_member(call, "KeyConditions")))
        return false;
    return t.seen[0] || fault_invalid(call->fault, "Query condition missed key schema element: %.*s",
                                      (int)key->parts[0].name.size, key->parts[0].name.data);
}

/* ---- places ---- */

static struct text bytes_of(struct arena *arena, const struct attr *value)
{
    struct buf bytes = BUF_INIT;
    attr_sort_key(&bytes, value);
    struct text text = {arena_copy(arena, bytes.data ? bytes.data : "", bytes.size), bytes.size};
    buf_fini(&bytes);
    return text;
}

static int compare(struct text a, struct text b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

int key_condition_place(const struct key_condition *condition, struct arena *arena, struct text range)
{
    if (condition->test == RANGE_ANY)
        return 0;
    struct text low = bytes_of(arena, condition->low);
    int order = compare(range, low);
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
        return compare(range, bytes_of(arena, condition->high)) > 0;
    default:
        if (range.size >= low.size && memcmp(range.data, low.data, low.size) == 0)
            return 0;
        return order;
    }
}

struct text key_condition_start(const struct key_condition *condition, struct arena *arena, bool descending)
{
    bool bounded_below = condition->test == RANGE_EQ || condition->test >= RANGE_GT;
    if (!descending)
        return bounded_below ? bytes_of(arena, condition->low) : (struct text){"", 0};
    switch (condition->test) {
    case RANGE_EQ:
    case RANGE_LT:
    case RANGE_LE:
        return bytes_of(arena, condition->low);
    case RANGE_BETWEEN:
        return bytes_of(arena, condition->high);
    default:
        return storage_last_key; /* what begins with something is looked for from the end */
    }
}

/* ---- filters ---- */

bool filter_spares_key(struct call *call, const struct expr *filter, const struct key_schema *key)
{
    if (filter->kind == EXPR_PATH && key_has(key, filter->path.steps[0].name))
        return fault_invalid(
            call->fault,
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: "
            "%.*s",
            (int)filter->path.steps[0].name.size, filter->path.steps[0].name.data);
    for (const struct expr *part = filter->first; part; part = part->next)
        if (!filter_spares_key(call, part, key))
            return false;
    return true;
}
