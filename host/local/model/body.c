/* body.c: the JSON of a request, as strict as the service is with it: UTF-8, whole characters, each name of
 * an object once. */
#include "local/model/body.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define FEW 8 /* names that are compared one by one */

static int hex4(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef", *found = at[i] ? strchr(digits, at[i] | 0x20) : NULL;
        if (!found)
            return -1;
        value = value * 16 + (int)(found - digits);
    }
    return value;
}

/* Half a character in an escape: \ud83d without \udXXX behind it, or the other way round. */
static bool has_lone_surrogate(const char *at, const char *end)
{
    while ((at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
        if (end - at < 2 || at[1] != 'u') {
            at += end - at < 2 ? 1 : 2;
            continue;
        }
        int first = hex4(at + 2, end);
        at += 6;
        if (first < 0xd800 || first > 0xdfff)
            continue;
        int second = end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? hex4(at + 2, end) : -1;
        if (first > 0xdbff || second < 0xdc00 || second > 0xdfff)
            return true;
        at += 6;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    const struct json *x = *(const struct json *const *)a, *y = *(const struct json *const *)b;
    if (x->key_size != y->key_size)
        return x->key_size < y->key_size ? -1 : 1;
    return memcmp(x->key, y->key, x->key_size);
}

/* A name that the object has twice; NULL: there is none, here and within. */
static const struct json *find_twice(struct arena *arena, const struct json *value)
{
    const struct json *found = NULL;
    if (value->type == JSON_OBJECT && value->count > 1) {
        const struct json *few[FEW];
        const struct json **members =
            value->count > FEW ? arena_alloc(arena, value->count * sizeof *members) : few;
        size_t count = 0;
        json_each(member, value)
            members[count++] = member;
        qsort(members, count, sizeof *members, by_name);
        for (size_t i = 1; i < count && !found; i++)
            found = by_name(&members[i - 1], &members[i]) == 0 ? members[i] : NULL;
    }
    if (value->type == JSON_OBJECT || value->type == JSON_ARRAY) {
        json_each(inner, value) {
            if (found)
                break;
            found = find_twice(arena, inner);
        }
    }
    return found;
}

bool body_check(struct arena *arena, const struct json *root, const char *text, size_t size,
                struct fault *fault)
{
    size_t valid = utf8_valid_size(text, size);
    if (valid < size)
        return fault_set(fault, "SerializationException", "byte %zu of the request is not UTF-8", valid);
    if (has_lone_surrogate(text, text + size))
        return fault_set(fault, "SerializationException",
                         "the request holds half a character (a lone surrogate)");
    const struct json *twice = find_twice(arena, root);
    return !twice || fault_set(fault, "SerializationException", "an object has the member %.*s twice",
                               twice->key_size > 200 ? 200 : (int)twice->key_size, twice->key);
}
