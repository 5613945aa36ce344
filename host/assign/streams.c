/* streams.c: a list of supervisors that follows the configuration. */
#include "assign/streams.h"

#include <stdlib.h>
#include <string.h>

#include "assign/table_finder.h"
#include "base/arn.h"
#include "base/list.h"
#include "base/mem.h"

struct stream {
    struct list link;
    struct stream_supervisor *supervisor;
    char *table;  /* one of the many that its [stream] names; NULL: it names this one */
    bool retired; /* its handlers have to leave it */
    bool ended;   /* its table is gone: what its stream still has is read */
};

/* A [stream] that names many tables. */
struct many {
    struct list link;
    struct streams *streams;
    const struct config *config; /* held */
    const struct config_stream *stream;
    struct table_finder *finder;
    struct map handlers; /* on it */
    struct map tables;   /* that there are, as of the last listing */
    char *subject;
    bool listed; /* once at least */
};

struct streams {
    struct stream_supervisor_options model; /* with the configuration in force, held */
    struct list all, many;
};

static bool is_of(const struct stream *stream, const char *name)
{
    return !stream->retired && strcmp(stream_supervisor_name(stream->supervisor), name) == 0;
}

/* Of the many tables of a [stream], or (NULL) the one that it names. */
static struct stream *find(const struct streams *streams, const char *name, const char *table)
{
    struct stream *stream;
    list_each(stream, (struct list *)&streams->all, struct stream, link)
        if (is_of(stream, name) && !stream->ended && !stream->table == !table &&
            (!table || strcmp(stream->table, table) == 0))
            return stream;
    return NULL;
}

static struct many *find_many(const struct streams *streams, const char *name)
{
    struct many *many;
    list_each(many, (struct list *)&streams->many, struct many, link)
        if (strcmp(many->stream->name, name) == 0)
            return many;
    return NULL;
}

static struct stream *begin(struct streams *streams, const struct config_stream *config, const char *table)
{
    struct stream_supervisor_options options = streams->model;
    struct stream *stream = mem_zero(sizeof *stream);
    options.stream = config;
    stream->table = mem_string(table);
    stream->supervisor = stream_supervisor_new(&options);
    list_append(&streams->all, &stream->link);
    return stream;
}

static void stream_free(struct stream *stream)
{
    list_remove(&stream->link);
    stream_supervisor_free(stream->supervisor);
    free(stream->table);
    free(stream);
}

/* ---- many tables ---- */

/* One that has come after the others were known is followed from its first record, whatever `start` says. */
static void begin_table(struct many *many, const char *table)
{
    struct streams *streams = many->streams;
    const char *handler;
    size_t at = 0;
    const struct config_stream *own = config_stream_of(many->config, many->stream, table);
    struct stream *stream = begin(streams, own, table);
    log_info(streams->model.log, many->subject, "table %s is %s", table,
             many->listed ? "new, and followed from its first record" : "followed");
    if (many->listed)
        stream_supervisor_from_first(stream->supervisor);
    while (map_next(&many->handlers, &at, &handler))
        stream_supervisor_add_handler(stream->supervisor, handler);
}

/* A table that is gone leaves a stream that can be read for a day; one that is there, and not meant any more,
 * is left where it stands. */
static void end_table(struct many *many, struct stream *stream, bool exists)
{
    struct log *log = many->streams->model.log;
    if (exists) {
        stream->retired = true;
        log_info(log, many->subject, "table %s is not followed any more: its name or tag does not fit",
                 stream->table);
        return;
    }
    stream->ended = true;
    log_warn(log, many->subject, "table %s is gone: what its stream still has is read, then it is ended",
             stream->table);
    stream_supervisor_end(stream->supervisor);
}

/* A table of that name that there is no more, and has a [stream] entry still. */
static struct stream *find_ended(const struct streams *streams, const char *name, const char *table)
{
    struct stream *stream;
    list_each(stream, (struct list *)&streams->all, struct stream, link)
        if (stream->ended && stream->table && is_of(stream, name) && strcmp(stream->table, table) == 0)
            return stream;
    return NULL;
}

static bool has_rest(const struct store_snapshot *snapshot, const struct store_follow *follow)
{
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        if (strcmp(row->handler, follow->handler) == 0 && strcmp(row->stream_arn, follow->stream_arn) == 0 &&
            row->position.kind != POSITION_FINISHED)
            return true;
    }
    return false;
}

/* The handler was away when a table went, or the host was: what its stream still has is read now. */
static void read_rests(struct many *many, const char *handler)
{
    struct streams *streams = many->streams;
    const struct store_snapshot *snapshot = streams->model.snapshot;
    for (size_t i = 0; i < snapshot->follow_count; i++) {
        const struct store_follow *follow = &snapshot->follows[i];
        char *table = table_of_arn(follow->stream_arn, "");
        bool gone = *table && strcmp(follow->handler, handler) == 0 && !map_get(&many->tables, table) &&
                    config_stream_fits(many->stream, table) && has_rest(snapshot, follow);
        struct stream *stream = gone ? find_ended(streams, many->stream->name, table) : NULL;
        if (gone && !stream) {
            stream = begin(streams, config_stream_of(many->config, many->stream, table), table);
            stream->ended = true;
            char *arn = stream_of_arn(follow->stream_arn);
            stream_supervisor_read_rest(stream->supervisor, arn);
            free(arn);
            log_warn(streams->model.log, many->subject,
                     "table %s is gone, and handler %s has not read its stream to its end: it does now",
                     table, handler);
        }
        if (stream)
            stream_supervisor_add_handler(stream->supervisor, handler);
        free(table);
    }
}

static void on_tables(void *user, const struct map *wanted, const struct map *others)
{
    struct many *many = user;
    struct streams *streams = many->streams;
    struct stream *stream;
    const char *table;
    size_t at = 0;
    list_each(stream, &streams->all, struct stream, link)
        if (stream->table && !stream->ended && is_of(stream, many->stream->name) &&
            !map_get(wanted, stream->table))
            end_table(many, stream, map_get(others, stream->table) != NULL);
    while (map_next(wanted, &at, &table))
        if (!find(streams, many->stream->name, table))
            begin_table(many, table);
    map_fini(&many->tables);
    many->tables = MAP_INIT;
    at = 0;
    while (map_next(wanted, &at, &table))
        map_set(&many->tables, table, many);
    at = 0;
    while (map_next(others, &at, &table))
        map_set(&many->tables, table, many);
    at = 0;
    const char *handler;
    while (!many->listed && map_next(&many->handlers, &at, &handler))
        read_rests(many, handler);
    if (!many->listed && !wanted->count)
        log_warn(streams->model.log, many->subject, "there is no table yet whose name and tag fit");
    many->listed = true;
    streams_sweep(streams);
}

static void many_free(struct many *many)
{
    list_remove(&many->link);
    table_finder_free(many->finder);
    map_fini(&many->handlers);
    map_fini(&many->tables);
    config_release(many->config);
    free(many->subject);
    free(many);
}

static void begin_many(struct streams *streams, const struct config_stream *config)
{
    struct many *many = mem_zero(sizeof *many);
    many->streams = streams;
    many->config = config_hold(streams->model.config);
    many->stream = config;
    many->subject = mem_printf("stream %s", config->name);
    list_append(&streams->many, &many->link);
    many->finder = table_finder_new(&(struct table_finder_options){.reactor = streams->model.reactor,
                                                                   .client = streams->model.client,
                                                                   .log = streams->model.log,
                                                                   .subject = many->subject,
                                                                   .stream = config,
                                                                   .troubles = streams->model.troubles},
                                    on_tables, many);
}

/* ---- all of them ---- */

static void begin_missing(struct streams *streams)
{
    const struct config *config = streams->model.config;
    for (size_t i = 0; i < config->stream_count; i++) {
        const struct config_stream *stream = &config->streams[i];
        if (config_stream_is_many(stream) && !find_many(streams, stream->name))
            begin_many(streams, stream);
        else if (!config_stream_is_many(stream) && !find(streams, stream->name, NULL))
            begin(streams, stream, NULL);
    }
}

bool streams_any_snapshot(const struct streams *streams)
{
    struct stream *stream;
    list_each(stream, (struct list *)&streams->all, struct stream, link)
        if (stream_supervisor_any_snapshot(stream->supervisor))
            return true;
    return false;
}

void streams_unread(const struct streams *streams, struct buf *out)
{
    struct stream *stream;
    struct many *many;
    list_each(stream, (struct list *)&streams->all, struct stream, link)
        if (!stream->retired && !stream_supervisor_reads(stream->supervisor))
            buf_printf(out, "%s%s%s%s%s", out->size ? ", " : "", stream_supervisor_name(stream->supervisor),
                       stream->table ? " (" : "", stream->table ? stream->table : "",
                       stream->table ? ")" : "");
    list_each(many, (struct list *)&streams->many, struct many, link)
        if (!many->listed && many->handlers.count)
            buf_printf(out, "%s%s", out->size ? ", " : "", many->stream->name);
}

static bool is_followed(const struct store_snapshot *snapshot, const char *stream_arn)
{
    for (size_t i = 0; i < snapshot->follow_count; i++)
        if (strcmp(snapshot->follows[i].stream_arn, stream_arn) == 0)
            return true;
    return false;
}

/* Of snapshots that nobody comes back to: their handlers were sent elsewhere, or forgotten, while they were
 * not on them. Where hosts share a state it decides itself. */
static void forget_left_segments(struct streams *streams, const struct store_snapshot *snapshot)
{
    const struct leases *leases = streams->model.leases;
    struct store_batch *batch = NULL;
    for (size_t i = 0; i < snapshot->shard_count && !(leases && leases->forget); i++) {
        const struct store_shard *row = &snapshot->shards[i];
        if (!snapshot_of_arn(row->stream_arn) || is_followed(snapshot, row->stream_arn))
            continue;
        batch = batch ? batch : store_batch_new();
        store_forget_shard(batch, row->stream_arn, row->shard);
    }
    if (batch)
        store_commit(streams->model.store, batch, NULL, NULL);
}

struct streams *streams_new(const struct stream_supervisor_options *model)
{
    struct streams *streams = mem_zero(sizeof *streams);
    streams->model = *model;
    config_hold(model->config);
    list_init(&streams->all);
    list_init(&streams->many);
    begin_missing(streams);
    forget_left_segments(streams, model->snapshot);
    return streams;
}

void streams_free(struct streams *streams)
{
    struct stream *stream;
    if (!streams)
        return;
    list_each(stream, &streams->all, struct stream, link)
        stream_free(stream);
    struct many *many;
    list_each(many, &streams->many, struct many, link)
        many_free(many);
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
    struct many *many;
    list_each(many, &streams->many, struct many, link)
        if (!config_same_stream(many->config, config, many->stream->name))
            many_free(many);
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
        if ((!stream->retired && !stream->ended) || !stream_supervisor_idle(stream->supervisor))
            continue;
        if (stream->ended)
            log_info(streams->model.log, NULL, "[stream %s] table %s is ended",
                     stream_supervisor_name(stream->supervisor), stream->table);
        stream_free(stream);
        any = true;
    }
    return any;
}

void streams_add_handler(struct streams *streams, const struct names *names, const char *handler)
{
    for (size_t i = 0; names->each && names->each[i]; i++) {
        struct stream *stream;
        struct many *many = find_many(streams, names->each[i]);
        if (many)
            map_set(&many->handlers, handler, many);
        list_each(stream, &streams->all, struct stream, link)
            if (is_of(stream, names->each[i]) && !stream->ended)
                stream_supervisor_add_handler(stream->supervisor, handler);
        if (many && many->listed)
            read_rests(many, handler);
    }
}

void streams_remove_handler(struct streams *streams, const char *handler)
{
    struct stream *stream;
    list_each(stream, &streams->all, struct stream, link)
        stream_supervisor_remove_handler(stream->supervisor, handler);
    struct many *many;
    list_each(many, &streams->many, struct many, link)
        map_remove(&many->handlers, handler);
}

void streams_set_snapshot(struct streams *streams, const struct store_snapshot *snapshot)
{
    struct stream *stream;
    forget_left_segments(streams, snapshot);
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
