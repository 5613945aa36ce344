/* model.c: what every handler has done with every record, and whether it was allowed to. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "sim.h"

static bool is_settled(enum fate_state state)
{
    return state >= FATE_HANDLED;
}

static struct fate *fate_of(struct sim *sim, int handler, int record)
{
    return &sim->handlers[handler].fates[record];
}

static int epoch_of(const struct sim *sim, int handler)
{
    return sim->crashes + sim->handlers[handler].seeks;
}

static void enter(struct sim *sim, int handler, struct fate *fate, enum fate_state state)
{
    fate->state = state;
    /* What happens between the wish to seek and the seek may be repeated, too. */
    fate->epoch = sim->handlers[handler].sought ? -1 : epoch_of(sim, handler);
    fate->since_ms = sim->world.now_ms;
}

void model_grow(struct sim *sim)
{
    for (int i = 0; i < sim->handler_count; i++) {
        struct sim_handler *handler = &sim->handlers[i];
        if ((sim->write_count & (sim->write_count - 1)) == 0) /* a power of two: it is full */
            handler->fates =
                mem_resize(handler->fates, (size_t)sim->write_count * 2 * sizeof *handler->fates);
        memset(&handler->fates[sim->write_count - 1], 0, sizeof *handler->fates);
        handler->forwarded = mem_resize(handler->forwarded, (size_t)sim->write_count);
        handler->forwarded[sim->write_count - 1] = 0;
        handler->in_given_up = mem_resize(handler->in_given_up, (size_t)sim->write_count);
        handler->in_given_up[sim->write_count - 1] = 0;
    }
}

bool model_settled(const struct sim *sim, int handler, int record)
{
    return is_settled(sim->handlers[handler].fates[record].state);
}

/* ---- the beginning of a call ---- */

static const char *name_of(const struct sim *sim, int handler)
{
    return sim->handlers[handler].name;
}

/* A redriven record goes to a descendant of its shard; where there are two, its item may be in the other. */
static bool contains_item(const struct sim *sim, const struct sim_call *call, int item, bool redriven)
{
    for (int i = 0; i < call->count; i++)
        if (sim->writes[call->records[i]].item == item && !(sim->branched && (redriven || call->redriven[i])))
            return true;
    return false;
}

/* Nobody else is at work on the item; with ordering = shard, on the shard. */
static void check_alone(struct sim *sim, const struct sim_call *call, int at)
{
    int record = call->records[at];
    const struct written *write = &sim->writes[record];
    enum sim_kind kind = sim->handlers[call->handler].kind;
    struct sim_call *other;
    list_each(other, &sim->calls, struct sim_call, link) {
        if (other->handler != call->handler || other->frozen)
            continue;
        bool same_shard = (kind == KIND_SHARD || kind == KIND_WINDOW) && other->count && *write->shard &&
                          strcmp(sim->writes[other->records[0]].shard, write->shard) == 0;
        if (contains_item(sim, other, write->item, call->redriven[at]) || same_shard)
            sim_violated(sim, "handler %s gets record %d (item %d) while it works on record %d",
                         name_of(sim, call->handler), record, write->item,
                         other->count ? other->records[0] : -1);
    }
}

/* Whatever of the item was written before is settled, or comes earlier in this call. */
static void check_order(struct sim *sim, const struct sim_call *call, int at)
{
    int record = call->records[at];
    for (int earlier = 0; earlier < record; earlier++) {
        const struct fate *fate = fate_of(sim, call->handler, earlier);
        bool together = false;
        if (sim->writes[earlier].item != sim->writes[record].item || is_settled(fate->state) ||
            fate->frozen || sim->writes[earlier].trimmed)
            continue;
        for (int i = 0; i < at; i++)
            together = together || call->records[i] == earlier;
        if (!together)
            sim_violated(sim, "handler %s gets record %d of item %d before record %d is settled",
                         name_of(sim, call->handler), record, sim->writes[record].item, earlier);
    }
}

/* A crash repeats a record, and then whatever of the item was written after it. */
static void repeat_from(struct sim *sim, int handler, int record)
{
    for (int later = record; later < sim->write_count; later++) {
        struct fate *fate = fate_of(sim, handler, later);
        if (sim->writes[later].item == sim->writes[record].item && is_settled(fate->state))
            fate->state = FATE_UNSEEN;
    }
}

static void check_attempt(struct sim *sim, const struct sim_call *call, const struct fate *fate, int at)
{
    const struct sim_handler *handler = &sim->handlers[call->handler];
    int attempt = call->attempts[at], last = fate->attempt;
    /* One that a crash cut short is made again. */
    if (attempt < 1 ||
        (attempt > handler->retries + 1 && attempt > last && fate->epoch == epoch_of(sim, call->handler)))
        sim_violated(sim, "handler %s gets record %d in attempt %d of %d", handler->name, call->records[at],
                     attempt, handler->retries + 1);
    if (fate->state != FATE_FAILED || fate->epoch != epoch_of(sim, call->handler))
        return;
    if (attempt != last + 1 && !((handler->kind >= KIND_BATCH || fate->interrupted) && attempt == last))
        sim_violated(sim, "handler %s gets record %d in attempt %d after attempt %d", handler->name,
                     call->records[at], attempt, last);
}

static void check_redriven(struct sim *sim, const struct sim_call *call, int at)
{
    const struct fate *fate = fate_of(sim, call->handler, call->records[at]);
    if (fate->state != FATE_GIVEN_UP && !sim->handlers[call->handler].seeks &&
        fate->epoch == epoch_of(sim, call->handler))
        sim_violated(sim, "handler %s gets record %d redriven, which is no dead letter",
                     name_of(sim, call->handler), call->records[at]);
}

static void check_turn(struct sim *sim, const struct sim_call *call, int at)
{
    const struct fate *fate = fate_of(sim, call->handler, call->records[at]);
    if (is_settled(fate->state) && fate->epoch == epoch_of(sim, call->handler))
        sim_violated(sim, "handler %s gets record %d again, which was settled", name_of(sim, call->handler),
                     call->records[at]);
    repeat_from(sim, call->handler, call->records[at]);
    check_order(sim, call, at);
    check_attempt(sim, call, fate, at);
}

static void trace_call(struct sim *sim, const struct sim_call *call, const char *what)
{
    struct buf text = BUF_INIT;
    if (!sim->loud)
        return;
    buf_printf(&text, "%s %s%s:", sim->handlers[call->handler].name, what,
               call->final ? " the end of a window" : "");
    for (int i = 0; i < call->count; i++)
        buf_printf(&text, " %d%s", call->records[i],
                   call->redriven[i] ? " (redriven)"
                   : call->failed[i] ? " (failed)"
                                     : "");
    sim_trace(sim, "%s", text.data);
    buf_fini(&text);
}

void model_begin(struct sim *sim, struct sim_call *call)
{
    trace_call(sim, call, "begins");
    for (int i = 0; i < call->count; i++) {
        check_alone(sim, call, i);
        sim->handlers[call->handler].redriven |= call->redriven[i];
        if (call->redriven[i])
            check_redriven(sim, call, i);
        else
            check_turn(sim, call, i);
    }
    for (int i = 0; i < call->count; i++) {
        struct fate *fate = fate_of(sim, call->handler, call->records[i]);
        if (call->redriven[i])
            continue;
        enter(sim, call->handler, fate, FATE_RUNNING);
        fate->frozen = false;
        fate->attempt = call->attempts[i];
    }
}

/* ---- its end ---- */

/* After a crash the child of the shard may close the window again. */
static bool same_window(const struct closed_window *a, const struct closed_window *b)
{
    return a->start_ms == b->start_ms &&
           (strcmp(a->shard, b->shard) == 0 || (a->count && b->count && a->seen[0] == b->seen[0]));
}

/* A repetition after a crash takes the place of what came of the window before. */
static void keep_window(struct sim *sim, struct sim_call *call)
{
    struct sim_handler *handler = &sim->handlers[call->handler];
    struct closed_window **at = &handler->windows;
    while (*at && !same_window(*at, &call->window))
        at = &(*at)->next;
    if (!*at)
        *at = mem_zero(sizeof **at);
    struct closed_window *kept = *at, *next = kept->next;
    free(kept->seen);
    *kept = call->window;
    kept->next = next;
    sim_trace(sim, "%s: the window of %lld in %s holds %d records, from %d on", handler->name,
              (long long)kept->start_ms, kept->shard, kept->count, kept->count ? kept->seen[0] : -1);
    call->window.seen = NULL;
}

void model_window_given_up(struct sim_handler *handler, const char *text)
{
    const char *at = strstr(text, "\"seen\":[");
    char *end;
    for (at = at ? at + strlen("\"seen\":[") : ""; *at && *at != ']'; at = *end == ',' ? end + 1 : end) {
        handler->in_given_up[strtol(at, &end, 10)] = 1;
        if (end == at)
            return;
    }
}

static void end_final(struct sim *sim, struct sim_call *call)
{
    char key[160];
    service_window_key(sim, call, key, sizeof key);
    intptr_t failures = (intptr_t)map_get(&sim->final_failures, key);
    if (call->well)
        keep_window(sim, call);
    else
        map_set(&sim->final_failures, key, (void *)(failures + 1));
}

/* What is behind a failed record of its item waits for it, and runs again; unless that was discarded there
 * and then. */
static bool behind_failed(const struct sim *sim, const struct sim_call *call, int at)
{
    const struct sim_handler *handler = &sim->handlers[call->handler];
    for (int i = 0; i < at; i++)
        if (call->failed[i] && !(handler->discard && call->attempts[i] > handler->retries) &&
            sim->writes[call->records[i]].item == sim->writes[call->records[at]].item)
            return true;
    return false;
}

void model_end(struct sim *sim, struct sim_call *call)
{
    trace_call(sim, call, call->well ? "ended" : "failed");
    if (call->final) {
        end_final(sim, call);
        return;
    }
    for (int i = 0; i < call->count; i++) {
        struct fate *fate = fate_of(sim, call->handler, call->records[i]);
        bool well = call->well && !call->failed[i] && !behind_failed(sim, call, i);
        if (!call->redriven[i] || well)
            enter(sim, call->handler, fate, well ? FATE_HANDLED : FATE_FAILED);
        if (call->redriven[i] && sim->handlers[call->handler].seeks)
            fate->epoch = -1; /* its own turn may still come again */
        fate->frozen = call->frozen;
        bool sought = call->sought || call->seeks != sim->handlers[call->handler].seeks,
             left = call->began_ms <= sim->handlers[call->handler].left_ms;
        if (call->frozen || sought || (call->unsure && (well || left)))
            fate->epoch = -1; /* the handler may have been told that it failed, or begins anew */
        fate->permanent = call->permanent;
        /* What was not accepted while the host stopped, or the handler left, was no attempt. */
        fate->interrupted = !well && sim->handlers[call->handler].sends &&
                            (sim->stopping || call->began_ms <= sim->handlers[call->handler].left_ms);
        fate->redriven = call->redriven[i];
    }
}

void model_given_up(struct sim *sim, const struct observed *observed)
{
    int handler = 0;
    service_end_calls(sim);
    while (handler < sim->handler_count && strcmp(name_of(sim, handler), observed->handler) != 0)
        handler++;
    char *number = json_string_dup(json_get(json_get(observed->record->new_image, "v"), "N"));
    int record = number ? atoi(number) : -1;
    free(number);
    if (handler == sim->handler_count || record < 0 || record >= sim->write_count) {
        sim_violated(sim, "a record that was never written was given up");
        return;
    }
    targets_gave_up(sim, handler, record);
    struct fate *fate = fate_of(sim, handler, record);
    const struct sim_handler *its = &sim->handlers[handler];
    if (its->discard != (observed->outcome == OUTCOME_DISCARDED))
        sim_violated(sim, "handler %s: record %d did not go where on_failure says", its->name, record);
    if (fate->state == FATE_GIVEN_UP || fate->redriven)
        return; /* it was redriven in vain */
    if (!fate->permanent && fate->attempt <= its->retries)
        sim_violated(sim, "handler %s gave record %d up after attempt %d of %d", its->name, record,
                     fate->attempt, its->retries + 1);
    enter(sim, handler, fate, its->discard ? FATE_DISCARDED : FATE_GIVEN_UP);
}
