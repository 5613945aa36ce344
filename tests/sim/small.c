/* small.c: see small.h. */
#include "small.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "sim.h"

uint64_t small_draw(struct small *small)
{
    small->random += 0x9e3779b97f4a7c15u;
    return hash_mix(small->random);
}

int small_below(struct small *small, int limit)
{
    return (int)(small_draw(small) % (uint64_t)limit);
}

void small_violated(struct small *small, const char *format, ...)
{
    va_list arguments;
    if (*small->violation)
        return;
    va_start(arguments, format);
    vsnprintf(small->violation, sizeof small->violation, format, arguments);
    va_end(arguments);
}

bool small_fails(struct small *small, struct answer *answer)
{
    answer->delay_ms = small_below(small, 20);
    if (small->calm || small_below(small, 1000) >= small->faults)
        return false;
    switch (small_below(small, 4)) {
    case 0:
        return true; /* the connection breaks */
    case 1:
        answer->status = 500;
        buf_add_text(&answer->body, "{\"__type\":\"InternalServerError\",\"message\":\"broken\"}");
        return true;
    case 2:
        answer->status = 400;
        buf_add_text(&answer->body,
                     "{\"__type\":\"ProvisionedThroughputExceededException\",\"message\":\"slower\"}");
        return true;
    default:
        answer->delay_ms = small_below(small, 3000);
        return false;
    }
}

/* ---- the deployment ---- */

static void write_file(const struct small *small, const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", small->directory, name);
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
    free(path);
}

void small_deploy(struct small *small, const char *script, const char *ini)
{
    struct problems problems = PROBLEMS_INIT;
    snprintf(small->directory, sizeof small->directory, "%s/tidemill-sim-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(small->directory))
        abort();
    char *path = mem_printf("%s/scripts", small->directory);
    if (mkdir(path, 0700) != 0)
        abort();
    free(path);
    write_file(small, "scripts/h.lua", script);
    write_file(small, "tidemill.ini", ini);
    path = mem_printf("%s/tidemill.ini", small->directory);
    small->config = config_load(path, &host_plugs, &problems);
    for (size_t i = 0; i < problems.count; i++)
        small_violated(small, "%s", problems.lines[i]);
    problems_fini(&problems);
    free(path);
}

static void remove_deployment(const struct small *small)
{
    static const char *const names[] = {"scripts/h.lua", "tidemill.ini",  "state.db", "state.db-wal",
                                        "state.db-shm",  "state.db.lock", "scripts",  ""};
    for (size_t i = 0; *small->directory && i < sizeof names / sizeof *names; i++) {
        char *path = mem_printf("%s/%s", small->directory, names[i]);
        remove(path);
        free(path);
    }
}

/* ---- its life ---- */

void small_start(struct small *small)
{
    struct err err;
    small->host = host_new(&(struct host_options){.config = small->config,
                                                  .log = small->log,
                                                  .world = world_of_host(&small->world)},
                           &err);
    if (!small->host)
        small_violated(small, "the host does not start: %s", err.text);
}

void small_crash(struct small *small)
{
    if (small->host)
        host_free(small->host);
    small->host = NULL;
    small->world.reactor = NULL;
}

void small_pass(struct small *small, int64_t ms)
{
    int64_t end_ms = small->world.now_ms + ms;
    while (small->world.now_ms < end_ms && !*small->violation)
        reactor_turn(small->world.reactor, end_ms - small->world.now_ms);
}

void small_begin(struct small *small, uint64_t seed, bool loud,
                 void (*answer)(void *user, const struct transport_request *request, struct answer *answer),
                 void *user)
{
    *small = (struct small){.random = hash_mix(seed + 77)};
    setenv("AWS_ACCESS_KEY_ID", "sim", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    small->nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    world_init(&small->world);
    small->world.answer = answer;
    small->world.user = user;
    small->log = log_new(loud ? STDERR_FILENO : small->nowhere, LOG_TEXT, loud ? LOG_DEBUG : LOG_ERROR,
                         &small->world.clock);
}

void small_end(struct small *small, char *violation)
{
    small_crash(small);
    snprintf(violation, sizeof small->violation, "%s", small->violation);
    config_release(small->config);
    log_free(small->log);
    world_fini(&small->world);
    remove_deployment(small);
    close(small->nowhere);
}
