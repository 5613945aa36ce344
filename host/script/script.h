/* script.h: one handler's Lua state on one reactor.
 *
 * The verbs the rest of the host needs; nothing outside script/ and value/ sees lua.h. A handler that waits
 * for a call is suspended, so thousands of invocations overlap on one thread. */
#ifndef TIDEMILL_SCRIPT_SCRIPT_H
#define TIDEMILL_SCRIPT_SCRIPT_H

#include <stdbool.h>

#include "aws/client.h"
#include "base/log.h"
#include "base/problems.h"
#include "conf/config.h"
#include "net/reactor.h"
#include "net/transport.h"
#include "state/store.h"
#include "script/observer.h"
#include "stream/page.h"

struct script;
struct invocation;

struct script_options {
    const char *path;            /* scripts/stock.lua; the handler's name is its last part without .lua */
    const struct config *config; /* its [handler] section, if any; held, may be NULL */
    struct reactor *reactor;
    struct aws_client *aws;      /* NULL for a script that is only checked */
    struct transport *transport; /* for tidemill.http; NULL like `aws` */
    struct store *store;         /* for tidemill.once; NULL like `aws` */
    struct log *log;
    const struct observer *observer;     /* or NULL; must stay */
    const struct testing_hooks *testing; /* for a *_test.lua file, see testing.h; must stay */
};

/* Compile and run the file once. NULL when anything is wrong; each thing is a line of `problems` with file
 * and line. */
struct script *script_load(const struct script_options *options, struct problems *problems);

/* Counted by reference; a running invocation holds one of its own, so a version that was replaced lives until
 * its last record is done. script_load gives the first. */
struct script *script_hold(struct script *script);
void script_release(struct script *script);

/* Has the content of the file, or of a module under lib/ that it required, changed since it was loaded? */
bool script_stale(const struct script *script);

const char *script_name(const struct script *script);

/* What it was loaded with. */
const struct config *script_config(const struct script *script);

/* "12ab34cd56ef": a hash of the file and the modules it required. */
const char *script_version(const struct script *script);

/* The script's own settings with the INI's over them. */
const struct handler_settings *script_settings(const struct script *script);

/* Where a record comes from. The texts must stay during the invocation. */
struct script_source {
    const char *stream; /* the name in the INI */
    const char *stream_arn;
    const char *table;
    const char *shard;
};

/* Does the handler want this record: has it a function for the event, and does its filter agree? */
bool script_wants(const struct script *script, const struct record *record,
                  const struct script_source *source);

/* What is allowed and probably not meant: a filter that matches no record; writing to the very table whose
 * stream the handler reads, without a filter. */
void script_review(const struct script *script, struct problems *warnings);

enum script_result {
    SCRIPT_RETURNED,
    SCRIPT_RAISED,
    SCRIPT_WAITING, /* only from script_run: the end will come through `done` */
};

/* Of SCRIPT_RAISED. */
struct script_error {
    bool permanent;  /* tidemill.permanent: another attempt is pointless */
    char *text;      /* with the script's file and line; owned */
    char *traceback; /* owned */
};

void script_error_fini(struct script_error *error);

/* `error` is the receiver's. From the reactor; the invocation is gone. */
typedef void script_done_fn(void *user, enum script_result result, struct script_error *error);

/* Call the handler for a record, which must stay until the end. `*invocation` is set when it waits. */
enum script_result script_run(struct script *script, const struct record *record,
                              const struct script_source *source, int64_t attempt, script_done_fn *done,
                              void *user, struct invocation **invocation, struct script_error *error);

/* Give up on one that waits; `done` will not come. */
void script_cancel(struct invocation *invocation);

#endif
