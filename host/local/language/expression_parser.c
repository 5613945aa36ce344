/* expression_parser.c: from text to a tree; only the grammar. */
#include "local/language/expression_parser.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 150

/* ---- tokens ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool in_word(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static struct token token_from(struct text source, size_t at)
{
    const char *text = source.data;
    while (at < source.size && is_space(text[at]))
        at++;
    size_t end = at + 1;
    enum token_kind kind = TOKEN_SIGN;
    if (at >= source.size)
        return (struct token){TOKEN_END, {text + source.size, 0}};
    if (is_letter(text[at]) ||
        ((text[at] == '#' || text[at] == ':') && end < source.size && in_word(text[end]))) {
        kind = text[at] == '#' ? TOKEN_NAME : text[at] == ':' ? TOKEN_VALUE : TOKEN_WORD;
        while (end < source.size && in_word(text[end]))
            end++;
    } else if (text[at] >= '0' && text[at] <= '9') {
        kind = TOKEN_NUMBER;
        while (text[at] != '0' && end < source.size && text[end] >= '0' && text[end] <= '9')
            end++;
    } else if (end < source.size && ((text[at] == '<' && (text[end] == '=' || text[end] == '>')) ||
                                     (text[at] == '>' && text[end] == '='))) {
        end++;
    } else { /* a whole character of UTF-8 */
        while (end < source.size && ((unsigned char)text[end] & 0xc0) == 0x80)
            end++;
    }
    return (struct token){kind, {text + at, end - at}};
}

static struct token token_after(const struct parser *parser)
{
    return token_from(parser->source,
                      (size_t)(parser->at.text.data - parser->source.data) + parser->at.text.size);
}

void parser_begin(struct parser *parser, struct placeholders *placeholders, const char *parameter,
                  struct text source)
{
    *parser = (struct parser){.placeholders = placeholders, .parameter = parameter, .source = source};
    parser->at = token_from(source, 0);
    parser->before = (struct token){TOKEN_END, {NULL, 0}};
}

void parser_next(struct parser *parser)
{
    parser->before = parser->at;
    parser->at = token_after(parser);
}

bool parser_fault(struct parser *parser, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fault_invalid(parser->placeholders->fault, "Invalid %s: %s", parser->parameter, text);
}

/* 4 KB: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html. It bounds how
 * deep what follows goes, too. */
#define EXPRESSION_BYTES_MAX 4096

bool parser_has_size(struct parser *parser, struct text source)
{
    if (!source.size)
        return parser_fault(parser, "The expression can not be empty;");
    return source.size <= EXPRESSION_BYTES_MAX ||
           parser_fault(parser, "Expression size has exceeded the maximum allowed size; expression size: %zu",
                        source.size);
}

/* Shown with its neighbours. */
bool parser_unexpected(struct parser *parser)
{
    struct token after = token_after(parser);
    const char *from = parser->before.text.data ? parser->before.text.data : parser->at.text.data;
    const char *to = after.text.data + after.text.size;
    if (after.kind == TOKEN_END && parser->at.kind != TOKEN_END)
        to = parser->at.text.data + parser->at.text.size;
    if (parser->at.kind == TOKEN_END)
        return parser_fault(parser, "Syntax error; token: \"<EOF>\", near: \"%.*s\"", (int)(to - from), from);
    return parser_fault(parser, "Syntax error; token: \"%.*s\", near: \"%.*s\"", (int)parser->at.text.size,
                        parser->at.text.data, (int)(to - from), from);
}

bool parser_is_sign(const struct parser *parser, const char *sign)
{
    return parser->at.kind == TOKEN_SIGN && text_is(parser->at.text, sign, strlen(sign));
}

bool parser_is_word(const struct parser *parser, const char *word)
{
    return parser->at.kind == TOKEN_WORD && parser->at.text.size == strlen(word) &&
           strncasecmp(parser->at.text.data, word, parser->at.text.size) == 0;
}

bool parser_take_sign(struct parser *parser, const char *sign)
{
    if (!parser_is_sign(parser, sign))
        return false;
    parser_next(parser);
    return true;
}

bool parser_take_word(struct parser *parser, const char *word)
{
    if (!parser_is_word(parser, word))
        return false;
    parser_next(parser);
    return true;
}

bool parser_expect_sign(struct parser *parser, const char *sign)
{
    return parser_take_sign(parser, sign) || parser_unexpected(parser);
}

bool parser_expect_end(struct parser *parser)
{
    if (parser->at.kind != TOKEN_END)
        return parser_unexpected(parser);
    return !parser->redundant || parser_fault(parser, "The expression has redundant parentheses;");
}

/* ---- nodes ---- */

struct expr *expr_new(struct parser *parser, enum expr_kind kind, struct text text)
{
    struct expr *expr = arena_alloc(parser->placeholders->arena, sizeof *expr);
    *expr = (struct expr){.kind = kind, .text = text};
    return expr;
}

void expr_add(struct expr *expr, struct expr *argument)
{
    struct expr **end = &expr->first;
    while (*end)
        end = &(*end)->next;
    *end = argument;
}

size_t expr_argument_count(const struct expr *expr)
{
    size_t count = 0;
    for (const struct expr *argument = expr->first; argument; argument = argument->next)
        count++;
    return count;
}

/* ---- paths ---- */

static bool is_keyword(const struct parser *parser)
{
    static const char *const words[] = {"AND", "OR",     "NOT", "BETWEEN", "IN",
                                        "SET", "REMOVE", "ADD", "DELETE"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (parser_is_word(parser, words[i]))
            return true;
    return false;
}

static void add_step(struct parser *parser, struct path *path, struct step step)
{
    /* Room is doubled at each power of two. */
    if ((path->count & (path->count - 1)) == 0) {
        struct step *steps =
            arena_alloc(parser->placeholders->arena, (path->count ? path->count * 2 : 1) * sizeof *steps);
        if (path->count)
            memcpy(steps, path->steps, path->count * sizeof *steps);
        path->steps = steps;
    }
    path->steps[path->count++] = step;
}

static bool add_name(struct parser *parser, struct path *path)
{
    if ((parser->at.kind != TOKEN_WORD && parser->at.kind != TOKEN_NAME) || is_keyword(parser))
        return parser_unexpected(parser);
    add_step(parser, path, (struct step){.name = parser->at.text});
    parser_next(parser);
    return true;
}

static bool add_index(struct parser *parser, struct path *path)
{
    size_t index = 0;
    if (parser->at.kind != TOKEN_NUMBER)
        return parser_unexpected(parser);
    for (size_t i = 0; i < parser->at.text.size && index < 100000000; i++)
        index = index * 10 + (size_t)(parser->at.text.data[i] - '0');
    add_step(parser, path, (struct step){.indexed = true, .index = index});
    parser_next(parser);
    return parser_expect_sign(parser, "]");
}

bool parser_path(struct parser *parser, struct path *path)
{
    if (!add_name(parser, path))
        return false;
    for (;;) {
        if (parser_take_sign(parser, ".")) {
            if (!add_name(parser, path))
                return false;
        } else if (parser_take_sign(parser, "[")) {
            if (!add_index(parser, path))
                return false;
        } else {
            return true;
        }
    }
}

/* ---- operands ---- */

static struct expr *parse_or(struct parser *parser);

static bool parse_arguments(struct parser *parser, struct expr *call)
{
    do {
        struct expr *argument = parser_operand(parser);
        if (!argument)
            return false;
        expr_add(call, argument);
    } while (parser_take_sign(parser, ","));
    return parser_expect_sign(parser, ")");
}

static bool is_call(const struct parser *parser)
{
    struct token after = token_after(parser);
    return parser->at.kind == TOKEN_WORD && after.kind == TOKEN_SIGN && *after.text.data == '(';
}

static struct expr *parse_plain_operand(struct parser *parser)
{
    struct expr *expr;
    if (parser->at.kind == TOKEN_VALUE) {
        expr = expr_new(parser, EXPR_VALUE, parser->at.text);
        parser_next(parser);
        return expr;
    }
    if (is_call(parser) && !is_keyword(parser)) {
        expr = expr_new(parser, EXPR_CALL, parser->at.text);
        parser_next(parser);
        parser_next(parser);
        return parse_arguments(parser, expr) ? expr : NULL;
    }
    expr = expr_new(parser, EXPR_PATH, parser->at.text);
    return parser_path(parser, &expr->path) ? expr : NULL;
}

static struct expr *close_parentheses(struct parser *parser, struct expr *inner)
{
    parser->depth--;
    if (!inner || !parser_expect_sign(parser, ")"))
        return NULL;
    parser->redundant = parser->redundant || inner->parenthesised;
    inner->parenthesised = true;
    return inner;
}

static bool too_deep(struct parser *parser)
{
    if (++parser->depth <= DEPTH_MAX)
        return false;
    parser_fault(parser, "The expression contains too many parentheses or operators");
    return true;
}

struct expr *parser_operand(struct parser *parser)
{
    if (!parser_take_sign(parser, "("))
        return parse_plain_operand(parser);
    return too_deep(parser) ? NULL : close_parentheses(parser, parser_operand(parser));
}

/* ---- conditions ---- */

static bool is_condition(const struct expr *expr)
{
    return expr->kind != EXPR_PATH && expr->kind != EXPR_VALUE;
}

static bool take_comparator(struct parser *parser, struct text *operator)
{
    static const char *const signs[] = {"=", "<>", "<", "<=", ">", ">="};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (!parser_is_sign(parser, signs[i]))
            continue;
        *operator= parser->at.text;
        parser_next(parser);
        return true;
    }
    return false;
}

static struct expr *add_operand(struct parser *parser, struct expr *expr)
{
    struct expr *operand = parser_operand(parser);
    if (operand)
        expr_add(expr, operand);
    return operand ? expr : NULL;
}

static struct expr *parse_between(struct parser *parser, struct expr *left)
{
    struct expr *expr = expr_new(parser, EXPR_BETWEEN, (struct text){"BETWEEN", 7});
    expr_add(expr, left);
    if (!add_operand(parser, expr))
        return NULL;
    if (!parser_take_word(parser, "AND")) {
        parser_unexpected(parser);
        return NULL;
    }
    return add_operand(parser, expr);
}

static struct expr *parse_in(struct parser *parser, struct expr *left)
{
    struct expr *expr = expr_new(parser, EXPR_IN, (struct text){"IN", 2});
    expr_add(expr, left);
    return parser_expect_sign(parser, "(") && parse_arguments(parser, expr) ? expr : NULL;
}

/* A condition in parentheses, or a first operand. */
static struct expr *parse_left(struct parser *parser)
{
    if (!parser_take_sign(parser, "("))
        return parse_plain_operand(parser);
    struct expr *inner = too_deep(parser) ? NULL : parse_or(parser);
    if (inner && inner->parenthesised && parser_is_sign(parser, ")")) {
        parser_fault(parser,
                     "The expression has redundant parentheses;"); /* other than of operands, at once */
        return NULL;
    }
    return close_parentheses(parser, inner);
}

static struct expr *parse_comparison(struct parser *parser)
{
    struct text operator;
    struct expr *left = parse_left(parser);
    if (!left || (is_condition(left) && left->kind != EXPR_CALL))
        return left;
    if (take_comparator(parser, &operator)) {
        struct expr *expr = expr_new(parser, EXPR_COMPARE, operator);
        expr_add(expr, left);
        return add_operand(parser, expr);
    }
    if (parser_take_word(parser, "BETWEEN"))
        return parse_between(parser, left);
    if (parser_take_word(parser, "IN"))
        return parse_in(parser, left);
    return left;
}

static struct expr *parse_not(struct parser *parser)
{
    if (!parser_take_word(parser, "NOT"))
        return parse_comparison(parser);
    if (too_deep(parser))
        return NULL;
    struct expr *expr = expr_new(parser, EXPR_NOT, (struct text){"NOT", 3}), *inner = parse_not(parser);
    parser->depth--;
    if (inner && !is_condition(inner)) {
        parser_unexpected(parser);
        return NULL;
    }
    if (inner)
        expr_add(expr, inner);
    return inner ? expr : NULL;
}

/* Operands joined by a word; a single one is itself. */
static struct expr *parse_joined(struct parser *parser, const char *word, enum expr_kind kind,
                                 struct expr *(*parse)(struct parser *))
{
    struct expr *left = parse(parser);
    while (left && parser_is_word(parser, word)) {
        if (!is_condition(left)) {
            parser_unexpected(parser);
            return NULL;
        }
        struct expr *expr = expr_new(parser, kind, parser->at.text);
        parser_next(parser);
        expr_add(expr, left);
        struct expr *right = parse(parser);
        if (right && !is_condition(right)) {
            parser_unexpected(parser);
            return NULL;
        }
        if (!right)
            return NULL;
        expr_add(expr, right);
        left = expr;
    }
    return left;
}

static struct expr *parse_and(struct parser *parser)
{
    return parse_joined(parser, "AND", EXPR_AND, parse_not);
}

static struct expr *parse_or(struct parser *parser)
{
    return parse_joined(parser, "OR", EXPR_OR, parse_and);
}

struct expr *parser_condition(struct parser *parser)
{
    struct expr *expr = parse_or(parser);
    if (expr && !is_condition(expr)) {
        parser_unexpected(parser);
        return NULL;
    }
    return expr;
}
