/* route.c: a record to a message, and the target's answer to an outcome. */
#include "route/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "conf/target_type.h"
#include "route/transform.h"
#include "filter/filter.h"
#include "record/item_key.h"

struct route {
    struct handler handler; /* the first: one is the other */
    const struct config_route *config;
    const struct config_target *target;
    struct reactor *reactor;
    struct filter *filter; /* NULL: all */
    struct transform *transform;
    struct invocation *spare;
};

/* A call on its way. */
struct invocation {
    struct route *route; /* held */
    const struct handler_call *call;
    struct emission *emission;
    handler_done_fn *done;
    void *user;
};

static struct route *route_of(const struct handler *handler)
{
    return list_entry(handler, struct route, handler);
}

static bool wants(const struct handler *handler, const struct record *record,
                  const struct handler_source *source)
{
    const struct route *route = route_of(handler);
    return handler_filter_matches(route->filter, record, source) &&
           transform_applies(route->transform, record);
}

static void explain(const struct handler *handler, const struct record *record,
                    const struct handler_source *source, struct buf *out)
{
    const struct route *route = route_of(handler);
    if (!transform_applies(route->transform, record)) {
        buf_printf(out, "the record has no %s", route->config->image == IMAGE_OLD ? "OldImage" : "NewImage");
        return;
    }
    buf_add_text(out, "by its pattern: ");
    filter_explain(route->filter, record->json, source->stream_arn, out);
}

/* ---- what is sent ---- */

/* Lambda gets its records together: {"Records": [...]} as a trigger sends them; what a transform makes of
 * them as an array. */
static void write_event(const struct route *route, const struct handler_call *call, struct buf *out)
{
    bool whole = transform_none(route->transform);
    buf_add_text(out, whole ? "{\"Records\":[" : "[");
    for (size_t i = 0; i < call->count; i++) {
        if (i)
            buf_add_char(out, ',');
        transform_apply(route->transform, call->inputs[i].record, call->source->stream_arn, out);
    }
    buf_add_text(out, whole ? "]}" : "]");
}

static struct message message_for(const struct route *route, const struct handler_call *call)
{
    const struct handler_input *first = &call->inputs[0];
    const struct handler_source *source = call->source;
    struct buf payload = BUF_INIT;
    char unit[RECORD_UNIT_SIZE];
    bool single = route->handler.kind == HANDLER_RECORDS;
    if (single)
        transform_apply(route->transform, first->record, source->stream_arn, &payload);
    else
        write_event(route, call, &payload);
    struct transform_texts texts;
    transform_write_texts(route->transform, first->record, source->stream_arn, &texts);
    struct message message = {
        .payload_size = payload.size,
        .key = single ? item_key_text(first->record->keys) : NULL,
        .source = texts.source,
        .detail_type = texts.detail_type,
        .event = record_event_name(first->record->event),
        .subject = texts.subject,
        .handler = mem_string(route->handler.name),
        .stream_arn = mem_string(source->stream_arn),
        .table = mem_string(source->table),
        .shard = mem_string(source->shard),
        .epoch = source->epoch,
        .sequence = mem_string(first->record->sequence),
        .id = mem_printf("%s/%s/%s", route->handler.name, source->shard, record_unit(first->record, unit)),
        .revision = mem_string(first->replayed   ? "replayed"
                               : first->redriven ? "redriven"
                                                 : NULL),
        .time_ms = first->record->time_ms,
        .routed = true,
    };
    message.traced = first->trace != NULL;
    if (first->trace)
        message.trace = *first->trace;
    handler_set_patience(&route->handler, first, clock_wall_ms(reactor_clock(route->reactor)), &message);
    message.payload = buf_take(&payload);
    return message;
}

/* ---- what came of it ---- */

static size_t place_of(const struct handler_call *call, const struct json *failure)
{
    const struct json *id = json_get(failure, "itemIdentifier");
    for (size_t i = 0; i < call->count; i++)
        if (json_string_is(id, call->inputs[i].record->sequence))
            return i;
    return call->count;
}

/* The member, in whatever case it is spelt: what was meant as a failure is one. An answer that is no object
 * ("ok") says nothing of failures. */
static const struct json *find_failures(const struct json *root)
{
    static const char name[] = "batchItemFailures";
    json_each(member, root && root->type == JSON_OBJECT ? root : NULL)
        if (member->key_size == sizeof name - 1 && strncasecmp(member->key, name, sizeof name - 1) == 0)
            return member;
    return NULL;
}

/* A partial batch response, by Lambda's rules: the first that failed is where to go on, and what is behind it
 * comes again, whatever was said of it. An identifier that is unknown or missing fails the whole batch.
 * https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html */
static void read_answer(const struct handler_call *call, const struct buf *answer,
                        struct handler_outcome *outcome)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    const struct json *root =
        answer && answer->size ? json_parse(&arena, answer->data, answer->size, &err) : NULL;
    const struct json *failures = find_failures(root);
    size_t first = call->count;
    if (answer && answer->size && !root)
        outcome->error.text = mem_printf("the function's answer is no JSON (%s): which records it handled "
                                         "cannot be known",
                                         err.text);
    else if (failures && failures->type != JSON_ARRAY && failures->type != JSON_NULL)
        outcome->error.text =
            mem_string("the function's batchItemFailures is no list: the whole batch counts as failed");
    json_each(failure, failures && failures->type == JSON_ARRAY ? failures : NULL) {
        size_t place = place_of(call, failure);
        if (place == call->count)
            outcome->error.text =
                outcome->error.text
                    ? outcome->error.text
                    : mem_string("the function's batchItemFailures names no record of the batch");
        first = place < first ? place : first;
    }
    if (outcome->error.text)
        outcome->error.traceback = mem_string("");
    else if (first < call->count) {
        outcome->verdicts = mem_zero(call->count * sizeof *outcome->verdicts);
        outcome->verdicts[first] = VERDICT_FAILED;
        for (size_t i = first + 1; i < call->count; i++)
            outcome->verdicts[i] = VERDICT_UNTOUCHED;
    }
    arena_fini(&arena);
}

static void invocation_end(struct invocation *invocation)
{
    struct route *route = invocation->route;
    if (route->spare)
        free(invocation);
    else
        route->spare = invocation;
    handler_release(&route->handler);
}

static void on_emitted(void *user, const struct buf *answer, const struct err *err)
{
    struct invocation call = *(struct invocation *)user;
    struct handler_outcome outcome = {0};
    struct route *route = call.route;
    if (err)
        outcome.error = (struct handler_error){
            /* A part of it may be taken where the whole is not. */
            .failure = emission_failure(err, call.call->count > 1),
            .text = mem_printf("%s: %s", route->config->target, err->text),
            .traceback = mem_string(""),
        };
    else if (route->handler.kind == HANDLER_BATCHES)
        read_answer(call.call, answer, &outcome);
    handler_hold(&route->handler);
    invocation_end(user);
    call.done(call.user, outcome.error.text ? HANDLER_RAISED : HANDLER_RETURNED, &outcome);
    handler_release(&route->handler);
}

static enum handler_result run(struct handler *handler, const struct handler_call *call,
                               handler_done_fn *done, void *user, struct invocation **running,
                               struct handler_outcome *outcome)
{
    struct route *route = route_of(handler);
    struct invocation *invocation = route->spare ? route->spare : mem_alloc(sizeof *invocation);
    struct message message = message_for(route, call);
    (void)outcome;
    route->spare = NULL;
    handler_hold(handler);
    *invocation = (struct invocation){route, call, NULL, done, user};
    invocation->emission = handler->emitter->ops->send(handler->emitter, route->config->target, &message,
                                                       on_emitted, invocation);
    *running = invocation;
    return HANDLER_WAITING;
}

static void cancel(struct handler *handler, struct invocation *invocation)
{
    handler->emitter->ops->cancel(handler->emitter, invocation->emission);
    invocation_end(invocation);
}

/* ---- life ---- */

static bool stale(const struct handler *handler, const struct config *config)
{
    return !config_same_route(handler->config, config, handler->name) ||
           !config_same_targets(handler->config, config);
}

static void route_free(struct handler *handler)
{
    struct route *route = route_of(handler);
    filter_free(route->filter);
    transform_free(route->transform);
    free(route->spare);
    handler_fini(handler);
    free(route);
}

static void set_version(struct route *route)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < route->config->section.pair_count; i++) {
        const struct config_pair *pair = &route->config->section.pairs[i];
        hash = hash_mix(hash ^ hash_bytes(pair->name, strlen(pair->name), 1));
        hash = hash_mix(hash ^ hash_bytes(pair->value, strlen(pair->value), 2));
    }
    snprintf(route->handler.version, sizeof route->handler.version, "%012llx",
             (unsigned long long)hash & 0xffffffffffffull);
}

/* Which way records come depends on what the target can make of them: a function takes batches, a file keeps
 * the order of what is written to it. */
static void set_kind(struct route *route)
{
    const struct target_type *type = route->target ? route->target->type : NULL;
    route->handler.kind = type && type->takes_batches ? HANDLER_BATCHES : HANDLER_RECORDS;
    route->handler.pipelined = type && type->pipelined;
}

struct handler *route_load(const struct route_options *options, struct problems *problems)
{
    static const struct handler_ops ops = {wants, explain, run, cancel, stale, route_free};
    struct route *route = mem_zero(sizeof *route);
    struct err err;
    handler_init(&route->handler, &ops, options->name, options->config, options->emitter);
    route->reactor = options->reactor;
    route->config = config_route(options->config, options->name);
    route->target = route->config->target ? config_target(options->config, route->config->target)
                                          : NULL; /* see config.incomplete */
    handler_settings_copy(&route->handler.settings, &route->config->settings);
    const char *pattern = route->config->pattern;
    bool ok = !pattern || (route->filter = filter_compile(pattern, strlen(pattern), &err)) ||
              config_refuse(&route->config->section, "pattern", pattern, &err);
    ok = ok && (route->transform = transform_new(route->config, &err));
    if (!ok) {
        problems_add(problems, "%s:%d: [route %s] %s", options->config->path, route->config->line,
                     options->name, err.text);
        handler_release(&route->handler);
        return NULL;
    }
    set_version(route);
    set_kind(route);
    return &route->handler;
}

void route_review(const struct handler *handler, struct problems *warnings)
{
    const struct route *route = route_of(handler);
    char *label =
        mem_printf("%s:%d: [route %s] pattern", handler->config->path, route->config->line, handler->name);
    if (route->filter)
        filter_review(route->filter, label, warnings);
    free(label);
}
