/* outbox.c: the targets of a configuration, by name, behind the emitter. */
#include "deliver/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/pace.h"
#include "conf/target_type.h"
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

/* ---- the report ---- */

#define REPORT_EVERY_MS 60000

static void report(void *user)
{
    struct outbox *outbox = user;
    timer_set(outbox->options.reactor, &outbox->report, REPORT_EVERY_MS);
    for (size_t i = 0; i < outbox->count; i++)
        target_report(outbox->targets[i]);
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
    CHECK(target && done); /* `known` was asked */
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
    CHECK(emission->done);
    emission->done = NULL;
    emission->target->ops->cancel(emission);
}

static char *locate(const struct emitter *emitter, const char *name, const char *object)
{
    const struct target *target = find(emitter, name);
    return target && target->ops->locate ? target->ops->locate(target, object) : NULL;
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

static void passed(const struct emitter *emitter, const char *handler, const char *shard,
                   const char *sequence)
{
    struct outbox *outbox = outbox_of(emitter);
    for (size_t i = 0; i < outbox->count; i++)
        if (outbox->targets[i]->ops->passed)
            outbox->targets[i]->ops->passed(outbox->targets[i], handler, shard, sequence);
}

static void checkpoint(const struct emitter *emitter, bool durable)
{
    struct outbox *outbox = outbox_of(emitter);
    for (size_t i = 0; i < outbox->count; i++)
        if (outbox->targets[i]->ops->checkpoint)
            outbox->targets[i]->ops->checkpoint(outbox->targets[i], durable);
}

static void tell(const struct emitter *emitter)
{
    struct outbox *outbox = outbox_of(emitter);
    for (size_t i = 0; i < outbox->count; i++)
        target_tell(outbox->targets[i]);
}

static void hold(const struct emitter *emitter)
{
    CHECK(outbox_of(emitter)->references > 0);
    outbox_of(emitter)->references++;
}

static void release(const struct emitter *emitter)
{
    struct outbox *outbox = outbox_of(emitter);
    CHECK(outbox->references > 0);
    if (--outbox->references)
        return;
    timer_stop(outbox->options.reactor, &outbox->report);
    for (size_t i = 0; i < outbox->count; i++) {
        target_report(outbox->targets[i]);
        outbox->targets[i]->stats.waiting = 0; /* of what waits is nothing left */
        target_tell(outbox->targets[i]);
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

struct emitter *outbox_new(const struct outbox_options *options)
{
    static const struct emitter_ops ops = {
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
        .passed = passed,
        .checkpoint = checkpoint,
        .tell = tell,
    };
    struct outbox *outbox = mem_zero(sizeof *outbox);
    outbox->emitter.ops = &ops;
    outbox->references = 1;
    outbox->options = *options;
    config_hold(options->config);
    outbox->count = options->config->target_count;
    outbox->targets = mem_zero((outbox->count + 1) * sizeof *outbox->targets);
    for (size_t i = 0; i < outbox->count; i++) {
        const struct config_target *config = &options->config->targets[i];
        struct target *target = config->type->open(config->type);
        target->config = config;
        target->outbox = &outbox->options;
        target->emitter = &outbox->emitter;
        target->held_bytes = &outbox->held_bytes;
        target->leaving = &outbox->leaving;
        target->subject = mem_printf("target %s", config->name);
        target->pace = paces_find(options->paces, target->subject);
        target->random = (uint64_t)clock_wall_ms(reactor_clock(options->reactor));
        outbox->targets[i] = target;
    }
    timer_init(&outbox->report, report, outbox);
    if (outbox->count)
        timer_set(options->reactor, &outbox->report, REPORT_EVERY_MS);
    return &outbox->emitter;
}
