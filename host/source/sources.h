/* sources.h: the sources of a reactor, each opened when a stream first needs it. */
#ifndef TIDEMILL_SOURCE_SOURCES_H
#define TIDEMILL_SOURCE_SOURCES_H

#include "aws/client.h"
#include "conf/config.h"
#include "source/source.h"

/* What a source works with; all must stay. */
struct source_world {
    struct reactor *reactor;
    struct aws_client *client;
    struct log *log;
    struct snapshots *snapshots; /* that are under way on this host (source/snapshot/snapshots.h) */
};

struct source_kind {
    /* Does it read what this [stream] names? The stream's ARN tells more of it; NULL: it is not known yet. */
    bool (*reads)(const struct config_stream *stream, const char *stream_arn);
    struct source *(*open)(const struct source_world *world);
};

struct sources;

struct sources *sources_new(const struct source_world *world);
void sources_free(struct sources *sources); /* NULL is allowed; nothing may be asked any more */

/* Stays theirs. `stream_arn`: as of source_kind. */
struct source *sources_for(struct sources *sources, const struct config_stream *stream,
                           const char *stream_arn);

#endif
