/* trace.c: see trace.h. */
#include "stats/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "stats/metrics.h"

#define SPANS_MAX 4096       /* that wait; more are dropped */
#define BYTES_MAX (4u << 20) /* likewise */
#define BATCH_SPANS 512
#define EVERY_MS 2000
#define TIMEOUT_MS 10000
#define TRIES_MAX 4 /* of a batch that the collector cannot take just now */
#define TRY_AGAIN_MS 1000
#define CLOCK_JUMP_US 1000000
#define LAST_MS 1500 /* for what is left when the host stops */
#define TEXT_BYTES_MAX 1024

struct tracer {
    struct tracer_options options;
    char *endpoint;
    struct buf waiting; /* a body that grows: up to its last span, if there is one */
    size_t waiting_count;
    struct buf body; /* on its way */
    size_t body_count;
    int tries;
    struct transport_call *call;
    struct timer timer;
    uint64_t random;
    int64_t ahead_us; /* the wall clock, of the monotonic one: parts and the whole are told by one */
    bool failing;
    void (*stopped)(void *user);
    void *stopped_user;
};

/* ---- numbers ---- */

static uint64_t next_random(struct tracer *tracer)
{
    return tracer->random = hash_mix(tracer->random + 0x9e3779b97f4a7c15ull);
}

static void put_number(unsigned char *bytes, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> (56 - 8 * i));
}

static bool is_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static void count(struct tracer *tracer, const char *result, size_t spans)
{
    *stats_counter(tracer->options.stats, "tidemill_spans_total", "result", result, NULL) += (double)spans;
}

/* ---- as others write it ---- */

static bool read_hex(const char *text, unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        int value = 0;
        for (int j = 0; j < 2; j++) {
            char letter = text[2 * i + (size_t)j];
            int digit = letter >= '0' && letter <= '9'   ? letter - '0'
                        : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
                                                         : -1;
            if (digit < 0)
                return false;
            value = value * 16 + digit;
        }
        bytes[i] = (unsigned char)value;
    }
    return true;
}

/* "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"; a later version may have more behind it. */
bool trace_read_parent(const char *text, size_t size, struct trace_place *place, bool *sampled)
{
    unsigned char version, flags;
    if (size < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-' || !read_hex(text, &version, 1) ||
        version == 0xff || (version == 0 && size != 55) || (size > 55 && text[55] != '-') ||
        !read_hex(text + 3, place->trace, TRACE_ID_BYTES) ||
        !read_hex(text + 36, place->span, SPAN_ID_BYTES) || !read_hex(text + 53, &flags, 1))
        return false;
    *sampled = flags & 1;
    return !is_zero(place->trace, TRACE_ID_BYTES) && !is_zero(place->span, SPAN_ID_BYTES);
}

/* The value of "Name=value;" */
static const char *part(const char *text, size_t size, const char *name, size_t *found)
{
    size_t length = strlen(name);
    for (const char *at = text, *end = text + size; at < end;) {
        const char *stop = memchr(at, ';', (size_t)(end - at));
        stop = stop ? stop : end;
        while (at < stop && *at == ' ')
            at++;
        if ((size_t)(stop - at) > length && strncasecmp(at, name, length) == 0 && at[length] == '=') {
            *found = (size_t)(stop - at) - length - 1;
            return at + length + 1;
        }
        at = stop + 1;
    }
    return NULL;
}

/* "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
 * https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader */
bool trace_read_amzn(const char *text, size_t size, struct trace_place *place, bool *sampled)
{
    size_t root_size, parent_size, flag_size;
    const char *root = part(text, size, "Root", &root_size),
               *parent = part(text, size, "Parent", &parent_size),
               *flag = part(text, size, "Sampled", &flag_size);
    if (!root || !parent || root_size != 35 || parent_size != 16 || strncmp(root, "1-", 2) != 0 ||
        root[10] != '-' || !read_hex(root + 2, place->trace, 4) ||
        !read_hex(root + 11, place->trace + 4, 12) || !read_hex(parent, place->span, SPAN_ID_BYTES))
        return false;
    *sampled = flag && flag_size == 1 && *flag == '1';
    return !is_zero(place->trace, TRACE_ID_BYTES) && !is_zero(place->span, SPAN_ID_BYTES);
}

void trace_write_parent(const struct trace_place *place, char header[TRACE_PARENT_SIZE])
{
    char trace[2 * TRACE_ID_BYTES + 1] = "", span[2 * SPAN_ID_BYTES + 1] = "";
    hex_write(trace, place->trace, TRACE_ID_BYTES);
    hex_write(span, place->span, SPAN_ID_BYTES);
    snprintf(header, TRACE_PARENT_SIZE, "traceparent: 00-%.32s-%.16s-01", trace, span);
}

void trace_write_amzn(const struct trace_place *place, char header[TRACE_AMZN_SIZE])
{
    char trace[2 * TRACE_ID_BYTES + 1] = "", span[2 * SPAN_ID_BYTES + 1] = "";
    hex_write(trace, place->trace, TRACE_ID_BYTES);
    hex_write(span, place->span, SPAN_ID_BYTES);
    snprintf(header, TRACE_AMZN_SIZE, "X-Amzn-Trace-Id: Root=1-%.8s-%.24s;Parent=%.16s;Sampled=1", trace,
             trace + 8, span);
}

/* ---- spans ---- */

/* Of {"S": "..."} */
static bool read_place(const struct json *value, struct arena *scratch,
                       bool (*read)(const char *text, size_t size, struct trace_place *place, bool *sampled),
                       struct trace_place *place, bool *sampled)
{
    static const struct json_name name = JSON_NAME("S");
    struct json storage;
    const struct json *text;
    json_look(value, &name, 1, scratch, &storage, &text);
    return text && text->type == JSON_STRING && read(text->text, text->size, place, sampled);
}

/* Each record is asked: one look at its attributes' names. */
static bool begins_in_item(const struct record *record, struct trace_place *place, bool *sampled)
{
    static const struct json_name names[] = {JSON_NAME("traceparent"), JSON_NAME("AWSTraceHeader")};
    struct arena scratch = ARENA_INIT;
    struct json storage[2];
    const struct json *found[2];
    json_look(record->new_image, names, 2, &scratch, storage, found);
    bool begins = read_place(found[0], &scratch, trace_read_parent, place, sampled) ||
                  read_place(found[1], &scratch, trace_read_amzn, place, sampled);
    arena_fini(&scratch);
    return begins;
}

static void start(struct tracer *tracer, struct span *span)
{
    struct clock *clock = reactor_clock(tracer->options.reactor);
    put_number(span->place.span, next_random(tracer) | 1);
    span->begun_us = clock_monotonic_us(clock);
    int64_t ahead_us = clock_wall_ms(clock) * 1000 - span->begun_us;
    if (llabs(ahead_us - tracer->ahead_us) > CLOCK_JUMP_US)
        tracer->ahead_us = ahead_us;
    span->sampled = true;
}

static void put_seconds(unsigned char *bytes, int64_t seconds)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)((uint64_t)seconds >> (24 - 8 * i));
}

uint64_t trace_seed(const char *shard)
{
    return hash_bytes(shard, strlen(shard), 11);
}

void tracer_begin(struct tracer *tracer, const struct record *record, uint64_t seed, struct span *span)
{
    char unit[RECORD_UNIT_SIZE];
    *span = (struct span){0};
    if (!tracer)
        return;
    bool sampled = false;
    if (begins_in_item(record, &span->place, &sampled)) {
        memcpy(span->parent, span->place.span, SPAN_ID_BYTES);
        span->has_parent = true;
    } else {
        const char *name = record_unit(record, unit);
        uint64_t first = hash_bytes(name, strlen(name), seed);
        uint64_t second = hash_mix(first ^ 0x5bd1e995u);
        if ((int64_t)(second % 1000000) >= tracer->options.sample_ppm)
            return;
        sampled = true;
        put_number(span->place.trace, first);
        put_seconds(span->place.trace, record->time_ms / 1000); /* as X-Ray wants it */
        put_number(span->place.trace + 8, second | 1);
    }
    if (sampled)
        start(tracer, span);
    else
        *span = (struct span){0};
}

void tracer_begin_request(struct tracer *tracer, const char *traceparent, struct span *span)
{
    bool sampled = false;
    *span = (struct span){0};
    if (!tracer)
        return;
    if (traceparent && trace_read_parent(traceparent, strlen(traceparent), &span->place, &sampled)) {
        memcpy(span->parent, span->place.span, SPAN_ID_BYTES);
        span->has_parent = true;
    } else {
        sampled = (int64_t)(next_random(tracer) % 1000000) < tracer->options.sample_ppm;
        put_number(span->place.trace, next_random(tracer));
        put_seconds(span->place.trace, clock_wall_ms(reactor_clock(tracer->options.reactor)) / 1000);
        put_number(span->place.trace + 8, next_random(tracer) | 1);
    }
    if (sampled)
        start(tracer, span);
    else
        *span = (struct span){0};
}

void tracer_begin_part(struct tracer *tracer, const struct trace_place *place, struct span *span)
{
    *span = (struct span){0};
    if (!tracer || !place)
        return;
    memcpy(span->place.trace, place->trace, TRACE_ID_BYTES);
    memcpy(span->parent, place->span, SPAN_ID_BYTES);
    span->has_parent = true;
    start(tracer, span);
}

static void add_text(struct buf *out, const char *text)
{
    size_t size = strnlen(text, TEXT_BYTES_MAX);
    if (utf8_valid(text, size)) {
        json_write_string(out, text, size);
        return;
    }
    char *cut = mem_copy(text, size), *valid = utf8_copy(cut);
    json_write_string(out, valid, strlen(valid));
    free(valid);
    free(cut);
}

static void add_attribute(struct buf *out, const char *name, const char *value, bool first)
{
    buf_add_text(out, first ? "{\"key\":\"" : ",{\"key\":\"");
    buf_add_text(out, name);
    buf_add_text(out, "\",\"value\":{\"stringValue\":");
    add_text(out, value);
    buf_add_text(out, "}}");
}

static void add_hex(struct buf *out, const char *before, const unsigned char *bytes, size_t size)
{
    char hex[2 * TRACE_ID_BYTES + 1] = "";
    hex_write(hex, bytes, size);
    buf_add_text(out, before);
    buf_add(out, hex, 2 * size);
    buf_add_text(out, "\",");
}

static void begin_body(struct tracer *tracer)
{
    struct buf *body = &tracer->waiting;
    buf_add_text(body, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    add_attribute(body, "service.name", "tidemill", true);
    add_attribute(body, "service.namespace", tracer->options.group, false);
    add_attribute(body, "service.version", TIDEMILL_VERSION, false);
    if (tracer->options.instance)
        add_attribute(body, "service.instance.id", tracer->options.instance, false);
    buf_printf(body, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"tidemill\",\"version\":\"%s\"},\"spans\":[",
               TIDEMILL_VERSION);
}

static void flush(void *user);

void tracer_end(struct tracer *tracer, struct span *span, const char *name, enum span_kind kind,
                const char *error, const struct span_attribute *attributes)
{
    struct buf *out = tracer ? &tracer->waiting : NULL;
    if (!tracer || !span->sampled)
        return;
    span->sampled = false;
    if (tracer->waiting_count >= SPANS_MAX || out->size >= BYTES_MAX) {
        count(tracer, "dropped", 1);
        return;
    }
    int64_t now_us = clock_monotonic_us(reactor_clock(tracer->options.reactor));
    long long begun_ns = (long long)(span->begun_us + tracer->ahead_us) * 1000,
              ended_ns = (long long)(now_us + tracer->ahead_us) * 1000;
    if (!tracer->waiting_count)
        begin_body(tracer);
    buf_add_text(out, tracer->waiting_count++ ? ",{" : "{");
    add_hex(out, "\"traceId\":\"", span->place.trace, TRACE_ID_BYTES);
    add_hex(out, "\"spanId\":\"", span->place.span, SPAN_ID_BYTES);
    if (span->has_parent)
        add_hex(out, "\"parentSpanId\":\"", span->parent, SPAN_ID_BYTES);
    buf_add_text(out, "\"name\":");
    add_text(out, name);
    buf_printf(out,
               ",\"kind\":%d,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\",\"attributes\":[",
               (int)kind, begun_ns, ended_ns);
    bool first = true;
    for (; attributes && attributes->name; attributes++)
        if (attributes->value) {
            add_attribute(out, attributes->name, attributes->value, first);
            first = false;
        }
    buf_add_text(out, "]");
    if (error) {
        buf_add_text(out, ",\"status\":{\"code\":2,\"message\":");
        add_text(out, error);
        buf_add_char(out, '}');
    }
    buf_add_char(out, '}');
    if (tracer->call || tracer->body_count)
        return; /* its end looks for more */
    if (tracer->waiting_count == BATCH_SPANS)
        timer_set(tracer->options.reactor, &tracer->timer, 0);
    else if (!timer_is_set(&tracer->timer))
        timer_set(tracer->options.reactor, &tracer->timer, EVERY_MS);
}

/* ---- to the collector ---- */

static void send(struct tracer *tracer);

static void end_stop(struct tracer *tracer)
{
    void (*stopped)(void *user) = tracer->stopped;
    tracer->stopped = NULL;
    timer_stop(tracer->options.reactor, &tracer->timer);
    if (stopped)
        stopped(tracer->stopped_user);
}

static void batch_over(struct tracer *tracer, const char *result)
{
    count(tracer, result, tracer->body_count);
    buf_fini(&tracer->body);
    tracer->body_count = 0;
    tracer->tries = 0;
    if (tracer->stopped && !tracer->waiting_count)
        end_stop(tracer);
    else if (tracer->stopped)
        flush(tracer);
    else if (tracer->waiting_count)
        timer_set(tracer->options.reactor, &tracer->timer,
                  tracer->waiting_count >= BATCH_SPANS ? 0 : EVERY_MS);
}

/* Which statuses are worth another try: https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes */
static bool may_pass(const struct transport_response *response)
{
    return !response || response->status == 429 || response->status == 502 || response->status == 503 ||
           response->status == 504;
}

static void complain(struct tracer *tracer, const struct transport_response *response, const struct err *err)
{
    if (!tracer->failing && response)
        log_warn(tracer->options.log, "otlp", "%s: HTTP status %d; spans that it does not take are dropped",
                 tracer->endpoint, response->status);
    else if (!tracer->failing)
        log_warn(tracer->options.log, "otlp", "%s; spans that it does not take are dropped", err->text);
    tracer->failing = true;
}

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct tracer *tracer = user;
    tracer->call = NULL;
    if (response && response->status >= 200 && response->status < 300) {
        if (tracer->failing)
            log_info(tracer->options.log, "otlp", "%s takes spans again", tracer->endpoint);
        tracer->failing = false;
        batch_over(tracer, "sent");
        return;
    }
    complain(tracer, response, err);
    if (may_pass(response) && ++tracer->tries < TRIES_MAX && !tracer->stopped)
        timer_set(tracer->options.reactor, &tracer->timer, TRY_AGAIN_MS << tracer->tries);
    else
        batch_over(tracer, "dropped");
}

static void send(struct tracer *tracer)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    const struct transport_request request = {
        .method = "POST",
        .url = tracer->endpoint,
        .headers = headers,
        .body = tracer->body.data,
        .body_size = tracer->body.size,
        .timeout_ms = tracer->stopped ? LAST_MS : TIMEOUT_MS,
        .own = true,
        .status_decides = true,
    };
    tracer->call = transport_send(tracer->options.transport, &request, on_answer, tracer);
}

static void end_body(struct tracer *tracer)
{
    buf_add_text(&tracer->waiting, "]}]}]}");
    tracer->body = tracer->waiting;
    tracer->body_count = tracer->waiting_count;
    tracer->waiting = BUF_INIT;
    tracer->waiting_count = 0;
}

static void flush(void *user)
{
    struct tracer *tracer = user;
    if (tracer->call)
        return;
    if (!tracer->body_count && tracer->waiting_count)
        end_body(tracer);
    if (tracer->body_count)
        send(tracer);
}

/* ---- life ---- */

struct tracer *tracer_new(const struct tracer_options *options)
{
    struct tracer *tracer = mem_zero(sizeof *tracer);
    size_t size = strlen(options->url);
    tracer->options = *options;
    tracer->endpoint =
        mem_printf("%s%sv1/traces", options->url, size && options->url[size - 1] == '/' ? "" : "/");
    tracer->random = hash_mix((uint64_t)clock_wall_ms(reactor_clock(options->reactor)) ^
                              (uint64_t)(uintptr_t)tracer << 13) ^
                     (uint64_t)clock_monotonic_us(reactor_clock(options->reactor));
    timer_init(&tracer->timer, flush, tracer);
    return tracer;
}

/* The time for what was left is over. */
static void on_last(void *user)
{
    struct tracer *tracer = user;
    if (tracer->call)
        transport_cancel(tracer->options.transport, tracer->call);
    tracer->call = NULL;
    end_stop(tracer);
}

void tracer_stop(struct tracer *tracer, void (*done)(void *user), void *user)
{
    if (!tracer || (!tracer->waiting_count && !tracer->body_count)) {
        done(user);
        return;
    }
    tracer->stopped = done;
    tracer->stopped_user = user;
    timer_stop(tracer->options.reactor, &tracer->timer);
    timer_init(&tracer->timer, on_last, tracer);
    timer_set(tracer->options.reactor, &tracer->timer, LAST_MS);
    flush(tracer); /* where a call is under way its answer goes on */
}

void tracer_free(struct tracer *tracer)
{
    if (!tracer)
        return;
    if (tracer->call)
        transport_cancel(tracer->options.transport, tracer->call);
    timer_stop(tracer->options.reactor, &tracer->timer);
    buf_fini(&tracer->waiting);
    buf_fini(&tracer->body);
    free(tracer->endpoint);
    free(tracer);
}
