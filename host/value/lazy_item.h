/* lazy_item.h: an item as a table whose attributes are decoded when they are touched, and kept.
 *
 * A handler looks at four attributes of fifty. For a script it is the table that value_push_item would have
 * made: what enumerates it, or looks at it raw, decodes the rest first and leaves a plain table (lazy_force).
 * In C that is whoever calls lua_next, lua_rawget or lua_rawlen on a table of the script's. */
#ifndef TIDEMILL_VALUE_LAZY_ITEM_H
#define TIDEMILL_VALUE_LAZY_ITEM_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

/* Where the attributes are. */
struct lazy_view {
    const struct json *item; /* an object */
    uint64_t *taken;         /* LAZY_WORDS of them, at first 0: a bit for each attribute that was decoded */
    unsigned *touches;       /* at first 0: how often an attribute was asked for */
    bool *over;              /* set when the table has become a plain one */
    struct arena *scratch;   /* what is read for a moment */
    bool passing;            /* the item is good for this call only: all of it is decoded at once */
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

/* Once per Lua state and kind, which must stay. Returns the kind in that state: a reference of the registry.
 */
int lazy_open(lua_State *L, const struct lazy_kind *kind);

/* Pushes the table of an item that the owner at the index has, of the kind that lazy_open returned. It has
 * room for so many attributes before it grows. Takes three places of the stack. */
void lazy_push(lua_State *L, int owner, int kind, int attributes);

/* The value at the index, where it is such a table, is a plain one from here on. Raises where an attribute
 * cannot be decoded, or the memory ends; the stack stays as it was. */
void lazy_force(lua_State *L, int index);

#endif
