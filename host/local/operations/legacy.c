/* legacy.c: the parameters from before expressions, turned into the same trees. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "local/keep/call.h"

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

enum { OF_ANY, OF_ORDERED, OF_ELEMENTS, OF_PREFIXES }; /* which types an operator takes */

static const struct comparison {
    const char *name;
    enum expr_kind kind;
    const char *text;
    size_t least, most; /* values */
    bool negated;
    int types;
} comparisons[] = {
    {"EQ", EXPR_COMPARE, "=", 1, 1, false, OF_ANY},
    {"NE", EXPR_COMPARE, "<>", 1, 1, false, OF_ANY},
    {"LT", EXPR_COMPARE, "<", 1, 1, false, OF_ORDERED},
    {"LE", EXPR_COMPARE, "<=", 1, 1, false, OF_ORDERED},
    {"GT", EXPR_COMPARE, ">", 1, 1, false, OF_ORDERED},
    {"GE", EXPR_COMPARE, ">=", 1, 1, false, OF_ORDERED},
    {"BETWEEN", EXPR_BETWEEN, "BETWEEN", 2, 2, false, OF_ORDERED},
    {"IN", EXPR_IN, "IN", 1, 100, false, OF_ORDERED},
    {"NULL", EXPR_CALL, "attribute_not_exists", 0, 0, false, OF_ANY},
    {"NOT_NULL", EXPR_CALL, "attribute_exists", 0, 0, false, OF_ANY},
    {"CONTAINS", EXPR_CALL, "contains", 1, 1, false, OF_ELEMENTS},
    {"NOT_CONTAINS", EXPR_CALL, "contains", 1, 1, true, OF_ELEMENTS},
    {"BEGINS_WITH", EXPR_CALL, "begins_with", 1, 1, false, OF_PREFIXES},
};

static bool invalid(struct building *b, const char *problem, struct text name)
{
    return fault_invalid(b->call->fault, "One or more parameter values were invalid: %s for Attribute: %.*s",
                         problem, (int)name.size, name.data);
}

/* The model has checked that it is one of them. */
static const struct comparison *find_comparison(const struct json *name)
{
    size_t i = sizeof comparisons / sizeof *comparisons - 1;
    while (i && !json_string_is(name, comparisons[i].name))
        i--;
    return &comparisons[i];
}

static bool takes(const struct comparison *comparison, enum attr_type type)
{
    bool scalar = type == ATTR_S || type == ATTR_N || type == ATTR_B;
    switch (comparison->types) {
    case OF_ORDERED:
        return scalar;
    case OF_ELEMENTS:
        return scalar || type == ATTR_BOOL || type == ATTR_NULL;
    case OF_PREFIXES:
        return type == ATTR_S || type == ATTR_B;
    default:
        return true;
    }
}

static bool check_values(struct building *b, const struct comparison *comparison, struct attr **values,
                         size_t count)
{
    if (count < comparison->least || count > comparison->most)
        return fault_invalid(
            b->call->fault,
            "One or more parameter values were invalid: Invalid number of argument(s) for the %s "
            "ComparisonOperator",
            comparison->name);
    for (size_t i = 0; i < count; i++)
        if (!takes(comparison, values[i]->type))
            return fault_invalid(
                b->call->fault,
                "One or more parameter values were invalid: ComparisonOperator %s is not valid "
                "for %s AttributeValue type",
                comparison->name, attr_type_names[values[i]->type]);
    for (size_t i = 1; i < count; i++)
        if (values[i]->type != values[0]->type)
            return fault_invalid(b->call->fault,
                                 "One or more parameter values were invalid: AttributeValues inside "
                                 "AttributeValueList must be of same type");
    if (comparison->kind == EXPR_BETWEEN && attr_compare(values[0], values[1]) > 0)
        return fault_invalid(
            b->call->fault,
            "The BETWEEN condition was provided a range where the lower bound is greater than the "
            "upper bound");
    return true;
}

/* The values of a condition: its list, or (in Expected) its one value. NULL and a fault. */
static struct attr **read_values(struct building *b, const struct json *condition, size_t *count)
{
    const struct json *list = json_get(condition, "AttributeValueList"), *one = json_get(condition, "Value");
    struct attr **values = arena_alloc(b->arena, ((list ? list->count : 0) + 1) * sizeof *values);
    *count = 0;
    json_each(element, list)
        if (!(values[(*count)++] = attr_read(b->arena, element, b->call->fault)))
            return NULL;
    if (one && !(values[(*count)++] = attr_read(b->arena, one, b->call->fault)))
        return NULL;
    return values;
}

/* NOT_CONTAINS does not hold for an attribute that is not there. */
static struct expr *existing(struct building *b, struct text name, struct expr *expr)
{
    struct expr *exists = node(b, EXPR_CALL, "attribute_exists");
    exists->first = path_node(b, name);
    return joined(b, EXPR_AND, exists, expr);
}

static struct expr *comparison_node(struct building *b, struct text name, const struct comparison *comparison,
                                    struct attr **values, size_t count)
{
    struct expr *expr = node(b, comparison->kind, comparison->text), *last = path_node(b, name);
    if (!check_values(b, comparison, values, count))
        return NULL;
    expr->first = last;
    for (size_t i = 0; i < count; i++)
        last = last->next = value_node(b, values[i]);
    return comparison->negated ? existing(b, name, not(b, expr)) : expr;
}

/* What members may stand together in a condition of Expected. */
static bool check_members(struct building *b, struct text name, const struct json *condition)
{
    const struct json *value = json_get(condition, "Value"),
                      *list = json_get(condition, "AttributeValueList"),
                      *exists = json_get(condition, "Exists"),
                      *operator= json_get(condition, "ComparisonOperator");
    bool absent = exists && exists->type == JSON_FALSE;
    if (operator&& exists)
        return invalid(b, "Exists and ComparisonOperator cannot be used together", name);
    if (value && list)
        return invalid(b, "Value and AttributeValueList cannot be used together", name);
    if (list && !operator)
        return invalid(b, "AttributeValueList can only be used with a ComparisonOperator", name);
    if (absent && value)
        return invalid(b, "Value cannot be used when Exists is false", name);
    if (!absent && !operator&& !value)
        return invalid(b,
                       exists ? "Value must be provided when Exists is true"
                              : "Value must be provided when Exists is null",
                       name);
    if (operator&& !value && !list && !json_string_is(operator, "NULL") &&
        !json_string_is(operator, "NOT_NULL")) {
        char *problem = mem_printf("Value or AttributeValueList must be used with ComparisonOperator: %.*s",
                                   (int)operator->size, operator->text);
        invalid(b, problem, name);
        free(problem);
        return false;
    }
    return true;
}

static struct expr *condition_node(struct building *b, const struct json *condition, bool expected)
{
    struct text name = {condition->key, condition->key_size};
    const struct json *operator= json_get(condition, "ComparisonOperator"),
                      *exists = json_get(condition, "Exists");
    const struct comparison *comparison = &comparisons[exists && exists->type == JSON_FALSE ? 8 : 0];
    size_t count;
    if (operator|| !expected)
        comparison = find_comparison(operator);
    if (expected && !check_members(b, name, condition))
        return NULL;
    struct attr **values = read_values(b, condition, &count);
    return values ? comparison_node(b, name, comparison, values, count) : NULL;
}

/* Half under either side: who walks a tree goes as deep as it is, and a request may have very many. */
static struct expr *balanced(struct building *b, enum expr_kind kind, struct expr **nodes, size_t count)
{
    if (count < 2)
        return count ? nodes[0] : NULL;
    struct expr *left = balanced(b, kind, nodes, count / 2);
    return joined(b, kind, left, balanced(b, kind, nodes + count / 2, count - count / 2));
}

static struct expr *conditions(struct call *call, const struct json *all, bool expected)
{
    static const char *const operators[] = {"AND", "OR", NULL};
    struct building b = {call, call->arena};
    struct expr **nodes = arena_alloc(call->arena, (all->count + 1) * sizeof *nodes);
    size_t count = 0;
    bool or = call_choice(call, "ConditionalOperator", operators) == 1;
    json_each(condition, all)
        if (!(nodes[count++] = condition_node(&b, condition, expected)))
            return NULL;
    if (call_member(call, "ConditionalOperator") && all->count < 2) {
        fault_invalid(
            call->fault,
            "ConditionalOperator can only be used when Filter or Expected has two or more elements");
        return NULL;
    }
    return balanced(&b, or ? EXPR_OR : EXPR_AND, nodes, count);
}

bool legacy_operator_fits(struct call *call, const char *conditions)
{
    return !call_member(call, "ConditionalOperator") || call_member(call, conditions) ||
           fault_invalid(call->fault, "ConditionalOperator cannot be used without Filter or Expected");
}

struct expr *legacy_expected(struct call *call, const struct json *expected)
{
    return conditions(call, expected, true);
}

struct expr *legacy_filter(struct call *call, const struct json *filter)
{
    return conditions(call, filter, false);
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
    if (action->kind == ACTION_ADD && value->type != ATTR_N && value->type != ATTR_L && !attr_is_set(value))
        return fault_invalid(
            b->call->fault,
            "One or more parameter values were invalid: ADD action is not supported for the type %s",
            attr_type_names[value->type]);
    action->operand = value ? value_node(b, value) : NULL;
    update->actions = action;
    return true;
}

struct update *legacy_updates(struct call *call, const struct json *updates)
{
    struct building b = {call, call->arena};
    struct update *update = arena_alloc(call->arena, sizeof *update);
    *update = (struct update){.legacy = true};
    json_each(change, updates)
        if (!add_action(&b, update, (struct text){change->key, change->key_size}, change))
            return NULL;
    return update;
}

static struct text name_itself(const struct json *name)
{
    return (struct text){name->text, name->size};
}

struct projection *legacy_projection(struct call *call, const struct json *names)
{
    struct building b = {call, call->arena};
    struct projection *projection = arena_alloc(call->arena, sizeof *projection);
    const struct json *twice = call_duplicate(call, names, name_itself);
    if (twice) {
        fault_invalid(call->fault,
                      "One or more parameter values were invalid: Duplicate value in attribute name: %.*s",
                      (int)twice->size, twice->text);
        return NULL;
    }
    *projection = (struct projection){0};
    projection->paths = arena_alloc(call->arena, names->count * sizeof *projection->paths + 1);
    json_each(name, names)
        projection->paths[projection->count++] = path_node(&b, (struct text){name->text, name->size})->path;
    return projection;
}
