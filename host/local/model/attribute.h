/* attribute.h: an attribute value as the engine works with it.
 *
 * Values live in an arena and are not changed once they are part of something else: a change makes new
 * containers around shared parts. Numbers are kept as the text the service would give back. */
#ifndef TIDEMILL_LOCAL_MODEL_ATTRIBUTE_H
#define TIDEMILL_LOCAL_MODEL_ATTRIBUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "local/model/fault.h"

enum attr_type {
    ATTR_S,
    ATTR_N,
    ATTR_B,
    ATTR_SS,
    ATTR_NS,
    ATTR_BS,
    ATTR_M,
    ATTR_L,
    ATTR_BOOL,
    ATTR_NULL,
    ATTR_TYPES
};

struct text {
    const char *data;
    size_t size;
};

struct member {
    struct member *next;
    struct text name; /* of maps */
    struct attr *value;
};

struct attr {
    enum attr_type type;
    bool truth;             /* of BOOL */
    struct text text;       /* of S and N; of B the bytes */
    struct member *members; /* of maps, lists and sets, in order */
    size_t count;
};

/* An item is a map. */

extern const char *const attr_type_names[ATTR_TYPES]; /* "S", "N", ... */

/* The type of this name, or ATTR_TYPES. */
enum attr_type attr_type_named(const char *name, size_t size);

static inline bool text_is(struct text text, const char *literal, size_t size)
{
    return text.size == size && __builtin_memcmp(text.data, literal, size) == 0;
}

static inline bool text_equal(struct text a, struct text b)
{
    return text_is(a, b.data, b.size);
}

#define attr_each(item, container) for (struct member *item = (container)->members; item; item = item->next)

/* {"S": "x"}: checked as the service checks what it is given. NULL and a fault. */
struct attr *attr_read(struct arena *arena, const struct json *json, struct fault *fault);

/* {"name": {"S": "x"}, ...} */
struct attr *attr_read_item(struct arena *arena, const struct json *json, struct fault *fault);

/* What the engine itself wrote; never wrong. */
struct attr *attr_parse_item(struct arena *arena, const char *text, size_t size);

/* Into the order in which the service gives a set: bytewise, numbers by their value. */
void attr_sort_set(struct attr *set);

void attr_write(struct buf *out, const struct attr *value);
void attr_write_item(struct buf *out, const struct attr *item);

struct attr *attr_new(struct arena *arena, enum attr_type type);
struct attr *attr_text(struct arena *arena, enum attr_type type, const char *data, size_t size);

/* NULL where there is none. */
struct attr *attr_get(const struct attr *map, struct text name);
struct attr *attr_get_named(const struct attr *map, const char *name);
struct attr *attr_at(const struct attr *list, size_t index);

/* A container with the same members, to be changed. */
struct attr *attr_copy(struct arena *arena, const struct attr *container);
void attr_append(struct arena *arena, struct attr *container, struct text name, struct attr *value);
void attr_set(struct arena *arena, struct attr *map, struct text name, struct attr *value);
bool attr_remove(struct attr *map, struct text name);

bool attr_equal(const struct attr *a, const struct attr *b);

/* Of two values of one type that has an order: S, N, B. */
int attr_compare(const struct attr *a, const struct attr *b);

bool attr_is_set(const struct attr *value);
bool attr_in_set(const struct attr *set, const struct attr *element); /* element: S, N or B */
enum attr_type attr_element_type(enum attr_type set);                 /* SS -> S */

/* Bytes as the service counts them for its limits and for SizeBytes. */
size_t attr_size(const struct attr *value);
size_t attr_item_size(const struct attr *item);

/* Of an item as attr_write_item wrote it, without making it. False where that is not enough: a text in it has
 * an escape. */
bool attr_item_text_size(const char *text, size_t size, size_t *bytes);

/* Bytes whose memcmp order is the order of S, N and B values. */
void attr_sort_key(struct buf *out, const struct attr *value);

/* a + b, or a - b. NULL and a fault where the result is out of range. */
struct attr *attr_add(struct arena *arena, const struct attr *a, const struct attr *b, bool subtract,
                      struct fault *fault);

#endif
