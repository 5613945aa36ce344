/* fuzz_json.c: whatever is parsed and written again parses to the same text; objects that are deferred are
 * the same, and refused for the same reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static const char *const names[] = {"a", "NewImage"};

/* Members of deferred objects, one by one and before the object has its tree, are those that it has then. */
static void pick_all(const struct json *whole, const struct json *deferred)
{
    struct arena scratch = ARENA_INIT;
    size_t place = 0, at;
    json_each(member, whole) {
        struct buf wanted = BUF_INIT, picked = BUF_INIT;
        const struct json *found = json_pick(deferred, member->key, member->key_size, &scratch, &at);
        size_t first = 0;
        json_each(one, whole) {
            if (one->key_size == member->key_size && memcmp(one->key, member->key, one->key_size) == 0) {
                json_write_value(&wanted, one);
                break;
            }
            first++;
        }
        if (!found || at != first)
            abort();
        json_write_value(&picked, found);
        if (picked.size != wanted.size || memcmp(picked.data, wanted.data, picked.size) != 0)
            abort();
        buf_fini(&wanted);
        buf_fini(&picked);
        arena_clear(&scratch);
        if (++place == 20)
            break;
    }
    if (json_pick(deferred, "no such", 7, &scratch, &at))
        abort();
    arena_fini(&scratch);
}

static void compare(const struct json *a, const struct json *b)
{
    if (a->type != b->type || a->count != b->count || a->size != b->size)
        abort();
    if (b->deferred)
        pick_all(a, b);
    const struct json *other = a->type == JSON_ARRAY || a->type == JSON_OBJECT ? json_children(b) : NULL;
    json_each(child, a) {
        compare(child, other);
        other = other->next;
    }
    if (other)
        abort();
}

static void defer(const char *data, size_t size, const struct json *root, const struct err *why)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    struct json_deferring deferring = {(int)(size % 4), {names[0], names[1]}};
    const struct json *other = json_parse_deferring(&arena, data, size, &deferring, &err);
    if (!other != !root || (!other && strcmp(err.text, why->text) != 0))
        abort();
    if (other)
        compare(root, other);
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct err err;
    const struct json *root = json_parse(&arena, (const char *)data, size, &err);
    defer((const char *)data, size, root, &err);
    if (root) {
        json_write_value(&once, root);
        root = json_parse(&arena, once.data, once.size, &err);
        if (!root)
            abort();
        json_write_value(&twice, root);
        if (once.size != twice.size || memcmp(once.data, twice.data, once.size) != 0)
            abort();
    }
    buf_fini(&once);
    buf_fini(&twice);
    arena_fini(&arena);
    return 0;
}
