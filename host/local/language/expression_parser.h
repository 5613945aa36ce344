/* expression_parser.h: what the files of expressions share. Private to them. */
#ifndef TIDEMILL_LOCAL_LANGUAGE_EXPRESSION_PARSER_H
#define TIDEMILL_LOCAL_LANGUAGE_EXPRESSION_PARSER_H

#include "local/language/expression.h"

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_NAME, TOKEN_VALUE, TOKEN_NUMBER, TOKEN_SIGN };

struct token {
    enum token_kind kind;
    struct text text;
};

struct parser {
    struct placeholders *placeholders;
    const char *parameter;
    struct text source;
    struct token before, at; /* the token before, and the one to be read next */
    int depth;
    bool redundant;         /* parentheses in parentheses were seen */
    bool resolving, typing; /* which of the second pass's questions are asked */
};

void parser_begin(struct parser *parser, struct placeholders *placeholders, const char *parameter,
                  struct text source);

/* False, and the fault, of an empty expression and of one that the service finds too large. */
bool parser_has_size(struct parser *parser, struct text source);

/* Both return false. */
bool parser_unexpected(struct parser *parser); /* the token at hand */
bool parser_fault(struct parser *parser, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool parser_is_sign(const struct parser *parser, const char *sign);
bool parser_is_word(const struct parser *parser, const char *word); /* whatever its case */
void parser_next(struct parser *parser);
bool parser_take_sign(struct parser *parser, const char *sign); /* true when it was there */
bool parser_take_word(struct parser *parser, const char *word);
bool parser_expect_sign(struct parser *parser, const char *sign); /* false and a fault otherwise */
bool parser_expect_end(struct parser *parser);                    /* and no redundant parentheses before it */

/* A path as it stands: names are not filled in yet. */
bool parser_path(struct parser *parser, struct path *path);

/* A path, a value, a function or something in parentheses. NULL and a fault. */
struct expr *parser_operand(struct parser *parser);

/* Comparisons, functions that are conditions, and what joins them. NULL and a fault. */
struct expr *parser_condition(struct parser *parser);

struct expr *expr_new(struct parser *parser, enum expr_kind kind, struct text text);
void expr_add(struct expr *expr, struct expr *argument);

/* ---- the second pass: reserved words and functions, then names and values, then types ---- */

enum place { PLACE_CONDITION, PLACE_OPERAND, PLACE_UPDATE };

bool check_reserved(struct parser *parser, const struct path *path);

/* Reserved words, and functions where they may not stand. */
bool check_words(struct parser *parser, const struct expr *expr, enum place place);

/* Fill in #names, when resolving. */
bool check_path(struct parser *parser, struct path *path);

/* An operand of a comparison (`update`: of SET): values are filled in when resolving, and must be of the
 * right types when typing. */
bool check_operand(struct parser *parser, struct expr *expr, bool update);

bool check_condition(struct parser *parser, struct expr *expr);

/* ---- values of operands ---- */

/* NULL: there is none. */
const struct attr *operand_value(struct arena *arena, const struct expr *expr, const struct attr *item);

bool reserved_word(struct text word);

#endif
