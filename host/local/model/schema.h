/* schema.h: what a table is: keys, indexes, stream, settings; kept as JSON in the shape of CreateTable. */
#ifndef TIDEMILL_LOCAL_MODEL_SCHEMA_H
#define TIDEMILL_LOCAL_MODEL_SCHEMA_H

#include "local/model/attribute.h"

/* Of a string; "" where it is none, or NULL. */
struct text json_text(const struct json *json);

/* An item's place in a table or an index: bytes in the order of what they stand for (attr_sort_key). */
struct row_key {
    struct text hash, range; /* an empty range where the table has none */
};

struct key_part {
    struct text name;
    enum attr_type type; /* S, N or B */
};

/* A table's key has one HASH attribute and at most one RANGE; a global index may have four of each. */
#define KEY_PARTS_MAX 8

struct key_schema {
    struct key_part parts[KEY_PARTS_MAX]; /* first the HASH attributes */
    size_t hash_count, count;
};

enum projection_type { PROJECT_ALL, PROJECT_KEYS, PROJECT_INCLUDE };

/* What is kept as it was said, and described again: each a JSON text, or NULL. */
enum {
    SETTING_ON_DEMAND,
    SETTING_WARM,
    SETTING_ENCRYPTION,
    SETTING_POLICY,
    SETTING_STREAM_POLICY,
    SETTING_RECOVERY,
    SETTINGS
};

struct index {
    int64_t id;
    const char *name;
    bool global;
    struct key_schema key;
    enum projection_type projection;
    struct text *included;
    size_t included_count;
    int64_t read_units, write_units;
    const char *settings[SETTINGS]; /* the first two */
    bool filling;                   /* created while the table has been in use, and not yet to be read */
};

enum view_type { VIEW_NONE, VIEW_KEYS_ONLY, VIEW_NEW_IMAGE, VIEW_OLD_IMAGE, VIEW_BOTH };

struct table {
    struct arena arena; /* everything it points to */
    int64_t id;
    const char *name;
    struct key_part *attributes; /* AttributeDefinitions */
    size_t attribute_count;
    struct key_schema key;
    struct index *indexes; /* local ones first */
    size_t index_count;
    bool on_demand;
    int64_t read_units, write_units;
    int64_t created_ms;
    const char *region; /* of who made it; NULL: made by an older version, the engine's */
    const char *uuid;
    enum view_type view;      /* VIEW_NONE: its stream is off */
    const char *stream_label; /* of its latest stream, or NULL */
    const char *ttl;          /* the attribute, or NULL */
    bool protected;           /* from deletion */
    const char *class;        /* "STANDARD" or "STANDARD_INFREQUENT_ACCESS"; NULL: never said */
    const char *tags;         /* JSON array */
    const char *settings[SETTINGS];
    /* Not kept: what it is busy with, and until when. */
    const char *busy; /* "CREATING", "UPDATING" or "DELETING"; NULL: it is active */
    int64_t busy_until_ms;
};

extern const char *const view_names[];

/* From a definition that was checked, or that schema_write wrote: what CreateTable is given, with more
 * members. */
struct table *table_read(const char *text, size_t size);
void table_free(struct table *table);

/* A copy of the JSON text becomes the table's setting, or its index's. NULL: none any more. */
void table_set(struct table *table, const char **settings, int which, const struct json *value);

/* The definition, to be kept. */
void table_write(struct buf *out, const struct table *table);

/* "TableDescription" as the API gives it, without the braces' name. */
struct table_figures {
    int64_t items, bytes;
    const char *arn; /* arn:aws:dynamodb:region:account:table/NAME */
};
void table_describe(struct buf *out, const struct table *table, const struct table_figures *figures);

const struct index *table_index(const struct table *table, struct text name); /* or NULL */
const struct key_part *table_attribute(const struct table *table, struct text name);

/* The bytes of an item's key under a schema; false where it lacks a part, or one of another type. */
bool key_of(struct arena *arena, const struct key_schema *schema, const struct attr *item,
            struct row_key *key);
bool key_has(const struct key_schema *schema, struct text name);

/* What stands for a part of a key, in the order of what it stands for; where another part follows, none is a
 * beginning of another. */
void key_part_write(struct buf *out, const struct attr *value, bool last);

/* The same without the end of it: what all begins with that begins with `value`. */
void key_part_begin(struct buf *out, const struct attr *value, bool last);

/* The first part's bytes as attr_sort_key wrote them. */
struct text key_part_read(struct arena *arena, struct text parts, bool last);

#endif
