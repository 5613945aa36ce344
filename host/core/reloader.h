/* reloader.h: keeps the running handlers what the scripts directory and the configuration say.
 *
 * A changed script is compiled first; when that fails the old version goes on and the error is logged. A new
 * file becomes a handler, a removed one drains and stops. inotify tells when to look (the directory, lib/
 * under it, and where the directory itself is linked from); a look every few seconds finds what inotify
 * cannot see. */
#ifndef TIDEMILL_CORE_RELOADER_H
#define TIDEMILL_CORE_RELOADER_H

#include "assign/streams.h"

struct reloader;

/* Scripts have changed; `scripts` is a hash of all. An INI that has changed as well belongs to them: it is
 * taken first (reloader_set_config). False: it cannot be, and so they are not; it is asked again at the next
 * look. */
typedef bool reloader_release_fn(void *user, uint64_t scripts);

struct reloader_options {
    const struct config *config; /* held */
    struct log *log;
    struct reactor *reactor;
    struct store *store;
    struct worker **workers; /* must stay */
    size_t worker_count;
    struct streams *streams;
    const struct store_snapshot *requests; /* as of the start: who is paused; only used by reloader_new */
    reloader_release_fn *take_release;     /* or NULL */
    void *user;
};

/* With its handlers running (see reloader_running) it watches from the first turn on. */
struct reloader *reloader_new(const struct reloader_options *options);
void reloader_free(struct reloader *reloader);

/* A handler that runs already. */
void reloader_running(struct reloader *reloader, const char *place, const struct handler *handler);

/* Would every handler that runs compile under this configuration? What would not becomes lines of
 * `problems`. */
bool reloader_accepts(struct reloader *reloader, const struct config *config, struct problems *problems);

/* Take it over: only [stream] and [handler] sections may differ. Looks at the scripts as well. */
void reloader_set_config(struct reloader *reloader, const struct config *config);

/* Stop the handler, write the batch (which is taken; or NULL) once it has, and start it again from what is
 * kept then. False when it is just being stopped. One that does not run has its batch written at once. */
bool reloader_restart(struct reloader *reloader, const char *handler, struct store_batch *batch);

/* A worker has loaded what stands at the place, or could not: then it is tried again. */
void reloader_loaded(struct reloader *reloader, struct worker *worker, const char *place, bool ok);

/* Those that the snapshot's requests say are paused stop, once what runs has ended, and keep their places;
 * those that it does not any more begin there again. */
void reloader_set_paused(struct reloader *reloader, const struct store_snapshot *snapshot);
bool reloader_paused(const struct reloader *reloader, const char *handler);
void reloader_each_paused(const struct reloader *reloader,
                          void (*fn)(void *user, const char *handler, int64_t since_ms), void *user);

/* Where its settings say that it had another name: what it goes on with, into the batch. False: they do not.
 */
bool reloader_inherit(const struct handler *handler, struct store_batch *batch);

/* What the former one did once, into the batch. The snapshot is of its STORE_MARKERS. */
void reloader_inherit_markers(const struct store_snapshot *markers, const char *heir,
                              struct store_batch *batch);

/* The running handler that had this name before; NULL: there is none. */
const char *reloader_heir(const struct reloader *reloader, const char *former);

/* What stands at the place cannot be loaded, and why: for status. */
void reloader_tell_broken(struct worker *worker, const char *place, const char *text);

/* Of scripts and routes since the start. */
struct reloads {
    int64_t taken, refused; /* versions that are in force, or were; that could not be loaded */
    size_t broken;          /* how many cannot be loaded as they stand now */
};
struct reloads reloader_counts(const struct reloader *reloader);

/* Do nothing any more: the host stops. */
void reloader_stop(struct reloader *reloader);

/* A worker has let go of a removed handler. */
void reloader_left(struct reloader *reloader, const char *handler);

#endif
