/* trace.h: spans of what is done with a record, given to a collector over OTLP/HTTP in JSON
 * (https://opentelemetry.io/docs/specs/otlp/): batched, bounded, and never in a record's way: what the
 * collector does not take in time is dropped and counted.
 *
 * A trace begins where the record's item says so (a `traceparent` by https://www.w3.org/TR/trace-context/, or
 * an `AWSTraceHeader`), else with the record; whether it is sampled is decided once, by who began it, or by
 * the record's own number: another attempt, another host, another handler decide alike. */
#ifndef TIDEMILL_STATS_TRACE_H
#define TIDEMILL_STATS_TRACE_H

#include "base/log.h"
#include "net/reactor.h"
#include "net/transport.h"
#include "record/page.h"
#include "stats/stats.h"

/* Of one reactor. NULL stands for: nobody traces. */
struct tracer;

struct tracer_options {
    const char *url;      /* the collector's, without /v1/traces; must stay */
    int64_t sample_ppm;   /* of a million traces that begin here */
    const char *instance; /* of the host's run; or NULL; must stay */
    const char *group;    /* must stay */
    struct reactor *reactor;
    struct transport *transport;
    struct log *log;
    struct stats *stats;
};

struct tracer *tracer_new(const struct tracer_options *options);

/* No more spans come. What is left is sent, for a moment; then `done`. */
void tracer_stop(struct tracer *tracer, void (*done)(void *user), void *user);
void tracer_free(struct tracer *tracer); /* NULL is allowed */

enum { TRACE_ID_BYTES = 16, SPAN_ID_BYTES = 8 };

/* Where something is in a trace. A value. */
struct trace_place {
    unsigned char trace[TRACE_ID_BYTES], span[SPAN_ID_BYTES];
};

/* Something that goes on. A value; zeroed it is of no trace. */
struct span {
    bool sampled;
    bool has_parent;
    struct trace_place place;
    unsigned char parent[SPAN_ID_BYTES];
    int64_t begun_us; /* monotonic */
};

/* What the shard gives to its records' numbers: to be kept with it. */
uint64_t trace_seed(const char *shard);

/* The handling of a record: is it sampled? `span` is zeroed where it is not. `seed`: of the record's shard.
 */
void tracer_begin(struct tracer *tracer, const struct record *record, uint64_t seed, struct span *span);

/* A request from outside: its trace goes on where `traceparent` (W3C; NULL: none) says one, else it may begin
 * one. */
void tracer_begin_request(struct tracer *tracer, const char *traceparent, struct span *span);

/* A part of what is at that place (NULL: of no trace). */
void tracer_begin_part(struct tracer *tracer, const struct trace_place *place, struct span *span);

enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT, SPAN_PRODUCER, SPAN_CONSUMER }; /* as in OTLP */

/* Names and values up to a NULL name; a value of NULL is left out. */
struct span_attribute {
    const char *name, *value;
};

/* It has ended, and is none any more; where it is not sampled, nothing happens. `error` NULL: well. */
void tracer_end(struct tracer *tracer, struct span *span, const char *name, enum span_kind kind,
                const char *error, const struct span_attribute *attributes);

/* As it goes on: "traceparent: 00-...", "X-Amzn-Trace-Id: Root=1-...;Parent=...;Sampled=1". */
#define TRACE_PARENT_SIZE 72
void trace_write_parent(const struct trace_place *place, char header[TRACE_PARENT_SIZE]);
#define TRACE_AMZN_SIZE 96
void trace_write_amzn(const struct trace_place *place, char header[TRACE_AMZN_SIZE]);

/* What others wrote. False: it is none. */
bool trace_read_parent(const char *text, size_t size, struct trace_place *place, bool *sampled);
bool trace_read_amzn(const char *text, size_t size, struct trace_place *place, bool *sampled);

#endif
