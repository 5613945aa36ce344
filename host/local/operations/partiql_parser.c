/* partiql_parser.c: PartiQL for DynamoDB, into the trees that expressions are made of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "local/operations/partiql.h"

#define DEPTH_MAX 64

enum token { END, WORD, QUOTED, STRING, NUMBER, SIGN };

struct parser {
    struct arena *arena;
    struct fault *fault;
    const char *start, *at, *end;
    const struct json *next_parameter;
    size_t used;
    enum token kind;
    struct text token; /* of QUOTED and STRING what it stands for */
    const char *token_at;
    int depth;
};

/* ---- tokens ---- */

static bool wrong(struct parser *p, const char *what)
{
    return fault_invalid(p->fault, "Statement wasn't well formed, can't be processed: %s at character %zu",
                         what, (size_t)(p->token_at - p->start) + 1);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$';
}

/* 'it''s' and "a name"; false where the closing quote is missing. */
static bool read_quoted(struct parser *p, char quote)
{
    char *copy = arena_alloc(p->arena, (size_t)(p->end - p->at) + 1);
    size_t size = 0;
    for (p->at++; p->at < p->end; p->at++) {
        if (*p->at == quote && (p->at + 1 == p->end || p->at[1] != quote))
            break;
        p->at += *p->at == quote;
        copy[size++] = *p->at;
    }
    if (p->at >= p->end)
        return wrong(p, "a quote is not closed");
    p->at++;
    p->kind = quote == '"' ? QUOTED : STRING;
    p->token = (struct text){copy, size};
    return true;
}

static bool next(struct parser *p)
{
    static const char *const pairs[] = {"<<", ">>", "<=", ">=", "<>", "!="};
    while (p->at < p->end && strchr(" \t\r\n", *p->at))
        p->at++;
    p->token_at = p->at;
    p->kind = p->at < p->end ? SIGN : END;
    p->token = (struct text){p->at, p->at < p->end ? 1 : 0};
    if (p->kind == END)
        return true;
    if (*p->at == '\'' || *p->at == '"')
        return read_quoted(p, *p->at);
    bool digit = *p->at >= '0' && *p->at <= '9';
    if (digit ||
        ((*p->at == '-' || *p->at == '.') && p->at + 1 < p->end && p->at[1] >= '0' && p->at[1] <= '9')) {
        p->kind = NUMBER;
        for (p->at++; p->at < p->end &&
                      (strchr("0123456789.eE", *p->at) || (strchr("+-", *p->at) && strchr("eE", p->at[-1])));)
            p->at++;
    } else if (is_word(*p->at)) {
        p->kind = WORD;
        while (p->at < p->end && is_word(*p->at))
            p->at++;
    } else {
        size_t size = 1;
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
            if (p->at + 1 < p->end && memcmp(p->at, pairs[i], 2) == 0)
                size = 2;
        p->at += size;
    }
    p->token.size = (size_t)(p->at - p->token.data);
    return true;
}

static bool at_word(const struct parser *p, const char *word)
{
    return p->kind == WORD && p->token.size == strlen(word) &&
           strncasecmp(p->token.data, word, p->token.size) == 0;
}

static bool at_sign(const struct parser *p, const char *sign)
{
    return p->kind == SIGN && text_is(p->token, sign, strlen(sign));
}

/* True when it was there; what comes behind it may still be wrong, and is found then. */
static bool take_word(struct parser *p, const char *word)
{
    return at_word(p, word) && (next(p) || true);
}

static bool take_sign(struct parser *p, const char *sign)
{
    return at_sign(p, sign) && (next(p) || true);
}

static bool expect_word(struct parser *p, const char *word)
{
    char what[64];
    if (take_word(p, word))
        return !p->fault->status;
    snprintf(what, sizeof what, "%s expected", word);
    return wrong(p, what);
}

static bool expect_sign(struct parser *p, const char *sign)
{
    char what[64];
    if (take_sign(p, sign))
        return !p->fault->status;
    snprintf(what, sizeof what, "'%s' expected", sign);
    return wrong(p, what);
}

/* ---- values ---- */

static struct attr *parse_value(struct parser *p);

static struct attr *parse_parameter(struct parser *p)
{
    const struct json *parameter = p->next_parameter;
    if (!parameter) {
        fault_invalid(p->fault, "Number of parameters in request and statement don't match.");
        return NULL;
    }
    p->next_parameter = parameter->next;
    next(p);
    return attr_read(p->arena, parameter, p->fault);
}

static struct attr *parse_elements(struct parser *p, struct attr *container, const char *close)
{
    while (!at_sign(p, close)) {
        struct attr *value = parse_value(p);
        if (!value)
            return NULL;
        attr_append(p->arena, container, (struct text){0}, value);
        if (!at_sign(p, close) && !expect_sign(p, ","))
            return NULL;
    }
    next(p);
    return container;
}

static struct attr *parse_set(struct parser *p)
{
    struct attr *list = parse_elements(p, attr_new(p->arena, ATTR_L), ">>");
    if (!list || !list->members) {
        if (list)
            fault_invalid(p->fault,
                          "One or more parameter values were invalid: An string set  may not be empty");
        return NULL;
    }
    enum attr_type type = list->members->value->type;
    attr_each(member, list) if (member->value->type != type || type > ATTR_B)
    {
        wrong(p, "a set holds strings, numbers or binaries of one type");
        return NULL;
    }
    list->type = type == ATTR_S ? ATTR_SS : type == ATTR_N ? ATTR_NS : ATTR_BS;
    struct buf text = BUF_INIT; /* what sets are refused for is said where JSON is read */
    attr_write(&text, list);
    const struct json *json =
        json_parse(p->arena, arena_copy(p->arena, text.data, text.size), text.size, NULL);
    buf_fini(&text);
    return attr_read(p->arena, json, p->fault);
}

static struct attr *parse_map(struct parser *p)
{
    struct attr *map = attr_new(p->arena, ATTR_M);
    while (!at_sign(p, "}")) {
        struct text name = p->token;
        if (p->kind != STRING) {
            wrong(p, "an attribute's name in single quotes expected");
            return NULL;
        }
        next(p);
        struct attr *value = expect_sign(p, ":") ? parse_value(p) : NULL;
        if (!value)
            return NULL;
        attr_set(p->arena, map, name, value);
        if (!at_sign(p, "}") && !expect_sign(p, ","))
            return NULL;
    }
    next(p);
    return map;
}

static struct attr *parse_number(struct parser *p)
{
    struct buf text = BUF_INIT;
    struct attr *value = NULL;
    buf_printf(&text, "{\"N\":\"%.*s\"}", (int)p->token.size, p->token.data);
    char *copy = arena_copy(p->arena, text.data, text.size);
    const struct json *json = json_parse(p->arena, copy, text.size, NULL);
    if (json)
        value = attr_read(p->arena, json, p->fault);
    buf_fini(&text);
    next(p);
    return value;
}

static struct attr *parse_word_value(struct parser *p)
{
    bool truth = at_word(p, "true");
    struct attr *value = NULL;
    if (truth || at_word(p, "false"))
        value = attr_new(p->arena, ATTR_BOOL);
    else if (at_word(p, "null"))
        value = attr_new(p->arena, ATTR_NULL);
    if (!value) {
        wrong(p, "a value expected");
        return NULL;
    }
    value->truth = truth || value->type == ATTR_NULL;
    next(p);
    return value;
}

static struct attr *parse_value(struct parser *p)
{
    struct attr *value = NULL;
    if (p->fault->status || ++p->depth > DEPTH_MAX) {
        wrong(p, "nested too deeply");
        return NULL;
    }
    if (p->kind == STRING) {
        value = attr_text(p->arena, ATTR_S, p->token.data, p->token.size);
        next(p);
    } else if (p->kind == NUMBER) {
        value = parse_number(p);
    } else if (at_sign(p, "?")) {
        value = parse_parameter(p);
    } else if (take_sign(p, "[")) {
        value = parse_elements(p, attr_new(p->arena, ATTR_L), "]");
    } else if (take_sign(p, "<<")) {
        value = parse_set(p);
    } else if (take_sign(p, "{")) {
        value = parse_map(p);
    } else {
        value = parse_word_value(p);
    }
    p->depth--;
    return p->fault->status ? NULL : value;
}

/* ---- paths ---- */

static bool add_step(struct parser *p, struct path *path, struct step step)
{
    struct step *steps = arena_alloc(p->arena, (path->count + 1) * sizeof *steps);
    if (path->count)
        memcpy(steps, path->steps, path->count * sizeof *steps);
    steps[path->count++] = step;
    path->steps = steps;
    return true;
}

static bool parse_name(struct parser *p, struct text *name)
{
    if (p->kind != WORD && p->kind != QUOTED)
        return wrong(p, "an attribute's name expected");
    *name = p->token;
    return next(p);
}

static bool parse_path(struct parser *p, struct path *path)
{
    struct text name;
    if (!parse_name(p, &name))
        return false;
    add_step(p, path, (struct step){.name = name});
    for (;;) {
        if (take_sign(p, ".")) {
            if (!parse_name(p, &name))
                return false;
            add_step(p, path, (struct step){.name = name});
        } else if (take_sign(p, "[")) {
            if (p->kind != NUMBER)
                return wrong(p, "an index expected");
            add_step(p, path, (struct step){.indexed = true, .index = strtoul(p->token.data, NULL, 10)});
            if (!next(p) || !expect_sign(p, "]"))
                return false;
        } else {
            return !p->fault->status;
        }
    }
}

/* ---- conditions ---- */

static struct expr *node(struct parser *p, enum expr_kind kind, const char *text)
{
    struct expr *expr = arena_alloc(p->arena, sizeof *expr);
    *expr = (struct expr){.kind = kind, .text = {text, strlen(text)}};
    return expr;
}

static struct expr *with(struct expr *expr, struct expr *first, struct expr *second)
{
    expr->first = first;
    if (first)
        first->next = second;
    return expr;
}

static struct expr *parse_or(struct parser *p);

static const char *const functions[] = {"attribute_type", "begins_with",      "contains",
                                        "size",           "attribute_exists", "attribute_not_exists"};

static const char *function_at(const struct parser *p)
{
    const char *after = p->at;
    while (after < p->end && *after == ' ')
        after++;
    for (size_t i = 0; after < p->end && *after == '(' && i < sizeof functions / sizeof *functions; i++)
        if (at_word(p, functions[i]))
            return functions[i];
    return NULL;
}

static struct expr *parse_operand(struct parser *p)
{
    const char *function = function_at(p);
    if (p->fault->status)
        return NULL;
    if (function) {
        struct expr *call = node(p, EXPR_CALL, function), **end = &call->first;
        next(p);
        next(p);
        do {
            *end = parse_operand(p);
            if (!*end)
                return NULL;
            end = &(*end)->next;
        } while (take_sign(p, ","));
        size_t wanted = strcmp(function, "size") == 0 || strncmp(function, "attribute_e", 11) == 0 ||
                                strncmp(function, "attribute_n", 11) == 0
                            ? 1
                            : 2;
        if (expr_argument_count(call) != wanted)
            wrong(p, "a function has the wrong number of arguments");
        return expect_sign(p, ")") ? call : NULL;
    }
    bool literal = p->kind == WORD && (at_word(p, "true") || at_word(p, "false") || at_word(p, "null"));
    if ((p->kind == WORD || p->kind == QUOTED) && !literal) {
        struct expr *expr = node(p, EXPR_PATH, "");
        return parse_path(p, &expr->path) ? expr : NULL;
    }
    struct expr *expr = node(p, EXPR_VALUE, "");
    expr->value = parse_value(p);
    return expr->value ? expr : NULL;
}

static struct expr *parse_is(struct parser *p, struct expr *left)
{
    bool negated = take_word(p, "NOT");
    struct expr *expr = NULL;
    if (take_word(p, "MISSING")) {
        expr = with(node(p, EXPR_CALL, "attribute_not_exists"), left, NULL);
    } else if (take_word(p, "NULL")) {
        struct expr *type = node(p, EXPR_VALUE, "");
        type->value = attr_text(p->arena, ATTR_S, "NULL", 4);
        expr = with(node(p, EXPR_CALL, "attribute_type"), left, type);
    } else {
        wrong(p, "MISSING or NULL expected behind IS");
        return NULL;
    }
    return negated ? with(node(p, EXPR_NOT, "NOT"), expr, NULL) : expr;
}

static struct expr *parse_in(struct parser *p, struct expr *left)
{
    struct expr *expr = with(node(p, EXPR_IN, "IN"), left, NULL), **end = &left->next;
    const char *close = at_sign(p, "(") ? ")" : "]";
    if (!take_sign(p, "(") && !expect_sign(p, "["))
        return NULL;
    do {
        *end = parse_operand(p);
        if (!*end)
            return NULL;
        end = &(*end)->next;
    } while (take_sign(p, ","));
    return expect_sign(p, close) ? expr : NULL;
}

/* What is less than another is a text, a number or bytes. */
static bool has_order(struct parser *p, const struct expr *operand, const char *sign)
{
    if (operand->kind != EXPR_VALUE || operand->value->type <= ATTR_B)
        return true;
    return fault_invalid(p->fault,
                         "Incorrect operand type for operator or function; operator or function: %s, operand "
                         "type: %s",
                         sign, attr_type_names[operand->value->type]);
}

static struct expr *parse_comparison(struct parser *p)
{
    static const char *const signs[] = {"=", "<>", "<", "<=", ">", ">="};
    if (take_sign(p, "(")) {
        struct expr *inner = ++p->depth > DEPTH_MAX ? NULL : parse_or(p);
        p->depth--;
        if (!inner && !p->fault->status)
            wrong(p, "nested too deeply");
        return inner && expect_sign(p, ")") ? inner : NULL;
    }
    struct expr *left = parse_operand(p);
    if (!left)
        return NULL;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        bool other = i == 1 && take_sign(p, "!=");
        if (!other && !take_sign(p, signs[i]))
            continue;
        struct expr *right = parse_operand(p);
        if (right && i >= 2 && (!has_order(p, left, signs[i]) || !has_order(p, right, signs[i])))
            return NULL;
        return right ? with(node(p, EXPR_COMPARE, signs[i]), left, right) : NULL;
    }
    if (take_word(p, "BETWEEN")) {
        struct expr *low = parse_operand(p), *high = low && expect_word(p, "AND") ? parse_operand(p) : NULL;
        if (!high)
            return NULL;
        low->next = high;
        return with(node(p, EXPR_BETWEEN, "BETWEEN"), left, low);
    }
    if (take_word(p, "IN"))
        return parse_in(p, left);
    if (take_word(p, "IS"))
        return parse_is(p, left);
    if (left->kind != EXPR_CALL || text_is(left->text, "size", 4)) {
        wrong(p, "a comparison expected");
        return NULL;
    }
    return left;
}

static struct expr *parse_not(struct parser *p)
{
    if (!take_word(p, "NOT"))
        return parse_comparison(p);
    struct expr *inner = ++p->depth > DEPTH_MAX ? NULL : parse_not(p);
    p->depth--;
    if (!inner && !p->fault->status)
        wrong(p, "nested too deeply");
    return inner ? with(node(p, EXPR_NOT, "NOT"), inner, NULL) : NULL;
}

static struct expr *parse_joined(struct parser *p, const char *word, enum expr_kind kind,
                                 struct expr *(*parse)(struct parser *))
{
    struct expr *left = parse(p);
    while (left && take_word(p, word)) {
        struct expr *right = parse(p);
        left = right ? with(node(p, kind, word), left, right) : NULL;
    }
    return left;
}

static struct expr *parse_and(struct parser *p)
{
    return parse_joined(p, "AND", EXPR_AND, parse_not);
}

static struct expr *parse_or(struct parser *p)
{
    return parse_joined(p, "OR", EXPR_OR, parse_and);
}

/* ---- statements ---- */

static bool parse_table(struct parser *p, struct statement *statement)
{
    struct text more;
    size_t parts = 1;
    bool empty;
    if (!parse_name(p, &statement->table))
        return false;
    empty = !statement->table.size;
    if (take_sign(p, ".")) {
        if (!parse_name(p, &statement->index))
            return false;
        empty = empty || !statement->index.size;
        parts++;
    }
    while (take_sign(p, ".")) {
        if (!parse_name(p, &more))
            return false;
        parts++;
    }
    if (parts > 2)
        return fault_invalid(p->fault, "A path may contain at most 2 components in the FROM clause");
    return !empty || fault_invalid(p->fault, "Path component cannot be an empty string");
}

static bool parse_where(struct parser *p, struct statement *statement)
{
    if (!take_word(p, "WHERE"))
        return !p->fault->status;
    statement->where = parse_or(p);
    return statement->where != NULL;
}

static bool parse_select(struct parser *p, struct statement *statement)
{
    statement->kind = STATEMENT_SELECT;
    if (!take_sign(p, "*")) {
        struct projection *projection = arena_alloc(p->arena, sizeof *projection);
        *projection = (struct projection){
            .paths = arena_alloc(p->arena, (size_t)(p->end - p->start) * sizeof(struct path)), .flat = true};
        do {
            projection->paths[projection->count] = (struct path){0};
            if (!parse_path(p, &projection->paths[projection->count++]))
                return false;
        } while (take_sign(p, ","));
        statement->projection = projection;
    }
    if (!expect_word(p, "FROM") || !parse_table(p, statement) || !parse_where(p, statement))
        return false;
    if (take_word(p, "ORDER")) {
        struct path path = {0};
        if (!expect_word(p, "BY") || !parse_path(p, &path))
            return false;
        statement->descending = take_word(p, "DESC");
        if (!statement->descending)
            take_word(p, "ASC");
    }
    return true;
}

static bool parse_insert(struct parser *p, struct statement *statement)
{
    statement->kind = STATEMENT_INSERT;
    if (!expect_word(p, "INTO") || !parse_table(p, statement) || !expect_word(p, "VALUE"))
        return false;
    statement->item = parse_value(p);
    return statement->item && (statement->item->type == ATTR_M || wrong(p, "a map expected behind VALUE"));
}

static bool parse_returning(struct parser *p, struct statement *statement)
{
    if (!take_word(p, "RETURNING"))
        return !p->fault->status;
    bool all = take_word(p, "ALL");
    if (!all && !expect_word(p, "MODIFIED"))
        return false;
    bool new = take_word(p, "NEW");
    if (!new && !expect_word(p, "OLD"))
        return false;
    if (statement->kind == STATEMENT_DELETE && (!all || new))
        return fault_invalid(
            p->fault,
            "Invalid returning clause: RETURNING %s %s *. Only RETURNING ALL OLD * is allowed in "
            "DELETE statements.",
            all ? "ALL" : "MODIFIED", new ? "NEW" : "OLD");
    statement->returning = all ? (new ? RETURNING_ALL_NEW : RETURNING_ALL_OLD)
                               : (new ? RETURNING_MODIFIED_NEW : RETURNING_MODIFIED_OLD);
    return expect_sign(p, "*");
}

/* A value, a path, a sum, or one of the functions of update expressions. */
static struct expr *parse_set_operand(struct parser *p)
{
    static const char *const names[] = {"list_append", "if_not_exists", "set_add", "set_delete"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!at_word(p, names[i]))
            continue;
        next(p);
        if (!expect_sign(p, "("))
            return NULL;
        struct expr *first = parse_set_operand(p);
        struct expr *second = first && expect_sign(p, ",") ? parse_set_operand(p) : NULL;
        if (!second || !expect_sign(p, ")"))
            return NULL;
        if (i > 0 && first->kind != EXPR_PATH) {
            wrong(p, "the first argument must be an attribute");
            return NULL;
        }
        return with(node(p, EXPR_CALL, names[i]), first, second);
    }
    struct expr *left = parse_operand(p);
    if (left && left->kind == EXPR_CALL) {
        wrong(p, "this function is not allowed here");
        return NULL;
    }
    bool plus = left && at_sign(p, "+"), minus = left && at_sign(p, "-");
    if (!plus && !minus)
        return left;
    next(p);
    struct expr *right = parse_operand(p);
    if (right && right->kind == EXPR_CALL) {
        wrong(p, "this function is not allowed here");
        return NULL;
    }
    return right ? with(node(p, EXPR_ARITHMETIC, plus ? "+" : "-"), left, right) : NULL;
}

static bool add_action(struct parser *p, struct update *update, bool remove)
{
    struct action *action = arena_alloc(p->arena, sizeof *action), **end = &update->actions;
    *action = (struct action){.kind = remove ? ACTION_REMOVE : ACTION_SET};
    if (!parse_path(p, &action->path))
        return false;
    if (!remove) {
        action->operand = expect_sign(p, "=") ? parse_set_operand(p) : NULL;
        if (!action->operand)
            return false;
        struct expr *call = action->operand;
        bool added = call->kind == EXPR_CALL && text_is(call->text, "set_add", 7);
        if (added || (call->kind == EXPR_CALL && text_is(call->text, "set_delete", 10))) {
            if (call->first->next->kind != EXPR_VALUE || !attr_is_set(call->first->next->value))
                return wrong(p, "a set expected");
            action->kind = added ? ACTION_ADD : ACTION_DELETE;
            action->operand = call->first->next;
        }
    }
    for (; *end; end = &(*end)->next)
        if (!paths_compatible(&(*end)->path, 1, &action->path, "Statement", p->fault))
            return false;
    *end = action;
    return true;
}

static bool parse_update(struct parser *p, struct statement *statement)
{
    statement->kind = STATEMENT_UPDATE;
    statement->update = arena_alloc(p->arena, sizeof *statement->update);
    *statement->update = (struct update){0};
    if (!parse_table(p, statement))
        return false;
    while (at_word(p, "SET") || at_word(p, "REMOVE")) {
        bool remove = at_word(p, "REMOVE");
        next(p);
        do {
            if (!add_action(p, statement->update, remove))
                return false;
        } while (take_sign(p, ","));
    }
    if (!statement->update->actions)
        return wrong(p, "SET or REMOVE expected");
    return parse_where(p, statement) && parse_returning(p, statement);
}

static bool parse_statement(struct parser *p, struct statement *statement)
{
    if (take_word(p, "SELECT"))
        return parse_select(p, statement);
    if (take_word(p, "INSERT"))
        return parse_insert(p, statement);
    if (take_word(p, "UPDATE"))
        return parse_update(p, statement);
    if (take_word(p, "DELETE")) {
        statement->kind = STATEMENT_DELETE;
        return expect_word(p, "FROM") && parse_table(p, statement) && parse_where(p, statement) &&
               parse_returning(p, statement);
    }
    if (take_word(p, "EXISTS")) {
        bool ok = expect_sign(p, "(") && expect_word(p, "SELECT") && parse_select(p, statement) &&
                  expect_sign(p, ")");
        statement->kind = STATEMENT_EXISTS;
        return ok;
    }
    return fault_invalid(p->fault,
                         "Statement wasn't well formed, can't be processed: Expected data manipulation");
}

/* How deep a statement goes is bounded by the length that the model allows it. */

struct statement *statement_parse(struct arena *arena, struct text source, const struct json *parameters,
                                  struct fault *fault)
{
    struct parser p = {.arena = arena,
                       .fault = fault,
                       .start = source.data,
                       .at = source.data,
                       .end = source.data + source.size,
                       .next_parameter = parameters ? parameters->child : NULL};
    struct statement *statement = arena_alloc(arena, sizeof *statement);
    *statement = (struct statement){0};
    next(&p);
    if (!parse_statement(&p, statement) || fault->status)
        return NULL;
    take_sign(&p, ";");
    if (p.kind != END) {
        wrong(&p, "the end of the statement expected");
        return NULL;
    }
    if (p.next_parameter) {
        fault_invalid(fault, "Number of parameters in request and statement don't match.");
        return NULL;
    }
    return statement;
}
