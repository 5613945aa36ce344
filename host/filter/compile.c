/* compile.c: a pattern's JSON to its compiled form. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "filter/filter.h"
#include "filter/pattern.h"
#include "value/decimal.h"

static bool compile_object(struct arena *arena, const struct json *object, bool identity,
                           const struct pattern **pattern, struct err *err);
static bool compile_list(struct arena *arena, const struct json *list, const struct matcher **matchers,
                         struct err *err);

static bool refuse(struct err *err, const char *sentence)
{
    return err_set(err, ERR_CONFIG, "%s", sentence);
}

/* The path grows from the inside: ".a.b[0]: sentence". */
static bool at_key(struct err *err, const struct json *member)
{
    char inner[sizeof err->text];
    memcpy(inner, err->text, sizeof inner);
    bool path = inner[0] == '[' || inner[0] == '.';
    return err_set(err, ERR_CONFIG, ".%.*s%s%s", (int)member->key_size, member->key, path ? "" : ": ", inner);
}

static bool at_index(struct err *err, size_t index)
{
    char inner[sizeof err->text];
    memcpy(inner, err->text, sizeof inner);
    bool path = inner[0] == '[' || inner[0] == '.';
    return err_set(err, ERR_CONFIG, "[%zu]%s%s", index, path ? "" : ": ", inner);
}

static bool set_bound(const struct json *number, struct bound *bound)
{
    struct decimal decimal;
    char *end;
    bound->text = number->text;
    bound->size = number->size;
    if (!decimal_read(number->text, number->size, &decimal))
        return false;
    char copy[32];
    if (number->size < 18) {
        memcpy(copy, number->text, number->size);
        copy[number->size] = '\0';
        bound->integer = strtoll(copy, &end, 10);
        bound->small = *end == '\0';
    }
    return true;
}

/* ---- operators ---- */

static bool take_text(const struct json *value, struct matcher *matcher, enum matcher_kind kind,
                      struct err *err)
{
    if (value->type != JSON_STRING)
        return refuse(err, "a string expected");
    matcher->kind = kind;
    matcher->text = value->text;
    matcher->size = value->size;
    return true;
}

/* "text", or {"equals-ignore-case": "text"}. */
static bool take_affix(const struct json *value, struct matcher *matcher, enum matcher_kind kind,
                       struct err *err)
{
    if (value->type == JSON_OBJECT && value->count == 1 && json_key_is(value->child, "equals-ignore-case")) {
        matcher->fold = true;
        value = value->child;
    }
    if (value->type != JSON_STRING)
        return refuse(err, "a string or {\"equals-ignore-case\": string} expected");
    if (!value->size)
        return refuse(err, "an empty string matches everything; say {\"exists\": true}");
    return take_text(value, matcher, kind, err);
}

static bool take_wildcard(const struct json *value, struct matcher *matcher, struct err *err)
{
    if (!take_text(value, matcher, MATCH_WILDCARD, err))
        return false;
    for (uint32_t i = 0; i < value->size; i++) {
        char c = value->text[i], next = i + 1 < value->size ? value->text[i + 1] : '\0';
        if (c == '\\' && next != '*' && next != '\\')
            return refuse(err, "\\ stands only before * and \\");
        if (c == '*' && next == '*')
            return refuse(err, "** is not allowed");
        i += c == '\\';
    }
    return true;
}

static bool take_cidr(const struct json *value, struct matcher *matcher, struct err *err)
{
    char text[64], *slash, *end;
    if (value->type != JSON_STRING || value->size >= sizeof text)
        return refuse(err, "an address range such as 10.0.0.0/24 expected");
    memcpy(text, value->text, value->size);
    text[value->size] = '\0';
    slash = strchr(text, '/');
    if (!slash)
        return refuse(err, "an address range such as 10.0.0.0/24 expected; one address is a plain string");
    *slash = '\0';
    matcher->kind = MATCH_CIDR;
    matcher->address_bytes = inet_pton(AF_INET, text, matcher->address) == 1    ? 4
                             : inet_pton(AF_INET6, text, matcher->address) == 1 ? 16
                                                                                : 0;
    int most = matcher->address_bytes * 8;
    long bits = strtol(slash + 1, &end, 10);
    if (!most || *end || slash[1] < '0' || slash[1] > '9' || bits > most)
        return refuse(err, "an address range such as 10.0.0.0/24 expected");
    matcher->prefix_bits = (int)bits;
    return true;
}

static bool take_comparison(const struct json *operator, const struct json * number, struct matcher *matcher,
                            struct err *err)
{
    bool less = json_string_is(operator, "<") || json_string_is(operator, "<=");
    bool more = json_string_is(operator, ">") || json_string_is(operator, ">=");
    bool open = operator->size == 1;
    if (!less && !more && !json_string_is(operator, "="))
        return refuse(err, "one of \"<\" \"<=\" \"=\" \">\" \">=\" expected");
    if (!number || number->type != JSON_NUMBER)
        return refuse(err, "a number expected behind the comparison");
    if ((!less && matcher->low.text) || (!more && matcher->high.text))
        return refuse(err, "the same side is bounded twice");
    if (!less && !set_bound(number, &matcher->low))
        return refuse(err, "a number with too many digits");
    if (!more && !set_bound(number, &matcher->high))
        return refuse(err, "a number with too many digits");
    if (more)
        matcher->low_open = open;
    if (less)
        matcher->high_open = open;
    return true;
}

static bool take_numeric(const struct json *value, struct matcher *matcher, struct err *err)
{
    if (value->type != JSON_ARRAY || (value->count != 2 && value->count != 4))
        return refuse(err, "a comparison such as [\">\", 0, \"<=\", 5] expected");
    matcher->kind = MATCH_NUMERIC;
    for (const struct json *at = value->child; at; at = at->next->next) {
        if (at != value->child && !matcher->low.text)
            return refuse(err, "of a range the lower bound stands first, as in [\">\", 0, \"<=\", 5]");
        if (!take_comparison(at, at->next, matcher, err))
            return false;
    }
    struct decimal low, high;
    if (!matcher->low.text || !matcher->high.text)
        return true;
    decimal_read(matcher->low.text, matcher->low.size, &low);
    decimal_read(matcher->high.text, matcher->high.size, &high);
    int order = decimal_compare(&low, &high);
    if (order > 0 || (order == 0 && (matcher->low_open || matcher->high_open)))
        return refuse(err, "no number lies between the bounds");
    return true;
}

static bool compile_matcher(struct arena *arena, const struct json *value, struct matcher *matcher,
                            struct err *err);

/* {"prefix": "a"} or {"prefix": ["a", "b"]} and the like, under anything-but: one matcher for each. */
static bool take_but_operator(struct arena *arena, const struct json *object, const struct matcher **inner,
                              struct err *err)
{
    const struct json *operator= object->count == 1 ? object->child : NULL;
    const struct matcher **link = inner;
    if (!operator|| !(json_key_is(operator, "prefix") || json_key_is(operator, "suffix") ||
                      json_key_is(operator, "wildcard") || json_key_is(operator, "equals-ignore-case")))
        return refuse(err, "prefix, suffix, equals-ignore-case or wildcard expected");
    bool list = operator->type == JSON_ARRAY;
    if (list && !operator->count)
        return refuse(err, "an empty list");
    for (const struct json *value = list ? operator->child : operator; value; value = list ? value->next : NULL) {
        if (value->type != JSON_STRING)
            return refuse(err, "a string, or a list of strings, expected") || at_key(err, operator);
        struct json single = *object, named = *value;
        struct matcher *matcher = arena_alloc(arena, sizeof *matcher);
        named.key = operator->key;
        named.key_size = operator->key_size;
        named.next = NULL;
        single.child = &named;
        if (!compile_matcher(arena, &single, matcher, err))
            return false;
        *link = matcher;
        link = (const struct matcher **)&matcher->next;
    }
    return true;
}

static bool take_anything_but(struct arena *arena, const struct json *value, struct matcher *matcher,
                              struct err *err)
{
    const struct matcher **link = &matcher->inner;
    bool list = value->type == JSON_ARRAY;
    matcher->kind = MATCH_ANYTHING_BUT;
    if (value->type == JSON_OBJECT)
        return take_but_operator(arena, value, &matcher->inner, err);
    if (list && !value->count)
        return refuse(err, "an empty list");
    for (const struct json *one = list ? value->child : value; one; one = list ? one->next : NULL) {
        struct matcher *inner = arena_alloc(arena, sizeof *inner);
        if (one->type != JSON_STRING && one->type != JSON_NUMBER)
            return refuse(err, "strings, or numbers, expected");
        if (list && one->type != value->child->type)
            return refuse(err, "either strings or numbers expected, not both");
        if (!compile_matcher(arena, one, inner, err))
            return false;
        *link = inner;
        link = (const struct matcher **)&inner->next;
    }
    return true;
}

static bool take_exists(const struct json *value, struct matcher *matcher, struct err *err)
{
    if (value->type != JSON_TRUE && value->type != JSON_FALSE)
        return refuse(err, "true or false expected");
    matcher->kind = value->type == JSON_TRUE ? MATCH_EXISTS : MATCH_ABSENT;
    return true;
}

static bool compile_operator(struct arena *arena, const struct json *object, struct matcher *matcher,
                             struct err *err)
{
    const struct json *operator= object->child;
    bool ok;
    if (object->count != 1)
        return refuse(err, "an object with one operator expected");
    if (json_key_is(operator, "prefix"))
        ok = take_affix(operator, matcher, MATCH_PREFIX, err);
    else if (json_key_is(operator, "suffix"))
        ok = take_affix(operator, matcher, MATCH_SUFFIX, err);
    else if (json_key_is(operator, "exactly"))
        ok = take_text(operator, matcher, MATCH_STRING, err);
    else if (json_key_is(operator, "equals-ignore-case"))
        ok = take_text(operator, matcher, MATCH_FOLDED, err);
    else if (json_key_is(operator, "wildcard"))
        ok = take_wildcard(operator, matcher, err);
    else if (json_key_is(operator, "cidr"))
        ok = take_cidr(operator, matcher, err);
    else if (json_key_is(operator, "numeric"))
        ok = take_numeric(operator, matcher, err);
    else if (json_key_is(operator, "exists"))
        ok = take_exists(operator, matcher, err);
    else if (json_key_is(operator, "anything-but"))
        ok = take_anything_but(arena, operator, matcher, err);
    else
        ok = refuse(err, "is not an operator");
    return ok || at_key(err, operator);
}

static bool compile_matcher(struct arena *arena, const struct json *value, struct matcher *matcher,
                            struct err *err)
{
    *matcher = (struct matcher){.text = value->text, .size = value->size};
    switch (value->type) {
    case JSON_STRING:
        matcher->kind = MATCH_STRING;
        return true;
    case JSON_NUMBER:
        matcher->kind = MATCH_NUMBER;
        return set_bound(value, &matcher->number) || refuse(err, "a number with too many digits");
    case JSON_TRUE:
        matcher->kind = MATCH_TRUE;
        return true;
    case JSON_FALSE:
        matcher->kind = MATCH_FALSE;
        return true;
    case JSON_NULL:
        matcher->kind = MATCH_NULL;
        return true;
    case JSON_OBJECT:
        return compile_operator(arena, value, matcher, err);
    default:
        return refuse(err, "a list inside the list of values");
    }
}

static bool compile_list(struct arena *arena, const struct json *list, const struct matcher **matchers,
                         struct err *err)
{
    const struct matcher **link = matchers;
    size_t index = 0;
    if (!list->count)
        return refuse(err, "an empty list matches nothing");
    json_each(value, list) {
        struct matcher *matcher = arena_alloc(arena, sizeof *matcher);
        if (!compile_matcher(arena, value, matcher, err))
            return at_index(err, index);
        *link = matcher;
        link = (const struct matcher **)&matcher->next;
        index++;
    }
    return true;
}

/* ---- objects ---- */

/* And those that the bus keeps for later. */
static bool is_operator(const struct json *member)
{
    static const char *const names[] = {"exactly",
                                        "prefix",
                                        "suffix",
                                        "equals-ignore-case",
                                        "wildcard",
                                        "cidr",
                                        "numeric",
                                        "exists",
                                        "anything-but",
                                        "=",
                                        "<",
                                        "<=",
                                        ">",
                                        ">=",
                                        "regex",
                                        "not-wildcard",
                                        "not-equals-ignore-case",
                                        "date-after",
                                        "date-on-or-after",
                                        "date-before",
                                        "date-on-or-before",
                                        "in-date-range",
                                        "ip-address-in-range",
                                        "ip-address-not-in-range"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_key_is(member, names[i]))
            return true;
    return false;
}

/* $or is the operator only over two objects or more, none of which has a member named like an operator;
 * otherwise it is a field's name like any other. */
static bool is_or(const struct json *member)
{
    if (!json_key_is(member, "$or") || member->type != JSON_ARRAY || member->count < 2)
        return false;
    json_each(alternative, member) {
        if (alternative->type != JSON_OBJECT)
            return false;
        json_each(inner, alternative)
            if (is_operator(inner))
                return false;
    }
    return true;
}

static bool compile_or(struct arena *arena, const struct json *list, bool identity, struct pattern *pattern,
                       struct err *err)
{
    struct alternatives * or = arena_alloc(arena, sizeof * or);
    const struct pattern **patterns = arena_alloc(arena, list->count * sizeof *patterns);
    * or = (struct alternatives){.next = pattern->ors, .patterns = patterns};
    json_each(alternative, list) {
        if (!compile_object(arena, alternative, identity, &patterns[or->count], err))
            return at_index(err, or->count);
        or->count++;
    }
    pattern->ors = or ;
    return true;
}

/* Lambda says userIdentity.type, the API userIdentity.Type. */
static const char *other_spelling(struct arena *arena, const struct json *member)
{
    char *other = arena_copy(arena, member->key, member->key_size);
    if (!member->key_size)
        return NULL;
    other[0] ^= 0x20;
    return other;
}

static bool compile_field(struct arena *arena, const struct json *member, bool identity, struct field *field,
                          struct err *err)
{
    *field = (struct field){.key = member->key, .key_size = member->key_size};
    if (identity)
        field->other_key = other_spelling(arena, member);
    if (member->type == JSON_ARRAY)
        return compile_list(arena, member, &field->leaf, err);
    if (member->type == JSON_OBJECT)
        return compile_object(arena, member, json_key_is(member, "userIdentity"), &field->object, err);
    return refuse(err, "a list of values expected");
}

static bool given_before(const struct json *object, const struct json *member)
{
    for (const struct json *before = object->child; before != member; before = before->next)
        if (before->key_size == member->key_size && memcmp(before->key, member->key, member->key_size) == 0)
            return true;
    return false;
}

/* ---- what alternatives share ---- */

static bool has_object(const struct pattern *pattern, const struct alternatives *but,
                       const struct field *wanted)
{
    for (const struct field *field = pattern->fields; field; field = field->next)
        if (field->object && field->key_size == wanted->key_size &&
            memcmp(field->key, wanted->key, field->key_size) == 0)
            return true;
    for (const struct alternatives * or = pattern->ors; or ; or = or->next)
        for (size_t i = 0; or != but && i < or->count; i++)
            if (has_object(or->patterns[i], NULL, wanted))
                return true;
    return false;
}

/* Has one of the alternatives an object that `pattern` has outside of `or`? */
static bool shares(const struct pattern *pattern, const struct alternatives * or, const struct pattern *of)
{
    for (const struct field *field = of->fields; field; field = field->next)
        if (field->object && has_object(pattern, or, field))
            return true;
    for (const struct alternatives *inner = of->ors; inner; inner = inner->next)
        for (size_t i = 0; i < inner->count; i++)
            if (shares(pattern, or, inner->patterns[i]))
                return true;
    return false;
}

static bool any_shares(const struct pattern *pattern)
{
    for (const struct alternatives * or = pattern->ors; or ; or = or->next)
        for (size_t i = 0; i < or->count; i++)
            if (shares(pattern, or, or->patterns[i]))
                return true;
    return false;
}

static bool compile_object(struct arena *arena, const struct json *object, bool identity,
                           const struct pattern **result, struct err *err)
{
    struct pattern *pattern = arena_alloc(arena, sizeof *pattern);
    const struct field **link = &pattern->fields;
    *pattern = (struct pattern){0};
    *result = pattern;
    if (!object->count)
        return refuse(err, "an empty object matches nothing");
    json_each(member, object) {
        bool ok;
        if (given_before(object, member)) {
            ok = refuse(err, "is given twice");
        } else if (is_or(member)) {
            ok = compile_or(arena, member, identity, pattern, err);
        } else {
            struct field *field = arena_alloc(arena, sizeof *field);
            ok = compile_field(arena, member, identity, field, err);
            *link = field;
            link = (const struct field **)&field->next;
        }
        if (!ok)
            return at_key(err, member);
    }
    pattern->shared = any_shares(pattern);
    return true;
}

static const struct matcher *event_of(const struct pattern *root)
{
    for (const struct field *field = root->fields; field; field = field->next)
        if (field->key_size == strlen("eventName") && memcmp(field->key, "eventName", field->key_size) == 0)
            return field->leaf;
    return NULL;
}

struct filter *filter_compile(const char *pattern_json, size_t size, struct err *err)
{
    struct filter *filter = mem_zero(sizeof *filter);
    char *text = arena_copy(&filter->arena, pattern_json, size);
    const struct json *root = json_parse(&filter->arena, text, size, err);
    bool ok = root != NULL;
    if (ok && root->type != JSON_OBJECT)
        ok = refuse(err, "a pattern is an object");
    if (ok && compile_object(&filter->arena, root, false, &filter->root, err)) {
        filter->event = event_of(filter->root);
        return filter;
    }
    if (err->text[0] == '.')
        memmove(err->text, err->text + 1, strlen(err->text));
    filter_free(filter);
    return NULL;
}

void filter_free(struct filter *filter)
{
    if (!filter)
        return;
    arena_fini(&filter->arena);
    free(filter);
}
