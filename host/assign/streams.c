/* streams.c: a list of supervisors that follows the configuration. */
#include "assign/streams.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"

struct stream {
    struct list link;
    struct stream_supervisor *supervisor;
    bool retired;
};

struct streams {
    struct stream_supervisor_options model; /* with the configuration in force, held */
    struct list all;
};

static struct stream *find(const struct streams *streams, const char *name)
{
    struct stream *stream;
    list_each(stream, (struct list *)&streams->all, struct stream, link)
        if (!stream->retired && strcmp(stream_supervisor_name(stream->supervisor), name) == 0)
            return stream;
    return NULL;
}

static void begin(struct streams *streams, const struct config_stream *config)
{
    struct stream_supervisor_options options = streams->model;
    struct stream *stream = mem_zero(sizeof *stream);
    options.stream = config;
    stream->supervisor = stream_supervisor_new(&options);
    list_append(&streams->all, &stream->link);
}

static void stream_free(struct stream *stream)
{
    list_remove(&stream->link);
    stream_supervisor_free(stream->supervisor);
    free(stream);
}

static void begin_missing(struct streams *streams)
{
    const struct config *config = streams->model.config;
    for (size_t i = 0; i < config->stream_count; i++)
        if (!find(streams, config->streams[i].name))
            begin(streams, &config->streams[i]);
}

void streams_unread(const struct streams *streams, struct buf *out)
{
    struct stream *stream;
    list_each(stream, (struct list *)&streams->all, struct stream, link)
        if (!stream->retired && !stream_supervisor_reads(stream->supervisor))
            buf_printf(out, "%s%s", out->size ? ", " : "", stream_supervisor_name(stream->supervisor));
}

struct streams *streams_new(const struct stream_supervisor_options *model)
{
    struct streams *streams = mem_zero(sizeof *streams);
    streams->model = *model;
    config_hold(model->config);
    list_init(&streams->all);
    begin_missing(streams);
    return streams;
}

void streams_free(struct streams *streams)
{
    struct stream *stream;
    if (!streams)
        return;
    list_each(stream, &streams->all, struct stream, link)
        stream_free(stream);
    config_release(streams->model.config);
    free(streams);
}

void streams_set_config(struct streams *streams, const struct config *config)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link) {
        const char *name = stream_supervisor_name(stream->supervisor);
        if (stream->retired || config_same_stream(stream_supervisor_config(stream->supervisor), config, name))
            continue;
        stream->retired = true;
        log_info(streams->model.log, NULL,
                 config_stream(config, name) ? "[stream %s] has changed" : "[stream %s] is no longer read",
                 name);
    }
    config_hold(config);
    config_release(streams->model.config);
    streams->model.config = config;
    begin_missing(streams);
    streams_sweep(streams);
}

bool streams_retired(const struct streams *streams, const struct names *names)
{
    struct stream *stream;
    list_each(stream, (struct list *)&streams->all, struct stream, link)
        if (stream->retired && names_have(names, stream_supervisor_name(stream->supervisor)))
            return true;
    return false;
}

bool streams_sweep(struct streams *streams)
{
    struct stream *stream;
    bool any = false;
    list_each(stream, &streams->all, struct stream, link) {
        if (!stream->retired || !stream_supervisor_idle(stream->supervisor))
            continue;
        stream_free(stream);
        any = true;
    }
    return any;
}

void streams_add_handler(struct streams *streams, const struct names *names, const char *handler)
{
    for (size_t i = 0; names->each && names->each[i]; i++) {
        struct stream *stream = find(streams, names->each[i]);
        if (stream)
            stream_supervisor_add_handler(stream->supervisor, handler);
    }
}

void streams_remove_handler(struct streams *streams, const char *handler)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_remove_handler(stream->supervisor, handler);
}

void streams_set_snapshot(struct streams *streams, const struct store_snapshot *snapshot)
{
    struct stream *stream;
    streams->model.snapshot = snapshot;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_set_snapshot(stream->supervisor, snapshot);
}

void streams_gained(struct streams *streams, const char *stream_arn, const char *shard,
                    const struct store_snapshot *snapshot)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_gained(stream->supervisor, stream_arn, shard, snapshot);
}

void streams_lead(struct streams *streams, const char *stream_arn)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_lead(stream->supervisor, stream_arn);
}

void streams_tell(struct streams *streams, const char *stream_arn, const char *shard)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_tell(stream->supervisor, stream_arn, shard);
}

void streams_lost(struct streams *streams, const char *stream_arn, const char *shard)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_lost(stream->supervisor, stream_arn, shard);
}

bool streams_finished_elsewhere(struct streams *streams, const char *stream_arn, const char *shard,
                                const struct store_snapshot *snapshot)
{
    struct stream *stream;
    bool all = true;
    list_each(stream, &streams->all, struct stream, link)
        all = stream_supervisor_finished_elsewhere(stream->supervisor, stream_arn, shard, snapshot) && all;
    return all;
}

void streams_moved(struct streams *streams, const struct store_snapshot *snapshot)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_moved(stream->supervisor, snapshot);
}

bool streams_drain(struct streams *streams, const char *stream_arn, const char *shard)
{
    struct stream *stream;
    bool any = false;
    list_each(stream, &streams->all, struct stream, link)
        any = stream_supervisor_drain(stream->supervisor, stream_arn, shard) || any;
    return any;
}

void streams_closed(struct streams *streams, const char *stream_arn, const char *shard)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_closed(stream->supervisor, stream_arn, shard);
}

bool streams_places(struct streams *streams, const struct store_dead_letter *letter, redrive_place_fn *add,
                    void *user)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        if (stream_supervisor_places(stream->supervisor, letter, add, user))
            return true;
    return false;
}

void streams_finished(struct streams *streams, const char *stream_arn, const char *shard, const char *handler,
                      const char *progress)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_finished(stream->supervisor, stream_arn, shard, handler, progress);
}

void streams_missing(struct streams *streams, const char *stream_arn, const char *shard)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_missing(stream->supervisor, stream_arn, shard);
}
