/* intake.c: see intake.h. A thread of the listener waits for each answer; what it asked lives until both it
 * and the worker are through with it. */
#include "intake/intake.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "intake/verify.h"
#include "net/listener.h"

#define PEM_BYTES_MAX (1u << 20)
#define IDLE_S 30
#define SPARE_CONNECTIONS 64 /* beside those that are worked on: who is refused needs one, too */
#define HEADERS_MAX 100
#define HEADERS_BYTES_MAX (64u << 10)
#define PATH_BYTES_MAX 8192

struct intake {
    struct list link;
    struct intakes *all;
    const struct config_intake *config; /* of `held` */
    const struct config *held;
    struct listener *listener;
    struct pace *pace;
    atomic_size_t working;
    atomic_bool draining;
    char *certificate, *key; /* PEM; or NULL */
    uint64_t files_hash;
    bool told; /* that they cannot be read */
};

struct intakes {
    struct intakes_options options;
    const struct config *config; /* held */
    struct clock clock;
    struct list running;
    atomic_size_t next_worker;
    atomic_bool ended;
    atomic_size_t ending; /* threads that stop listeners */
    pthread_mutex_t lock; /* of all that was asked */
    pthread_cond_t changed;
};

/* A request that somebody works on. */
struct asked {
    struct intakes *all;
    int holders; /* the listener's thread, and the worker */
    bool done;
    int status;
    struct handler_answer *answer;
    struct handler_request request;
    struct handler_header *headers;
    char *id, *method, *path, *query, *body, *traceparent;
    char remote[LISTENER_REMOTE_SIZE];
};

/* ---- asking ---- */

/* With the lock. */
static void let_go(struct asked *asked)
{
    if (--asked->holders)
        return;
    handler_answer_free(asked->answer);
    for (size_t i = 0; i < asked->request.header_count; i++) {
        free(asked->headers[i].name);
        free(asked->headers[i].value);
    }
    free(asked->headers);
    free(asked->id);
    free(asked->method);
    free(asked->path);
    free(asked->query);
    free(asked->body);
    free(asked->traceparent);
    free(asked);
}

static void on_answer(void *user, int status, struct handler_answer *answer)
{
    struct asked *asked = user;
    struct intakes *all = asked->all;
    pthread_mutex_lock(&all->lock);
    asked->done = true;
    asked->status = status;
    asked->answer = answer;
    let_go(asked);
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

static void add_header(void *user, const char *name, const char *value)
{
    struct asked *asked = user;
    if (asked->request.header_count == HEADERS_MAX)
        return; /* it was refused before */
    asked->headers[asked->request.header_count++] =
        (struct handler_header){mem_string(name), utf8_copy(value)};
}

static struct asked *make_asked(struct intake *intake, const struct listener_request *request, char *id)
{
    struct asked *asked = mem_zero(sizeof *asked);
    const char *trace = listener_header(request, "traceparent");
    asked->all = intake->all;
    asked->holders = 2;
    asked->headers = mem_zero(HEADERS_MAX * sizeof *asked->headers);
    asked->id = id;
    asked->method = mem_string(request->method);
    asked->path = mem_string(request->path);
    asked->query = mem_string(request->query);
    asked->body = mem_copy(request->body, request->size);
    asked->traceparent = mem_string(trace);
    listener_remote(request, asked->remote);
    listener_each_header(request, add_header, asked);
    asked->request.intake = intake->config->name;
    asked->request.id = asked->id;
    asked->request.method = asked->method;
    asked->request.path = asked->path;
    asked->request.query = asked->query;
    asked->request.headers = asked->headers;
    asked->request.body = asked->body;
    asked->request.body_size = request->size;
    asked->request.remote = asked->remote;
    asked->request.traceparent = asked->traceparent;
    return asked;
}

static struct worker *next_worker(struct intakes *all)
{
    return all->options.workers[atomic_fetch_add(&all->next_worker, 1) % all->options.worker_count];
}

/* ---- replies ---- */

static void set_header(struct listener_reply *reply, const char *name, const char *value)
{
    size_t i = 0;
    while (reply->headers[i].name)
        i++;
    reply->headers[i].name = name;
    snprintf(reply->headers[i].value, sizeof reply->headers[i].value, "%s", value);
}

/* By the intake itself. Returns false. */
static bool refuse(struct intake *intake, struct listener_reply *reply, int status, const char *text)
{
    reply->status = status;
    reply->type = "text/plain; charset=utf-8";
    buf_printf(&reply->body, "%s\n", text);
    worker_count_refused(intake->all->options.workers[0], intake->config->name, status);
    return false;
}

static bool refuse_for_now(struct intake *intake, struct listener_reply *reply, int status, int64_t wait_us,
                           const char *text)
{
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)(wait_us + 999999) / 1000000);
    set_header(reply, "Retry-After", wait_us ? seconds : "1");
    return refuse(intake, reply, status, text);
}

static void write_answer(struct asked *asked, struct listener_reply *reply)
{
    static const char *const texts[] = {"the handler failed", "no handler is there for it now",
                                        "the handler took longer than its timeout"};
    struct handler_answer *answer = asked->answer;
    reply->status = asked->status;
    if (!answer) {
        reply->type = "text/plain; charset=utf-8";
        buf_printf(&reply->body, "%s\n", texts[asked->status == 503 ? 1 : asked->status == 504 ? 2 : 0]);
        if (asked->status == 503)
            set_header(reply, "Retry-After", "1");
        return;
    }
    for (size_t i = 0; i < answer->header_count; i++)
        buf_printf(&reply->lines, "%s: %s\n", answer->headers[i].name, answer->headers[i].value);
    if (answer->body)
        buf_add(&reply->body, answer->body, answer->body_size);
}

/* ---- requests ---- */

bool intake_path_is_good(const struct config_intake *intake, const char *path)
{
    size_t size = strlen(path), prefix = intake->path ? strlen(intake->path) : 0;
    if (size > PATH_BYTES_MAX || *path != '/' || !utf8_valid(path, size) || strchr(path, '\\'))
        return false;
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            return false;
    for (const char *at = path; at; at = strchr(at + 1, '/')) { /* each segment */
        size_t segment = strcspn(at + 1, "/");
        if ((segment == 1 && at[1] == '.') || (segment == 2 && at[1] == '.' && at[2] == '.'))
            return false;
    }
    return !prefix || (strncmp(path, intake->path, prefix) == 0 &&
                       (!path[prefix] || path[prefix] == '/' || path[prefix - 1] == '/'));
}

struct counting {
    size_t count, bytes;
};

static void count_header(void *user, const char *name, const char *value)
{
    struct counting *counting = user;
    counting->count++;
    counting->bytes += strlen(name) + strlen(value);
}

static bool has_too_many_headers(const struct listener_request *request)
{
    struct counting counting = {0};
    listener_each_header(request, count_header, &counting);
    return counting.count > HEADERS_MAX || counting.bytes > HEADERS_BYTES_MAX;
}

/* Before the body is read. */
static bool admit(void *user, const struct listener_request *request, struct listener_reply *reply)
{
    struct intake *intake = user;
    const struct config_intake *config = intake->config;
    const char *length = listener_header(request, "Content-Length");
    int64_t now_us = clock_monotonic_us(&intake->all->clock);
    if (atomic_load(&intake->draining))
        return refuse_for_now(intake, reply, 503, 0, "this host is stopping");
    if (!intake_path_is_good(config, request->path))
        return refuse(intake, reply, 404, "there is nothing there");
    if (has_too_many_headers(request))
        return refuse(intake, reply, 431, "too many headers");
    if (length && (strlen(length) > 18 || strtoll(length, NULL, 10) > config->body_bytes))
        return refuse(intake, reply, 413, "the body is too large");
    int64_t wait_us = pace_wait(intake->pace, config->rate_ns, now_us);
    if (wait_us)
        return refuse_for_now(intake, reply, 429, wait_us, "too many requests");
    pace_charge(intake->pace, config->rate_ns, 1, now_us);
    return true;
}

static const char *look_up(void *user, const char *name)
{
    return listener_header(user, name);
}

/* Nobody learns from the answer what of it was wrong; the log says it. */
static bool is_verified(struct intake *intake, const struct listener_request *request,
                        const struct verify_request *verified, struct listener_reply *reply)
{
    struct err err;
    char remote[LISTENER_REMOTE_SIZE];
    if (verify_request(intake->config, verified, clock_wall_ms(&intake->all->clock), &err))
        return true;
    listener_remote(request, remote);
    char *subject = mem_printf("intake %s", intake->config->name);
    log_write_repeated(intake->all->options.log, LOG_WARN, subject, err.text,
                       "a request from %s is refused: %s", remote, err.text);
    free(subject);
    return refuse(intake, reply, 401, "who sent this is not known");
}

static void ask(struct intake *intake, const struct listener_request *request, char *id,
                struct listener_reply *reply)
{
    struct intakes *all = intake->all;
    struct asked *asked = make_asked(intake, request, id);
    worker_ask(next_worker(all), &asked->request, on_answer, asked);
    pthread_mutex_lock(&all->lock);
    while (!asked->done && !atomic_load(&all->ended))
        pthread_cond_wait(&all->changed, &all->lock);
    if (!asked->done)
        asked->status = 503;
    write_answer(asked, reply);
    let_go(asked);
    pthread_mutex_unlock(&all->lock);
}

static void answer(void *user, const struct listener_request *request, struct listener_reply *reply)
{
    struct intake *intake = user;
    const struct verify_request verified = {look_up, (void *)request, request->body, request->size};
    if (request->too_large) {
        refuse(intake, reply, 413, "the body is too large");
        return;
    }
    if (!is_verified(intake, request, &verified, reply))
        return;
    if (atomic_fetch_add(&intake->working, 1) >= (size_t)intake->config->concurrency)
        refuse_for_now(intake, reply, 429, 0, "too many requests at once");
    else
        ask(intake, request, verify_id(intake->config, &verified), reply);
    atomic_fetch_sub(&intake->working, 1);
}

/* ---- life ---- */

static bool read_pem(const char *path, char **text, uint64_t *hash, struct err *err)
{
    size_t size;
    *text = file_read(path, PEM_BYTES_MAX, &size, err);
    *hash = *text ? hash_bytes(*text, size, *hash + 1) : *hash;
    return *text != NULL;
}

static bool read_files(const struct config_intake *config, char **certificate, char **key, uint64_t *hash,
                       struct err *err)
{
    *certificate = *key = NULL;
    *hash = 0;
    return !config->certificate ||
           (read_pem(config->certificate, certificate, hash, err) && read_pem(config->key, key, hash, err));
}

static void free_intake(struct intake *intake)
{
    list_remove(&intake->link);
    free(intake->certificate);
    mem_free_secret(intake->key);
    config_release(intake->held);
    free(intake);
}

static bool start(struct intakes *all, const struct config *config, const struct config_intake *section,
                  struct err *err)
{
    struct intake *intake = mem_zero(sizeof *intake);
    char *pace = mem_printf("intake %s", section->name);
    list_init(&intake->link);
    intake->all = all;
    intake->held = config_hold(config);
    intake->config = section;
    intake->pace = paces_find(all->options.paces, pace);
    free(pace);
    atomic_init(&intake->working, 0);
    atomic_init(&intake->draining, false);
    if (read_files(section, &intake->certificate, &intake->key, &intake->files_hash, err))
        intake->listener = listener_start(
            &(struct listener_options){.address = section->listen,
                                       .body_bytes_max = (size_t)section->body_bytes,
                                       .connections_max = (unsigned)section->concurrency + SPARE_CONNECTIONS,
                                       .idle_s = IDLE_S,
                                       .certificate = intake->certificate,
                                       .key = intake->key,
                                       .admit = admit,
                                       .answer = answer,
                                       .user = intake},
            err);
    if (!intake->listener) {
        free_intake(intake);
        return err_prefix(err, "[intake %s]", section->name);
    }
    list_append(&all->running, &intake->link);
    log_info(all->options.log, NULL, "intake %s listens on %.*s:%d%s", section->name,
             (int)(strrchr(section->listen, ':') - section->listen), section->listen,
             listener_port(intake->listener), intake->certificate ? " (TLS)" : "");
    return true;
}

/* What it has begun is answered, by the reactors, whose thread must not wait for that. */
static void *end(void *user)
{
    struct intake *intake = user;
    struct intakes *all = intake->all;
    listener_stop(intake->listener);
    free_intake(intake);
    pthread_mutex_lock(&all->lock);
    atomic_fetch_sub(&all->ending, 1);
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

static void retire(struct intake *intake)
{
    pthread_t thread;
    atomic_store(&intake->draining, true);
    listener_close(intake->listener); /* its address may be that of the next one */
    list_remove(&intake->link);
    atomic_fetch_add(&intake->all->ending, 1);
    if (pthread_create(&thread, NULL, end, intake) == 0)
        pthread_detach(thread);
    else
        end(intake);
}

struct intakes *intakes_new(const struct intakes_options *options, struct err *err)
{
    struct intakes *all = mem_zero(sizeof *all);
    bool ok = true;
    all->options = *options;
    all->config = config_hold(options->config);
    all->clock = clock_system();
    list_init(&all->running);
    atomic_init(&all->next_worker, 0);
    atomic_init(&all->ended, false);
    atomic_init(&all->ending, 0);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->changed, NULL);
    for (size_t i = 0; ok && i < all->config->intake_count; i++)
        ok = start(all, all->config, &all->config->intakes[i], err);
    if (ok)
        return all;
    intakes_stop(all);
    intakes_free(all);
    return NULL;
}

void intakes_set_config(struct intakes *all, const struct config *config)
{
    struct intake *intake;
    struct err err;
    list_each(intake, &all->running, struct intake, link)
        if (!config_same_intake(all->config, config, intake->config->name))
            retire(intake);
    for (size_t i = 0; i < config->intake_count; i++) {
        const struct config_intake *section = &config->intakes[i];
        if (!config_same_intake(all->config, config, section->name) && !start(all, config, section, &err))
            log_error(all->options.log, NULL, "%s", err.text);
    }
    config_release(all->config);
    all->config = config_hold(config);
}

void intakes_look(struct intakes *all)
{
    struct intake *intake;
    list_each(intake, &all->running, struct intake, link) {
        char *certificate, *key;
        uint64_t hash;
        struct err err = {0};
        bool read = read_files(intake->config, &certificate, &key, &hash, &err);
        if (!read && !intake->told)
            log_error(all->options.log, NULL, "intake %s: %s: the certificate before stays",
                      intake->config->name, err.text);
        intake->told = !read;
        if (read && hash != intake->files_hash) {
            intake->files_hash = hash; /* one that is wrong is told once */
            if (listener_renew(intake->listener, certificate, key, &err)) {
                free(intake->certificate);
                mem_free_secret(intake->key);
                intake->certificate = certificate;
                intake->key = key;
                log_info(all->options.log, NULL, "intake %s has a new certificate", intake->config->name);
                continue;
            }
            log_error(all->options.log, NULL, "intake %s: %s: the one before stays", intake->config->name,
                      err.text);
        }
        free(certificate);
        mem_free_secret(key);
    }
}

void intakes_drain(struct intakes *all)
{
    struct intake *intake;
    list_each(intake, &all->running, struct intake, link)
        atomic_store(&intake->draining, true);
}

void intakes_stop(struct intakes *all)
{
    struct intake *intake;
    if (!all)
        return;
    atomic_store(&all->ended, true);
    pthread_mutex_lock(&all->lock);
    pthread_cond_broadcast(&all->changed);
    while (atomic_load(&all->ending))
        pthread_cond_wait(&all->changed, &all->lock);
    pthread_mutex_unlock(&all->lock);
    list_each(intake, &all->running, struct intake, link) {
        listener_stop(intake->listener);
        free_intake(intake);
    }
}

void intakes_free(struct intakes *all)
{
    if (!all)
        return;
    config_release(all->config);
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    free(all);
}
