/* json_batch.c: see json_batch.h. */
#include "deliver/targets/json_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/base64.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

/* Name, type and the digits of 2^63: services count an attribute as part of its message. */
#define EPOCH_BYTES_MAX (sizeof EPOCH_ATTRIBUTE + sizeof "Number" + 19)

/* U+FFFE and U+FFFF: EF BF BE, EF BF BF. */
static const char *find_noncharacter(const char *text, const char *end)
{
    while ((text = memchr(text, '\xef', (size_t)(end - text)))) {
        if (end - text >= 3 && (unsigned char)text[1] == 0xbf && (unsigned char)text[2] >= 0xbe)
            return text;
        text++;
    }
    return NULL;
}

void text_write(struct buf *out, const struct message *message)
{
    const char *text = message->payload, *end = text + message->payload_size;
    for (const char *found; (found = find_noncharacter(text, end)); text = found + 3) {
        buf_add(out, text, (size_t)(found - text));
        buf_add_text(out, (unsigned char)found[2] == 0xbe ? "\\ufffe" : "\\uffff");
    }
    buf_add(out, text, (size_t)(end - text));
}

static bool has_control(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 && text[i] != '\t' && text[i] != '\n' && text[i] != '\r')
            return true;
    return false;
}

static bool is_json(const struct message *message)
{
    struct arena arena = ARENA_INIT;
    bool is = message->routed || json_parse(&arena, message->payload, message->payload_size, NULL);
    arena_fini(&arena);
    return is;
}

size_t text_measure(const struct message *message, const char *service, struct err *err)
{
    const char *text = message->payload, *end = text + message->payload_size;
    size_t size = message->payload_size;
    bool odd = find_noncharacter(text, end), control = has_control(text, message->payload_size);
    if (!message->payload_size)
        err_set(err, ERR_CONFIG, "%s takes no empty message", service);
    else if (!utf8_valid(text, size))
        err_set(err, ERR_CONFIG, "%s takes only UTF-8 text; this is none from byte %zu on", service,
                utf8_valid_size(text, size) + 1);
    else if (control || (odd && !is_json(message)))
        err_set(
            err, ERR_CONFIG,
            "%s takes no text with control characters, U+FFFE or U+FFFF; emit a table, or json.encode(text)",
            service);
    for (; odd && (text = find_noncharacter(text, end)); text += 3)
        size += 3;
    return size + (message->epoch ? EPOCH_BYTES_MAX : 0);
}

void json_batch_add_data(struct buf *out, const char *bytes, size_t size)
{
    buf_add_literal(out, "{\"Data\":\"");
    base64_write(out, bytes, size);
    buf_add_char(out, '"');
}

void entry_failed(struct emission *emission, const char *service, const char *message, bool sender)
{
    struct err err;
    err_set(&err, ERR_SERVICE, "%s: %s", service, message ? message : "no message");
    snprintf(err.service, sizeof err.service, "%s", service);
    err.passes = sender ? PASSES_AS_CODED : PASSES_LATER;
    emission_set_err(emission, &err);
}

void json_batch_read(struct request *request, struct transport_response *response, const char *list,
                     const char *error_code, const char *error_message)
{
    bool *named = mem_zero(request->count);
    cJSON *root = document_read(response->body.data, response->body.size, NULL);
    const cJSON *result;
    size_t i = 0;
    cJSON_ArrayForEach(result, document_get(root, list))
    {
        if (i == request->count)
            break;
        const char *code = document_text(result, error_code);
        /* Whose fault it is, the code says: what is not known as passing stays. */
        if (code)
            entry_failed(request->entries[i], code, document_text(result, error_message), true);
        named[i++] = true;
    }
    request_unnamed(request, named);
    free(named);
    cJSON_Delete(root);
}

bool name_is_fifo(const char *name)
{
    size_t size = strlen(name);
    return size > 5 && strcmp(name + size - 5, ".fifo") == 0;
}

struct emission *entry_named(struct request *request, const char *id, bool *named)
{
    size_t place = id ? strtoul(id, NULL, 10) : SIZE_MAX;
    if (place >= request->count)
        return NULL;
    named[place] = true;
    return request->entries[place];
}

size_t json_event_measure(const struct message *message, const char *takes, struct err *err)
{
    struct arena arena = ARENA_INIT;
    if (!json_parse(&arena, message->payload, message->payload_size, NULL) ||
        (!message->routed && !utf8_valid(message->payload, message->payload_size)))
        err_set(err, ERR_CONFIG, "%s only JSON, in UTF-8, as an event", takes);
    arena_fini(&arena);
    return message->payload_size;
}
