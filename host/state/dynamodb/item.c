/* item.c: see item.h. */
#include "state/dynamodb/item.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/hex.h"
#include "base/mem.h"

/* ---- attributes ---- */

void item_add_text(cJSON *item, const char *name, const char *text)
{
    if (text)
        document_add_text(cJSON_AddObjectToObject(item, name), "S", text);
}

void item_add_number(cJSON *item, const char *name, int64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, number);
    document_add_text(cJSON_AddObjectToObject(item, name), "N", text);
}

void item_add_double(cJSON *item, const char *name, double number)
{
    char text[48];
    snprintf(text, sizeof text, "%.3f", number > -1e15 && number < 1e15 ? number : 0);
    document_add_text(cJSON_AddObjectToObject(item, name), "N", text);
}

void item_add_bool(cJSON *item, const char *name, bool value)
{
    cJSON_AddBoolToObject(cJSON_AddObjectToObject(item, name), "BOOL", value);
}

void item_add_bytes(cJSON *item, const char *name, const void *bytes, size_t size)
{
    struct buf text = BUF_INIT;
    base64_write(&text, bytes, size);
    document_add_text(cJSON_AddObjectToObject(item, name), "B", text.data ? text.data : "");
    buf_fini(&text);
}

const char *item_text_or_null(const cJSON *item, const char *name)
{
    const char *text = document_text(document_get(item, name), "S");
    return text && *text ? text : NULL;
}

const char *item_text(const cJSON *item, const char *name)
{
    const char *text = item_text_or_null(item, name);
    return text ? text : "";
}

int64_t item_number(const cJSON *item, const char *name)
{
    const char *text = document_text(document_get(item, name), "N");
    return text ? strtoll(text, NULL, 10) : 0;
}

double item_double(const cJSON *item, const char *name)
{
    const char *text = document_text(document_get(item, name), "N");
    return text ? strtod(text, NULL) : 0;
}

bool item_bool(const cJSON *item, const char *name)
{
    return cJSON_IsTrue(document_get(document_get(item, name), "BOOL"));
}

bool item_bytes(const cJSON *item, const char *name, struct buf *out)
{
    const char *text = document_text(document_get(item, name), "B");
    size_t size = text ? strlen(text) : 0, decoded = 0;
    if (!text)
        return false;
    buf_reserve(out, BASE64_DECODED_MAX(size));
    if (!base64_decode(text, size, out->data + out->size, &decoded))
        return false;
    out->size += decoded;
    out->data[out->size] = '\0';
    return true;
}

/* ---- names ---- */

void item_add_key(cJSON *object, const char *partition, const char *sort)
{
    item_add_text(object, "pk", partition);
    item_add_text(object, "sk", sort);
}

char *item_group(const char *group)
{
    struct buf out = BUF_INIT;
    for (; *group; group++)
        if (*group == '%' || *group == '/')
            buf_printf(&out, "%%%02X", (unsigned)*group);
        else
            buf_add_char(&out, *group);
    return buf_take(&out);
}

void item_digest(const char *const *texts, char digest[ITEM_DIGEST_SIZE])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    struct buf all = BUF_INIT;
    for (; *texts; texts++)
        buf_add(&all, *texts, strlen(*texts) + 1); /* with its end: what is cut elsewhere is something else */
    EVP_Digest(all.data, all.size, bytes, NULL, EVP_sha256(), NULL);
    *hex_write(digest, bytes, (ITEM_DIGEST_SIZE - 1) / 2) = '\0';
    buf_fini(&all);
}
