/* json_batch.c: see json_batch.h. */
#include "deliver/json_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"

void json_batch_add(struct buf *out, const char *name, const char *text, size_t size)
{
    buf_printf(out, "\"%s\":", name);
    json_write_string(out, text, size);
}

void entry_failed(struct emission *emission, const char *service, const char *message, bool sender)
{
    struct err err;
    err_set(&err, ERR_SERVICE, "%s: %s", service, message ? message : "no message");
    snprintf(err.service, sizeof err.service, "%s", service);
    err.http_status = sender ? 400 : 500;
    emission_set_err(emission, &err);
}

void json_batch_read(struct request *request, struct transport_response *response, const char *list,
                     const char *error_code, const char *error_message)
{
    struct arena arena = ARENA_INIT;
    bool *named = mem_zero(request->count);
    const struct json *root = json_parse(&arena, response->body.data, response->body.size, NULL);
    size_t i = 0;
    json_each(result, json_get(root, list)) {
        if (i == request->count)
            break;
        const char *code = json_string(&arena, json_get(result, error_code));
        /* Whose fault it is, the code says: what is not known as passing stays. */
        if (code)
            entry_failed(request->entries[i], code, json_string(&arena, json_get(result, error_message)),
                         true);
        named[i++] = true;
    }
    request_unnamed(request, named);
    free(named);
    arena_fini(&arena);
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
