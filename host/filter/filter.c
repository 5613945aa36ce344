/* filter.c: the compiled form is the pattern's own tree, checked. */
#include "filter/filter.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct filter {
    struct arena arena;
    const struct json *pattern;
};

static bool same_key(const struct json *a, const struct json *b)
{
    return a->key_size == b->key_size && memcmp(a->key, b->key, a->key_size) == 0;
}

static bool check_leaf(const struct json *leaf, struct err *err)
{
    if (!leaf->count)
        return err_set(err, ERR_CONFIG, "an empty list matches nothing");
    json_each(value, leaf)
        if (value->type == JSON_OBJECT || value->type == JSON_ARRAY)
            return err_set(err, ERR_CONFIG, "only strings, numbers, true, false and null are known here");
    return true;
}

static bool check_object(const struct json *object, struct err *err)
{
    if (!object->count)
        return err_set(err, ERR_CONFIG, "an empty object matches nothing");
    json_each(member, object) {
        for (const struct json *before = object->child; before != member; before = before->next)
            if (same_key(before, member))
                return err_set(err, ERR_CONFIG, "%.*s is given twice", (int)member->key_size, member->key);
        bool ok = member->type == JSON_OBJECT  ? check_object(member, err)
                  : member->type == JSON_ARRAY ? check_leaf(member, err)
                                               : err_set(err, ERR_CONFIG, "a list of values expected");
        if (!ok)
            return err_prefix(err, "%.*s", (int)member->key_size, member->key);
    }
    return true;
}

struct filter *filter_compile(const char *pattern_json, size_t size, struct err *err)
{
    struct filter *filter = mem_zero(sizeof *filter);
    char *text = arena_copy(&filter->arena, pattern_json, size);
    filter->pattern = json_parse(&filter->arena, text, size, err);
    bool ok = filter->pattern != NULL;
    if (ok && filter->pattern->type != JSON_OBJECT)
        ok = err_set(err, ERR_CONFIG, "a pattern is an object");
    if (ok && check_object(filter->pattern, err))
        return filter;
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

static bool match_value(const struct json *wanted, const struct json *value)
{
    if (wanted->type != value->type)
        return false;
    if (wanted->type == JSON_STRING || wanted->type == JSON_NUMBER)
        return wanted->size == value->size && memcmp(wanted->text, value->text, value->size) == 0;
    return true;
}

/* An array in the event matches when one of its elements does. */
static bool match_leaf(const struct json *leaf, const struct json *value)
{
    if (value->type == JSON_ARRAY) {
        json_each(element, value)
            if (match_leaf(leaf, element))
                return true;
        return false;
    }
    json_each(wanted, leaf)
        if (match_value(wanted, value))
            return true;
    return false;
}

static bool match_object(const struct json *pattern, const struct json *event)
{
    if (event->type != JSON_OBJECT)
        return false;
    json_each(member, pattern) {
        const struct json *value = event->child;
        while (value && !same_key(value, member))
            value = value->next;
        if (!value)
            return false;
        if (member->type == JSON_OBJECT ? !match_object(member, value) : !match_leaf(member, value))
            return false;
    }
    return true;
}

bool filter_match(const struct filter *filter, const struct json *event)
{
    return match_object(filter->pattern, event);
}
