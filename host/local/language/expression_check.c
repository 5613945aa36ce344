/* expression_check.c: what names, values, functions and operators mean, and whether they go together. */
#include <string.h>

#include "base/base64.h"
#include "local/language/expression_parser.h"

static bool is_text(struct text text, const char *literal)
{
    return text_is(text, literal, strlen(literal));
}

static struct placeholder *find(struct placeholder *list, size_t count, struct text key)
{
    for (size_t i = 0; i < count; i++)
        if (text_equal(list[i].key, key))
            return &list[i];
    return NULL;
}

bool check_reserved(struct parser *parser, const struct path *path)
{
    for (size_t i = 0; i < path->count; i++) {
        const struct step *step = &path->steps[i];
        if (!step->indexed && *step->name.data != '#' && reserved_word(step->name))
            return parser_fault(parser, "Attribute name is a reserved keyword; reserved keyword: %.*s",
                                (int)step->name.size, step->name.data);
    }
    return true;
}

bool check_path(struct parser *parser, struct path *path)
{
    struct placeholders *p = parser->placeholders;
    for (size_t i = 0; parser->resolving && i < path->count; i++) {
        struct step *step = &path->steps[i];
        if (step->indexed || *step->name.data != '#')
            continue;
        struct placeholder *name = find(p->names, p->name_count, step->name);
        if (!name)
            return parser_fault(
                parser,
                "An expression attribute name used in the document path is not defined; attribute "
                "name: %.*s",
                (int)step->name.size, step->name.data);
        name->used = true;
        step->name = name->name;
    }
    return true;
}

static bool check_value(struct parser *parser, struct expr *expr)
{
    struct placeholders *p = parser->placeholders;
    if (!parser->resolving)
        return true;
    struct placeholder *value = find(p->values, p->value_count, expr->text);
    if (!value)
        return parser_fault(
            parser, "An expression attribute value used in expression is not defined; attribute value: %.*s",
            (int)expr->text.size, expr->text.data);
    value->used = true;
    expr->value = value->value;
    return true;
}

/* ---- functions ---- */

static const struct function {
    const char *name;
    size_t count;
    enum place place;
    bool path_first; /* its first operand must be a path */
} functions[] = {
    {"attribute_exists", 1, PLACE_CONDITION, true}, {"attribute_not_exists", 1, PLACE_CONDITION, true},
    {"attribute_type", 2, PLACE_CONDITION, true},   {"begins_with", 2, PLACE_CONDITION, false},
    {"contains", 2, PLACE_CONDITION, false},        {"size", 1, PLACE_OPERAND, false},
    {"if_not_exists", 2, PLACE_UPDATE, true},       {"list_append", 2, PLACE_UPDATE, false},
};

static const struct function *find_function(struct text name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (is_text(name, functions[i].name))
            return &functions[i];
    return NULL;
}

static bool check_placement(struct parser *parser, const struct expr *call, const struct function *function,
                            enum place place)
{
    int size = (int)call->text.size;
    const char *name = call->text.data;
    if (!function)
        return parser_fault(parser, "Invalid function name; function: %.*s", size, name);
    if (function->place == place)
        return true;
    if (place == PLACE_UPDATE)
        return parser_fault(parser, "The function is not allowed in an update expression; function: %.*s",
                            size, name);
    if (function->place == PLACE_UPDATE)
        return parser_fault(parser, "The function is not allowed in a condition expression; function: %.*s",
                            size, name);
    return parser_fault(parser,
                        "The function is not allowed to be used this way in an expression; function: %.*s",
                        size, name);
}

static bool wrong_operand_type(struct parser *parser, struct text operator, enum attr_type type)
{
    return parser_fault(
        parser,
        "Incorrect operand type for operator or function; operator or function: %.*s, operand type: %s",
        (int)operator.size, operator.data, attr_type_names[type]);
}

/* A given value must be of one of these types; what comes from the item is looked at later. */
static bool check_literal(struct parser *parser, struct text operator, const struct expr * operand,
                          unsigned types)
{
    if (!parser->typing || (operand->kind != EXPR_VALUE && operand->kind != EXPR_CALL))
        return true;
    if (operand->kind == EXPR_CALL && !is_text(operand->text, "size"))
        return true;
    /* size() is a number */
    enum attr_type type = operand->kind == EXPR_CALL ? ATTR_N : operand->value->type;
    return (types >> type & 1) || wrong_operand_type(parser, operator, type);
}

#define TYPE(name) (1u << ATTR_##name)
#define ORDERED (TYPE(S) | TYPE(N) | TYPE(B))
#define SETS (TYPE(SS) | TYPE(NS) | TYPE(BS))

static bool check_type_name(struct parser *parser, const struct expr *operand)
{
    if (!operand || operand->kind != EXPR_VALUE)
        return parser_fault(
            parser,
            "Incorrect operand type for operator or function; operator or function: attribute_type, "
            "operand type: {FS,DOUBLESET,M,INTSET,FLOAT,L,INT,SS,DECIMALSET,BOOL,S,DICT,NS,BS,B,NULL,N,HD,"
            "HDS,DOUBLE,DECIMAL}");
    if (operand->value->type != ATTR_S)
        return wrong_operand_type(parser, (struct text){"attribute_type", 14}, operand->value->type);
    if (attr_type_named(operand->value->text.data, operand->value->text.size) != ATTR_TYPES)
        return true;
    return parser_fault(
        parser, "Invalid attribute type name found; type: %.*s, valid types: {N,BS,L,B,NULL,M,S,SS,NS,BOOL}",
        (int)operand->value->text.size, operand->value->text.data);
}

static bool check_distinct(struct parser *parser, struct text operator, const struct expr * first)
{
    for (const struct expr *other = first ? first->next : NULL; other; other = other->next) {
        bool same_path =
            first->kind == EXPR_PATH && other->kind == EXPR_PATH && path_equal(&first->path, &other->path);
        if (!same_path)
            continue;
        struct buf path = BUF_INIT;
        path_write(&path, &first->path);
        parser_fault(
            parser,
            "The first operand must be distinct from the remaining operands for this operator or function; "
            "operator: %.*s, first operand: %s",
            (int)operator.size, operator.data, path.data);
        buf_fini(&path);
        return false;
    }
    return true;
}

static bool check_operands(struct parser *parser, const struct expr *call, const struct function *function)
{
    const struct expr *first = call->first, *second = first ? first->next : NULL;
    if (!first || (function->count > 1 && !second))
        return false; /* their number was looked at before */
    if (function->path_first && first->kind != EXPR_PATH)
        return parser_fault(parser,
                            "Operator or function requires a document path; operator or function: %.*s",
                            (int)call->text.size, call->text.data);
    if (is_text(call->text, "size"))
        return check_literal(parser, call->text, first, TYPE(S) | TYPE(B) | SETS | TYPE(L) | TYPE(M));
    if (is_text(call->text, "begins_with"))
        return check_literal(parser, call->text, first, TYPE(S) | TYPE(B)) &&
               check_literal(parser, call->text, second, TYPE(S) | TYPE(B)) &&
               check_distinct(parser, call->text, first);
    if (is_text(call->text, "contains"))
        return check_distinct(parser, call->text, first);
    if (is_text(call->text, "attribute_type"))
        return check_type_name(parser, second) && check_distinct(parser, call->text, first);
    if (is_text(call->text, "if_not_exists"))
        return check_distinct(parser, call->text, first);
    if (is_text(call->text, "list_append"))
        return check_literal(parser, call->text, first, TYPE(L)) &&
               check_literal(parser, call->text, second, TYPE(L));
    return true;
}

bool check_words(struct parser *parser, const struct expr *expr, enum place place)
{
    enum place inner = place == PLACE_UPDATE ? PLACE_UPDATE : PLACE_OPERAND;
    if (expr->kind == EXPR_PATH)
        return check_reserved(parser, &expr->path);
    if (expr->kind == EXPR_CALL && !check_placement(parser, expr, find_function(expr->text), place))
        return false;
    if (expr->kind == EXPR_AND || expr->kind == EXPR_OR || expr->kind == EXPR_NOT)
        inner = PLACE_CONDITION;
    for (const struct expr *argument = expr->first; argument; argument = argument->next)
        if (!check_words(parser, argument, inner))
            return false;
    return true;
}

static bool check_call(struct parser *parser, struct expr *call, bool update)
{
    const struct function *function = find_function(call->text);
    for (struct expr *argument = call->first; argument; argument = argument->next)
        if (!check_operand(parser, argument, update))
            return false;
    if (!parser->typing)
        return true;
    if (expr_argument_count(call) != function->count)
        return parser_fault(
            parser,
            "Incorrect number of operands for operator or function; operator or function: %s, number "
            "of operands: %zu",
            function->name, expr_argument_count(call));
    return check_operands(parser, call, function);
}

bool check_operand(struct parser *parser, struct expr *expr, bool update)
{
    switch (expr->kind) {
    case EXPR_PATH:
        return check_path(parser, &expr->path);
    case EXPR_VALUE:
        return check_value(parser, expr);
    case EXPR_CALL:
        return check_call(parser, expr, update);
    case EXPR_ARITHMETIC:
        return check_operand(parser, expr->first, update) &&
               check_operand(parser, expr->first->next, update) &&
               check_literal(parser, expr->text, expr->first, TYPE(N)) &&
               check_literal(parser, expr->text, expr->first->next, TYPE(N));
    default: /* a condition where a value should be */
        return parser_fault(parser, "Syntax error; token: \"%.*s\", near: \"%.*s\"", (int)expr->text.size,
                            expr->text.data, (int)expr->text.size, expr->text.data);
    }
}

/* ---- operators ---- */

static void write_literal(struct buf *out, const struct attr *value)
{
    buf_printf(out, "AttributeValue: {%s:", attr_type_names[value->type]);
    if (value->type == ATTR_B)
        base64_write(out, value->text.data, value->text.size);
    else if (value->text.data)
        buf_add(out, value->text.data, value->text.size);
    buf_add_char(out, '}');
}

static bool check_bounds(struct parser *parser, const struct attr *low, const struct attr *high)
{
    struct buf text = BUF_INIT;
    const char *problem = low->type != high->type ? "requires same data type for lower and upper bounds"
                          : attr_compare(low, high) > 0
                              ? "requires upper bound to be greater than or equal to lower bound"
                              : NULL;
    if (!problem)
        return true;
    write_literal(&text, low);
    buf_add_literal(&text, ", upper bound operand: ");
    write_literal(&text, high);
    parser_fault(parser, "The BETWEEN operator %s; lower bound operand: %s", problem, text.data);
    buf_fini(&text);
    return false;
}

static bool check_operator(struct parser *parser, struct expr *expr)
{
    bool ordered = expr->kind == EXPR_BETWEEN ||
                   (expr->kind == EXPR_COMPARE && !is_text(expr->text, "=") && !is_text(expr->text, "<>"));
    for (struct expr *operand = expr->first; operand; operand = operand->next)
        if (!check_operand(parser, operand, false))
            return false;
    for (struct expr *operand = expr->first; ordered && operand; operand = operand->next)
        if (!check_literal(parser, expr->text, operand, ORDERED))
            return false;
    if (!check_distinct(parser, expr->text, expr->first))
        return false;
    const struct expr *low = expr->first ? expr->first->next : NULL, *high = low ? low->next : NULL;
    return expr->kind != EXPR_BETWEEN || !high || low->kind != EXPR_VALUE || high->kind != EXPR_VALUE ||
           check_bounds(parser, low->value, high->value);
}

bool check_condition(struct parser *parser, struct expr *expr)
{
    switch (expr->kind) {
    case EXPR_AND:
    case EXPR_OR:
        return check_condition(parser, expr->first) && check_condition(parser, expr->first->next);
    case EXPR_NOT:
        return check_condition(parser, expr->first);
    case EXPR_CALL:
        return check_call(parser, expr, false);
    default:
        return check_operator(parser, expr);
    }
}
