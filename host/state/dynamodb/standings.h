/* standings.h: where handlers stand in shards, out of rows and the pieces that belong to them. */
#ifndef TIDEMILL_STATE_DYNAMODB_STANDINGS_H
#define TIDEMILL_STATE_DYNAMODB_STANDINGS_H

#include "state/dynamodb/part.h"
#include "state/store.h"

/* Zeroed it is empty. */
struct standings {
    struct standing {
        char *stream, *shard, *handler;
        char *kept_by; /* the handler that its pieces were written for; NULL: itself */
        struct part part;
    } * all;
    size_t count, capacity;
};

void standings_fini(struct standings *standings);
void standing_fini(struct standing *standing);

/* `text` is the handler's part of the row. False and `err` where it cannot be read. */
bool standings_add(struct standings *standings, const char *stream, const char *shard, const char *handler,
                   const char *text, struct err *err);

/* That one once more, of another handler. */
void standings_copy(struct standings *standings, size_t at, const char *handler);

/* What is to be read for them: to be freed; NULL and 0: nothing. `group` as it stands in keys. */
struct ask *standings_ask(const struct standings *standings, const char *group, size_t *count);

/* With what was read (NULL: nothing was asked for) they are whole; false and `err` where they are not. */
bool standings_join(struct standings *standings, const struct rows *pieces, struct err *err);

/* Into the snapshot, whole. */
void standings_tell(const struct standings *standings, struct store_snapshot *snapshot);

#endif
