/* lease_rows.c: see lease_rows.h. */
#include "state/dynamodb/lease_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "state/dynamodb/calls.h"

#define DEAD_KEPT_S (7 * 24 * 3600)
#define MAIL_KEPT_S (24 * 3600)

struct lease_rows {
    struct lease_table table;
    struct aws_client *client;
    char *name, *group; /* the group as it stands in keys */
};

/* A request on its way: one call, or several for a list of several pages. */
struct pending {
    struct lease_rows *rows;
    struct lease_request request;
    struct arena arena;
    struct aws_call *call;
    int64_t timeout_ms;
    bool looking; /* after a refusal that did not show the row */
    cJSON **pages;
    size_t page_count, page_capacity;
    lease_answer_fn *done;
    void *user;
};

/* ---- keys ---- */

char *lease_rows_partition(const char *group, const char *stream, int bucket)
{
    uint64_t hash = lease_hash((const char *const[]){stream, NULL});
    return mem_printf("g/%s/s/%016" PRIx64 "/%02x", group, hash, (unsigned)bucket);
}

/* The partition key of what the request is about; to be freed. */
static char *partition_of(const struct lease_rows *rows, const struct lease_request *request)
{
    switch (request->kind) {
    case LEASE_READ_GROUP:
    case LEASE_CREATE_GROUP:
    case LEASE_OPEN_GROUP:
        return mem_printf("g/%s", rows->group);
    case LEASE_LIST_HOSTS:
    case LEASE_CREATE_HOST:
    case LEASE_BEAT:
    case LEASE_MARK:
    case LEASE_BURY:
    case LEASE_FORGET_HOST:
    case LEASE_TELL:
        return mem_printf("g/%s/h", rows->group);
    case LEASE_CREATE_ROW:
    case LEASE_WRITE_ROW:
    case LEASE_READ_ROW:
    case LEASE_DELETE_ROW:
        return lease_rows_partition(rows->group, request->row.stream, lease_bucket(request->row.shard));
    case LEASE_LIST_BUCKET:
        return lease_rows_partition(rows->group, request->row.stream, request->bucket);
    case LEASE_PUT_MAIL:
    case LEASE_LIST_MAIL:
    case LEASE_DELETE_MAIL:
        return mem_printf("g/%s/m/%s", rows->group, request->host.session);
    }
    return NULL;
}

static const char *sort_of(const struct lease_request *request)
{
    switch (request->kind) {
    case LEASE_READ_GROUP:
    case LEASE_CREATE_GROUP:
    case LEASE_OPEN_GROUP:
        return "g";
    case LEASE_CREATE_ROW:
    case LEASE_WRITE_ROW:
    case LEASE_READ_ROW:
    case LEASE_DELETE_ROW:
        return request->row.shard;
    case LEASE_PUT_MAIL:
    case LEASE_DELETE_MAIL:
        return request->mail.id;
    default:
        return request->host.session;
    }
}

static void add_key(const struct lease_rows *rows, cJSON *item, const struct lease_request *request)
{
    char *partition = partition_of(rows, request);
    item_add_key(item, partition, sort_of(request));
    free(partition);
}

/* ---- requests ---- */

static int64_t server_ms(const struct lease_rows *rows)
{
    return aws_client_service_now_ms(rows->client);
}

/* A body with the table's name, and ":values" to fill. */
static cJSON *begin(const struct lease_rows *rows)
{
    cJSON *body = cJSON_CreateObject();
    document_add_text(body, "TableName", rows->name);
    return body;
}

static cJSON *begin_key(const struct pending *pending)
{
    cJSON *body = begin(pending->rows);
    add_key(pending->rows, cJSON_AddObjectToObject(body, "Key"), &pending->request);
    return body;
}

static cJSON *begin_put(const struct pending *pending)
{
    cJSON *body = begin(pending->rows);
    add_key(pending->rows, cJSON_AddObjectToObject(body, "Item"), &pending->request);
    return body;
}

/* What it demands of the row; a refusal shows the row as it stands. */
static void demand(cJSON *body, const char *condition)
{
    document_add_text(body, "ConditionExpression", condition);
    document_add_text(body, "ReturnValuesOnConditionCheckFailure", "ALL_OLD");
}

static cJSON *make_read(const struct pending *pending)
{
    cJSON *body = begin_key(pending);
    cJSON_AddTrueToObject(body, "ConsistentRead");
    return body;
}

static cJSON *make_list(const struct pending *pending)
{
    cJSON *body = begin(pending->rows), *last = NULL;
    char *partition = partition_of(pending->rows, &pending->request);
    document_add_text(body, "KeyConditionExpression", "pk = :pk");
    item_add_text(cJSON_AddObjectToObject(body, "ExpressionAttributeValues"), ":pk", partition);
    cJSON_AddBoolToObject(body, "ConsistentRead", pending->request.kind == LEASE_LIST_MAIL);
    if (pending->page_count)
        last = document_get(pending->pages[pending->page_count - 1], "LastEvaluatedKey");
    if (last)
        cJSON_AddItemToObject(body, "ExclusiveStartKey", cJSON_Duplicate(last, true));
    free(partition);
    return body;
}

static cJSON *make_create_group(const struct pending *pending)
{
    cJSON *body = begin_put(pending), *item = document_get(body, "Item");
    item_add_text(item, "gid", pending->request.gid);
    item_add_bool(item, "opened", false);
    item_add_number(item, "proto", 1);
    demand(body, "attribute_not_exists(pk)");
    return body;
}

static cJSON *make_open_group(const struct pending *pending)
{
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    document_add_text(body, "UpdateExpression", "SET opened = :true");
    item_add_bool(values, ":true", true);
    item_add_bool(values, ":false", false);
    item_add_text(values, ":gid", pending->request.gid);
    document_add_text(body, "ReturnValues", "ALL_NEW");
    demand(body, "gid = :gid AND opened = :false AND attribute_not_exists(copying)");
    return body;
}

static const char *const states[] = {"run", "leaving", "sick"};
static const char *const deaths[] = {"", "marked", "left"};

static cJSON *make_create_host(const struct pending *pending)
{
    const struct lease_host *host = &pending->request.host;
    cJSON *body = begin_put(pending), *item = document_get(body, "Item");
    item_add_text(item, "b", host->beat);
    item_add_number(item, "l", host->lease_ms);
    item_add_double(item, "ld", host->load);
    item_add_number(item, "n", host->shards);
    item_add_number(item, "cap", host->reactors);
    item_add_number(item, "mail", 0);
    item_add_text(item, "s", states[host->state]);
    item_add_text(item, "inst", host->instance);
    item_add_text(item, "vers", host->version);
    item_add_text(item, "hash", host->fingerprint);
    item_add_number(item, "hashed", host->fingerprint_ms);
    item_add_text(item, "reads", host->follows);
    item_add_number(item, "since", host->since_ms);
    item_add_number(item, "t", server_ms(pending->rows));
    demand(body, "attribute_not_exists(pk)");
    return body;
}

static cJSON *make_beat(const struct pending *pending)
{
    const struct lease_host *host = &pending->request.host;
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    document_add_text(
        body, "UpdateExpression",
        "SET b = :b, ld = :ld, n = :n, s = :s, t = :t, #hash = :hash, hashed = :hashed, #reads = :reads");
    cJSON *names = cJSON_AddObjectToObject(body, "ExpressionAttributeNames"); /* of reserved words */
    document_add_text(names, "#hash", "hash");
    document_add_text(names, "#reads", "reads");
    item_add_text(values, ":b", host->beat);
    item_add_double(values, ":ld", host->load);
    item_add_number(values, ":n", host->shards);
    item_add_text(values, ":s", states[host->state]);
    item_add_number(values, ":t", server_ms(pending->rows));
    item_add_text(values, ":hash", host->fingerprint);
    item_add_number(values, ":hashed", host->fingerprint_ms);
    item_add_text(values, ":reads", host->follows);
    item_add_text(values, ":last", pending->request.last);
    demand(body, "b = :last AND attribute_not_exists(dead)");
    return body;
}

static cJSON *make_mark(const struct pending *pending)
{
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    document_add_text(body, "UpdateExpression", "SET dead = :dead, marker = :by, expires = :expires");
    item_add_text(values, ":dead", deaths[pending->request.death]);
    item_add_text(values, ":by", pending->request.by);
    item_add_number(values, ":expires", server_ms(pending->rows) / 1000 + DEAD_KEPT_S);
    item_add_text(values, ":last", pending->request.last);
    demand(body, "b = :last AND attribute_not_exists(dead)");
    return body;
}

static cJSON *make_bury(const struct pending *pending)
{
    cJSON *body = begin_put(pending), *item = document_get(body, "Item");
    item_add_text(item, "dead", deaths[LEASE_MARKED]);
    item_add_text(item, "marker", pending->request.by);
    item_add_number(item, "l", pending->request.host.lease_ms);
    item_add_number(item, "expires", server_ms(pending->rows) / 1000 + DEAD_KEPT_S);
    demand(body, "attribute_not_exists(pk)");
    return body;
}

static cJSON *make_forget_host(const struct pending *pending)
{
    cJSON *body = begin_key(pending);
    demand(body, "attribute_exists(dead)");
    return body;
}

static cJSON *make_tell(const struct pending *pending)
{
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    document_add_text(body, "UpdateExpression", "ADD mail :one, ld :ld");
    item_add_number(values, ":one", 1);
    item_add_double(values, ":ld", pending->request.row.load);
    demand(body, "attribute_exists(pk) AND attribute_not_exists(dead)");
    return body;
}

void lease_rows_add_part(cJSON *map, const char *name, const char *text, bool end)
{
    cJSON *value = cJSON_AddObjectToObject(cJSON_AddObjectToObject(map, name), "M");
    item_add_text(value, "t", text);
    item_add_bool(value, "e", end);
}

static cJSON *make_create_row(const struct pending *pending)
{
    const struct lease_row *row = &pending->request.row;
    cJSON *body = begin_put(pending), *item = document_get(body, "Item");
    item_add_text(item, "st", row->stream);
    item_add_text(item, "pa", row->parents[0]);
    item_add_text(item, "pb", row->parents[1]);
    item_add_text(item, "own", row->owner);
    item_add_number(item, "ep", row->epoch);
    item_add_number(item, "v", 1);
    item_add_text(item, "w", row->nonce);
    item_add_double(item, "ld", row->load);
    cJSON_AddObjectToObject(cJSON_AddObjectToObject(item, "h"), "M");
    demand(body, "attribute_not_exists(pk)");
    return body;
}

/* Only the handlers that are given: those that this host does not know keep what they have. */
static cJSON *make_write_row(const struct pending *pending)
{
    const struct lease_request *request = &pending->request;
    const struct lease_row *row = &request->row;
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    cJSON *names = row->part_count ? cJSON_AddObjectToObject(body, "ExpressionAttributeNames") : NULL;
    struct buf update = BUF_INIT, removal = BUF_INIT;
    buf_add_text(&update, "SET own = :own, ep = :ep, v = v + :one, w = :w, ld = :ld");
    for (size_t i = 0; i < row->part_count; i++) {
        char name[32], value[32];
        snprintf(name, sizeof name, "#h%zu", i);
        snprintf(value, sizeof value, ":h%zu", i);
        document_add_text(names, name, row->parts[i].handler);
        if (!row->parts[i].text) {
            buf_printf(&removal, "%s h.%s", removal.size ? "," : " REMOVE", name);
            continue;
        }
        buf_printf(&update, ", h.%s = %s", name, value);
        lease_rows_add_part(values, value, row->parts[i].text, row->parts[i].end);
    }
    buf_add(&update, removal.data, removal.size);
    document_add_text(body, "UpdateExpression", update.data);
    buf_fini(&removal);
    buf_fini(&update);
    item_add_text(values, ":own", row->owner);
    item_add_number(values, ":ep", row->epoch);
    item_add_number(values, ":one", 1);
    item_add_text(values, ":w", row->nonce);
    item_add_double(values, ":ld", row->load);
    item_add_text(values, ":sown", request->seen.owner);
    item_add_number(values, ":sep", request->seen.epoch);
    if (request->seen.version)
        item_add_number(values, ":sv", request->seen.version);
    document_add_text(body, "ReturnValues", "ALL_NEW");
    demand(body,
           request->seen.version ? "own = :sown AND ep = :sep AND v = :sv" : "own = :sown AND ep = :sep");
    return body;
}

static cJSON *make_delete_row(const struct pending *pending)
{
    const struct lease_request *request = &pending->request;
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    item_add_text(values, ":sown", request->seen.owner);
    item_add_number(values, ":sep", request->seen.epoch);
    item_add_number(values, ":sv", request->seen.version);
    demand(body, "own = :sown AND ep = :sep AND v = :sv");
    return body;
}

static cJSON *make_put_mail(const struct pending *pending)
{
    const struct lease_mail *mail = &pending->request.mail;
    cJSON *body = begin_put(pending), *item = document_get(body, "Item");
    item_add_text(item, "st", mail->stream);
    item_add_text(item, "sh", mail->shard);
    item_add_number(item, "ep", mail->epoch);
    item_add_number(item, "expires", server_ms(pending->rows) / 1000 + MAIL_KEPT_S);
    return body;
}

static const struct {
    const char *operation;
    cJSON *(*make)(const struct pending *pending);
} calls[] = {
    [LEASE_READ_GROUP] = {"GetItem", make_read},
    [LEASE_CREATE_GROUP] = {"PutItem", make_create_group},
    [LEASE_OPEN_GROUP] = {"UpdateItem", make_open_group},
    [LEASE_LIST_HOSTS] = {"Query", make_list},
    [LEASE_CREATE_HOST] = {"PutItem", make_create_host},
    [LEASE_BEAT] = {"UpdateItem", make_beat},
    [LEASE_MARK] = {"UpdateItem", make_mark},
    [LEASE_BURY] = {"PutItem", make_bury},
    [LEASE_FORGET_HOST] = {"DeleteItem", make_forget_host},
    [LEASE_TELL] = {"UpdateItem", make_tell},
    [LEASE_CREATE_ROW] = {"PutItem", make_create_row},
    [LEASE_WRITE_ROW] = {"UpdateItem", make_write_row},
    [LEASE_READ_ROW] = {"GetItem", make_read},
    [LEASE_LIST_BUCKET] = {"Query", make_list},
    [LEASE_DELETE_ROW] = {"DeleteItem", make_delete_row},
    [LEASE_PUT_MAIL] = {"PutItem", make_put_mail},
    [LEASE_LIST_MAIL] = {"Query", make_list},
    [LEASE_DELETE_MAIL] = {"DeleteItem", begin_key},
};
static_assert(COUNT_OF(calls) == LEASE_DELETE_MAIL + 1, "a call for each kind");

/* ---- answers ---- */

struct lease_host lease_rows_host(const cJSON *item)
{
    const char *state = item_text(item, "s"), *death = item_text(item, "dead");
    struct lease_host host = {
        .session = item_text(item, "sk"),
        .beat = item_text(item, "b"),
        .lease_ms = item_number(item, "l"),
        .load = item_double(item, "ld"),
        .shards = item_number(item, "n"),
        .reactors = item_number(item, "cap"),
        .mail = item_number(item, "mail"),
        .instance = item_text(item, "inst"),
        .version = item_text(item, "vers"),
        .fingerprint = item_text(item, "hash"),
        .fingerprint_ms = item_number(item, "hashed"),
        .follows = item_text(item, "reads"),
        .since_ms = item_number(item, "since"),
        .beat_ms = item_number(item, "t"),
        /* A word that a later version writes: the row says that it is dead, whatever else. */
        .death = !*death                                  ? LEASE_ALIVE
                 : strcmp(death, deaths[LEASE_LEFT]) == 0 ? LEASE_LEFT
                                                          : LEASE_MARKED,
    };
    for (size_t i = 0; i < COUNT_OF(states); i++)
        if (strcmp(state, states[i]) == 0)
            host.state = (enum lease_host_state)i;
    return host;
}

static struct lease_row read_row(struct arena *arena, const cJSON *item)
{
    const cJSON *handlers = document_get(document_get(item, "h"), "M"), *handler;
    struct lease_row row = {
        .stream = item_text(item, "st"),
        .shard = item_text(item, "sk"),
        .parents = {item_text_or_null(item, "pa"), item_text_or_null(item, "pb")},
        .owner = item_text(item, "own"),
        .epoch = item_number(item, "ep"),
        .version = item_number(item, "v"),
        .nonce = item_text(item, "w"),
        .load = item_double(item, "ld"),
    };
    struct lease_part *parts = arena_alloc(arena, ((size_t)cJSON_GetArraySize(handlers) + 1) * sizeof *parts);
    cJSON_ArrayForEach(handler, handlers)
    {
        const cJSON *value = document_get(handler, "M");
        parts[row.part_count++] =
            (struct lease_part){handler->string, item_text(value, "t"), item_bool(value, "e")};
    }
    row.parts = parts;
    return row;
}

static bool is_about_hosts(enum lease_request_kind kind)
{
    return kind >= LEASE_LIST_HOSTS && kind <= LEASE_TELL;
}

static void read_item(struct pending *pending, struct lease_answer *answer, const cJSON *item)
{
    enum lease_request_kind kind = pending->request.kind;
    if (kind <= LEASE_OPEN_GROUP) {
        answer->gid = item_text(item, "gid");
        answer->opened = item_bool(item, "opened") && !*item_text(item, "copying");
    } else if (is_about_hosts(kind)) {
        struct lease_host *host = arena_alloc(&pending->arena, sizeof *host);
        *host = lease_rows_host(item);
        answer->hosts = host;
        answer->host_count = 1;
    } else if (kind <= LEASE_DELETE_ROW) {
        struct lease_row *row = arena_alloc(&pending->arena, sizeof *row);
        *row = read_row(&pending->arena, item);
        answer->rows = row;
        answer->row_count = 1;
    }
}

static void read_pages(struct pending *pending, struct lease_answer *answer)
{
    enum lease_request_kind kind = pending->request.kind;
    size_t count = 0, at = 0;
    const cJSON *item;
    for (size_t i = 0; i < pending->page_count; i++)
        count += (size_t)cJSON_GetArraySize(document_get(pending->pages[i], "Items"));
    struct lease_host *hosts = arena_alloc(&pending->arena, (count + 1) * sizeof *hosts);
    struct lease_row *rows = arena_alloc(&pending->arena, (count + 1) * sizeof *rows);
    struct lease_mail *mail = arena_alloc(&pending->arena, (count + 1) * sizeof *mail);
    for (size_t i = 0; i < pending->page_count; i++)
        cJSON_ArrayForEach(item, document_get(pending->pages[i], "Items"))
        {
            if (kind == LEASE_LIST_HOSTS && strcmp(item_text(item, "sk"), LEASE_BELL) == 0) {
                answer->rung = item_number(item, "rung");
                count--;
                continue;
            }
            if (kind == LEASE_LIST_HOSTS)
                hosts[at] = lease_rows_host(item);
            else if (kind == LEASE_LIST_BUCKET)
                rows[at] = read_row(&pending->arena, item);
            else
                mail[at] = (struct lease_mail){item_text(item, "sk"), item_text(item, "st"),
                                               item_text(item, "sh"), item_number(item, "ep")};
            at++;
        }
    answer->hosts = hosts;
    answer->rows = rows;
    answer->mail = mail;
    *(kind == LEASE_LIST_HOSTS    ? &answer->host_count
      : kind == LEASE_LIST_BUCKET ? &answer->row_count
                                  : &answer->mail_count) = count;
}

/* ---- the way there and back ---- */

static void transmit(struct pending *pending);

static void pending_free(struct pending *pending)
{
    for (size_t i = 0; i < pending->page_count; i++)
        cJSON_Delete(pending->pages[i]);
    free(pending->pages);
    arena_fini(&pending->arena);
    free(pending);
}

static void answer(struct pending *pending, struct lease_answer *answer)
{
    answer->server_ms = server_ms(pending->rows);
    pending->done(pending->user, answer);
    pending_free(pending);
}

static void answer_outcome(struct pending *pending, enum lease_outcome outcome, const struct err *err)
{
    answer(pending, &(struct lease_answer){.outcome = outcome, .err = err});
}

static cJSON *read_body(struct transport_response *response, struct err *err)
{
    *err = (struct err){0};
    return response ? document_read(response->body.data, response->body.size, err) : NULL;
}

/* Older versions of Alternator refuse without showing the row: look at it. */
static void on_refused(struct pending *pending, cJSON *body)
{
    cJSON *item = document_get(body, "Item");
    if (item) {
        struct lease_answer refused = {.outcome = LEASE_REFUSED};
        mem_grow(&pending->pages, &pending->page_capacity, pending->page_count, sizeof *pending->pages);
        pending->pages[pending->page_count++] = body;
        read_item(pending, &refused, item);
        answer(pending, &refused);
        return;
    }
    cJSON_Delete(body);
    pending->looking = true;
    transmit(pending);
}

static void on_looked(struct pending *pending, const cJSON *body)
{
    struct lease_answer refused = {.outcome = LEASE_REFUSED};
    const cJSON *item = document_get(body, "Item");
    if (item)
        read_item(pending, &refused, item);
    answer(pending, &refused);
}

/* A write that was done shows the row as it is; one that made it is the row. */
static void on_done(struct pending *pending, const cJSON *body)
{
    enum lease_request_kind kind = pending->request.kind;
    struct lease_answer well = {.outcome = LEASE_OK};
    const cJSON *item =
        document_get(body, strcmp(calls[kind].operation, "GetItem") == 0 ? "Item" : "Attributes");
    if (strcmp(calls[kind].operation, "Query") == 0) {
        read_pages(pending, &well);
    } else if (item) {
        read_item(pending, &well, item);
    } else if (strcmp(calls[kind].operation, "GetItem") == 0) {
        well.outcome = LEASE_REFUSED;
    } else if (kind == LEASE_CREATE_GROUP) {
        well.gid = pending->request.gid;
    } else if (kind == LEASE_CREATE_ROW) {
        struct lease_row *row = arena_alloc(&pending->arena, sizeof *row);
        *row = pending->request.row;
        row->version = 1;
        well.rows = row;
        well.row_count = 1;
    }
    answer(pending, &well);
}

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct pending *pending = user;
    struct err not_json;
    cJSON *body = read_body(response, &not_json);
    pending->call = NULL;
    if (err) {
        enum lease_outcome outcome = calls_outcome(err);
        if (outcome == LEASE_REFUSED && !pending->looking) {
            on_refused(pending, body);
            return;
        }
        cJSON_Delete(body);
        /* What was refused before is known to be; only the row is not. */
        answer_outcome(pending, pending->looking ? LEASE_NOT_DONE : outcome, err);
        return;
    }
    if (!body) { /* an answer, but not one of the service's */
        answer_outcome(pending, pending->looking ? LEASE_NOT_DONE : LEASE_UNKNOWN, &not_json);
        return;
    }
    mem_grow(&pending->pages, &pending->page_capacity, pending->page_count, sizeof *pending->pages);
    pending->pages[pending->page_count++] = body;
    if (pending->looking)
        on_looked(pending, body);
    else if (document_get(body, "LastEvaluatedKey"))
        transmit(pending);
    else
        on_done(pending, body);
}

static void transmit(struct pending *pending)
{
    struct aws_request request = {
        .service = AWS_DYNAMODB,
        .operation = pending->looking ? "GetItem" : calls[pending->request.kind].operation,
        .attempts = 1,
        .timeout_ms = pending->timeout_ms,
        .own = true,
    };
    document_write(pending->looking ? make_read(pending) : calls[pending->request.kind].make(pending),
                   &request.body);
    pending->call = aws_send(pending->rows->client, &request, on_answer, pending);
}

static struct lease_call *send(struct lease_table *table, const struct lease_request *request,
                               int64_t timeout_ms, lease_answer_fn *done, void *user)
{
    struct pending *pending = mem_zero(sizeof *pending);
    *pending = (struct pending){
        .rows = (struct lease_rows *)table, .timeout_ms = timeout_ms, .done = done, .user = user};
    pending->request = lease_request_copy(&pending->arena, request);
    transmit(pending);
    return (struct lease_call *)pending;
}

static void cancel(struct lease_table *table, struct lease_call *call)
{
    struct pending *pending = (struct pending *)call;
    (void)table;
    aws_cancel(pending->call);
    pending_free(pending);
}

static const struct lease_table_ops ops = {send, cancel};

struct lease_table *lease_rows_new(struct aws_client *client, const char *table, const char *group)
{
    struct lease_rows *rows = mem_zero(sizeof *rows);
    rows->table.ops = &ops;
    rows->client = client;
    rows->name = mem_string(table);
    rows->group = item_group(group);
    return &rows->table;
}

void lease_rows_free(struct lease_table *table)
{
    struct lease_rows *rows = (struct lease_rows *)table;
    if (!rows)
        return;
    free(rows->name);
    free(rows->group);
    free(rows);
}
