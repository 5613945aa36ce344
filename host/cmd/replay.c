/* replay.c: tidemill replay: archived events through a handler or a route once more. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/outside.h"
#include "cmd/take_over.h"
#include "source/source.h"
#include "worker/handlers.h"
#include "core/replay.h"
#include "script/directory.h"

struct arguments {
    const char *config_path, *from, *handler, *as, *pattern;
    struct cmd_texts keys;
    int64_t after_ms, before_ms, rate;
    bool restart;
};

struct replaying {
    struct arguments arguments;
    struct config *config;
    struct cmd_outside outside;
    struct archive *archive;
    struct filter *filter;
    struct handler *handler;
    struct replay *replay;
};

/* ---- arguments ---- */

static const struct cmd_option known_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--from", CMD_TEXT, offsetof(struct arguments, from), NULL},
    {"--handler", CMD_TEXT, offsetof(struct arguments, handler), NULL},
    {"--as", CMD_TEXT, offsetof(struct arguments, as), NULL},
    {"--pattern", CMD_TEXT, offsetof(struct arguments, pattern), NULL},
    {"--key", CMD_TEXTS, offsetof(struct arguments, keys), "NAME=VALUE, an attribute of the items' key"},
    {"--after", CMD_TIME, offsetof(struct arguments, after_ms), NULL},
    {"--before", CMD_TIME, offsetof(struct arguments, before_ms), NULL},
    {"--rate", CMD_COUNT, offsetof(struct arguments, rate), "a number of events a second"},
    {"--restart", CMD_FLAG, offsetof(struct arguments, restart), NULL},
    {0},
};

static bool read_arguments(int argc, char **argv, struct arguments *arguments)
{
    if (!cmd_options(argc, argv, known_options, arguments))
        return false;
    for (size_t i = 0; i < arguments->keys.count; i++) {
        if (!strchr(arguments->keys.list[i], '=')) {
            cmd_complain("replay: --key needs NAME=VALUE, an attribute of the items' key");
            return false;
        }
    }
    if (arguments->as && !arguments->handler) {
        cmd_complain("replay: --as needs --handler: which one is to have another name?");
        return false;
    }
    if (!arguments->from)
        cmd_complain("replay: --from PATH or --from s3://BUCKET/PREFIX is needed");
    return arguments->from != NULL;
}

/* ---- setting up ---- */

/* The handler that was named, or the only one there is. To be freed; NULL and `err`. */
static char *find_place(const struct replaying *replaying, struct err *err)
{
    const struct arguments *arguments = &replaying->arguments;
    const char *wanted = arguments->as ? arguments->as : arguments->handler;
    struct buf names = BUF_INIT;
    char **places = handler_places(replaying->config, true, err), *found = NULL;
    size_t count = 0;
    for (size_t i = 0; places && places[i]; i++) {
        char *name = handler_place_name(places[i]);
        buf_printf(&names, "%s%s", count++ ? ", " : "", name);
        if (!found && (!wanted || strcmp(name, wanted) == 0))
            found = mem_string(places[i]);
        free(name);
    }
    if (found && !wanted && count > 1) {
        free(found);
        found = NULL;
    }
    if (places && !found && wanted)
        err_set(err, ERR_CONFIG, "there is no handler or route %s; there are: %s", wanted,
                names.data ? names.data : "none");
    else if (places && !found)
        err_set(err, ERR_CONFIG, "--handler is needed, one of: %s", names.data ? names.data : "none");
    if (places)
        script_paths_free(places);
    buf_fini(&names);
    return found;
}

static bool load_handler(struct replaying *replaying, struct err *err)
{
    struct problems problems = PROBLEMS_INIT;
    char *place = find_place(replaying, err);
    if (!place)
        return false;
    replaying->handler = cmd_outside_load(&replaying->outside, place, replaying->config, &problems);
    if (!replaying->handler)
        err_set(err, ERR_CONFIG, "%s", problems.lines[0]);
    else if (handler_kind(replaying->handler) == HANDLER_WINDOWS)
        err_set(err, ERR_CONFIG, "%s has on_window: its windows cannot be made out of an archive", place);
    else if (handler_kind(replaying->handler) == HANDLER_REQUESTS)
        err_set(err, ERR_CONFIG, "%s has requests, not records: an archive holds none", place);
    bool ok = replaying->handler && handler_kind(replaying->handler) != HANDLER_WINDOWS &&
              handler_kind(replaying->handler) != HANDLER_REQUESTS;
    problems_fini(&problems);
    free(place);
    return ok;
}

/* Which exports are read, where they are; what might have been meant, too. */
static void tell_exports(const struct replaying *replaying)
{
    struct buf told = BUF_INIT, passed_over = BUF_INIT;
    archive_tell(replaying->archive, &told, &passed_over);
    if (told.size)
        fputs(told.data, stderr);
    for (const char *at = passed_over.data, *end; at && (end = strchr(at, '\n')); at = end + 1)
        cmd_complain("warning: passed over: %.*s", (int)(end - at), at);
    buf_fini(&told);
    buf_fini(&passed_over);
}

/* What makes it the same replay, whatever its rate: also that it is of the same exports. */
static char *mark_of(const struct replaying *replaying)
{
    const struct arguments *arguments = &replaying->arguments;
    struct buf mark = BUF_INIT, none = BUF_INIT;
    buf_printf(&mark, "%s\n%s\n%lld\n%lld", arguments->from, arguments->pattern ? arguments->pattern : "",
               (long long)arguments->after_ms, (long long)arguments->before_ms);
    for (size_t i = 0; i < arguments->keys.count; i++)
        buf_printf(&mark, "\n%s", arguments->keys.list[i]);
    archive_tell(replaying->archive, &mark, &none);
    buf_fini(&none);
    return buf_take(&mark);
}

/* That the handler's stream is of; NULL: it has several, or one of many tables. To be freed. */
static char *table_of(const struct replaying *replaying)
{
    const struct handler_settings *settings = handler_settings_of(replaying->handler);
    const struct config_stream *stream = handler_stream_of(settings, replaying->config, NULL);
    bool one = stream && settings->streams.each[0] && !settings->streams.each[1];
    return one ? config_stream_table(stream) : NULL;
}

static bool set_up(struct replaying *replaying, struct err *err)
{
    const struct arguments *arguments = &replaying->arguments;
    struct cmd_outside_options options = {
        .log_level = (enum log_level)replaying->config->host.log_level,
        .keeps = true,
    };
    if (!cmd_outside_open(&replaying->outside, replaying->config, &options, err) ||
        !load_handler(replaying, err))
        return false;
    const char *pattern = arguments->pattern;
    if (pattern && !(replaying->filter = filter_compile(pattern, strlen(pattern), err)))
        return err->code = ERR_CONFIG, err_prefix(err, "--pattern");
    char *table = table_of(replaying);
    replaying->archive =
        archive_open(arguments->from, table, replaying->outside.reactor, replaying->outside.aws, err);
    free(table);
    if (!replaying->archive)
        return false;
    tell_exports(replaying);
    char *mark = mark_of(replaying);
    replaying->replay = replay_new(&(struct replay_options){
        .reactor = replaying->outside.reactor,
        .store = replaying->outside.store,
        .log = replaying->outside.log,
        .archive = replaying->archive,
        .handler = replaying->handler,
        .mark = mark,
        .filter = replaying->filter,
        .keys = arguments->keys.list,
        .after_ms = arguments->after_ms,
        .before_ms = arguments->before_ms,
        .rate = arguments->rate,
        .restart = arguments->restart,
    });
    free(mark);
    return true;
}

static void tear_down(struct replaying *replaying)
{
    cmd_outside_close_store(&replaying->outside);
    replay_free(replaying->replay);
    archive_free(replaying->archive);
    handler_release(replaying->handler);
    filter_free(replaying->filter);
    cmd_outside_close(&replaying->outside);
    config_release(replaying->config);
}

/* ---- running ---- */

/* The first signal lets the page that runs finish; the second one ends the process, and the page comes again.
 */
static volatile int interrupted;

static void on_signal(int number)
{
    interrupted = 1;
    signal(number, SIG_DFL);
}

static void show(const struct replaying *replaying, int64_t started_ms)
{
    const struct replay_progress *progress = replay_progress(replaying->replay);
    int64_t ms = clock_monotonic_ms((struct clock *)&replaying->outside.clock) - started_ms;
    int64_t rate = ms > 0 ? progress->events * 1000 / ms : 0;
    int64_t left_s = progress->bytes > 0 && ms > 0
                         ? (int64_t)((double)(progress->bytes_all - progress->bytes) /
                                     (double)progress->bytes * (double)ms / 1000)
                         : 0;
    bool items =
        archive_until_ms(replaying->archive) != 0; /* what an export's files hold; their sizes are not said */
    size_t unit = items ? 1 : 1024;
    char *what = mem_printf("%s: %lld events, %lld/s, %lldm%02llds left", items ? "items" : "KiB",
                            (long long)progress->events, (long long)rate, (long long)left_s / 60,
                            (long long)left_s % 60);
    cmd_progress((size_t)progress->bytes / unit, (size_t)progress->bytes_all / unit, what);
    free(what);
}

static bool run_replay(struct replaying *replaying, struct err *err)
{
    int64_t started_ms = clock_monotonic_ms(&replaying->outside.clock);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    while (!interrupted && replay_step(replaying->replay, err)) {
        show(replaying, started_ms);
        if (interrupted)
            replay_stop(replaying->replay);
    }
    cmd_progress_end();
    const struct replay_progress *progress = replay_progress(replaying->replay);
    /* Not on the standard output, where a route's events may go. */
    fprintf(stderr, "%lld events replayed through %s, %lld left out, %lld failed",
            (long long)progress->events, handler_name(replaying->handler), (long long)progress->left_out,
            (long long)progress->failed);
    if (progress->resumed)
        fprintf(stderr, "; %lld were replayed before", (long long)progress->resumed);
    fputs(interrupted ? "; stopped: the same command goes on from here\n" : "\n", stderr);
    return !err->code && !interrupted && !progress->failed;
}

/* What the archive does not have yet is in the stream: it takes a while to write its files. */
#define OVERLAP_MS (3600 * 1000LL)
#define SPARE_MS (30 * 60 * 1000LL) /* for the handler to come to it before it is trimmed */

static bool hold(struct replaying *replaying, struct err *err)
{
    const struct arguments *arguments = &replaying->arguments;
    struct access state;
    bool ok = take_over_check(replaying->config, arguments->handler, arguments->as, err) &&
              access_open(&state, replaying->config, false, err);
    if (!ok)
        return false;
    ok = take_over_hold(&state, replaying->config, arguments->as, err);
    access_close(&state);
    return ok;
}

/* All is replayed that was there `begun_ms`, or when the export ends; now the stream. */
static bool follow(struct replaying *replaying, int64_t begun_ms, struct err *err)
{
    const struct arguments *arguments = &replaying->arguments;
    struct access state;
    int64_t now_ms = clock_wall_ms(&replaying->outside.clock);
    int64_t until_ms = archive_until_ms(replaying->archive);
    int64_t since_ms = until_ms ? until_ms + POSITION_NEARER_MS : begun_ms - OVERLAP_MS;
    if (now_ms - since_ms > SOURCE_RETENTION_MS - SPARE_MS)
        return err_set(
            err, ERR_BUSY, "%s",
            until_ms ? "the stream does not keep all any more that was written since the export: make a "
                       "newer one, or an incremental one that goes on from there"
                     : "that took longer than the stream keeps its records: the same command once "
                       "more replays what was archived meanwhile, and then follows");
    bool ok = access_open(&state, replaying->config, false, err) &&
              take_over_follow(&state, replaying->config, arguments->handler, arguments->as, since_ms, err) &&
              take_over_meet(&state, replaying->config, arguments->as, &interrupted, err);
    access_close(&state);
    return ok;
}

static int run(int argc, char **argv)
{
    struct replaying replaying = {0};
    struct err err = {0};
    int status = EXIT_USAGE;
    if (!read_arguments(argc, argv, &replaying.arguments))
        return EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    replaying.config = cmd_load_config_asking(replaying.arguments.config_path);
    if (!replaying.config)
        return EXIT_USAGE;
    cmd_turn_to_dev(replaying.config, true);
    struct clock clock = clock_system();
    int64_t begun_ms = clock_wall_ms(&clock); /* before the archive is listed */
    if (!set_up(&replaying, &err) || (replaying.arguments.as && !hold(&replaying, &err))) {
        cmd_complain("replay: %s", err.text);
        status = err.code == ERR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
    } else {
        status = run_replay(&replaying, &err) ? EXIT_DONE : EXIT_FAILED;
        if (status == EXIT_DONE && replaying.arguments.as && !follow(&replaying, begun_ms, &err))
            status = EXIT_FAILED;
        if (err.code)
            cmd_complain("replay: %s", err.text);
    }
    tear_down(&replaying);
    return status;
}

const struct command cmd_replay = {
    .name = "replay",
    .arguments = "[-c FILE] --from PATH|s3://... [...]",
    .summary = "archived events through a handler once more",
    .help =
        "  tidemill replay [-c FILE] --from PATH|s3://BUCKET/PREFIX [--handler NAME [--as NAME]]\n"
        "      [--after TIME] [--before TIME] [--pattern JSON] [--key NAME=VALUE]... [--rate N] "
        "[--restart]\n\n"
        "Reads what targets of type s3 and file have written, and hands the events to a handler or a\n"
        "route, in order, with record.replayed set. Beside a running host or without one. Where PATH or\n"
        "PREFIX has exports of a table to S3 instead: the newest full one and the incremental ones that\n"
        "go on from it, or the one that is named; each item is an INSERT, with record.snapshot set.\n\n"
        "  --handler      needed where there are several\n"
        "  --as           under the name of another [handler], that says script = the handler's, to fill a\n"
        "                 new store beside the old one: it is held until all is replayed, then follows the\n"
        "                 stream (from an hour before this began, since the archive is written in files), "
        "and\n"
        "                 you are told when it has met its end\n"
        "  --after, --before\n"
        "                 2026-01-31 or 2026-01-31T12:00:00Z: events of that time and later, or earlier\n"
        "  --pattern      an event pattern, as in a filter\n"
        "  --key          only items whose key has this attribute with this value\n"
        "  --rate         at most so many events a second\n"
        "  --restart      from the beginning, though a part was done before\n\n"
        "Interrupted, or ended by an error, the same command goes on where it was. What fails goes where\n"
        "on_failure says, after the handler's retries; max_age does not count here.\n",
    .run = run,
};
