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

/* A DynamoDB table, or TABLE/index/INDEX, that the script says it uses. */
#define SCRIPT_ACTIONS_MAX 16
struct script_table {
    const char *name;                        /* NULL: the setting it comes from is missing */
    const char *actions[SCRIPT_ACTIONS_MAX]; /* "PutItem" */
    size_t action_count;
};

/* Valid as long as the script. `declared`: it has said so, even if it is none. */
const struct script_table *script_tables(const struct script *script, size_t *count, bool *declared);

/* Does its text name tidemill.dynamodb? */
bool script_uses_dynamodb(const struct script *script);

/* What is allowed and probably not meant: a filter that matches no record; writing to the very table whose
 * stream the handler reads, without a filter. */
void script_review(const struct script *script, struct problems *warnings);

/* How the handler takes its records: one by one (on_insert, ...), in batches (on_batch), or into the state of
 * a tumbling window (on_window). */
enum script_kind { SCRIPT_RECORDS, SCRIPT_BATCHES, SCRIPT_WINDOWS };
enum script_kind script_kind(const struct script *script);

/* A record on its way to the handler. */
struct script_input {
    const struct record *record;
    int64_t attempt; /* from 1 */
    bool redriven;   /* out of the dead letters */
};

/* For on_window. */
struct script_window {
    int64_t start_ms, end_ms; /* wall clock, end exclusive */
    const char *state;        /* JSON; NULL: the window's first call */
    bool final;
};

/* One call of the handler. All of it must stay until the end. */
struct script_call {
    const struct script_input *inputs;
    size_t count; /* 1 for SCRIPT_RECORDS */
    const struct script_source *source;
    const struct script_window *window; /* of SCRIPT_WINDOWS */
};

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

/* What came of a call. */
struct script_outcome {
    struct script_error error;
    bool *failed; /* SCRIPT_BATCHES: for each record, did on_batch give it back? NULL: none. Owned */
    char *state;  /* SCRIPT_WINDOWS: what on_window returned, as JSON; NULL: nothing. Owned */
};

void script_error_fini(struct script_error *error);
void script_outcome_fini(struct script_outcome *outcome);

/* `outcome` is the receiver's. From the reactor; the invocation is gone. */
typedef void script_done_fn(void *user, enum script_result result, struct script_outcome *outcome);

/* Call the handler. `*invocation` is set when it waits; else `outcome` is. */
enum script_result script_run(struct script *script, const struct script_call *call, script_done_fn *done,
                              void *user, struct invocation **invocation, struct script_outcome *outcome);

/* A window's state may be no larger, as JSON. */
#define SCRIPT_STATE_BYTES_MAX (1 << 20)

/* Give up on one that waits; `done` will not come. */
void script_cancel(struct invocation *invocation);

#endif
