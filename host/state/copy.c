/* copy.c: see copy.h. */
#include "state/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/map.h"
#include "base/mem.h"

#define AT_ONCE 32 /* batches on their way */
#define PAGE 500   /* letters read at once */

struct copying {
    const struct copy_options *options;
    struct copy_counts *counts;
    size_t open;
    bool room; /* for another batch */
    struct err err;
    struct map letters; /* those of the state that is copied, by what they are about */
};

/* ---- writing ---- */

static void on_written(void *user, const struct err *err)
{
    struct copying *copying = user;
    copying->open--;
    copying->room = true;
    if (err && !copying->err.code)
        copying->err = *err;
}

static void wait_for(struct copying *copying, size_t open_max)
{
    while (copying->open > open_max) {
        copying->room = false;
        reactor_turn_until(copying->options->reactor, &copying->room);
    }
}

static void put(struct copying *copying, struct store_batch *batch)
{
    wait_for(copying, AT_ONCE - 1);
    copying->open++;
    store_commit(copying->options->to->store, batch, on_written, copying);
}

static bool all_written(struct copying *copying, struct err *err)
{
    wait_for(copying, 0);
    if (copying->err.code)
        *err = copying->err;
    return !copying->err.code;
}

static void show(const struct copying *copying, size_t done, size_t all, const char *what)
{
    if (copying->options->progress)
        copying->options->progress(done, all, what);
}

/* ---- where handlers stand ---- */

struct standing {
    const char *stream, *shard, *handler;
    struct position position;
    const char *progress;
};

struct all {
    struct standing *list;
    size_t count, capacity;
    struct map known; /* handler, stream and shard */
};

static bool add(struct all *all, const struct standing *standing)
{
    char *key = mem_printf("%s\n%s\n%s", standing->handler, standing->stream, standing->shard);
    bool is_new = !map_get(&all->known, key);
    if (is_new) {
        mem_grow(&all->list, &all->capacity, all->count, sizeof *all->list);
        all->list[all->count++] = *standing;
        map_set(&all->known, key, all);
    }
    free(key);
    return is_new;
}

/* A shared state may say once for all shards where a handler begins in those it has no row for. */
static void add_beginnings(struct all *all, struct store_snapshot *from, const struct store_follow *follow)
{
    char *stream = stream_of_arn(follow->stream_arn); /* of a snapshot, that it goes on with */
    const char *stream_arn = arena_copy(&from->arena, stream, strlen(stream));
    free(stream);
    for (const char *at = follow->over, *end; (end = strchr(at, '\n')); at = end + 1)
        add(all, &(struct standing){stream_arn,
                                    arena_copy(&from->arena, at, (size_t)(end - at)),
                                    follow->handler,
                                    {.kind = POSITION_FINISHED},
                                    ""});
    for (size_t i = 0; follow->since_ms && i < from->owner_count; i++)
        if (strcmp(from->owners[i].stream_arn, stream_arn) == 0 && *from->owners[i].shard != '~')
            add(all, &(struct standing){stream_arn,
                                        from->owners[i].shard,
                                        follow->handler,
                                        {.kind = POSITION_LATEST, .since_ms = follow->since_ms},
                                        ""});
}

static int by_row(const void *a, const void *b)
{
    const struct standing *left = a, *right = b;
    int order = strcmp(left->stream, right->stream);
    order = order ? order : strcmp(left->shard, right->shard);
    return order ? order : strcmp(left->handler, right->handler);
}

static bool is_one_row(const struct standing *a, const struct standing *b)
{
    return strcmp(a->stream, b->stream) == 0 && strcmp(a->shard, b->shard) == 0;
}

static void put_standings(struct copying *copying, const struct all *all)
{
    for (size_t i = 0; i < all->count;) {
        struct store_batch *batch = store_batch_new();
        size_t first = i;
        show(copying, i, all->count, "checkpoints");
        for (; i < all->count && is_one_row(&all->list[first], &all->list[i]); i++)
            store_put_checkpoint(batch, &(struct store_checkpoint){all->list[i].handler, all->list[i].stream,
                                                                   all->list[i].shard, all->list[i].position,
                                                                   all->list[i].progress});
        put(copying, batch);
    }
    copying->counts->checkpoints = all->count;
}

static void copy_standings(struct copying *copying, struct store_snapshot *from)
{
    struct all all = {0};
    bool spread = copying->options->from_shared && !copying->options->to_shared;
    for (size_t i = 0; i < from->checkpoint_count; i++)
        add(&all, &(struct standing){from->checkpoints[i].stream_arn, from->checkpoints[i].shard,
                                     from->checkpoints[i].handler, from->checkpoints[i].position,
                                     from->checkpoints[i].progress});
    for (size_t i = 0; spread && i < from->follow_count; i++)
        add_beginnings(&all, from, &from->follows[i]);
    if (all.count)
        qsort(all.list, all.count, sizeof *all.list, by_row);
    put_standings(copying, &all);
    map_fini(&all.known);
    free(all.list);
}

/* Of a shared state what has been sought counts already in where its handlers stand. */
static void copy_follows(struct copying *copying, const struct store_snapshot *from)
{
    struct map handlers = MAP_INIT;
    for (size_t i = 0; i < from->follow_count; i++) {
        const struct store_follow *its = &from->follows[i];
        struct store_batch *batch = store_batch_new();
        store_put_follow(batch, &(struct store_follow){.stream = its->stream,
                                                       .handler = its->handler,
                                                       .stream_arn = its->stream_arn,
                                                       .since_ms = its->since_ms,
                                                       .over = its->over});
        put(copying, batch);
        map_set(&handlers, its->handler, copying);
    }
    copying->counts->handlers = handlers.count;
    map_fini(&handlers);
}

static void copy_gaps(struct copying *copying, const struct store_snapshot *from)
{
    struct store_batch *batch = store_batch_new();
    store_forget_events(batch, "");
    for (size_t i = from->event_count; i; i--) /* the newest first */
        store_put_event(batch, &from->events[i - 1]);
    put(copying, batch);
    copying->counts->gaps = from->event_count;
}

/* ---- dead letters and markers ---- */

static size_t count_letters(const struct store_snapshot *all)
{
    int64_t count = 0;
    for (size_t i = 0; i < all->dead_count; i++)
        count += all->dead[i].count;
    return (size_t)count;
}

static char *letter_key(const struct store_dead_letter *letter)
{
    return mem_printf("%s\n%s\n%s\n%s", letter->handler, letter->stream_arn, letter->shard, letter->sequence);
}

typedef void each_letter_fn(struct copying *copying, const struct store_dead_letter *letter);

static bool each_letter(struct copying *copying, struct store *store, each_letter_fn *each, size_t all,
                        struct err *err)
{
    struct store_query query = {.what = STORE_LETTERS, .limit = PAGE};
    size_t done = 0;
    for (bool more = true; more;) {
        struct store_snapshot *page = store_load_now(store, copying->options->reactor, &query, err);
        if (!page)
            return false;
        for (size_t i = 0; i < page->letter_count; i++) {
            query.after_id = page->letters[i].id;
            each(copying, &page->letters[i]);
            done++;
            show(copying, done, done > all ? done : all, "dead letters");
        }
        more = page->letter_count == PAGE;
        store_snapshot_free(page);
    }
    return true;
}

static void copy_letter(struct copying *copying, const struct store_dead_letter *letter)
{
    struct store_dead_letter copy = *letter;
    struct store_batch *batch = store_batch_new();
    char *key = letter_key(letter);
    copy.id = 0; /* each store numbers its own */
    store_put_dead_letter(batch, &copy);
    put(copying, batch);
    map_set(&copying->letters, key, copying);
    copying->counts->letters++;
    free(key);
}

/* It was dropped, or redriven well, since the copy was interrupted. */
static void drop_stranger(struct copying *copying, const struct store_dead_letter *letter)
{
    char *key = letter_key(letter);
    if (!map_get(&copying->letters, key)) {
        struct store_batch *batch = store_batch_new();
        store_forget_dead_letter(batch, letter->id);
        put(copying, batch);
    }
    free(key);
}

static bool copy_letters(struct copying *copying, const struct store_snapshot *from, struct err *err)
{
    const struct copy_options *options = copying->options;
    size_t all = count_letters(from);
    return each_letter(copying, options->from, copy_letter, all, err) && all_written(copying, err) &&
           (!options->to->resumed || each_letter(copying, options->to->store, drop_stranger, all, err));
}

static bool copy_markers(struct copying *copying, struct err *err)
{
    const struct copy_options *options = copying->options;
    struct store_snapshot *from =
        store_load_now(options->from, options->reactor, &(struct store_query){.what = STORE_MARKERS}, err);
    if (!from)
        return false;
    for (size_t i = 0; i < from->marker_count; i++) {
        struct store_batch *batch = store_batch_new();
        show(copying, i, from->marker_count, "keys of once");
        store_put_marker(batch, &from->markers[i]);
        put(copying, batch);
    }
    copying->counts->markers = from->marker_count;
    store_snapshot_free(from);
    return true;
}

/* ---- all of it ---- */

/* Of hosts that share their state a request is a sign to all of them, and done. */
static bool nothing_asked(const struct copy_options *options, struct err *err)
{
    struct store_snapshot *asked = options->from_shared
                                       ? NULL
                                       : store_load_now(options->from, options->reactor,
                                                        &(struct store_query){.what = STORE_REQUESTS}, err);
    bool well = options->from_shared || asked;
    if (asked && asked->request_count)
        well = err_set(err, ERR_BUSY,
                       "the host was asked to %s handler %s and has stopped before it did: let it run once",
                       strcmp(asked->requests[0].kind, "seek") == 0 ? "seek" : "drop the gaps of",
                       asked->requests[0].handler);
    store_snapshot_free(asked);
    return well;
}

static bool copy_what_there_is(struct copying *copying, struct store_snapshot *from, struct err *err)
{
    if (!from->follow_count && !from->checkpoint_count && !from->dead_count && !from->event_count)
        return err_set(err, ERR_CONFIG, "there is nothing of this group in it (see group in the INI)");
    copy_standings(copying, from);
    copy_gaps(copying, from);
    if (!copy_letters(copying, from, err) || !copy_markers(copying, err))
        return false;
    copy_follows(copying, from); /* the last: without it a handler has not begun */
    return true;
}

bool copy_state(const struct copy_options *options, struct copy_counts *counts, struct err *err)
{
    struct copying copying = {.options = options, .counts = counts};
    *counts = (struct copy_counts){0};
    if (!nothing_asked(options, err))
        return false;
    struct store_snapshot *from =
        store_load_now(options->from, options->reactor, &(struct store_query){.what = STORE_ALL}, err);
    bool well = from && copy_what_there_is(&copying, from, err);
    struct err late = {0};
    if (!all_written(&copying, &late) && well) {
        *err = late;
        well = false;
    }
    store_snapshot_free(from);
    map_fini(&copying.letters);
    return well;
}
