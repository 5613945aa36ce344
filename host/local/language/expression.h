/* expression.h: condition, filter, key condition, update and projection expressions.
 *
 * Parsed in two passes as the service does: the grammar first, then what names, values and functions mean, so
 * that of several faults the same one is named. Everything lives in the request's arena. */
#ifndef TIDEMILL_LOCAL_LANGUAGE_EXPRESSION_H
#define TIDEMILL_LOCAL_LANGUAGE_EXPRESSION_H

#include "local/model/attribute.h"

/* ---- ExpressionAttributeNames and ExpressionAttributeValues of one request ---- */

struct placeholder {
    struct text key; /* "#name" or ":value" */
    struct text name;
    struct attr *value;
    bool used;
};

struct placeholders {
    struct arena *arena;
    struct fault *fault;
    struct placeholder *names, *values;
    size_t name_count, value_count;
};

/* Either may be NULL. `expressions`: the request has an expression at all. False and a fault. */
bool placeholders_read(struct placeholders *placeholders, struct arena *arena, const struct json *names,
                       const struct json *values, bool expressions, struct fault *fault);

/* After all expressions were parsed: each must have been used. */
bool placeholders_all_used(struct placeholders *placeholders);

/* ---- paths ---- */

struct step {
    bool indexed;
    size_t index;
    struct text name;
};

struct path {
    struct step *steps;
    size_t count;
};

struct attr *path_find(const struct path *path, const struct attr *item); /* NULL: nothing there */
bool path_equal(const struct path *a, const struct path *b);
void path_write(struct buf *out, const struct path *path); /* "[a, [0], b]" */

/* ---- expressions ---- */

enum expr_kind {
    EXPR_PATH,
    EXPR_VALUE,
    EXPR_CALL,    /* text: the function; arguments: `first` and on */
    EXPR_COMPARE, /* text: the operator */
    EXPR_BETWEEN, /* three arguments */
    EXPR_IN,      /* one and more */
    EXPR_AND,
    EXPR_OR,
    EXPR_NOT,
    EXPR_ARITHMETIC, /* text: + or - */
};

struct expr {
    enum expr_kind kind;
    struct text text;
    struct path path;
    struct attr *value;
    struct expr *first, *next;
    bool parenthesised;
};

/* `parameter` is the request's member, such as "ConditionExpression". NULL and a fault. */
struct expr *condition_parse(struct placeholders *placeholders, const char *parameter, struct text source);

/* `item` may be NULL: none is there. */
bool condition_holds(struct arena *arena, const struct expr *condition, const struct attr *item);

size_t expr_argument_count(const struct expr *expr);

/* ---- updates ---- */

enum action_kind { ACTION_SET, ACTION_REMOVE, ACTION_ADD, ACTION_DELETE };

struct action {
    struct action *next;
    enum action_kind kind;
    struct path path;
    struct expr *operand; /* NULL of REMOVE */
    struct attr *result;  /* while it is applied: what is to be there; NULL: nothing */
};

struct update {
    struct action *actions;
    bool legacy; /* from AttributeUpdates, which has sentences of its own */
};

/* Does it only take away? Then it makes no item where there is none. NULL: an update without an action makes
 * one. */
bool update_only_removes(const struct update *update);

struct update *update_parse(struct placeholders *placeholders, struct text source);

/* The item after the update; `item` itself is not touched. NULL and a fault. */
struct attr *update_apply(struct arena *arena, const struct update *update, const struct attr *item,
                          struct fault *fault);

/* ---- projections ---- */

struct projection {
    struct path *paths;
    size_t count;
    bool flat; /* PartiQL's: each value by the last name of its path, not within what it was in */
};

struct projection *projection_parse(struct placeholders *placeholders, struct text source);

/* What of the item lies on the paths. */
struct attr *projection_apply(struct arena *arena, const struct projection *projection,
                              const struct attr *item);

/* Does `path` overlap or conflict with one of `paths`? Then a fault about `parameter`. */
bool paths_compatible(const struct path *paths, size_t count, const struct path *path, const char *parameter,
                      struct fault *fault);

#endif
