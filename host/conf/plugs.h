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

struct buf;
struct config_aws;
struct err;

/* Adds to `out` what ${ssm:NAME} or ${secret:NAME} stands for (`kind`: "ssm", "secret"); false and `err`. */
typedef bool secret_fn(void *user, const struct config_aws *aws, const char *kind, const char *name,
                       struct buf *out, struct err *err);

/* Lists end with NULL. The first store is the one without a [host] state. */
struct config_plugs {
    const struct target_type *const *targets;
    const struct store_place *const *stores;
    secret_fn *secret; /* NULL: nobody is asked, and what stands in such values is missing
                          (config.incomplete) */
    void *user;        /* of that */
    bool plays; /* without it: in [handler] sections each stands for itself, and where streams and tables
                   are named there is something wrong */
};

#endif
