/* sources.c: see sources.h. */
#include "source/sources.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "source/dynamodb/source_dynamodb.h"
#include "source/export/source_export.h"
#include "source/kinesis/source_kinesis.h"
#include "source/snapshot/source_snapshot.h"

/* The first that reads a stream has it. */
static const struct source_kind *const kinds[] = {&source_export_kind, &source_snapshot_kind,
                                                  &source_kinesis_kind, &source_dynamodb_kind};

struct sources {
    struct source_world world;
    struct source *opened[COUNT_OF(kinds)]; /* NULL: not yet */
};

struct sources *sources_new(const struct source_world *world)
{
    struct sources *sources = mem_zero(sizeof *sources);
    sources->world = *world;
    return sources;
}

void sources_free(struct sources *sources)
{
    for (size_t i = 0; sources && i < COUNT_OF(kinds); i++)
        source_free(sources->opened[i]);
    free(sources);
}

struct source *sources_for(struct sources *sources, const struct config_stream *stream,
                           const char *stream_arn)
{
    size_t at = 0;
    while (!kinds[at]->reads(stream, stream_arn))
        CHECK(++at < COUNT_OF(kinds)); /* the configuration takes no other stream */
    if (!sources->opened[at])
        sources->opened[at] = kinds[at]->open(&sources->world);
    return sources->opened[at];
}
