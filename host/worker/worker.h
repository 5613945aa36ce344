/* worker.h: one reactor with its own connections, Lua states, shards and store handle.
 *
 * A worker does as it is told: it reads the shards it is given for the handlers it is given, and reports. All
 * calls but worker_new, worker_run and worker_free may come from another thread; reports are posted to the
 * reactor they are for. */
#ifndef TIDEMILL_WORKER_WORKER_H
#define TIDEMILL_WORKER_WORKER_H

#include "aws/client.h"
#include "base/log.h"
#include "conf/config.h"
#include "net/fence.h"
#include "net/reactor.h"
#include "net/transport.h"
#include "script/script.h"
#include "state/store.h"
#include "state/troubles.h"
#include "stats/board.h"
#include "source/sources.h"

struct worker;

struct worker_reports {
    struct reactor *reactor; /* where the functions are called */
    void (*closed)(void *user, const char *stream_arn, const char *shard);
    /* `progress`: what was kept with the last checkpoint */
    void (*finished)(void *user, const char *stream_arn, const char *shard, const char *handler,
                     const char *progress);
    void (*missing)(void *user, const char *stream_arn, const char *shard);
    void (*left)(void *user, const char *handler); /* after worker_remove_handler, from each worker */
    /* After worker_redrive: the letter is settled there, or could not be; it is not worked on any more. */
    void (*redriven)(void *user, const char *stream_arn, const char *shard, int64_t letter);
    /* One that is to be held there has its turn. */
    void (*held)(void *user, const char *stream_arn, const char *shard, int64_t letter);
    /* After worker_load_handler, from each worker. */
    void (*loaded)(void *user, struct worker *worker, const char *place, bool ok);
    /* The handler came to a gap, and on_gap = stop. */
    void (*halted)(void *user, const char *handler);
    /* After worker_drain: nothing of the shard runs, and where its handlers stand is kept. */
    void (*drained)(void *user, const char *stream_arn, const char *shard);
    /* How many records it has read there so far, once in a while: of a state that hosts share. Or NULL. */
    void (*read)(void *user, const char *stream_arn, const char *shard, int64_t records);
    void (*stopped)(void *user, struct worker *worker);
    void *user;
};

/* The seams: how a worker's reactor reaches the outside, and what time it is. */
struct worker_world {
    struct clock *clock;
    struct transport *(*transport_new)(void *user, struct reactor *reactor, const struct config *config);
    void *user;
    bool one_thread;                 /* a simulation: the store works on the reactor's thread */
    int (*commit_fails)(void *user); /* NULL, or asked at each COMMIT: one that fails, as on a full disk */
    /* NULL: targets are what they are. */
    struct emitter *(*emitter_new)(void *user, struct reactor *reactor, const struct config *config);
    void *emitter_user;
};

struct worker_options {
    const struct config *config; /* held */
    struct log *log;
    struct worker_world world;
    const struct observer *observer; /* of what handlers do; or NULL; must stay */
    const char *instance;            /* of the host: what it owns is marked with it; must stay */
    size_t place;                    /* among the workers */
    struct brakes *brakes;           /* of tables, on all reactors; or NULL; must stay */
    struct paces *paces;             /* of handlers and targets, on all reactors; or NULL; must stay */
    struct snapshots *snapshots;     /* under way on all reactors; must stay */
    struct board *board;             /* where its numbers are put up; or NULL; must stay */
    /* Is that owner (state/store.h) a host which is known to be dead? Or NULL. */
    bool (*known_dead)(const void *user, const char *owner);
    const void *known_user;
    /* Of a state that hosts share, else NULL; must stay. */
    struct shard_writer *writer; /* state/store_open.h */
    struct fence *fence;         /* net/transport_fenced.h */
};

/* NULL and `err` when the store or the AWS client cannot be made. */
struct worker *worker_new(const struct worker_options *options, struct err *err);

/* In this order, once it does not run any more: what still waits for the store is told that it is closed, and
 * its owners may go, before the reactor does. */
void worker_close_store(struct worker *worker);
void worker_free(struct worker *worker);

/* Where reports go; before the first shard is given. */
void worker_set_reports(struct worker *worker, const struct worker_reports *reports);

/* Load what stands at the place (worker/handlers.h) for this worker. NULL, with lines in `problems`, when it
 * is wrong. Before worker_run. */
const struct handler *worker_add_handler(struct worker *worker, const char *place, struct problems *problems);

/* The version in force; only from the worker's own thread, or before it runs. NULL: none. */
const struct handler *worker_handler(const struct worker *worker, const char *name);

/* Each of them. */
void worker_each_handler(struct worker *worker, void (*fn)(void *user, const struct handler *handler),
                         void *user);

struct reactor *worker_reactor(struct worker *worker);
struct sources *worker_sources(struct worker *worker);
struct store *worker_store(struct worker *worker);
struct aws_client *worker_client(struct worker *worker);

struct transport *worker_transport(struct worker *worker);

/* On its own thread: is every record that was read settled? */
bool worker_drained(const struct worker *worker);

/* Turns the reactor until worker_end. */
void worker_run(struct worker *worker);
void worker_end(struct worker *worker);

/* ---- orders ---- */

struct assignment {
    const struct config *config;        /* held */
    const struct config_stream *stream; /* of `config` */
    const char *stream_arn, *table, *shard, *handler;
    struct position position;
    const char *progress; /* what was kept with the position, or "" */
    const char *cursor;   /* at hand for the position, or NULL */
    int64_t epoch;        /* of the shard's owner, see handler/handler.h */
    bool closed;          /* the shard will get no more records */
    bool last;            /* it was finished, and nothing follows it: only to close a window that is open */
};

void worker_assign(struct worker *worker, const struct assignment *assignment);
void worker_shard_closed(struct worker *worker, const char *stream_arn, const char *shard);
/* The shard is to be another host's: feed it no more, let what runs finish, keep where it stands; then
 * reports.drained. worker_lose must follow. */
void worker_drain(struct worker *worker, const char *stream_arn, const char *shard);
/* The shard is another host's: what runs is given up, and nothing of it is committed any more. */
void worker_lose(struct worker *worker, const char *stream_arn, const char *shard);
void worker_shard_vanished(struct worker *worker, const char *stream_arn, const char *shard);

/* Give the handler on that shard a record out of the dead letters. */
void worker_redrive(struct worker *worker, const char *stream_arn, const char *shard, const char *handler,
                    int64_t letter, const char *record, bool hold);

/* One that is held: see subscription_release. */
void worker_release(struct worker *worker, const char *stream_arn, const char *shard, const char *handler,
                    int64_t letter, bool run);

/* Ask the handler of request->intake, from any thread; the texts of both stay until `done`, which comes on
 * the worker's thread with the answer to take (NULL: it has none, and the status says why: 500, 503, 504). */
typedef void worker_answer_fn(void *user, int status, struct handler_answer *answer);
void worker_ask(struct worker *worker, const struct handler_request *request, worker_answer_fn *done,
                void *user);

/* For metrics: an intake has refused one by itself. From any thread. */
void worker_count_refused(struct worker *worker, const char *intake, int status);

/* What does not work in this worker; on its own thread only. */
struct troubles *worker_troubles(struct worker *worker);

/* What is loaded from now on belongs to this configuration, which says the same of [host] and [aws]
 * as the one before. */
void worker_set_config(struct worker *worker, const struct config *config);

/* Load what stands at the place and let it take over from the version in force, if there is one. The caller
 * has made sure that it is sound; what fails nevertheless is logged, and the old version stays. */
void worker_load_handler(struct worker *worker, const char *place);

/* Stop the handler on all shards; its checkpoints are kept. */
void worker_remove_handler(struct worker *worker, const char *handler);

/* Stop reading, let what runs finish, checkpoint; then reports.stopped. */
void worker_stop(struct worker *worker);
/* Do not wait for handlers any longer. */
void worker_abandon(struct worker *worker);

#endif
