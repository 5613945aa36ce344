/* table_check.h: is a table's definition one the service would take? Private to tables.c and update_table.c.
 */
#ifndef TIDEMILL_LOCAL_OPERATIONS_TABLE_CHECK_H
#define TIDEMILL_LOCAL_OPERATIONS_TABLE_CHECK_H

#include "local/keep/call.h"

#define GLOBAL_INDEXES_MAX 20

/* All of these: false and a fault. What the model says was checked before. */

/* The whole of a CreateTable request. */
bool check_new_table(struct call *call);

/* A global index with these AttributeDefinitions, of a table that is paid for by the request or not. */
bool check_global_index(struct call *call, const struct json *index, const struct json *attributes,
                        bool on_demand);

/* Of AttributeDefinitions the one of that name; NULL: none. */
const struct json *find_attribute(const struct json *attributes, struct text name);

bool attributes_differ(struct call *call); /* AttributeDefinitions */

/* What all indexes together may project; each NULL or a definition: lists of them, and one. */
bool check_projected(struct call *call, const struct json *locals, const struct json *globals,
                     const struct json *more);

bool check_stream_specification(struct call *call, const struct json *specification); /* NULL: none */
bool check_throughput(struct call *call, const struct json *throughput);              /* NULL: none */

#endif
