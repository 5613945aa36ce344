/* document.h: the JSON of everything that is not a record: answers of services, status, failure records'
 * frames. cJSON reads and writes it. base/json.h is for records and attribute values, and for what may hold
 * them (a window's state, messages): these need lengths, all digits of a number, U+0000 and speed. */
#ifndef TIDEMILL_BASE_DOCUMENT_H
#define TIDEMILL_BASE_DOCUMENT_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* To be freed with cJSON_Delete. NULL and `err` when it is no JSON, or more than that. */
cJSON *document_read(const char *text, size_t size, struct err *err);

/* A member; NULL where there is none of that name, or `object` is NULL or no object. */
cJSON *document_get(const cJSON *object, const char *name);

/* Likewise, of a text and of a number; an integer is good to 2^53. */
const char *document_text(const cJSON *object, const char *name);
int64_t document_integer(const cJSON *object, const char *name, int64_t otherwise);

/* Without spaces. Takes the document. */
void document_write(cJSON *document, struct buf *out);

/* Text that may hold anything: what is no UTF-8 is replaced. */
void document_add_text(cJSON *object, const char *name, const char *text);
void document_add_integer(cJSON *object, const char *name, int64_t number);

#endif
