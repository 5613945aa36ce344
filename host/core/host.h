/* host.h: the whole machine: workers, streams and handlers put together from a configuration.
 *
 * A host is a value: a process can hold several. */
#ifndef TIDEMILL_CORE_HOST_H
#define TIDEMILL_CORE_HOST_H

#include "assign/leases.h"
#include "worker/worker.h"

struct host;

struct host_options {
    const struct config *config; /* checked; held */
    struct log *log;
    struct worker_world world;
    const struct observer *observer;                    /* or NULL; must stay */
    const struct leases *leases;                        /* or NULL: all shards are this host's; must stay */
    bool (*take_release)(void *user, uint64_t scripts); /* or NULL: core/reloader.h; with host_reload */
    void *user;
};

/* The world of the program: libcurl and the machine's clock, which must stay. */
struct worker_world host_world_system(struct clock *clock);

/* Has a handler the stream, of those that it was started with? */
bool host_reads(struct host *host, const char *stream);

/* Opens the state, compiles the scripts (one that is wrong is logged and left out), and is ready to run.
 * NULL and `err` when there is nothing that could run: ERR_BUSY when another host has the state. */
struct host *host_new(const struct host_options *options, struct err *err);
void host_free(struct host *host);

/* The reactor of the calling thread's worker, for signals. */
struct reactor *host_reactor(struct host *host);

/* Reads until host_stop; then lets handlers finish, within shutdown_timeout. False when some had to be given
 * up; their records are read again at the next start. */
bool host_run(struct host *host);

/* It has stopped because it could not go on, which the log says, not because it was told to. */
bool host_failed(const struct host *host);

enum host_reload {
    HOST_RELOADED,
    HOST_REFUSED,      /* a script that runs is wrong under the new configuration; nothing has changed */
    HOST_MUST_RESTART, /* [host] or [aws] differ: this host is to be stopped and another started */
};

/* Take over another configuration while everything goes on: streams and handlers that differ in it are
 * stopped and started again, the rest does not notice. Looks at the scripts, too. On the host's reactor. */
enum host_reload host_reload(struct host *host, const struct config *config, struct problems *problems);

/* Something about this host that is neither a stream's nor a handler's does not work, or works again (`text`
 * NULL): for status. On the host's reactor. */
void host_tell_trouble(struct host *host, const char *kind, const char *text);

/* For metrics: an INI was read again, and taken over or not. On the host's reactor. */
void host_count_ini(struct host *host, bool taken);

/* Of a host with one worker, between two turns of its reactor: is every record that was read settled,
 * and no snapshot under way? */
bool host_drained(const struct host *host);

/* The first worker's; for what runs beside its handlers. */
struct board;

/* What its reactors last said of their numbers; from any thread, until host_free. */
struct board *host_board(struct host *host);
struct aws_client *host_client(struct host *host);
struct transport *host_transport(struct host *host);
struct store *host_store(struct host *host);

/* The version in force on the first worker, whose thread this is; NULL: none. */
const struct handler *host_handler(struct host *host, const char *name);
void host_each_handler(struct host *host, void (*fn)(void *user, const struct handler *handler), void *user);

/* Ask the handler of an intake, as a listener of its own does: worker_ask, of its first worker. */
void host_ask(struct host *host, const struct handler_request *request, worker_answer_fn *done, void *user);

/* Of `leases`, on the host's reactor: a shard is this host's from now on, or not any more. */
void host_gained(struct host *host, const char *stream_arn, const char *shard);
void host_lost(struct host *host, const char *stream_arn, const char *shard);

/* On the host's reactor. The second call gives up what still runs. */
void host_stop(struct host *host);

#endif
