/* pattern.h: the compiled form. Private to filter/. Everything lives in the filter's arena. */
#ifndef TIDEMILL_FILTER_PATTERN_H
#define TIDEMILL_FILTER_PATTERN_H

#include <stdint.h>

#include "base/arena.h"
#include "base/json.h"

enum matcher_kind {
    MATCH_STRING, /* text */
    MATCH_NUMBER, /* text as it is written; as a decimal where the event has an attribute number */
    MATCH_TRUE,
    MATCH_FALSE,
    MATCH_NULL,
    MATCH_PREFIX, /* text; `fold`: letters' case does not matter */
    MATCH_SUFFIX,
    MATCH_FOLDED,   /* equals-ignore-case */
    MATCH_WILDCARD, /* text with * */
    MATCH_NUMERIC,  /* bounds */
    MATCH_EXISTS,
    MATCH_ABSENT, /* {"exists": false} */
    MATCH_CIDR,
    MATCH_ANYTHING_BUT, /* none of `inner` */
};

/* A decimal of a pattern. Numbers that are whole and fit compare as integers. */
struct bound {
    const char *text;
    uint32_t size;
    bool small;
    int64_t integer;
};

struct matcher {
    struct matcher *next;
    enum matcher_kind kind;
    bool fold;
    const char *text;
    uint32_t size;
    struct bound number;      /* MATCH_NUMBER */
    struct bound low, high;   /* MATCH_NUMERIC; text NULL: none */
    bool low_open, high_open; /* the bound itself does not match */
    uint8_t address[16];      /* MATCH_CIDR */
    int address_bytes, prefix_bits;
    const struct matcher *inner; /* MATCH_ANYTHING_BUT */
};

struct pattern;

struct field {
    struct field *next;
    const char *key;
    const char *other_key; /* another spelling of the same length, or NULL */
    uint32_t key_size;
    const struct pattern *object; /* or */
    const struct matcher *leaf;
};

/* All fields match, and of each $or one alternative. */
struct pattern {
    const struct field *fields;
    struct alternatives {
        struct alternatives *next;
        const struct pattern *const *patterns;
        size_t count;
    } * ors;
    bool shared; /* an alternative has an object under a key that another, or `fields`, has too: they look
                  * into the same element of an array */
};

struct filter {
    struct arena arena;
    const struct pattern *root;
    const struct matcher *event; /* what the root says of eventName; or NULL */
};

#endif
