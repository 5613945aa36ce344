/* request.c: what was asked of the table and is not known to be done, or not to be. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/check.h"
#include "base/mem.h"
#include "lease/internal.h"

struct op {
    struct list link;
    struct coordinator *coordinator;
    struct lease_request request; /* its texts in `arena` */
    struct arena arena;
    struct lease_call *call; /* NULL: it is sent again when that is due */
    int64_t timeout_ms, again_ms;
    bool persists;
    int attempts;
    op_done_fn *done;
    void *subject;
};

static const int64_t again_ms[2] = {100, 2000};

int64_t now_of(const struct coordinator *coordinator)
{
    return coordinator->options.now_ms(coordinator->options.user);
}

int64_t share_of(const struct coordinator *coordinator, int64_t thousandths)
{
    return coordinator->options.lease_ms * thousandths / 1000;
}

static uint64_t random_of(struct coordinator *coordinator)
{
    return coordinator->options.random(coordinator->options.user);
}

int below(struct coordinator *coordinator, int limit)
{
    return (int)(random_of(coordinator) % (uint64_t)limit);
}

void nonce_make(struct coordinator *coordinator, char nonce[LEASE_NONCE_SIZE])
{
    snprintf(nonce, LEASE_NONCE_SIZE, "%016" PRIx64, random_of(coordinator));
}

/* Epochs grow over hand-overs, and over the lives of a table that was deleted or restored. */
int64_t epoch_after(const struct coordinator *coordinator, int64_t epoch)
{
    int64_t server_ms = now_of(coordinator) + coordinator->server_ahead_ms;
    return server_ms > epoch ? server_ms : epoch + 1;
}

static void op_free(struct op *op)
{
    list_remove(&op->link);
    arena_fini(&op->arena);
    free(op);
}

static void transmit(struct op *op);

static void on_answer(void *user, const struct lease_answer *answer)
{
    struct op *op = user;
    struct coordinator *coordinator = op->coordinator;
    int64_t now = now_of(coordinator);
    op->call = NULL;
    if (answer->server_ms)
        coordinator->server_ahead_ms = answer->server_ms - now;
    if (answer->outcome == LEASE_NO_TABLE) {
        bool before = coordinator->over;
        coordinator->over = true;
        op_free(op);
        if (!before)
            coordinator->options.events->no_table(coordinator->options.user);
        return;
    }
    if (op->persists && (answer->outcome == LEASE_UNKNOWN || answer->outcome == LEASE_NOT_DONE)) {
        uint64_t random = random_of(coordinator);
        op->again_ms = now + backoff_ms(again_ms, ++op->attempts, &random);
        return;
    }
    op_done_fn *done = op->done;
    void *subject = op->subject;
    list_remove(&op->link); /* the session may end in the callback, but what this was about outlives it */
    if (done)
        done(coordinator, subject, answer);
    op_free(op);
}

static void transmit(struct op *op)
{
    struct lease_table *table = op->coordinator->options.table;
    op->call = table->ops->send(table, &op->request, op->timeout_ms, on_answer, op);
}

struct op *op_send(struct coordinator *coordinator, const struct lease_request *request, int64_t timeout_ms,
                   bool persists, op_done_fn *done, void *subject)
{
    struct op *op = mem_zero(sizeof *op);
    op->coordinator = coordinator;
    op->timeout_ms = timeout_ms;
    op->persists = persists;
    op->done = done;
    op->subject = subject;
    op->request = lease_request_copy(&op->arena, request);
    list_append(&coordinator->ops, &op->link);
    transmit(op);
    return op;
}

void op_drop(struct op *op)
{
    struct lease_table *table = op->coordinator->options.table;
    if (op->call)
        table->ops->cancel(table, op->call);
    op_free(op);
}

void ops_drop_all(struct coordinator *coordinator)
{
    struct op *op;
    list_each(op, &coordinator->ops, struct op, link)
        op_drop(op);
}

void ops_turn(struct coordinator *coordinator, int64_t now, int64_t *next)
{
    struct op *op;
    list_each(op, &coordinator->ops, struct op, link) {
        if (op->call)
            continue;
        if (op->again_ms <= now)
            transmit(op);
        else
            sooner(next, op->again_ms);
    }
}
