/* document.c: see document.h. */
#include "base/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

cJSON *document_read(const char *text, size_t size, struct err *err)
{
    const char *end = NULL;
    text = text ? text : "";
    cJSON *document = cJSON_ParseWithLengthOpts(text, size, &end, 0);
    size_t at = document ? (size_t)(end - text) : 0;
    while (document && at < size && strchr(" \t\r\n", text[at]) && text[at])
        at++;
    if (document && at == size)
        return document;
    if (document)
        err_set(err, ERR_PARSE, "not JSON: there is more behind it, at byte %zu", at);
    else
        err_set(err, ERR_PARSE, "not JSON (at byte %zu)", end ? (size_t)(end - text) : 0);
    cJSON_Delete(document);
    return NULL;
}

cJSON *document_get(const cJSON *object, const char *name)
{
    return object ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

const char *document_text(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(document_get(object, name));
}

int64_t document_integer(const cJSON *object, const char *name, int64_t otherwise)
{
    const cJSON *number = document_get(object, name);
    if (!cJSON_IsNumber(number) || !(number->valuedouble > -9e15 && number->valuedouble < 9e15))
        return otherwise;
    return (int64_t)number->valuedouble;
}

void document_write(cJSON *document, struct buf *out)
{
    char *text = cJSON_PrintUnformatted(document);
    if (!text)
        abort(); /* no memory, as in base/mem.c */
    buf_add_text(out, text);
    cJSON_free(text);
    cJSON_Delete(document);
}

void document_add_text(cJSON *object, const char *name, const char *text)
{
    char *valid = utf8_copy(text);
    cJSON_AddStringToObject(object, name, valid);
    free(valid);
}

void document_add_integer(cJSON *object, const char *name, int64_t number)
{
    char text[32], *valid = utf8_copy(name); /* it may be a handler's */
    snprintf(text, sizeof text, "%lld", (long long)number);
    cJSON_AddRawToObject(object, valid, text); /* all digits */
    free(valid);
}
