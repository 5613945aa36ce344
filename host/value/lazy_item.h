/* lazy_item.h: an item as a table whose attributes are decoded when they are touched, and kept.
 *
 * A handler looks at four attributes of fifty. For a script it is the table that value_push_item would have
 * made: what enumerates it, or looks at it raw, decodes the rest first and leaves a plain table (lazy_force).
 * In C that is whoever calls lua_next, lua_rawget or lua_rawlen on a table of the script's.
 *
 * A script that looks at the same attributes of nearly every item gets them with the table (lazy_habits): a
 * field of a table that is there takes a tenth of the call that decodes it. */
#ifndef TIDEMILL_VALUE_LAZY_ITEM_H
#define TIDEMILL_VALUE_LAZY_ITEM_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

/* What a script looks at, in items of one kind. Of one in a while nothing is decoded beforehand, and what is
 * touched is noted. */
#define LAZY_HABITS_MAX 8
struct lazy_habits {
    struct json_name names[LAZY_HABITS_MAX]; /* texts that the kind's metatable has */
    uint8_t noted[LAZY_HABITS_MAX]; /* in which of the items that were watched lately: the last is bit 0 */
    size_t places[LAZY_HABITS_MAX]; /* in the item where it was found last */
    uint8_t usual[LAZY_HABITS_MAX]; /* those that come with the table, by their places */
    unsigned count, usual_count;
    unsigned items;
    bool watches; /* the item that was pushed last */
};

/* Where the attributes are. */
struct lazy_view {
    const struct json *item; /* an object */
    uint64_t *taken;         /* LAZY_WORDS of them, at first 0: a bit for each attribute that was decoded */
    unsigned *touches;       /* at first 0: how often an attribute was asked for */
    bool *over;              /* set when the table has become a plain one */
    struct arena *scratch;   /* what is read for a moment */
    bool passing;            /* the item is good for this call only: all of it is decoded at once */
    struct lazy_habits *habits; /* NULL: there are none */
};

#define LAZY_WORDS(count) (((size_t)(count) + 63) / 64)

/* Items of fewer attributes are decoded at once: that costs no more. */
#define LAZY_ATTRIBUTES_MIN 4

/* A kind of owner: a userdata to which a table holds on, and which knows its item. */
struct lazy_kind {
    /* `owner`: its stack index. May leave values on the stack, for as long as the view is good, and raise. */
    void (*view)(lua_State *L, int owner, int which, struct lazy_view *view);
    /* The same of that table, where its owner need not be looked for; false: it must be. NULL: it always
     * must. */
    bool (*view_own)(lua_State *L, const void *table, int which, struct lazy_view *view);
    int which;
    const char *what; /* "the record": what cannot be decoded, in errors */
    /* Pushes an attribute's value: value_push, which forces tables itself, so it stands above. */
    bool (*push)(lua_State *L, const struct json *attribute, struct err *err);
};

/* Once per Lua state and kind, which must stay: pushes what is of the kind in that state, a metatable. */
void lazy_open(lua_State *L, const struct lazy_kind *kind);

/* Pushes the table of an item that the owner at the index has; `meta`: the index of what lazy_open pushed. It
 * has room for so many attributes before it grows. Takes three places of the stack. */
void lazy_push(lua_State *L, int owner, int meta, int attributes);

/* Into the table on top of the stack, which has been pushed just now, what is usual. Takes two places of the
 * stack beside what an attribute's value does; raises where the memory ends. */
void lazy_fill(lua_State *L, int meta, const struct lazy_kind *kind, const struct lazy_view *view);

/* The value at the index, where it is such a table, is a plain one from here on. Raises where an attribute
 * cannot be decoded, or the memory ends; the stack stays as it was. */
void lazy_force(lua_State *L, int index);

#endif
