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
#include "handler/handler.h"
#include "handler/observer.h"
#include "record/page.h"
#include "stats/stats.h"

struct script;

struct script_options {
    const char *path;            /* scripts/stock.lua ... */
    const char *name;            /* of the handler; NULL: that is the path's last part without .lua */
    const struct config *config; /* its [handler] section, if any; held, may be NULL */
    struct reactor *reactor;
    struct aws_client *aws;        /* NULL for a script that is only checked */
    struct transport *transport;   /* for tidemill.http; NULL like `aws` */
    struct store *store;           /* for tidemill.once; NULL like `aws` */
    const struct emitter *emitter; /* for tidemill.emit; NULL like `aws`; must stay */
    struct log *log;
    struct stats *stats;             /* or NULL; must stay */
    const struct observer *observer; /* or NULL; must stay */
    const char *owner; /* of what tidemill.once claims, see store_claim; NULL: this process; must stay */
    /* Is that owner a host which is known to be dead? Or NULL. */
    bool (*known_dead)(const void *user, const char *owner);
    const void *known_user;
    const struct testing_hooks *testing; /* for a *_test.lua file, see testing.h; must stay */
};

/* Compile and run the file once. NULL when anything is wrong; each thing is a line of `problems` with file
 * and line. */
struct script *script_load(const struct script_options *options, struct problems *problems);

/* The script as what the rest of the host knows; it holds the reference that script_load gave. NULL of
 * NULL. */
struct handler *script_handler(struct script *script);

/* A DynamoDB table, or TABLE/index/INDEX, that the script says it uses. */
#define SCRIPT_ACTIONS_MAX 16
#define SCRIPT_KEYS_MAX 8
struct script_table {
    const char *name;                        /* NULL: the setting it comes from is missing */
    const char *actions[SCRIPT_ACTIONS_MAX]; /* "PutItem" */
    size_t action_count;
    const char *keys[SCRIPT_KEYS_MAX]; /* its partition keys are like one of these: "user#*" */
    size_t key_count;                  /* 0: whatever they are */
};

/* Valid as long as the script. `declared`: it has said so, even if it is none. */
const struct script_table *script_tables(const struct script *script, size_t *count, bool *declared);

/* An action of another service, that it says it calls through tidemill.aws. */
struct script_call {
    const char *resource; /* an ARN, or "*"; NULL: the setting it comes from is missing */
    const char *action;   /* "states:StartExecution" */
};
const struct script_call *script_calls(const struct script *script, size_t *count, bool *declared);

/* The targets that it says it emits to, ending with NULL; NULL: it has not said. */
const char *const *script_targets(const struct script *script);

/* Does its text name tidemill.dynamodb, tidemill.emit, tidemill.aws? */
bool script_uses_dynamodb(const struct script *script);
bool script_uses_emit(const struct script *script);
bool script_uses_aws(const struct script *script);

/* What is allowed and probably not meant: a filter that matches no record; writing to the very table whose
 * stream the handler reads, without a filter. */
void script_review(const struct script *script, struct problems *warnings);

/* A window's state may be no larger, as JSON. */
#define SCRIPT_STATE_BYTES_MAX (1 << 20)

/* Nor what on_request answers. */
#define SCRIPT_ANSWER_BYTES_MAX (16 << 20)

#endif
