/* lake.h: files of events: what the types that keep them have in common. */
#ifndef TIDEMILL_DELIVER_LAKE_H
#define TIDEMILL_DELIVER_LAKE_H

#include "deliver/target.h"

/* Their own settings. */
struct lake_settings {
    char *bucket, *prefix; /* of S3 ... */
    char *path;            /* ... or a directory on this machine's disk */
    int compression;       /* enum compression */
};

/* For the key `compression`; ends with NULL. */
extern const char *const lake_compressions[];

struct target *lake_open(const struct target_type *type);

#endif
