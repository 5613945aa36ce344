/* item_key.c: see item_key.h. */
#include "record/item_key.h"

#include <stdlib.h>
#include <string.h>

#include "aws/sigv4.h"
#include "base/mem.h"

static char *safe(const char *text, size_t size)
{
    bool is_safe = size && size <= ITEM_KEY_BYTES_MAX;
    for (size_t i = 0; is_safe && i < size; i++)
        is_safe = text[i] > ' ' && text[i] <= '~';
    if (is_safe)
        return mem_copy(text, size);
    char hash[65];
    sha256_hex(text, size, hash);
    return mem_string(hash);
}

char *item_key_safe(const char *text)
{
    return safe(text, strlen(text));
}

static int compare_names(const struct json *a, const struct json *b)
{
    size_t size = a->key_size < b->key_size ? a->key_size : b->key_size;
    int order = memcmp(a->key, b->key, size);
    return order ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

/* The values of the key's one or two attributes, in the order of their names. */
struct key_values {
    const struct json *values[2]; /* the second, or both, may be NULL */
    struct json attributes[2], copies[2];
    struct arena scratch; /* where a text has escapes */
};

static void key_values_read(struct key_values *key, const struct json *keys)
{
    size_t count = 0;
    const struct json *attribute;
    key->values[0] = key->values[1] = NULL;
    key->scratch = ARENA_INIT;
    if (!keys)
        return;
    for (struct json_walk walk = json_walk(keys, true);
         count < 2 && (attribute = json_walk_next(&walk, &key->scratch)); count++) {
        const struct json *value = json_children(attribute);
        key->attributes[count] = *attribute;
        if (value) {
            key->copies[count] = *value;
            key->values[count] = &key->copies[count];
        }
    }
    if (count == 2 && compare_names(&key->attributes[0], &key->attributes[1]) > 0) {
        const struct json *second = key->values[0];
        key->values[0] = key->values[1];
        key->values[1] = second;
    }
}

static void key_values_fini(struct key_values *key)
{
    arena_fini(&key->scratch);
}

char *item_key_document(const struct json *keys, size_t size_max)
{
    struct key_values key;
    struct buf text = BUF_INIT;
    key_values_read(&key, keys);
    const struct json *const *values = key.values;
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
    key_values_fini(&key);
    return id;
}

char *item_key_text(const struct json *keys)
{
    struct key_values key;
    struct buf text = BUF_INIT;
    key_values_read(&key, keys);
    const struct json *const *values = key.values;
    for (size_t i = 0; i < 2 && values[i]; i++) {
        if (i)
            buf_add_char(&text, '|');
        /* One with U+0000 in it ends there for item_key_safe: it is hashed with what makes it differ. */
        if (memchr(values[i]->text, '\0', values[i]->size))
            json_write_string(&text, values[i]->text, values[i]->size);
        else
            buf_add(&text, values[i]->text, values[i]->size);
    }
    char *written = safe(text.data ? text.data : "", text.size);
    buf_fini(&text);
    key_values_fini(&key);
    return written;
}
