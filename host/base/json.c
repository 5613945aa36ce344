/* json.c: a recursive descent over the text, one node a value.
 *
 * Grammar: RFC 8259. A lone surrogate escape becomes U+FFFD, as most parsers do; bytes above 0x7f are
 * passed on as they are. */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/check.h"
#include "base/hex.h"
#include "base/json_index.h"
#include "base/json_scalar.h"
#include "base/mem.h"
#include "base/utf8.h"

struct parser {
    struct arena *arena;
    const char *start, *at, *end;
    const char *problem; /* what was wrong at `at` */
};

static bool fail(struct parser *p, const char *problem)
{
    if (!p->problem)
        p->problem = problem;
    return false;
}

static void skip_space(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

static bool is_plain(char c)
{
    return c != '"' && c != '\\' && (unsigned char)c >= 0x20;
}

/* Past what is neither a quote nor a backslash nor a control byte. */
static const char *skip_plain(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, slash)),
                                   _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
        int mask = _mm_movemask_epi8(hit);
        if (mask)
            return at + __builtin_ctz((unsigned)mask);
    }
#else
    const uint64_t ones = 0x0101010101010101ull, tops = 0x8080808080808080ull;
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
        uint64_t hit = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word);
        if (hit & tops)
            break;
    }
#endif
    while (at < end && is_plain(*at))
        at++;
    return at;
}

static int hex4(const char *at)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static char *put_utf8(char *out, uint32_t point)
{
    if (point < 0x80) {
        *out++ = (char)point;
    } else if (point < 0x800) {
        *out++ = (char)(0xc0 | point >> 6);
        *out++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *out++ = (char)(0xe0 | point >> 12);
        *out++ = (char)(0x80 | (point >> 6 & 0x3f));
        *out++ = (char)(0x80 | (point & 0x3f));
    } else {
        *out++ = (char)(0xf0 | point >> 18);
        *out++ = (char)(0x80 | (point >> 12 & 0x3f));
        *out++ = (char)(0x80 | (point >> 6 & 0x3f));
        *out++ = (char)(0x80 | (point & 0x3f));
    }
    return out;
}

/* `*at` stands behind "\u". */
static bool read_unicode(const char **at, const char *end, uint32_t *point)
{
    int high = end - *at >= 4 ? hex4(*at) : -1;
    if (high < 0)
        return false;
    *at += 4;
    *point = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff)
        return true;
    int low = high < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' ? hex4(*at + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        *point = 0xfffd;
        return true;
    }
    *at += 6;
    *point = 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    return true;
}

static bool fits(struct parser *p, size_t more)
{
    return arena_fits(p->arena, more) || fail(p, "it needs more memory than there is for it");
}

/* The byte at `*at`, or what an escape there stands for, into `out`: its end, NULL where the escape is wrong,
 * which `*at` points to then, else past it. */
static char *read_letter(const char **at, const char *end, char *out)
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *from = *at;
    if (*from != '\\') {
        *out++ = *(*at)++;
        return out;
    }
    const char *letter = from[1] ? strchr(letters, from[1]) : NULL;
    uint32_t point;
    *at = from + 2;
    if (letter) {
        *out++ = bytes[letter - letters];
        return out;
    }
    if (from[1] == 'u' && read_unicode(at, end, &point))
        return put_utf8(out, point);
    *at = from[1] == 'u' ? from + 2 : from;
    return NULL;
}

/* Between `from` and `to` stands a string with escapes: decode it into the arena. */
static bool unescape(struct parser *p, const char *from, const char *to, const char **text, uint32_t *size)
{
    if (!fits(p, (size_t)(to - from)))
        return false;
    char *start = arena_alloc(p->arena, (size_t)(to - from) + 1), *out = start;
    for (const char *at = from; at < to;) {
        char *next = read_letter(&at, to, out);
        if (!next) {
            p->at = at;
            return fail(p, "a wrong escape in a string");
        }
        out = next;
    }
    *text = start;
    *size = (uint32_t)(out - start);
    return true;
}

/* Past a string and its closing quote. Has it escapes? They are not looked at. */
static inline __attribute__((always_inline)) bool find_end(struct parser *p, bool *escaped)
{
    const char *at = p->at, *end = p->end;
    *escaped = false;
    for (;;) {
        at = skip_plain(at, end);
        if (at < end && *at == '\\' && end - at >= 2) {
            *escaped = true;
            at += 2;
            continue;
        }
        break;
    }
    p->at = at;
    if (at >= end || *at == '\\')
        return fail(p, "a string without its end");
    if (*at != '"')
        return fail(p, "a control byte in a string");
    p->at = at + 1;
    return true;
}

/* `p->at` stands behind the opening quote; after, behind the closing one. */
static bool parse_string(struct parser *p, const char **text, uint32_t *size)
{
    const char *from = p->at;
    bool escaped;
    if (!find_end(p, &escaped))
        return false;
    if (escaped)
        return unescape(p, from, p->at - 1, text, size);
    *text = from;
    *size = (uint32_t)(p->at - 1 - from);
    return true;
}

static bool parse_number(struct parser *p, struct json *value)
{
    const char *problem, *end = json_number_end(p->at, p->end, &problem);
    if (!end)
        return fail(p, problem);
    value->type = JSON_NUMBER;
    value->size = (uint32_t)(end - p->at);
    p->at = end;
    return true;
}

static bool parse_word(struct parser *p, struct json *value, const char *word, enum json_type type)
{
    size_t size = strlen(word);
    if ((size_t)(p->end - p->at) < size || memcmp(p->at, word, size) != 0)
        return fail(p, "not a value");
    value->type = (uint8_t)type;
    value->size = (uint32_t)size;
    p->at += size;
    return true;
}

static bool parse_value(struct parser *p, struct json *value, int depth);

static bool parse_key(struct parser *p, struct json *member)
{
    skip_space(p);
    if (p->at >= p->end || *p->at != '"')
        return fail(p, "a member without a key in quotes");
    p->at++;
    if (!parse_string(p, &member->key, &member->key_size))
        return false;
    skip_space(p);
    if (p->at >= p->end || *p->at != ':')
        return fail(p, "a key without a colon");
    p->at++;
    return true;
}

/* Arrays and objects differ only in their keys and their last byte. */
static bool parse_children(struct parser *p, struct json *parent, char close, int depth)
{
    const char *from = p->at++;
    const struct json **link = &parent->child;
    if (depth >= JSON_DEPTH_MAX)
        return fail(p, "nested too deeply");
    skip_space(p);
    if (p->at < p->end && *p->at == close)
        goto out;
    for (;;) {
        if (!fits(p, 0))
            return false;
        struct json *child = arena_alloc(p->arena, sizeof *child);
        child->key = NULL;
        child->key_size = 0;
        if (close == '}' && !parse_key(p, child))
            return false;
        if (!parse_value(p, child, depth + 1))
            return false;
        *link = child;
        link = &child->next;
        parent->count++;
        skip_space(p);
        if (p->at >= p->end || (*p->at != ',' && *p->at != close))
            return fail(p, close == '}' ? "an object without its end" : "an array without its end");
        if (*p->at == close)
            break;
        p->at++;
    }
out:
    p->at++;
    parent->text = from;
    parent->size = (uint32_t)(p->at - from);
    return true;
}

static bool parse_value(struct parser *p, struct json *value, int depth)
{
    skip_space(p);
    if (p->at >= p->end)
        return fail(p, "the text ends where a value should be");
    value->deferred = false;
    value->count = 0;
    value->child = NULL;
    value->next = NULL;
    value->text = p->at;
    switch (*p->at) {
    case '"':
        value->type = JSON_STRING;
        p->at++;
        return parse_string(p, &value->text, &value->size);
    case '{':
        value->type = JSON_OBJECT;
        return parse_children(p, value, '}', depth);
    case '[':
        value->type = JSON_ARRAY;
        return parse_children(p, value, ']', depth);
    case 't':
        return parse_word(p, value, "true", JSON_TRUE);
    case 'f':
        return parse_word(p, value, "false", JSON_FALSE);
    case 'n':
        return parse_word(p, value, "null", JSON_NULL);
    default:
        return parse_number(p, value);
    }
}

const struct json *json_parse(struct arena *arena, const char *text, size_t size, struct err *err)
{
    struct parser p = {.arena = arena, .start = text, .at = text, .end = text + size};
    struct json *root = arena_alloc(arena, sizeof *root);
    root->key = NULL;
    root->key_size = 0;
    if (size > INT32_MAX)
        fail(&p, "too large");
    else if (parse_value(&p, root, 0)) {
        skip_space(&p);
        if (p.at == p.end)
            return root;
        fail(&p, "something behind the value");
    }
    err_set(err, ERR_PARSE, "not JSON: %s, at byte %zu of %zu", p.problem, (size_t)(p.at - p.start), size);
    return NULL;
}

/* ---- out of an index ---- */

/* Children of fewer entries get their tree with their parent: that takes less than to come back for them. */
#define SMALL 16

/* Of a deferred one `child` stands for its index. */
static const struct json_index *index_of(const struct json *deferred)
{
    return (const struct json_index *)(const void *)deferred->child;
}

static bool is_open(char c)
{
    return c == '{' || c == '[';
}

static const struct json *read_children(const struct json_index *index, uint32_t entry, int depth,
                                        size_t small, struct arena *arena);

/* A bracket's value, without a tree as long as it is not empty. */
static inline __attribute__((always_inline)) void defer(const struct json_index *index, uint32_t entry,
                                                        struct json *value)
{
    uint32_t begin = index->at[entry], last = entry + index->ways[entry];
    value->type = index->text[begin] == '{' ? JSON_OBJECT : JSON_ARRAY;
    value->text = index->text + begin;
    value->size = index->at[last] + 1 - begin;
    value->count = index->ways[last];
    value->deferred = value->count > 0;
    value->entry = (uint8_t)entry;
    value->child = value->deferred ? (const struct json *)(const void *)index : NULL;
    value->next = NULL;
}

/* The text between its quotes, of a string without escapes: behind the closing one stands no other before the
 * next entry. */
static void read_plain(const struct json_index *index, uint32_t entry, const char **text, uint32_t *size)
{
    const char *from = index->text + index->at[entry] + 1, *to = index->text + index->at[entry + 1] - 1;
    while (*to != '"')
        to--;
    *text = from;
    *size = (uint32_t)(to - from);
}

/* A scalar or a string, which was checked when the index was made. */
static void read_text(const struct json_index *index, uint32_t entry, struct json *value, struct arena *arena)
{
    size_t max = arena->max;
    struct parser p = {.arena = arena,
                       .start = index->text,
                       .at = index->text + index->at[entry],
                       .end = index->text + index->at[entry + 1]};
    arena->max = 0;
    CHECK(parse_value(&p, value, 0));
    arena->max = max;
}

static void read_key(const struct json_index *index, uint32_t entry, struct json *member, struct arena *arena)
{
    struct json key = {0};
    member->key = index->text + index->at[entry] + 1;
    member->key_size = index->ways[entry];
    if (!(member->key_size & JSON_INDEX_ESCAPED))
        return;
    read_text(index, entry, &key, arena);
    member->key = key.text;
    member->key_size = key.size;
}

/* A number was checked when the index was made, and stands in an array or object: something else follows. */
static bool is_of_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-';
}

/* All of it, but the key. */
static void read_value(const struct json_index *index, uint32_t entry, struct json *value,
                       struct arena *arena)
{
    char c = index->text[index->at[entry]];
    if (is_open(c)) {
        defer(index, entry, value);
        value->deferred = false;
        value->child = read_children(index, entry, 0, SIZE_MAX, arena);
    } else if (c == '"' && !index->escapes) {
        *value = (struct json){.type = JSON_STRING, .key = value->key, .key_size = value->key_size};
        read_plain(index, entry, &value->text, &value->size);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        const char *text = index->text + index->at[entry], *end = text + 1;
        while (is_of_number(*end))
            end++;
        *value = (struct json){.type = JSON_NUMBER,
                               .key = value->key,
                               .key_size = value->key_size,
                               .text = text,
                               .size = (uint32_t)(end - text)};
    } else {
        read_text(index, entry, value, arena);
    }
}

/* Those of an array or object. Theirs too, to that depth, and below it where they have fewer entries than
 * `small`. */
static const struct json *read_children(const struct json_index *index, uint32_t entry, int depth,
                                        size_t small, struct arena *arena)
{
    uint32_t last = entry + index->ways[entry];
    bool object = index->text[index->at[entry]] == '{';
    const struct json *first = NULL, **link = &first;
    for (entry++; entry < last; entry = json_index_past(index, entry)) {
        struct json *child = arena_alloc(arena, sizeof *child);
        child->key = NULL;
        child->key_size = 0;
        if (object)
            read_key(index, entry++, child, arena);
        if (!is_open(index->text[index->at[entry]]) || (!depth && index->ways[entry] < small)) {
            read_value(index, entry, child, arena);
        } else {
            defer(index, entry, child);
            if (depth > 1 && child->deferred) {
                child->deferred = false;
                child->child = read_children(index, entry, depth - 1, small, arena);
            }
        }
        *link = child;
        link = &child->next;
    }
    return first;
}

const struct json *json_parse_deferring(struct arena *arena, const char *text, size_t size, int depth,
                                        struct err *err)
{
    struct json_index *index = arena_alloc(arena, sizeof *index);
    if (!json_index_make(index, arena, text, size) || !is_open(text[*index->at]))
        return json_parse(arena, text, size, err); /* which says what is wrong */
    struct json *root = arena_alloc(arena, sizeof *root);
    root->key = NULL;
    root->key_size = 0;
    defer(index, 0, root);
    if (depth > 0 && root->deferred) {
        root->deferred = false;
        root->child = read_children(index, 0, depth, SMALL, arena);
    }
    return root;
}

const struct json *json_open(const struct json *parent)
{
    struct json *opened = (struct json *)(uintptr_t)parent;
    const struct json_index *index = index_of(parent);
    CHECK(parent->deferred);
    opened->child =
        read_children(index, json_index_entry(index, parent->text, parent->entry), 0, SMALL, index->arena);
    opened->deferred = false;
    return opened->child;
}

const struct json *json_whole(const struct json *value, struct arena *scratch)
{
    if (!value->deferred)
        return value;
    const struct json_index *index = index_of(value);
    struct json *whole = arena_alloc(scratch, sizeof *whole);
    *whole = *value;
    whole->deferred = false;
    whole->child =
        read_children(index, json_index_entry(index, value->text, value->entry), 0, SIZE_MAX, scratch);
    return whole;
}

static inline bool same_eight(const char *a, const char *b)
{
    uint64_t x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return x == y;
}

/* Names are short: no call for them. */
static inline bool same_text(const char *a, const char *b, uint32_t size)
{
    if (size < 8) {
        for (uint32_t i = 0; i < size; i++)
            if (a[i] != b[i])
                return false;
        return true;
    }
    for (uint32_t i = 0; i + 8 < size; i += 8)
        if (!same_eight(a + i, b + i))
            return false;
    return same_eight(a + size - 8, b + size - 8);
}

static inline bool is_name(const char *key, uint32_t size, const char *name, size_t name_size)
{
    return size == name_size && same_text(key, name, size);
}

/* The same of a key with escapes, which are right. */
static bool is_escaped_name(const char *key, uint32_t size, const char *name, size_t name_size)
{
    const char *end = key + size, *rest = name, *name_end = name + name_size;
    while (key < end) {
        char bytes[4];
        size_t count = (size_t)(read_letter(&key, end, bytes) - bytes);
        if ((size_t)(name_end - rest) < count || memcmp(rest, bytes, count) != 0)
            return false;
        rest += count;
    }
    return rest == name_end;
}

/* Is the key of that entry this name? */
static inline bool key_is(const struct json_index *index, uint32_t entry, const char *name, size_t size)
{
    const char *key = index->text + index->at[entry] + 1;
    uint32_t way = index->ways[entry];
    if (!(way & JSON_INDEX_ESCAPED))
        return is_name(key, way, name, size);
    return is_escaped_name(key, way & ~JSON_INDEX_ESCAPED, name, size);
}

/* Of the form {"S":"text"}, which needs no memory? */
static bool read_attribute(const struct json_index *index, uint32_t entry, struct json *value,
                           struct json *inner)
{
    const char *text = index->text;
    const uint32_t *at = index->at;
    if (index->escapes || text[at[entry]] != '{' || index->ways[entry] != 3 || text[at[entry + 2]] != '"')
        return false;
    defer(index, entry, value);
    value->deferred = false;
    value->child = inner;
    *inner = (struct json){
        .type = JSON_STRING, .key = text + at[entry + 1] + 1, .key_size = index->ways[entry + 1]};
    read_plain(index, entry + 2, &inner->text, &inner->size);
    return true;
}

/* The member of that key, which is the name. */
static const struct json *pick_entry(const struct json_index *index, uint32_t key, const char *name,
                                     size_t size, struct arena *scratch)
{
    struct json *member = arena_alloc(scratch, 2 * sizeof *member); /* perhaps with what is in it */
    member->key = name;
    member->key_size = (uint32_t)size;
    if (!read_attribute(index, key + 1, member, member + 1))
        read_value(index, key + 1, member, scratch);
    return member;
}

const struct json *json_pick(const struct json *object, const char *name, size_t size, struct arena *scratch,
                             size_t *at)
{
    *at = 0;
    if (object->type != JSON_OBJECT)
        return NULL;
    if (!object->deferred) {
        json_each(member, object) {
            if (is_name(member->key, member->key_size, name, size))
                return member;
            ++*at;
        }
        return NULL;
    }
    const struct json_index *index = index_of(object);
    uint32_t entry = json_index_entry(index, object->text, object->entry) + 1;
    while (*at < object->count && !key_is(index, entry, name, size)) {
        entry = json_index_past(index, entry + 1);
        ++*at;
    }
    return *at < object->count ? pick_entry(index, entry, name, size, scratch) : NULL;
}

const struct json *json_pick_at(const struct json *object, const char *name, size_t size,
                                struct arena *scratch, struct json_finger *finger, size_t *at)
{
    if (!object->deferred || object->type != JSON_OBJECT || *at >= object->count)
        return json_pick(object, name, size, scratch, at);
    const struct json_index *index = index_of(object);
    if (!finger->entry || finger->at > *at)
        *finger = (struct json_finger){json_index_entry(index, object->text, object->entry) + 1, 0};
    for (; finger->at < *at; finger->at++)
        finger->entry = json_index_past(index, finger->entry + 1);
    if (!key_is(index, finger->entry, name, size))
        return json_pick(object, name, size, scratch, at);
    return pick_entry(index, finger->entry, name, size, scratch);
}

struct json_walk json_walk(const struct json *parent, bool whole)
{
    struct json_walk walk = {.next = parent->deferred ? NULL : parent->child, .whole = whole};
    if (parent->deferred) {
        walk.index = index_of(parent);
        walk.entry = json_index_entry(walk.index, parent->text, parent->entry) + 1;
        walk.left = parent->count;
        walk.keys = parent->type == JSON_OBJECT;
    }
    return walk;
}

const struct json *json_walk_next(struct json_walk *walk, struct arena *scratch)
{
    const struct json *member = walk->next;
    if (!walk->index) {
        walk->next = member ? member->next : NULL;
        return member;
    }
    if (!walk->left)
        return NULL;
    walk->left--;
    walk->member.key = NULL;
    walk->member.key_size = 0;
    if (walk->keys)
        read_key(walk->index, walk->entry++, &walk->member, scratch);
    if (!walk->whole && is_open(walk->index->text[walk->index->at[walk->entry]]))
        defer(walk->index, walk->entry, &walk->member);
    else if (!read_attribute(walk->index, walk->entry, &walk->member, &walk->inner))
        read_value(walk->index, walk->entry, &walk->member, scratch);
    walk->entry = json_index_past(walk->index, walk->entry);
    return &walk->member;
}

size_t json_deferred_values(const struct json *parent)
{
    return parent->deferred ? index_of(parent)->values : 0;
}

static uint64_t size_bit(size_t size)
{
    return (uint64_t)1 << (size < 63 ? size : 63);
}

/* The member of that key: has it one of the names? Which one, from `from` on and then from the first;
 * `count`: none that was not found before. */
static size_t name_of(const struct json_index *index, uint32_t key, const struct json_name *names,
                      size_t count, size_t from, const struct json **found)
{
    for (size_t n = 0, i = from; n < count; n++, i++) {
        i = i < count ? i : 0;
        if (!found[i] && key_is(index, key, names[i].text, names[i].size))
            return i;
    }
    return count;
}

static void look_at(const struct json_index *index, uint32_t key, const struct json_name *name,
                    struct arena *scratch, struct json *storage)
{
    if (is_open(index->text[index->at[key + 1]]))
        defer(index, key + 1, storage);
    else
        read_value(index, key + 1, storage, scratch);
    storage->key = name->text;
    storage->key_size = (uint32_t)name->size;
}

void json_look(const struct json *object, const struct json_name *names, size_t count, struct arena *scratch,
               struct json *storage, const struct json **found)
{
    size_t left = count;
    for (size_t i = 0; i < count; i++)
        found[i] = NULL;
    if (!object || object->type != JSON_OBJECT)
        return;
    if (!object->deferred) {
        for (const struct json *member = object->child; member && left; member = member->next)
            for (size_t i = 0; i < count; i++)
                if (!found[i] && is_name(member->key, member->key_size, names[i].text, names[i].size)) {
                    found[i] = member;
                    left--;
                }
        return;
    }
    const struct json_index *index = index_of(object);
    uint32_t entry = json_index_entry(index, object->text, object->entry) + 1;
    uint64_t sizes = index->escapes ? size_bit(SIZE_MAX) : 0; /* of which one of the names is */
    for (size_t i = 0; i < count; i++)
        sizes |= size_bit(names[i].size);
    size_t next = 0; /* the names mostly stand in the order in which they come */
    for (uint32_t at = 0; at < object->count && left; at++) {
        uint32_t key = entry++;
        size_t name = sizes & size_bit(index->ways[key]) /* with escapes: beyond all */
                          ? name_of(index, key, names, count, next, found)
                          : count;
        if (name < count) {
            look_at(index, key, &names[name], scratch, &storage[name]);
            found[name] = &storage[name];
            next = name + 1;
            left--;
        }
        entry = json_index_past(index, entry);
    }
}

const struct json *json_get(const struct json *object, const char *key)
{
    if (!object || object->type != JSON_OBJECT)
        return NULL;
    json_each(member, object)
        if (json_key_is(member, key))
            return member;
    return NULL;
}

const char *json_string(struct arena *arena, const struct json *value)
{
    return value && value->type == JSON_STRING ? arena_copy(arena, value->text, value->size) : NULL;
}

char *json_string_dup(const struct json *value)
{
    return value && value->type == JSON_STRING ? mem_copy(value->text, value->size) : NULL;
}

double json_double(const struct json *value, double fallback)
{
    char text[64];
    if (!value || value->type != JSON_NUMBER || value->size >= sizeof text)
        return fallback;
    memcpy(text, value->text, value->size);
    text[value->size] = '\0';
    return strtod(text, NULL);
}

/* The digits of a whole number that any double holds; -1: it is another one. */
static int64_t few_digits(const struct json *value)
{
    int64_t number = 0;
    if (!value || value->type != JSON_NUMBER || value->size > 15)
        return -1;
    for (uint32_t i = 0; i < value->size; i++) {
        if (value->text[i] < '0' || value->text[i] > '9')
            return -1;
        number = number * 10 + (value->text[i] - '0');
    }
    return number;
}

int64_t json_integer(const struct json *value, int64_t fallback)
{
    int64_t few = few_digits(value);
    if (few >= 0)
        return few;
    double number = json_double(value, (double)fallback);
    return number >= -9e15 && number <= 9e15 ? (int64_t)number : fallback;
}

int64_t json_int64(const struct json *value, int64_t fallback)
{
    char text[64];
    size_t digits = 0;
    if (!value || value->type != JSON_NUMBER)
        return fallback;
    while (digits < value->size && strchr("-0123456789", value->text[digits]))
        digits++;
    if (digits == value->size && value->size < sizeof text) {
        memcpy(text, value->text, value->size);
        text[value->size] = '\0';
        return strtoll(text, NULL, 10); /* which stops at the ends */
    }
    double number = json_double(value, *value->text == '-' ? -1e300 : 1e300);
    return number <= -9.2e18 ? INT64_MIN : number >= 9.2e18 ? INT64_MAX : (int64_t)number;
}

/* ---- writing ---- */

#define STEP 16 /* bytes that are looked at together */

/* Of 16 bytes: which are to have a backslash before them, and which no text in JSON has. */
static inline void classify(const char *text, unsigned *escaped, unsigned *control)
{
#ifdef __SSE2__
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)text);
    *escaped = (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
    *control = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes));
#else
    *escaped = *control = 0;
    for (unsigned i = 0; i < STEP; i++) {
        *escaped |= (unsigned)(text[i] == '"' || text[i] == '\\') << i;
        *control |= (unsigned)((unsigned char)text[i] < 0x20) << i;
    }
#endif
}

/* Sixteen bytes, of which those are to have a backslash. As many again are readable behind them, and are
 * written over behind their end. */
static inline char *write_escaped(char *to, const char *text, unsigned escaped)
{
    memcpy(to, text, STEP);
    for (char *at = to; escaped; escaped &= escaped - 1) {
        unsigned place = (unsigned)__builtin_ctz(escaped);
        at[place] = '\\';
        memcpy(++at + place, text + place, STEP); /* what stands there goes on one further */
        to++;
    }
    return to + STEP;
}

static char *write_any(char *to, const char *text, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            to = stpcpy(to, "\\n");
        } else if (c < 0x20) {
            to = stpcpy(to, "\\u00");
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        } else {
            if (c == '"' || c == '\\')
                *to++ = '\\';
            *to++ = (char)c;
        }
    }
    return to;
}

#define ESCAPED_BYTES_MAX 6 /* "\u001f" */

/* Up to sixteen, the last ones. */
static void write_last(struct buf *out, const char *text, size_t size)
{
    char read[2 * STEP] = {0}, written[STEP * ESCAPED_BYTES_MAX], *end;
    unsigned escaped, control, all = (1u << size) - 1;
    memcpy(read, text, size);
    classify(read, &escaped, &control);
    if (control & all)
        end = write_any(written, read, size);
    else
        end = write_escaped(written, read, escaped) - (STEP - size);
    buf_add(out, written, (size_t)(end - written));
}

/* Texts are words, or JSON themselves with a quote in every few bytes. */
void json_write_text(struct buf *out, const char *text, size_t size)
{
    const char *end = text + size;
    while (end - text >= 2 * STEP) {
        unsigned escaped, control;
        classify(text, &escaped, &control);
        if (control) {
            write_last(out, text, STEP);
        } else {
            buf_reserve(out, (size_t)(end - text) + (size_t)__builtin_popcount(escaped));
            out->size = (size_t)(write_escaped(out->data + out->size, text, escaped) - out->data);
        }
        text += STEP;
    }
    if (end - text > STEP) {
        write_last(out, text, STEP);
        text += STEP;
    }
    if (size)
        write_last(out, text, (size_t)(end - text));
    else
        buf_add(out, "", 0); /* there may be no text */
}

void json_write_string(struct buf *out, const char *text, size_t size)
{
    buf_reserve(out, size + 2);
    buf_add_char(out, '"');
    json_write_text(out, text, size);
    buf_add_char(out, '"');
}

void json_write_member(struct buf *out, const char *name, const char *text, size_t size)
{
    buf_printf(out, "\"%s\":", name);
    json_write_string(out, text, size);
}

void json_write_value(struct buf *out, const struct json *value)
{
    if (value->type == JSON_STRING) {
        json_write_string(out, value->text, value->size);
        return;
    }
    if (value->type != JSON_ARRAY && value->type != JSON_OBJECT) {
        buf_add(out, value->text, value->size);
        return;
    }
    if (value->deferred && !index_of(value)->spaces &&
        !index_of(value)->escapes) { /* as it would be written */
        buf_add(out, value->text, value->size);
        return;
    }
    bool object = value->type == JSON_OBJECT;
    buf_add_char(out, object ? '{' : '[');
    json_each(child, value) {
        if (child != value->child)
            buf_add_char(out, ',');
        if (object) {
            json_write_string(out, child->key, child->key_size);
            buf_add_char(out, ':');
        }
        json_write_value(out, child);
    }
    buf_add_char(out, object ? '}' : ']');
}

void json_add_text(struct buf *out, const char *name, const char *text)
{
    char *valid = utf8_copy(text);
    buf_add_char(out, ',');
    json_write_member(out, name, valid, strlen(valid));
    free(valid);
}
