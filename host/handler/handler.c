/* handler.c: what all kinds of handlers share. */
#include "handler/handler.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/utf8.h"

void handler_error_fini(struct handler_error *error)
{
    free(error->text);
    free(error->traceback);
    *error = (struct handler_error){0};
}

/* An error is easily large: error("bad answer: " .. response.body). */
#define ERROR_BYTES_MAX ((size_t)8 << 10)

char *handler_error_text(const char *text, size_t size)
{
    char *start = mem_copy(text, size < ERROR_BYTES_MAX ? size : ERROR_BYTES_MAX);
    /* C ends at a zero byte, what a script says does not. */
    for (size_t i = 0; i < size && i < ERROR_BYTES_MAX; i++)
        if (!start[i])
            start[i] = '?';
    if (size <= ERROR_BYTES_MAX)
        return start;
    utf8_trim(start);
    char *cut = mem_printf("%s... (%zu bytes)", start, size);
    free(start);
    return cut;
}

void handler_answer_free(struct handler_answer *answer)
{
    if (!answer)
        return;
    for (size_t i = 0; i < answer->header_count; i++) {
        free(answer->headers[i].name);
        free(answer->headers[i].value);
    }
    free(answer->headers);
    free(answer->body);
    free(answer);
}

void handler_outcome_fini(struct handler_outcome *outcome)
{
    handler_error_fini(&outcome->error);
    free(outcome->verdicts);
    free(outcome->state);
    handler_answer_free(outcome->answer);
    *outcome = (struct handler_outcome){0};
}

void handler_init(struct handler *handler, const struct handler_ops *ops, const char *name,
                  const struct config *config, const struct emitter *emitter)
{
    *handler = (struct handler){.ops = ops, .references = 1, .name = mem_string(name)};
    handler->config = config_hold(config);
    handler->emitter = emitter;
    if (emitter)
        emitter->ops->hold(emitter);
    handler_settings_init(&handler->settings);
}

void handler_fini(struct handler *handler)
{
    handler_settings_fini(&handler->settings);
    config_release(handler->config);
    if (handler->emitter)
        handler->emitter->ops->release(handler->emitter);
    free(handler->name);
}

void handler_refuse(const struct handler_call *call, const char *why, struct handler_outcome *outcome)
{
    /* Of several the others are to be tried without it. */
    outcome->error =
        (struct handler_error){.text = mem_string(why),
                               .traceback = mem_string(""),
                               .failure = call->count == 1 ? FAILURE_PERMANENT : FAILURE_PASSING};
}

struct handler *handler_hold(struct handler *handler)
{
    CHECK(handler->references > 0);
    handler->references++;
    return handler;
}

void handler_release(struct handler *handler)
{
    CHECK(!handler || handler->references > 0);
    if (handler && --handler->references == 0)
        handler->ops->free(handler);
}

void handler_set_patience(const struct handler *handler, const struct handler_input *input, int64_t now_ms,
                          struct message *message)
{
    bool late = !input || input->redriven || input->replayed;
    int64_t max_age_ms = handler->settings.max_age_ms;
    message->give_up_ms = max_age_ms < 0 ? 0 : (late ? now_ms : input->record->time_ms) + max_age_ms;
    message->patience_ms = max_age_ms < 0 ? 0 : max_age_ms;
}

enum handler_failure emission_failure(const struct err *err, bool parts)
{
    if (err->code == ERR_CANCELLED || err->code == ERR_RESOURCES)
        return FAILURE_NO_ATTEMPT;
    return (err->code == ERR_LIMIT || err->code == ERR_CONFIG) && !parts ? FAILURE_PERMANENT
                                                                         : FAILURE_PASSING;
}

void handler_note_emitted(struct handler *handler, size_t bytes)
{
    /* Quick to learn of more, slow to believe in less. */
    handler->emits_bytes = bytes > handler->emits_bytes ? bytes : (handler->emits_bytes * 7 + bytes) / 8;
}

void handler_hurry(struct handler *handler)
{
    if (handler->emitter)
        handler->emitter->ops->hurry(handler->emitter, handler->name);
}

#define MESSAGE_TEXTS 12

/* All of them but the payload, which may hold U+0000. */
static void message_texts(struct message *message, char **texts[MESSAGE_TEXTS])
{
    char **all[] = {&message->key,    &message->source,   &message->detail_type, &message->subject,
                    &message->object, &message->handler,  &message->stream_arn,  &message->table,
                    &message->shard,  &message->sequence, &message->id,          &message->revision};
    static_assert(sizeof all == MESSAGE_TEXTS * sizeof *all, "each text once");
    memcpy(texts, all, sizeof all);
}

void message_fini(struct message *message)
{
    char **texts[MESSAGE_TEXTS];
    message_texts(message, texts);
    for (size_t i = 0; i < MESSAGE_TEXTS; i++)
        free(*texts[i]);
    free(message->payload);
    *message = (struct message){0};
}

struct message message_copy(const struct message *message)
{
    struct message copy = *message;
    char **texts[MESSAGE_TEXTS];
    message_texts(&copy, texts);
    for (size_t i = 0; i < MESSAGE_TEXTS; i++)
        *texts[i] = mem_string(*texts[i]);
    if (message->payload)
        copy.payload = mem_copy(message->payload, message->payload_size);
    return copy;
}
