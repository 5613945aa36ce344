/* emitter_dry.c: see emitter_dry.h. */
#include "deliver/emitter_dry.h"

#include <stdlib.h>

#include "base/mem.h"

struct dry {
    struct emitter emitter; /* the first: one is the other */
    size_t references;
    struct reactor *reactor;
    const struct config *config;
    emitter_dry_fn *tell;
    void *user;
};

struct emission {
    struct task task;
    emitted_fn *done;
    void *user;
};

static struct dry *dry_of(const struct emitter *emitter)
{
    return list_entry(emitter, struct dry, emitter);
}

static void hold(const struct emitter *emitter)
{
    dry_of(emitter)->references++;
}

static void release(const struct emitter *emitter)
{
    struct dry *dry = dry_of(emitter);
    if (--dry->references)
        return;
    config_release(dry->config);
    free(dry);
}

static bool known(const struct emitter *emitter, const char *target, struct err *err)
{
    const struct config *config = dry_of(emitter)->config;
    return !config || config_target(config, target) ||
           err_set(err, ERR_CONFIG, "there is no [target %s]", target);
}

static void accept(void *user)
{
    struct emission emission = *(struct emission *)user;
    free(user);
    emission.done(emission.user, NULL, NULL);
}

static struct emission *send(const struct emitter *emitter, const char *target, struct message *message,
                             emitted_fn *done, void *user)
{
    struct dry *dry = dry_of(emitter);
    struct emission *emission = mem_zero(sizeof *emission);
    dry->tell(dry->user, target, message);
    message_fini(message);
    emission->done = done;
    emission->user = user;
    task_init(&emission->task, accept, emission);
    task_defer(dry->reactor, &emission->task);
    return emission;
}

static void cancel(const struct emitter *emitter, struct emission *emission)
{
    (void)emitter;
    task_cancel(&emission->task);
    free(emission);
}

static char *locate(const struct emitter *emitter, const char *target, const char *object)
{
    (void)emitter;
    return mem_printf("%s:%s", target, object);
}

static void hurry(const struct emitter *emitter, const char *handler)
{
    (void)emitter;
    (void)handler;
}

static void flush(const struct emitter *emitter, bool stopping)
{
    (void)emitter;
    (void)stopping;
}

struct emitter *emitter_dry_new(struct reactor *reactor, const struct config *config, emitter_dry_fn *tell,
                                void *user)
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
    };
    struct dry *dry = mem_zero(sizeof *dry);
    dry->emitter.ops = &ops;
    dry->references = 1;
    dry->reactor = reactor;
    dry->config = config_hold(config);
    dry->tell = tell;
    dry->user = user;
    return &dry->emitter;
}
