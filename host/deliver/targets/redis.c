/* redis.c: entries of a stream (XADD), elements of a list (RPUSH) or messages of a channel (PUBLISH).
 * https://redis.io/docs/latest/commands/xadd/
 *
 * Each message comes once: a marker with its id is set in the same step (a script of the server's), and what
 * is sent again finds it. One that fails takes it back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "deliver/target.h"
#include "net/resp.h"
#include "net/transport_redis.h"

#define MESSAGES_MAX 100
#define PAYLOAD_BYTES_MAX (8u << 20)
#define TIMEOUT_MS 10000
#define MARKED_S                                                                              \
    (86400ll * 7) /* as long as a repetition may come: what a record's max_age may be, mostly \
                   */

static const char script[] =
    "local r "
    "if ARGV[1]~='0' then "
    "r=redis.pcall('SET',KEYS[2],'1','NX','EX',ARGV[1]) "
    "if not r then return 0 end "
    "if r.err then return r end end "
    "if ARGV[2]=='stream' and ARGV[3]~='0' then "
    "r=redis.pcall('XADD',KEYS[1],'MAXLEN','~',ARGV[3],'*','payload',ARGV[4],'id',ARGV[5]) "
    "elseif ARGV[2]=='stream' then r=redis.pcall('XADD',KEYS[1],'*','payload',ARGV[4],'id',ARGV[5]) "
    "elseif ARGV[2]=='list' then r=redis.pcall('RPUSH',KEYS[1],ARGV[4]) "
    "else r=redis.pcall('PUBLISH',KEYS[1],ARGV[4]) end "
    "if type(r)=='table' and r.err then redis.pcall('DEL',KEYS[2]) return r end "
    "return 1";

struct redis_settings {
    char *url;
    char *stream, *list, *channel; /* one of them: the key */
    int64_t maxlen;                /* of a stream; 0: it only grows */
};

static const struct setting settings[] = {
    {"url", SETTING_TEXT, offsetof(struct redis_settings, url), 0, 0, NULL},
    {"stream", SETTING_TEXT, offsetof(struct redis_settings, stream), 0, 0, NULL},
    {"list", SETTING_TEXT, offsetof(struct redis_settings, list), 0, 0, NULL},
    {"channel", SETTING_TEXT, offsetof(struct redis_settings, channel), 0, 0, NULL},
    {"maxlen", SETTING_INTEGER, offsetof(struct redis_settings, maxlen), 0, 1ll << 40, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct redis_settings *settings_of(const struct config_target *target)
{
    return target->own;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    (void)target;
    (void)err;
    return message->payload_size + 256;
}

/* ---- a request ---- */

static void add_number(struct buf *out, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    resp_add_text(out, text);
}

static void add_message(struct buf *out, const struct redis_settings *own, const struct message *message)
{
    const char *key = own->stream ? own->stream : own->list ? own->list : own->channel;
    char *marker = mem_printf("tidemill:sent:%s", message->id);
    /* Who replays an archive wants it once more. */
    bool replayed = message->revision && strcmp(message->revision, "replayed") == 0;
    resp_add_list(out, 10);
    resp_add_text(out, "EVAL");
    resp_add_text(out, script);
    resp_add_text(out, "2");
    resp_add_text(out, key);
    resp_add_text(out, marker);
    add_number(out, replayed ? 0 : MARKED_S);
    resp_add_text(out, own->stream ? "stream" : own->list ? "list" : "channel");
    add_number(out, own->maxlen);
    resp_add_word(out, message->payload, message->payload_size);
    resp_add_text(out, message->id);
    free(marker);
}

static void fail_entry(struct emission *emission, const char *text, size_t size)
{
    struct err err;
    size_t word = 0;
    err_set(&err, ERR_SERVICE, "Redis: %.*s", (int)size, text);
    while (word < size && text[word] != ' ' && word + 1 < sizeof err.service)
        word++;
    snprintf(err.service, sizeof err.service, "%.*s", (int)word, text);
    /* What the key holds is wrong for ever, all else may be mended: a failover, a full memory, a script's. */
    err.passes = strcmp(err.service, "WRONGTYPE") == 0 ? PASSES_NEVER : PASSES_LATER;
    emission_set_err(emission, &err);
}

/* A line for each: ":1", ":0" (it was there) or "-ERR ...". */
static void read(struct request *request, struct transport_response *response)
{
    const char *at = response->body.data, *end = at + response->body.size;
    for (size_t i = 0; i < request->count; i++) {
        const char *stop = at && at < end ? memmem(at, (size_t)(end - at), "\r\n", 2) : NULL;
        if (!stop)
            fail_entry(request->entries[i], "TRYAGAIN an answer without it", 29);
        else if (*at == '-')
            fail_entry(request->entries[i], at + 1, (size_t)(stop - at - 1));
        at = stop ? stop + 2 : NULL;
    }
}

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct request *request = user;
    buf_fini(request->own);
    free(request->own);
    request->own = NULL;
    request_answered(request, response, err);
}

static void send(struct request *request)
{
    const struct redis_settings *own = settings_of(request->target->config);
    struct buf *body = request->own = mem_zero(sizeof *body);
    for (size_t i = 0; i < request->count; i++)
        add_message(body, own, &request->entries[i]->message);
    struct transport_request redis = {
        .method = "REDIS",
        .url = own->url,
        .body = body->data,
        .body_size = body->size,
        .timeout_ms = request_timeout_ms(request),
    };
    request->http = transport_send(request->target->outbox->transport, &redis, on_answer, request);
}

static void cancel(struct request *request)
{
    if (!request->own)
        return;
    buf_fini(request->own);
    free(request->own);
    request->own = NULL;
}

/* ---- the type ---- */

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    const struct redis_settings *own = settings_of(target);
    struct err err;
    (void)ini;
    if (own->url && !redis_url_check(own->url, &err)) {
        err_prefix(&err, "url");
        complain(user, err.text);
    }
    if (!!own->stream + !!own->list + !!own->channel != 1)
        complain(user, "type = redis needs one of stream, list and channel: the key to write to");
    if (own->maxlen && !own->stream)
        complain(user, "maxlen is for stream");
}

static const char *const needed[] = {"url", NULL};

const struct target_type target_redis = {
    .name = "redis",
    .settings = settings,
    .settings_size = sizeof(struct redis_settings),
    .needed = needed,
    .check = check,
    .spills = true,
    .open = batcher_open,
    .count_max = MESSAGES_MAX,
    .bytes_max = PAYLOAD_BYTES_MAX,
    .bytes_most = PAYLOAD_BYTES_MAX,
    .linger_ms = 0,
    .in_flight = 16,
    .timeout_ms = TIMEOUT_MS,
    .measure = measure,
    .send = send,
    .read = read,
    .cancel = cancel,
};
