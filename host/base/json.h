/* json.h: JSON text to a tree in an arena, and the few verbs that write JSON.
 *
 * Made for a page of stream records: the tree points into the text, which must live as long as the tree
 * does; nothing is copied but strings with escapes. Numbers keep their text, since a DynamoDB number has up
 * to 38 digits. Strings have a length, since U+0000 is allowed in them: a parser with C strings would cut
 * them. Object members keep their order, and a key given twice is there twice. */
#ifndef TIDEMILL_BASE_JSON_H
#define TIDEMILL_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_index;

struct json {
    uint8_t type;  /* enum json_type */
    bool deferred; /* by json_parse_deferring: `child` is not what it has yet, see json_children */
    uint8_t entry; /* of a deferred one: see json_index_entry */
    uint32_t key_size;
    uint32_t size;            /* bytes of `text` */
    uint32_t count;           /* children of an array or object */
    const char *key;          /* unescaped, not NUL-terminated; NULL outside objects */
    const char *text;         /* a string's bytes unescaped, else the value's JSON text as it stood */
    const struct json *child; /* the first; by way of json_children, where it may be deferred */
    const struct json *next;
};

/* Deeper nesting is refused. An attribute value nests 32 deep with two JSON levels a piece. */
#define JSON_DEPTH_MAX 128

/* The whole of `text` must be one value. NULL and `err` with the byte offset otherwise, also where the tree
 * would be larger than the arena's `max`: "[],[]" takes some twenty times its text. Bounded to 2 GiB. The
 * text must stay as long as the tree. */
const struct json *json_parse(struct arena *arena, const char *text, size_t size, struct err *err);

/* The same, but the arrays and objects at that depth (of the root: 0) are checked and counted and have no
 * tree before somebody asks for it: by json_each, json_get or json_children. Then they have one a level deep,
 * or where little is left all of it. What comes of that is of the arena, too, above its `max` if need be. */
const struct json *json_parse_deferring(struct arena *arena, const char *text, size_t size, int depth,
                                        struct err *err);

/* Makes the tree of a deferred array or object, and gives its first child. */
const struct json *json_open(const struct json *parent);

/* The first child of an array or object; NULL where it has none. */
static inline const struct json *json_children(const struct json *parent)
{
    return parent->deferred ? json_open(parent) : parent->child;
}

/* The same with all of its tree, which is of the scratch arena where the value is deferred: what is looked at
 * again and again as a copy would be opened each time. */
const struct json *json_whole(const struct json *value, struct arena *scratch);

/* The member of an object, and its place among all; NULL where there is none. Of a deferred one only that
 * member is read, which is of the `scratch` arena then and stays as long as that. */
const struct json *json_pick(const struct json *object, const char *name, size_t size, struct arena *scratch,
                             size_t *at);

/* The same where its place is known, nearly always: `*at` before and after. The one before it was found by
 * `finger`, zero at first, from where it goes on: members asked for in their order are found in one go. Where
 * a key is there twice it may be either. */
struct json_finger {
    uint32_t entry;
    size_t at;
};
const struct json *json_pick_at(const struct json *object, const char *name, size_t size,
                                struct arena *scratch, struct json_finger *finger, size_t *at);

/* The children of an array or object, one after the other, without a tree where it is deferred: each stays
 * until the next one is asked for, with what it needs of the scratch arena, `whole` or deferred itself. NULL
 * behind the last. */
struct json_walk {
    const struct json *next; /* of a tree */
    const struct json_index *index;
    uint32_t entry, left;
    bool keys, whole;
    struct json member, inner;
};
struct json_walk json_walk(const struct json *parent, bool whole);
const struct json *json_walk_next(struct json_walk *walk, struct arena *scratch);

/* The first members of these names, no two of which are the same, NULL where there is none, in one go; they
 * are found sooner in the order in which they mostly stand. `object` may be NULL or no object.
 * Of a deferred one only they are read: arrays and objects are deferred then and the rest is of the scratch
 * arena, and `found` points into `storage`, which has a place for each. */
struct json_name {
    const char *text;
    size_t size;
};
#define JSON_NAME(literal)           \
    {                                \
        literal, sizeof(literal) - 1 \
    }
void json_look(const struct json *object, const struct json_name *names, size_t count, struct arena *scratch,
               struct json *storage, const struct json **found);

/* Values in the text that a deferred array or object is of; else 0: each takes a struct json when all of it
 * is opened. */
size_t json_deferred_values(const struct json *parent);

/* The first member of that key; NULL where there is none or `object` is no object or NULL. */
const struct json *json_get(const struct json *object, const char *key);

/* Inline, so that the length of a literal is a constant. */
static inline bool json_key_is(const struct json *value, const char *key)
{
    return value->key && strlen(key) == value->key_size && memcmp(value->key, key, value->key_size) == 0;
}

/* False for NULL and non-strings. */
static inline bool json_string_is(const struct json *value, const char *text)
{
    return value && value->type == JSON_STRING && strlen(text) == value->size &&
           memcmp(value->text, text, value->size) == 0;
}

/* A copy in the arena with a NUL after it, so that it is a C string; NULL unless `value` is a string. */
const char *json_string(struct arena *arena, const struct json *value);

/* A fresh copy to be freed, NULL unless `value` is a string. */
char *json_string_dup(const struct json *value);

/* `fallback` unless `value` is a number between -9e15 and 9e15; the fraction is dropped. */
int64_t json_integer(const struct json *value, int64_t fallback);

/* The same to the last digit, over all of int64_t; what is beyond it is its end. */
int64_t json_int64(const struct json *value, int64_t fallback);
double json_double(const struct json *value, double fallback);

#define json_each(item, parent) \
    for (const struct json *item = (parent) ? json_children(parent) : NULL; item; item = item->next)

void json_write_string(struct buf *out, const char *text, size_t size); /* with its quotes */
void json_write_text(struct buf *out, const char *text, size_t size);   /* without: a part of a string */
/* "NAME":"TEXT"; the name needs no escapes. */
void json_write_member(struct buf *out, const char *name, const char *text, size_t size);
/* ,"NAME":"TEXT"; what is not UTF-8 in it is replaced. */
void json_add_text(struct buf *out, const char *name, const char *text);
void json_write_value(struct buf *out, const struct json *value); /* compact; keys not written */

#endif
