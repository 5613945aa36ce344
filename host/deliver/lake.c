/* lake.c: events as lines of compressed files: the s3 and file targets.
 *
 * A file holds what one handler sent of one shard within one hour, under
 *     prefix/table=T/year=Y/month=M/day=D/hour=H/SHARD-SEQUENCE.jsonl.gz
 * where SEQUENCE is that of its oldest event. Of one handler and shard only one file is written at a time,
 * and the next one only when that is durable. None is written over another: before a name is used, the lake
 * is asked whether it has it.
 *
 * Each event stands in one file, also when its record is handled again after the file was written (the
 * process was killed, or something else of the call was refused): before a file is written, a plan that names
 * its events is kept in the state store, and goes with the checkpoint whose position has passed them. Who
 * finds a plan looks whether the file is there; its events, when they come again, are then accepted without
 * being written again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws/retry.h"
#include "aws/s3.h"
#include "base/file.h"
#include "base/base64.h"
#include "base/check.h"
#include "base/compress.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "deliver/disk.h"
#include "deliver/lake.h"
#include "record/position.h"

#define BYTES_MAX (16u << 20) /* of lines, before they are compressed */
#define LINGER_MS 60000
#define IN_FLIGHT 4
#define MESSAGE_BYTES_MAX (16u << 20)
#define UPLOAD_TIMEOUT_MS 120000
#define NAMES_KEPT 10000
#define PLAN_HANDLER "@lake" /* whose markers the plans are */
#define PLAN_DAYS 2          /* what the stream keeps is read again sooner, or never */

struct lake {
    struct target target;      /* the first: one is the other */
    struct disk *disk;         /* of type = file */
    struct map open;           /* place -> struct file */
    struct file *last;         /* where the last message went; or NULL */
    struct list files;         /* all, in the order of their first messages */
    struct list refused;       /* emissions */
    struct list held;          /* emissions that wait until it is known which files are there */
    struct list plans;         /* of others' files, and of those whose fate is not known */
    size_t unsure;             /* what must be known first */
    bool loaded;               /* the plans were asked for ... */
    size_t late_files;         /* ... when there had been so many of others */
    struct lake_loading *load; /* while they are on their way */
    struct map names;          /* paths that were given out lately -> lake */
    struct planned *passed,
        *covered; /* plans whose events are settled: since the last checkpoint; by the one on its way */
    bool blind;   /* the log has heard that the lake does not say what it has */
    struct task work;
    size_t in_flight;
};

/* The plans on their way out of the store. */
struct lake_loading {
    struct lake *lake; /* NULL: it has gone */
};

/* The key of a plan that is to be forgotten. */
struct planned {
    struct planned *next;
    char key[];
};

/* A file that was to be written: is it there? */
struct plan {
    struct list link;
    struct lake *lake;
    char *key, *path, *handler;
    char *shard, *last; /* the sequence of its newest event; NULL: an earlier version wrote the plan */
    uint64_t *ids;      /* of its events; in order, once one was looked for */
    size_t count;
    bool sorted;
    bool there; /* else it is not known yet */
    int attempts;
    struct timer again;
    struct aws_call *aws;
    bool looking; /* on the disk */
};

/* A plan on its way to the store. */
struct planning {
    struct file *file; /* NULL: it has gone */
};

/* A file on its way. */
struct file {
    struct list link;
    struct lake *lake;
    char *handler, *shard, *series; /* one of a series after the other */
    char *table;                    /* of its partition, as messages have it; or NULL */
    int64_t hour;                   /* likewise, since 1970 */
    char *place;                    /* its partition and what else keeps it apart; NULL: no more to come */
    char *prefix, *sequence, *revision; /* what its name is made of */
    bool routed;                        /* this, too */
    char *last;                         /* the sequence of its newest event */
    char *path;                         /* once it is sealed */
    bool free;                          /* which nothing has in the lake */
    struct compressor *compressor;
    struct buf bytes; /* compressed */
    size_t raw_bytes;
    size_t count;
    uint64_t *ids; /* of its events; `count` of them, but for an object */
    size_t id_capacity;
    char *key; /* of its plan in the store; NULL: it has none */
    struct planning *planning;
    int64_t born_ms; /* monotonic */
    struct list emissions;
    enum { FILE_OPEN, FILE_SEALED, FILE_SENT, FILE_PAUSED } state;
    int attempts;
    int64_t give_up_ms, patience_ms; /* the most patient of its messages'; 0: one of them never gives up */
    bool never;
    struct err *err;    /* of the last attempt; owned */
    struct timer timer; /* of linger, or before another attempt */
    struct aws_call *aws;
    bool writing; /* by the disk */
};

static struct lake *lake_of(struct target *target)
{
    return list_entry(target, struct lake, target);
}

static const struct lake_settings *settings_of(const struct lake *lake)
{
    return lake->target.config->own;
}

static struct reactor *reactor_of(const struct lake *lake)
{
    return lake->target.outbox->reactor;
}

static void wake(struct lake *lake)
{
    task_defer(reactor_of(lake), &lake->work);
}

const char *const lake_compressions[] = {"gzip", "zstd", "none", NULL};
static_assert(COUNT_OF(lake_compressions) == COMPRESSION_NONE + 2, "a name for each compression");

/* ---- names ---- */

static const char *root_of(const struct lake_settings *config)
{
    return config->path ? config->path : config->prefix ? config->prefix : "";
}

static char *under_root(const struct lake_settings *config, const char *path)
{
    const char *root = root_of(config);
    size_t size = strlen(root);
    return mem_printf("%s%s%s", root, size && root[size - 1] != '/' ? "/" : "", path);
}

static char *locate(const struct target *target, const char *object)
{
    const struct lake_settings *config = target->config->own;
    char *path = under_root(config, object);
    char *location =
        config->bucket ? mem_printf("s3://%s/%s", config->bucket, path) : mem_printf("file://%s", path);
    free(path);
    return location;
}

/* "table=T/year=Y/month=M/day=D/hour=H" */
static char *partition_of(const struct message *message)
{
    time_t seconds = (time_t)(message->time_ms / 1000);
    struct tm tm;
    char hour[64];
    gmtime_r(&seconds, &tm);
    strftime(hour, sizeof hour, "year=%Y/month=%m/day=%d/hour=%H", &tm);
    char *table = path_component(message->table ? message->table : "unknown");
    char *partition = mem_printf("table=%s/%s", table, hour);
    free(table);
    return partition;
}

/* ---- files ---- */

static bool is_taken(const struct lake *lake, const char *path)
{
    const struct plan *plan;
    if (map_get(&lake->names, path))
        return true;
    list_each(plan, (struct list *)&lake->plans, struct plan, link)
        if (strcmp(plan->path, path) == 0)
            return true;
    return false;
}

/* What a handler emits stands beside what a route sends; so does what is not in its place in the stream, with
 * the time it was written at. Two files never have one name: an event's several lines may be in two. */
static void set_path(struct file *file)
{
    struct lake *lake = file->lake;
    char when[32] = "", more[32] = "";
    if (file->revision)
        snprintf(when, sizeof when, "-%llx",
                 (unsigned long long)clock_wall_ms(reactor_clock(reactor_of(lake))));
    for (int i = 2; !file->path || is_taken(lake, file->path); i++) {
        free(file->path);
        char *name =
            mem_printf("%s-%s%s%s%s%s%s%s.jsonl%s", file->prefix, file->sequence ? file->sequence : "0",
                       file->routed ? "" : "-", file->routed ? "" : file->handler, file->revision ? "-" : "",
                       file->revision ? file->revision : "", when, more,
                       compression_suffix((enum compression)settings_of(file->lake)->compression));
        file->path = under_root(settings_of(lake), name);
        free(name);
        snprintf(more, sizeof more, "-%d", i);
    }
    if (lake->names.count >= NAMES_KEPT) {
        map_fini(&lake->names);
        lake->names = MAP_INIT;
    }
    map_set(&lake->names, file->path, lake);
}

/* A file has the name of the oldest event in it, and is passed with the newest. */
static void note_sequence(struct file *file, const char *sequence)
{
    if (!sequence)
        return;
    if (!file->sequence || sequence_compare(file->sequence, sequence) > 0) {
        free(file->sequence);
        file->sequence = mem_string(sequence);
    }
    if (!file->last || sequence_compare(file->last, sequence) < 0) {
        free(file->last);
        file->last = mem_string(sequence);
    }
}

static void note_patience(struct file *file, const struct message *message)
{
    file->never = file->never || !message->give_up_ms;
    file->give_up_ms = file->never                              ? 0
                       : message->give_up_ms > file->give_up_ms ? message->give_up_ms
                                                                : file->give_up_ms;
    if (message->patience_ms > file->patience_ms)
        file->patience_ms = message->patience_ms;
}

static void file_seal(struct file *file)
{
    if (file->state != FILE_OPEN)
        return;
    CHECK(!file->place || map_get(&file->lake->open, file->place) == file);
    timer_stop(reactor_of(file->lake), &file->timer);
    if (file->place)
        map_remove(&file->lake->open, file->place);
    if (file->compressor)
        compressor_end(file->compressor, &file->bytes);
    if (!file->path)
        set_path(file);
    compressor_free(file->compressor);
    file->compressor = NULL;
    file->state = FILE_SEALED;
    wake(file->lake);
}

static void on_timer(void *user)
{
    struct file *file = user;
    if (file->state == FILE_PAUSED) {
        file->state = FILE_SEALED;
        wake(file->lake);
    } else {
        file_seal(file);
    }
}

static struct file *file_new(struct lake *lake, const struct message *message)
{
    struct file *file = mem_zero(sizeof *file);
    file->lake = lake;
    file->born_ms = reactor_now_ms(reactor_of(lake));
    file->handler = mem_string(message->handler);
    file->shard = mem_string(message->shard ? message->shard : "");
    file->series = mem_printf("%s\n%s", file->handler, file->shard);
    list_init(&file->emissions);
    timer_init(&file->timer, on_timer, file);
    list_append(&lake->files, &file->link);
    return file;
}

/* Of several routes into one lake, what each sends has its name. */
static bool is_only_route(const struct lake *lake, const char *name)
{
    const struct config *config = lake->target.outbox->config;
    for (size_t i = 0; i < config->route_count; i++)
        if (config->routes[i].target && strcmp(config->routes[i].target, lake->target.config->name) == 0 &&
            strcmp(config->routes[i].name, name) != 0)
            return false;
    return true;
}

#define HOUR_MS 3600000

/* Would its place be the file's? Nearly always, and then it need not be written. */
static bool is_place_of(const struct file *file, const struct message *message)
{
    return file->state == FILE_OPEN && file->place && file->hour == message->time_ms / HOUR_MS &&
           strcmp(file->handler, message->handler) == 0 && mem_same_text(file->table, message->table) &&
           strcmp(file->shard, message->shard ? message->shard : "") == 0 &&
           mem_same_text(file->revision, message->revision);
}

static struct file *open_file(struct lake *lake, const struct message *message)
{
    const struct config_target *config = lake->target.config;
    if (lake->last && is_place_of(lake->last, message))
        return lake->last;
    char *partition = partition_of(message);
    char *place =
        mem_printf("%s\n%s\n%s\n%s", partition, message->handler, message->shard ? message->shard : "",
                   message->revision ? message->revision : "");
    struct file *file = map_get(&lake->open, place);
    if (!file) {
        file = file_new(lake, message);
        file->place = mem_string(place);
        file->table = mem_string(message->table);
        file->hour = message->time_ms / HOUR_MS;
        char *shard = path_component(message->shard ? message->shard : "none");
        file->prefix = mem_printf("%s/%s", partition, shard);
        free(shard);
        file->revision = mem_string(message->revision);
        file->routed = message->routed && is_only_route(lake, message->handler);
        file->compressor = compressor_new((enum compression)settings_of(lake)->compression);
        map_set(&lake->open, place, file);
        timer_set(reactor_of(lake), &file->timer,
                  lake->target.flushing    ? 0
                  : config->linger_ms >= 0 ? config->linger_ms
                                           : LINGER_MS);
    }
    free(place);
    free(partition);
    return lake->last = file;
}

static void file_free(struct file *file)
{
    struct emission *emission;
    timer_stop(reactor_of(file->lake), &file->timer);
    if (file->state == FILE_OPEN && file->place)
        map_remove(&file->lake->open, file->place);
    if (file->lake->last == file)
        file->lake->last = NULL;
    aws_cancel(file->aws);
    if (file->planning)
        file->planning->file = NULL;
    free(file->ids);
    free(file->key);
    list_each(emission, &file->emissions, struct emission, link)
        emission_free(emission);
    list_remove(&file->link);
    compressor_free(file->compressor);
    buf_fini(&file->bytes);
    free(file->err);
    free(file->handler);
    free(file->shard);
    free(file->series);
    free(file->table);
    free(file->place);
    free(file->prefix);
    free(file->sequence);
    free(file->last);
    free(file->revision);
    free(file->path);
    free(file);
}

/* ---- plans ---- */

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t id_of(const struct message *message)
{
    return hash_bytes(message->id, strlen(message->id), 0x7469646d);
}

static void note_planned(struct planned **list, const char *key)
{
    size_t size = strlen(key) + 1;
    struct planned *planned = mem_alloc(sizeof *planned + size);
    planned->next = *list;
    memcpy(planned->key, key, size);
    *list = planned;
}

static void free_planned(struct planned **list)
{
    for (struct planned *planned; (planned = *list);) {
        *list = planned->next;
        free(planned);
    }
}

static void plan_free(struct plan *plan)
{
    list_remove(&plan->link);
    timer_stop(reactor_of(plan->lake), &plan->again);
    aws_cancel(plan->aws);
    free(plan->key);
    free(plan->path);
    free(plan->handler);
    free(plan->shard);
    free(plan->last);
    free(plan->ids);
    free(plan);
}

static void add_held(struct lake *lake);
static void give_held_back(struct lake *lake, const char *handler);

/* One thing less that must be known. */
static void sure(struct lake *lake)
{
    CHECK(lake->unsure > 0);
    if (--lake->unsure == 0)
        add_held(lake);
}

static void on_looked(struct plan *plan, bool there)
{
    struct lake *lake = plan->lake;
    log_debug(lake->target.outbox->log, lake->target.subject, "%s: %s", plan->path,
              there ? "it was written; its events are not written again" : "it was planned and not written");
    plan->there = there;
    if (!there) /* in the store it stays: another thread may be about to write it */
        plan_free(plan);
    sure(lake);
}

static void on_head(void *user, struct transport_response *response, const struct err *err)
{
    struct plan *plan = user;
    struct target *target = &plan->lake->target;
    (void)response;
    plan->aws = NULL;
    if (err && retry_kind(err) != RETRY_NEVER) {
        int64_t delay = target_backoff_ms(target, ++plan->attempts);
        target_tell_retry(target, err, plan->attempts, delay);
        timer_set(reactor_of(plan->lake), &plan->again, delay);
        if (target->stopping)
            give_held_back(plan->lake, NULL);
        return;
    }
    if (err && err->http_status != 404) /* S3 says 403 of what is not there to who may not list */
        log_warn(target->outbox->log, target->subject,
                 "%s: cannot see whether it was written before the crash (s3:GetObject, s3:ListBucket): %s; "
                 "its events may be written twice",
                 plan->path, err->text);
    on_looked(plan, !err);
}

static void on_disk_looked(void *user, const struct err *err)
{
    struct plan *plan = user;
    plan->looking = false;
    on_looked(plan, !err);
}

static struct disk *disk_of(struct lake *lake)
{
    if (!lake->disk)
        lake->disk = disk_new(reactor_of(lake));
    return lake->disk;
}

static struct aws_call *head(struct lake *lake, const char *path, int attempts, aws_done_fn *done, void *user)
{
    struct aws_request aws = {
        .service = AWS_S3,
        .operation = "HeadObject",
        .region = lake->target.config->region,
        .place = target_place_of(lake->target.config),
        .method = "HEAD",
        .attempts = attempts,
        .status_decides = true,
        .bucket = mem_string(settings_of(lake)->bucket),
        .path = s3_path(path),
    };
    return aws_send(lake->target.outbox->aws, &aws, done, user);
}

static void look(void *user)
{
    struct plan *plan = user;
    if (settings_of(plan->lake)->path) {
        plan->looking = true;
        disk_look(disk_of(plan->lake), plan->path, on_disk_looked, plan);
    } else {
        plan->aws = head(plan->lake, plan->path, 0, on_head, plan);
    }
}

/* Takes the ids, in no order. */
static struct plan *plan_new(struct lake *lake, const char *key, const char *path, const char *handler,
                             uint64_t *ids, size_t count)
{
    struct plan *plan = mem_zero(sizeof *plan);
    plan->lake = lake;
    plan->key = mem_string(key);
    plan->path = mem_string(path);
    plan->handler = mem_string(handler);
    plan->ids = ids;
    plan->count = count;
    timer_init(&plan->again, look, plan);
    list_append(&lake->plans, &plan->link);
    return plan;
}

static void look_for(struct plan *plan)
{
    plan->lake->unsure++;
    look(plan);
}

/* The text up to the next line, which `at` then stands at; NULL: there is no other. To be freed. */
static char *take_line(const char **at)
{
    const char *end = strchr(*at, '\n');
    char *line = end ? mem_copy(*at, (size_t)(end - *at)) : NULL;
    *at = end ? end + 1 : *at;
    return line;
}

/* One that it knows of, or is writing. */
static bool is_own(const struct lake *lake, const char *key)
{
    const struct plan *plan;
    const struct file *file;
    list_each(plan, (struct list *)&lake->plans, struct plan, link)
        if (strcmp(plan->key, key) == 0)
            return true;
    list_each(file, (struct list *)&lake->files, struct file, link)
        if (file->key && strcmp(file->key, key) == 0)
            return true;
    return false;
}

/* "TARGET\nPATH" -> "HANDLER\nSHARD\nLAST\nIDS", these in base64. */
static void read_plan(struct lake *lake, const struct store_marker *marker)
{
    const char *path = strchr(marker->key, '\n'), *ids = marker->result;
    const char *name = lake->target.config->name;
    size_t size = 0;
    if (!path || strncmp(marker->key, name, strlen(name)) != 0 || marker->key + strlen(name) != path ||
        is_own(lake, marker->key))
        return;
    char *handler = take_line(&ids), *shard = take_line(&ids), *last = take_line(&ids);
    uint64_t *own = mem_alloc(BASE64_DECODED_MAX(strlen(ids)));
    if (handler && base64_decode(ids, strlen(ids), own, &size) && size && size % sizeof *own == 0) {
        struct plan *plan = plan_new(lake, marker->key, path + 1, handler, own, size / sizeof *own);
        plan->shard = shard;
        plan->last = last;
        look_for(plan);
        shard = last = NULL;
        own = NULL;
    }
    free(own);
    free(handler);
    free(shard);
    free(last);
}

static void on_plans(void *user, struct store_snapshot *snapshot, const struct err *err)
{
    struct lake_loading *loading = user;
    struct lake *lake = loading->lake;
    free(loading);
    if (!lake) {
        store_snapshot_free(snapshot);
        return;
    }
    lake->load = NULL;
    if (!snapshot && err->code != ERR_CANCELLED)
        log_warn(lake->target.outbox->log, lake->target.subject,
                 "%s; what was written just before a crash may be written twice", err->text);
    for (size_t i = 0; snapshot && i < snapshot->marker_count; i++)
        read_plan(lake, &snapshot->markers[i]);
    store_snapshot_free(snapshot);
    sure(lake);
}

/* With the first message, and when a lake before this one has ended a file since. */
static void load_plans(struct lake *lake)
{
    const size_t *late = lake->target.outbox->late_files;
    if (lake->load || !lake->target.outbox->store || (lake->loaded && (!late || *late == lake->late_files)))
        return;
    lake->loaded = true;
    lake->late_files = late ? *late : 0;
    lake->unsure++;
    lake->load = mem_alloc(sizeof *lake->load);
    lake->load->lake = lake;
    store_load(lake->target.outbox->store,
               &(struct store_query){.what = STORE_MARKERS, .handler = PLAN_HANDLER}, on_plans, lake->load);
}

/* May it be one of the plan's events? What is behind the newest of them, as nearly all is, has not come
 * before. */
static bool may_have(const struct plan *plan, const struct message *message)
{
    if (!plan->there || message->revision || strcmp(plan->handler, message->handler) != 0)
        return false;
    return !plan->shard || !plan->last || !message->shard || !message->sequence ||
           (strcmp(plan->shard, message->shard) == 0 && sequence_compare(message->sequence, plan->last) <= 0);
}

static bool has(struct plan *plan, uint64_t id)
{
    if (!plan->sorted)
        qsort(plan->ids, plan->count, sizeof *plan->ids, compare_ids);
    plan->sorted = true;
    return bsearch(&id, plan->ids, plan->count, sizeof id, compare_ids);
}

/* Does the event stand in a file that is there? */
static bool is_there(struct lake *lake, const struct message *message)
{
    struct plan *plan;
    list_each(plan, &lake->plans, struct plan, link)
        if (may_have(plan, message) && has(plan, id_of(message)))
            return true;
    return false;
}

static void transmit(struct file *file);

static void on_planned(void *user, const struct err *err)
{
    struct planning *planning = user;
    struct file *file = planning->file;
    free(planning);
    if (!file)
        return;
    file->planning = NULL;
    if (!err) /* else the host ends */
        transmit(file);
}

/* Keep which events the file has, and then write it. */
static void plan_file(struct file *file)
{
    struct lake *lake = file->lake;
    struct buf result = BUF_INIT;
    struct store_batch *batch = store_batch_new();
    file->key = mem_printf("%s\n%s", lake->target.config->name, file->path);
    file->planning = mem_alloc(sizeof *file->planning);
    file->planning->file = file;
    buf_printf(&result, "%s\n%s\n%s\n", file->handler, file->shard, file->last ? file->last : "");
    base64_write(&result, (const char *)file->ids, file->count * sizeof *file->ids);
    store_put_marker(
        batch, &(struct store_marker){PLAN_HANDLER, file->key, result.data,
                                      clock_wall_ms(reactor_clock(reactor_of(lake))) + PLAN_DAYS * 86400000ll,
                                      NULL});
    store_commit(lake->target.outbox->store, batch, on_planned, file->planning);
    buf_fini(&result);
}

/* ---- sending ---- */

/* Its events may come again before a checkpoint passes them. Where it was not accepted, perhaps only the
 * answer was lost: it is looked for. */
static void keep_plan(struct file *file, bool accepted)
{
    struct plan *plan = plan_new(file->lake, file->key, file->path, file->handler, file->ids, file->count);
    plan->shard = mem_string(file->shard);
    plan->last = mem_string(file->last);
    plan->there = accepted;
    file->ids = NULL;
    if (file->lake->target.stopping && file->lake->target.outbox->late_files)
        ++*file->lake->target.outbox->late_files;
    if (!accepted)
        look_for(plan);
}

static void finish(struct file *file, const struct err *err)
{
    struct lake *lake = file->lake;
    struct target *target = &lake->target;
    const struct emitter *emitter = target->emitter;
    struct list emissions;
    list_init(&emissions);
    emitter->ops->hold(emitter); /* a completion may be the end of the last handler */
    if (!err)
        log_debug(target->outbox->log, target->subject, "%s: %zu messages, %zu bytes", file->path,
                  file->count, file->raw_bytes);
    if (file->key)
        keep_plan(file, !err);
    while (!list_empty(&file->emissions)) {
        struct emission *emission = list_entry(file->emissions.next, struct emission, link);
        list_remove(&emission->link);
        list_append(&emissions, &emission->link);
    }
    file_free(file);
    while (!list_empty(&emissions))
        emission_finish(list_entry(emissions.next, struct emission, link), err);
    wake(lake);
    emitter->ops->release(emitter);
}

/* A full disk, too, is nobody's fault when the host stops. */
static void give_up(struct file *file, const struct err *err)
{
    const struct target *target = &file->lake->target;
    struct err copy = *err;
    if (copy.code == ERR_IO && (target->stopping || map_get(target->leaving, file->handler)))
        copy.code = ERR_CANCELLED;
    target_give_up(target, file->handler, &copy);
    finish(file, &copy);
}

static bool may_repeat(const struct file *file, const struct err *err)
{
    /* A disk that is full may have room again. */
    return (err->code == ERR_IO || target_passes(err)) &&
           target_may_retry(&file->lake->target,
                            &(struct patience){file->handler, file->attempts, file->give_up_ms,
                                               file->patience_ms, file->born_ms});
}

static void on_sent(struct file *file, const struct err *err)
{
    struct target *target = &file->lake->target;
    CHECK(file->state == FILE_SENT && file->lake->in_flight > 0);
    file->lake->in_flight--;
    if (!err) {
        finish(file, NULL);
        return;
    }
    if (!may_repeat(file, err)) {
        give_up(file, err);
        return;
    }
    if (!file->err)
        file->err = mem_alloc(sizeof *file->err);
    *file->err = *err;
    int64_t delay = target_backoff_ms(target, file->attempts);
    target_tell_retry(target, err, file->attempts, delay);
    target->stats.retried += (int64_t)file->count;
    CHECK(!file->aws);
    file->state = FILE_PAUSED;
    timer_set(reactor_of(file->lake), &file->timer, delay);
    wake(file->lake);
}

static void on_aws(void *user, struct transport_response *response, const struct err *err)
{
    struct file *file = user;
    (void)response;
    file->aws = NULL;
    on_sent(file, err);
}

static void on_written(void *user, const struct err *err)
{
    struct file *file = user;
    file->writing = false;
    on_sent(file, err);
}

/* Of an object with a name of its own, by that. */
static const char *type_of(const char *path)
{
    static const struct {
        const char *end, *type;
    } types[] = {
        {".json", "Content-Type: application/json"},
        {".ndjson", "Content-Type: application/x-ndjson"},
        {".csv", "Content-Type: text/csv"},
        {".txt", "Content-Type: text/plain; charset=utf-8"},
        {".html", "Content-Type: text/html; charset=utf-8"},
        {".xml", "Content-Type: application/xml"},
        {".svg", "Content-Type: image/svg+xml"},
    };
    size_t size = strlen(path);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (size > strlen(types[i].end) && strcmp(path + size - strlen(types[i].end), types[i].end) == 0)
            return types[i].type;
    return "Content-Type: application/octet-stream";
}

static void upload(struct file *file, struct buf *copy)
{
    static const char *const types[] = {"Content-Type: application/gzip", "Content-Type: application/zstd",
                                        "Content-Type: application/x-ndjson"};
    const struct config_target *config = file->lake->target.config;
    struct aws_request aws = {
        .service = AWS_S3,
        .operation = "PutObject",
        .region = config->region,
        .place = target_place_of(config),
        .method = "PUT",
        .headers = {file->place ? types[settings_of(file->lake)->compression] : type_of(file->path)},
        .attempts = 1,
        .status_decides = true,
        .timeout_ms = config->timeout_ms ? config->timeout_ms : UPLOAD_TIMEOUT_MS,
        .bucket = mem_string(settings_of(file->lake)->bucket),
        .path = s3_path(file->path),
        .body = *copy,
    };
    *copy = BUF_INIT;
    file->aws = aws_send(file->lake->target.outbox->aws, &aws, on_aws, file);
}

static void transmit(struct file *file)
{
    struct lake *lake = file->lake;
    struct buf copy = BUF_INIT; /* the bytes stay for another attempt */
    buf_add(&copy, file->bytes.data ? file->bytes.data : "", file->bytes.size);
    if (settings_of(lake)->bucket) {
        upload(file, &copy);
        return;
    }
    file->writing = true;
    disk_write(disk_of(lake), file->path, &copy, on_written, file);
}

/* The name is its own. */
static void put(struct file *file)
{
    if (file->place && !file->revision && !file->key && file->lake->target.outbox->store)
        plan_file(file);
    else
        transmit(file);
}

static void look_at_name(struct file *file);

static void on_name_looked(struct file *file, bool there)
{
    file->free = !there;
    if (there) {
        set_path(file);
        look_at_name(file);
    } else {
        put(file);
    }
}

static void on_name_head(void *user, struct transport_response *response, const struct err *err)
{
    struct file *file = user;
    struct lake *lake = file->lake;
    (void)response;
    file->aws = NULL;
    if (err && retry_kind(err) != RETRY_NEVER) {
        on_sent(file, err);
        return;
    }
    if (err && err->http_status != 404 && !lake->blind) {
        lake->blind = true;
        log_warn(
            lake->target.outbox->log, lake->target.subject,
            "%s: cannot see whether there is such a file (s3:GetObject, s3:ListBucket): %s; if there is, "
            "it is written over",
            file->path, err->text);
    }
    on_name_looked(file, !err);
}

static void on_name_disk(void *user, const struct err *err)
{
    struct file *file = user;
    file->writing = false;
    on_name_looked(file, !err);
}

static void look_at_name(struct file *file)
{
    struct lake *lake = file->lake;
    if (settings_of(lake)->path) {
        file->writing = true;
        disk_look(disk_of(lake), file->path, on_name_disk, file);
    } else {
        file->aws = head(lake, file->path, 1, on_name_head, file);
    }
}

static void send(struct file *file)
{
    struct lake *lake = file->lake;
    CHECK(file->state == FILE_SEALED && file->path && !file->compressor && !file->aws);
    file->state = FILE_SENT;
    file->attempts++;
    lake->in_flight++;
    lake->target.stats.requests++;
    if (file->place && !file->free)
        look_at_name(file);
    else
        put(file);
}

/* Is an earlier file of its series still on its way? */
static bool must_wait(const struct file *file)
{
    const struct file *other;
    list_each(other, &file->lake->files, struct file, link) {
        if (other == file)
            return false;
        if (other->state != FILE_OPEN && strcmp(other->series, file->series) == 0)
            return true;
    }
    return false;
}

static void work(struct lake *lake)
{
    struct file *file;
    int64_t most = lake->target.config->in_flight;
    list_each(file, &lake->files, struct file, link) {
        if ((int64_t)lake->in_flight >= (most ? most : IN_FLIGHT))
            return;
        if (file->state == FILE_SEALED && !must_wait(file))
            send(file);
    }
}

/* The host stops: what waits for another attempt will be made again. */
static bool give_up_paused(struct lake *lake)
{
    struct file *file;
    list_each(file, &lake->files, struct file, link) {
        if (file->state != FILE_PAUSED ||
            (!lake->target.stopping && !map_get(lake->target.leaving, file->handler)))
            continue;
        struct err err = *file->err;
        give_up(file, &err); /* after which the list may be another */
        return true;
    }
    return false;
}

static void on_work(void *user)
{
    struct lake *lake = user;
    const struct emitter *emitter = lake->target.emitter;
    emitter->ops->hold(emitter);
    while ((lake->target.stopping || lake->target.leaving->count) && give_up_paused(lake))
        continue;
    work(lake);
    emitter->ops->release(emitter);
}

/* ---- the target ---- */

static void on_refused(void *user)
{
    struct emission *emission = user;
    struct err copy = emission->err ? *emission->err : (struct err){0};
    const struct emitter *emitter = emission->target->emitter;
    emitter->ops->hold(emitter);
    emission_finish(emission, copy.code ? &copy : NULL);
    emitter->ops->release(emitter);
}

static bool is_json(const struct message *message)
{
    struct arena arena = ARENA_INIT;
    bool is = message->payload_size && json_parse(&arena, message->payload, message->payload_size, NULL) &&
              utf8_valid(message->payload, message->payload_size);
    arena_fini(&arena);
    return is;
}

static bool acceptable(const struct emission *emission, struct err *err)
{
    const struct message *message = &emission->message;
    if (message->payload_size > MESSAGE_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "the message has %zu bytes; %u are allowed", message->payload_size,
                       MESSAGE_BYTES_MAX);
    if (message->object && !path_is_below(message->object))
        return err_set(err, ERR_CONFIG, "the object's name \"%s\" leads out of the target's place",
                       message->object);
    if (!message->object && memchr(message->payload, '\n', message->payload_size))
        return err_set(err, ERR_CONFIG, "the message has several lines; a line of JSON is expected");
    if (!message->object && !message->routed &&
        !is_json(message)) /* what a route makes is JSON in any case */
        return err_set(
            err, ERR_CONFIG,
            "the message is no JSON, and one such line spoils a file for who queries it; emit a table, "
            "or json.encode(text)");
    return true;
}

/* What stands in a file needs no texts of its own while that is on its way. */
static void put_into(struct file *file, struct emission *emission)
{
    size_t size = emission->message.payload_size; /* which counts as held */
    note_patience(file, &emission->message);
    message_fini(&emission->message);
    emission->message.payload_size = size;
    list_append(&file->emissions, &emission->link);
}

static void add_object(struct lake *lake, struct emission *emission)
{
    struct file *file = file_new(lake, &emission->message);
    file->path = under_root(settings_of(lake), emission->message.object);
    buf_add(&file->bytes, emission->message.payload, emission->message.payload_size);
    file->count = 1;
    put_into(file, emission);
    file_seal(file);
}

/* Its end is told of from the top of the stack; `err` NULL: it is accepted. */
static void end_soon(struct lake *lake, struct emission *emission, const struct err *err)
{
    if (err)
        emission_set_err(emission, err);
    list_append(&lake->refused, &emission->link);
    timer_init(&emission->pause, on_refused, emission);
    timer_set(reactor_of(lake), &emission->pause, 0);
}

static void write_line(struct lake *lake, struct emission *emission)
{
    const struct config_target *config = lake->target.config;
    const struct message *message = &emission->message;
    if (is_there(lake, message)) {
        end_soon(lake, emission, NULL);
        return;
    }
    struct file *file = open_file(lake, message);
    CHECK(!lake->unsure && file->state == FILE_OPEN && file->compressor);
    compressor_add(file->compressor, message->payload, message->payload_size, &file->bytes);
    compressor_add(file->compressor, "\n", 1, &file->bytes);
    note_sequence(file, message->sequence);
    file->raw_bytes += message->payload_size + 1;
    mem_grow(&file->ids, &file->id_capacity, file->count, sizeof *file->ids);
    file->ids[file->count++] = id_of(message);
    put_into(file, emission);
    if (file->raw_bytes >= (config->batch_bytes ? (size_t)config->batch_bytes : BYTES_MAX) ||
        (config->batch_count && file->count >= (size_t)config->batch_count))
        file_seal(file);
}

static void add(struct emission *emission)
{
    struct lake *lake = lake_of(emission->target);
    struct err err = {0};
    load_plans(lake);
    if (!acceptable(emission, &err))
        end_soon(lake, emission, &err);
    else if (emission->message.object)
        add_object(lake, emission);
    else if (lake->unsure)
        list_append(&lake->held, &emission->link);
    else
        write_line(lake, emission);
}

/* It is known now which files are there. */
static void add_held(struct lake *lake)
{
    while (!list_empty(&lake->held) && !lake->unsure) {
        struct emission *emission = list_entry(lake->held.next, struct emission, link);
        list_remove(&emission->link);
        write_line(lake, emission);
    }
}

/* Of one handler (NULL: of all): they come again. */
static void give_held_back(struct lake *lake, const char *handler)
{
    struct emission *emission;
    struct err err;
    err_set(&err, ERR_CANCELLED, "it was not known yet what had been written before");
    list_each(emission, &lake->held, struct emission, link) {
        if (handler && strcmp(emission->message.handler, handler) != 0)
            continue;
        list_remove(&emission->link);
        end_soon(lake, emission, &err);
    }
}

static void give_back(struct target *target, const char *handler)
{
    struct lake *lake = lake_of(target);
    struct file *file;
    list_each(file, &lake->files, struct file, link)
        if (strcmp(file->handler, handler) == 0)
            file_seal(file);
    give_held_back(lake, handler);
    wake(lake);
}

/* What comes again although it was passed is meant to. */
static void passed(struct target *target, const char *handler, const char *shard, const char *sequence)
{
    struct lake *lake = lake_of(target);
    struct plan *plan;
    list_each(plan, &lake->plans, struct plan, link) {
        if (!plan->there || strcmp(plan->handler, handler) != 0 ||
            (plan->shard && strcmp(plan->shard, shard) != 0) ||
            (plan->last && sequence && sequence_compare(plan->last, sequence) > 0))
            continue;
        note_planned(&lake->passed, plan->key);
        plan_free(plan);
    }
}

static void checkpoint(struct target *target, bool durable)
{
    struct lake *lake = lake_of(target);
    struct planned **end = &lake->covered;
    if (!durable) {
        while (*end)
            end = &(*end)->next;
        *end = lake->passed;
        lake->passed = NULL;
        return;
    }
    if (!lake->covered)
        return;
    struct store_batch *batch = store_batch_new();
    for (const struct planned *planned = lake->covered; planned; planned = planned->next)
        store_put_marker(batch, &(struct store_marker){PLAN_HANDLER, planned->key, NULL, 0, NULL});
    store_commit(target->outbox->store, batch, NULL, NULL);
    free_planned(&lake->covered);
}

/* Its line stays where it is. */
static void cancel(struct emission *emission)
{
    target_forget(emission->target);
    emission_free(emission);
}

/* Something that must be known was asked for in vain and will be asked for again. */
static bool waits_to_look(const struct lake *lake)
{
    const struct plan *plan;
    list_each(plan, (struct list *)&lake->plans, struct plan, link)
        if (timer_is_set(&plan->again))
            return true;
    return false;
}

static void hurry(struct target *target, const char *handler)
{
    struct lake *lake = lake_of(target);
    struct file *file;
    list_each(file, &lake->files, struct file, link)
        if (!handler || strcmp(file->handler, handler) == 0)
            file_seal(file);
    if (target->stopping) {
        if (waits_to_look(lake))
            give_held_back(lake, NULL);
        wake(lake); /* what waits for another attempt is given up */
    }
}

static void lake_free(struct target *target)
{
    struct lake *lake = lake_of(target);
    struct file *file;
    struct emission *emission;
    disk_free(lake->disk);
    list_each(file, &lake->files, struct file, link)
        file_free(file);
    list_each(emission, &lake->refused, struct emission, link)
        emission_free(emission);
    list_each(emission, &lake->held, struct emission, link)
        emission_free(emission);
    struct plan *plan;
    list_each(plan, &lake->plans, struct plan, link)
        plan_free(plan);
    if (lake->load)
        lake->load->lake = NULL;
    free_planned(&lake->passed);
    free_planned(&lake->covered);
    map_fini(&lake->names);
    map_fini(&lake->open);
    task_cancel(&lake->work);
    free(lake);
}

struct target *lake_open(const struct target_type *type)
{
    static const struct target_ops ops = {.add = add,
                                          .cancel = cancel,
                                          .hurry = hurry,
                                          .give_back = give_back,
                                          .passed = passed,
                                          .checkpoint = checkpoint,
                                          .locate = locate,
                                          .free = lake_free};
    struct lake *lake = mem_zero(sizeof *lake);
    (void)type; /* one for both: what the settings hold decides */
    lake->target.ops = &ops;
    list_init(&lake->files);
    list_init(&lake->refused);
    list_init(&lake->held);
    list_init(&lake->plans);
    task_init(&lake->work, on_work, lake);
    return &lake->target;
}
