/* test_world.c: see test_world.h. */
#include "cmd/test_world.h"

#include <errno.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/dev.h"
#include "cmd/story.h"
#include "cmd/test_deployment.h"
#include "cmd/test_hosts.h"
#include "cmd/test_requests.h"
#include "core/replay.h"
#include "deliver/emitter_dry.h"
#include "local/engine.h"
#include "script/testing.h"
#include "state/store_open.h"
#include "script/directory.h"
#include "state/seek.h"
#include "worker/handlers.h"

#define LOOK_MS 50
#define RUNAWAY_WRITES 20000
#define STEP_MS_MAX (10 * 60 * 1000)           /* an iterator holds for 15 minutes */
#define AWAKE_MS 1500                          /* a shard that is idle is read every second */
#define SETTLE_MS_MAX (7 * 24 * 3600 * 1000LL) /* of virtual time: longer than any record is retried */
#define REAL_MS_MAX 60000
#define SHUFFLE_CALL_MS 200 /* a call of a handler takes up to so much more, and a look at a stream ... */
#define SHUFFLE_READ_MS 30  /* ... so much */
#define STORY_MAX 5000
#define FATAL_MAX 100
#define DEAD_MAX 1000
#define SENT_MAX 100000
#define LOG_BYTES_MAX (1 << 16) /* of which the last lines are shown */

struct dead {
    char *handler, *error;
};

struct sent {
    char *target;
    struct message message;
};

/* How far a shard was read. */
struct read_shard {
    int64_t shard;
    int64_t changes; /* engine_changes when it was found empty */
    bool over;       /* closed, and read to its end */
};

struct test_world {
    struct world world; /* the test's own; the hosts' follow it */
    struct test_deployment deployment;
    struct test_hosts hosts;
    struct engine *engine, *state; /* the latter of hosts that share one; or NULL */
    struct aws_client *aws;        /* of the test's own calls */
    struct log *log;
    int log_fd;
    struct script *script;
    struct testing_hooks hooks;
    struct observer observer;
    struct dead *dead;
    size_t dead_count, dead_capacity;
    struct sent *sent; /* what was emitted */
    size_t sent_count, sent_capacity;
    struct read_shard *read;
    size_t read_count, read_capacity;
    const struct test_options *options;
    /* What the test waits for. */
    struct ticket *settling, *advancing, *replaying, *seeking, *crashing;
    struct test_request *requesting;
    char *replay_path, *replay_handler;
    char *seek_handler, *seek_where; /* the first NULL: all of them */
    size_t events, seeks, told;      /* so far */
    int64_t advance_ms;
    size_t crash_host;      /* from 1; 0: all of them */
    size_t wanted_hosts;    /* that are to begin anew; 0: none are */
    bool later;             /* not before ... */
    char *fatal[FATAL_MAX]; /* the host dies of its next call of the first of these operations, the next of
                               the next */
    size_t fatal_count;
    uint64_t chance; /* of --shuffle */
    int64_t writes,
        runaway; /* calls that changed something; more than `runaway` while it settles are too many */
    bool ended;
    struct test_outcome *outcome;
    double started_ms;
};

static double real_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

void test_outcome_fini(struct test_outcome *outcome)
{
    free(outcome->text);
    free(outcome->log);
    *outcome = (struct test_outcome){0};
}

static void fail(struct test_world *t, const char *text)
{
    t->outcome->passed = false;
    if (!t->outcome->text)
        t->outcome->text = mem_string(text);
}

/* ---- services ---- */

static struct read_shard *find_read(struct test_world *t, int64_t shard)
{
    for (size_t i = 0; i < t->read_count; i++)
        if (t->read[i].shard == shard)
            return &t->read[i];
    mem_grow(&t->read, &t->read_capacity, t->read_count, sizeof *t->read);
    t->read[t->read_count] = (struct read_shard){.shard = shard, .changes = -1};
    return &t->read[t->read_count++];
}

static void note_reading(struct test_world *t, const struct transport_request *request,
                         const struct answer *answer)
{
    struct read_shard *read = find_read(t, engine_shard_of(request->body, request->body_size));
    static const char empty[] = "{\"Records\":[]";
    if (answer->body.size >= sizeof empty - 1 && memcmp(answer->body.data, empty, sizeof empty - 1) == 0)
        read->changes = engine_changes(t->engine);
    read->over = read->over || !memmem(answer->body.data, answer->body.size, "NextShardIterator", 17);
}

/* "PutItem", "StartExecution", "POST". */
static bool is_operation(const struct transport_request *request, const char *operation)
{
    char target[128] = "";
    request_header(request, "X-Amz-Target", target, sizeof target);
    const char *dot = strrchr(target, '.');
    return strcmp(dot ? dot + 1 : request->method, operation) == 0;
}

static void ask_engine(struct engine *engine, const struct transport_request *request, struct answer *answer)
{
    struct engine_reply reply = {0};
    char target[128];
    engine_call(engine,
                &(struct engine_request){request_header(request, "X-Amz-Target", target, sizeof target),
                                         request->body ? request->body : "", request->body_size, NULL},
                &reply);
    answer->status = reply.status;
    answer->body = reply.body;
    answer->delay_ms += reply.delay_ms;
    answer->lost = reply.dropped;
}

static void answer_dynamodb(struct test_world *t, const struct transport_request *request,
                            struct answer *answer)
{
    int64_t before = engine_changes(t->engine);
    ask_engine(t->engine, request, answer);
    t->writes += engine_changes(t->engine) != before;
    if (answer->status == 200 && !answer->lost && is_operation(request, "GetRecords"))
        note_reading(t, request, answer);
}

static bool is_dynamodb(const struct transport_request *request)
{
    return strncmp(request->url, TEST_ENDPOINT, strlen(TEST_ENDPOINT)) == 0;
}

static void answer(void *user, const struct transport_request *request, struct answer *answer)
{
    struct test_world *t = user;
    struct err err;
    if (is_dynamodb(request))
        answer_dynamodb(t, request, answer);
    else if (t->script && !testing_answer(t->script, request, &answer->status, &answer->body, &err) &&
             err.code)
        fail(t, err.text);
}

/* ---- services, for hosts ---- */

/* splitmix64 */
static uint64_t draw(struct test_world *t, uint64_t below)
{
    uint64_t z = t->chance += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

static bool is_of_streams(const struct transport_request *request)
{
    char target[128] = "";
    request_header(request, "X-Amz-Target", target, sizeof target);
    return strncmp(target, "DynamoDBStreams", strlen("DynamoDBStreams")) == 0;
}

static void answer_host(void *user, struct test_host *host, const struct transport_request *request,
                        struct answer *given)
{
    struct test_world *t = user;
    if (t->state && is_dynamodb(request) && request->body &&
        memmem(request->body, request->body_size, TEST_STATE_TABLE, strlen(TEST_STATE_TABLE))) {
        ask_engine(t->state, request, given);
        return;
    }
    answer(t, request, given);
    if (t->options->seed)
        given->delay_ms += (int64_t)draw(t, is_of_streams(request) ? SHUFFLE_READ_MS : SHUFFLE_CALL_MS);
    if (t->fatal_count && is_operation(request, t->fatal[0])) {
        free(t->fatal[0]);
        memmove(t->fatal, t->fatal + 1, --t->fatal_count * sizeof *t->fatal);
        given->lost = true;
        test_hosts_kill(host);
        log_info(t->log, NULL, "test.crash: the host dies after this call, and begins anew");
    }
}

/* ---- what the test asks for ---- */

static void on_settle(void *user, struct ticket *ticket)
{
    struct test_world *t = user;
    t->settling = ticket;
}

static void on_advance(void *user, int64_t ms, struct ticket *ticket)
{
    struct test_world *t = user;
    t->advancing = ticket;
    t->advance_ms = ms;
}

static void on_replay(void *user, const char *path, const char *handler, struct ticket *ticket)
{
    struct test_world *t = user;
    t->replaying = ticket;
    t->replay_path = path_beside(t->options->path, path);
    t->replay_handler = mem_string(handler);
}

static void on_event(void *user, const char *event, size_t size, const char *handler, struct ticket *ticket)
{
    struct test_world *t = user;
    t->replaying = ticket;
    t->replay_path = mem_printf("%s/event-%zu.jsonl", t->deployment.directory, t->events++);
    t->replay_handler = mem_string(handler);
    FILE *file = fopen(t->replay_path, "w");
    if (file) { /* else it is not found, which is told */
        fwrite(event, 1, size, file);
        fputc('\n', file);
        fclose(file);
    }
}

static void on_seek(void *user, const char *handler, const char *where, struct ticket *ticket)
{
    struct test_world *t = user;
    t->seeking = ticket;
    t->seek_handler = mem_string(handler);
    t->seek_where = mem_string(where);
}

static void on_request(void *user, const struct testing_request *request, struct ticket *ticket)
{
    struct test_world *t = user;
    t->requesting = test_request_new(t->deployment.config, request, ticket);
}

static void on_crash(void *user, size_t host, const char *after, struct ticket *ticket)
{
    struct test_world *t = user;
    t->crashing = ticket;
    t->crash_host = host;
    t->later = after != NULL;
    if (after && t->fatal_count < FATAL_MAX)
        t->fatal[t->fatal_count++] = mem_string(after);
}

static void on_hosts(void *user, size_t count, struct ticket *ticket)
{
    struct test_world *t = user;
    t->crashing = ticket;
    t->wanted_hosts = count;
}

static bool on_dead_letter(void *user, size_t index, const char **handler, const char **error)
{
    struct test_world *t = user;
    if (index >= t->dead_count)
        return false;
    *handler = t->dead[index].handler;
    *error = t->dead[index].error;
    return true;
}

static const struct message *on_emitted(void *user, size_t index, const char **target)
{
    struct test_world *t = user;
    if (index >= t->sent_count)
        return NULL;
    *target = t->sent[index].target;
    return &t->sent[index].message;
}

static void tell_message(void *user, const char *target, const struct message *message)
{
    struct test_world *t = user;
    if (t->sent_count == SENT_MAX)
        return;
    mem_grow(&t->sent, &t->sent_capacity, t->sent_count, sizeof *t->sent);
    t->sent[t->sent_count++] = (struct sent){mem_string(target), message_copy(message)};
}

static struct emitter *make_emitter(void *user, struct reactor *reactor, const struct config *config)
{
    return emitter_dry_new(reactor, config, tell_message, user);
}

static bool on_control(void *user, const char *operation, const char *body, size_t size, struct err *err)
{
    struct test_world *t = user;
    struct engine_reply reply = {0};
    char *target = mem_printf("TidemillLocal.%s", operation);
    engine_call(t->engine, &(struct engine_request){target, body, size, NULL}, &reply);
    bool ok = reply.status == 200 || err_set(err, ERR_SERVICE, "%s: %s", operation, reply.body.data);
    buf_fini(&reply.body);
    free(target);
    return ok;
}

/* ---- what the handlers do ---- */

/* For who reads why a test has failed: beside what the host says. */
static void tell_story(struct test_world *t, const char *handler, struct buf *line)
{
    char *subject = mem_printf("handler %s", handler);
    log_info(t->log, subject, "%s", line->data);
    free(subject);
    buf_fini(line);
}

/* What runs away is no story. */
static bool is_told(struct test_world *t)
{
    if (t->told++ == STORY_MAX)
        log_info(t->log, NULL, "... and more calls and records than %d", STORY_MAX);
    return t->told <= STORY_MAX;
}

static void on_called(void *user, const struct observed_call *call)
{
    struct test_world *t = user;
    struct buf line = BUF_INIT;
    seen_note(t->options->seen, t->deployment.config, call);
    if (!is_told(t))
        return;
    story_add_call(&line, call, 0);
    tell_story(t, call->handler, &line);
}

static void on_ran(void *user, const char *path, size_t line, bool now)
{
    test_cover_note(((struct test_world *)user)->options->cover, path, line, now);
}

static void tell_attempt(struct test_world *t, const struct observed *observed)
{
    struct buf line = BUF_INIT;
    story_add_record(&line, observed->table, observed->record, false);
    buf_printf(&line, ": %s", story_outcome(observed->outcome));
    if (observed->attempt > 1)
        buf_printf(&line, " (attempt %lld)", (long long)observed->attempt);
    if (observed->error)
        buf_printf(&line, ": %s", observed->error);
    tell_story(t, observed->handler, &line);
}

static void on_attempted(void *user, const struct observed *observed)
{
    struct test_world *t = user;
    if (is_told(t))
        tell_attempt(t, observed);
    if ((observed->outcome != OUTCOME_DEAD && observed->outcome != OUTCOME_DISCARDED &&
         observed->outcome != OUTCOME_FORWARDED) ||
        t->dead_count == DEAD_MAX)
        return;
    mem_grow(&t->dead, &t->dead_capacity, t->dead_count, sizeof *t->dead);
    t->dead[t->dead_count++] =
        (struct dead){mem_string(observed->handler), test_deployment_beside(&t->deployment, observed->error)};
}

/* ---- making it ---- */

static bool load_script(struct test_world *t, const char *path, struct err *err)
{
    struct problems problems = PROBLEMS_INIT;
    t->script = script_load(
        &(struct script_options){
            .path = path,
            .reactor = t->world.reactor,
            .aws = t->aws,
            .transport = &t->world.transport,
            .log = t->log,
            .testing = &t->hooks,
        },
        &problems);
    if (!t->script)
        err_set(err, ERR_SCRIPT, "%s", problems.lines[0]);
    problems_fini(&problems);
    return t->script != NULL;
}

/* One that cannot be loaded would only be missed. */
static bool check_handlers(struct test_world *t, struct err *err)
{
    struct problems problems = PROBLEMS_INIT;
    char **places = handler_places(t->deployment.config, true, err);
    for (size_t i = 0; places && places[i]; i++)
        handler_release(handler_load(&(struct script_options){.path = places[i],
                                                              .config = t->deployment.config,
                                                              .reactor = t->world.reactor,
                                                              .log = t->log},
                                     &problems));
    if (problems.count) {
        char *line = test_deployment_beside(&t->deployment, problems.lines[0]);
        err_set(err, ERR_SCRIPT, "%s", line);
        free(line);
    }
    bool ok = places && !problems.count;
    script_paths_free(places);
    problems_fini(&problems);
    return ok;
}

static bool make(struct test_world *t, struct err *err)
{
    world_init(&t->world);
    world_add_reactor(&t->world);
    t->world.answer = answer;
    t->world.user = t;
    t->world.clock.cpu_ms = clock_system().cpu_ms; /* an endless loop is not virtual */
    t->hooks = (struct testing_hooks){.settle = on_settle,
                                      .advance = on_advance,
                                      .replay = on_replay,
                                      .event = on_event,
                                      .seek = on_seek,
                                      .request = on_request,
                                      .crash = on_crash,
                                      .hosts = on_hosts,
                                      .dead_letter = on_dead_letter,
                                      .emitted = on_emitted,
                                      .control = on_control,
                                      .user = t};
    t->observer = (struct observer){.called = on_called,
                                    .attempted = on_attempted,
                                    .ran = t->options->cover ? on_ran : NULL,
                                    .tells = true,
                                    .user = t};
    t->log_fd = memfd_create("log", MFD_CLOEXEC);
    t->log = log_new(t->log_fd, LOG_TEXT, LOG_INFO, &t->world.clock);
    t->chance = t->options->seed;
    if (!test_deployment_make(&t->deployment, t->options->path, t->options->deployment, err))
        return false;
    t->engine = engine_new(&(struct engine_options){.clock = &t->world.clock}, err);
    if (!t->engine || !dev_make_tables(t->engine, t->deployment.config, err))
        return false;
    t->aws = aws_client_new(t->world.reactor, &t->world.transport, &t->deployment.config->aws, t->log, err);
    t->hosts = (struct test_hosts){
        .leader = &t->world,
        .options = {.config = t->deployment.config, .log = t->log, .observer = &t->observer},
        .answer = answer_host,
        .user = t};
    t->hosts.options.world.emitter_new = make_emitter;
    t->hosts.options.world.emitter_user = t;
    return t->aws && test_hosts_begin(&t->hosts, 1, err) && check_handlers(t, err) &&
           load_script(t, t->options->path, err);
}

static char *read_log(struct test_world *t)
{
    struct buf text = BUF_INIT;
    char chunk[4096];
    off_t end = lseek(t->log_fd, 0, SEEK_END);
    lseek(t->log_fd, end > LOG_BYTES_MAX ? end - LOG_BYTES_MAX : 0, SEEK_SET);
    for (ssize_t size; (size = read(t->log_fd, chunk, sizeof chunk)) > 0;)
        buf_add(&text, chunk, (size_t)size);
    return buf_take(&text);
}

static void unmake(struct test_world *t)
{
    handler_release(script_handler(t->script));
    t->script = NULL;
    test_hosts_end(&t->hosts);
    aws_client_free(t->aws);
    world_fini(&t->world);
    char *log = read_log(t);
    t->outcome->log = t->deployment.directory ? test_deployment_beside(&t->deployment, log) : mem_string(log);
    free(log);
    engine_free(t->engine);
    engine_free(t->state);
    log_free(t->log);
    close(t->log_fd);
    test_deployment_fini(&t->deployment);
    for (size_t i = 0; i < t->fatal_count; i++)
        free(t->fatal[i]);
    for (size_t i = 0; i < t->dead_count; i++) {
        free(t->dead[i].handler);
        free(t->dead[i].error);
    }
    for (size_t i = 0; i < t->sent_count; i++) {
        free(t->sent[i].target);
        message_fini(&t->sent[i].message);
    }
    free(t->sent);
    free(t->dead);
    free(t->read);
}

/* ---- running it ---- */

static void end(struct test_world *t, enum handler_result result, struct handler_outcome *outcome)
{
    t->ended = true;
    if (result == HANDLER_RAISED) {
        fail(t, outcome->error.text);
    }
    handler_outcome_fini(outcome);
}

static void on_done(void *user, enum handler_result result, struct handler_outcome *outcome)
{
    end(user, result, outcome);
}

/* ---- time that passes ---- */

struct turning {
    struct test_world *t;
    bool (*condition)(void *user); /* or NULL */
    bool holds;
};

static bool is_interrupted(void *user)
{
    struct turning *turning = user;
    turning->holds = turning->condition && turning->condition(turning->t);
    return turning->holds || test_hosts_any_dying(&turning->t->hosts);
}

/* Until `condition` holds (NULL: until the time is over); hosts that die meanwhile are started anew. */
static bool turn(struct test_world *t, bool (*condition)(void *user), int64_t ms)
{
    struct turning turning = {t, condition, false};
    struct err err;
    int64_t end_ms = t->world.now_ms + ms;
    while (world_turn(&t->world, is_interrupted, &turning, end_ms - t->world.now_ms) && !turning.holds)
        if (!test_hosts_restart(&t->hosts, &err)) {
            fail(t, err.text);
            t->ended = true;
            return false;
        }
    return turning.holds;
}

static bool overdue(struct test_world *t)
{
    if (real_ms() - t->started_ms < REAL_MS_MAX)
        return false;
    fail(t, "the test took longer than a minute of real time");
    return true;
}

struct unread {
    struct test_world *t;
    int64_t changes;
    bool any;
};

static void check_shard(void *user, const char *table, int64_t shard)
{
    struct unread *unread = user;
    bool wanted = false;
    const struct config *config = unread->t->deployment.config;
    for (size_t i = 0; i < config->stream_count; i++)
        wanted = wanted || (config->streams[i].table && strcmp(config->streams[i].table, table) == 0 &&
                            test_hosts_read(&unread->t->hosts, config->streams[i].name));
    const struct read_shard *read = find_read(unread->t, shard);
    unread->any = unread->any || (wanted && !read->over && read->changes < unread->changes);
}

/* Every shard was found empty since the last change, and all that was read is settled. */
static bool is_settled(void *user)
{
    struct test_world *t = user;
    struct unread unread = {t, engine_changes(t->engine), false};
    if (!test_hosts_drained(&t->hosts))
        return false;
    engine_each_shard(t->engine, check_shard, &unread);
    return !unread.any;
}

/* What is written leads to what is written. */
static bool runs_away(const struct test_world *t)
{
    return t->writes > t->runaway;
}

static bool settled_or_never(void *user)
{
    return is_settled(user) || runs_away(user);
}

static bool any_is_read(struct test_world *t)
{
    bool any = false;
    for (size_t i = 0; i < t->deployment.config->stream_count; i++)
        any = any || test_hosts_read(&t->hosts, t->deployment.config->streams[i].name);
    return any;
}

static void settle(struct test_world *t)
{
    struct ticket *ticket = t->settling;
    int64_t until = t->world.now_ms + SETTLE_MS_MAX;
    bool settled = false;
    t->settling = NULL;
    if (!any_is_read(t)) {
        testing_resume(ticket,
                       "no handler reads a stream: each script that is to run is named in a [handler NAME] "
                       "section of the test's deployment, or after the test (h.lua of h_test.lua), and "
                       "names a stream");
        return;
    }
    t->runaway = t->writes + RUNAWAY_WRITES;
    while (!settled && t->world.now_ms < until && !overdue(t) && !runs_away(t)) {
        /* What was written by the last handler may be read by another. */
        settled = turn(t, settled_or_never, 60000);
        turn(t, NULL, LOOK_MS);
        settled = settled && is_settled(t);
    }
    testing_resume(ticket, settled ? NULL : "timed out");
}

/* Replays and seeks go by it. */
static struct host *first_host(struct test_world *t)
{
    return t->hosts.each[0].host;
}

static bool replay_events(struct test_world *t, struct err *err)
{
    static const char *const no_keys[] = {NULL};
    const struct handler *handler = host_handler(first_host(t), t->replay_handler);
    if (!handler)
        return err_set(err, ERR_CONFIG, "there is no handler %s", t->replay_handler);
    if (handler_kind(handler) == HANDLER_REQUESTS)
        return err_set(err, ERR_CONFIG, "handler %s has requests, not records: test.request sends it some",
                       t->replay_handler);
    struct archive *archive = archive_open(t->replay_path, NULL, host_reactor(first_host(t)), NULL, err);
    if (!archive)
        return false;
    struct replay *replay = replay_new(&(struct replay_options){
        .reactor = host_reactor(first_host(t)),
        .store = host_store(first_host(t)),
        .log = t->log,
        .archive = archive,
        .handler = (struct handler *)handler,
        .mark = t->replay_path,
        .keys = no_keys,
        .restart = true,
        .observer = &t->observer,
    });
    while (replay_step(replay, err) && !overdue(t))
        continue;
    replay_free(replay);
    archive_free(archive);
    return !err->code;
}

static void replay(struct test_world *t)
{
    struct ticket *ticket = t->replaying;
    struct err err = {0};
    t->replaying = NULL;
    bool ok = t->fatal_count
                  ? err_set(&err, ERR_CONFIG,
                            "a host that is to die (test.crash) reads streams: events that are made up, or "
                            "archived, are no part of one")
                  : replay_events(t, &err);
    free(t->replay_path);
    free(t->replay_handler);
    t->replay_path = t->replay_handler = NULL;
    testing_resume(ticket, ok ? NULL : err.text);
}

#define SEEK_MS_MAX                                                                        \
    (10 * 60 * 1000) /* of virtual time: a host looks every second, and lets what runs end \
                      */

/* What a command beside a host would do: it asks by way of the state, and the host moves the handler. */
static bool seek_one(struct test_world *t, const char *handler, struct err *err)
{
    if (t->state)
        return err_set(err, ERR_CONFIG,
                       "one host can be moved, not several that share their state (test.hosts)");
    struct store_batch *batch = store_batch_new();
    char place[CLOCK_ISO_SIZE];
    const char *where;
    if (!seek_read_place(t->seek_where, clock_wall_ms(&t->world.clock), place, &where, err)) {
        store_batch_free(batch);
        return false;
    }
    const struct store_request request = {.kind = "seek",
                                          .id = ((int64_t)1 << 40) + (int64_t)t->seeks++,
                                          .handler = handler,
                                          .shard = "",
                                          .argument = where,
                                          .created_ms = t->world.now_ms};
    int64_t end_ms = t->world.now_ms + SEEK_MS_MAX;
    int answered = REQUEST_OPEN;
    store_put_request(batch, &request);
    if (!store_commit_now(host_store(first_host(t)), host_reactor(first_host(t)), batch, err))
        return false;
    while (answered == REQUEST_OPEN && t->world.now_ms < end_ms && !overdue(t)) {
        turn(t, NULL, 1000); /* the host may be another one by then */
        struct store_snapshot *snapshot =
            store_load_now(host_store(first_host(t)), host_reactor(first_host(t)),
                           &(struct store_query){.what = STORE_ANSWER, .id = request.id}, err);
        if (!snapshot)
            return false;
        answered = snapshot->request_count ? snapshot->requests[0].answered : REQUEST_OPEN;
        if (answered != REQUEST_OPEN && answered != REQUEST_DONE)
            err_set(err, ERR_CONFIG, "%s", snapshot->requests[0].answer);
        store_snapshot_free(snapshot);
    }
    if (answered == REQUEST_OPEN)
        err_set(err, ERR_TIMEOUT, "handler %s does not end what it does", handler);
    return answered == REQUEST_DONE;
}

static void add_name(void *user, const struct handler *handler)
{
    buf_printf(user, "%s\n", handler_name(handler));
}

static bool seek_all(struct test_world *t, struct err *err)
{
    struct buf names = BUF_INIT;
    char *rest = NULL;
    bool ok = true;
    host_each_handler(first_host(t), add_name, &names);
    for (char *name = names.data ? strtok_r(names.data, "\n", &rest) : NULL; name && ok;
         name = strtok_r(NULL, "\n", &rest))
        ok = seek_one(t, name, err);
    buf_fini(&names);
    return ok;
}

static void seek(struct test_world *t)
{
    struct ticket *ticket = t->seeking;
    struct err err = {0};
    t->seeking = NULL;
    bool ok = t->seek_handler ? seek_one(t, t->seek_handler, &err) : seek_all(t, &err);
    for (size_t i = 0; i < t->read_count; i++)
        t->read[i].changes = -1; /* what is open is to be found empty once more */
    free(t->seek_handler);
    free(t->seek_where);
    t->seek_handler = t->seek_where = NULL;
    testing_resume(ticket, ok ? NULL : err.text);
}

static bool is_idle(void *user)
{
    struct test_world *t = user;
    return list_empty(&t->world.calls) && !test_hosts_call(&t->hosts) && is_settled(t);
}

/* Where nobody has anything to do but to look whether there is something, that is left out, but for the end.
 */
static void pass(struct test_world *t, int64_t ms)
{
    int64_t end_ms = t->world.now_ms + ms;
    if (ms > 2 * AWAKE_MS && turn(t, is_idle, AWAKE_MS))
        t->world.now_ms = end_ms - AWAKE_MS;
    if (t->world.now_ms < end_ms)
        turn(t, NULL, end_ms - t->world.now_ms);
}

static void advance(struct test_world *t)
{
    struct ticket *ticket = t->advancing;
    int64_t step = t->advance_ms / 100 > 1000 ? t->advance_ms / 100 : 1000;
    t->advancing = NULL;
    step = step < STEP_MS_MAX ? step : STEP_MS_MAX;
    for (int64_t left = t->advance_ms; left > 0 && !overdue(t); left -= step) {
        pass(t, left < step ? left : step);
        engine_housekeeping(t->engine);
    }
    testing_resume(ticket, NULL);
}

/* They share a state, which is none of the test's tables; what the one before them has read is read again. */
static bool have_hosts(struct test_world *t, size_t count, struct err *err)
{
    test_hosts_end(&t->hosts);
    if (!t->state)
        t->state = engine_new(&(struct engine_options){.clock = &t->world.clock}, err);
    if (!t->state)
        return false;
    test_deployment_share_state(&t->deployment);
    return test_hosts_begin(&t->hosts, count, err);
}

/* One of the hosts, all of them, or another number of them. */
static void crash(struct test_world *t)
{
    struct ticket *ticket = t->crashing;
    struct err err = {0};
    bool ok = true;
    t->crashing = NULL;
    if (t->crash_host > t->hosts.count)
        ok = err_set(&err, ERR_CONFIG, "there is no host %zu", t->crash_host);
    for (size_t i = 0; ok && !t->wanted_hosts && !t->later && i < t->hosts.count; i++)
        if (!t->crash_host || t->crash_host == i + 1)
            test_hosts_kill(&t->hosts.each[i]);
    if (t->wanted_hosts)
        ok = have_hosts(t, t->wanted_hosts, &err);
    else if (ok)
        ok = test_hosts_restart(&t->hosts, &err);
    t->wanted_hosts = 0;
    t->later = false;
    testing_resume(ticket, ok ? NULL : err.text);
}

static void request(struct test_world *t)
{
    struct test_request *asked = t->requesting;
    t->requesting = NULL;
    test_request_send(asked, first_host(t), clock_wall_ms(&t->world.clock));
}

static bool is_asked(void *user)
{
    const struct test_world *t = user;
    return t->settling || t->advancing || t->replaying || t->seeking || t->crashing || t->requesting ||
           t->ended;
}

static void run(struct test_world *t, size_t index)
{
    struct invocation *invocation = NULL;
    struct handler_outcome outcome = {0};
    enum handler_result result = testing_run(t->script, index, on_done, t, &invocation, &outcome);
    if (result != HANDLER_WAITING)
        end(t, result, &outcome);
    while (!t->ended && !overdue(t)) {
        if (t->settling)
            settle(t);
        else if (t->advancing)
            advance(t);
        else if (t->replaying)
            replay(t);
        else if (t->seeking)
            seek(t);
        else if (t->crashing)
            crash(t);
        else if (t->requesting)
            request(t);
        else
            turn(t, is_asked, 1000);
    }
    if (!t->ended) {
        handler_cancel(script_handler(t->script), invocation);
    } else if (t->fatal_count && t->outcome->passed) {
        char *text =
            mem_printf("test.crash: no handler has called %s, of which the host was to die", t->fatal[0]);
        fail(t, text);
        free(text);
    }
}

void test_world_run(const struct test_options *options, struct test_outcome *outcome)
{
    struct test_world t = {.options = options, .outcome = outcome, .started_ms = real_ms()};
    struct err err;
    *outcome = (struct test_outcome){.passed = true};
    if (make(&t, &err))
        run(&t, options->index);
    else
        fail(&t, err.text);
    outcome->real_ms = real_ms() - t.started_ms;
    unmake(&t);
}
