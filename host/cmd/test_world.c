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
#include "core/host.h"
#include "core/replay.h"
#include "core/world.h"
#include "deliver/emitter_dry.h"
#include "core/plugs.h"
#include "local/engine.h"
#include "script/testing.h"
#include "state/store_open.h"
#include "script/directory.h"
#include "worker/handlers.h"

#define ENDPOINT "http://dynamodb.test"
#define LOOK_MS 50
#define RUNAWAY_WRITES 20000
#define STEP_MS_MAX (10 * 60 * 1000)           /* an iterator holds for 15 minutes */
#define AWAKE_MS 1500                          /* a shard that is idle is read every second */
#define SETTLE_MS_MAX (7 * 24 * 3600 * 1000LL) /* of virtual time: longer than any record is retried */
#define REAL_MS_MAX 60000
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
    struct world world;
    char *directory; /* state, scripts */
    char
        *deployed; /* the scripts directory of a deployment that is there; NULL: the test has its INI in it */
    struct engine *engine;
    struct config *config;
    struct log *log;
    int log_fd;
    struct host *host;
    struct script *script;
    struct testing_hooks hooks;
    struct observer observer;
    struct dead *dead;
    size_t dead_count, dead_capacity;
    struct sent *sent; /* what was emitted */
    size_t sent_count, sent_capacity;
    struct read_shard *read;
    size_t read_count, read_capacity;
    const char *path; /* of the test's file */
    struct ticket *settling, *advancing, *replaying, *seeking;
    char *replay_path, *replay_handler;
    char *seek_handler, *seek_where; /* the first NULL: all of them */
    size_t events, seeks;            /* so far */
    int64_t advance_ms;
    int64_t writes,
        runaway; /* calls that changed something; more than `runaway` while it settles are too many */
    bool ended;
    struct test_outcome *outcome;
    struct test_rights *rights; /* or NULL */
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

static void answer_dynamodb(struct test_world *t, const struct transport_request *request,
                            struct answer *answer)
{
    struct engine_reply reply = {0};
    char target[128];
    int64_t before = engine_changes(t->engine);
    engine_call(t->engine,
                &(struct engine_request){request_header(request, "X-Amz-Target", target, sizeof target),
                                         request->body ? request->body : "", request->body_size, NULL},
                &reply);
    t->writes += engine_changes(t->engine) != before;
    answer->status = reply.status;
    answer->body = reply.body;
    answer->delay_ms += reply.delay_ms;
    answer->lost = reply.dropped;
    if (reply.status == 200 && !reply.dropped && strstr(target, ".GetRecords"))
        note_reading(t, request, answer);
}

static void answer(void *user, const struct transport_request *request, struct answer *answer)
{
    struct test_world *t = user;
    struct err err;
    if (strncmp(request->url, ENDPOINT, strlen(ENDPOINT)) == 0)
        answer_dynamodb(t, request, answer);
    else if (t->script && !testing_answer(t->script, request, &answer->status, &answer->body, &err) &&
             err.code)
        fail(t, err.text);
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
    t->replay_path = path_beside(t->path, path);
    t->replay_handler = mem_string(handler);
}

static void on_event(void *user, const char *event, size_t size, const char *handler, struct ticket *ticket)
{
    struct test_world *t = user;
    t->replaying = ticket;
    t->replay_path = mem_printf("%s/event-%zu.jsonl", t->directory, t->events++);
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

/* Scripts are links in the world's own directory; people know them beside their tests. To be freed. */
static char *as_beside(const struct test_world *t, const char *text)
{
    struct buf out = BUF_INIT;
    char *scripts = mem_printf("%s/scripts", t->directory), *beside = path_beside(t->path, ".");
    beside[strlen(beside) - (strlen(beside) > 1 ? 2 : 0)] = '\0'; /* without "/." */
    for (const char *found; text && (found = strstr(text, scripts)); text = found + strlen(scripts)) {
        buf_add(&out, text, (size_t)(found - text));
        buf_add_text(&out, beside);
    }
    free(beside);
    buf_add_text(&out, text ? text : "");
    free(scripts);
    return buf_take(&out);
}

/* For who reads why a test has failed: beside what the host says. */
static void tell_story(struct test_world *t, const char *handler, struct buf *line)
{
    char *subject = mem_printf("handler %s", handler);
    log_info(t->log, subject, "%s", line->data);
    free(subject);
    buf_fini(line);
}

static void on_called(void *user, const struct observed_call *call)
{
    struct test_world *t = user;
    struct buf line = BUF_INIT;
    if (t->rights)
        test_rights_note(t->rights, call->handler, call->verb, call->what, call->size);
    story_add_call(&line, call, 0);
    tell_story(t, call->handler, &line);
}

static void on_attempted(void *user, const struct observed *observed)
{
    struct test_world *t = user;
    struct buf line = BUF_INIT;
    story_add_record(&line, observed->table, observed->record, false);
    buf_printf(&line, ": %s", story_outcome(observed->outcome));
    if (observed->attempt > 1)
        buf_printf(&line, " (attempt %lld)", (long long)observed->attempt);
    if (observed->error)
        buf_printf(&line, ": %s", observed->error);
    tell_story(t, observed->handler, &line);
    if ((observed->outcome != OUTCOME_DEAD && observed->outcome != OUTCOME_DISCARDED &&
         observed->outcome != OUTCOME_FORWARDED) ||
        t->dead_count == DEAD_MAX)
        return;
    mem_grow(&t->dead, &t->dead_capacity, t->dead_count, sizeof *t->dead);
    t->dead[t->dead_count++] = (struct dead){mem_string(observed->handler), as_beside(t, observed->error)};
}

/* ---- making it ---- */

static bool link_script(struct test_world *t, const char *beside, const char *handler, const char *script,
                        bool needed, struct err *err)
{
    char *name = mem_printf("%s.lua", script), *path = path_beside(beside, name);
    char *link = mem_printf("%s/scripts/%s", t->directory, name), *target = realpath(path, NULL);
    bool ok = (!target && !needed) || (target && (symlink(target, link) == 0 || errno == EEXIST));
    if (!ok)
        err_set(err, ERR_CONFIG, "[handler %s]: there is no %s beside the test", handler, path);
    free(name);
    free(path);
    free(link);
    free(target);
    return ok;
}

static void link_directory(struct test_world *t, const char *beside, const char *name, struct err *err)
{
    char *link = mem_printf("%s/scripts/%s", t->directory, name), *own = path_beside(beside, name);
    char *whole = realpath(own, NULL);
    if (whole && symlink(whole, link) != 0)
        err_set(err, ERR_IO, "%s: cannot be linked", link);
    free(whole);
    free(link);
    free(own);
}

static bool link_those(struct test_world *t, const char *test, const char *beside, struct err *err)
{
    link_directory(t, beside, "lib", err);
    link_directory(t, beside, "templates", err);
    for (size_t i = 0; i < t->config->handler_count; i++) {
        const struct config_handler *section = &t->config->handlers[i];
        const char *script = config_handler_script(section);
        if (!link_script(t, beside, section->name, script ? script : section->name, true, err))
            return false;
    }
    const char *slash = strrchr(test, '/'), *own = slash ? slash + 1 : test, *end = strstr(own, "_test.lua");
    char *handler = mem_copy(own, end ? (size_t)(end - own) : 0);
    bool ok = !*handler || link_script(t, test, handler, handler, false, err);
    free(handler);
    return ok;
}

/* All that run would take, of a deployment that is there. */
static bool link_all(struct test_world *t, struct err *err)
{
    char **paths = script_paths(t->deployed, err);
    for (size_t i = 0; paths && paths[i]; i++) {
        const char *slash = strrchr(paths[i], '/'), *name = slash ? slash + 1 : paths[i];
        char *script = mem_copy(name, strlen(name) - strlen(".lua"));
        link_script(t, paths[i], script, script, false, err);
        free(script);
    }
    if (paths)
        script_paths_free(paths);
    return paths != NULL;
}

/* The handlers that have a section, the one that the test is named after, lib/ and templates/, as links; of a
 * deployment that is there all of its scripts. */
static bool link_scripts(struct test_world *t, const char *test, struct err *err)
{
    char *deployed = t->deployed ? mem_printf("%s/", t->deployed) : NULL;
    const char *beside = deployed ? deployed : test;
    bool ok = link_those(t, test, beside, err) && (!deployed || link_all(t, err));
    free(deployed);
    return ok;
}

static bool load_config(struct test_world *t, const char *path, const char *deployment, struct err *err)
{
    struct problems problems = PROBLEMS_INIT;
    bool inline_text = strchr(deployment, '[') != NULL;
    char *ini = inline_text ? mem_printf("%s/test.ini", t->directory) : path_beside(path, deployment);
    FILE *file = inline_text ? fopen(ini, "w") : NULL;
    if (file) {
        fputs(deployment, file);
        fclose(file);
    }
    t->config = config_load(ini, &host_plugs_playing, &problems);
    if (problems.count)
        err_set(err, ERR_CONFIG, "%s", problems.lines[0]);
    bool ok = !problems.count;
    free(ini);
    problems_fini(&problems);
    struct config *config = t->config;
    free(config->host.state);
    t->deployed = inline_text ? NULL : realpath(config->host.scripts, NULL);
    free(config->host.scripts);
    free(config->aws.endpoint);
    free(config->aws.endpoint_dynamodb);
    free(config->aws.endpoint_streams);
    config->aws.endpoint = NULL;
    free(config->aws.region);
    char *state = mem_printf("%s/state.db", t->directory);
    config->host.state = store_in_file(state);
    free(state);
    config->host.scripts = mem_printf("%s/scripts", t->directory);
    config->host.threads = 1;
    config->aws.assumes_no_role = true;
    config->aws.endpoint_dynamodb =
        mem_string(ENDPOINT); /* all else is asked where AWS has it: see test.aws */
    config->aws.endpoint_streams = mem_string(ENDPOINT);
    config->aws.region = mem_string("us-east-1");
    return ok;
}

static bool make_directory(struct test_world *t, struct err *err)
{
    const char *temporary = getenv("TMPDIR");
    t->directory = mem_printf("%s/tidemill-test-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    char *scripts = NULL;
    bool ok = mkdtemp(t->directory) != NULL;
    if (ok) {
        scripts = mem_printf("%s/scripts", t->directory);
        ok = mkdir(scripts, 0700) == 0;
    }
    free(scripts);
    return ok || err_set(err, ERR_IO, "%s: cannot be made", t->directory);
}

static bool load_script(struct test_world *t, const char *path, struct err *err)
{
    struct problems problems = PROBLEMS_INIT;
    t->script = script_load(
        &(struct script_options){
            .path = path,
            .reactor = host_reactor(t->host),
            .aws = host_client(t->host),
            .transport = host_transport(t->host),
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
    char **places = handler_places(t->config, true, err);
    for (size_t i = 0; places && places[i]; i++)
        handler_release(handler_load(
            &(struct script_options){
                .path = places[i], .config = t->config, .reactor = host_reactor(t->host), .log = t->log},
            &problems));
    if (problems.count) {
        char *line = as_beside(t, problems.lines[0]);
        err_set(err, ERR_SCRIPT, "%s", line);
        free(line);
    }
    bool ok = places && !problems.count;
    script_paths_free(places);
    problems_fini(&problems);
    return ok;
}

static bool make(struct test_world *t, const char *path, const char *deployment, struct err *err)
{
    world_init(&t->world);
    t->world.answer = answer;
    t->world.user = t;
    t->world.clock.cpu_ms = clock_system().cpu_ms; /* an endless loop is not virtual */
    t->hooks = (struct testing_hooks){on_settle,      on_advance, on_replay,  on_event, on_seek,
                                      on_dead_letter, on_emitted, on_control, t};
    t->observer =
        (struct observer){.called = on_called, .attempted = on_attempted, .tells = true, .user = t};
    t->log_fd = memfd_create("log", MFD_CLOEXEC);
    t->log = log_new(t->log_fd, LOG_TEXT, LOG_INFO, &t->world.clock);
    if (!make_directory(t, err) || !load_config(t, path, deployment, err) || !link_scripts(t, path, err))
        return false;
    t->engine = engine_new(&(struct engine_options){.clock = &t->world.clock}, err);
    if (!t->engine || !dev_make_tables(t->engine, t->config, err))
        return false;
    struct worker_world world = world_of_host(&t->world);
    world.emitter_new = make_emitter;
    world.emitter_user = t;
    t->host = host_new(
        &(struct host_options){.config = t->config, .log = t->log, .world = world, .observer = &t->observer},
        err);
    return t->host && check_handlers(t, err) && load_script(t, path, err);
}

static void remove_tree(const char *path)
{
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *inner = mem_printf("%s/%s", path, entry->d_name);
        if (lstat(inner, &status) == 0 && S_ISDIR(status.st_mode))
            remove_tree(inner);
        else
            unlink(inner);
        free(inner);
    }
    if (directory)
        closedir(directory);
    rmdir(path);
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
    host_free(t->host);
    t->world.reactor = NULL; /* was the host's own */
    world_fini(&t->world);
    char *log = read_log(t);
    t->outcome->log = t->directory ? as_beside(t, log) : mem_string(log);
    free(log);
    engine_free(t->engine);
    config_release(t->config);
    log_free(t->log);
    close(t->log_fd);
    if (t->directory)
        remove_tree(t->directory);
    free(t->directory);
    free(t->deployed);
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

static bool never(void *user)
{
    (void)user;
    return false;
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
    const struct config *config = unread->t->config;
    for (size_t i = 0; i < config->stream_count; i++)
        wanted = wanted || (config->streams[i].table && strcmp(config->streams[i].table, table) == 0 &&
                            host_reads(unread->t->host, config->streams[i].name));
    const struct read_shard *read = find_read(unread->t, shard);
    unread->any = unread->any || (wanted && !read->over && read->changes < unread->changes);
}

/* Every shard was found empty since the last change, and all that was read is settled. */
static bool is_settled(void *user)
{
    struct test_world *t = user;
    struct unread unread = {t, engine_changes(t->engine), false};
    if (!host_drained(t->host))
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
    for (size_t i = 0; i < t->config->stream_count; i++)
        any = any || host_reads(t->host, t->config->streams[i].name);
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
        settled = world_turn(&t->world, settled_or_never, t, 60000);
        world_turn(&t->world, never, NULL, LOOK_MS);
        settled = settled && is_settled(t);
    }
    testing_resume(ticket, settled ? NULL : "timed out");
}

static bool replay_events(struct test_world *t, struct err *err)
{
    static const char *const no_keys[] = {NULL};
    const struct handler *handler = host_handler(t->host, t->replay_handler);
    if (!handler)
        return err_set(err, ERR_CONFIG, "there is no handler %s", t->replay_handler);
    struct archive *archive = archive_open(t->replay_path, host_reactor(t->host), NULL, err);
    if (!archive)
        return false;
    struct replay *replay = replay_new(&(struct replay_options){
        .reactor = host_reactor(t->host),
        .store = host_store(t->host),
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
    bool ok = replay_events(t, &err);
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
    struct store *store = host_store(t->host);
    struct reactor *reactor = host_reactor(t->host);
    struct store_batch *batch = store_batch_new();
    const struct store_request request = {.kind = "seek",
                                          .id = ((int64_t)1 << 40) + (int64_t)t->seeks++,
                                          .handler = handler,
                                          .shard = "",
                                          .argument = t->seek_where,
                                          .created_ms = t->world.now_ms};
    int64_t end_ms = t->world.now_ms + SEEK_MS_MAX;
    int answered = REQUEST_OPEN;
    store_put_request(batch, &request);
    if (!store_commit_now(store, reactor, batch, err))
        return false;
    while (answered == REQUEST_OPEN && t->world.now_ms < end_ms && !overdue(t)) {
        world_turn(&t->world, never, NULL, 1000);
        struct store_snapshot *snapshot = store_load_now(
            store, reactor, &(struct store_query){.what = STORE_ANSWER, .id = request.id}, err);
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
    host_each_handler(t->host, add_name, &names);
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
    return list_empty(&t->world.calls) && is_settled(t);
}

/* Where nobody has anything to do but to look whether there is something, that is left out, but for the end.
 */
static void pass(struct test_world *t, int64_t ms)
{
    int64_t end_ms = t->world.now_ms + ms;
    if (ms > 2 * AWAKE_MS && world_turn(&t->world, is_idle, t, AWAKE_MS))
        t->world.now_ms = end_ms - AWAKE_MS;
    if (t->world.now_ms < end_ms)
        world_turn(&t->world, never, NULL, end_ms - t->world.now_ms);
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
        else
            reactor_turn(t->world.reactor, 1000);
    }
    if (!t->ended)
        handler_cancel(script_handler(t->script), invocation);
}

void test_world_run(const char *path, const char *deployment, size_t index, struct test_rights *rights,
                    struct test_outcome *outcome)
{
    struct test_world t = {.path = path, .outcome = outcome, .rights = rights, .started_ms = real_ms()};
    struct err err;
    *outcome = (struct test_outcome){.passed = true};
    if (make(&t, path, deployment, &err))
        run(&t, index);
    else
        fail(&t, err.text);
    outcome->real_ms = real_ms() - t.started_ms;
    unmake(&t);
}
