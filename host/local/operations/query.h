/* query.h: a page of a table or index, for other operations than Query and Scan. */
#ifndef TIDEMILL_LOCAL_OPERATIONS_QUERY_H
#define TIDEMILL_LOCAL_OPERATIONS_QUERY_H

#include "local/operations/key_condition.h"

struct query_plan {
    const struct table *table;
    const struct index *index; /* NULL: the table */
    bool scan, descending;
    struct key_condition condition; /* unless it is a scan */
    struct expr *filter;            /* or NULL */
    struct projection *projection;  /* or NULL */
    int64_t limit;                  /* 0: none */
    const struct attr *start;       /* behind this key, or NULL */
    /* after query_run */
    struct attr *last; /* where the next page starts; NULL: there is none */
    size_t bytes;
};

/* Writes the items to call->out with commas between them. */
bool query_run(struct call *call, struct query_plan *plan);

#endif
