/* dashboard.c: see dashboard.h. */
#include "admin/dashboard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/actions.h"
#include "admin/letters.h"
#include "admin/overview.h"
#include "admin/status.h"
#include "base/document.h"
#include "base/embed.h"
#include "base/mem.h"
#include "state/store_open.h"

#define FRESH_MS 1000         /* so old an overview may be */
#define FRESH_SHARED_MS 10000 /* of a state that hosts share: each costs them an answer */
#define BEAT_MS 1000          /* between two events; a stop is waited for no longer */
#define WATCHERS_MAX 16

EMBED(page_index, "host/admin/page/index.html");
EMBED(page_style, "host/admin/page/dashboard.css");
EMBED(page_script, "host/admin/page/dashboard.js");

struct dashboard {
    struct admin_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool making;
    atomic_bool stopping;
    uint64_t changes; /* that somebody has made: what was read before shows something else */
    char *text;       /* the overview; NULL: there was none yet */
    int64_t made_ms;  /* monotonic */
    uint64_t number;
    size_t watchers;
};

struct watcher {
    struct dashboard *dashboard;
    uint64_t seen;
};

static int64_t now_ms(void)
{
    struct clock clock = clock_system();
    return clock_monotonic_ms(&clock);
}

static void say_error(struct listener_reply *reply, int status, const char *text)
{
    cJSON *root = cJSON_CreateObject();
    document_add_text(root, "error", text);
    reply->status = status;
    reply->type = "application/json";
    buf_clear(&reply->body);
    document_write(root, &reply->body);
}

/* ---- the page ---- */

static const struct file {
    const char *path, *type, *start, *end;
} files[] = {
    {"/", "text/html; charset=utf-8", page_index_start, page_index_end},
    {"/dashboard.css", "text/css; charset=utf-8", page_style_start, page_style_end},
    {"/dashboard.js", "text/javascript; charset=utf-8", page_script_start, page_script_end},
};

static const struct file *find_file(const char *path)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(files[i].path, path) == 0)
            return &files[i];
    return NULL;
}

static void set_header(struct listener_reply *reply, size_t at, const char *name, const char *value)
{
    reply->headers[at].name = name;
    snprintf(reply->headers[at].value, sizeof reply->headers[at].value, "%s", value);
}

static void show_file(const struct file *file, struct listener_reply *reply)
{
    reply->status = 200;
    reply->type = file->type;
    set_header(reply, 0, "Content-Security-Policy",
               "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' "
               "data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    set_header(reply, 1, "X-Content-Type-Options", "nosniff");
    set_header(reply, 2, "Referrer-Policy", "no-referrer");
    set_header(reply, 3, "Cache-Control", "no-cache");
    buf_add(&reply->body, file->start, (size_t)(file->end - file->start));
}

/* ---- the overview ---- */

/* The one in force; the caller's. */
static const struct config *hold_config(struct dashboard *dashboard)
{
    pthread_mutex_lock(&dashboard->lock);
    const struct config *config = config_hold(dashboard->options.config);
    pthread_mutex_unlock(&dashboard->lock);
    return config;
}

void dashboard_set_config(struct dashboard *dashboard, const struct config *config)
{
    pthread_mutex_lock(&dashboard->lock);
    const struct config *before = dashboard->options.config;
    dashboard->options.config = config_hold(config);
    dashboard->changes++;
    pthread_mutex_unlock(&dashboard->lock);
    config_release(before);
}

/* Without the lock; it may take a while. NULL and `err`. */
static char *make_overview(struct dashboard *dashboard, struct err *err)
{
    struct access access;
    struct status status = {0};
    struct buf out = BUF_INIT;
    const struct config *config = hold_config(dashboard);
    bool ok = access_open(&access, config, true, err);
    access.stopping = &dashboard->stopping;
    ok = ok && status_load(&status, &access, config, NULL, err);
    struct sheet sheet = board_read(dashboard->options.board);
    if (ok)
        overview_write(&status, &sheet, dashboard->options.playground != NULL, &out);
    sheet_fini(&sheet);
    status_fini(&status);
    access_close(&access);
    config_release(config);
    return ok ? buf_take(&out) : NULL;
}

static int64_t fresh_ms(const struct dashboard *dashboard)
{
    return store_is_shared(dashboard->options.config->host.state) ? FRESH_SHARED_MS : FRESH_MS;
}

/* With the lock, which is let go meanwhile. One makes it for all. */
static void refresh(struct dashboard *dashboard)
{
    struct err err = {0};
    if (dashboard->making || (dashboard->text && now_ms() - dashboard->made_ms < fresh_ms(dashboard)))
        return;
    dashboard->making = true;
    uint64_t changes = dashboard->changes;
    pthread_mutex_unlock(&dashboard->lock);
    char *text = make_overview(dashboard, &err);
    if (!text) {
        struct listener_reply reply = {0};
        say_error(&reply, 503, err.text);
        text = buf_take(&reply.body);
    }
    pthread_mutex_lock(&dashboard->lock);
    free(dashboard->text);
    dashboard->text = text;
    dashboard->made_ms = changes == dashboard->changes ? now_ms() : 0;
    dashboard->number++;
    dashboard->making = false;
    pthread_cond_broadcast(&dashboard->changed);
}

/* With the lock: until there is something new, or a beat is over. */
static void wait_for_news(struct dashboard *dashboard, uint64_t seen)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += BEAT_MS / 1000;
    while (!dashboard->stopping && dashboard->number == seen &&
           pthread_cond_timedwait(&dashboard->changed, &dashboard->lock, &until) == 0)
        ;
}

static bool next_event(void *user, struct buf *out)
{
    struct watcher *watcher = user;
    struct dashboard *dashboard = watcher->dashboard;
    pthread_mutex_lock(&dashboard->lock);
    if ((watcher->seen || dashboard->making) && !dashboard->stopping)
        wait_for_news(dashboard, watcher->seen);
    if (!dashboard->stopping)
        refresh(dashboard);
    if (dashboard->text && dashboard->number != watcher->seen)
        buf_printf(out, "data: %s\n\n", dashboard->text);
    else
        buf_add_text(out, ": still here\n\n"); /* who has left is noticed */
    watcher->seen = dashboard->number;
    bool goes_on = !dashboard->stopping;
    pthread_mutex_unlock(&dashboard->lock);
    return goes_on;
}

static void end_watching(void *user)
{
    struct watcher *watcher = user;
    pthread_mutex_lock(&watcher->dashboard->lock);
    watcher->dashboard->watchers--;
    pthread_mutex_unlock(&watcher->dashboard->lock);
    free(watcher);
}

static void show_events(struct dashboard *dashboard, const struct listener_request *request,
                        struct listener_reply *reply)
{
    (void)request;
    pthread_mutex_lock(&dashboard->lock);
    bool room = dashboard->watchers < WATCHERS_MAX;
    dashboard->watchers += room;
    pthread_mutex_unlock(&dashboard->lock);
    if (!room) {
        say_error(reply, 503, "enough watch already: close another window");
        return;
    }
    struct watcher *watcher = mem_zero(sizeof *watcher);
    watcher->dashboard = dashboard;
    reply->status = 200;
    reply->type = "text/event-stream";
    reply->next = next_event;
    reply->end = end_watching;
    reply->user = watcher;
}

static void show_overview(struct dashboard *dashboard, const struct listener_request *request,
                          struct listener_reply *reply)
{
    (void)request;
    pthread_mutex_lock(&dashboard->lock);
    refresh(dashboard);
    while (!dashboard->text && !dashboard->stopping)
        wait_for_news(dashboard, dashboard->number);
    reply->status = 200;
    reply->type = "application/json";
    buf_add_text(&reply->body, dashboard->text ? dashboard->text : "{}");
    pthread_mutex_unlock(&dashboard->lock);
}

/* ---- more of it, when it is asked for ---- */

static int64_t number_of(const struct listener_request *request, const char *name, int64_t otherwise)
{
    const char *text = listener_query(request, name);
    return text && *text ? strtoll(text, NULL, 10) : otherwise;
}

static const char *text_of(const struct listener_request *request, const char *name)
{
    const char *text = listener_query(request, name);
    return text && *text ? text : NULL;
}

static bool write_shards(struct access *access, const struct config *config,
                         const struct listener_request *request, struct buf *out, struct err *err)
{
    struct status status = {0};
    bool ok = status_load(&status, access, config, NULL, err);
    if (ok)
        overview_write_shards(&status, text_of(request, "match"), (size_t)number_of(request, "limit", 200),
                              out);
    status_fini(&status);
    return ok;
}

static bool write_letters(struct access *access, const struct config *config,
                          const struct listener_request *request, struct buf *out, struct err *err)
{
    const struct letters_query query = {.handler = text_of(request, "handler"),
                                        .error = text_of(request, "error"),
                                        .id = number_of(request, "id", 0),
                                        .after = number_of(request, "after", 0),
                                        .limit = number_of(request, "limit", 50)};
    (void)config;
    return letters_write(access, &query, out, err);
}

static bool write_cost(struct access *access, const struct config *config,
                       const struct listener_request *request, struct buf *out, struct err *err)
{
    struct store_snapshot *snapshot = access_load(access, &(struct store_query){.what = STORE_USAGE}, err);
    if (snapshot)
        status_write_cost(config, snapshot, clock_wall_ms(&access->clock), number_of(request, "days", 7),
                          true, out);
    store_snapshot_free(snapshot);
    return snapshot != NULL;
}

typedef bool write_fn(struct access *access, const struct config *config,
                      const struct listener_request *request, struct buf *out, struct err *err);

static void show(struct dashboard *dashboard, const struct listener_request *request,
                 struct listener_reply *reply, write_fn *write)
{
    struct access access;
    struct err err = {0};
    const struct config *config = hold_config(dashboard);
    bool ok = access_open(&access, config, true, &err);
    access.stopping = &dashboard->stopping;
    ok = ok && write(&access, config, request, &reply->body, &err);
    access_close(&access);
    config_release(config);
    reply->status = 200;
    reply->type = "application/json";
    if (!ok)
        say_error(reply, 503, err.text);
}

static void show_shards(struct dashboard *dashboard, const struct listener_request *request,
                        struct listener_reply *reply)
{
    show(dashboard, request, reply, write_shards);
}

static void show_letters(struct dashboard *dashboard, const struct listener_request *request,
                         struct listener_reply *reply)
{
    show(dashboard, request, reply, write_letters);
}

static void show_cost(struct dashboard *dashboard, const struct listener_request *request,
                      struct listener_reply *reply)
{
    show(dashboard, request, reply, write_cost);
}

/* ---- what changes something ---- */

static const char *member(const cJSON *root, const char *name)
{
    const char *text = document_text(root, name);
    return text ? text : "";
}

static bool act(struct access *access, const struct config *config, const cJSON *root, struct buf *told,
                struct err *err)
{
    const char *what = member(root, "do");
    const struct action action = {.handler = member(root, "handler"),
                                  .reason = member(root, "reason"),
                                  .to = member(root, "to"),
                                  .shard = member(root, "shard"),
                                  .running = true};
    if (strcmp(what, "redrive") == 0 || strcmp(what, "drop") == 0)
        return letters_change(access, root, told, err);
    if (!*action.handler)
        return err_set(err, ERR_CONFIG, "which handler?");
    if (strcmp(what, "pause") == 0)
        return action_pause(access, config, &action, told, err);
    if (strcmp(what, "resume") == 0)
        return action_resume(access, config, &action, told, err);
    if (strcmp(what, "seek") == 0)
        return action_seek(access, config, &action, told, err);
    return err_set(err, ERR_CONFIG, "\"%s\" is nothing that can be done here", what);
}

/* Who did it nobody knows but that he had the token; what he did is in the log. */
static void change(struct dashboard *dashboard, const struct listener_request *request,
                   struct listener_reply *reply)
{
    struct access access;
    struct err err = {0};
    struct buf told = BUF_INIT;
    const char *type = listener_header(request, "Content-Type");
    cJSON *root = type && strncmp(type, "application/json", 16) == 0
                      ? document_read(request->body, request->size, &err)
                      : NULL;
    if (!root) {
        say_error(reply, 400, "JSON is expected, of the type application/json");
        return;
    }
    const struct config *config = hold_config(dashboard);
    bool ok = access_open(&access, config, false, &err);
    access.stopping = &dashboard->stopping;
    ok = ok && act(&access, config, root, &told, &err);
    access_close(&access);
    config_release(config);
    char *asked = cJSON_PrintUnformatted(root);
    log_warn(dashboard->options.log, "dashboard", "%s: %s", asked, ok ? told.data : err.text);
    cJSON_free(asked);
    cJSON_Delete(root);
    reply->status = 200;
    reply->type = "application/json";
    if (ok) {
        cJSON *answer = cJSON_CreateObject();
        document_add_text(answer, "told", told.data);
        document_write(answer, &reply->body);
    } else {
        say_error(reply, err.code == ERR_CONFIG ? 400 : 503, err.text);
    }
    pthread_mutex_lock(&dashboard->lock);
    dashboard->made_ms = 0; /* it is another one now */
    dashboard->changes++;
    pthread_mutex_unlock(&dashboard->lock);
    buf_fini(&told);
}

/* ---- the playground ---- */

static void call_playground(struct dashboard *dashboard, const struct listener_request *request,
                            struct listener_reply *reply)
{
    const struct playground *playground = dashboard->options.playground;
    const char *operation = text_of(request, "operation"), *type = listener_header(request, "Content-Type");
    if (!playground || !operation || strlen(operation) > 64 || !type ||
        strncmp(type, "application/json", 16) != 0) {
        say_error(reply, playground ? 400 : 404, "?operation=, and JSON, of a tidemill dev");
        return;
    }
    reply->type = "application/json";
    reply->status = playground->call(playground->user, operation, request->body, request->size, &reply->body);
}

static void show_inbox(struct dashboard *dashboard, const struct listener_request *request,
                       struct listener_reply *reply)
{
    const struct playground *playground = dashboard->options.playground;
    (void)request;
    if (!playground) {
        say_error(reply, 404, "only tidemill dev has an inbox");
        return;
    }
    reply->status = 200;
    reply->type = "application/json";
    playground->inbox(playground->user, &reply->body);
}

/* ---- requests ---- */

static const struct {
    const char *path;
    void (*show)(struct dashboard *dashboard, const struct listener_request *request,
                 struct listener_reply *reply);
} pages[] = {{"/api/events", show_events},       {"/api/overview", show_overview},
             {"/api/shards", show_shards},       {"/api/letters", show_letters},
             {"/api/cost", show_cost},           {"/api/action", change},
             {"/api/dynamodb", call_playground}, {"/api/inbox", show_inbox}};

enum dashboard_path dashboard_path(const char *path)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(pages[i].path, path) == 0)
            return pages[i].show == show_letters ? DASHBOARD_RECORDS : DASHBOARD_READS;
    return find_file(path) ? DASHBOARD_PAGE : DASHBOARD_NOT;
}

static bool takes_post(size_t page)
{
    return pages[page].show == change || pages[page].show == call_playground;
}

void dashboard_answer(struct dashboard *dashboard, const struct listener_request *request,
                      struct listener_reply *reply)
{
    const struct file *file = find_file(request->path);
    bool posted = strcmp(request->method, "POST") == 0;
    if (file && !posted) {
        show_file(file, reply);
        return;
    }
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (strcmp(pages[i].path, request->path) != 0 || posted != takes_post(i))
            continue;
        pages[i].show(dashboard, request, reply);
        set_header(reply, 0, "Cache-Control", "no-store");
        set_header(reply, 1, "X-Content-Type-Options", "nosniff");
        return;
    }
    say_error(reply, 405, posted ? "it takes no POST" : "only POST");
}

/* ---- life ---- */

struct dashboard *dashboard_new(const struct admin_options *options)
{
    struct dashboard *dashboard = mem_zero(sizeof *dashboard);
    pthread_condattr_t monotonic;
    dashboard->options = *options;
    config_hold(options->config);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&dashboard->lock, NULL);
    pthread_cond_init(&dashboard->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return dashboard;
}

void dashboard_stop(struct dashboard *dashboard)
{
    pthread_mutex_lock(&dashboard->lock);
    dashboard->stopping = true;
    pthread_cond_broadcast(&dashboard->changed);
    pthread_mutex_unlock(&dashboard->lock);
}

void dashboard_free(struct dashboard *dashboard)
{
    free(dashboard->text);
    pthread_cond_destroy(&dashboard->changed);
    pthread_mutex_destroy(&dashboard->lock);
    config_release(dashboard->options.config);
    free(dashboard);
}
