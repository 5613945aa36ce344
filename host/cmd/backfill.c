/* backfill.c: tidemill backfill: every item of a handler's tables, and then on with the stream. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/actions.h"
#include "admin/status.h"
#include "base/arn.h"
#include "base/document.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/outside.h"
#include "cmd/take_over.h"
#include "source/export/source_export.h"
#include "source/snapshot/source_snapshot.h"
#include "state/store_open.h"

#define LOOK_MS 1000
#define LOOK_SHARED_MS 5000 /* what all hosts share costs something to read */

struct arguments {
    const char *config_path, *handler, *as, *stream;
    int64_t segments;
    bool no_wait;
};

static const struct cmd_option known_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--as", CMD_TEXT, offsetof(struct arguments, as), NULL},
    {"--stream", CMD_TEXT, offsetof(struct arguments, stream), NULL},
    {"--segments", CMD_COUNT, offsetof(struct arguments, segments), NULL},
    {"--no-wait", CMD_FLAG, offsetof(struct arguments, no_wait), NULL},
    {"HANDLER", CMD_OPERAND, offsetof(struct arguments, handler), NULL},
    {0},
};

struct backfill {
    struct arguments arguments;
    struct config *config;
    struct access state;
    struct cmd_outside outside;
    struct buf arns; /* of the snapshots, a line each */
};

/* ---- their names ---- */

struct naming {
    bool done;
    char *arn;
    struct err err;
};

static void on_named(void *user, const char *arn, const struct source_error *error)
{
    struct naming *naming = user;
    naming->done = true;
    naming->arn = mem_string(arn);
    if (error)
        naming->err = error->err;
}

/* Is it the Kinesis stream that the [stream] names? */
static bool is_kinesis_of(const struct config_stream *stream, const char *arn)
{
    char *own = service_arn(arn);
    const char *name = strrchr(own, '/');
    bool same = stream->kinesis && created_of_arn(arn) &&
                (strcmp(stream->kinesis, own) == 0 || (name && strcmp(stream->kinesis, name + 1) == 0));
    free(own);
    return same;
}

/* The table whose changes come there; to be freed. */
static char *table_of(const struct config *config, const char *arn)
{
    for (size_t i = 0; i < config->stream_count; i++)
        if (is_kinesis_of(&config->streams[i], arn) && config->streams[i].table)
            return mem_string(config->streams[i].table);
    return table_of_arn(arn, NULL);
}

/* Does the [stream] of that name read the table? */
static bool reads(const struct config *config, const char *stream, const char *table)
{
    const struct config_stream *own = config_stream(config, stream);
    char *its = own ? config_stream_table(own) : NULL;
    bool same = its ? strcmp(its, table) == 0 : own && config_stream_fits(own, table);
    free(its);
    return same;
}

/* Of the [stream] that reads the table; NULL: it has none. */
static const char *export_of(const struct config *config, const char *table)
{
    for (size_t i = 0; i < config->stream_count; i++)
        if (config->streams[i].export && reads(config, config->streams[i].name, table))
            return config->streams[i].export;
    return NULL;
}

struct trying {
    bool done;
    struct err err;
};

static void on_tried(void *user, struct transport_response *response, const struct err *err)
{
    struct trying *trying = user;
    (void)response;
    trying->done = true;
    if (err)
        trying->err = *err;
}

/* Else the handler would leave its stream, and then stand still. */
static bool may_scan(struct backfill *backfill, const char *table, struct err *err)
{
    struct trying trying = {0};
    struct aws_request request = {.service = AWS_DYNAMODB, .operation = "Scan"};
    cJSON *body = cJSON_CreateObject();
    document_add_text(body, "TableName", table);
    document_add_integer(body, "Limit", 1);
    document_write(body, &request.body);
    aws_send(backfill->outside.aws, &request, on_tried, &trying);
    reactor_turn_until(backfill->outside.reactor, &trying.done);
    if (trying.err.code)
        *err = trying.err;
    return !trying.err.code;
}

/* Whose snapshots they are. */
static const char *name_of(const struct backfill *backfill)
{
    return backfill->arguments.as ? backfill->arguments.as : backfill->arguments.handler;
}

static bool name_one(struct backfill *backfill, struct sources *sources, const struct store_follow *follow,
                     struct err *err)
{
    struct naming naming = {0};
    char *table = table_of(backfill->config, follow->stream_arn);
    const char *export = export_of(backfill->config, table);
    struct source *source = sources_for(sources, NULL, export ? SOURCE_EXPORT : ARN_SNAPSHOT);
    if (export)
        source_export_take(source, export, table, follow->stream_arn, name_of(backfill), on_named, &naming);
    else if (may_scan(backfill, table, &naming.err))
        source_snapshot_take(source, table, follow->stream_arn, name_of(backfill),
                             aws_client_earliest_now_ms(backfill->outside.aws), backfill->arguments.segments,
                             on_named, &naming);
    else
        naming.done = true;
    reactor_turn_until(backfill->outside.reactor, &naming.done);
    if (naming.arn)
        buf_printf(&backfill->arns, "%s%s", backfill->arns.size ? "\n" : "", naming.arn);
    else
        *err = naming.err, err_prefix(err, "table %s", table);
    free(naming.arn);
    free(table);
    return !err->code;
}

static bool is_asked_for(const struct backfill *backfill, const struct store_follow *follow)
{
    char *table = table_of(backfill->config, follow->stream_arn);
    bool asked = strcmp(follow->handler, backfill->arguments.handler) == 0 &&
                 (!backfill->arguments.stream || reads(backfill->config, backfill->arguments.stream, table));
    free(table);
    return asked;
}

static bool name_all(struct backfill *backfill, const struct store_snapshot *snapshot, struct err *err)
{
    struct sources *sources = sources_new(&(struct source_world){
        .reactor = backfill->outside.reactor, .client = backfill->outside.aws, .log = backfill->outside.log});
    err->code = ERR_NONE;
    for (size_t i = 0; i < snapshot->follow_count && !err->code; i++) {
        const struct store_follow *follow = &snapshot->follows[i];
        if (!is_asked_for(backfill, follow))
            continue;
        if (snapshot_of_arn(follow->stream_arn))
            err_set(err, ERR_BUSY, "handler %s has a snapshot before it (see tidemill status)",
                    follow->handler);
        else if (strcmp(follow->stream_arn, STORE_FOLLOW_LATEST) == 0)
            err_set(err, ERR_CONFIG,
                    "handler %s was sought to the latest record and has not begun there yet: again when a "
                    "host has run it",
                    follow->handler);
        else
            name_one(backfill, sources, follow, err);
    }
    if (!err->code && !backfill->arns.size)
        err_set(err, ERR_CONFIG,
                backfill->arguments.stream
                    ? "handler %s does not follow the table of [stream %s], or has not run yet"
                    : "handler %s has not run yet: with snapshot = yes in its [stream] it begins with every "
                      "item%s",
                backfill->arguments.handler, backfill->arguments.stream ? backfill->arguments.stream : "");
    sources_free(sources);
    return !err->code;
}

/* ---- watching it ---- */

static volatile int interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* The handler's snapshots, together; false: there are none any more. */
static bool look(struct backfill *backfill, struct snapshot_progress *sum, struct err *err)
{
    struct snapshot_progress *list;
    bool any = false;
    *sum = (struct snapshot_progress){.left_ms = -1};
    struct store_snapshot *all = access_load(&backfill->state, &(struct store_query){.what = STORE_ALL}, err);
    if (!all)
        return false;
    size_t count = snapshot_progress_read(all, clock_wall_ms(&backfill->state.clock), &list);
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_progress *one = &list[i];
        if (strcmp(one->handler, name_of(backfill)) != 0)
            continue;
        any = true;
        sum->items += one->items;
        sum->items_all += one->items_all;
        sum->left_ms = one->left_ms > sum->left_ms ? one->left_ms : sum->left_ms;
    }
    store_snapshot_free(all);
    return any;
}

static void show(const struct snapshot_progress *sum)
{
    char *what = sum->left_ms < 0
                     ? mem_string("items")
                     : mem_printf("items, about %lldm%02llds left", (long long)sum->left_ms / 60000,
                                  (long long)sum->left_ms / 1000 % 60);
    int64_t all = sum->items > sum->items_all ? sum->items : sum->items_all;
    cmd_progress((size_t)sum->items, (size_t)all, what);
    free(what);
}

/* The handler's streams and where it goes on in them, a line each: as they are when it leaves its snapshots
 * by having had all of them. To be freed; NULL and `err`. */
static char *places(struct backfill *backfill, struct err *err)
{
    struct store_snapshot *all = access_load(&backfill->state, &(struct store_query){.what = STORE_ALL}, err);
    struct buf places = BUF_INIT;
    for (size_t i = 0; all && i < all->follow_count; i++) {
        const struct store_follow *follow = &all->follows[i];
        char *stream_arn = stream_of_arn(follow->stream_arn);
        if (strcmp(follow->handler, name_of(backfill)) == 0)
            buf_printf(&places, "%s %lld %s\n", stream_arn, (long long)follow->since_ms,
                       follow->seeks ? follow->seeks : "");
        free(stream_arn);
    }
    bool loaded = all != NULL;
    store_snapshot_free(all);
    if (!loaded)
        buf_fini(&places);
    return !loaded ? NULL : places.data ? buf_take(&places) : mem_string("");
}

static bool watch_until_over(struct backfill *backfill, struct err *err)
{
    int64_t every_ms = store_is_shared(backfill->config->host.state) ? LOOK_SHARED_MS : LOOK_MS;
    struct snapshot_progress sum;
    err->code = ERR_NONE;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    while (!interrupted && look(backfill, &sum, err)) {
        show(&sum);
        nanosleep(&(struct timespec){every_ms / 1000, every_ms % 1000 * 1000000}, NULL);
    }
    cmd_progress_end();
    return !err->code;
}

static bool watch(struct backfill *backfill, struct err *err)
{
    char *before = places(backfill, err);
    bool over = before && watch_until_over(backfill, err);
    char *after = over && !interrupted ? places(backfill, err) : NULL;
    bool ok = over && (interrupted || after);
    if (after && strcmp(before, after) != 0)
        ok = err_set(
            err, ERR_BUSY,
            "handler %s has left the snapshot before its end: it was sought to another place, or its stream "
            "has another after it",
            name_of(backfill));
    free(before);
    free(after);
    if (!ok)
        return false;
    cmd_print(interrupted ? "it goes on: tidemill status shows how far it is\n"
                          : "handler %s has had every item, and goes on with the stream\n",
              name_of(backfill));
    return interrupted || !backfill->arguments.as ||
           take_over_meet(&backfill->state, backfill->config, name_of(backfill), &interrupted, err);
}

/* ---- the command ---- */

/* A new [handler] of a stream with snapshot = yes begins by itself; and one that was begun may be watched
 * again. */
static bool is_under_way(const struct backfill *backfill, const struct store_snapshot *all)
{
    for (size_t i = 0; i < all->follow_count; i++)
        if (strcmp(all->follows[i].handler, name_of(backfill)) == 0 &&
            snapshot_of_arn(all->follows[i].stream_arn))
            return true;
    return false;
}

static bool begin(struct backfill *backfill, const struct store_snapshot *all, bool runs, struct err *err)
{
    struct buf told = BUF_INIT;
    if (is_under_way(backfill, all)) {
        cmd_print("handler %s has a snapshot before it already\n", name_of(backfill));
        return true;
    }
    bool ok = name_all(backfill, all, err);
    const struct action action = {
        .handler = name_of(backfill), .to = backfill->arns.data, .shard = "", .running = true};
    ok = ok && action_seek(&backfill->state, backfill->config, &action, &told, err);
    if (ok)
        cmd_print("%s%s\n", told.data, runs ? "" : ", once a host runs");
    buf_fini(&told);
    return ok;
}

static bool begin_once(struct backfill *backfill, bool *runs, struct err *err)
{
    struct store_snapshot *all = access_load(&backfill->state, &(struct store_query){.what = STORE_ALL}, err);
    struct status status = {.snapshot = all, .now_ms = clock_wall_ms(&backfill->state.clock)};
    *runs = *runs || (all && all->member_count && status_runs(&status));
    bool ok = all && begin(backfill, all, *runs, err);
    store_snapshot_free(all);
    return ok;
}

static bool carry_out(struct backfill *backfill, struct err *err)
{
    const struct cmd_outside_options options = {.log_level = LOG_WARN};
    bool runs = access_host_runs(backfill->config);
    if (backfill->arguments.as &&
        !take_over_check(backfill->config, backfill->arguments.handler, backfill->arguments.as, err))
        return false;
    if (!cmd_outside_open(&backfill->outside, backfill->config, &options, err) ||
        !access_open(&backfill->state, backfill->config, false, err))
        return false;
    bool ok = begin_once(backfill, &runs, err);
    if (!ok && err->code == ERR_CONFIG &&
        backfill->arns.size) { /* its host may have begun by itself meanwhile */
        buf_fini(&backfill->arns);
        ok = begin_once(backfill, &runs, err);
    }
    return ok && (!runs || backfill->arguments.no_wait || watch(backfill, err));
}

static int run(int argc, char **argv)
{
    struct backfill backfill = {0};
    struct err err = {0};
    if (!cmd_options(argc, argv, known_options, &backfill.arguments))
        return EXIT_USAGE;
    if (!backfill.arguments.handler) {
        cmd_complain("backfill: a handler is needed (see tidemill help backfill)");
        return EXIT_USAGE;
    }
    if (backfill.arguments.segments > SNAPSHOT_SEGMENTS_MAX) {
        cmd_complain("backfill: --segments: 1 to %d", SNAPSHOT_SEGMENTS_MAX);
        return EXIT_USAGE;
    }
    backfill.config = cmd_load_config_asking(backfill.arguments.config_path);
    if (!backfill.config)
        return EXIT_USAGE;
    cmd_turn_to_dev(backfill.config, true);
    bool ok = carry_out(&backfill, &err);
    if (!ok)
        cmd_complain("backfill: %s", err.text);
    access_close(&backfill.state);
    cmd_outside_close(&backfill.outside);
    buf_fini(&backfill.arns);
    config_release(backfill.config);
    return ok ? EXIT_DONE : err.code == ERR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
}

const struct command cmd_backfill = {
    .name = "backfill",
    .arguments = "[-c FILE] HANDLER [...]",
    .summary = "every item of the tables through a handler",
    .help =
        "  tidemill backfill [-c FILE] HANDLER [--as NAME] [--stream NAME] [--segments N] [--no-wait]\n\n"
        "The handler leaves its stream, has every item of the table as it is now (an INSERT with\n"
        "record.snapshot set), and goes on in the stream where it stood: it misses no change, and has no\n"
        "item older than it has had it. Beside running hosts, or for the next one. It is what snapshot = "
        "yes\n"
        "does for a handler that is new; snapshot_units and the other keys of the [stream] hold for it.\n\n"
        "It reads with the host's credentials, which need dynamodb:Scan; where the [stream] has an export, "
        "out of\n"
        "that.\n\n"
        "  --as         another [handler], that says script = HANDLER, has them: to fill a new store beside\n"
        "               the old one, which goes on meanwhile; you are told when it has met the live stream\n"
        "  --stream     only the table of that [stream]; else of all that the handler is on\n"
        "  --segments   read side by side; else by the table's size\n"
        "  --no-wait    do not wait for its end\n\n"
        "Meanwhile the stream waits, which keeps its records for 24 hours. Interrupted, this command only\n"
        "ceases to watch, and the same command watches again. tidemill pause holds the snapshot, too; "
        "tidemill seek HANDLER latest ends it.\n",
    .run = run,
};
