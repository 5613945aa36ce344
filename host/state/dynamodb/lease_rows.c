/* lease_rows.c: see lease_rows.h. */
#include "state/dynamodb/lease_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/retry.h"
#include "base/check.h"
#include "base/document.h"
#include "base/mem.h"

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

/* ---- attribute values ---- */

static void add_text(cJSON *item, const char *name, const char *text)
{
    if (text)
        document_add_text(cJSON_AddObjectToObject(item, name), "S", text);
}

static void add_number(cJSON *item, const char *name, int64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, number);
    document_add_text(cJSON_AddObjectToObject(item, name), "N", text);
}

static void add_load(cJSON *item, const char *name, double load)
{
    char text[48];
    snprintf(text, sizeof text, "%.3f", load > -1e15 && load < 1e15 ? load : 0);
    document_add_text(cJSON_AddObjectToObject(item, name), "N", text);
}

static void add_bool(cJSON *item, const char *name, bool value)
{
    cJSON_AddBoolToObject(cJSON_AddObjectToObject(item, name), "BOOL", value);
}

static const char *text_of(const cJSON *item, const char *name)
{
    const char *text = document_text(document_get(item, name), "S");
    return text ? text : "";
}

static double load_of(const cJSON *item, const char *name)
{
    const char *text = document_text(document_get(item, name), "N");
    return text ? strtod(text, NULL) : 0;
}

static int64_t number_of(const cJSON *item, const char *name)
{
    const char *text = document_text(document_get(item, name), "N");
    return text ? strtoll(text, NULL, 10) : 0;
}

static bool bool_of(const cJSON *item, const char *name)
{
    return cJSON_IsTrue(document_get(document_get(item, name), "BOOL"));
}

/* ---- keys ---- */

static char *escape(const char *group)
{
    struct buf out = BUF_INIT;
    for (; *group; group++)
        if (*group == '%' || *group == '/')
            buf_printf(&out, "%%%02X", (unsigned)*group);
        else
            buf_add_char(&out, *group);
    return out.data ? out.data : mem_string("");
}

static char *stream_key(const struct lease_rows *rows, const char *stream, int bucket)
{
    uint64_t hash = lease_hash((const char *const[]){stream, NULL});
    return mem_printf("g/%s/s/%016" PRIx64 "/%02x", rows->group, hash, (unsigned)bucket);
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
        return stream_key(rows, request->row.stream, lease_bucket(request->row.shard));
    case LEASE_LIST_BUCKET:
        return stream_key(rows, request->row.stream, request->bucket);
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
    add_text(item, "pk", partition);
    add_text(item, "sk", sort_of(request));
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
    add_text(cJSON_AddObjectToObject(body, "ExpressionAttributeValues"), ":pk", partition);
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
    add_text(item, "gid", pending->request.gid);
    add_bool(item, "opened", false);
    add_number(item, "proto", 1);
    demand(body, "attribute_not_exists(pk)");
    return body;
}

static cJSON *make_open_group(const struct pending *pending)
{
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    document_add_text(body, "UpdateExpression", "SET opened = :true");
    add_bool(values, ":true", true);
    add_bool(values, ":false", false);
    add_text(values, ":gid", pending->request.gid);
    document_add_text(body, "ReturnValues", "ALL_NEW");
    demand(body, "gid = :gid AND opened = :false");
    return body;
}

static const char *const states[] = {"run", "leaving", "sick"};
static const char *const deaths[] = {"", "marked", "left"};

static cJSON *make_create_host(const struct pending *pending)
{
    const struct lease_host *host = &pending->request.host;
    cJSON *body = begin_put(pending), *item = document_get(body, "Item");
    add_text(item, "b", host->beat);
    add_number(item, "l", host->lease_ms);
    add_load(item, "ld", host->load);
    add_number(item, "n", host->shards);
    add_number(item, "cap", host->reactors);
    add_number(item, "mail", 0);
    add_text(item, "s", states[host->state]);
    add_text(item, "vers", host->version);
    add_text(item, "hash", host->fingerprint);
    add_number(item, "since", host->since_ms);
    demand(body, "attribute_not_exists(pk)");
    return body;
}

static cJSON *make_beat(const struct pending *pending)
{
    const struct lease_host *host = &pending->request.host;
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    document_add_text(body, "UpdateExpression", "SET b = :b, ld = :ld, n = :n, s = :s");
    add_text(values, ":b", host->beat);
    add_load(values, ":ld", host->load);
    add_number(values, ":n", host->shards);
    add_text(values, ":s", states[host->state]);
    add_text(values, ":last", pending->request.last);
    demand(body, "b = :last AND attribute_not_exists(dead)");
    return body;
}

static cJSON *make_mark(const struct pending *pending)
{
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    document_add_text(body, "UpdateExpression", "SET dead = :dead, marker = :by, expires = :expires");
    add_text(values, ":dead", deaths[pending->request.death]);
    add_text(values, ":by", pending->request.by);
    add_number(values, ":expires", server_ms(pending->rows) / 1000 + DEAD_KEPT_S);
    add_text(values, ":last", pending->request.last);
    demand(body, "b = :last AND attribute_not_exists(dead)");
    return body;
}

static cJSON *make_bury(const struct pending *pending)
{
    cJSON *body = begin_put(pending), *item = document_get(body, "Item");
    add_text(item, "dead", deaths[LEASE_MARKED]);
    add_text(item, "marker", pending->request.by);
    add_number(item, "l", pending->request.host.lease_ms);
    add_number(item, "expires", server_ms(pending->rows) / 1000 + DEAD_KEPT_S);
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
    add_number(values, ":one", 1);
    add_load(values, ":ld", pending->request.row.load);
    demand(body, "attribute_exists(pk) AND attribute_not_exists(dead)");
    return body;
}

static void add_part(cJSON *map, const char *name, const struct lease_part *part)
{
    cJSON *value = cJSON_AddObjectToObject(cJSON_AddObjectToObject(map, name), "M");
    add_text(value, "t", part->text);
    add_bool(value, "e", part->end);
}

static cJSON *make_create_row(const struct pending *pending)
{
    const struct lease_row *row = &pending->request.row;
    cJSON *body = begin_put(pending), *item = document_get(body, "Item");
    add_text(item, "st", row->stream);
    add_text(item, "pa", row->parents[0]);
    add_text(item, "pb", row->parents[1]);
    add_text(item, "own", row->owner);
    add_number(item, "ep", row->epoch);
    add_number(item, "v", 1);
    add_text(item, "w", row->nonce);
    add_load(item, "ld", row->load);
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
    struct buf update = BUF_INIT;
    buf_add_text(&update, "SET own = :own, ep = :ep, v = v + :one, w = :w, ld = :ld");
    for (size_t i = 0; i < row->part_count; i++) {
        char name[32], value[32];
        snprintf(name, sizeof name, "#h%zu", i);
        snprintf(value, sizeof value, ":h%zu", i);
        buf_printf(&update, ", h.%s = %s", name, value);
        document_add_text(names, name, row->parts[i].handler);
        add_part(values, value, &row->parts[i]);
    }
    document_add_text(body, "UpdateExpression", update.data);
    buf_fini(&update);
    add_text(values, ":own", row->owner);
    add_number(values, ":ep", row->epoch);
    add_number(values, ":one", 1);
    add_text(values, ":w", row->nonce);
    add_load(values, ":ld", row->load);
    add_text(values, ":sown", request->seen.owner);
    add_number(values, ":sep", request->seen.epoch);
    if (request->seen.version)
        add_number(values, ":sv", request->seen.version);
    document_add_text(body, "ReturnValues", "ALL_NEW");
    demand(body,
           request->seen.version ? "own = :sown AND ep = :sep AND v = :sv" : "own = :sown AND ep = :sep");
    return body;
}

static cJSON *make_delete_row(const struct pending *pending)
{
    const struct lease_request *request = &pending->request;
    cJSON *body = begin_key(pending), *values = cJSON_AddObjectToObject(body, "ExpressionAttributeValues");
    add_text(values, ":sown", request->seen.owner);
    add_number(values, ":sep", request->seen.epoch);
    add_number(values, ":sv", request->seen.version);
    demand(body, "own = :sown AND ep = :sep AND v = :sv");
    return body;
}

static cJSON *make_put_mail(const struct pending *pending)
{
    const struct lease_mail *mail = &pending->request.mail;
    cJSON *body = begin_put(pending), *item = document_get(body, "Item");
    add_text(item, "st", mail->stream);
    add_text(item, "sh", mail->shard);
    add_number(item, "ep", mail->epoch);
    add_number(item, "expires", server_ms(pending->rows) / 1000 + MAIL_KEPT_S);
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

static struct lease_host read_host(const cJSON *item)
{
    const char *state = text_of(item, "s"), *death = text_of(item, "dead");
    struct lease_host host = {
        .session = text_of(item, "sk"),
        .beat = text_of(item, "b"),
        .lease_ms = number_of(item, "l"),
        .load = load_of(item, "ld"),
        .shards = number_of(item, "n"),
        .reactors = number_of(item, "cap"),
        .mail = number_of(item, "mail"),
        .version = text_of(item, "vers"),
        .fingerprint = text_of(item, "hash"),
        .since_ms = number_of(item, "since"),
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

static const char *text_or_null(const cJSON *item, const char *name)
{
    const char *text = text_of(item, name);
    return *text ? text : NULL;
}

static struct lease_row read_row(struct arena *arena, const cJSON *item)
{
    const cJSON *handlers = document_get(document_get(item, "h"), "M"), *handler;
    struct lease_row row = {
        .stream = text_of(item, "st"),
        .shard = text_of(item, "sk"),
        .parents = {text_or_null(item, "pa"), text_or_null(item, "pb")},
        .owner = text_of(item, "own"),
        .epoch = number_of(item, "ep"),
        .version = number_of(item, "v"),
        .nonce = text_of(item, "w"),
        .load = load_of(item, "ld"),
    };
    struct lease_part *parts = arena_alloc(arena, ((size_t)cJSON_GetArraySize(handlers) + 1) * sizeof *parts);
    cJSON_ArrayForEach(handler, handlers)
    {
        const cJSON *value = document_get(handler, "M");
        parts[row.part_count++] =
            (struct lease_part){handler->string, text_of(value, "t"), bool_of(value, "e")};
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
        answer->gid = text_of(item, "gid");
        answer->opened = bool_of(item, "opened");
    } else if (is_about_hosts(kind)) {
        struct lease_host *host = arena_alloc(&pending->arena, sizeof *host);
        *host = read_host(item);
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
            if (kind == LEASE_LIST_HOSTS)
                hosts[at] = read_host(item);
            else if (kind == LEASE_LIST_BUCKET)
                rows[at] = read_row(&pending->arena, item);
            else
                mail[at] = (struct lease_mail){text_of(item, "sk"), text_of(item, "st"), text_of(item, "sh"),
                                               number_of(item, "ep")};
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

/* What the service's error says of the write: whether it can have been done. */
static enum lease_outcome outcome_of(const struct err *err)
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
        enum lease_outcome outcome = outcome_of(err);
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
    rows->group = escape(group);
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
