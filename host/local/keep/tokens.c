/* tokens.c: transactions that were done, by the token that their clients gave: for ten minutes. They are kept
 * where the items are, so that a transaction that was not written is not known either. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "local/keep/call.h"

#define TOKEN_MS (10 * 60 * 1000)

static bool read_token(const char *text, uint64_t *hash, int64_t *at_ms)
{
    return sscanf(text, "%" SCNx64 " %" SCNd64, hash, at_ms) == 2;
}

int token_known(struct call *call, const char *name, uint64_t hash)
{
    struct buf text = BUF_INIT;
    uint64_t known = 0;
    int64_t at_ms = 0;
    bool found = storage_text(call->engine->storage, "token", name, &text) &&
                 read_token(text.data, &known, &at_ms) && call->now_ms - at_ms < TOKEN_MS;
    buf_fini(&text);
    if (!found)
        return 0;
    if (known == hash)
        return 1;
    fault_set(call->fault, "IdempotentParameterMismatchException",
              "The request uses the same client token as a previous, but non-identical request.");
    return -1;
}

void token_keep(struct call *call, const char *name, uint64_t hash)
{
    char text[64];
    int size = snprintf(text, sizeof text, "%" PRIx64 " %" PRId64, hash, call->now_ms);
    storage_set(call->engine->storage, "token", name, text, (size_t)size);
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
    storage_each(call->engine->storage, "token", note_old, &old);
    for (size_t i = 0; i < old.count; i++)
        storage_unset(call->engine->storage, "token", old.names[i]);
    free(old.names);
}
