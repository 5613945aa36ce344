/* export_search.h: which exports of a table there are at a place, and which goes on where another ends. */
#ifndef TIDEMILL_SOURCE_EXPORT_EXPORT_SEARCH_H
#define TIDEMILL_SOURCE_EXPORT_EXPORT_SEARCH_H

#include "aws/client.h"
#include "base/problems.h"
#include "source/export/manifest.h"

struct export_found {
    char *place;                     /* where its manifests are: s3://BUCKET/KEY, or a path */
    struct export_manifest manifest; /* of its summary */
};

/* Each goes on where the one before it ends, or earlier. At least one. */
struct export_chain {
    struct export_found *exports;
    size_t count, capacity;
    struct problems
        passed_over; /* what might belong to it, and cannot be read, or leaves something out before it */
};

void export_found_fini(struct export_found *found);
void export_chain_fini(struct export_chain *chain);

struct export_query {
    const char *place; /* where exports were written to, or one of them */
    const char *table; /* its name; NULL: of the one whose exports are there */
    int64_t after_ms;  /* incremental ones that go on there; 0: the newest full one is the first */
    int64_t until_ms;  /* none that goes further; 0: as far as they go */
};

/* The chain may be taken. Exactly one of it and `err` is given. */
typedef void export_search_fn(void *user, struct export_chain *chain, const struct err *err);

/* All of `query` is copied. Where `place` is an export itself, the chain is that one, of whatever type. */
struct export_search *export_search_begin(struct reactor *reactor, struct aws_client *client,
                                          const struct export_query *query, export_search_fn *done,
                                          void *user);
void export_search_cancel(struct export_search *search); /* NULL is allowed */

/* Where one was found: what it was written to, with others; NULL: it stands alone. To be freed. */
char *export_root(const char *place);

/* Where one of its files is. To be freed. */
char *export_file_place(const struct export_found *found, const struct export_file *file);

#endif
