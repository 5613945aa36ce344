/* sim.h: a host in a random world, and what must hold there whatever happens.
 *
 * The host is the real one; its two seams lead to an embedded DynamoDB, to a service that its handlers call,
 * and to a virtual clock. One seed makes one world: what is written, what fails, when the host is killed. All
 * of it runs on one thread, so a seed always goes the same way. */
#ifndef TIDEMILL_TESTS_SIM_SIM_H
#define TIDEMILL_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "core/host.h"
#include "core/world.h"
#include "local/engine.h"
#include "handler/observer.h"

#define SECOND_MS 1000
#define MINUTE_MS (60 * SECOND_MS)
#define HANDLERS 4
#define ITEMS_MAX 24
#define ITEMS_TOGETHER 4         /* in a partition of Alternator's table */
#define CALL_TIMEOUT_MS 5000     /* of the handlers' calls, as in their script */
#define HANDLER_TIMEOUT_MS 30000 /* the default of `timeout` */
#define MESSAGES_MAX 4           /* of a record in a call */

#define SINK "http://sink.sim/"

/* What was written. Its number is its place among all writes, from 0. */
struct written {
    int item;
    char shard[64], sequence[64]; /* "" until it was seen in the stream */
    char unit[80];                /* as the host names it: several records may share a number */
    int64_t time_ms;
    bool trimmed;
};

enum fate_state {
    FATE_UNSEEN,
    FATE_RUNNING,
    FATE_FAILED, /* another attempt is due */
    FATE_HANDLED,
    FATE_GIVEN_UP, /* a dead letter */
    FATE_DISCARDED,
};

/* What became of a record in a handler. */
struct fate {
    enum fate_state state;
    int attempt; /* of the last call */
    int epoch;   /* crashes of the host and seeks of the handler, when the state was entered */
    int64_t since_ms;
    bool permanent; /* the last failure was */
    bool frozen; /* the process stood still during its last call: what the handler made of it is not known */
    bool redriven;    /* its last call was out of the dead letters */
    bool interrupted; /* what its last call emitted was not accepted while the host stopped: that was no
                         attempt */
    bool excused;     /* trimmed before anything of its shard was durable: nobody can know */
};

enum sim_kind { KIND_ITEM, KIND_SHARD, KIND_BATCH, KIND_WINDOW };

/* Where a handler's effects go. */
enum sim_sends {
    SENDS_NOTHING, /* it calls the service itself */
    SENDS_HTTP,    /* one message a call, for all of its records */
    SENDS_BUS,     /* several messages of each record, in the order of its item */
    SENDS_LAKE,    /* likewise, as lines of objects */
};

/* The last message of an item that the bus took: which call's, and which of the call's for the item. */
struct sim_lane {
    int call, at;
};

/* A window's last call as the service saw it. */
struct closed_window {
    struct closed_window *next;
    char shard[64];
    int64_t start_ms;
    int *seen;
    int count;
};

struct sim_handler {
    char name[8];
    enum sim_kind kind;
    int retries;
    bool discard, slow, present, joined;
    enum sim_sends sends;
    struct sim_lane lanes[ITEMS_MAX];
    bool redriven;      /* some of its records were */
    bool forwards;      /* on_failure is a target */
    char *forwarded;    /* of each write: that target has taken it */
    char *in_given_up;  /* likewise: the state of a window that was given up has it */
    int serial;         /* of its script */
    struct fate *fates; /* of each write */
    int seeks;          /* that were asked for: each allows repetitions, as a crash does */
    int64_t left_ms;    /* when it was last removed or moved */
    bool sought;        /* the last of them may not have been carried out yet */
    struct closed_window *windows;
};

/* A call of a handler, from its first request to its end. */
struct sim_call {
    struct list link;
    int id, handler;
    int64_t began_ms;
    int seeks;   /* of its handler by then */
    bool sought; /* another one was asked for, and not done yet */
    bool final;
    bool frozen;    /* the process stood still meanwhile: whether the handler waited for it is not known */
    int64_t end_ms; /* when it will have ended; INT64_MAX while that is open */
    bool well;      /* how */
    bool permanent;
    int *records, *attempts;
    bool *redriven;
    bool *failed;        /* given back by on_batch */
    bool loose;          /* its end can only be inferred */
    bool unsure;         /* and was, from what the host did next */
    int messages;        /* of each record */
    int64_t *arrived_ms; /* of each: when the host has heard that it was taken; INT64_MAX: it has not */
    int count;
    struct closed_window window;
};

struct sim {
    uint64_t seed, random;
    bool loud;
    struct world world;
    struct clock service_clock; /* the host's may jump, this one never */
    struct engine *engine;
    struct fake_alternator *alternator; /* whose streams these are; NULL: the engine's */
    char directory[64], stream_arn[160];
    struct config *config;
    struct log *log;
    struct host *host;
    struct observer observer;
    struct written *writes;
    size_t write_capacity;
    int write_count, harvested;
    int trimmed_below; /* writes before this one are gone */
    struct sim_handler handlers[HANDLERS];
    int handler_count;
    struct list calls;
    int call_count, crashes;
    int faults;    /* requests of a thousand that go wrong */
    bool branched; /* a shard had two children */
    bool stopping;
    int open_shards;
    bool calm;                  /* nothing goes wrong but what always does */
    int64_t disk_full_ms;       /* until then no COMMIT succeeds */
    int64_t expired_ms;         /* until then the credentials have expired */
    int64_t target_down_ms;     /* until then the failure target refuses */
    bool jumped;                /* the host's clock has: it closes windows by it */
    int requests;               /* of seeks: their numbers */
    char *ini;                  /* the deployment's text */
    bool moved;                 /* the target is at its other place */
    char *listing;              /* an older answer of DescribeStream ... */
    char *listing_request;      /* ... to this request */
    bool listing_old;           /* the last answer was an older one */
    int poisoned;               /* records of a thousand that no attempt can handle */
    struct map positions;       /* durable: handler and shard -> sequence */
    struct map final_failures;  /* handler, shard and window -> failed last calls */
    struct sim_object *objects; /* S3's, the oldest first */
    int *lines;                 /* of targets.c: how often each message stands in them */
    char violation[1000];       /* "": none */
};

/* ---- chance ---- */

uint64_t sim_random(struct sim *sim);
int sim_below(struct sim *sim, int limit); /* 0 to limit - 1 */
bool sim_chance(struct sim *sim, int of_thousand);

/* The first violation stays. */
void sim_violated(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- service.c: what stands behind the transport seam ---- */

void service_init(struct sim *sim);
void service_fini(struct sim *sim);

/* Write the next version of the item. */
void service_write(struct sim *sim, int item);

/* Likewise of several of one partition, at once: Alternator's, 4 items to a partition. */
void service_write_group(struct sim *sim, const int *items, int count);

/* Learn where in the stream the writes are. */
void service_harvest(struct sim *sim);

/* Carry out an operation of the engine; false when it refuses. */
bool service_call(struct sim *sim, const char *target, const char *body, struct buf *answer);

/* The process stood still: what is under way may have timed out. */
void service_freeze(struct sim *sim);

/* One that is under way; NULL: there is none of that number. */
struct sim_call *service_find_call(struct sim *sim, int id);

void service_say(struct answer *answer, int status, const char *body);

/* Something may go wrong before the service sees the request: true when it has. */
bool service_fails_before(struct sim *sim, struct answer *answer, bool throttles);

/* Calls whose end has come are told to the model. */
void service_end_calls(struct sim *sim);

const char *service_window_key(const struct sim *sim, const struct sim_call *call, char *key, size_t size);

/* The host is gone: what it had under way never happened. */
void service_host_gone(struct sim *sim, bool crashed);

/* ---- targets.c: the services of targets, a line in its table for each ---- */

/* Into [aws], and the sections [target NAME]. */
void targets_write_endpoints(struct buf *ini);
void targets_write(struct sim *sim, struct buf *ini);

/* False where the request is for none of them. */
bool targets_answer(struct sim *sim, const struct transport_request *request, struct answer *answer);

/* The call is going to emit so many messages of each of its records. */
void targets_expect(struct sim_call *call, int messages);

/* Loose calls whose messages are all known to be taken get an end. */
void targets_end_loose(struct sim *sim);

/* Likewise those whose events stand in the lake since an earlier call. */
void targets_settle_loose(struct sim *sim);

/* The host begins with `next`: what contradicts that has ended. */
void targets_goes_on(struct sim *sim, const struct sim_call *next);

/* The host has given the record up: its call has failed. */
void targets_gave_up(struct sim *sim, int handler, int record);

/* The host has stopped: what was not taken was no attempt. */
void targets_stopped(struct sim *sim);

/* At the end: each event that was handled stands in the lake, once. */
void targets_check_lake(struct sim *sim, int handler);
void targets_fini(struct sim *sim);

/* ---- model.c: what handlers may and may not do ---- */

/* A handler begins with the records of the call: in order, one at a time per item, none twice. */
void model_begin(struct sim *sim, struct sim_call *call);

/* The call's end has come. */
void model_end(struct sim *sim, struct sim_call *call);

void model_grow(struct sim *sim);
void model_given_up(struct sim *sim, const struct observed *observed);
bool model_settled(const struct sim *sim, int handler, int record);

/* ---- check.c: what the store may and may not say ---- */

/* At any moment: no checkpoint beyond what is not settled, none that went back. */
void check_store(struct sim *sim);

/* At the end: every record is accounted for, dead letters are complete, windows are exact. */
void check_end(struct sim *sim);

/* All that was written so far is about to be trimmed. */
void check_trim(struct sim *sim);

/* Ask for all dead letters to be redriven. */
void check_redrive_all(struct sim *sim);

/* Ask the host to move the handler to the oldest record. */
void check_seek(struct sim *sim, int handler);

/* ---- life.c ---- */

/* A whole life; the violation, if any, is in `violation` (1,000 bytes), else that is "". */
void life_run(uint64_t seed, bool loud, char *violation);

/* The state of a window whose last call failed for good was put where on_failure says, as this JSON. */
void model_window_given_up(struct sim_handler *handler, const char *text);

#endif
