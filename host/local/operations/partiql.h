/* partiql.h: a PartiQL statement as the engine carries it out. Private to partiql*.c. */
#ifndef TIDEMILL_LOCAL_OPERATIONS_PARTIQL_H
#define TIDEMILL_LOCAL_OPERATIONS_PARTIQL_H

#include "local/keep/call.h"

enum statement_kind {
    STATEMENT_SELECT,
    STATEMENT_INSERT,
    STATEMENT_UPDATE,
    STATEMENT_DELETE,
    STATEMENT_EXISTS
};
enum returning {
    RETURNING_NONE,
    RETURNING_ALL_OLD,
    RETURNING_ALL_NEW,
    RETURNING_MODIFIED_OLD,
    RETURNING_MODIFIED_NEW
};

struct statement {
    enum statement_kind kind;
    struct text table, index;      /* index.data NULL: none */
    struct projection *projection; /* of SELECT; NULL: all */
    struct expr *where;            /* or NULL */
    bool descending;
    struct attr *item;     /* of INSERT */
    struct update *update; /* of UPDATE */
    enum returning returning;
};

/* `parameters` is the request's list, or NULL. NULL and a fault. */
struct statement *statement_parse(struct arena *arena, struct text source, const struct json *parameters,
                                  struct fault *fault);

#endif
