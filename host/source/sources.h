/* sources.h: the sources of a reactor, each opened when a stream first needs it. */
#ifndef TIDEMILL_SOURCE_SOURCES_H
#define TIDEMILL_SOURCE_SOURCES_H

#include "aws/client.h"
#include "conf/config.h"
#include "source/source.h"

struct source_kind {
    /* Does it read what this [stream] names? */
    bool (*reads)(const struct config_stream *stream);
    struct source *(*open)(struct aws_client *client);
};

struct sources;

/* The client must stay. */
struct sources *sources_new(struct aws_client *client);
void sources_free(struct sources *sources); /* NULL is allowed; nothing may be asked any more */

/* Stays theirs. */
struct source *sources_for(struct sources *sources, const struct config_stream *stream);

#endif
