/* filter.c: matching. Nothing here allocates, but where $or shares a key with what stands beside it, and for
 * texts with escapes that have no tree. Lists of values with lists of alternatives, and wildcards, take more
 * steps than both have bytes: they are counted. */
#include "filter/filter.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "filter/pattern.h"
#include "value/decimal.h"

static _Thread_local int64_t steps_left = INT64_MAX; /* of the comparison that runs; below 0: no more */
static _Thread_local struct arena *scratch; /* likewise: for texts with escapes that have no tree yet */

/* ---- numbers ---- */

/* Compare the number `text` with a bound: <0, 0, >0; `*ok` is false when the text is no number. */
static int compare_bound(const char *text, size_t size, const struct bound *bound, bool *ok)
{
    *ok = true;
    steps_left -= (int64_t)size / 16;
    if (bound->small && size && size < 18) {
        size_t at = text[0] == '-';
        int64_t integer = 0;
        while (at < size && text[at] >= '0' && text[at] <= '9')
            integer = integer * 10 + (text[at++] - '0');
        if (at == size && size > (size_t)(text[0] == '-')) {
            integer = text[0] == '-' ? -integer : integer;
            return (integer > bound->integer) - (integer < bound->integer);
        }
    }
    struct decimal value, limit;
    *ok = decimal_read(text, size, &value) && decimal_read(bound->text, bound->size, &limit);
    return *ok ? decimal_compare(&value, &limit) : 0;
}

static bool in_range(const struct matcher *matcher, const char *text, size_t size)
{
    bool ok;
    if (matcher->low.text) {
        int order = compare_bound(text, size, &matcher->low, &ok);
        if (!ok || order < 0 || (order == 0 && matcher->low_open))
            return false;
    }
    if (matcher->high.text) {
        int order = compare_bound(text, size, &matcher->high, &ok);
        if (!ok || order > 0 || (order == 0 && matcher->high_open))
            return false;
    }
    return true;
}

/* ---- strings ---- */

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool same(const char *a, const char *b, size_t size, bool folded)
{
    steps_left -= (int64_t)size / 16;
    if (!folded)
        return memcmp(a, b, size) == 0;
    for (size_t i = 0; i < size; i++)
        if (fold(a[i]) != fold(b[i]))
            return false;
    return true;
}

/* * stands for any bytes; \* and \\ for themselves. On a mismatch the last star takes one byte more: what was
 * matched before it need not be tried again, so this takes |pattern| x |text| steps at most. */
static bool match_wildcard(const char *pattern, size_t pattern_size, const char *text, size_t size)
{
    size_t p = 0, t = 0, star = SIZE_MAX, star_text = 0;
    for (;;) {
        if (p < pattern_size && pattern[p] == '*') {
            star = ++p;
            star_text = t;
            continue;
        }
        size_t escape = p < pattern_size && pattern[p] == '\\';
        if (--steps_left < 0)
            return false;
        if (t < size && p < pattern_size && pattern[p + escape] == text[t]) {
            p += 1 + escape;
            t++;
            continue;
        }
        if (t == size && p == pattern_size)
            return true;
        if (star == SIZE_MAX || star_text == size)
            return false;
        p = star;
        t = ++star_text;
    }
}

static bool match_cidr(const struct matcher *matcher, const char *text, size_t size)
{
    char copy[64];
    uint8_t address[16];
    if (size >= sizeof copy)
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (inet_pton(matcher->address_bytes == 4 ? AF_INET : AF_INET6, copy, address) != 1)
        return false;
    int whole = matcher->prefix_bits / 8, rest = matcher->prefix_bits % 8;
    if (memcmp(address, matcher->address, (size_t)whole) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return !rest || ((address[whole] ^ matcher->address[whole]) & mask) == 0;
}

static bool match_string(const struct matcher *matcher, const char *text, size_t size)
{
    switch (matcher->kind) {
    case MATCH_STRING:
        return size == matcher->size && memcmp(text, matcher->text, size) == 0;
    case MATCH_FOLDED:
        return size == matcher->size && same(text, matcher->text, size, true);
    case MATCH_PREFIX:
        return size >= matcher->size && same(text, matcher->text, matcher->size, matcher->fold);
    case MATCH_SUFFIX:
        return size >= matcher->size &&
               same(text + size - matcher->size, matcher->text, matcher->size, matcher->fold);
    case MATCH_WILDCARD:
        return match_wildcard(matcher->text, matcher->size, text, size);
    case MATCH_CIDR:
        return match_cidr(matcher, text, size);
    default:
        return false;
    }
}

/* ---- values ---- */

/* `number`: the value is a string that holds an attribute's number. */
static bool match_scalar(const struct matcher *matcher, const struct json *value, bool number)
{
    bool ok;
    if (--steps_left < 0)
        return false;
    switch (matcher->kind) {
    case MATCH_NULL:
        return value->type == JSON_NULL;
    case MATCH_TRUE:
        return value->type == JSON_TRUE;
    case MATCH_FALSE:
        return value->type == JSON_FALSE;
    case MATCH_EXISTS:
        return true;
    case MATCH_ABSENT:
        return false;
    case MATCH_NUMBER:
        if (number && value->type == JSON_STRING)
            return compare_bound(value->text, value->size, &matcher->number, &ok) == 0 && ok;
        return value->type == JSON_NUMBER && value->size == matcher->size &&
               memcmp(value->text, matcher->text, value->size) == 0;
    case MATCH_NUMERIC:
        return (value->type == JSON_NUMBER || (number && value->type == JSON_STRING)) &&
               in_range(matcher, value->text, value->size);
    case MATCH_ANYTHING_BUT:
        for (const struct matcher *inner = matcher->inner; inner; inner = inner->next)
            if (match_scalar(inner, value, number))
                return false;
        return true;
    default:
        return value->type == JSON_STRING && match_string(matcher, value->text, value->size);
    }
}

static bool is_attribute_number(const struct json *value)
{
    return json_key_is(value, "N") || json_key_is(value, "NS");
}

/* Does the array hold, at any depth, something that is neither object nor array? */
static bool holds_leaf(const struct json *array)
{
    struct json_walk walk = json_walk(array, false);
    bool found = false;
    for (const struct json *element; !found && (element = json_walk_next(&walk, scratch));)
        found = element->type == JSON_ARRAY ? holds_leaf(element) : element->type != JSON_OBJECT;
    return found;
}

static bool match_element(const struct matcher *matchers, const struct json *value, bool number)
{
    if (value->type == JSON_OBJECT)
        return false;
    if (value->type == JSON_ARRAY) {
        struct json_walk walk = json_walk(value, false);
        bool matches = false;
        for (const struct json *element; !matches && (element = json_walk_next(&walk, scratch));)
            matches = match_element(matchers, element, number);
        return matches;
    }
    for (const struct matcher *matcher = matchers; matcher && steps_left >= 0; matcher = matcher->next)
        if (match_scalar(matcher, value, number))
            return true;
    return false;
}

/* `value` NULL: the field is not there. An object, or an array without a leaf, is not there as a leaf. */
static bool match_leaf(const struct matcher *matchers, const struct json *value)
{
    bool there = value && value->type != JSON_OBJECT && (value->type != JSON_ARRAY || holds_leaf(value));
    if (there)
        return match_element(matchers, value, is_attribute_number(value));
    for (const struct matcher *matcher = matchers; matcher; matcher = matcher->next)
        if (matcher->kind == MATCH_ABSENT)
            return true;
    return false;
}

/* ---- objects ---- */

/* The member of that name; `storage` is for one that has no tree yet. */
static const struct json *find_in(const struct json *object, const struct field *field, struct json *storage)
{
    const struct json_name names[] = {{field->key, field->key_size}, {field->other_key, field->key_size}};
    const struct json *found;
    if (!object || object->type != JSON_OBJECT || (steps_left -= object->count) < 0)
        return NULL;
    json_look(object, names, 1, scratch, storage, &found);
    if (!found && field->other_key)
        json_look(object, names + 1, 1, scratch, storage, &found);
    return found;
}

/* The same, of an event with `more` members beside its own (NULL: with none). */
static const struct json *find(const struct json *event, const struct json *more, const struct field *field,
                               struct json *storage)
{
    const struct json *found = find_in(event, field, storage);
    return found || !more ? found : find_in(more, field, storage);
}

static bool match_pattern(const struct pattern *pattern, const struct json *event, const struct json *more);

static bool match_field(const struct field *field, const struct json *value)
{
    if (field->leaf)
        return match_leaf(field->leaf, value);
    if (!value || value->type != JSON_ARRAY)
        return match_pattern(field->object, value, NULL);
    struct json_walk walk = json_walk(value, false);
    bool matches = false; /* all of the pattern within one element */
    for (const struct json *element; !matches && (element = json_walk_next(&walk, scratch));)
        matches = element->type == JSON_ARRAY ? match_field(field, element)
                                              : match_pattern(field->object, element, NULL);
    return matches;
}

/* ---- patterns that share a key ---- */

/* Patterns that are matched on one object, each by its fields alone. */
struct part {
    const struct part *next;
    const struct pattern *pattern;
};

/* Of which one alternative each is still to be chosen. */
struct pending {
    const struct pending *next;
    const struct alternatives * or ;
};

static bool choose(const struct part *parts, const struct pending *pending, const struct json *event,
                   const struct json *more);

static bool match_patterns(const struct pattern *const *patterns, size_t count, const struct json *event)
{
    if (count == 1)
        return match_pattern(patterns[0], event, NULL);
    struct part *parts = mem_alloc(count * sizeof *parts);
    struct pending *pending = mem_alloc(count * sizeof *pending), *first = NULL;
    for (size_t i = 0; i < count; i++) {
        parts[i] = (struct part){i ? &parts[i - 1] : NULL, patterns[i]};
        if (!patterns[i]->ors)
            continue;
        pending[i] = (struct pending){first, patterns[i]->ors};
        first = &pending[i];
    }
    bool matches = choose(&parts[count - 1], first, event, NULL);
    free(parts);
    free(pending);
    return matches;
}

static bool match_value(const struct pattern *const *patterns, size_t count, const struct json *value)
{
    if (!value || value->type != JSON_ARRAY)
        return match_patterns(patterns, count, value);
    struct json_walk walk = json_walk(value, false);
    bool matches = false;
    for (const struct json *element; !matches && (element = json_walk_next(&walk, scratch));)
        matches = element->type == JSON_ARRAY ? match_value(patterns, count, element)
                                              : match_patterns(patterns, count, element);
    return matches;
}

static bool same_object(const struct field *a, const struct field *b)
{
    return a->object && b->object && a->key_size == b->key_size && memcmp(a->key, b->key, a->key_size) == 0;
}

/* All that the parts have under this field's key; it is the first of them, else they have been matched. */
static bool match_key(const struct part *parts, const struct field *field, const struct json *value)
{
    const struct pattern **patterns = NULL;
    size_t count = 0, capacity = 0;
    bool first = true;
    for (; parts; parts = parts->next)
        for (const struct field *other = parts->pattern->fields; other; other = other->next) {
            if (!same_object(other, field))
                continue;
            first = first && (count || other == field);
            mem_grow(&patterns, &capacity, count, sizeof *patterns);
            patterns[count++] = other->object;
        }
    bool matches = !first || match_value(patterns, count, value);
    free(patterns);
    return matches;
}

static bool match_parts(const struct part *parts, const struct json *event, const struct json *more)
{
    for (const struct part *part = parts; part; part = part->next)
        for (const struct field *field = part->pattern->fields; field; field = field->next) {
            struct arena_mark mark = arena_mark(scratch);
            struct json storage;
            const struct json *value = find(event, more, field, &storage);
            bool matches = field->leaf ? match_leaf(field->leaf, value) : match_key(parts, field, value);
            arena_release(scratch, mark);
            if (!matches)
                return false;
        }
    return true;
}

static bool choose(const struct part *parts, const struct pending *pending, const struct json *event,
                   const struct json *more)
{
    if (!pending)
        return match_parts(parts, event, more);
    const struct pending other = {pending->next, pending->or->next};
    const struct pending *rest = other.or ? &other : pending->next;
    for (size_t i = 0; i < pending->or->count && --steps_left >= 0; i++) {
        const struct part chosen = {parts, pending->or->patterns[i]};
        const struct pending own = {rest, chosen.pattern->ors};
        if (choose(&chosen, own.or ? &own : rest, event, more))
            return true;
    }
    return false;
}

/* ---- all of it ---- */

/* `event` NULL: nothing is there, which {"exists": false} may want. `more` are members beside the event's. */
static bool match_pattern(const struct pattern *pattern, const struct json *event, const struct json *more)
{
    if (pattern->shared)
        return choose(&(struct part){NULL, pattern}, &(struct pending){NULL, pattern->ors}, event, more);
    for (const struct field *field = pattern->fields; field; field = field->next) {
        struct arena_mark mark = arena_mark(scratch);
        struct json storage;
        const struct json *value = find(event, more, field, &storage);
        bool matches = match_field(field, value);
        arena_release(scratch, mark);
        if (!matches)
            return false;
    }
    for (const struct alternatives * or = pattern->ors; or ; or = or->next) {
        size_t i = 0;
        while (i < or->count && !match_pattern(or->patterns[i], event, more))
            i++;
        if (i == or->count)
            return false;
    }
    return true;
}

static bool match(const struct filter *filter, const struct json *event, const struct json *more)
{
    struct arena own = ARENA_INIT;
    scratch = &own;
    bool matches = match_pattern(filter->root, event, more);
    arena_fini(&own);
    return matches;
}

bool filter_match(const struct filter *filter, const struct json *event)
{
    return match(filter, event, NULL);
}

static struct json member_of_arn(const char *stream_arn)
{
    return (struct json){
        .type = JSON_STRING,
        .key = "eventSourceARN",
        .key_size = (uint32_t)strlen("eventSourceARN"),
        .text = stream_arn,
        .size = (uint32_t)strlen(stream_arn),
    };
}

bool filter_match_record(const struct filter *filter, const struct json *record, const char *stream_arn)
{
    const struct json arn = member_of_arn(stream_arn);
    const struct json more = {.type = JSON_OBJECT, .child = &arn, .count = 1};
    return match(filter, record, &more);
}

bool filter_may_match(const struct filter *filter, const char *event_name)
{
    const struct json value = {.type = JSON_STRING, .text = event_name, .size = (uint32_t)strlen(event_name)};
    return !filter->event || match_element(filter->event, &value, false);
}

#define SHOWN_BYTES_MAX 100 /* of a value */

static void explain_value(const struct json *value, struct buf *out)
{
    if (!value) {
        buf_add_text(out, " is not there");
    } else if (value->type == JSON_OBJECT) {
        buf_add_text(out, " is an object, of which a part is to be named");
    } else {
        bool cut = value->size > SHOWN_BYTES_MAX;
        buf_add_text(out, " is ");
        if (value->type == JSON_STRING)
            json_write_string(out, value->text,
                              cut ? utf8_valid_size(value->text, SHOWN_BYTES_MAX) : value->size);
        else
            buf_add(out, value->text, cut ? utf8_valid_size(value->text, SHOWN_BYTES_MAX) : value->size);
        buf_add_text(out, cut ? "..." : "");
    }
}

/* The first field that differs: as deep as it is one object in another. */
static void explain_pattern(const struct pattern *pattern, const struct json *event, const struct json *more,
                            struct buf *out)
{
    for (const struct field *field = pattern->fields; field; field = field->next) {
        struct json storage;
        const struct json *value = find(event, more, field, &storage);
        if (match_field(field, value))
            continue;
        buf_printf(out, "%s%.*s", out->size ? "." : "", (int)field->key_size, field->key);
        if (field->leaf)
            explain_value(value, out);
        else if (value && value->type == JSON_ARRAY)
            buf_add_text(out, " has no element that matches");
        else
            explain_pattern(field->object, value, NULL, out);
        return;
    }
    buf_add_text(out, out->size ? " matches none of $or" : "none of $or matches");
}

void filter_explain(const struct filter *filter, const struct json *record, const char *stream_arn,
                    struct buf *out)
{
    const struct json arn = member_of_arn(stream_arn);
    const struct json more = {.type = JSON_OBJECT, .child = &arn, .count = 1};
    struct arena own = ARENA_INIT;
    struct buf path = BUF_INIT;
    scratch = &own;
    explain_pattern(filter->root, record, &more, &path);
    arena_fini(&own);
    buf_add(out, path.data, path.size);
    buf_fini(&path);
}

size_t filter_bytes(const struct filter *filter)
{
    return filter->arena.bytes;
}

enum filter_verdict filter_match_within(const struct filter *filter, const struct json *event,
                                        const char *stream_arn, int64_t steps)
{
    steps_left = steps;
    bool matches = stream_arn ? filter_match_record(filter, event, stream_arn) : filter_match(filter, event);
    bool over = steps_left < 0;
    steps_left = INT64_MAX;
    return over ? FILTER_TOO_MUCH : matches ? FILTER_MATCHES : FILTER_DIFFERS;
}
