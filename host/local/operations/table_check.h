/* table_check.h: is a table's definition one the service would take? Private to tables.c and update_table.c.
 */
#ifndef TIDEMILL_LOCAL_OPERATIONS_TABLE_CHECK_H
#define TIDEMILL_LOCAL_OPERATIONS_TABLE_CHECK_H

#include "local/keep/call.h"

/* AttributeDefinitions of the request. */
bool check_attributes(struct call *call);

/* KeySchema and AttributeDefinitions of a table or index; `index` NULL: of the table. */
bool check_key_schema(struct call *call, const struct json *schema, const struct json *attributes);

/* One element of LocalSecondaryIndexes or GlobalSecondaryIndexes. `table` is the table's KeySchema. */
bool check_index(struct call *call, const struct json *index, const struct json *attributes,
                 const struct json *table, bool global);

/* The whole of a CreateTable request. */
bool check_new_table(struct call *call);

bool check_stream_specification(struct call *call, const struct json *specification);

#endif
