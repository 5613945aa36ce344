/* index_reads.h: what an index holds of an item, and what may be asked of it. `index` NULL: the table, which
 * has all. */
#ifndef TIDEMILL_LOCAL_OPERATIONS_INDEX_READS_H
#define TIDEMILL_LOCAL_OPERATIONS_INDEX_READS_H

#include "local/keep/call.h"

bool index_holds(const struct table *table, const struct index *index, struct text name);

/* A global index does not fetch from its table: an attribute that it lacks is a fault. Projection and filter
 * may be NULL. `any`: of a local index, too. */
bool index_holds_projection(struct call *call, const struct table *table, const struct index *index,
                            const struct projection *projection);
bool index_holds_filter(struct call *call, const struct table *table, const struct index *index,
                        const struct expr *filter, bool any);

#endif
