/* slow_pattern.c: see slow_pattern.h. */
#include "slow_pattern.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAVES_MAX 400
#define CONDITIONS_MAX 40
#define PATH_SIZE 200
#define ARRAYS_MAX 40

/* Which element of which array it stands in: -1: in none. */
struct membership {
    int element[ARRAYS_MAX];
};

struct leaf {
    char path[PATH_SIZE];
    const struct json *value;
    struct membership in;
};

struct flat {
    struct leaf leaves[LEAVES_MAX];
    int count, arrays;
};

static void below(char out[PATH_SIZE], const char *path, const struct json *member)
{
    snprintf(out, PATH_SIZE, "%s/%.*s", path, (int)member->key_size, member->key);
}

static void flatten(struct flat *flat, const struct json *value, const char *path,
                    const struct membership *in)
{
    char own[PATH_SIZE];
    if (value->type == JSON_OBJECT) {
        json_each(member, value) {
            below(own, path, member);
            flatten(flat, member, own, in);
        }
    } else if (value->type == JSON_ARRAY) {
        struct membership inner = *in;
        int array = flat->arrays++;
        inner.element[array] = 0;
        json_each(element, value) {
            flatten(flat, element, path, &inner);
            inner.element[array]++;
        }
    } else {
        struct leaf *leaf = &flat->leaves[flat->count++];
        *leaf = (struct leaf){.value = value, .in = *in};
        snprintf(leaf->path, sizeof leaf->path, "%s", path);
    }
}

/* ---- one value ---- */

static char *text_of(const struct json *value)
{
    char *text = json_string_dup(value);
    return text ? text : strdup("");
}

static char *lower(char *text)
{
    for (char *c = text; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return text;
}

/* Every way to share the text out among the stars. */
static bool wildcard(const char *pattern, const char *text)
{
    if (!*pattern)
        return !*text;
    if (*pattern == '*') {
        for (;; text++) {
            if (wildcard(pattern + 1, text))
                return true;
            if (!*text)
                return false;
        }
    }
    if (*pattern == '\\')
        pattern++;
    return *pattern == *text && wildcard(pattern + 1, text + 1);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
    size_t size = strlen(text), tail = strlen(with);
    return size >= tail && strcmp(text + size - tail, with) == 0;
}

static bool compare(const char *operator, double value, double bound)
{
    return strcmp(operator, "<") == 0    ? value < bound
           : strcmp(operator, "<=") == 0 ? value <= bound
           : strcmp(operator, "=") == 0  ? value == bound
           : strcmp(operator, ">") == 0  ? value > bound
                                         : value >= bound;
}

static bool in_range(const struct json *list, const struct json *value)
{
    if (value->type != JSON_NUMBER)
        return false;
    for (const struct json *at = list->child; at; at = at->next->next) {
        char *operator= text_of(at);
        bool fits = compare(operator, json_double(value, 0), json_double(at->next, 0));
        free(operator);
        if (!fits)
            return false;
    }
    return true;
}

static bool fits(const struct json *matcher, const struct json *value);

/* One text of the operator's: its own, or one of its list's. */
static bool fits_text(const char *name, const struct json *wanted, const struct json *value)
{
    bool folded = wanted->type == JSON_OBJECT;
    char *want = text_of(folded ? wanted->child : wanted), *have = text_of(value);
    folded = folded || strcmp(name, "equals-ignore-case") == 0;
    if (folded) {
        lower(want);
        lower(have);
    }
    bool is = value->type == JSON_STRING && (strcmp(name, "prefix") == 0     ? begins(have, want)
                                             : strcmp(name, "suffix") == 0   ? ends(have, want)
                                             : strcmp(name, "wildcard") == 0 ? wildcard(want, have)
                                                                             : strcmp(want, have) == 0);
    free(want);
    free(have);
    return is;
}

static bool fits_but(const struct json *wanted, const struct json *value)
{
    const struct json *list = wanted->type == JSON_OBJECT ? wanted->child : wanted;
    char name[32] = "";
    if (wanted->type == JSON_OBJECT)
        snprintf(name, sizeof name, "%.*s", (int)list->key_size, list->key);
    if (list->type != JSON_ARRAY)
        return *name ? fits_text(name, list, value) : fits(list, value);
    json_each(one, list)
        if (*name ? fits_text(name, one, value) : fits(one, value))
            return true;
    return false;
}

/* The value is there. */
static bool fits(const struct json *matcher, const struct json *value)
{
    if (matcher->type != JSON_OBJECT)
        return matcher->type == value->type && matcher->size == value->size &&
               memcmp(matcher->text, value->text, value->size) == 0;
    const struct json *operator= matcher->child;
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)operator->key_size, operator->key);
    if (strcmp(name, "exists") == 0)
        return operator->type == JSON_TRUE;
    if (strcmp(name, "numeric") == 0)
        return in_range(operator, value);
    if (strcmp(name, "anything-but") == 0)
        return !fits_but(operator, value);
    return fits_text(name, operator, value);
}

static bool wants_nothing(const struct json *list)
{
    json_each(matcher, list)
        if (matcher->type == JSON_OBJECT && json_key_is(matcher->child, "exists") &&
            matcher->child->type == JSON_FALSE)
            return true;
    return false;
}

/* ---- all of them together ---- */

struct condition {
    char path[PATH_SIZE];
    const struct json *list;
};

struct conditions {
    struct condition each[CONDITIONS_MAX];
    int count;
};

static bool join(struct membership *all, const struct membership *one)
{
    for (int i = 0; i < ARRAYS_MAX; i++) {
        if (all->element[i] >= 0 && one->element[i] >= 0 && all->element[i] != one->element[i])
            return false;
        all->element[i] = one->element[i] >= 0 ? one->element[i] : all->element[i];
    }
    return true;
}

static bool choose(const struct flat *flat, const struct conditions *conditions, int at,
                   const struct membership *so_far)
{
    if (at == conditions->count)
        return true;
    const struct condition *condition = &conditions->each[at];
    bool there = false;
    for (int i = 0; i < flat->count; i++) {
        const struct leaf *leaf = &flat->leaves[i];
        struct membership all = *so_far;
        if (strcmp(leaf->path, condition->path) != 0 || !join(&all, &leaf->in))
            continue;
        there = true;
        bool wanted = false;
        json_each(matcher, condition->list)
            wanted = wanted || fits(matcher, leaf->value);
        if (wanted && choose(flat, conditions, at + 1, &all))
            return true;
    }
    return !there && wants_nothing(condition->list) && choose(flat, conditions, at + 1, so_far);
}

static bool any_way(const struct flat *flat, const struct json *member, const char *path,
                    const struct conditions *so_far, const struct json *const *rest,
                    const char *const *rest_paths, int rest_count);

/* The members that are left of this object, then those of the objects around it. */
static bool go_on(const struct flat *flat, const struct json *member, const char *path,
                  const struct conditions *so_far, const struct json *const *rest,
                  const char *const *rest_paths, int rest_count)
{
    if (member)
        return any_way(flat, member, path, so_far, rest, rest_paths, rest_count);
    if (rest_count)
        return go_on(flat, rest[rest_count - 1], rest_paths[rest_count - 1], so_far, rest, rest_paths,
                     rest_count - 1);
    struct membership none;
    memset(&none, -1, sizeof none);
    return choose(flat, so_far, 0, &none);
}

static bool any_way(const struct flat *flat, const struct json *member, const char *path,
                    const struct conditions *so_far, const struct json *const *rest,
                    const char *const *rest_paths, int rest_count)
{
    struct conditions own = *so_far;
    const struct json *more[CONDITIONS_MAX];
    const char *more_paths[CONDITIONS_MAX];
    char inner[PATH_SIZE];
    for (int i = 0; i < rest_count; i++) {
        more[i] = rest[i];
        more_paths[i] = rest_paths[i];
    }
    more[rest_count] = member->next;
    more_paths[rest_count] = path;
    if (json_key_is(member, "$or")) {
        json_each(alternative, member)
            if (go_on(flat, alternative->child, path, so_far, more, more_paths, rest_count + 1))
                return true;
        return false;
    }
    below(inner, path, member);
    if (member->type == JSON_OBJECT)
        return go_on(flat, member->child, inner, so_far, more, more_paths, rest_count + 1);
    struct condition *condition = &own.each[own.count++];
    snprintf(condition->path, sizeof condition->path, "%s", inner);
    condition->list = member;
    return go_on(flat, NULL, path, &own, more, more_paths, rest_count + 1);
}

bool slow_pattern_matches(const struct json *pattern, const struct json *event)
{
    static struct flat flat; /* large, and there is one test at a time */
    struct conditions none = {.count = 0};
    struct membership in;
    memset(&in, -1, sizeof in);
    flat.count = flat.arrays = 0;
    flatten(&flat, event, "", &in);
    return go_on(&flat, pattern->child, "", &none, NULL, NULL, 0);
}
