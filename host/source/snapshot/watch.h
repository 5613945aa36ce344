/* watch.h: looks through a stream for what changes while its table is read (snapshots.h).
 *
 * A second reader of each shard, from the places on where the snapshot's handler will go on. It keeps the
 * first change of each item, and says up to when everything was looked through. */
#ifndef TIDEMILL_SOURCE_SNAPSHOT_WATCH_H
#define TIDEMILL_SOURCE_SNAPSHOT_WATCH_H

#include "aws/client.h"
#include "source/reader.h"
#include "source/snapshot/snapshot_name.h"
#include "source/snapshot/snapshots.h"

struct snapshot_watch;

struct snapshot_watch_options {
    struct reactor *reactor;
    struct snapshots *snapshots;
    struct source *source; /* of the stream */
    struct aws_client *client;
    struct log *log;
    const char *subject; /* for the log: "stream products" */
    const char *arn;     /* the snapshot's */
    int64_t units;
    bool consistent;
    int64_t poll_min_ms, poll_max_ms, discovery_ms;
    struct troubles *troubles; /* or NULL */
    /* Where the snapshot's handler goes on in a shard; FINISHED: nowhere. */
    struct position (*begins)(void *user, const char *shard);
    /* Has it settled the record already, though it lies behind that? It does not get it once more. */
    bool (*settled)(void *user, const char *shard, const struct record *record);
    void *user;
};

/* `arn` must be a snapshot's. */
struct snapshot_watch *snapshot_watch_new(const struct snapshot_watch_options *options);
void snapshot_watch_free(struct snapshot_watch *watch); /* NULL is allowed */

#endif
