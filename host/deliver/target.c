/* target.c: what all targets have in common: the life of an emission, patience, and what is told of it. */
#include "deliver/target.h"

#include <stdlib.h>

#include "aws/retry.h"
#include "base/backoff.h"
#include "base/check.h"
#include "base/mem.h"

/* ---- emissions ---- */

void emission_free(struct emission *emission)
{
    CHECK(*emission->target->held_bytes >= emission->message.payload_size);
    *emission->target->held_bytes -= emission->message.payload_size;
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
    CHECK(!emission->behind); /* who waits for it would wait for ever */
    emitted_fn *done = emission->done;
    void *user = emission->user;
    struct err copy = err ? *err : (struct err){0};
    struct buf answer = emission->answer;
    emission->answer = BUF_INIT;
    if (err && err->code == ERR_CANCELLED)
        target_forget(target);
    else
        CHECK(target->stats.waiting-- > 0);
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

bool target_leaves(const struct target *target, const char *handler)
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

struct aws_place *target_place_of(const struct config_target *config)
{
    if (!config->role)
        return NULL;
    struct aws_place *place = mem_zero(sizeof *place);
    place->role = mem_string(config->role);
    place->external_id = mem_string(config->external_id);
    return place;
}

/* It says something of the target, or of who sends, and nothing of the message: that is wrong until somebody
 * mends it, or a secret has been rotated. */
static bool is_about_target(const struct err *err)
{
    static const char *const codes[] = {"KMSAccessDeniedException",
                                        "KMSDisabledException",
                                        "KMSNotFoundException",
                                        "AWS.SimpleQueueService.NonExistentQueue",
                                        "QueueDoesNotExist",
                                        "ResourceNotFoundException",
                                        "NotFound",
                                        "NotFoundException",
                                        "NoSuchBucket",
                                        NULL};
    return err->code == ERR_SERVICE &&
           (retry_is_refused(err) || retry_code_is_one_of(err->service, codes) || err->http_status == 407);
}

bool target_passes(const struct err *err)
{
    return retry_kind(err) != RETRY_NEVER || (err->passes != PASSES_NEVER && is_about_target(err));
}

void target_give_up(const struct target *target, const char *handler, struct err *err)
{
    if (target_leaves(target, handler) && target_passes(err))
        err->code = ERR_CANCELLED;
    else if (can_never_pass(err))
        err->code = ERR_LIMIT;
}

bool target_may_retry(const struct target *target, const struct patience *patience)
{
    const struct reactor *reactor = target->outbox->reactor;
    int64_t retries = target->config->retries;
    /* When the host stops nobody waits for better times: the record comes again. */
    if (target_leaves(target, patience->handler) || (retries >= 0 && patience->attempts > retries))
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
    CHECK(target->stats.waiting > 0);
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
    if (log_limit_passes(&target->told_retry, now_ms, TELL_EVERY_MS))
        log_warn(target->outbox->log, target->subject, "%s; trying again (%lld messages wait)", err->text,
                 (long long)target->stats.waiting);
}

/* ---- the report ---- */

void target_report(struct target *target)
{
    const struct stats_target *now = &target->stats, *then = &target->reported;
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

void target_tell(struct target *target)
{
    struct stats_target *all = stats_target(target->outbox->stats, target->config->name);
    const struct stats_target *now = &target->stats, *then = &target->told;
    if (!all)
        return;
    all->accepted += now->accepted - then->accepted;
    all->bytes += now->bytes - then->bytes;
    all->requests += now->requests - then->requests;
    all->retried += now->retried - then->retried;
    all->failed += now->failed - then->failed;
    all->waiting += now->waiting - then->waiting;
    target->told = *now;
}
