/* tokens.c: transactions that were done, by the token that their clients gave: for ten minutes. They are kept
 * where the items are, so that a transaction that was not written is not known either. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "local/keep/call.h"

#define TOKEN_MS (10 * 60 * 1000)
#define LOOK_EVERY_MS (60 * 1000) /* through all of them, of which there may be very many */

/* What stands for it where a name ends with a zero byte. */
static char *name_of(struct call *call, struct text token)
{
    char *name = arena_alloc(call->arena, 2 * token.size + 1), *at = name;
    for (size_t i = 0; i < token.size; i++) {
        if (!token.data[i] || token.data[i] == '\\')
            *at++ = '\\';
        *at++ = token.data[i] ? token.data[i] : '0';
    }
    *at = '\0';
    return name;
}

static bool read_token(const char *text, uint64_t *hash, int64_t *at_ms)
{
    return sscanf(text, "%" SCNx64 " %" SCNd64, hash, at_ms) == 2;
}

/* Members of an object may come in any order: it is the same request. */
static uint64_t hash_value(const struct json *value)
{
    uint64_t hash = hash_mix(value->type + 1);
    if (value->type == JSON_OBJECT) {
        json_each(member, value)
            hash += hash_mix(hash_bytes(member->key, member->key_size, 5) ^ hash_mix(hash_value(member)));
    } else if (value->type == JSON_ARRAY) {
        json_each(element, value)
            hash = hash_mix(hash ^ hash_value(element));
    } else {
        hash = hash_bytes(value->text, value->size, hash);
    }
    return hash;
}

int token_known(struct call *call, struct text token, const struct json *request)
{
    struct buf text = BUF_INIT;
    uint64_t known = 0;
    int64_t at_ms = 0;
    bool found = storage_text(call->engine->storage, "token", name_of(call, token), &text) &&
                 read_token(text.data, &known, &at_ms) && call->now_ms - at_ms < TOKEN_MS;
    buf_fini(&text);
    if (!found)
        return 0;
    if (known == hash_value(request))
        return 1;
    fault_set(call->fault, "IdempotentParameterMismatchException",
              "The request uses the same client token as a previous, but non-identical request.");
    return -1;
}

void token_keep(struct call *call, struct text token, const struct json *request)
{
    char text[64];
    int size = snprintf(text, sizeof text, "%" PRIx64 " %" PRId64, hash_value(request), call->now_ms);
    storage_set(call->engine->storage, "token", name_of(call, token), text, (size_t)size);
}

/* ---- forgetting ---- */

struct old {
    struct call *call;
    const char **names;
    size_t count, capacity;
};

static void note_old(void *user, const char *name, const char *text, size_t size)
{
    struct old *old = user;
    uint64_t hash;
    int64_t at_ms;
    (void)size;
    if (read_token(text, &hash, &at_ms) && old->call->now_ms - at_ms < TOKEN_MS)
        return;
    mem_grow(&old->names, &old->capacity, old->count, sizeof *old->names);
    old->names[old->count++] = arena_copy(old->call->arena, name, strlen(name));
}

void tokens_expire(struct call *call)
{
    struct old old = {.call = call};
    if (call->now_ms < call->engine->tokens_due_ms)
        return;
    call->engine->tokens_due_ms = call->now_ms + LOOK_EVERY_MS;
    storage_each(call->engine->storage, "token", note_old, &old);
    for (size_t i = 0; i < old.count; i++)
        storage_unset(call->engine->storage, "token", old.names[i]);
    free(old.names);
}
