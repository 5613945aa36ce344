/* invoke.c: tidemill invoke: one handler on one event, as Lambda's test button does. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "core/plugs.h"
#include "cmd/cmd.h"
#include "cmd/outside.h"
#include "assign/generation.h"
#include "worker/handlers.h"

#define EVENT_BYTES_MAX (64u << 20)

struct arguments {
    const char *script, *event, *config_path;
    bool dry_run;
};

struct invoking {
    struct arguments arguments;
    struct config *config;
    struct cmd_outside outside;
    struct handler *handler;
    bool done;
    enum handler_result result;
    struct handler_outcome outcome;
};

static const struct cmd_option known_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--dry-run", CMD_FLAG, offsetof(struct arguments, dry_run), NULL},
    {"SCRIPT", CMD_OPERAND, offsetof(struct arguments, script), NULL},
    {"EVENT", CMD_OPERAND, offsetof(struct arguments, event), NULL},
    {0},
};

static bool read_arguments(int argc, char **argv, struct arguments *arguments)
{
    if (!cmd_options(argc, argv, known_options, arguments))
        return false;
    if (!arguments->event)
        cmd_complain("invoke: a script and an event file are needed (see tidemill help invoke)");
    return arguments->event != NULL;
}

/* A secret may stand in a header, so only the kind of call and its body are shown. */
static void tell_request(void *user, const struct transport_request *request)
{
    const char *operation = NULL;
    (void)user;
    for (size_t i = 0; request->headers && request->headers[i]; i++)
        if (strncmp(request->headers[i], "X-Amz-Target: ", 14) == 0)
            operation = strchr(request->headers[i], '.');
    if (operation)
        cmd_print("  would call %s %.*s\n", operation + 1, (int)request->body_size,
                  request->body ? request->body : "");
    else
        cmd_print("  would send %s %s %.*s\n", request->method, request->url, (int)request->body_size,
                  request->body ? request->body : "");
}

static void tell_message(void *user, const char *target, const struct message *message)
{
    (void)user;
    cmd_print("  would emit to %s %.*s\n", target, (int)message->payload_size, message->payload);
}

/* What `once` did is remembered with the running host's, but a dry run leaves nothing behind. */
static bool set_up(struct invoking *invoking, struct err *err)
{
    bool dry = invoking->arguments.dry_run;
    struct cmd_outside_options options = {
        .log_level = LOG_INFO,
        .keeps = *invoking->config->path && !dry,
        .tell_call = dry ? tell_request : NULL,
        .tell_emission = dry ? tell_message : NULL,
    };
    return cmd_outside_open(&invoking->outside, invoking->config, &options, err);
}

/* A script's path, or a route's name. */
static char *place_of(const struct invoking *invoking)
{
    const char *named = invoking->arguments.script;
    return config_route(invoking->config, named) ? handler_place_of_route(named) : mem_string(named);
}

static bool load_handler(struct invoking *invoking)
{
    struct problems problems = PROBLEMS_INIT;
    char *place = place_of(invoking);
    invoking->handler = cmd_outside_load(&invoking->outside, place,
                                         *invoking->config->path ? invoking->config : NULL, &problems);
    free(place);
    cmd_complain_all(&problems);
    problems_fini(&problems);
    return invoking->handler != NULL;
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    struct invoking *invoking = user;
    invoking->done = true;
    invoking->result = result;
    invoking->outcome = *outcome;
}

static void tell_returned(const char *what)
{
    const char *colour = isatty(STDOUT_FILENO) ? "\033[32m" : "", *plain = *colour ? "\033[0m" : "";
    printf("  %sreturned%s", colour, plain);
    cmd_print("%s%s\n", *what ? " " : "", what);
}

/* True when the handler returned; the outcome stays in `invoking` until handler_outcome_fini. */
static bool call_handler(struct invoking *invoking, const struct handler_call *call)
{
    struct invocation *invocation;
    invoking->done = false;
    invoking->outcome = (struct handler_outcome){0};
    invoking->result =
        handler_run(invoking->handler, call, on_done, invoking, &invocation, &invoking->outcome);
    while (invoking->result == HANDLER_WAITING && !invoking->done)
        reactor_turn(invoking->outside.reactor, 10);
    const struct handler_error *error = &invoking->outcome.error;
    if (invoking->result != HANDLER_RETURNED)
        cmd_complain("%s%s\n%s", error->text,
                     error->failure == FAILURE_PERMANENT ? " (permanent: no other attempt would be made)"
                                                         : "",
                     error->traceback);
    return invoking->result == HANDLER_RETURNED;
}

/* The records that the handler wants, each printed; where they come from is the first one's ARN. */
static size_t choose_inputs(const struct invoking *invoking, const struct page *page,
                            const struct handler_source *source, struct handler_input *inputs)
{
    size_t count = 0;
    for (size_t i = 0; i < page->count; i++) {
        const struct record *record = &page->records[i];
        printf("%s %s\n", record_event_name(record->event), record->sequence);
        if (handler_wants(invoking->handler, record, source))
            inputs[count++] = (struct handler_input){.record = record, .attempt = 1};
        else
            printf("  left out by the handler's functions or its filter\n");
    }
    return count;
}

/* Each of these returns how many records failed. */

static size_t run_record(struct invoking *invoking, const struct record *record,
                         const struct handler_source *source)
{
    struct handler_input input = {.record = record, .attempt = 1};
    printf("%s %s\n", record_event_name(record->event), record->sequence);
    if (!handler_wants(invoking->handler, record, source)) {
        printf("  left out by the handler's functions or its filter\n");
        return 0;
    }
    bool ok = call_handler(invoking, &(struct handler_call){.inputs = &input, .count = 1, .source = source});
    if (ok)
        tell_returned("");
    handler_outcome_fini(&invoking->outcome);
    fflush(stdout);
    return !ok;
}

static size_t run_batch(struct invoking *invoking, const struct handler_input *inputs, size_t count,
                        const struct handler_source *source)
{
    size_t failed = 0;
    if (!count)
        return 0;
    bool ok =
        call_handler(invoking, &(struct handler_call){.inputs = inputs, .count = count, .source = source});
    for (size_t i = 0; ok && i < count && invoking->outcome.verdicts; i++)
        if (invoking->outcome.verdicts[i] != VERDICT_HANDLED) {
            cmd_complain("%s %s",
                         invoking->outcome.verdicts[i] == VERDICT_FAILED ? "the handler gave back"
                                                                         : "behind it would come again",
                         inputs[i].record->sequence);
            failed++;
        }
    if (ok)
        tell_returned("");
    handler_outcome_fini(&invoking->outcome);
    return ok ? failed : count;
}

/* The records of one window, and its end, as if nothing else fell into it. */
static size_t run_window(struct invoking *invoking, const struct handler_input *inputs, size_t count,
                         const struct handler_source *source, int64_t start_ms)
{
    struct handler_window window = {
        .start_ms = start_ms,
        .end_ms = start_ms + handler_settings_of(invoking->handler)->tumbling_window_ms,
    };
    struct handler_call call = {.inputs = inputs, .count = count, .source = source, .window = &window};
    char *state = NULL;
    bool ok = true;
    for (int step = 0; ok && step < 2; step++) {
        window.final = step == 1;
        window.state = state;
        call.count = window.final ? 0 : count;
        ok = call_handler(invoking, &call);
        if (ok)
            tell_returned(invoking->outcome.state ? invoking->outcome.state : "nothing");
        char *next = invoking->outcome.state;
        invoking->outcome.state = NULL;
        handler_outcome_fini(&invoking->outcome);
        free(state);
        state = next;
    }
    free(state);
    return ok ? 0 : count;
}

static size_t run_windows(struct invoking *invoking, const struct handler_input *inputs, size_t count,
                          const struct handler_source *source)
{
    int64_t length_ms = handler_settings_of(invoking->handler)->tumbling_window_ms;
    size_t failed = 0;
    for (size_t i = 0, end; i < count; i = end) {
        int64_t window = inputs[i].record->time_ms / length_ms;
        for (end = i + 1; end < count && inputs[end].record->time_ms / length_ms == window;)
            end++;
        failed += run_window(invoking, inputs + i, end - i, source, window * length_ms);
    }
    return failed;
}

static size_t run_page(struct invoking *invoking, const struct page *page)
{
    size_t failed = 0;
    char *arn = page->count ? json_string_dup(json_get(page->records[0].json, "eventSourceARN")) : NULL;
    char *table = table_of_arn(arn ? arn : "", NULL);
    struct handler_source source = {
        .stream = handler_settings_of(invoking->handler)->stream,
        .stream_arn = arn ? arn : "",
        .table = table,
        .shard = "shardId-invoke",
    };
    enum handler_kind kind = handler_kind(invoking->handler);
    if (kind == HANDLER_RECORDS) {
        for (size_t i = 0; i < page->count; i++)
            failed += run_record(invoking, &page->records[i], &source);
    } else {
        struct handler_input *inputs = mem_alloc((page->count + 1) * sizeof *inputs);
        size_t count = choose_inputs(invoking, page, &source, inputs);
        failed = kind == HANDLER_BATCHES ? run_batch(invoking, inputs, count, &source)
                                         : run_windows(invoking, inputs, count, &source);
        free(inputs);
    }
    fflush(stdout);
    free(table);
    free(arn);
    return failed;
}

static bool run_event(struct invoking *invoking)
{
    struct err err;
    struct buf body = BUF_INIT;
    size_t size = 0, failed = 0;
    char *text = file_read_stream(invoking->arguments.event, EVENT_BYTES_MAX, &size, &err);
    struct page *page = NULL;
    if (text) {
        buf_add(&body, text, size);
        page = page_read(&body, &err);
        if (!page)
            err_prefix(&err, "%s", invoking->arguments.event);
        free(text);
    }
    if (!page) {
        cmd_complain("%s", err.text);
        return false;
    }
    failed = run_page(invoking, page);
    printf("%zu record%s, %zu failed\n", page->count, page->count == 1 ? "" : "s", failed);
    page_release(page);
    return failed == 0;
}

static void tear_down(struct invoking *invoking)
{
    cmd_outside_close_store(&invoking->outside);
    handler_release(invoking->handler);
    cmd_outside_close(&invoking->outside);
    config_release(invoking->config);
}

static int run(int argc, char **argv)
{
    struct invoking invoking = {0};
    struct err err;
    if (!read_arguments(argc, argv, &invoking.arguments))
        return EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    const char *path = invoking.arguments.config_path;
    invoking.config =
        path || access(cmd_config_path(NULL), R_OK) == 0 ? cmd_load_config(path) : config_empty(&host_plugs);
    if (!invoking.config)
        return EXIT_USAGE;
    int status = EXIT_USAGE;
    if (!set_up(&invoking, &err))
        cmd_complain("%s", err.text);
    else if (load_handler(&invoking))
        status = run_event(&invoking) ? EXIT_DONE : EXIT_FAILED;
    tear_down(&invoking);
    return status;
}

const struct command cmd_invoke = {
    .name = "invoke",
    .arguments = "SCRIPT|ROUTE EVENT.json [...]",
    .summary = "run one handler on one event",
    .help =
        "  tidemill invoke SCRIPT|ROUTE EVENT.json [-c FILE] [--dry-run]\n\n"
        "EVENT.json is what a Lambda function would get: {\"Records\": [...]}. Each record is handled once, "
        "in\n"
        "order; on_batch gets them together, and on_window those of each window. A route is named as in the\n"
        "INI. Without an INI the handler has no settings of its own, and there are no targets. --dry-run\n"
        "prints every call to the outside, and what would be emitted, instead of doing it; each call is\n"
        "answered as a success without content. Exit status 1 when a record failed.\n",
    .run = run,
};
