/* shapes.h: what the parameters of each operation may be, as the service's model says (shapes.c is written by
 * make_shapes.py). */
#ifndef TIDEMILL_LOCAL_MODEL_SHAPES_H
#define TIDEMILL_LOCAL_MODEL_SHAPES_H

#include <stdbool.h>
#include <stdint.h>

enum shape_kind {
    SHAPE_STRING,
    SHAPE_BLOB, /* in base64 */
    SHAPE_BOOLEAN,
    SHAPE_INTEGER,
    SHAPE_LONG,
    SHAPE_DOUBLE,
    SHAPE_LIST,
    SHAPE_MAP,
    SHAPE_STRUCTURE,
};

enum {
    MEMBER_REQUIRED = 1,
    MEMBER_GENERIC = 2,  /* a length or a range is told without the value, by the name as it was sent */
    MEMBER_ALONE = 4,    /* what is wrong with it is told alone, where every required member is there */
    MEMBER_LATER = 8,    /* what is wrong with it is told where nothing else is wrong */
    MEMBER_AS_JSON = 16, /* quoted as JSON */
    MEMBER_FIRST = 32,   /* that it is missing is told alone */
};

struct shape;

struct shape_member {
    const char *name; /* "TableName"; NULL: the list's end */
    const struct shape *shape;
    unsigned flags;
};

struct shape {
    const char *name; /* "KeySchemaElement" */
    enum shape_kind kind;
    int64_t min, max; /* of a number's value, or of a length, in characters or elements */
    bool has_min, has_max;
    bool name_or_arn;                   /* a table's */
    const char *pattern;                /* one or more of a set of characters, "[a-z]+"; or NULL */
    const char *const *values;          /* what may be chosen, ends with NULL; or NULL */
    const struct shape_member *members; /* of a structure, in the order in which they are checked */
    const struct shape *key, *value;    /* of a map; a list has a value alone */
};

/* What an operation of DynamoDB, or of DynamoDB Streams, takes; NULL: no such operation. */
const struct shape *shape_of_input(const char *operation, bool streams);

#endif
