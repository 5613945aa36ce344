/* reloader.c: one look compares the directory with what runs; everything else follows from that, so it does
 * not matter how an editor or a deployment changes files. */
#include "core/reloader.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "worker/handlers.h"
#include "script/directory.h"

/* An editor's several steps are one change; where something is written all the time, it is looked at
 * meanwhile. */
#define SETTLE_MS 50
#define SETTLE_MS_MAX 500
#define LOOK_EVERY_MS 2000
#define LOAD_AGAIN_MS_MIN 2000
#define LOAD_AGAIN_MS_MAX 60000
#define FILE_BYTES_MAX (4u << 20)
#define DEPTH_MAX 8

struct running {
    char *name, *place, *formerly; /* formerly: or NULL */
    struct names streams;
    size_t leaving;            /* workers that have not let go of it yet; 0: it runs */
    struct store_batch *batch; /* to be written when they have; or NULL */
    bool *failed;              /* by worker: it could not load what the probe could */
    int64_t pause_ms, due_ms;  /* before it is tried again; monotonic */
};

struct reloader {
    struct reloader_options options;
    struct map handlers; /* name -> struct running */
    struct map ran;      /* names of handlers that run, or ran since the start -> anything */
    struct map broken;   /* names of scripts that could not be loaded -> anything */
    struct map paused;   /* names -> int64_t, owned: since when, wall clock */
    int64_t taken, refused;
    uint64_t seen;    /* hash of everything as of the last look; 0: it is to be looked at again */
    uint64_t release; /* hash of what was taken last; 0: nothing yet */
    struct timer look;
    int64_t changed_ms; /* when something changed first since the last look, monotonic; 0: nothing has */
    int inotify_fd;
    struct watch *watch;
    bool stopped;
    bool told;                       /* what the configuration names and is not there */
    struct store_snapshot *snapshot; /* given to the supervisors */
    int64_t loads, loaded;           /* how often one was asked for; which of these it came of */
    struct list joining;             /* new handlers until the snapshot is there */
    struct timer load_again;         /* the store could not be read */
};

struct joining {
    struct list link;
    struct reloader *reloader;
    char *name;
    struct names streams;
    int64_t
        load; /* the first that was asked for when what it has written was durable; 0: that is waited for */
};

struct loading {
    struct reloader *reloader;
    int64_t number;
};

/* ---- what is there ---- */

static void watch_directory(struct reloader *reloader, const char *path)
{
    if (reloader->inotify_fd >= 0) /* a directory that is watched already stays so */
        inotify_add_watch(reloader->inotify_fd, path,
                          IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                              IN_MOVE_SELF | IN_DELETE_SELF | IN_ATTRIB | IN_ONLYDIR);
}

static uint64_t hash_file(const char *path)
{
    size_t size = 0;
    char *text = file_read(path, FILE_BYTES_MAX, &size, NULL);
    uint64_t hash = text ? hash_bytes(text, size, 1) : 0;
    free(text);
    return hash_mix(hash ^ hash_bytes(path, strlen(path), 2));
}

/* The sum over all Lua files and the templates, so that their order does not matter; watches the directories
 * on the way. `whole`: every file counts. */
static uint64_t hash_tree(struct reloader *reloader, const char *path, int depth, bool whole)
{
    uint64_t sum = 0;
    DIR *directory = depth < DEPTH_MAX ? opendir(path) : NULL;
    if (!directory)
        return 0;
    watch_directory(reloader, path);
    for (struct dirent *entry; (entry = readdir(directory));) {
        size_t size = strlen(entry->d_name);
        struct stat status;
        if (entry->d_name[0] == '.')
            continue;
        char *inner = mem_printf("%s/%s", path, entry->d_name);
        if (stat(inner, &status) == 0 && S_ISDIR(status.st_mode))
            sum += hash_tree(reloader, inner, depth + 1,
                             whole || (!depth && strcmp(entry->d_name, "templates") == 0));
        else if (whole || (size > 4 && strcmp(entry->d_name + size - 4, ".lua") == 0))
            sum += hash_file(inner);
        free(inner);
    }
    closedir(directory);
    return sum;
}

/* Another directory in its place is another release, though its scripts are the same: its INI may not be.
 * Never 0, even where nothing is. */
static uint64_t hash_release(struct reloader *reloader, const char *directory)
{
    struct stat status = {0};
    if (stat(directory, &status) != 0)
        status = (struct stat){0};
    uint64_t place = hash_mix((uint64_t)status.st_ino ^ (uint64_t)status.st_dev << 40);
    return hash_mix(hash_tree(reloader, directory, 0, false) + place) | 1;
}

/* ---- new, changed, removed ---- */

static void put_version(struct reloader *reloader, const struct handler *handler);

static void running_free(struct running *running)
{
    free(running->name);
    free(running->place);
    names_fini(&running->streams);
    free(running->formerly);
    free(running->failed);
    store_batch_free(running->batch);
    free(running);
}

static struct running *keep(struct reloader *reloader, const char *place, const struct handler *handler)
{
    struct running *running = mem_zero(sizeof *running);
    running->name = mem_string(handler_name(handler));
    running->place = mem_string(place);
    names_copy(&running->streams, &handler_settings_of(handler)->streams);
    running->formerly = mem_string(handler_settings_of(handler)->formerly);
    running->failed = mem_zero(reloader->options.worker_count * sizeof *running->failed);
    map_set(&reloader->handlers, running->name, running);
    map_set(&reloader->ran, running->name, reloader);
    put_version(reloader, handler);
    return running;
}

void reloader_running(struct reloader *reloader, const char *place, const struct handler *handler)
{
    keep(reloader, place, handler);
}

static void joining_free(struct joining *joining)
{
    list_remove(&joining->link);
    free(joining->name);
    names_fini(&joining->streams);
    free(joining);
}

/* Where the new handlers stand may have been written since the host started: by themselves, before they were
 * removed. What was asked for before one of them came may not have that, and a later answer may be quicker.
 */
static void on_snapshot(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct loading *loading = user;
    struct reloader *reloader = loading->reloader;
    struct joining *joining;
    int64_t number = loading->number;
    free(loading);
    if (err && err->code == ERR_CANCELLED)
        return;
    if (!snapshot) {
        if (!reloader->stopped) {
            log_error(reloader->options.log, NULL, "%s; new handlers wait, trying again", err->text);
            timer_set(reloader->options.reactor, &reloader->load_again, LOOK_EVERY_MS);
        }
        return;
    }
    if (number < reloader->loaded) {
        store_snapshot_free(snapshot);
        return;
    }
    streams_set_snapshot(reloader->options.streams, snapshot);
    store_snapshot_free(reloader->snapshot);
    reloader->snapshot = snapshot;
    reloader->loaded = number;
    list_each(joining, &reloader->joining, struct joining, link) {
        if (!joining->load || joining->load > number)
            continue;
        if (!reloader->stopped)
            streams_add_handler(reloader->options.streams, &joining->streams, joining->name);
        joining_free(joining);
    }
}

static void load_snapshot(void *user)
{
    struct reloader *reloader = user;
    struct loading *loading = mem_alloc(sizeof *loading);
    *loading = (struct loading){reloader, ++reloader->loads};
    store_load(reloader->options.store, &(struct store_query){0}, on_snapshot, loading);
}

bool reloader_inherit(const struct handler *handler, struct store_batch *batch)
{
    const char *former = handler_settings_of(handler)->formerly;
    if (former && *former)
        store_inherit(batch, handler_name(handler), former);
    return former && *former;
}

void reloader_inherit_markers(const struct store_snapshot *markers, const char *heir,
                              struct store_batch *batch)
{
    for (size_t i = 0; i < markers->marker_count; i++) {
        struct store_marker marker = markers->markers[i];
        marker.handler = heir;
        store_put_marker(batch, &marker);
    }
}

/* One whose script came while the host runs, and what it was before. */
struct heritage {
    struct reloader *reloader;
    char *heir, *former;
};

/* Before that, what it goes on with could be missing in what is read. */
static void on_taken(void *user, const struct err *err)
{
    struct heritage *heritage = user;
    struct reloader *reloader = heritage->reloader;
    struct joining *joining;
    if (!err) { /* else the state is closed first */
        list_each(joining, &reloader->joining, struct joining, link)
            if (!joining->load && strcmp(joining->name, heritage->heir) == 0)
                joining->load = reloader->loads + 1;
        load_snapshot(reloader);
    }
    free(heritage->heir);
    free(heritage->former);
    free(heritage);
}

static void on_markers(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct heritage *heritage = user;
    struct store_batch *batch = store_batch_new();
    if (snapshot)
        reloader_inherit_markers(snapshot, heritage->heir, batch);
    store_snapshot_free(snapshot);
    if (err && err->code == ERR_CANCELLED) {
        store_batch_free(batch);
        on_taken(heritage, err);
    } else { /* what cannot be read is not waited for: it is done once more at the worst */
        store_commit(heritage->reloader->options.store, batch, on_taken, heritage);
    }
}

static void on_inherited(void *user, const struct err *err)
{
    struct heritage *heritage = user;
    if (err)
        on_taken(heritage, err);
    else
        store_load(heritage->reloader->options.store,
                   &(struct store_query){.what = STORE_MARKERS, .handler = heritage->former}, on_markers,
                   heritage);
}

const char *reloader_heir(const struct reloader *reloader, const char *former)
{
    size_t at = 0;
    const struct running *same = map_get(&reloader->handlers, former);
    if (same && !same->leaving)
        return NULL; /* it is split, and here */
    for (const struct running *running; (running = map_next(&reloader->handlers, &at, NULL));)
        if (running->formerly && strcmp(running->formerly, former) == 0 && !running->leaving)
            return running->name;
    return NULL;
}

/* While the one that it was still lets what runs finish, it has not its last place yet. */
static bool waits_for_former(const struct reloader *reloader, const struct handler *probe)
{
    const char *former = handler_settings_of(probe)->formerly;
    const struct running *running = former ? map_get(&reloader->handlers, former) : NULL;
    return running && (running->leaving || !handler_place_exists(running->place, reloader->options.config));
}

static void start_handler(struct reloader *reloader, const char *place, const struct handler *probe)
{
    struct store_batch *batch = store_batch_new();
    struct joining *joining = mem_zero(sizeof *joining);
    struct running *running = keep(reloader, place, probe);
    const char *intake = handler_settings_of(probe)->intake;
    log_info(reloader->options.log, NULL, "handler %s is new (version %s) on %s %s", running->name,
             handler_version(probe), intake ? "intake" : "stream", intake ? intake : running->streams.text);
    for (size_t i = 0; i < reloader->options.worker_count; i++)
        worker_load_handler(reloader->options.workers[i], place);
    joining->reloader = reloader;
    joining->name = mem_string(running->name);
    names_copy(&joining->streams, &running->streams);
    list_append(&reloader->joining, &joining->link);
    if (reloader_inherit(probe, batch)) {
        struct heritage *heritage = mem_alloc(sizeof *heritage);
        *heritage = (struct heritage){reloader, mem_string(running->name), mem_string(running->formerly)};
        store_commit(reloader->options.store, batch, on_inherited, heritage);
        return;
    }
    store_batch_free(batch);
    joining->load = reloader->loads + 1;
    load_snapshot(reloader);
}

static void stop_handler(struct reloader *reloader, struct running *running)
{
    struct joining *joining;
    running->leaving = reloader->options.worker_count;
    list_each(joining, &reloader->joining, struct joining, link)
        if (strcmp(joining->name, running->name) == 0)
            joining_free(joining);
    streams_remove_handler(reloader->options.streams, running->name);
    for (size_t i = 0; i < reloader->options.worker_count; i++)
        worker_remove_handler(reloader->options.workers[i], running->name);
}

/* What orders a handler's records is not changed under them: it stops with what runs, and starts anew. */
static bool orders_alike(const struct handler *a, const struct handler *b)
{
    return a->kind == b->kind && a->pipelined == b->pipelined && a->settings.ordering == b->settings.ordering;
}

static void replace_handler(struct reloader *reloader, struct running *running, const struct handler *old,
                            const struct handler *probe)
{
    const struct names *streams = &handler_settings_of(probe)->streams;
    const char *before = running->streams.text ? running->streams.text : "",
               *now = streams->text ? streams->text : "";
    if (strcmp(before, now) != 0) {
        log_info(reloader->options.log, NULL, "handler %s moves from stream %s to %s", running->name,
                 *before ? before : "(none)", *now ? now : "(none)");
        stop_handler(reloader, running); /* once it has left, the next look finds it new */
        return;
    }
    bool same = strcmp(handler_version(probe), handler_version(old)) == 0;
    log_info(reloader->options.log, NULL, "handler %s: version %s takes the place of %s%s", running->name,
             handler_version(probe), handler_version(old), same ? ", with other settings" : "");
    if (!orders_alike(old, probe)) {
        stop_handler(reloader, running); /* likewise */
        return;
    }
    running->pause_ms = 0;
    memset(running->failed, 0, reloader->options.worker_count * sizeof *running->failed);
    for (size_t i = 0; i < reloader->options.worker_count; i++)
        worker_load_handler(reloader->options.workers[i], running->place);
    put_version(reloader, probe);
}

/* Compile without running it for anybody: whatever is wrong shows here. */
static struct handler *probe_handler(struct reloader *reloader, const struct config *config,
                                     const char *place, struct problems *problems)
{
    return handler_load(
        &(struct script_options){
            .path = place,
            .config = config,
            .reactor = reloader->options.reactor,
            .log = reloader->options.log,
        },
        problems);
}

/* NULL: it is well. */
static void tell_loading(struct worker *worker, const char *name, const char *text)
{
    char *subject = mem_printf("handler %s", name);
    if (text)
        troubles_tell(worker_troubles(worker), subject, "loading", text);
    else
        troubles_end(worker_troubles(worker), subject, "loading");
    free(subject);
}

void reloader_tell_broken(struct worker *worker, const char *place, const char *text)
{
    char *name = handler_place_name(place);
    tell_loading(worker, name, text);
    free(name);
}

/* For status; NULL: it is well. */
static void tell_load(struct reloader *reloader, const char *name, const char *text)
{
    tell_loading(reloader->options.workers[0], name, text);
    if (text)
        map_set(&reloader->broken, name, reloader);
    else
        map_remove(&reloader->broken, name);
}

static struct handler *probe_and_tell(struct reloader *reloader, const char *place, const char *version)
{
    struct problems problems = PROBLEMS_INIT;
    struct handler *probe = probe_handler(reloader, reloader->options.config, place, &problems);
    problems_log(&problems, reloader->options.log);
    if (!probe && version)
        log_error(reloader->options.log, NULL, "%s: not loaded; version %s stays in force", place, version);
    else if (!probe)
        log_error(reloader->options.log, NULL, "%s: left out until it is mended", place);
    char *name = handler_place_name(place);
    reloader->taken += probe != NULL;
    reloader->refused += probe == NULL;
    if (probe && map_get(&reloader->broken, name))
        log_info(reloader->options.log, NULL, "%s loads again", place);
    tell_load(reloader, name, probe ? NULL : problems.count ? problems.lines[0] : "it could not be loaded");
    free(name);
    problems_fini(&problems);
    return probe;
}

struct reloads reloader_counts(const struct reloader *reloader)
{
    return (struct reloads){reloader->taken, reloader->refused, reloader->broken.count};
}

/* A worker that could not load it is asked again, after a while that grows. */
static void load_failed_again(struct reloader *reloader, struct running *running)
{
    int64_t now_ms = reactor_now_ms(reloader->options.reactor);
    if (running->leaving || !running->pause_ms || now_ms < running->due_ms)
        return;
    running->due_ms = now_ms + running->pause_ms;
    for (size_t i = 0; i < reloader->options.worker_count; i++)
        if (running->failed[i])
            worker_load_handler(reloader->options.workers[i], running->place);
}

void reloader_loaded(struct reloader *reloader, struct worker *worker, const char *place, bool ok)
{
    char *name = handler_place_name(place);
    struct running *running = map_get(&reloader->handlers, name);
    bool failed = false;
    for (size_t i = 0; running && i < reloader->options.worker_count; i++) {
        if (reloader->options.workers[i] == worker)
            running->failed[i] = !ok;
        failed = failed || running->failed[i];
    }
    if (running && !ok) {
        running->pause_ms = running->pause_ms ? running->pause_ms * 2 : LOAD_AGAIN_MS_MIN;
        if (running->pause_ms > LOAD_AGAIN_MS_MAX)
            running->pause_ms = LOAD_AGAIN_MS_MAX;
        running->due_ms = reactor_now_ms(reloader->options.reactor) + running->pause_ms;
        log_error(reloader->options.log, NULL,
                  "handler %s could not be loaded although it had just been tried; again in %lld s", name,
                  (long long)running->pause_ms / 1000);
        tell_load(reloader, name, "it could not be loaded (see the log); it is tried again");
    } else if (running && !failed) {
        running->pause_ms = 0;
        tell_load(reloader, name, NULL);
    }
    free(name);
}

static void look_at_running(struct reloader *reloader, struct running *running)
{
    const struct handler *old = worker_handler(reloader->options.workers[0], running->name);
    if (running->leaving || !old)
        return;
    if (streams_retired(reloader->options.streams, &running->streams)) {
        stop_handler(reloader, running); /* once all have left the stream, it is found new */
        return;
    }
    if (!handler_stale(old, reloader->options.config)) {
        if (!running->pause_ms && map_get(&reloader->broken, running->name)) { /* the change was taken back */
            log_info(reloader->options.log, NULL, "%s is again what runs", running->place);
            tell_load(reloader, running->name, NULL);
        }
        return;
    }
    struct handler *probe = probe_and_tell(reloader, running->place, handler_version(old));
    if (probe)
        replace_handler(reloader, running, old, probe);
    handler_release(probe);
}

static void look_at(struct reloader *reloader, const char *place)
{
    char *name = handler_place_name(place);
    struct running *running = map_get(&reloader->handlers, name);
    bool paused = reloader_paused(reloader, name);
    free(name);
    if (running && !paused) {
        look_at_running(reloader, running);
        return;
    }
    if (running) {
        if (!running->leaving)
            stop_handler(reloader, running);
        return;
    }
    if (paused)
        return;
    struct handler *probe = probe_and_tell(reloader, place, NULL);
    if (probe && !streams_retired(reloader->options.streams, &handler_settings_of(probe)->streams) &&
        !waits_for_former(reloader, probe)) /* then it is looked at again */
        start_handler(reloader, place, probe);
    handler_release(probe);
}

/* A script that could not be loaded, and is not there any more, is no trouble. */
static void end_lost_troubles(struct reloader *reloader, char **places)
{
    const char *name;
    size_t at = 0;
    while (map_next(&reloader->broken, &at, &name)) {
        bool there = false;
        for (size_t i = 0; places[i] && !there; i++) {
            char *other = handler_place_name(places[i]);
            there = strcmp(other, name) == 0;
            free(other);
        }
        if (there)
            continue;
        char *gone = mem_string(name);
        tell_load(reloader, gone, NULL); /* takes it from the map, which moves slots */
        free(gone);
        at = 0;
    }
}

static void stop_removed(struct reloader *reloader, char **places)
{
    size_t at = 0;
    for (struct running *running; (running = map_next(&reloader->handlers, &at, NULL));) {
        size_t i = 0;
        while (places[i] && strcmp(places[i], running->place) != 0)
            i++;
        if (places[i] || running->leaving)
            continue;
        log_info(reloader->options.log, NULL, "handler %s was removed; it stops, its checkpoint is kept",
                 running->name);
        stop_handler(reloader, running);
    }
}

/* The directory may be absent where only routes run. */
static bool scripts_run(const struct reloader *reloader)
{
    size_t at = 0;
    for (const struct running *running; (running = map_next(&reloader->handlers, &at, NULL));)
        if (!handler_place_is_route(running->place))
            return true;
    return false;
}

static bool has_handler(struct reloader *reloader, const char *stream)
{
    size_t at = 0;
    for (struct running *running; (running = map_next(&reloader->handlers, &at, NULL));)
        if (names_have(&running->streams, stream))
            return true;
    return false;
}

/* Once for each configuration. */
static void tell_what_is_not_there(struct reloader *reloader)
{
    const struct config *config = reloader->options.config;
    if (reloader->told)
        return;
    reloader->told = true;
    for (size_t i = 0; i < config->handler_count; i++)
        if (!map_get(&reloader->handlers, config->handlers[i].name) &&
            !reloader_paused(reloader, config->handlers[i].name)) {
            const char *script = config_handler_script(&config->handlers[i]);
            log_warn(reloader->options.log, NULL, "%s:%d: [handler %s]: no handler %s/%s.lua runs",
                     config->path, config->handlers[i].line, config->handlers[i].name, config->host.scripts,
                     script ? script : config->handlers[i].name);
        }
    for (size_t i = 0; i < config->stream_count; i++)
        if (!has_handler(reloader, config->streams[i].name))
            log_warn(reloader->options.log, NULL, "[stream %s] has no handler yet", config->streams[i].name);
}

/* What stands on the disk now is not taken: handlers that are paused stop all the same, and those that were
 * stopped for a moment, or are resumed, come back with what is there. */
static void look_at_pauses(struct reloader *reloader)
{
    struct err err;
    char **places = handler_places(reloader->options.config, !scripts_run(reloader), &err);
    for (size_t i = 0; places && places[i]; i++) {
        char *name = handler_place_name(places[i]);
        const struct running *running = map_get(&reloader->handlers, name);
        if (running ? reloader_paused(reloader, name) : map_get(&reloader->ran, name) != NULL)
            look_at(reloader, places[i]);
        free(name);
    }
    if (places)
        script_paths_free(places);
}

static void look(void *user)
{
    struct reloader *reloader = user;
    const char *directory = reloader->options.config->host.scripts;
    char *above = path_beside(directory, ".");
    struct err err;
    if (reloader->stopped) {
        free(above);
        return;
    }
    timer_set(reloader->options.reactor, &reloader->look, LOOK_EVERY_MS);
    reloader->changed_ms = 0;
    size_t at = 0;
    for (struct running *running; (running = map_next(&reloader->handlers, &at, NULL));)
        load_failed_again(reloader, running);
    if (streams_sweep(reloader->options.streams))
        reloader->seen = 0;           /* those who waited for it may start */
    watch_directory(reloader, above); /* the directory may be a link that is exchanged */
    free(above);
    uint64_t seen = hash_release(reloader, directory);
    if (seen == reloader->seen)
        return;
    if (seen != reloader->release && reloader->release && reloader->options.take_release &&
        !reloader->options.take_release(reloader->options.user, seen)) {
        look_at_pauses(reloader);
        return;
    }
    reloader->seen = reloader->release = seen;
    char **places = handler_places(reloader->options.config, !scripts_run(reloader), &err);
    if (!places) { /* in the middle of an exchange, or gone for good: nothing is stopped for that */
        log_warn(reloader->options.log, NULL, "%s", err.text);
        return;
    }
    for (size_t i = 0; places[i]; i++)
        look_at(reloader, places[i]);
    stop_removed(reloader, places);
    end_lost_troubles(reloader, places);
    tell_what_is_not_there(reloader);
    script_paths_free(places);
}

static void look_now(struct reloader *reloader)
{
    reloader->seen = 0;
    if (!reloader->stopped)
        timer_set(reloader->options.reactor, &reloader->look, 0);
}

void reloader_left(struct reloader *reloader, const char *handler_name)
{
    struct running *running = map_get(&reloader->handlers, handler_name);
    if (!running || !running->leaving || --running->leaving)
        return;
    log_info(reloader->options.log, NULL, "handler %s has stopped", handler_name);
    map_remove(&reloader->handlers, handler_name);
    if (running->batch)
        store_commit(reloader->options.store, running->batch, NULL, NULL);
    running->batch = NULL;
    running_free(running);
    look_now(reloader); /* it may be back, or on another stream */
}

bool reloader_restart(struct reloader *reloader, const char *handler_name, struct store_batch *batch)
{
    struct running *running = map_get(&reloader->handlers, handler_name);
    if (running && (running->leaving || reloader->stopped)) {
        store_batch_free(batch);
        return false;
    }
    if (!running) {
        if (batch)
            store_commit(reloader->options.store, batch, NULL, NULL);
        return true;
    }
    running->batch = batch;
    stop_handler(reloader, running);
    return true;
}

/* ---- pauses ---- */

bool reloader_paused(const struct reloader *reloader, const char *handler)
{
    return map_get(&reloader->paused, handler) != NULL;
}

void reloader_each_paused(const struct reloader *reloader,
                          void (*fn)(void *user, const char *handler, int64_t since_ms), void *user)
{
    const char *handler;
    size_t at = 0;
    for (const int64_t *since_ms; (since_ms = map_next(&reloader->paused, &at, &handler));)
        fn(user, handler, *since_ms);
}

static bool add_paused(struct reloader *reloader, const struct store_snapshot *snapshot)
{
    bool any = false;
    for (size_t i = 0; i < snapshot->request_count; i++) {
        const struct store_request *request = &snapshot->requests[i];
        if (strcmp(request->kind, STORE_PAUSED) != 0 || reloader_paused(reloader, request->handler))
            continue;
        int64_t *since_ms = mem_alloc(sizeof *since_ms);
        *since_ms = request->created_ms;
        map_set(&reloader->paused, request->handler, since_ms);
        log_info(reloader->options.log, NULL, "handler %s is paused%s%s", request->handler,
                 *request->argument ? ": " : "", request->argument);
        any = true;
    }
    return any;
}

static bool end_paused(struct reloader *reloader, const struct store_snapshot *snapshot)
{
    const char *handler;
    size_t at = 0;
    bool any = false;
    while (map_next(&reloader->paused, &at, &handler)) {
        if (store_find_pause(snapshot, handler))
            continue;
        log_info(reloader->options.log, NULL, "handler %s is not paused any more", handler);
        free(map_remove(&reloader->paused, handler));
        any = true;
        at = 0; /* removal moves slots */
    }
    return any;
}

void reloader_set_paused(struct reloader *reloader, const struct store_snapshot *snapshot)
{
    bool more = add_paused(reloader, snapshot), less = end_paused(reloader, snapshot);
    if (more || less)
        look_now(reloader);
}

/* ---- another configuration ---- */

bool reloader_accepts(struct reloader *reloader, const struct config *config, struct problems *problems)
{
    size_t at = 0, before = problems->count;
    for (struct running *running; (running = map_next(&reloader->handlers, &at, NULL));)
        if (!running->leaving && handler_place_exists(running->place, config))
            handler_release(probe_handler(reloader, config, running->place, problems));
    return problems->count == before;
}

void reloader_set_config(struct reloader *reloader, const struct config *config)
{
    config_hold(config);
    config_release(reloader->options.config);
    reloader->options.config = config;
    reloader->told = false;
    for (size_t i = 0; i < reloader->options.worker_count; i++)
        worker_set_config(reloader->options.workers[i], config);
    streams_set_config(reloader->options.streams, config);
    look_now(reloader);
}

/* ---- life ---- */

static void put_version(struct reloader *reloader, const struct handler *handler)
{
    struct store_batch *batch = store_batch_new();
    store_put_handler(batch, &(struct store_handler){
                                 .handler = handler_name(handler),
                                 .version = handler_version(handler),
                                 .loaded_ms = clock_wall_ms(reactor_clock(reloader->options.reactor)),
                             });
    store_commit(reloader->options.store, batch, NULL, NULL);
}

static void on_inotify(void *user)
{
    struct reloader *reloader = user;
    char events[4096];
    while (read(reloader->inotify_fd, events, sizeof events) > 0)
        ; /* what exactly happened does not matter */
    int64_t now_ms = reactor_now_ms(reloader->options.reactor);
    if (!reloader->changed_ms)
        reloader->changed_ms = now_ms;
    if (!reloader->stopped && now_ms - reloader->changed_ms < SETTLE_MS_MAX)
        timer_set(reloader->options.reactor, &reloader->look, SETTLE_MS);
}

struct reloader *reloader_new(const struct reloader_options *options)
{
    struct reloader *reloader = mem_zero(sizeof *reloader);
    reloader->options = *options;
    config_hold(options->config);
    list_init(&reloader->joining);
    reloader->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (reloader->inotify_fd >= 0)
        reloader->watch = reactor_watch(options->reactor, reloader->inotify_fd, POLLIN, on_inotify, reloader);
    else
        log_warn(options->log, NULL, "inotify is not to be had; scripts are looked at every %d s",
                 LOOK_EVERY_MS / 1000);
    timer_init(&reloader->look, look, reloader);
    timer_init(&reloader->load_again, load_snapshot, reloader);
    timer_set(options->reactor, &reloader->look, 0);
    add_paused(reloader, options->requests);
    return reloader;
}

void reloader_stop(struct reloader *reloader)
{
    reloader->stopped = true;
    timer_stop(reloader->options.reactor, &reloader->look);
    timer_stop(reloader->options.reactor, &reloader->load_again);
}

void reloader_free(struct reloader *reloader)
{
    struct joining *joining;
    size_t at = 0;
    if (!reloader)
        return;
    timer_stop(reloader->options.reactor, &reloader->look);
    timer_stop(reloader->options.reactor, &reloader->load_again);
    watch_free(reloader->watch);
    if (reloader->inotify_fd >= 0)
        close(reloader->inotify_fd);
    list_each(joining, &reloader->joining, struct joining, link)
        joining_free(joining);
    for (struct running *running; (running = map_next(&reloader->handlers, &at, NULL));)
        running_free(running);
    map_fini(&reloader->handlers);
    map_fini(&reloader->broken);
    map_fini(&reloader->ran);
    size_t at_paused = 0;
    for (int64_t *since_ms; (since_ms = map_next(&reloader->paused, &at_paused, NULL));)
        free(since_ms);
    map_fini(&reloader->paused);
    store_snapshot_free(reloader->snapshot);
    config_release(reloader->options.config);
    free(reloader);
}
