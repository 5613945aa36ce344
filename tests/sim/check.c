/* check.c: what the host keeps in its store, held against what was seen. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "sim.h"
#include "state/store_open.h"

#define LETTERS_MAX 100000

/* ---- reading ---- */

struct view {
    struct store_snapshot *all, *letters;
};

static struct store *open_store(struct sim *sim, struct reactor *reactor, bool read_only)
{
    struct err err;
    struct store *store =
        store_open(reactor, sim->config->host.state,
                   &(struct store_options){.group = sim->config->host.group, .read_only = read_only}, &err);
    if (!store)
        sim_violated(sim, "the store cannot be opened: %s", err.text);
    return store;
}

static bool read_view(struct sim *sim, struct view *view)
{
    struct err err;
    struct reactor *reactor = reactor_new(&sim->world.clock);
    struct store *store = open_store(sim, reactor, true);
    *view = (struct view){0};
    if (store) {
        view->all = store_load_now(store, reactor, &(struct store_query){.what = STORE_ALL}, &err);
        view->letters = store_load_now(
            store, reactor, &(struct store_query){.what = STORE_LETTERS, .limit = LETTERS_MAX}, &err);
    }
    store_free(store);
    reactor_free(reactor);
    return view->all && view->letters;
}

static void view_fini(struct view *view)
{
    store_snapshot_free(view->all);
    store_snapshot_free(view->letters);
}

static const struct store_checkpoint *find_checkpoint(const struct view *view, const char *handler,
                                                      const char *shard)
{
    for (size_t i = 0; i < view->all->checkpoint_count; i++)
        if (strcmp(view->all->checkpoints[i].handler, handler) == 0 &&
            strcmp(view->all->checkpoints[i].shard, shard) == 0)
            return &view->all->checkpoints[i];
    return NULL;
}

static int count_letters(const struct view *view, const char *handler, const char *unit)
{
    int count = 0;
    for (size_t i = 0; i < view->letters->letter_count; i++)
        count += strcmp(view->letters->letters[i].handler, handler) == 0 &&
                 strcmp(view->letters->letters[i].sequence, unit) == 0;
    return count;
}

/* ---- checkpoints ---- */

/* "" where the progress does not list it. */
static bool is_open(const struct json *progress, const char *unit)
{
    json_each(pair, json_get(progress, "open"))
        if (json_string_is(pair->child, unit))
            return true;
    return false;
}

/* Would the host not handle the record again after a restart? */
static bool is_behind(const struct store_checkpoint *checkpoint, const struct json *progress,
                      const struct written *write)
{
    const char *sequence = write->sequence;
    struct arena arena = {0};
    if (!checkpoint)
        return false;
    if (checkpoint->position.kind == POSITION_FINISHED ||
        (checkpoint->position.kind == POSITION_AFTER &&
         sequence_compare(sequence, checkpoint->position.sequence) <= 0))
        return true;
    const char *through = json_string(&arena, json_get(progress, "through"));
    bool behind = through && sequence_compare(sequence, through) <= 0 && !is_open(progress, write->unit);
    arena_fini(&arena);
    return behind;
}

static void check_settled(struct sim *sim, const struct view *view, int handler, const char *shard)
{
    const char *name = sim->handlers[handler].name;
    const struct store_checkpoint *checkpoint = find_checkpoint(view, name, shard);
    struct arena arena = {0};
    struct err err;
    const struct json *progress =
        checkpoint && *checkpoint->progress
            ? json_parse(&arena, checkpoint->progress, strlen(checkpoint->progress), &err)
            : NULL;
    for (int i = 0; i < sim->write_count; i++) {
        const struct written *write = &sim->writes[i];
        const struct fate *fate = &sim->handlers[handler].fates[i];
        if (strcmp(write->shard, shard) != 0 || write->trimmed || !is_behind(checkpoint, progress, write) ||
            fate->state == FATE_HANDLED || fate->state == FATE_DISCARDED || fate->frozen ||
            count_letters(view, name, write->unit) || sim->handlers[handler].forwarded[i])
            continue;
        sim_violated(sim, "the checkpoint of handler %s in %s is beyond record %d (%s), which is not settled",
                     name, shard, i, write->sequence);
    }
    arena_fini(&arena);
}

/* As a text that grows: nothing, then sequences (compared by length first), then the end. */
static const char *place_of(const struct position *position)
{
    if (position->kind == POSITION_FINISHED)
        return "finished, which is longer than any sequence number whatsoever";
    return position->kind == POSITION_AFTER ? position->sequence : "";
}

static bool may_go_back(const struct sim *sim, const char *handler)
{
    for (int h = 0; h < sim->handler_count; h++)
        if (strcmp(sim->handlers[h].name, handler) == 0)
            return sim->handlers[h].sought;
    return false;
}

static void check_monotonic(struct sim *sim, const struct store_checkpoint *checkpoint)
{
    char key[200];
    snprintf(key, sizeof key, "%s %s", checkpoint->handler, checkpoint->shard);
    const char *place = place_of(&checkpoint->position);
    char *before = map_get(&sim->positions, key);
    if (before && sequence_compare(place, before) < 0 && !may_go_back(sim, checkpoint->handler))
        sim_violated(sim, "the checkpoint of handler %s in %s went back from %s to %s", checkpoint->handler,
                     checkpoint->shard, before, place);
    map_set(&sim->positions, key, mem_string(place));
    free(before);
}

/* Has the host still to carry it out? */
static bool seek_is_open(struct sim *sim, const struct sim_handler *handler)
{
    struct err err;
    bool open = false;
    struct reactor *reactor = reactor_new(&sim->world.clock);
    struct store *store = open_store(sim, reactor, true);
    struct store_snapshot *snapshot =
        store ? store_load_now(store, reactor, &(struct store_query){.what = STORE_REQUESTS}, &err) : NULL;
    for (size_t i = 0; snapshot && i < snapshot->request_count; i++)
        open = open || strcmp(snapshot->requests[i].handler, handler->name) == 0;
    store_snapshot_free(snapshot);
    store_free(store);
    reactor_free(reactor);
    return open;
}

/* It was carried out: the handler stands somewhere else now. */
static void forget_positions(struct sim *sim, struct sim_handler *handler)
{
    const char *key;
    size_t at = 0;
    handler->sought = false;
    sim_trace(sim, "%s has been sought", handler->name);
    while (map_next(&sim->positions, &at, &key))
        if (strncmp(key, handler->name, strlen(handler->name)) == 0) {
            free(map_remove(&sim->positions, key));
            at = 0;
        }
}

void check_store(struct sim *sim)
{
    struct view view;
    targets_settle_loose(sim);
    service_harvest(sim);
    if (read_view(sim, &view)) {
        for (size_t i = 0; i < view.all->checkpoint_count; i++) {
            const struct store_checkpoint *row = &view.all->checkpoints[i];
            check_monotonic(sim, row);
            sim_trace(sim, "kept: %s in %s: %s, %s", row->handler, row->shard, place_of(&row->position),
                      row->progress);
            for (int h = 0; h < sim->handler_count; h++)
                if (strcmp(sim->handlers[h].name, row->handler) == 0)
                    check_settled(sim, &view, h, row->shard);
        }
    }
    for (int h = 0; view.all && h < sim->handler_count; h++)
        if (sim->handlers[h].sought && !seek_is_open(sim, &sim->handlers[h]))
            forget_positions(sim, &sim->handlers[h]);
    view_fini(&view);
}

/* ---- at the end ---- */

static bool in_gap(const struct view *view, const char *handler, const char *sequence)
{
    for (size_t i = 0; i < view->all->event_count; i++) {
        const struct store_event *event = &view->all->events[i];
        if (strcmp(event->handler, handler) == 0 && strcmp(event->kind, "gap") == 0 &&
            sequence_compare(event->from_sequence, sequence) < 0 &&
            (!*event->to_sequence || sequence_compare(sequence, event->to_sequence) < 0))
            return true;
    }
    return false;
}

static void check_record(struct sim *sim, const struct view *view, const struct sim_handler *handler,
                         int record)
{
    const struct written *write = &sim->writes[record];
    const struct fate *fate = &handler->fates[record];
    int letters = count_letters(view, handler->name, write->unit);
    if (letters > 1)
        sim_violated(sim, "handler %s has %d dead letters of record %d", handler->name, letters, record);
    /* A crash on a full disk loses the letter; then it comes again, unless it was trimmed meanwhile. */
    bool told = write->trimmed && (fate->excused || in_gap(view, handler->name, write->sequence));
    if (fate->state == FATE_GIVEN_UP && !letters && !handler->forwarded[record] && !told)
        sim_violated(sim, "handler %s gave record %d up, and there is no dead letter", handler->name, record);
    if (fate->state == FATE_HANDLED && letters && !(fate->redriven && sim->crashes) && !handler->seeks &&
        !fate->frozen)
        sim_violated(sim, "handler %s handled record %d, and there is a dead letter", handler->name, record);
    if (fate->state >= FATE_HANDLED || fate->frozen)
        return;
    if (!write->trimmed)
        sim_violated(sim, "handler %s has lost record %d (item %d, %s in %s)", handler->name, record,
                     write->item, write->sequence, write->shard);
    else if (!fate->excused && !in_gap(view, handler->name, write->sequence))
        sim_violated(
            sim, "handler %s missed record %d (item %d, %s in %s), which was trimmed, and nobody was told",
            handler->name, record, write->item, write->sequence, write->shard);
}

/* Each record that was handled is in one window that was closed, or in the state of one that was given up,
 * and in that which its time says (unless the host's clock, by which it ends a window that nothing follows,
 * was wrong). */
static void check_windows(struct sim *sim, const struct view *view, const struct sim_handler *handler,
                          int64_t length_ms)
{
    char *times = mem_zero((size_t)sim->write_count + 1);
    for (size_t i = 0; i < view->letters->letter_count; i++) {
        const struct store_dead_letter *letter = &view->letters->letters[i];
        if (strcmp(letter->handler, handler->name) == 0 && strncmp(letter->sequence, "window-", 7) == 0)
            model_window_given_up((struct sim_handler *)handler, letter->record);
    }
    for (const struct closed_window *window = handler->windows; window; window = window->next)
        for (int i = 0; i < window->count; i++) {
            int record = window->seen[i];
            const struct written *write = &sim->writes[record];
            /* After a crash a letter may count in another window than before; and any record, where the
             * clock was wrong. */
            if (times[record]++ && !((handler->fates[record].redriven || sim->jumped) && sim->crashes))
                sim_violated(sim, "record %d is in the windows of handler %s twice", record, handler->name);
            if (write->time_ms && !handler->fates[record].redriven && !sim->jumped &&
                (write->time_ms < window->start_ms || write->time_ms >= window->start_ms + length_ms))
                sim_violated(sim, "record %d of %" PRId64 " is in the window of %" PRId64, record,
                             write->time_ms, window->start_ms);
        }
    for (int i = 0; i < sim->write_count; i++)
        if (handler->fates[i].state == FATE_HANDLED && !handler->fates[i].frozen && !times[i] &&
            !sim->writes[i].trimmed && !handler->in_given_up[i] && !(handler->discard && sim->crashes))
            sim_violated(sim, "record %d (%s in %s) is in no window of handler %s", i,
                         sim->writes[i].sequence, sim->writes[i].shard, handler->name);
    free(times);
}

void check_end(struct sim *sim)
{
    struct view view;
    service_harvest(sim);
    check_store(sim);
    if (read_view(sim, &view))
        for (int h = 0; h < sim->handler_count; h++) {
            const struct sim_handler *handler = &sim->handlers[h];
            if (!handler->joined)
                continue;
            for (int i = 0; i < sim->write_count; i++)
                check_record(sim, &view, handler, i);
            targets_check_lake(sim, h);
            if (handler->kind == KIND_WINDOW && !handler->seeks)
                check_windows(sim, &view, handler, 10 * SECOND_MS);
        }
    view_fini(&view);
}

void check_seek(struct sim *sim, int handler)
{
    struct err err;
    struct reactor *reactor = reactor_new(&sim->world.clock);
    struct store *store = open_store(sim, reactor, false);
    if (store) {
        struct store_batch *batch = store_batch_new();
        store_put_request(batch, &(struct store_request){.id = ++sim->requests,
                                                         .kind = "seek",
                                                         .handler = sim->handlers[handler].name,
                                                         .shard = "",
                                                         .argument = "trim_horizon"});
        store_commit_now(store, reactor, batch, &err);
        sim->handlers[handler].seeks++;
        sim->handlers[handler].sought = true;
        for (int i = 0; i < sim->trimmed_below; i++)
            sim->handlers[handler].fates[i].excused = true; /* what is not there any more is not asked for */
    }
    store_free(store);
    reactor_free(reactor);
}

/* A handler without a durable place in the shard cannot know that something was there. */
static bool has_place(const struct store_checkpoint *checkpoint)
{
    return checkpoint &&
           (checkpoint->position.kind >= POSITION_AFTER || strstr(checkpoint->progress, "through"));
}

void check_trim(struct sim *sim)
{
    struct view view;
    service_harvest(sim);
    if (read_view(sim, &view))
        for (int h = 0; h < sim->handler_count; h++)
            for (int i = sim->trimmed_below; i < sim->write_count; i++)
                sim->handlers[h].fates[i].excused =
                    sim->handlers[h].sought ||
                    !has_place(find_checkpoint(&view, sim->handlers[h].name, sim->writes[i].shard));
    view_fini(&view);
}

/* ---- redriving ---- */

void check_redrive_all(struct sim *sim)
{
    struct view view;
    struct err err;
    struct reactor *reactor = reactor_new(&sim->world.clock);
    struct store *store = read_view(sim, &view) ? open_store(sim, reactor, false) : NULL;
    if (store) {
        struct store_batch *batch = store_batch_new();
        for (size_t i = 0; i < view.letters->letter_count; i++)
            store_mark_dead_letter(batch, view.letters->letters[i].id, clock_wall_ms(&sim->world.clock));
        store_commit_now(store, reactor, batch, &err);
    }
    store_free(store);
    reactor_free(reactor);
    view_fini(&view);
}
