/* opensearch.c: an index of OpenSearch (or Elasticsearch 7 and later) that has each item as a document, by
 * bulk requests. https://docs.opensearch.org/latest/api-reference/document-apis/bulk/
 *
 * An external version is a number of 63 bits, and a sequence number has up to 40 digits. So the document
 * carries it, as a text whose order is theirs, and a script of the server's, one for all, lets a document be
 * replaced or deleted by a newer record alone: a repetition and an older record change nothing.
 * https://docs.opensearch.org/latest/api-reference/document-apis/update-document/
 *
 * What was deleted has no version any more: an older record that comes after all (a dead letter that is
 * redriven) brings its document back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/mem.h"
#include "deliver/targets/change.h"
#include "deliver/targets/http_answer.h"
#include "net/url.h"
#include "record/item_key.h"
#include "record/unmarshal.h"

#define ID_BYTES_MAX 512 /* of the service */
#define FRAME_BYTES 1200 /* what stands around a document, about */
#define TIMEOUT_MS 30000
#define ANSWER_BYTES_MAX (64u << 20)

/* params: d the document or null, f where its version stands, v the record's. A document that is not there is
 * `create`, which cannot become `delete`. */
static const char script[] = "def had = ctx._source[params.f]; "
                             "if (had != null && had.compareTo(params.v) >= 0) { ctx.op = 'none' } "
                             "else if (params.d != null) { ctx._source = params.d } "
                             "else { ctx.op = ctx.op == 'create' ? 'none' : 'delete' }";

enum { SIGNED_NO, SIGNED_ES };
static const char *const signed_choices[] = {"no", "es", NULL};

struct opensearch_settings {
    char *url, *index;
    char *authorization;
    char *version;
    int is_signed;
};

static const struct setting settings[] = {
    {"url", SETTING_TEXT, offsetof(struct opensearch_settings, url), 0, 0, NULL},
    {"index", SETTING_TEXT, offsetof(struct opensearch_settings, index), 0, 0, NULL},
    {"authorization", SETTING_TEXT, offsetof(struct opensearch_settings, authorization), 0, 0, NULL},
    {"version", SETTING_TEXT, offsetof(struct opensearch_settings, version), 0, 0, NULL},
    {"signed", SETTING_CHOICE, offsetof(struct opensearch_settings, is_signed), 0, 0, signed_choices},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct opensearch_settings *settings_of(const struct config_target *target)
{
    return target->own;
}

static const char *version_of(const struct config_target *target)
{
    const char *version = settings_of(target)->version;
    return version && *version ? version : CHANGE_VERSION_NAME;
}

/* ---- what is written ---- */

/* A document, of a record or as a script makes it. */
struct entry {
    char *id;
    struct buf document;                     /* a JSON object; empty: it is deleted */
    char version[CHANGE_VERSION_DIGITS + 1]; /* "": it is written whatever there is */
};

static void entry_fini(struct entry *entry)
{
    free(entry->id);
    buf_fini(&entry->document);
}

/* {"id": ..., "document": {...} or null, "version": "..." or false} */
static bool read_own(const struct json *own, struct arena *arena, const struct message *message,
                     struct entry *entry, struct err *err)
{
    const struct json *document = json_get(own, "document"), *version = json_get(own, "version");
    const char *text = version ? json_string(arena, version) : message->sequence;
    json_each(member, own) {
        if (!json_key_is(member, "id") && !json_key_is(member, "document") && !json_key_is(member, "version"))
            return err_set(err, ERR_CONFIG, "a document's message has no \"%.*s\": id, document, version",
                           (int)member->key_size, member->key);
    }
    const struct json *id = json_get(own, "id");
    entry->id = mem_string(json_string(arena, id));
    if (!entry->id || !*entry->id || strlen(entry->id) > ID_BYTES_MAX || strlen(entry->id) != id->size)
        return err_set(err, ERR_CONFIG, "id: a text of 1 to %d bytes expected, without U+0000", ID_BYTES_MAX);
    if (document && document->type != JSON_NULL && document->type != JSON_OBJECT)
        return err_set(err, ERR_CONFIG, "document: an object expected, or nothing, which deletes it");
    if (version && version->type != JSON_FALSE && !change_version(text, entry->version))
        return err_set(err, ERR_CONFIG, "version: a sequence number expected (record.sequence), or false");
    if (!version && text)
        change_version(text, entry->version);
    if (document && document->type == JSON_OBJECT)
        json_write_value(&entry->document, document);
    return true;
}

static bool read_record(struct arena *arena, const struct message *message, struct entry *entry,
                        struct err *err)
{
    struct change change;
    if (!change_read(arena, message, &change, err))
        return false;
    entry->id = item_key_document(change.keys, ID_BYTES_MAX);
    memcpy(entry->version, change.version, sizeof change.version);
    if (change.image)
        record_unmarshal(&entry->document, change.image, true);
    return !change.image || json_parse(arena, entry->document.data, entry->document.size, err);
}

/* False and `err`; to be given to entry_fini in either case. */
static bool read_entry(const struct message *message, struct entry *entry, struct err *err)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, message->payload, message->payload_size, NULL);
    *entry = (struct entry){0};
    bool well = root && json_get(root, "id") ? read_own(root, &arena, message, entry, err)
                                             : read_record(&arena, message, entry, err);
    arena_fini(&arena);
    return well;
}

/* The document with the version in it; what it has there by itself gives way. */
static void write_document(struct buf *out, const struct entry *entry, const char *version)
{
    struct arena arena = ARENA_INIT;
    const struct json *document = json_parse(&arena, entry->document.data, entry->document.size, NULL);
    buf_add_char(out, '{');
    json_each(member, document) {
        if (json_key_is(member, version))
            continue;
        json_write_string(out, member->key, member->key_size);
        buf_add_char(out, ':');
        json_write_value(out, member);
        buf_add_char(out, ',');
    }
    json_write_string(out, version, strlen(version));
    buf_printf(out, ":\"%s\"}", entry->version);
    arena_fini(&arena);
}

static void write_action(struct buf *out, const char *action, const struct entry *entry, const char *more)
{
    buf_printf(out, "{\"%s\":{\"_id\":", action);
    json_write_string(out, entry->id, strlen(entry->id));
    buf_printf(out, "%s}}\n", more);
}

static void write_versioned(struct buf *out, const struct entry *entry, const char *version)
{
    write_action(out, "update", entry, ",\"retry_on_conflict\":3");
    buf_add_literal(out,
                    "{\"scripted_upsert\":true,\"upsert\":{},\"script\":{\"lang\":\"painless\",\"source\":");
    json_write_string(out, script, sizeof script - 1);
    buf_add_literal(out, ",\"params\":{\"d\":");
    if (entry->document.size)
        write_document(out, entry, version);
    else
        buf_add_literal(out, "null");
    buf_add_literal(out, ",\"f\":");
    json_write_string(out, version, strlen(version));
    buf_printf(out, ",\"v\":\"%s\"}}}\n", entry->version);
}

static void write_entry(struct buf *out, const struct entry *entry, const char *version)
{
    if (*entry->version) {
        write_versioned(out, entry, version);
    } else if (entry->document.size) {
        write_action(out, "index", entry, "");
        buf_add(out, entry->document.data, entry->document.size);
        buf_add_char(out, '\n');
    } else {
        write_action(out, "delete", entry, "");
    }
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    struct entry entry;
    bool well = read_entry(message, &entry, err);
    size_t size = entry.document.size + FRAME_BYTES;
    (void)target;
    entry_fini(&entry);
    if (well && !message->key)
        err_set(err, ERR_CONFIG,
                "changes of one document must come in their order: emit them with a key, { key = ... }");
    return size;
}

/* ---- a request ---- */

/* ".REGION.es.amazonaws.com"; NULL: its name does not say. To be freed. */
static char *region_of(const char *url)
{
    static const char *const ends[] = {".es.amazonaws.com", ".es.amazonaws.com.cn"};
    struct err err;
    char *host = url_host(url, &err), *region = NULL;
    for (size_t i = 0; host && i < sizeof ends / sizeof *ends; i++) {
        size_t size = strlen(host), end = strlen(ends[i]);
        if (size <= end || strcmp(host + size - end, ends[i]) != 0)
            continue;
        host[size - end] = '\0';
        const char *dot = strrchr(host, '.');
        region = mem_string(dot ? dot + 1 : host);
        break;
    }
    free(host);
    return region;
}

static char *path_of(const struct opensearch_settings *own)
{
    struct buf path = BUF_INIT;
    buf_add_char(&path, '/');
    url_encode(&path, own->index, strlen(own->index), URL_UNRESERVED);
    buf_add_text(&path, "/_bulk");
    return buf_take(&path);
}

static void send_signed(struct request *request, struct buf *body)
{
    const struct config_target *target = request->target->config;
    struct aws_place *place = target_place_of(target);
    struct aws_other *other = mem_zero(sizeof *other);
    const char *url = settings_of(target)->url;
    size_t size = strlen(url);
    while (size && url[size - 1] == '/')
        size--;
    place = place ? place : mem_zero(sizeof *place);
    place->endpoint = mem_copy(url, size);
    place->region = target->region ? NULL : region_of(url);
    *other = (struct aws_other){.service = mem_string("es"),
                                .signing = mem_string("es"),
                                .operation = mem_string("Bulk"),
                                .method = mem_string("POST")};
    other->headers[0] = mem_string("Content-Type: application/x-ndjson");
    struct aws_request aws = {.service = AWS_OTHER,
                              .operation = other->operation,
                              .other = other,
                              .place = place,
                              .path = path_of(settings_of(target)),
                              .body = *body};
    *body = BUF_INIT;
    request_send_aws(request, &aws);
}

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct request *request = user;
    buf_fini(request->own);
    free(request->own);
    request->own = NULL;
    struct err missing = {0};
    if (response && response->status == 404) { /* somebody makes the index, or its name right */
        err_set(&missing, ERR_SERVICE, "HTTP status 404: %.*s",
                (int)(response->body.size < 300 ? response->body.size : 300),
                response->body.data ? response->body.data : "");
        missing.http_status = 404;
        missing.passes = PASSES_LATER;
        request_answered(request, response, &missing);
        return;
    }
    http_answered(request, response, err);
}

static void send_plain(struct request *request, struct buf *taken)
{
    const struct opensearch_settings *own = settings_of(request->target->config);
    struct buf *body = request->own = mem_zero(sizeof *body);
    const char *headers[4] = {"Content-Type: application/x-ndjson"};
    char trace[TRACE_PARENT_SIZE], *path = path_of(own), *authorization;
    size_t size = strlen(own->url), count = 1;
    while (size && own->url[size - 1] == '/')
        size--;
    char *url = mem_printf("%.*s%s", (int)size, own->url, path);
    *body = *taken;
    *taken = BUF_INIT;
    authorization = own->authorization ? mem_printf("Authorization: %s", own->authorization) : NULL;
    if (request->span.sampled) {
        trace_write_parent(&request->span.place, trace);
        headers[count++] = trace;
    }
    if (authorization)
        headers[count++] = authorization;
    struct transport_request http = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = body->data,
        .body_size = body->size,
        .timeout_ms = request_timeout_ms(request),
        .response_max = ANSWER_BYTES_MAX,
        .http2 = true,
        .idempotent = true,
    };
    request->http = transport_send(request->target->outbox->transport, &http, on_answer, request);
    mem_free_secret(authorization);
    free(url);
    free(path);
}

static void send(struct request *request)
{
    const struct config_target *target = request->target->config;
    struct buf body = BUF_INIT;
    struct err err = {0};
    for (size_t i = 0; i < request->count; i++) {
        struct entry entry;
        if (read_entry(&request->entries[i]->message, &entry, &err) && entry.id) /* `measure` has read it */
            write_entry(&body, &entry, version_of(target));
        entry_fini(&entry);
    }
    if (settings_of(target)->is_signed == SIGNED_ES)
        send_signed(request, &body);
    else
        send_plain(request, &body);
}

static void cancel(struct request *request)
{
    if (request->http)
        transport_cancel(request->target->outbox->transport, request->http);
    if (request->own)
        buf_fini(request->own);
    free(request->own);
    request->own = NULL;
}

/* What the document itself has wrong stays so; what is about the index, the script or the cluster is mended.
 */
static enum err_passes passes_of(int status, const char *type, const char *reason)
{
    static const char *const never[] = {"mapper_parsing_exception",         "document_parsing_exception",
                                        "strict_dynamic_mapping_exception", "illegal_argument_exception",
                                        "number_format_exception",          "date_time_parse_exception"};
    bool of_script = strcmp(type, "illegal_argument_exception") == 0 && reason &&
                     (strstr(reason, "execute script") || strstr(reason, "[inline] scripts"));
    if (status != 400 || of_script)
        return PASSES_LATER;
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strcmp(type, never[i]) == 0)
            return PASSES_NEVER;
    return PASSES_LATER;
}

static void fail_entry(struct emission *emission, const cJSON *result, int status)
{
    const cJSON *error = document_get(result, "error");
    const char *type = document_text(error, "type"), *reason = document_text(error, "reason");
    struct err err;
    type = type ? type : "unknown";
    err_set(&err, ERR_SERVICE, "%s: %s", type, reason ? reason : "no reason");
    snprintf(err.service, sizeof err.service, "%s", type);
    err.passes = passes_of(status, type, reason);
    emission_set_err(emission, &err);
}

/* A result for each entry, in their order: {"update": {"status": 200, ...}}. */
static void read(struct request *request, struct transport_response *response)
{
    bool *named = mem_zero(request->count);
    cJSON *root = document_read(response->body.data, response->body.size, NULL);
    const cJSON *item;
    size_t i = 0;
    cJSON_ArrayForEach(item, document_get(root, "items"))
    {
        const cJSON *result = item->child, *status = document_get(result, "status");
        int code = cJSON_IsNumber(status) ? status->valueint : 0;
        bool gone = code == 404 && result && result->string && strcmp(result->string, "delete") == 0 &&
                    !document_get(result, "error");
        if (i == request->count || !code)
            break;
        if (!gone && (code < 200 || code > 299))
            fail_entry(request->entries[i], result, code);
        named[i++] = true;
    }
    request_unnamed(request, named);
    free(named);
    cJSON_Delete(root);
}

/* ---- the type ---- */

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    const struct opensearch_settings *own = settings_of(target);
    struct err err;
    char *host = own->url ? url_host(own->url, &err) : NULL;
    (void)ini;
    if (own->url && !host)
        complain(user, "url: an http:// or https:// URL expected, without a user's name: authorization = "
                       "Basic ... has that");
    free(host);
    if (own->is_signed == SIGNED_ES && own->authorization && *own->authorization)
        complain(user, "signed and authorization: one of them expected");
    if (own->is_signed != SIGNED_ES && (target->role || target->region))
        complain(user, "role and region are for signed = es");
    if (own->index && (!*own->index || strpbrk(own->index, "\\/*?\"<>| ,#:") || strchr("-_+.", *own->index)))
        complain(user, "index: an index's name, or an alias, expected, such as products");
}

static bool check_route(const struct config_target *target, const struct config_route *route, struct err *err)
{
    (void)target;
    return change_check_route("an opensearch", route, err);
}

/* "search-NAME-HASH.REGION.es.amazonaws.com" */
static char *arn(const struct config_target *target, const struct target_place *place)
{
    const char *url = settings_of(target)->url;
    struct err err;
    if (settings_of(target)->is_signed != SIGNED_ES)
        return NULL;
    char *region = target->region ? mem_string(target->region) : region_of(url), *host = url_host(url, &err);
    char *dash = host && (strncmp(host, "search-", 7) == 0 || strncmp(host, "vpc-", 4) == 0)
                     ? strchr(host, '.')
                     : NULL;
    while (dash && dash > host && *dash != '-')
        dash--;
    const char *name = host ? strchr(host, '-') : NULL;
    bool known = region && dash && name && dash > name + 1;
    char *text = mem_printf("arn:%s:es:%s:*:domain/%.*s/*", place->partition, region ? region : place->region,
                            known ? (int)(dash - name - 1) : 1, known ? name + 1 : "*");
    free(region);
    free(host);
    return text;
}

static const char *const needed[] = {"url", "index", NULL}, *const actions[] = {"ESHttpPost", NULL};

const struct target_type target_opensearch = {
    .name = "opensearch",
    .settings = settings,
    .settings_size = sizeof(struct opensearch_settings),
    .needed = needed,
    .check = check,
    .check_route = check_route,
    .service = "es",
    .actions = actions,
    .arn = arn,
    .open = batcher_open,
    .count_max = 1000,
    .bytes_max = 5u << 20,
    .bytes_most = 9u << 20, /* of 10 MiB, that the smallest domains take */
    .linger_ms = 50,
    .timeout_ms = TIMEOUT_MS,
    .in_flight = 4,
    .measure = measure,
    .send = send,
    .read = read,
    .cancel = cancel,
};
