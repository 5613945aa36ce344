/* calls.h: a store's calls to its table: writes, which are repeated until they are decided, and reads of
 * many rows. */
#ifndef TIDEMILL_STATE_DYNAMODB_CALLS_H
#define TIDEMILL_STATE_DYNAMODB_CALLS_H

#include "aws/client.h"
#include "lease/table.h"
#include "state/dynamodb/item.h"

struct calls;

struct calls_options {
    struct aws_client *client;
    struct reactor *reactor; /* of the client */
    struct log *log;
    const char *table; /* its name; copied */
};

struct calls *calls_new(const struct calls_options *options);
void calls_free(struct calls *calls); /* none may be under way */

struct reactor *calls_reactor(const struct calls *calls);

/* Seconds since 1970 on the service's clock, for `expires`. */
int64_t calls_now_s(const struct calls *calls);

/* What an error says of a write: whether it can have been done. */
enum lease_outcome calls_outcome(const struct err *err);

/* Tell the log, once in a while, that something does not go well; it is tried again. */
void calls_complain(struct calls *calls, const struct err *err);

/* The same in ms. */
int64_t calls_now_ms(const struct calls *calls);

/* 16 random hexadecimal digits. */
void calls_nonce(char nonce[LEASE_NONCE_SIZE]);

/* ---- one row ---- */

/* The answer is valid during the call. `refused`: the condition did not hold, and the answer's "Item" is the
 * row as it stands, where the service shows it. */
typedef void call_done_fn(void *user, const cJSON *answer, bool refused);

/* Sends the same bytes until they are decided: while the table cannot be reached, throttles, or is not there,
 * the log says so and it goes on. So the write must come to the same when it is done twice. The body is
 * taken; the table's name comes into it. `done` never comes from inside. */
struct call;
struct call *call_send(struct calls *calls, const char *operation, cJSON *body, call_done_fn *done,
                       void *user);
void call_cancel(struct call *call); /* NULL is allowed */

/* Bodies to fill: with "Key"; with an "Item" of that key; and what a write demands of the row. */
cJSON *call_key(const char *partition, const char *sort);
cJSON *call_item(const char *partition, const char *sort);
void call_demand(cJSON *body, const char *condition);
cJSON *call_values(cJSON *body); /* ExpressionAttributeValues, made where they are missing */
void call_set(cJSON *body, const char *const *names); /* SET each to the value ":NAME"; ends with NULL */

/* ---- many rows ---- */

/* One row, or all of a partition whose sort keys are behind `after` or begin with `prefix`; not old ones. */
struct ask {
    char *partition; /* taken, as the next two are */
    char *sort;      /* this row alone; NULL: a partition */
    char *after, *prefix;
    int64_t limit;             /* 0: all */
    const char *const *fields; /* only these; ends with NULL; NULL: all */
};

struct rows {
    struct row {
        size_t ask; /* which of them it belongs to; in that order */
        const cJSON *item;
    } * rows;
    size_t count;
    cJSON **pages; /* what the items stand in */
    size_t page_count, row_capacity, page_capacity;
};

void rows_free(struct rows *rows);

/* The rows are the receiver's; NULL and `err` when they cannot be read. */
typedef void read_done_fn(void *user, struct rows *rows, const struct err *err);

/* All of them, several at once; `done` never comes from inside. */
struct reading;
struct reading *calls_read(struct calls *calls, const struct ask *asks, size_t count, read_done_fn *done,
                           void *user);
void reading_cancel(struct reading *reading); /* NULL is allowed */

#endif
