/* emissions.c: what an invocation emits. It is collected while the function runs and sent when it has
 * returned: a function that raises has emitted nothing. The invocation ends when all of it was accepted. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/internal.h"
#include "record/item_key.h"

#define EMITTED_MAX 10000
#define EMITTED_BYTES_MAX (64u << 20)

struct emitted {
    struct invocation *invocation;
    char *target;
    struct message message;
    int64_t place;
    struct emission *emission; /* on its way */
};

/* Which of its record's messages it is: of a record the same in whatever company it comes again. */
static size_t number_of(struct invocation *invocation, int64_t place)
{
    size_t count = invocation->call->count;
    if (place < 0 || count == 1)
        return invocation->emitted_count;
    if (!invocation->emitted_of)
        invocation->emitted_of = mem_zero(count * sizeof *invocation->emitted_of);
    return invocation->emitted_of[place]++;
}

/* The same whenever the handler emits the same thing for the same records again. */
static char *identity(struct invocation *invocation, int64_t place)
{
    const struct handler_call *call = invocation->call;
    const char *name = invocation->script->handler.name, *shard = call->source->shard;
    size_t number = number_of(invocation, place);
    if (call->request)
        return mem_printf("%s/%s/%s/%zu", name, call->request->intake, call->request->id, number);
    if (!call->count)
        return mem_printf("%s/%s/%lld/%zu", name, shard, (long long)call->window->start_ms, number);
    char first_unit[RECORD_UNIT_SIZE], last_unit[RECORD_UNIT_SIZE];
    const char *first = record_unit(call->inputs[place < 0 ? 0 : place].record, first_unit),
               *last = record_unit(call->inputs[call->count - 1].record, last_unit);
    return place >= 0 || call->count == 1 ? mem_printf("%s/%s/%s/%zu", name, shard, first, number)
                                          : mem_printf("%s/%s/%s-%s/%zu", name, shard, first, last, number);
}

/* Where it comes from, and what follows from that where the script has not said otherwise. Of a batch as a
 * whole that is its first record, but no key. */
static void describe(struct invocation *invocation, int64_t place, struct message *message)
{
    const struct handler_call *call = invocation->call;
    const struct handler_input *input = call->count ? &call->inputs[place < 0 ? 0 : place] : NULL;
    const struct handler_source *source = call->source;
    message->handler = mem_string(invocation->script->handler.name);
    message->stream_arn = mem_string(source->stream_arn);
    message->table = mem_string(source->table);
    message->shard = mem_string(source->shard);
    message->epoch = source->epoch;
    message->id = identity(invocation, place);
    message->call = invocation;
    handler_set_patience(&invocation->script->handler, input,
                         clock_wall_ms(reactor_clock(invocation->script->options.reactor)), message);
    const struct trace_place *trace = input ? input->trace : call->request ? call->request->trace : NULL;
    message->traced = trace != NULL;
    if (message->traced)
        message->trace = *trace;
    message->time_ms = input           ? input->record->time_ms
                       : call->request ? clock_wall_ms(reactor_clock(invocation->script->options.reactor))
                                       : call->window->start_ms;
    if (!input)
        return;
    message->sequence = mem_string(input->record->sequence);
    message->revision = mem_string(input->replayed ? "replayed" : input->redriven ? "redriven" : NULL);
    if (!message->key && (place >= 0 || call->count == 1))
        message->key = item_key_text(input->record->keys);
}

/* A script that says where it emits to emits nowhere else. */
static bool is_declared(const struct script *script, const char *target)
{
    for (size_t i = 0; script->targets && script->targets[i]; i++)
        if (strcmp(script->targets[i], target) == 0)
            return true;
    return !script->targets;
}

static size_t bytes_of(const struct message *message)
{
    const char *const texts[] = {message->key, message->source, message->detail_type, message->subject,
                                 message->object};
    size_t bytes = message->payload_size;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        bytes += texts[i] ? strlen(texts[i]) : 0;
    return bytes;
}

/* Takes it. What parts emit gets its identity when it becomes the whole's. */
static void append(struct invocation *invocation, struct emitted *emitted)
{
    if (!invocation->part_of)
        describe(invocation, emitted->place, &emitted->message);
    mem_grow(&invocation->emitted, &invocation->emitted_capacity, invocation->emitted_count,
             sizeof *invocation->emitted);
    emitted->invocation = invocation;
    invocation->emitted[invocation->emitted_count++] = *emitted;
    *emitted = (struct emitted){0};
}

void emissions_take(struct invocation *whole, struct emitted *emitted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        append(whole, &emitted[i]);
}

void emissions_add(lua_State *L, const char *target, struct message *message, int64_t place)
{
    size_t bytes = bytes_of(message);
    struct script *script = script_of(L);
    struct invocation *invocation = script->current, *root = invocation ? invocation->root : NULL;
    struct err err;
    bool ok = false;
    if (!invocation || !invocation->call || !script->handler.emitter)
        err_set(&err, ERR_SCRIPT, "emit can be called only while a record is handled");
    else if (!script->handler.emitter->ops->known(script->handler.emitter, target, &err))
        ;
    else if (!is_declared(script, target))
        err_set(&err, ERR_CONFIG, "the handler's targets do not name \"%s\"", target);
    else if (root->emitted_all == EMITTED_MAX)
        err_set(&err, ERR_LIMIT, "more than %d messages emitted in one call of the handler", EMITTED_MAX);
    else if (root->emitted_bytes + bytes > EMITTED_BYTES_MAX)
        err_set(&err, ERR_LIMIT, "more than %u bytes emitted in one call of the handler", EMITTED_BYTES_MAX);
    else if (bytes > state_room(script))
        err_set(&err, ERR_LIMIT, "not enough memory");
    else
        ok = true;
    if (!ok) {
        message_fini(message);
        luaL_error(L, "emit: %s", err.text);
        return;
    }
    struct emitted emitted = {.target = mem_string(target), .message = *message, .place = place};
    append(invocation, &emitted);
    root->emitted_all++;
    root->emitted_bytes += bytes;
    state_hold(script, bytes);
    *message = (struct message){0};
}

static void end(struct invocation *invocation)
{
    struct handler_outcome outcome = invocation->outcome;
    invocation->outcome = (struct handler_outcome){0};
    invocation->emitted_done(invocation, outcome.error.text ? HANDLER_RAISED : HANDLER_RETURNED, &outcome);
}

/* The others are waited for even when one was refused: a repetition must not overtake them. */
static void on_emitted(void *user, const struct buf *answer, const struct err *err)
{
    struct emitted *emitted = user;
    struct invocation *invocation = emitted->invocation;
    struct handler_error *error = &invocation->outcome.error;
    (void)answer;
    emitted->emission = NULL;
    if (err && !error->text) {
        error->text = mem_printf("%s: emit to %s: %s", invocation->script->path, emitted->target, err->text);
        error->traceback = mem_string("");
        error->failure = emission_failure(err, false);
    }
    if (--invocation->emissions == 0)
        end(invocation);
}

static void release(struct invocation *invocation)
{
    state_release(invocation->script, invocation->emitted_bytes);
    invocation->emitted_bytes = invocation->emitted_all = 0;
}

bool emissions_send(struct invocation *invocation, struct handler_outcome *outcome, emissions_fn *done)
{
    struct script *script = invocation->script;
    const struct emitter *emitter = script->handler.emitter;
    if (!invocation->emitted_count)
        return false;
    /* From here on the targets' own bounds in time hold; but somebody waits for the answer to a request. */
    if (!invocation->call || !invocation->call->request)
        timer_stop(script->options.reactor, &invocation->limit);
    invocation->outcome = *outcome;
    *outcome = (struct handler_outcome){0};
    invocation->emissions = invocation->emitted_count;
    invocation->emitted_done = done;
    handler_note_emitted(&script->handler, invocation->emitted_bytes);
    release(invocation); /* from here on the targets bound what waits */
    for (size_t i = 0; i < invocation->emitted_count; i++) {
        struct emitted *emitted = &invocation->emitted[i];
        emitted->emission =
            emitter->ops->send(emitter, emitted->target, &emitted->message, on_emitted, emitted);
    }
    return true;
}

static void drop(struct script *script, struct emitted *emitted, size_t count)
{
    const struct emitter *emitter = script->handler.emitter;
    for (size_t i = 0; i < count; i++) {
        if (emitted[i].emission)
            emitter->ops->cancel(emitter, emitted[i].emission);
        free(emitted[i].target);
        message_fini(&emitted[i].message);
    }
}

void emissions_free(struct script *script, struct emitted *emitted, size_t count)
{
    drop(script, emitted, count);
    free(emitted);
}

void emissions_drop(struct invocation *invocation)
{
    if (!invocation->emitted_all && !invocation->emitted_count && !invocation->emitted_of)
        return; /* nearly always */
    drop(invocation->script, invocation->emitted, invocation->emitted_count);
    release(invocation);
    invocation->emitted_count = invocation->emissions = 0;
    free(invocation->emitted_of);
    invocation->emitted_of = NULL;
    handler_outcome_fini(&invocation->outcome);
}
