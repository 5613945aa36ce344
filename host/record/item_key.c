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

/* The values of the key's one or two attributes, in the order of their names. */
static void find_values(const struct json *keys, const struct json *values[2])
{
    const struct json *first = keys ? json_children(keys) : NULL, *second = first ? first->next : NULL;
    bool turned = second && compare_names(first, second) > 0;
    values[0] = first ? json_children(turned ? second : first) : NULL;
    values[1] = second ? json_children(turned ? first : second) : NULL;
}

char *item_key_document(const struct json *keys, size_t size_max)
{
    const struct json *values[2];
    struct buf text = BUF_INIT;
    find_values(keys, values);
    for (size_t i = 0; i < 2 && values[i]; i++) {
        if (i)
            buf_add_char(&text, '#');
        for (size_t at = 0; at < values[i]->size; at++)
            if (values[1] && (values[i]->text[at] == '#' || values[i]->text[at] == '%'))
                buf_printf(&text, "%%%02X", (unsigned)values[i]->text[at]);
            else
                buf_add_char(&text, values[i]->text[at]);
    }
    bool fits = text.size && text.size <= size_max && !memchr(text.data, '\0', text.size);
    char hash[65];
    if (!fits)
        sha256_hex(text.data ? text.data : "", text.size, hash);
    char *id = fits ? mem_copy(text.data, text.size) : mem_string(hash);
    buf_fini(&text);
    return id;
}

char *item_key_text(const struct json *keys)
{
    const struct json *values[2];
    struct buf text = BUF_INIT;
    find_values(keys, values);
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
