/* item.h: items of the table as cJSON has them, and the names under which a group's rows stand in it.
 *
 * What is read takes any shape: a member that is missing, or of another type, is "", 0 or false. */
#ifndef TIDEMILL_STATE_DYNAMODB_ITEM_H
#define TIDEMILL_STATE_DYNAMODB_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/document.h"

/* ---- attributes ---- */

void item_add_text(cJSON *item, const char *name, const char *text); /* NULL: not at all */
void item_add_number(cJSON *item, const char *name, int64_t number);
void item_add_double(cJSON *item, const char *name, double number); /* three digits behind the point */
void item_add_bool(cJSON *item, const char *name, bool value);
void item_add_bytes(cJSON *item, const char *name, const void *bytes, size_t size);

const char *item_text(const cJSON *item, const char *name);
const char *item_text_or_null(const cJSON *item, const char *name); /* NULL also for "" */
int64_t item_number(const cJSON *item, const char *name);
double item_double(const cJSON *item, const char *name);
bool item_bool(const cJSON *item, const char *name);
bool item_bytes(const cJSON *item, const char *name,
                struct buf *out); /* added to it; false: there are none */

/* ---- names ---- */

void item_add_key(cJSON *object, const char *partition, const char *sort);

/* The group as it stands in keys: '%' and '/' as in URLs. To be freed. */
char *item_group(const char *group);

/* What texts come to in keys: the same texts to the same 32 digits, others to others. Ends with NULL. */
#define ITEM_DIGEST_SIZE 33
void item_digest(const char *const *texts, char digest[ITEM_DIGEST_SIZE]);

#endif
