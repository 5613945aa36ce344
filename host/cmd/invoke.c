/* invoke.c: tidemill invoke: one handler on one event, as Lambda's test button does. */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "admin/access.h"
#include "assign/generation.h"
#include "base/arn.h"
#include "base/check.h"
#include "base/file.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/event.h"
#include "cmd/outside.h"
#include "core/plugs.h"
#include "net/resp.h"
#include "net/url.h"
#include "script/directory.h"
#include "worker/handlers.h"

#define EVENT_BYTES_MAX (64u << 20)

struct arguments {
    const char *script, *event, *config_path;
    int64_t dead; /* the number of a dead letter; 0: none */
    bool dry_run;
};

/* Where records come from that do not say it. */
struct origin {
    char *arn, *table, *shard;
};

struct invoking {
    struct arguments arguments;
    struct config *config;
    struct cmd_outside outside;
    struct handler *handler;
    struct origin origin;
    char *letter;         /* the dead letter's record */
    char *letter_handler; /* and whose it is */
    bool done;
    enum handler_result result;
    struct handler_outcome outcome;
};

static const struct cmd_option known_options[] = {
    CMD_CONFIG(struct arguments, config_path),
    {"--dead", CMD_COUNT, offsetof(struct arguments, dead), NULL},
    {"--dry-run", CMD_FLAG, offsetof(struct arguments, dry_run), NULL},
    {"SCRIPT", CMD_OPERAND, offsetof(struct arguments, script), NULL},
    {"EVENT", CMD_OPERAND, offsetof(struct arguments, event), NULL},
    {0},
};

static bool read_arguments(int argc, char **argv, struct arguments *arguments)
{
    if (!cmd_options(argc, argv, known_options, arguments))
        return false;
    if (arguments->dead && arguments->event)
        cmd_complain("invoke: --dead takes the place of an event file");
    else if (!arguments->dead && !arguments->event)
        cmd_complain("invoke: a script and an event file are needed (see tidemill help invoke)");
    return !arguments->dead == !!arguments->event;
}

/* What DynamoDB answers where nothing is found: its answers always have these members. */
static const char *empty_answer(const char *operation)
{
    static const char *const answers[][2] = {
        {"Query", "{\"Items\":[],\"Count\":0,\"ScannedCount\":0}"},
        {"Scan", "{\"Items\":[],\"Count\":0,\"ScannedCount\":0}"},
        {"BatchGetItem", "{\"Responses\":{},\"UnprocessedKeys\":{}}"},
        {"BatchWriteItem", "{\"UnprocessedItems\":{}}"},
        {"TransactGetItems", "{\"Responses\":[]}"},
        {"ExecuteStatement", "{\"Items\":[]}"},
    };
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        if (strcmp(operation, answers[i][0]) == 0)
            return answers[i][1];
    return NULL;
}

/* SQL and its parameters: "SELECT $1, $2 [1: a, 2: NULL]"; its spaces and lines are one space. */
static void tell_statement(struct resp *resp, size_t words)
{
    size_t size;
    const char *sql = resp_take_word(resp, &size);
    struct buf text = BUF_INIT;
    for (size_t i = 0; i < size; i++)
        if (!isspace((unsigned char)sql[i]))
            buf_add_char(&text, sql[i]);
        else if (text.size && text.data[text.size - 1] != ' ')
            buf_add_char(&text, ' ');
    for (size_t i = 1; i < words; i++) {
        const char *word = resp_take_word(resp, &size);
        buf_printf(&text, "%s%zu: %.*s", i > 1 ? ", " : " [", i, word ? (int)size : 4, word ? word : "NULL");
    }
    cmd_print(" %.*s%s", (int)text.size, text.data ? text.data : "", words > 1 ? "]" : "");
    buf_fini(&text);
}

/* Of a request to a database (net/resp.h): each command of Redis's; or each statement, behind what begins or
 * ends with it (net/transport_postgres.h). */
static void tell_commands(const struct transport_request *request)
{
    char *where = url_origin(request->url); /* a password may stand in the rest */
    struct resp resp = {request->body, request->body + request->body_size};
    bool statements = strcmp(request->method, "POSTGRES") == 0;
    size_t size;
    for (size_t words = statements ? resp_take_list(&resp) : 0; words > 0; words--)
        resp_take_word(&resp, &size);
    while (resp_has_more(&resp)) {
        size_t words = resp_take_list(&resp);
        cmd_print("  would send %s", where);
        if (statements)
            tell_statement(&resp, words);
        for (; !statements && words > 0; words--) {
            const char *word = resp_take_word(&resp, &size);
            cmd_print(" %.*s", (int)size, word);
        }
        putchar('\n');
    }
    free(where);
}

/* Of services that answer in XML, by what the request is signed for. */
static bool speaks_xml(const struct transport_request *request)
{
    static const char *const scopes[] = {"/s3/aws4_request", "/cloudfront/aws4_request",
                                         "/route53/aws4_request", "/iam/aws4_request", "/sts/aws4_request"};
    for (size_t i = 0; request->headers && request->headers[i]; i++)
        for (size_t j = 0;
             strncasecmp(request->headers[i], "Authorization:", 14) == 0 && j < COUNT_OF(scopes); j++)
            if (strstr(request->headers[i], scopes[j]))
                return true;
    return false;
}

/* A secret may stand in a header, so only the kind of call and its body are shown. */
static const char *tell_request(void *user, const struct transport_request *request)
{
    const char *operation = NULL;
    (void)user;
    for (size_t i = 0; request->headers && request->headers[i]; i++)
        if (strncasecmp(request->headers[i], "X-Amz-Target:", 13) == 0)
            operation = strchr(request->headers[i], '.');
    if (strcmp(request->method, "REDIS") == 0 || strcmp(request->method, "POSTGRES") == 0)
        tell_commands(request);
    else if (operation)
        cmd_print("  would call %s %.*s\n", operation + 1, (int)request->body_size,
                  request->body ? request->body : "");
    else
        cmd_print("  would send %s %s %.*s\n", request->method, request->url, (int)request->body_size,
                  request->body ? request->body : "");
    return operation ? empty_answer(operation + 1) : speaks_xml(request) ? "<Nothing/>" : NULL;
}

static void tell_message(void *user, const char *target, const struct message *message)
{
    const char *names[] = {"source", "detail_type", "subject", "object"},
               *values[] = {message->source, message->detail_type, message->subject, message->object};
    bool told = false;
    (void)user;
    cmd_print("  would emit to %s %.*s", target, (int)message->payload_size, message->payload);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (values[i])
            cmd_print("%s%s = %s", told ? ", " : " (", names[i], values[i]);
        told = told || values[i];
    }
    printf("%s\n", told ? ")" : "");
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

/* A script's path, or the name of anything that the host would run. */
static char *place_of(const struct invoking *invoking)
{
    const char *named = invoking->arguments.script ? invoking->arguments.script : invoking->letter_handler;
    struct err err;
    char **places = *invoking->config->path ? handler_places(invoking->config, true, &err) : NULL;
    char *found = NULL;
    for (size_t i = 0; places && places[i] && !found; i++) {
        char *name = handler_place_name(places[i]);
        if (strcmp(name, named) == 0)
            found = mem_string(places[i]);
        free(name);
    }
    if (places)
        script_paths_free(places);
    return found ? found : mem_string(named);
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

/* Prints the record, and why it is left out. */
static bool is_wanted(const struct invoking *invoking, const struct record *record,
                      const struct handler_source *source)
{
    struct buf why = BUF_INIT;
    cmd_print("%s %s\n", record_event_name(record->event), record->sequence);
    if (handler_wants(invoking->handler, record, source))
        return true;
    handler_explain(invoking->handler, record, source, &why);
    cmd_print("  left out: %s\n", why.data);
    buf_fini(&why);
    return false;
}

/* Those that the handler wants. */
static size_t choose_inputs(const struct invoking *invoking, const struct record *records, size_t all,
                            const struct handler_source *source, struct handler_input *inputs)
{
    size_t count = 0;
    for (size_t i = 0; i < all; i++)
        if (is_wanted(invoking, &records[i], source))
            inputs[count++] = (struct handler_input){.record = &records[i], .attempt = 1};
    return count;
}

/* Each of these returns how many records failed. */

static size_t run_record(struct invoking *invoking, const struct record *record,
                         const struct handler_source *source)
{
    struct handler_input input = {.record = record, .attempt = 1};
    if (!is_wanted(invoking, record, source))
        return 0;
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

/* Records of one stream. */
static size_t run_records(struct invoking *invoking, const struct record *records, size_t count,
                          const struct handler_source *source)
{
    enum handler_kind kind = handler_kind(invoking->handler);
    size_t failed = 0;
    if (kind == HANDLER_RECORDS) {
        for (size_t i = 0; i < count; i++)
            failed += run_record(invoking, &records[i], source);
        return failed;
    }
    struct handler_input *inputs = mem_alloc((count + 1) * sizeof *inputs);
    size_t wanted = choose_inputs(invoking, records, count, source, inputs);
    failed = kind == HANDLER_BATCHES ? run_batch(invoking, inputs, wanted, source)
                                     : run_windows(invoking, inputs, wanted, source);
    free(inputs);
    return failed;
}

/* What does not say where it comes from comes from the letter's stream, or else from the handler's. */
static char *table_for(const struct invoking *invoking, const char *arn)
{
    if (*arn || invoking->origin.table)
        return *arn ? table_of_arn(arn, NULL) : mem_string(invoking->origin.table);
    const struct config_stream *stream =
        handler_stream_of(handler_settings_of(invoking->handler), invoking->config, NULL);
    char *table = stream ? config_stream_table(stream) : NULL;
    return table ? table : mem_string("");
}

/* A host has records of one stream at a time, and so has this. */
static size_t run_page(struct invoking *invoking, const struct page *page)
{
    size_t failed = 0;
    for (size_t i = 0, end; i < page->count; i = end) {
        const struct json *arn = json_get(page->records[i].json, "eventSourceARN");
        for (end = i + 1; end < page->count; end++) {
            const struct json *next = json_get(page->records[end].json, "eventSourceARN");
            if (!arn != !next ||
                (arn && (arn->size != next->size || memcmp(arn->text, next->text, arn->size) != 0)))
                break;
        }
        char *text = json_string_dup(arn), *table = table_for(invoking, text ? text : "");
        const struct config_stream *stream =
            handler_stream_of(handler_settings_of(invoking->handler), invoking->config, table);
        struct handler_source source = {
            .stream = stream ? stream->name : handler_settings_of(invoking->handler)->streams.text,
            .stream_arn = text                   ? text
                          : invoking->origin.arn ? invoking->origin.arn
                                                 : "",
            .table = table,
            .shard = invoking->origin.shard ? invoking->origin.shard : "shardId-invoke",
        };
        failed += run_records(invoking, page->records + i, end - i, &source);
        free(table);
        free(text);
    }
    fflush(stdout);
    return failed;
}

/* Into `invoking`; false and `err`. */
static bool find_letter(struct invoking *invoking, struct err *err)
{
    struct store_query query = {.what = STORE_LETTERS, .id = invoking->arguments.dead, .limit = 1};
    struct access state = {0};
    struct store_snapshot *snapshot = NULL;
    if (!*invoking->config->path)
        return err_set(err, ERR_CONFIG, "--dead: an INI is needed, which says where the state is");
    bool ok = access_open(&state, invoking->config, true, err) &&
              (snapshot = access_load(&state, &query, err)) != NULL;
    if (ok && !snapshot->letter_count)
        ok = err_set(err, ERR_CONFIG, "there is no dead letter %lld", (long long)invoking->arguments.dead);
    if (ok) {
        const struct store_dead_letter *letter = &snapshot->letters[0];
        invoking->letter = mem_string(letter->record);
        invoking->letter_handler = mem_string(letter->handler);
        invoking->origin = (struct origin){
            .arn = mem_string(letter->stream_arn),
            .table = mem_string(letter->table),
            .shard = mem_string(letter->shard),
        };
    }
    store_snapshot_free(snapshot);
    access_close(&state);
    return ok;
}

static struct page *read_event(const struct invoking *invoking, struct err *err)
{
    size_t size = 0;
    if (invoking->letter) {
        char name[40];
        snprintf(name, sizeof name, "dead letter %lld", (long long)invoking->arguments.dead);
        return event_read(name, invoking->letter, strlen(invoking->letter), err);
    }
    char *text = file_read_stream(invoking->arguments.event, EVENT_BYTES_MAX, &size, err);
    struct page *page = text ? event_read(invoking->arguments.event, text, size, err) : NULL;
    free(text);
    return page;
}

static bool run_event(struct invoking *invoking)
{
    struct err err;
    size_t failed;
    if (handler_kind(invoking->handler) == HANDLER_REQUESTS) {
        cmd_complain("%s has requests, not records: tidemill test sends it some (test.request), dev and run "
                     "listen for "
                     "them",
                     handler_name(invoking->handler));
        return false;
    }
    struct page *page = read_event(invoking, &err);
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
    free(invoking->letter);
    free(invoking->letter_handler);
    free(invoking->origin.arn);
    free(invoking->origin.table);
    free(invoking->origin.shard);
}

static int run(int argc, char **argv)
{
    struct invoking invoking = {0};
    struct err err;
    if (!read_arguments(argc, argv, &invoking.arguments))
        return EXIT_USAGE;
    signal(SIGPIPE, SIG_IGN);
    const char *path = invoking.arguments.config_path;
    bool there = path || access(cmd_config_path(NULL), R_OK) == 0;
    invoking.config = !there                       ? config_empty(&host_plugs)
                      : invoking.arguments.dry_run ? cmd_load_config_with(path, &host_plugs_playing)
                                                   : cmd_load_config_asking(path);
    if (!invoking.config)
        return EXIT_USAGE;
    invoking.config->aws.assumes_no_role = invoking.arguments.dry_run; /* that would be a call */
    if (invoking.arguments.dead)
        cmd_turn_to_dev(invoking.config, true);
    int status = EXIT_USAGE;
    if ((invoking.arguments.dead && !find_letter(&invoking, &err)) || !set_up(&invoking, &err))
        cmd_complain("%s", err.text);
    else if (load_handler(&invoking))
        status = run_event(&invoking) ? EXIT_DONE : EXIT_FAILED;
    tear_down(&invoking);
    return status;
}

const struct command cmd_invoke = {
    .name = "invoke",
    .arguments = "HANDLER EVENT.json [...]",
    .summary = "run one handler on one event",
    .help =
        "  tidemill invoke HANDLER EVENT.json [-c FILE] [--dry-run]\n"
        "  tidemill invoke [HANDLER] --dead ID [-c FILE] [--dry-run]\n\n"
        "HANDLER is a script's path, or the name of a script, a [handler NAME] or a route of the INI.\n"
        "EVENT.json is what a Lambda function would get: {\"Records\": [...]}; a list of records, or a\n"
        "record, will do, and a SequenceNumber is made up where there is none. --dead takes the record of a\n"
        "dead letter, which stays; without HANDLER the one that gave it up. Each record is handled once,\n"
        "in order; on_batch gets them together, and on_window those of each window. Without an INI the\n"
        "handler has no settings of its own, and there are no targets. --dry-run prints every call to the\n"
        "outside, and what would be emitted, instead of doing it; each call is answered as a success\n"
        "that found nothing. Exit status 1 when a record failed.\n",
    .run = run,
};
