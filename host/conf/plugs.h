/* plugs.h: what a configuration may name that rooms above conf/ make: types of targets, kinds of stores. */
#ifndef TIDEMILL_CONF_PLUGS_H
#define TIDEMILL_CONF_PLUGS_H

#include <stdbool.h>
#include <stdint.h>

struct target_type;

/* How [host] state names a store: "SCHEME:PLACE". */
struct store_place {
    const char *scheme;
    const char *form;               /* for people: "sqlite:PATH" */
    const char *standard;           /* the place where none is named; NULL: one must be */
    bool is_path;                   /* the place is a file, as seen from the INI */
    int64_t checkpoint_interval_ms; /* the usual one: what is written costs something, or it does not */
};

/* Lists end with NULL. The first store is the one without a [host] state. */
struct config_plugs {
    const struct target_type *const *targets;
    const struct store_place *const *stores;
};

#endif
