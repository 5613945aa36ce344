/* item_key.c: see item_key.h. */
#include "record/item_key.h"

#include <stdlib.h>
#include <string.h>

#include "aws/sigv4.h"
#include "base/mem.h"

char *item_key_safe(const char *text)
{
    size_t size = strlen(text);
    bool safe = size && size <= ITEM_KEY_BYTES_MAX;
    for (size_t i = 0; safe && i < size; i++)
        safe = text[i] > ' ' && text[i] <= '~';
    if (safe)
        return mem_string(text);
    char hash[65];
    sha256_hex(text, size, hash);
    return mem_string(hash);
}

static int compare_names(const struct json *a, const struct json *b)
{
    size_t size = a->key_size < b->key_size ? a->key_size : b->key_size;
    int order = memcmp(a->key, b->key, size);
    return order ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

char *item_key_text(const struct json *keys)
{
    const struct json *first = keys ? keys->child : NULL, *second = first ? first->next : NULL;
    struct buf text = BUF_INIT;
    if (second && compare_names(first, second) > 0) {
        const struct json *other = first;
        first = second;
        second = other;
    }
    const struct json *values[] = {first ? first->child : NULL, second ? second->child : NULL};
    for (size_t i = 0; i < 2 && values[i]; i++) {
        if (i)
            buf_add_char(&text, '|');
        /* One with U+0000 in it ends there for item_key_safe: it is hashed with what makes it differ. */
        if (memchr(values[i]->text, '\0', values[i]->size))
            json_write_string(&text, values[i]->text, values[i]->size);
        else
            buf_add(&text, values[i]->text, values[i]->size);
    }
    char *whole = buf_take(&text), *safe = item_key_safe(whole);
    free(whole);
    return safe;
}
