/* outbox.c: names to targets, and the life of an emission. */
#include "deliver/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "aws/retry.h"
#include "base/backoff.h"
#include "base/mem.h"
#include "deliver/target.h"

struct outbox {
    struct emitter emitter; /* the first: one is the other */
    size_t references;
    struct outbox_options options;
    struct target **targets; /* as in the configuration */
    size_t count;
    size_t held_bytes;  /* of messages that were sent and not accepted yet */
    struct map leaving; /* handlers -> outbox */
    struct timer report;
};

static struct outbox *outbox_of(const struct emitter *emitter)
{
    return list_entry(emitter, struct outbox, emitter);
}

/* ---- emissions ---- */

void emission_free(struct emission *emission)
{
    outbox_of(emission->target->emitter)->held_bytes -= emission->message.payload_size;
    timer_stop(emission->target->outbox->reactor, &emission->pause);
    list_remove(&emission->link);
    message_fini(&emission->message);
    buf_fini(&emission->answer);
    free(emission->err);
    free(emission->lane);
    free(emission);
}

void emission_finish(struct emission *emission, const struct err *err)
{
    struct target *target = emission->target;
    emitted_fn *done = emission->done;
    void *user = emission->user;
    struct err copy = err ? *err : (struct err){0};
    struct buf answer = emission->answer;
    emission->answer = BUF_INIT;
    if (err && err->code == ERR_CANCELLED)
        target_forget(target);
    else
        target->stats.waiting--;
    if (!err)
        target_tell_well(target);
    if (err) {
        target->stats.failed++;
    } else if (done) {
        target->stats.accepted++;
        target->stats.bytes += (int64_t)emission->message.payload_size;
    }
    emission_free(emission);
    if (done)
        done(user, answer.data ? &answer : NULL, err ? &copy : NULL);
    buf_fini(&answer);
}

void emission_set_err(struct emission *emission, const struct err *err)
{
    if (!emission->err)
        emission->err = mem_alloc(sizeof *emission->err);
    *emission->err = *err;
}

int64_t target_backoff_ms(struct target *target, int attempts)
{
    return backoff_ms(target->config->backoff_ms, attempts, &target->random);
}

static bool leaves(const struct target *target, const char *handler)
{
    return target->stopping || (target->leaving->count && handler && map_get(target->leaving, handler));
}

/* What a service says of a message that no repetition will change. */
static bool can_never_pass(const struct err *err)
{
    static const char *const codes[] = {"InvalidMessageContents",
                                        "InvalidParameterValue",
                                        "InvalidParameterCombination",
                                        "InvalidParameter",
                                        "InvalidArgumentException",
                                        "ValidationException",
                                        "InvalidArgument",
                                        "MalformedDetail",
                                        "InvalidRequestContentException",
                                        "RequestTooLargeException",
                                        "RequestEntityTooLarge",
                                        "EntityTooLarge",
                                        "AWS.SimpleQueueService.BatchRequestTooLong",
                                        "BatchRequestTooLong",
                                        "BatchRequestTooLongException",
                                        "UnsupportedMediaTypeException",
                                        NULL};
    return err->code == ERR_SERVICE && retry_code_is_one_of(err->service, codes);
}

void target_give_up(const struct target *target, const char *handler, struct err *err)
{
    if (leaves(target, handler) && retry_kind(err) != RETRY_NEVER)
        err->code = ERR_CANCELLED;
    else if (can_never_pass(err))
        err->code = ERR_LIMIT;
}

bool target_may_retry(const struct target *target, const struct patience *patience)
{
    const struct reactor *reactor = target->outbox->reactor;
    int64_t retries = target->config->retries;
    /* When the host stops nobody waits for better times: the record comes again. */
    if (leaves(target, patience->handler) || (retries >= 0 && patience->attempts > retries))
        return false;
    return !patience->give_up_ms || clock_wall_ms(reactor_clock(reactor)) < patience->give_up_ms ||
           reactor_now_ms(reactor) - patience->born_ms < patience->patience_ms;
}

void target_tell_well(struct target *target)
{
    if (!target->troubled)
        return;
    target->troubled = false;
    troubles_end(target->outbox->troubles, target->subject, "sending");
}

void target_forget(struct target *target)
{
    if (!--target->stats.waiting)
        target_tell_well(target); /* nobody wants anything of it any more */
}

#define TELL_EVERY_MS 10000

void target_tell_retry(struct target *target, const struct err *err, int attempts, int64_t delay_ms)
{
    int64_t now_ms = reactor_now_ms(target->outbox->reactor);
    target->troubled = true;
    troubles_tell(target->outbox->troubles, target->subject, "sending", err->text);
    log_debug(target->outbox->log, target->subject, "%s; attempt %d in %lld ms", err->text, attempts + 1,
              (long long)delay_ms);
    if (target->told_ms && now_ms - target->told_ms < TELL_EVERY_MS)
        return;
    target->told_ms = now_ms;
    log_warn(target->outbox->log, target->subject, "%s; trying again (%lld messages wait)", err->text,
             (long long)target->stats.waiting);
}

/* ---- the report ---- */

#define REPORT_EVERY_MS 60000

/* What has happened since the last one. */
static void report_target(struct target *target)
{
    const struct target_stats *now = &target->stats, *then = &target->reported;
    int64_t accepted = now->accepted - then->accepted, requests = now->requests - then->requests;
    int64_t failed = now->failed - then->failed;
    if (!accepted && !failed && !requests)
        return;
    log_info(
        target->outbox->log, target->subject,
        "%lld messages (%lld KiB) accepted in %lld requests, %.1f in each; %lld were sent again, %lld given "
        "up, %lld wait",
        (long long)accepted, (long long)(now->bytes - then->bytes) / 1024, (long long)requests,
        requests ? (double)accepted / (double)requests : 0.0, (long long)(now->retried - then->retried),
        (long long)failed, (long long)now->waiting);
    target->reported = *now;
}

static void report(void *user)
{
    struct outbox *outbox = user;
    timer_set(outbox->options.reactor, &outbox->report, REPORT_EVERY_MS);
    for (size_t i = 0; i < outbox->count; i++)
        report_target(outbox->targets[i]);
}

/* ---- the emitter ---- */

static struct target *find(const struct emitter *emitter, const char *name)
{
    struct outbox *outbox = outbox_of(emitter);
    for (size_t i = 0; i < outbox->count; i++)
        if (strcmp(outbox->targets[i]->config->name, name) == 0)
            return outbox->targets[i];
    return NULL;
}

static bool known(const struct emitter *emitter, const char *name, struct err *err)
{
    const char *names[64];
    const struct outbox *outbox = outbox_of(emitter);
    size_t count = outbox->count < 63 ? outbox->count : 63;
    if (find(emitter, name))
        return true;
    for (size_t i = 0; i < count; i++)
        names[i] = outbox->targets[i]->config->name;
    names[count] = NULL;
    const char *meant = nearest_name(name, names);
    return err_set(err, ERR_CONFIG, "there is no [target %s]%s%s%s", name, meant ? " (did you mean " : "",
                   meant ? meant : "", meant ? "?)" : "");
}

static struct emission *send(const struct emitter *emitter, const char *name, struct message *message,
                             emitted_fn *done, void *user)
{
    struct target *target = find(emitter, name);
    struct emission *emission = mem_zero(sizeof *emission);
    emission->target = target;
    emission->message = *message;
    *message = (struct message){0};
    emission->done = done;
    emission->user = user;
    emission->born_ms = reactor_now_ms(target->outbox->reactor);
    outbox_of(emitter)->held_bytes += emission->message.payload_size;
    list_init(&emission->link);
    timer_init(&emission->pause, NULL, NULL);
    target->stats.waiting++;
    target->ops->add(emission);
    return emission;
}

static void cancel(const struct emitter *emitter, struct emission *emission)
{
    (void)emitter;
    emission->done = NULL;
    emission->target->ops->cancel(emission);
}

static char *locate(const struct emitter *emitter, const char *name, const char *object)
{
    const struct target *target = find(emitter, name);
    return target ? lake_locate(target->config, object) : NULL;
}

static void hurry(const struct emitter *emitter, const char *handler)
{
    struct outbox *outbox = outbox_of(emitter);
    for (size_t i = 0; i < outbox->count; i++)
        if (outbox->targets[i]->stats.waiting)
            outbox->targets[i]->ops->hurry(outbox->targets[i], handler);
}

static void flush(const struct emitter *emitter, bool stopping)
{
    struct outbox *outbox = outbox_of(emitter);
    for (size_t i = 0; i < outbox->count; i++) {
        outbox->targets[i]->flushing = true;
        outbox->targets[i]->stopping = stopping;
        outbox->targets[i]->ops->hurry(outbox->targets[i], NULL);
    }
}

static void give_back(const struct emitter *emitter, const char *handler, bool leaves)
{
    struct outbox *outbox = outbox_of(emitter);
    if (!leaves) {
        map_remove(&outbox->leaving, handler);
        return;
    }
    map_set(&outbox->leaving, handler, outbox);
    for (size_t i = 0; i < outbox->count; i++)
        if (outbox->targets[i]->ops->give_back)
            outbox->targets[i]->ops->give_back(outbox->targets[i], handler);
}

static size_t held_bytes(const struct emitter *emitter)
{
    return outbox_of(emitter)->held_bytes;
}

static void checkpoint(const struct emitter *emitter, bool durable)
{
    struct outbox *outbox = outbox_of(emitter);
    for (size_t i = 0; i < outbox->count; i++)
        if (outbox->targets[i]->ops->checkpoint)
            outbox->targets[i]->ops->checkpoint(outbox->targets[i], durable);
}

static void hold(const struct emitter *emitter)
{
    outbox_of(emitter)->references++;
}

static void release(const struct emitter *emitter)
{
    struct outbox *outbox = outbox_of(emitter);
    if (--outbox->references)
        return;
    timer_stop(outbox->options.reactor, &outbox->report);
    for (size_t i = 0; i < outbox->count; i++) {
        report_target(outbox->targets[i]);
        target_tell_well(outbox->targets[i]); /* those that take its place say how it goes */
        free(outbox->targets[i]->subject);
        outbox->targets[i]->ops->free(outbox->targets[i]);
    }
    map_fini(&outbox->leaving);
    free(outbox->targets);
    config_release(outbox->options.config);
    free(outbox);
}

/* ---- life ---- */

static struct target *target_new(const struct config_target *config)
{
    static const struct batch_kind *const kinds[TARGET_TYPE_COUNT] = {
        [TARGET_EVENTBRIDGE] = &kind_eventbridge,
        [TARGET_SQS] = &kind_sqs,
        [TARGET_SNS] = &kind_sns,
        [TARGET_KINESIS] = &kind_kinesis,
        [TARGET_FIREHOSE] = &kind_firehose,
        [TARGET_LAMBDA] = &kind_lambda,
        [TARGET_HTTP] = &kind_http,
        [TARGET_STDOUT] = &kind_stdout,
    };
    return kinds[config->type] ? batcher_new(kinds[config->type]) : lake_new(config);
}

struct emitter *outbox_new(const struct outbox_options *options)
{
    struct outbox *outbox = mem_zero(sizeof *outbox);
    outbox->emitter = (struct emitter){
        .hold = hold,
        .release = release,
        .known = known,
        .send = send,
        .cancel = cancel,
        .locate = locate,
        .hurry = hurry,
        .flush = flush,
        .give_back = give_back,
        .held_bytes = held_bytes,
        .checkpoint = checkpoint,
    };
    outbox->references = 1;
    outbox->options = *options;
    config_hold(options->config);
    outbox->count = options->config->target_count;
    outbox->targets = mem_zero((outbox->count + 1) * sizeof *outbox->targets);
    for (size_t i = 0; i < outbox->count; i++) {
        const struct config_target *config = &options->config->targets[i];
        struct target *target = target_new(config);
        target->config = config;
        target->outbox = &outbox->options;
        target->emitter = &outbox->emitter;
        target->leaving = &outbox->leaving;
        target->subject = mem_printf("target %s", config->name);
        target->random = (uint64_t)clock_wall_ms(reactor_clock(options->reactor));
        outbox->targets[i] = target;
    }
    timer_init(&outbox->report, report, outbox);
    if (outbox->count)
        timer_set(options->reactor, &outbox->report, REPORT_EVERY_MS);
    return &outbox->emitter;
}
