/* sources.c: see sources.h. */
#include "source/sources.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "source/dynamodb/source_dynamodb.h"

/* The first that reads a stream has it. */
static const struct source_kind *const kinds[] = {&source_dynamodb_kind};

struct sources {
    struct aws_client *client;
    struct source *opened[COUNT_OF(kinds)]; /* NULL: not yet */
};

struct sources *sources_new(struct aws_client *client)
{
    struct sources *sources = mem_zero(sizeof *sources);
    sources->client = client;
    return sources;
}

void sources_free(struct sources *sources)
{
    for (size_t i = 0; sources && i < COUNT_OF(kinds); i++)
        source_free(sources->opened[i]);
    free(sources);
}

struct source *sources_for(struct sources *sources, const struct config_stream *stream)
{
    size_t at = 0;
    while (!kinds[at]->reads(stream))
        CHECK(++at < COUNT_OF(kinds)); /* the configuration takes no other stream */
    if (!sources->opened[at])
        sources->opened[at] = kinds[at]->open(sources->client);
    return sources->opened[at];
}
