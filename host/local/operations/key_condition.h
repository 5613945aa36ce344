/* key_condition.h: which part of a partition a Query wants. */
#ifndef TIDEMILL_LOCAL_OPERATIONS_KEY_CONDITION_H
#define TIDEMILL_LOCAL_OPERATIONS_KEY_CONDITION_H

#include "local/keep/call.h"

enum range_test { RANGE_ANY, RANGE_EQ, RANGE_LT, RANGE_LE, RANGE_GT, RANGE_GE, RANGE_BETWEEN, RANGE_BEGINS };

struct key_condition {
    struct expr *expr; /* as it was parsed; NULL of KeyConditions */
    const struct key_schema *key;
    struct attr *equal[KEY_PARTS_MAX]; /* what the first `equal_count` parts must be */
    size_t equal_count;                /* all HASH attributes, and of the RANGE ones those before the last */
    enum range_test test;              /* of the part behind them */
    struct attr *low, *high;           /* of BETWEEN both, else `low` alone */
};

/* KeyConditionExpression, or KeyConditions: that there is one, and its grammar. */
bool key_condition_parse(struct call *call, struct placeholders *placeholders,
                         struct key_condition *condition);

/* What it asks of the key of the table or index. */
bool key_condition_resolve(struct call *call, const struct key_schema *key, const char *index,
                           struct key_condition *condition);

/* The bytes of what the HASH attributes must be. */
struct text key_condition_hash(const struct key_condition *condition, struct arena *arena);

/* Where a sort key stands: -1 before what is wanted, 0 in it, 1 behind it. */
int key_condition_place(const struct key_condition *condition, struct arena *arena, struct text range);

/* Where to begin walking up, or down. */
struct text key_condition_start(const struct key_condition *condition, struct arena *arena, bool descending);

/* Does an expression use an attribute of the key? Then a fault. */
bool filter_spares_key(struct call *call, const struct expr *filter, const struct key_schema *key);

#endif
