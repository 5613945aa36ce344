/* calls.c: see calls.h. */
#include "state/dynamodb/calls.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "aws/retry.h"
#include "base/backoff.h"
#include "base/check.h"
#include "base/hex.h"
#include "base/mem.h"

#define READS_AT_ONCE 16

static const int64_t again_ms[2] = {100, 10000};
#define TELL_EVERY_MS 10000

struct calls {
    struct calls_options options;
    char *table;
    bool failing;
    struct log_limit told;
    uint64_t random;
};

struct calls *calls_new(const struct calls_options *options)
{
    struct calls *calls = mem_zero(sizeof *calls);
    calls->options = *options;
    calls->table = mem_string(options->table);
    return calls;
}

void calls_free(struct calls *calls)
{
    if (!calls)
        return;
    free(calls->table);
    free(calls);
}

struct reactor *calls_reactor(const struct calls *calls)
{
    return calls->options.reactor;
}

int64_t calls_now_ms(const struct calls *calls)
{
    return aws_client_service_now_ms(calls->options.client);
}

int64_t calls_now_s(const struct calls *calls)
{
    return aws_client_service_now_ms(calls->options.client) / 1000;
}

enum lease_outcome calls_outcome(const struct err *err)
{
    static const char *const conditional[] = {"ConditionalCheckFailedException", NULL};
    static const char *const missing[] = {"ResourceNotFoundException", NULL};
    if (err->code != ERR_SERVICE)
        return err->code == ERR_RESOURCES ? LEASE_NOT_DONE : LEASE_UNKNOWN;
    if (retry_code_is_one_of(err->service, conditional))
        return LEASE_REFUSED;
    if (retry_code_is_one_of(err->service, missing))
        return LEASE_NO_TABLE;
    /* Refused before anything was written: throttled, not signed well, not allowed, not understood. */
    return retry_kind(err) == RETRY_THROTTLING || err->http_status < 500 ? LEASE_NOT_DONE : LEASE_UNKNOWN;
}

void calls_nonce(char nonce[LEASE_NONCE_SIZE])
{
    unsigned char bytes[(LEASE_NONCE_SIZE - 1) / 2];
    CHECK(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    *hex_write(nonce, bytes, sizeof bytes) = '\0';
}

void calls_complain(struct calls *calls, const struct err *err)
{
    calls->failing = true;
    if (log_limit_passes(&calls->told, reactor_now_ms(calls->options.reactor), TELL_EVERY_MS))
        log_error(calls->options.log, "state", "table %s: %s; nothing is lost, trying again", calls->table,
                  err->text);
}

static void tell_success(struct calls *calls)
{
    if (calls->failing)
        log_info(calls->options.log, "state", "table %s can be written again", calls->table);
    calls->failing = false;
}

/* ---- bodies ---- */

cJSON *call_key(const char *partition, const char *sort)
{
    cJSON *body = cJSON_CreateObject();
    item_add_key(cJSON_AddObjectToObject(body, "Key"), partition, sort);
    return body;
}

cJSON *call_item(const char *partition, const char *sort)
{
    cJSON *body = cJSON_CreateObject();
    item_add_key(cJSON_AddObjectToObject(body, "Item"), partition, sort);
    return body;
}

void call_demand(cJSON *body, const char *condition)
{
    document_add_text(body, "ConditionExpression", condition);
    document_add_text(body, "ReturnValuesOnConditionCheckFailure", "ALL_OLD");
}

cJSON *call_values(cJSON *body)
{
    cJSON *values = document_get(body, "ExpressionAttributeValues");
    return values ? values : cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
}

/* "#NAME", whatever words the service keeps for itself. */
static void add_name(cJSON *body, struct buf *expression, const char *separator, const char *name)
{
    cJSON *names = document_get(body, "ExpressionAttributeNames");
    size_t at = expression->size + strlen(separator);
    if (!names)
        names = cJSON_AddObjectToObject(body, "ExpressionAttributeNames");
    buf_printf(expression, "%s#%s", separator, name);
    document_add_text(names, expression->data + at, name);
}

void call_set(cJSON *body, const char *const *names)
{
    struct buf expression = BUF_INIT;
    for (size_t i = 0; names[i]; i++) {
        add_name(body, &expression, i ? ", " : "SET ", names[i]);
        buf_printf(&expression, " = :%s", names[i]);
    }
    document_add_text(body, "UpdateExpression", expression.data);
    buf_fini(&expression);
}

static void add_fields(cJSON *body, const char *const *names)
{
    struct buf expression = BUF_INIT;
    for (size_t i = 0; names[i]; i++)
        add_name(body, &expression, i ? ", " : "", names[i]);
    document_add_text(body, "ProjectionExpression", expression.data);
    buf_fini(&expression);
}

/* ---- one row ---- */

struct call {
    struct calls *calls;
    const char *operation;
    struct buf body;
    struct aws_call *call;
    struct timer again;
    int64_t failures; /* in a row */
    call_done_fn *done;
    void *user;
};

static void call_free(struct call *call)
{
    timer_stop(call->calls->options.reactor, &call->again);
    buf_fini(&call->body);
    free(call);
}

static void decide(struct call *call, const cJSON *answer, bool refused)
{
    call_done_fn *done = call->done;
    void *user = call->user;
    tell_success(call->calls);
    call_free(call);
    done(user, answer, refused);
}

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct call *call = user;
    struct err not_json = {0};
    bool refused = err && calls_outcome(err) == LEASE_REFUSED;
    cJSON *answer = response ? document_read(response->body.data, response->body.size, &not_json) : NULL;
    call->call = NULL;
    if ((!err && answer) || refused) {
        decide(call, answer, refused);
    } else {
        calls_complain(call->calls, err ? err : &not_json);
        timer_set(call->calls->options.reactor, &call->again,
                  backoff_ms(again_ms, ++call->failures, &call->calls->random));
    }
    cJSON_Delete(answer);
}

static void transmit(void *user)
{
    struct call *call = user;
    struct aws_request request = {
        .service = AWS_DYNAMODB, .operation = call->operation, .attempts = 1, .own = true};
    CHECK(!call->call);
    buf_add(&request.body, call->body.data, call->body.size);
    call->call = aws_send(call->calls->options.client, &request, on_answer, call);
}

struct call *call_send(struct calls *calls, const char *operation, cJSON *body, call_done_fn *done,
                       void *user)
{
    struct call *call = mem_zero(sizeof *call);
    *call = (struct call){.calls = calls, .operation = operation, .done = done, .user = user};
    document_add_text(body, "TableName", calls->table);
    document_write(body, &call->body);
    timer_init(&call->again, transmit, call);
    transmit(call);
    return call;
}

void call_cancel(struct call *call)
{
    if (!call)
        return;
    aws_cancel(call->call);
    call_free(call);
}

/* ---- many rows ---- */

struct reading {
    struct calls *calls;
    struct asked {
        struct reading *reading;
        const char *operation;
        cJSON *body;
        int64_t left; /* rows; 0: all */
        struct aws_call *call;
        cJSON **pages;
        size_t page_count, page_capacity;
    } * asked;
    size_t count, next, open; /* which one begins next, and how many are on their way */
    read_done_fn *done;
    void *user;
};

void rows_free(struct rows *rows)
{
    if (!rows)
        return;
    for (size_t i = 0; i < rows->page_count; i++)
        cJSON_Delete(rows->pages[i]);
    free(rows->pages);
    free(rows->rows);
    free(rows);
}

static void reading_free(struct reading *reading)
{
    for (size_t i = 0; i < reading->count; i++) {
        struct asked *asked = &reading->asked[i];
        aws_cancel(asked->call);
        cJSON_Delete(asked->body);
        for (size_t k = 0; k < asked->page_count; k++)
            cJSON_Delete(asked->pages[k]);
        free(asked->pages);
    }
    free(reading->asked);
    free(reading);
}

static void add_row(struct rows *rows, size_t ask, const cJSON *item)
{
    mem_grow(&rows->rows, &rows->row_capacity, rows->count, sizeof *rows->rows);
    rows->rows[rows->count++] = (struct row){ask, item};
}

/* What was read, ask by ask. */
static struct rows *collect(struct reading *reading)
{
    struct rows *rows = mem_zero(sizeof *rows);
    for (size_t i = 0; i < reading->count; i++) {
        struct asked *asked = &reading->asked[i];
        for (size_t k = 0; k < asked->page_count; k++) {
            cJSON *page = asked->pages[k], *one = document_get(page, "Item"), *item;
            mem_grow(&rows->pages, &rows->page_capacity, rows->page_count, sizeof *rows->pages);
            rows->pages[rows->page_count++] = page;
            if (one)
                add_row(rows, i, one);
            cJSON_ArrayForEach(item, document_get(page, "Items")) add_row(rows, i, item);
        }
        asked->page_count = 0;
    }
    return rows;
}

static void finish(struct reading *reading, const struct err *err)
{
    struct rows *rows = err ? NULL : collect(reading);
    read_done_fn *done = reading->done;
    void *user = reading->user;
    reading_free(reading);
    done(user, rows, err);
}

static void on_page(void *user, struct transport_response *response, const struct err *err);

static void read_page(struct asked *asked)
{
    struct aws_request request = {.service = AWS_DYNAMODB, .operation = asked->operation, .own = true};
    document_write(cJSON_Duplicate(asked->body, true), &request.body);
    asked->call = aws_send(asked->reading->calls->options.client, &request, on_page, asked);
}

static void read_more(struct reading *reading)
{
    for (; reading->next < reading->count && reading->open < READS_AT_ONCE; reading->open++)
        read_page(&reading->asked[reading->next++]);
}

/* Is there more of it that is wanted? Then the body asks for what follows. */
static bool goes_on(struct asked *asked, const cJSON *page)
{
    const cJSON *last = document_get(page, "LastEvaluatedKey");
    int64_t count = cJSON_GetArraySize(document_get(page, "Items"));
    if (!last || (asked->left && count >= asked->left))
        return false;
    cJSON_DeleteItemFromObject(asked->body, "ExclusiveStartKey");
    cJSON_AddItemToObject(asked->body, "ExclusiveStartKey", cJSON_Duplicate(last, true));
    if (asked->left) {
        asked->left -= count;
        cJSON_DeleteItemFromObject(asked->body, "Limit");
        document_add_integer(asked->body, "Limit", asked->left);
    }
    return true;
}

static void on_page(void *user, struct transport_response *response, const struct err *err)
{
    struct asked *asked = user;
    struct reading *reading = asked->reading;
    struct err failure = {0};
    asked->call = NULL;
    cJSON *page = err ? NULL : document_read(response->body.data, response->body.size, &failure);
    if (!page) {
        failure = err ? *err : failure;
        err_prefix(&failure, "state: table %s", reading->calls->table);
        finish(reading, &failure);
        return;
    }
    mem_grow(&asked->pages, &asked->page_capacity, asked->page_count, sizeof *asked->pages);
    asked->pages[asked->page_count++] = page;
    if (goes_on(asked, page)) {
        read_page(asked);
        return;
    }
    reading->open--;
    read_more(reading);
    if (!reading->open)
        finish(reading, NULL);
}

static cJSON *make_query(const struct ask *ask)
{
    cJSON *body = cJSON_CreateObject(), *values = call_values(body);
    document_add_text(body, "KeyConditionExpression",
                      ask->after    ? "pk = :pk AND sk > :sk"
                      : ask->prefix ? "pk = :pk AND begins_with(sk, :sk)"
                                    : "pk = :pk");
    item_add_text(values, ":pk", ask->partition);
    item_add_text(values, ":sk", ask->after ? ask->after : ask->prefix);
    if (ask->limit)
        document_add_integer(body, "Limit", ask->limit);
    return body;
}

struct reading *calls_read(struct calls *calls, const struct ask *asks, size_t count, read_done_fn *done,
                           void *user)
{
    struct reading *reading = mem_zero(sizeof *reading);
    CHECK(count);
    *reading = (struct reading){.calls = calls, .count = count, .done = done, .user = user};
    reading->asked = mem_zero(count * sizeof *reading->asked);
    for (size_t i = 0; i < count; i++) {
        const struct ask *ask = &asks[i];
        struct asked *asked = &reading->asked[i];
        CHECK(!ask->after || !ask->prefix);
        asked->reading = reading;
        asked->operation = ask->sort ? "GetItem" : "Query";
        asked->body = ask->sort ? call_key(ask->partition, ask->sort) : make_query(ask);
        asked->left = ask->limit;
        document_add_text(asked->body, "TableName", calls->table);
        cJSON_AddTrueToObject(asked->body, "ConsistentRead");
        if (ask->fields)
            add_fields(asked->body, ask->fields);
        free(ask->partition);
        free(ask->sort);
        free(ask->after);
        free(ask->prefix);
    }
    read_more(reading);
    return reading;
}

void reading_cancel(struct reading *reading)
{
    if (reading)
        reading_free(reading);
}
