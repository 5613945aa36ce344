/* life.c: a deployment, and what happens to it. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "fake_alternator.h"
#include "sim.h"
#include "core/plugs.h"

#define CALM_MS_MAX (4 * 60 * MINUTE_MS)

/* ---- chance and reports ---- */

uint64_t sim_random(struct sim *sim)
{
    return sim->random = hash_mix(sim->random + 0x9e3779b97f4a7c15u);
}

int sim_below(struct sim *sim, int limit)
{
    return (int)(sim_random(sim) >> 33) % limit;
}

bool sim_chance(struct sim *sim, int of_thousand)
{
    return sim_below(sim, 1000) < of_thousand;
}

void sim_violated(struct sim *sim, const char *format, ...)
{
    va_list arguments;
    if (*sim->violation)
        return;
    int size = snprintf(sim->violation, sizeof sim->violation, "at %lld ms: ", (long long)sim->world.now_ms);
    va_start(arguments, format);
    vsnprintf(sim->violation + size, sizeof sim->violation - (size_t)size, format, arguments);
    va_end(arguments);
    sim_trace(sim, "VIOLATION %s", sim->violation);
}

void sim_trace(struct sim *sim, const char *format, ...)
{
    va_list arguments;
    if (!sim->loud)
        return;
    fprintf(stderr, "--- %lld ms: ", (long long)sim->world.now_ms);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* ---- the deployment ---- */

static const char script_head[] =
    "local http, time, tidemill = require 'tidemill.http', require 'tidemill.time', require 'tidemill'\n"
    "local function call(path, body)\n"
    "  local answer = http.post('http://sink.sim/' .. path, { json = body, timeout = 5 })\n"
    "  if not answer:ok() then error('the sink answered ' .. answer.status) end\n"
    "  return answer:json()\n"
    "end\n"
    "local function work(records, window)\n"
    "  local list = {}\n"
    "  for i, record in ipairs(records) do\n"
    "    list[i] = { v = record.new.v, attempt = record.attempt, redriven = record.redriven or false }\n"
    "  end\n"
    "  local order = call('begin', { handler = NAME, records = list, window = window })\n"
    "  if order.sleep > 0 then time.sleep(order.sleep / 1000) end\n"
    "  if order.fail == 1 then error('told to fail') end\n"
    "  if order.fail == 2 then error(tidemill.permanent('told to fail for good')) end\n"
    "  local emit = require('tidemill.emit')\n" /* then the end of the call is that all was accepted */
    "  if SENDS == 'sink' then\n"
    "    emit('sink', { call = order.call })\n"
    "  elseif SENDS ~= 'nothing' and #records > 0 then\n"
    "    local at = {}\n"
    "    for k, record in ipairs(records) do\n"
    "      local item = order.items[k]\n"
    "      for part = 1, order.messages do\n"
    "        at[item] = (at[item] or 0) + 1\n"
    "        emit(SENDS, { handler = NAME, call = order.call, v = record.new.v, part = part, at = at[item] "
    "},\n"
    "          { key = 'item ' .. item, record = record })\n"
    "      end\n"
    "    end\n"
    "  else\n"
    "    call('done', { call = order.call })\n"
    "  end\n"
    "  return order\n"
    "end\n";

static const char *const script_tails[] = {
    [KIND_ITEM] = "return { on_record = function(record) work({ record }) end }\n",
    [KIND_SHARD] = "return { ordering = 'shard', on_record = function(record) work({ record }) end }\n",
    [KIND_BATCH] = "return { on_batch = function(records)\n"
                   "  local failed = {}\n"
                   "  for _, i in ipairs(work(records).failed) do failed[#failed + 1] = records[i] end\n"
                   "  return failed\n"
                   "end }\n",
    [KIND_WINDOW] =
        "return { tumbling_window = '10s', on_window = function(state, records, final, window)\n"
        "  local seen = {}\n"
        "  for i, v in ipairs(state and state.seen or {}) do seen[i] = v end\n"
        "  work(records, { start = window.start, shard = window.shard, final = final, seen = seen })\n"
        "  for _, record in ipairs(records) do seen[#seen + 1] = record.new.v end\n"
        "  return { seen = seen }\n"
        "end }\n",
};

static void write_text(const struct sim *sim, const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", sim->directory, name), *next = mem_printf("%s.next", path);
    FILE *file = fopen(next, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0 || rename(next, path) != 0)
        abort();
    free(path);
    free(next);
}

static const char *const sends[] = {
    [SENDS_NOTHING] = "nothing", [SENDS_HTTP] = "sink", [SENDS_BUS] = "bus", [SENDS_LAKE] = "lake"};

static void write_script(struct sim *sim, struct sim_handler *handler, bool broken)
{
    char *name = mem_printf("scripts/%s.lua", handler->name);
    char *text = mem_printf("-- %d\nlocal NAME, SENDS = '%s', '%s'\n%s%s%s", handler->serial++, handler->name,
                            sends[handler->sends], script_head, script_tails[handler->kind],
                            broken ? "end end\n" : "");
    write_text(sim, name, text);
    free(name);
    free(text);
}

static void remove_script(struct sim *sim, const struct sim_handler *handler)
{
    char *path = mem_printf("%s/scripts/%s.lua", sim->directory, handler->name);
    unlink(path);
    free(path);
}

static void add_handler(struct sim *sim, int at)
{
    struct sim_handler *handler = &sim->handlers[at];
    write_script(sim, handler, false);
    handler->present = true;
    handler->joined = true;
}

static void choose_handlers(struct sim *sim, struct buf *ini)
{
    sim->handler_count = 1 + sim_below(sim, HANDLERS);
    for (int i = 0; i < sim->handler_count; i++) {
        struct sim_handler *handler = &sim->handlers[i];
        char failed[16];
        snprintf(handler->name, sizeof handler->name, "h%d", i);
        snprintf(failed, sizeof failed, "failed%d", i);
        buf_printf(ini,
                   "[target %s]\ntype = http\nurl = http://sink.sim/failed/h%d\nretries = %d\ntimeout = 5s\n",
                   failed, i, sim_below(sim, 4));
        handler->kind = (enum sim_kind)sim_below(sim, 4);
        handler->retries = sim_below(sim, 6);
        handler->discard = sim_chance(sim, 150);
        handler->forwards = !handler->discard && sim_chance(sim, 250);
        handler->slow = sim_chance(sim, 200);
        handler->sends = sim_chance(sim, 600) ? (enum sim_sends)(1 + sim_below(sim, 3)) : SENDS_NOTHING;
        buf_printf(ini,
                   "[handler h%d]\nstream = s\nretries = %d\non_failure = %s\nbackoff = %dms..%ds\n"
                   "concurrency = %d\nbatch_size = %d\nbatch_window = %dms\n",
                   i, handler->retries,
                   handler->discard    ? "discard"
                   : handler->forwards ? failed
                                       : "dead",
                   50 + sim_below(sim, 500), 1 + sim_below(sim, 20),
                   1 + sim_below(sim, handler->slow ? 3 : 40), 1 + sim_below(sim, 30),
                   sim_chance(sim, 500) ? 0 : sim_below(sim, 3000));
    }
}

static void write_deployment(struct sim *sim)
{
    struct problems problems = PROBLEMS_INIT;
    struct buf ini = BUF_INIT;
    buf_add_text(&ini, "[host]\nthreads = 1\nstate = sqlite:state.db\nshutdown_timeout = 120s\n"
                       "[aws]\nregion = us-east-1\nendpoint = http://dynamodb.sim\n");
    targets_write_endpoints(&ini);
    buf_printf(
        &ini,
        "[stream s]\ntable = Table\nstart = trim_horizon\nbatch_size = %d\npoll_min = %dms\npoll_max = %ds\n"
        "discovery = %ds\n"
        "[target sink]\ntype = http\nurl = http://sink.sim/done\nretries = 0\ntimeout = 5s\nin_flight = "
        "1000\n",
        1 + sim_below(sim, 60), 50 + sim_below(sim, 500), 1 + sim_below(sim, 5), 2 + sim_below(sim, 30));
    targets_write(sim, &ini);
    choose_handlers(sim, &ini);
    sim->ini = mem_string(ini.data);
    write_text(sim, "tidemill.ini", ini.data);
    if (sim->loud)
        fputs(ini.data, stderr);
    char *path = mem_printf("%s/tidemill.ini", sim->directory);
    sim->config = config_load(path, &host_plugs, &problems);
    for (size_t i = 0; i < problems.count; i++)
        sim_violated(sim, "%s", problems.lines[i]);
    /* Small, so that handlers do fall behind. */
    sim->config->streams[0].window_bytes = 8000 + sim_below(sim, 200000);
    problems_fini(&problems);
    buf_fini(&ini);
    free(path);
}

/* ---- the host ---- */

static void on_attempted(void *user, const struct observed *observed)
{
    if (observed->outcome == OUTCOME_DEAD || observed->outcome == OUTCOME_DISCARDED ||
        observed->outcome == OUTCOME_FORWARDED)
        model_given_up(user, observed);
}

static int commit_fails(void *user)
{
    const struct sim *sim = list_entry(user, struct sim, world);
    return sim->world.now_ms < sim->disk_full_ms;
}

static void start_host(struct sim *sim)
{
    struct err err = {0};
    struct worker_world world = world_of_host(&sim->world);
    sim_trace(sim, "the host starts");
    world.commit_fails = commit_fails;
    sim->host = host_new(
        &(struct host_options){
            .config = sim->config, .log = sim->log, .world = world, .observer = &sim->observer},
        &err);
    if (!sim->host)
        sim_violated(sim, "the host does not start: %s", err.text);
}

static void end_host(struct sim *sim, bool crashed)
{
    host_free(sim->host);
    sim->host = NULL;
    sim->world.reactor = NULL;
    service_host_gone(sim, crashed);
    check_store(sim);
}

static void crash_host(struct sim *sim)
{
    sim_trace(sim, "the host is killed");
    end_host(sim, true);
}

static void stop_host(struct sim *sim)
{
    sim_trace(sim, "the host is stopped");
    sim->disk_full_ms = 0; /* else what was done is not kept, and that is told */
    host_stop(sim->host);
    sim->stopping = true;
    if (!host_run(sim->host))
        sim_violated(sim, "the host does not stop in time");
    end_host(sim, false);
    sim->stopping = false;
}

static void pass(struct sim *sim, int64_t ms)
{
    int64_t end_ms = sim->world.now_ms + ms;
    if (!sim->host) {
        sim->world.now_ms = end_ms;
        return;
    }
    while (sim->world.now_ms < end_ms && !*sim->violation)
        reactor_turn(sim->world.reactor, end_ms - sim->world.now_ms);
}

static void reload(struct sim *sim)
{
    struct problems problems = PROBLEMS_INIT;
    if (sim->host)
        host_reload(sim->host, sim->config, &problems);
    problems_fini(&problems);
}

/* ---- what happens ---- */

/* Beside Alternator several of a partition may be written at once. */
static void write_some(struct sim *sim, int item)
{
    int together[ITEMS_TOGETHER], count = 0;
    if (!sim->alternator || sim_chance(sim, 400)) {
        service_write(sim, item);
        return;
    }
    for (int i = 0; i < ITEMS_TOGETHER; i++)
        if (sim_chance(sim, 600) || (!count && i == ITEMS_TOGETHER - 1))
            together[count++] = item / ITEMS_TOGETHER * ITEMS_TOGETHER + i;
    service_write_group(sim, together, count);
}

static void burst(struct sim *sim)
{
    int items = 1 + sim_below(sim, ITEMS_MAX), count = 1 + sim_below(sim, sim_chance(sim, 100) ? 150 : 25);
    sim_trace(sim, "%d writes, from %d on", count, sim->write_count);
    for (int i = 0; i < count; i++) {
        write_some(sim, sim_below(sim, items));
        if (sim_chance(sim, 300))
            pass(sim, sim_below(sim, 30));
    }
}

static void split(struct sim *sim)
{
    char body[300];
    if (sim->alternator) {
        sim_trace(sim, "another generation of shards");
        sim->branched = true;
        fake_alternator_new_generation(sim->alternator, 1 + sim_below(sim, 6));
        return;
    }
    int children = 1 + sim_below(sim, sim->open_shards > 4 ? 1 : 2);
    snprintf(body, sizeof body, "{\"StreamArn\":\"%s\",\"Children\":%d}", sim->stream_arn, children);
    sim->branched = sim->branched || children > 1;
    sim->open_shards *= children;
    sim_trace(sim, "the shards split");
    service_call(sim, "TidemillLocal.SplitShards", body, NULL);
}

static void expire(struct sim *sim)
{
    if (sim->alternator) /* they do not */
        return;
    sim_trace(sim, "all iterators expire");
    service_call(sim, "TidemillLocal.ExpireIterators", "{}", NULL);
}

static void trim(struct sim *sim)
{
    if (sim->alternator) /* what expires there is gone without a word */
        return;
    sim_trace(sim, "all records so far are trimmed");
    check_trim(sim);
    service_call(sim, "TidemillLocal.TrimRecords", "{}", NULL);
    for (int i = sim->trimmed_below; i < sim->write_count; i++)
        sim->writes[i].trimmed = true;
    sim->trimmed_below = sim->write_count;
}

static void restart(struct sim *sim, bool crash)
{
    if (crash)
        crash_host(sim);
    else
        stop_host(sim);
    int away_ms = sim_chance(sim, 700) ? 0 : sim_below(sim, 30 * SECOND_MS);
    for (int i = 0; i < 3 && away_ms; i++) {
        pass(sim, away_ms / 3);
        if (sim_chance(sim, 500))
            burst(sim);
    }
    if (!*sim->violation)
        start_host(sim);
}

static void change_scripts(struct sim *sim)
{
    int at = sim_below(sim, sim->handler_count);
    struct sim_handler *handler = &sim->handlers[at];
    bool broken = sim_chance(sim, 200);
    if (!handler->present) {
        sim_trace(sim, "%s is added", handler->name);
        add_handler(sim, at);
    } else if (sim_chance(sim, 300)) {
        sim_trace(sim, "%s is removed", handler->name);
        remove_script(sim, handler);
        handler->left_ms = sim->world.now_ms;
        handler->present = false;
    } else {
        sim_trace(sim, "%s gets %s version", handler->name, broken ? "a broken" : "another");
        write_script(sim, handler, broken);
    }
    reload(sim);
    if (handler->present && broken) {
        write_script(sim, handler, false);
        reload(sim);
    }
}

static void seek(struct sim *sim)
{
    int at = sim_below(sim, sim->handler_count);
    if (!sim->handlers[at].present || sim->write_count == sim->trimmed_below)
        return;
    sim_trace(sim, "%s is sought to the oldest record", sim->handlers[at].name);
    check_seek(sim, at);
    sim->handlers[at].left_ms = sim->world.now_ms + SECOND_MS; /* when the host looks */
}

/* The host's clock is set an hour forward or back; the service's is right. */
static void jump(struct sim *sim)
{
    int64_t ms = sim_chance(sim, 500) ? 60 * MINUTE_MS : -60 * MINUTE_MS;
    sim_trace(sim, "the clock jumps by %lld ms", (long long)ms);
    sim->world.wall_start_ms += ms;
    sim->world.skew_ms -= ms;
    sim->jumped = true;
}

/* SIGSTOP for ten minutes: what was under way has timed out by then, or not: it may come again. */
static void freeze(struct sim *sim)
{
    sim_trace(sim, "the process is stopped for ten minutes");
    sim->world.now_ms += 10 * MINUTE_MS;
    service_freeze(sim);
}

/* What is under way to the old place is no attempt. */
static void move_target(struct sim *sim)
{
    struct problems problems = PROBLEMS_INIT;
    sim->moved = !sim->moved;
    char *text = mem_string(sim->ini), *place = strstr(text, "sink.sim/done");
    if (sim->moved)
        memcpy(place, "sink.sim/over", 13);
    write_text(sim, "tidemill.ini", text);
    char *path = mem_printf("%s/tidemill.ini", sim->directory);
    struct config *config = config_load(path, &host_plugs, &problems);
    config->streams[0].window_bytes = sim->config->streams[0].window_bytes;
    for (int i = 0; i < sim->handler_count; i++)
        sim->handlers[i].left_ms = sim->world.now_ms;
    sim_trace(sim, "the target is at %s", sim->moved ? "/over" : "/done");
    if (sim->host && host_reload(sim->host, config, &problems) != HOST_RELOADED)
        sim_violated(sim, "the host does not take the target's other place");
    for (size_t i = 0; i < problems.count; i++)
        sim_violated(sim, "%s", problems.lines[i]);
    config_release(sim->config);
    sim->config = config;
    problems_fini(&problems);
    free(path);
    free(text);
}

static void trouble(struct sim *sim)
{
    int64_t until_ms = sim->world.now_ms + sim_below(sim, 20 * SECOND_MS);
    switch (sim_below(sim, 6)) {
    case 0:
        jump(sim);
        break;
    case 1:
        freeze(sim);
        break;
    case 2:
        move_target(sim);
        break;
    case 3:
        sim_trace(sim, "the disk is full");
        sim->disk_full_ms = until_ms;
        break;
    case 4:
        sim_trace(sim, "the credentials have expired");
        sim->expired_ms = until_ms;
        break;
    default:
        sim_trace(sim, "the failure targets refuse");
        sim->target_down_ms = until_ms;
        break;
    }
}

static void something(struct sim *sim)
{
    int dice = sim_below(sim, 108);
    if (dice >= 100)
        trouble(sim);
    else if (dice < 45)
        burst(sim);
    else if (dice < 52)
        split(sim);
    else if (dice < 57)
        expire(sim);
    else if (dice < 58)
        trim(sim);
    else if (dice < 66)
        restart(sim, true);
    else if (dice < 71)
        restart(sim, false);
    else if (dice < 80)
        change_scripts(sim);
    else if (dice < 83)
        check_redrive_all(sim);
    else if (dice < 84)
        seek(sim);
    else if (dice < 90)
        sim->faults = sim_chance(sim, 500) ? 0 : sim_below(sim, 300);
    else
        check_store(sim);
}

/* ---- the end ---- */

static bool all_settled(const struct sim *sim)
{
    for (int h = 0; h < sim->handler_count; h++)
        for (int i = 0; sim->handlers[h].joined && i < sim->write_count; i++)
            if (!model_settled(sim, h, i) && !sim->writes[i].trimmed)
                return false;
    return true;
}

static void calm_down(struct sim *sim)
{
    sim_trace(sim, "from now on nothing goes wrong any more");
    sim->calm = true;
    sim->disk_full_ms = sim->expired_ms = sim->target_down_ms = 0;
    sim->world.wall_start_ms += sim->world.skew_ms; /* somebody sets the clock right */
    sim->world.skew_ms = 0;
    for (int i = 0; i < sim->handler_count; i++)
        if (sim->handlers[i].joined && !sim->handlers[i].present)
            add_handler(sim, i);
    reload(sim);
    int64_t end_ms = sim->world.now_ms + CALM_MS_MAX;
    for (bool settled = false; !settled && sim->world.now_ms < end_ms && !*sim->violation;) {
        pass(sim, 5 * SECOND_MS);
        targets_settle_loose(sim);
        settled = all_settled(sim);
    }
    pass(sim, 30 * SECOND_MS); /* the last windows close, what was redriven comes back */
}

static void run(struct sim *sim)
{
    int64_t end_ms = sim->world.now_ms + (30 + sim_below(sim, 150)) * SECOND_MS;
    for (int i = 0; i < sim->handler_count; i++)
        if (i == 0 || sim_chance(sim, 800))
            add_handler(sim, i);
    sim->faults = sim_chance(sim, 300) ? 0 : sim_below(sim, 200);
    sim->poisoned = sim_chance(sim, 300) ? 0 : sim_chance(sim, 100) ? 500 : sim_below(sim, 60);
    start_host(sim);
    while (sim->world.now_ms < end_ms && !*sim->violation) {
        something(sim);
        if (!*sim->violation)
            pass(sim, sim_below(sim, 5 * SECOND_MS));
    }
    if (!*sim->violation)
        calm_down(sim);
    if (!*sim->violation)
        stop_host(sim);
    if (*sim->violation)
        return;
    start_host(sim); /* to see that nothing comes again */
    pass(sim, 30 * SECOND_MS);
    if (!*sim->violation)
        stop_host(sim);
    if (!*sim->violation)
        check_end(sim);
}

/* ---- life ---- */

static void make_directory(struct sim *sim)
{
    char *scripts;
    snprintf(sim->directory, sizeof sim->directory, "%s/tidemill-sim-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(sim->directory))
        abort();
    scripts = mem_printf("%s/scripts", sim->directory);
    if (mkdir(scripts, 0700) != 0)
        abort();
    free(scripts);
}

static void remove_directory(const struct sim *sim)
{
    static const char *const names[] = {"scripts/h0.lua",
                                        "scripts/h1.lua",
                                        "scripts/h2.lua",
                                        "scripts/h3.lua",
                                        "tidemill.ini",
                                        "state.db",
                                        "state.db-wal",
                                        "state.db-shm",
                                        "state.db.lock",
                                        "scripts",
                                        ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_printf("%s/%s", sim->directory, names[i]);
        remove(path);
        free(path);
    }
}

static void free_handler(struct sim_handler *handler)
{
    for (struct closed_window *window = handler->windows, *next; window; window = next) {
        next = window->next;
        free(window->seen);
        free(window);
    }
    free(handler->fates);
    free(handler->forwarded);
    free(handler->in_given_up);
}

void life_run(uint64_t seed, bool loud, char *violation)
{
    struct sim *sim = mem_zero(sizeof *sim);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    size_t at = 0;
    *sim = (struct sim){.seed = seed, .random = hash_mix(seed), .loud = loud};
    setenv("AWS_ACCESS_KEY_ID", "sim", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    make_directory(sim);
    service_init(sim);
    sim->observer = (struct observer){.attempted = on_attempted, .user = sim};
    sim->log =
        log_new(loud ? STDERR_FILENO : nowhere, LOG_TEXT, loud ? LOG_DEBUG : LOG_ERROR, &sim->world.clock);
    write_deployment(sim);
    if (!*sim->violation)
        run(sim);
    snprintf(violation, 1000, "%s", sim->violation);
    if (sim->host)
        host_free(sim->host);
    sim->world.reactor = NULL;
    service_fini(sim);
    for (int i = 0; i < sim->handler_count; i++)
        free_handler(&sim->handlers[i]);
    for (char *position; (position = map_next(&sim->positions, &at, NULL));)
        free(position);
    map_fini(&sim->positions);
    config_release(sim->config);
    free(sim->ini);
    log_free(sim->log);
    close(nowhere);
    remove_directory(sim);
    free(sim->writes);
    free(sim);
}
