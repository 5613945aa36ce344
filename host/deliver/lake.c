/* lake.c: events as lines of compressed files: the s3 and file targets.
 *
 * A file holds what one handler sent of one shard within one hour, under
 *     prefix/table=T/year=Y/month=M/day=D/hour=H/SHARD-SEQUENCE.jsonl.gz
 * where SEQUENCE is that of its oldest event. What is read again after a crash begins where it began before,
 * so it gets the same name and takes the place of what was there: of one handler and shard only one file is
 * written at a time, and the next one only when that is durable. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws/retry.h"
#include "aws/s3.h"
#include "base/compress.h"
#include "base/map.h"
#include "base/mem.h"
#include "deliver/disk.h"
#include "deliver/target.h"
#include "state/position.h"

#define BYTES_MAX (16u << 20) /* of lines, before they are compressed */
#define LINGER_MS 60000
#define IN_FLIGHT 4
#define MESSAGE_BYTES_MAX (16u << 20)
#define UPLOAD_TIMEOUT_MS 120000

struct lake {
    struct target target; /* the first: one is the other */
    struct disk *disk;    /* of type = file */
    struct map open;      /* place -> struct file */
    struct list files;    /* all, in the order of their first messages */
    struct list refused;  /* emissions */
    struct task work;
    size_t in_flight;
};

/* A file on its way. */
struct file {
    struct list link;
    struct lake *lake;
    char *handler, *series; /* one of a series after the other */
    char *place;            /* its partition and what else keeps it apart; NULL: no more to come */
    char *prefix, *sequence, *revision; /* what its name is made of */
    bool routed;                        /* this, too */
    char *path;                         /* once it is sealed */
    struct compressor *compressor;
    struct buf bytes; /* compressed */
    size_t raw_bytes;
    size_t count;
    struct list emissions;
    enum { FILE_OPEN, FILE_SEALED, FILE_SENT, FILE_PAUSED } state;
    int attempts;
    int64_t give_up_ms; /* the latest of its messages'; 0: one of them never */
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

static struct reactor *reactor_of(const struct lake *lake)
{
    return lake->target.outbox->reactor;
}

static void wake(struct lake *lake)
{
    task_defer(reactor_of(lake), &lake->work);
}

/* ---- names ---- */

static const char *root_of(const struct config_target *config)
{
    return config->type == TARGET_FILE ? config->path : config->prefix ? config->prefix : "";
}

static char *under_root(const struct config_target *config, const char *path)
{
    const char *root = root_of(config);
    size_t size = strlen(root);
    return mem_printf("%s%s%s", root, size && root[size - 1] != '/' ? "/" : "", path);
}

char *lake_locate(const struct config_target *config, const char *object)
{
    if (config->type != TARGET_FILE && config->type != TARGET_S3)
        return NULL;
    char *path = under_root(config, object);
    char *location = config->type == TARGET_S3 ? mem_printf("s3://%s/%s", config->bucket, path)
                                               : mem_printf("file://%s", path);
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
    return mem_printf("table=%s/%s", message->table ? message->table : "unknown", hour);
}

/* ---- files ---- */

/* What a handler emits stands beside what a route sends; so does what is not in its place in the stream. */
static void set_path(struct file *file)
{
    const struct target *target = &file->lake->target;
    char *name = mem_printf("%s-%s%s%s%s%s.jsonl%s", file->prefix, file->sequence ? file->sequence : "0",
                            file->routed ? "" : "-", file->routed ? "" : file->handler,
                            file->revision ? "-" : "", file->revision ? file->revision : "",
                            compression_suffix((enum compression)target->config->compression));
    file->path = under_root(target->config, name);
    free(name);
}

/* A file has the name of the oldest event in it. */
static void note_sequence(struct file *file, const char *sequence)
{
    if (!sequence || (file->sequence && sequence_compare(file->sequence, sequence) <= 0))
        return;
    free(file->sequence);
    file->sequence = mem_string(sequence);
}

static void note_patience(struct file *file, const struct message *message)
{
    file->never = file->never || !message->give_up_ms;
    file->give_up_ms = file->never                              ? 0
                       : message->give_up_ms > file->give_up_ms ? message->give_up_ms
                                                                : file->give_up_ms;
}

static void file_seal(struct file *file)
{
    if (file->state != FILE_OPEN)
        return;
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
    file->handler = mem_string(message->handler);
    file->series = mem_printf("%s\n%s", message->handler, message->shard ? message->shard : "");
    list_init(&file->emissions);
    timer_init(&file->timer, on_timer, file);
    list_append(&lake->files, &file->link);
    return file;
}

static struct file *open_file(struct lake *lake, const struct message *message)
{
    const struct config_target *config = lake->target.config;
    char *partition = partition_of(message);
    char *place =
        mem_printf("%s\n%s\n%s\n%s", partition, message->handler, message->shard ? message->shard : "",
                   message->revision ? message->revision : "");
    struct file *file = map_get(&lake->open, place);
    if (!file) {
        file = file_new(lake, message);
        file->place = mem_string(place);
        file->prefix = mem_printf("%s/%s", partition, message->shard ? message->shard : "none");
        file->revision = mem_string(message->revision);
        file->routed = message->routed;
        file->compressor = compressor_new((enum compression)config->compression);
        map_set(&lake->open, place, file);
        timer_set(reactor_of(lake), &file->timer,
                  lake->target.flushing    ? 0
                  : config->linger_ms >= 0 ? config->linger_ms
                                           : LINGER_MS);
    }
    free(place);
    free(partition);
    return file;
}

static void file_free(struct file *file)
{
    struct emission *emission;
    timer_stop(reactor_of(file->lake), &file->timer);
    if (file->state == FILE_OPEN && file->place)
        map_remove(&file->lake->open, file->place);
    aws_cancel(file->aws);
    list_each(emission, &file->emissions, struct emission, link)
        emission_free(emission);
    list_remove(&file->link);
    compressor_free(file->compressor);
    buf_fini(&file->bytes);
    free(file->err);
    free(file->handler);
    free(file->series);
    free(file->place);
    free(file->prefix);
    free(file->sequence);
    free(file->revision);
    free(file->path);
    free(file);
}

/* ---- sending ---- */

static void finish(struct file *file, const struct err *err)
{
    struct lake *lake = file->lake;
    struct target *target = &lake->target;
    const struct emitter *emitter = target->emitter;
    struct list emissions;
    list_init(&emissions);
    emitter->hold(emitter); /* a completion may be the end of the last handler */
    if (!err)
        log_debug(target->outbox->log, target->subject, "%s: %zu messages, %zu bytes", file->path,
                  file->count, file->raw_bytes);
    while (!list_empty(&file->emissions)) {
        struct emission *emission = list_entry(file->emissions.next, struct emission, link);
        list_remove(&emission->link);
        list_append(&emissions, &emission->link);
    }
    file_free(file);
    while (!list_empty(&emissions))
        emission_finish(list_entry(emissions.next, struct emission, link), err);
    wake(lake);
    emitter->release(emitter);
}

/* A full disk, too, is nobody's fault when the host stops. */
static void give_up(struct file *file, const struct err *err)
{
    const struct target *target = &file->lake->target;
    struct err copy = *err;
    if (target->stopping && copy.code == ERR_IO)
        copy.code = ERR_CANCELLED;
    target_give_up(target, &copy);
    finish(file, &copy);
}

static bool may_repeat(const struct file *file, const struct err *err)
{
    /* A disk that is full may have room again. */
    return (err->code == ERR_IO || retry_kind(err) != RETRY_NEVER) &&
           target_may_retry(&file->lake->target, file->attempts, file->give_up_ms);
}

static void on_sent(struct file *file, const struct err *err)
{
    struct target *target = &file->lake->target;
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

static void upload(struct file *file, struct buf *copy)
{
    static const char *const types[] = {"Content-Type: application/gzip", "Content-Type: application/zstd",
                                        "Content-Type: application/x-ndjson"};
    const struct config_target *config = file->lake->target.config;
    struct aws_request aws = {
        .service = AWS_S3,
        .operation = "PutObject",
        .region = config->region,
        .method = "PUT",
        .headers = {file->place ? types[config->compression] : "Content-Type: application/json"},
        .attempts = 1,
        .timeout_ms = config->timeout_ms ? config->timeout_ms : UPLOAD_TIMEOUT_MS,
        .bucket = mem_string(config->bucket),
        .path = s3_path(file->path),
        .body = *copy,
    };
    *copy = BUF_INIT;
    file->aws = aws_send(file->lake->target.outbox->aws, &aws, on_aws, file);
}

static void send(struct file *file)
{
    struct lake *lake = file->lake;
    struct buf copy = BUF_INIT; /* the bytes stay for another attempt */
    buf_add(&copy, file->bytes.data ? file->bytes.data : "", file->bytes.size);
    file->state = FILE_SENT;
    file->attempts++;
    lake->in_flight++;
    lake->target.stats.requests++;
    if (lake->target.config->type == TARGET_S3) {
        upload(file, &copy);
        return;
    }
    if (!lake->disk)
        lake->disk = disk_new(reactor_of(lake));
    file->writing = true;
    disk_write(lake->disk, file->path, &copy, on_written, file);
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
        if (file->state != FILE_PAUSED)
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
    emitter->hold(emitter);
    while (lake->target.stopping && give_up_paused(lake))
        continue;
    work(lake);
    emitter->release(emitter);
}

/* ---- the target ---- */

static void on_refused(void *user)
{
    struct emission *emission = user;
    struct err copy = *emission->err;
    const struct emitter *emitter = emission->target->emitter;
    emitter->hold(emitter);
    emission_finish(emission, &copy);
    emitter->release(emitter);
}

static bool acceptable(const struct emission *emission, struct err *err)
{
    const struct message *message = &emission->message;
    if (message->payload_size > MESSAGE_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "the message has %zu bytes; %u are allowed", message->payload_size,
                       MESSAGE_BYTES_MAX);
    if (!message->object && memchr(message->payload, '\n', message->payload_size))
        return err_set(err, ERR_CONFIG, "the message has several lines; a line of JSON is expected");
    return true;
}

static void add_object(struct lake *lake, struct emission *emission)
{
    struct file *file = file_new(lake, &emission->message);
    file->path = under_root(lake->target.config, emission->message.object);
    buf_add(&file->bytes, emission->message.payload, emission->message.payload_size);
    file->count = 1;
    note_patience(file, &emission->message);
    list_append(&file->emissions, &emission->link);
    file_seal(file);
}

static void add(struct emission *emission)
{
    struct lake *lake = lake_of(emission->target);
    const struct config_target *config = lake->target.config;
    const struct message *message = &emission->message;
    struct err err = {0};
    if (!acceptable(emission, &err)) {
        emission_set_err(emission, &err);
        list_append(&lake->refused, &emission->link);
        timer_init(&emission->pause, on_refused, emission);
        timer_set(reactor_of(lake), &emission->pause, 0);
        return;
    }
    if (message->object) {
        add_object(lake, emission);
        return;
    }
    struct file *file = open_file(lake, message);
    compressor_add(file->compressor, message->payload, message->payload_size, &file->bytes);
    compressor_add(file->compressor, "\n", 1, &file->bytes);
    note_sequence(file, message->sequence);
    note_patience(file, message);
    file->raw_bytes += message->payload_size + 1;
    file->count++;
    list_append(&file->emissions, &emission->link);
    if (file->raw_bytes >= (config->batch_bytes ? (size_t)config->batch_bytes : BYTES_MAX) ||
        (config->batch_count && file->count >= (size_t)config->batch_count))
        file_seal(file);
}

/* Its line stays where it is. */
static void cancel(struct emission *emission)
{
    emission->target->stats.waiting--;
    emission_free(emission);
}

static void hurry(struct target *target, const char *handler)
{
    struct lake *lake = lake_of(target);
    struct file *file;
    list_each(file, &lake->files, struct file, link)
        if (!handler || strcmp(file->handler, handler) == 0)
            file_seal(file);
    if (target->stopping)
        wake(lake); /* what waits for another attempt is given up */
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
    map_fini(&lake->open);
    task_cancel(&lake->work);
    free(lake);
}

struct target *lake_new(const struct config_target *config)
{
    static const struct target_ops ops = {add, cancel, hurry, lake_free};
    struct lake *lake = mem_zero(sizeof *lake);
    (void)config;
    lake->target.ops = &ops;
    list_init(&lake->files);
    list_init(&lake->refused);
    task_init(&lake->work, on_work, lake);
    return &lake->target;
}
