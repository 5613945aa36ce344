/* settings.h: one value's text to its type: durations, sizes, numbers, ranges. */
#ifndef TIDEMILL_CONF_SETTINGS_H
#define TIDEMILL_CONF_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* "100ms", "1.5s", "24h", "7d"; a bare 0 is a duration too. */
bool duration_parse(const char *text, int64_t *ms, struct err *err);

/* "512", "64KiB", "32MiB", "1GiB" (also "B"). */
bool size_parse(const char *text, int64_t *bytes, struct err *err);

/* "100/s", "90/m", "5/h", to the nanoseconds between two. */
bool rate_parse(const char *text, int64_t *interval_ns, struct err *err);

/* "orders, users": zero is none. */
struct names {
    char *text;  /* as it was written */
    char **each; /* ends with NULL; NULL: none */
};

/* `text`'s names, between commas or blanks, in place of what is there. False and `err` where it is none, has
 * none between two commas, or has one twice. */
bool names_read(struct names *names, const char *text, struct err *err);
void names_copy(struct names *names, const struct names *from); /* into zero */
void names_fini(struct names *names);
bool names_have(const struct names *names, const char *name);

/* How a value is kept in its struct. */
enum setting_type {
    SETTING_TEXT,     /* char *, owned */
    SETTING_NAMES,    /* struct names */
    SETTING_INTEGER,  /* int64_t within min..max */
    SETTING_DURATION, /* int64_t milliseconds within min..max */
    SETTING_SIZE,     /* int64_t bytes within min..max */
    SETTING_RATE,     /* int64_t nanoseconds between two, "100/s"; 0: none is said */
    SETTING_SHARE,    /* int64_t, millionths of 1: "0.01" */
    SETTING_RANGE,    /* int64_t[2] milliseconds, "200ms..60s" */
    SETTING_CHOICE,   /* int, index into choices */
};

struct setting {
    const char *name;
    enum setting_type type;
    size_t offset;
    int64_t min, max;           /* 0,0: any */
    const char *const *choices; /* ends with NULL */
};

const struct setting *setting_find(const struct setting *table, const char *name);

/* Store `text` into the field of `object`. `shown` is quoted in errors (a secret's ${env:..} form). */
bool setting_store(const struct setting *setting, void *object, const char *text, const char *shown,
                   struct err *err);

/* What is wrong with the key's value, in `err`, gets its name in front; where the value is not what stands in
 * the file (`shown`), only that is told. False. */
bool setting_refuse(const char *name, const char *text, const char *shown, struct err *err);

/* Do two objects hold the same values? */
bool settings_same(const struct setting *table, const void *a, const void *b);

/* The names of a table for nearest_name(); `names` holds `max`. */
void setting_names(const struct setting *table, const char **names, size_t max);

#endif
