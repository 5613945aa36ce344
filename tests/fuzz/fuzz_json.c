/* fuzz_json.c: whatever is parsed and written again parses to the same text; what is deferred is the same,
 * and refused for the same reason; an index is the same by whichever way it is made. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/json_index.h"

static void demand(bool holds)
{
    if (!holds)
        abort();
}

static bool same_bytes(const char *a, size_t a_size, const char *b, size_t b_size)
{
    return a_size == b_size && (!a_size || memcmp(a, b, a_size) == 0);
}

static void same_value(const struct json *a, const struct json *b)
{
    demand(a->type == b->type && a->count == b->count && same_bytes(a->text, a->size, b->text, b->size));
}

/* The first member of that key, and its place. */
static const struct json *first_of(const struct json *object, const struct json *like, size_t *place)
{
    *place = 0;
    json_each(member, object) {
        if (same_bytes(member->key, member->key_size, like->key, like->key_size))
            return member;
        ++*place;
    }
    return NULL;
}

static void same_tree(const struct json *a, const struct json *b)
{
    struct buf wanted = BUF_INIT, found = BUF_INIT;
    same_value(a, b);
    json_write_value(&wanted, a);
    json_write_value(&found, b);
    demand(same_bytes(wanted.data, wanted.size, found.data, found.size));
    buf_fini(&wanted);
    buf_fini(&found);
}

/* Members by their places, right ones and others, in their order and not. */
static void ask_at(const struct json *whole, const struct json *deferred)
{
    struct arena scratch = ARENA_INIT;
    struct json_finger finger = {0};
    size_t number = 0, at;
    json_each(member, whole) {
        size_t guesses[] = {number, (number * 7 + member->key_size) % (whole->count + 2), SIZE_MAX};
        for (size_t i = 0; i < sizeof guesses / sizeof *guesses; i++) {
            at = guesses[i];
            const struct json *picked =
                json_pick_at(deferred, member->key, member->key_size, &scratch, &finger, &at);
            const struct json *there = whole->child;
            demand(picked && at < whole->count && (i > 0 || at == number));
            for (size_t n = 0; n < at; n++)
                there = there->next;
            demand(same_bytes(there->key, there->key_size, member->key, member->key_size));
            same_tree(there, picked);
        }
        number++;
        arena_clear(&scratch);
    }
    at = number / 2;
    demand(!!json_pick_at(deferred, "no such", 7, &scratch, &finger, &at) == !!json_get(whole, "no such"));
    arena_fini(&scratch);
}

#define ASKED 20 /* members of an object */

/* Members of a deferred object, one by one and several at once, before it has its tree. */
static void ask_all(const struct json *whole, const struct json *deferred)
{
    struct arena scratch = ARENA_INIT;
    struct json_name names[ASKED];
    struct json storage[ASKED];
    const struct json *found[ASKED];
    size_t count = 0, place, at;
    json_each(member, whole) {
        const struct json *first = first_of(whole, member, &place);
        const struct json *picked = json_pick(deferred, member->key, member->key_size, &scratch, &at);
        demand(picked && at == place);
        same_tree(first, picked);
        arena_clear(&scratch);
        if (first != member) /* names are asked for once */
            continue;
        names[count] = (struct json_name){member->key, member->key_size};
        if (++count == ASKED)
            break;
    }
    json_look(deferred, names, count, &scratch, storage, found);
    for (size_t i = 0; i < count; i++) {
        const struct json like = {.key = names[i].text, .key_size = (uint32_t)names[i].size};
        demand(found[i] != NULL);
        same_value(first_of(whole, &like, &place), found[i]);
    }
    demand(!!json_pick(deferred, "no such", 7, &scratch, &at) == !!json_get(whole, "no such"));
    demand(!!json_pick(deferred, "a", 1, &scratch, &at) == !!json_get(whole, "a"));
    arena_fini(&scratch);
}

/* Children one after the other, with all of their trees or deferred. */
static void walk_all(const struct json *whole, const struct json *deferred, bool trees)
{
    struct arena scratch = ARENA_INIT;
    struct json_walk walk = json_walk(deferred, trees);
    json_each(child, whole) {
        struct arena_mark mark = arena_mark(&scratch);
        const struct json *walked = json_walk_next(&walk, &scratch);
        demand(walked && same_bytes(child->key, child->key_size, walked->key, walked->key_size));
        demand(!trees || !walked->deferred);
        same_tree(child, walked);
        arena_release(&scratch, mark);
    }
    demand(!json_walk_next(&walk, &scratch));
    arena_fini(&scratch);
}

static void compare(const struct json *a, const struct json *b)
{
    same_value(a, b);
    demand(same_bytes(a->key, a->key_size, b->key, b->key_size));
    if (b->deferred) {
        walk_all(a, b, false);
        walk_all(a, b, true);
        same_tree(a, b);
    }
    if (b->deferred && b->type == JSON_OBJECT) {
        ask_at(a, b);
        ask_all(a, b);
    }
    const struct json *other = a->type == JSON_ARRAY || a->type == JSON_OBJECT ? json_children(b) : NULL;
    json_each(child, a) {
        demand(other != NULL);
        compare(child, other);
        other = other->next;
    }
    demand(!other);
}

static void defer(const char *data, size_t size, const struct json *root, const struct err *why)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    const struct json *other = json_parse_deferring(&arena, data, size, (int)(size % 4), &err);
    demand(!other == !root && (other || strcmp(err.text, why->text) == 0));
    if (other)
        compare(root, other);
    arena_fini(&arena);
}

static size_t values_of(const struct json *tree)
{
    size_t count = 1;
    json_each(child, tree)
        count += values_of(child);
    return count;
}

static void index_by_all(const char *data, size_t size, const struct json *root)
{
    bool right = root != NULL;
    struct arena arena = ARENA_INIT;
    struct json_index first, other;
    const struct json_index_way *way = json_index_ways();
    demand(json_index_make_by(way, &first, &arena, data, size) == right);
    demand(!root || (root->type != JSON_ARRAY && root->type != JSON_OBJECT) ||
           first.values == values_of(root));
    while ((++way)->name) {
        demand(json_index_make_by(way, &other, &arena, data, size) == right);
        if (!right)
            continue;
        demand(first.count == other.count && first.escapes == other.escapes && first.spaces == other.spaces &&
               first.values == other.values && first.alike == other.alike);
        demand(memcmp(first.at, other.at, (first.count + 1) * sizeof *first.at) == 0);
        demand(memcmp(first.ways, other.ways, first.count * sizeof *first.ways) == 0);
        demand(memcmp(first.first, other.first, (size / 64 + 1) * sizeof *first.first) == 0);
    }
    arena_fini(&arena);
}

static void ask(const char *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct err err;
    const struct json *root = json_parse(&arena, data, size, &err);
    index_by_all(data, size, root);
    defer(data, size, root, &err);
    if (root) {
        json_write_value(&once, root);
        root = json_parse(&arena, once.data, once.size, &err);
        demand(root != NULL);
        json_write_value(&twice, root);
        demand(same_bytes(once.data, once.size, twice.data, twice.size));
    }
    buf_fini(&once);
    buf_fini(&twice);
    arena_fini(&arena);
}

#define OBJECT_BYTES_MAX 400

/* A list of objects that look alike, but for a byte of one. */
static void ask_list(const char *object, size_t size)
{
    static const char bytes[] = "\"\\{}[]:, 01-.etfn";
    uint64_t random = hash_bytes(object, size, 1);
    struct buf list = BUF_INIT;
    buf_add_char(&list, '[');
    for (int i = 0; i < 5; i++) {
        if (i)
            buf_add_char(&list, ',');
        buf_add(&list, object, size);
        if (i == 3)
            list.data[list.size - size + random % size] = bytes[(random >> 32) % (sizeof bytes - 1)];
    }
    buf_add_char(&list, ']');
    ask(list.data, list.size);
    buf_fini(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ask((const char *)data, size);
    if (size && size <= OBJECT_BYTES_MAX)
        ask_list((const char *)data, size);
    return 0;
}
