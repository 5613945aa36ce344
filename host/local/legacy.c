/* legacy.c: the parameters from before expressions, turned into the same trees. */
#include <string.h>

#include "local/call.h"

struct building {
    struct call *call;
    struct arena *arena;
};

static struct expr *node(struct building *b, enum expr_kind kind, const char *text)
{
    struct expr *expr = arena_alloc(b->arena, sizeof *expr);
    *expr = (struct expr){.kind = kind, .text = {text, strlen(text)}};
    return expr;
}

static struct expr *path_node(struct building *b, struct text name)
{
    struct expr *expr = node(b, EXPR_PATH, "");
    expr->path.steps = arena_alloc(b->arena, sizeof *expr->path.steps);
    expr->path.steps[0] = (struct step){.name = name};
    expr->path.count = 1;
    return expr;
}

static struct expr *value_node(struct building *b, struct attr *value)
{
    struct expr *expr = node(b, EXPR_VALUE, "");
    expr->value = value;
    return expr;
}

static struct expr *joined(struct building *b, enum expr_kind kind, struct expr *left, struct expr *right)
{
    if (!left)
        return right;
    struct expr *expr = node(b, kind, "");
    expr->first = left;
    left->next = right;
    return expr;
}

static struct expr * not(struct building * b, struct expr *inner)
{
    struct expr *expr = node(b, EXPR_NOT, "");
    expr->first = inner;
    return expr;
}

/* ---- comparisons ---- */

static const struct comparison {
    const char *name;
    enum expr_kind kind;
    const char *text;
    size_t least, most; /* values */
    bool negated;
} comparisons[] = {
    {"EQ", EXPR_COMPARE, "=", 1, 1, false},
    {"NE", EXPR_COMPARE, "<>", 1, 1, false},
    {"LT", EXPR_COMPARE, "<", 1, 1, false},
    {"LE", EXPR_COMPARE, "<=", 1, 1, false},
    {"GT", EXPR_COMPARE, ">", 1, 1, false},
    {"GE", EXPR_COMPARE, ">=", 1, 1, false},
    {"BETWEEN", EXPR_BETWEEN, "BETWEEN", 2, 2, false},
    {"IN", EXPR_IN, "IN", 1, 100, false},
    {"NULL", EXPR_CALL, "attribute_not_exists", 0, 0, false},
    {"NOT_NULL", EXPR_CALL, "attribute_exists", 0, 0, false},
    {"CONTAINS", EXPR_CALL, "contains", 1, 1, false},
    {"NOT_CONTAINS", EXPR_CALL, "contains", 1, 1, true},
    {"BEGINS_WITH", EXPR_CALL, "begins_with", 1, 1, false},
};

static const struct comparison *find_comparison(struct call *call, const struct json *name)
{
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++)
        if (json_string_is(name, comparisons[i].name))
            return &comparisons[i];
    fault_invalid(
        call->fault,
        "1 validation error detected: Value '%.*s' at 'comparisonOperator' failed to satisfy constraint: "
        "Member must satisfy enum value set: [IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, "
        "BEGINS_WITH, GE, CONTAINS]",
        name ? (int)name->size : 4, name ? name->text : "null");
    return NULL;
}

/* A name, an operator and its values. */
static struct expr *comparison_node(struct building *b, struct text name, const struct comparison *comparison,
                                    const struct json *values)
{
    struct expr *expr = node(b, comparison->kind, comparison->text), *last = path_node(b, name);
    size_t count = values ? values->count : 0;
    if (count < comparison->least || count > comparison->most) {
        fault_invalid(b->call->fault,
                      "One or more parameter values were invalid: Invalid number of argument(s) for the %s "
                      "ComparisonOperator",
                      comparison->name);
        return NULL;
    }
    expr->first = last;
    json_each(element, values) {
        struct attr *value = attr_read(b->arena, element, b->call->fault);
        if (!value)
            return NULL;
        last->next = value_node(b, value);
        last = last->next;
    }
    return comparison->negated ? not(b, expr) : expr;
}

/* Expected's older half: {Value, Exists}. */
static struct expr *exists_node(struct building *b, struct text name, const struct json *condition)
{
    const struct json *value = json_get(condition, "Value"), *exists = json_get(condition, "Exists");
    struct json one = {.type = JSON_ARRAY, .count = 1, .child = value};
    if (exists && exists->type == JSON_FALSE) {
        if (value)
            fault_invalid(
                b->call->fault,
                "One or more parameter values were invalid: Value cannot be used when Exists is set to FALSE "
                "for Attribute: %.*s",
                (int)name.size, name.data);
        return value ? NULL : comparison_node(b, name, &comparisons[8], NULL);
    }
    if (value) {
        struct json alone = *value;
        alone.next = NULL;
        one.child = &alone;
        return comparison_node(b, name, &comparisons[0], &one);
    }
    fault_invalid(b->call->fault, "One or more parameter values were invalid: %s for Attribute: %.*s",
                  exists ? "Value must be provided when Exists is set to TRUE"
                         : "Value or ComparisonOperator must be used in Expected",
                  (int)name.size, name.data);
    return NULL;
}

static struct expr *condition_node(struct building *b, const struct json *condition)
{
    struct text name = {condition->key, condition->key_size};
    const struct json *operator= json_get(condition, "ComparisonOperator");
    if (!operator)
        return exists_node(b, name, condition);
    const struct comparison *comparison = find_comparison(b->call, operator);
    return comparison ? comparison_node(b, name, comparison, json_get(condition, "AttributeValueList"))
                      : NULL;
}

static struct expr *conditions(struct call *call, const struct json *all)
{
    static const char *const operators[] = {"AND", "OR", NULL};
    struct building b = {call, call->arena};
    struct expr *result = NULL;
    int or = call_choice(call, "ConditionalOperator", operators);
    if (or < 0)
        return NULL;
    json_each(condition, all) {
        struct expr *expr = condition_node(&b, condition);
        if (!expr)
            return NULL;
        result = joined(&b, or ? EXPR_OR : EXPR_AND, result, expr);
    }
    return result;
}

struct expr *legacy_expected(struct call *call, const struct json *expected)
{
    return conditions(call, expected);
}

struct expr *legacy_filter(struct call *call, const struct json *filter, const char *parameter)
{
    (void)parameter;
    return conditions(call, filter);
}

/* ---- AttributeUpdates ---- */

static bool add_action(struct building *b, struct update *update, struct text name, const struct json *change)
{
    const struct json *verb = json_get(change, "Action"), *given = json_get(change, "Value");
    struct action *action = arena_alloc(b->arena, sizeof *action);
    struct attr *value = given ? attr_read(b->arena, given, b->call->fault) : NULL;
    *action = (struct action){.next = update->actions, .path = path_node(b, name)->path};
    if (given && !value)
        return false;
    if (!verb || json_string_is(verb, "PUT"))
        action->kind = ACTION_SET;
    else if (json_string_is(verb, "ADD"))
        action->kind = ACTION_ADD;
    else
        action->kind = value ? ACTION_DELETE : ACTION_REMOVE;
    if (!value && action->kind != ACTION_REMOVE)
        return fault_invalid(
            b->call->fault,
            "One or more parameter values were invalid: Only DELETE action is allowed when no attribute "
            "value is specified");
    if (action->kind == ACTION_DELETE && !attr_is_set(value))
        return fault_invalid(
            b->call->fault,
            "One or more parameter values were invalid: DELETE action with value is not supported for "
            "the type %s",
            attr_type_names[value->type]);
    if (action->kind == ACTION_ADD && value->type != ATTR_N && !attr_is_set(value))
        return fault_invalid(
            b->call->fault,
            "One or more parameter values were invalid: ADD action is not supported for the type %s",
            attr_type_names[value->type]);
    action->operand = value ? value_node(b, value) : NULL;
    update->actions = action;
    return true;
}

struct update *legacy_updates(struct call *call, const struct json *updates, const struct table *table)
{
    struct building b = {call, call->arena};
    struct update *update = arena_alloc(call->arena, sizeof *update);
    *update = (struct update){0};
    json_each(change, updates) {
        struct text name = {change->key, change->key_size};
        if (key_has(&table->key, name)) {
            fault_invalid(
                call->fault,
                "One or more parameter values were invalid: Cannot update attribute %.*s. This attribute is "
                "part of the key",
                (int)name.size, name.data);
            return NULL;
        }
        if (!add_action(&b, update, name, change))
            return NULL;
    }
    return update;
}

struct projection *legacy_projection(struct call *call, const struct json *names)
{
    struct building b = {call, call->arena};
    struct projection *projection = arena_alloc(call->arena, sizeof *projection);
    projection->paths = arena_alloc(call->arena, names->count * sizeof *projection->paths + 1);
    projection->count = 0;
    json_each(name, names) {
        struct path path = path_node(&b, (struct text){name->text, name->size})->path;
        for (size_t i = 0; i < projection->count; i++)
            if (path_equal(&projection->paths[i], &path)) {
                fault_invalid(call->fault,
                              "One or more parameter values were invalid: Duplicate value in attribute "
                              "name: %.*s",
                              (int)name->size, name->text);
                return NULL;
            }
        projection->paths[projection->count++] = path;
    }
    return projection;
}
