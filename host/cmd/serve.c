/* serve.c: hosts one after the other, until a signal ends them. */
#include "cmd/serve.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin.h"
#include "aws/profile.h"
#include "aws/secrets.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/notify.h"
#include "base/rights.h"
#include "cmd/cmd.h"
#include "conf/target_type.h"
#include "core/host.h"
#include "core/plugs.h"
#include "stats/board.h"
#include "state/store_open.h"

/* Before any thread exists, so that all of them leave these signals to the signalfd. */
int serve_block_signals(void)
{
    sigset_t set;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may grow no further is an error to report, not the end */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

struct running {
    const struct serve_options *options;
    const struct config *config; /* in force */
    const struct config *next;   /* to start again with, or NULL */
    struct host *host;
    struct admin *admin; /* or NULL */
    struct log *log;
    int signal_fd;
    bool failed; /* the last host has ended by itself */
    struct clock *clock;
    struct timer tell;               /* the service manager, how it goes */
    char *told;                      /* what was said last; or NULL */
    struct timer look;               /* at files that it was started with */
    int differs;                     /* how often in a row the INI was another one */
    uint64_t ini_seen, ini_followed; /* of one that is followed: as it was last looked at, and last taken */
    uint64_t refused_hash;           /* of what ${file:} stands for, that could not be taken over; 0: none */
    uint64_t seen_hash;              /* likewise, when it was last looked at */
    uint64_t refused_release;        /* of an INI that could not be taken with its scripts; 0: none */
    uint64_t asked_release;          /* of one whose ${ssm:} and ${secret:} were asked for */
    bool told_state;                 /* that its file is another one */
    dev_t state_device;
    ino_t state_inode;
    char *rights;            /* to be logged when there is a log */
    struct renewal *renewal; /* under way; or NULL */
    int64_t renewed_ms;      /* when the last one ended, or the INI was read; monotonic */
    char *unanswered;        /* what it could not ask for; or NULL */
};

/* ---- rights ---- */

static const char *directory_of(const struct config_target *target)
{
    return target->type && target->type->directory ? target->type->directory(target) : NULL;
}

/* Those of targets, which would make them with their first file: then it would be too late. */
static void make_directories(const struct config *config)
{
    struct err err; /* is told with the first file */
    for (size_t i = 0; i < config->target_count; i++) {
        const char *directory = directory_of(&config->targets[i]);
        char *path = directory ? mem_printf("%s/", directory) : NULL;
        if (path)
            file_make_directories(path, &err);
        free(path);
    }
}

/* Where what the configuration names is written. To be freed with its texts; ends with NULL. */
static char **written(const struct config *config)
{
    char **all = mem_zero((config->target_count + 2) * sizeof *all);
    size_t count = 0;
    char *state = store_directory(config->host.state);
    if (state)
        all[count++] = state;
    for (size_t i = 0; i < config->target_count; i++) {
        if (directory_of(&config->targets[i]))
            all[count++] = mem_string(directory_of(&config->targets[i]));
    }
    return all;
}

static void free_texts(char **all)
{
    for (size_t i = 0; all[i]; i++)
        free(all[i]);
    free(all);
}

/* Before any thread exists. */
static char *confine(const struct config *config)
{
    char **directories = written(config), *text;
    struct buf list = BUF_INIT;
    size_t count = 0;
    make_directories(config);
    for (; directories[count]; count++)
        buf_printf(&list, "%s%s", count ? ", " : "", directories[count]);
    if (credentials_run_a_program(config->aws.profile))
        text = mem_string(
            "what this process may write is not limited: credential_process runs programs of its own");
    else if (rights_confine((const char *const *)directories, count))
        text = count ? mem_printf("this process writes below %s only (Landlock)", list.data)
                     : mem_string("this process writes to no directory at all (Landlock)");
    else
        text = mem_string("what this process may write is not limited: this kernel has no Landlock");
    buf_fini(&list);
    free_texts(directories);
    return text;
}

/* A new INI may name what this process may not write any more. */
static bool may_write(const struct config *config, struct err *err)
{
    char **directories = written(config);
    bool may = true;
    for (size_t i = 0; directories[i] && may; i++)
        if (!rights_cover(directories[i]))
            may = err_set(err, ERR_CONFIG,
                          "%s is not below what this process may write since its start (Landlock): start it "
                          "anew, or set landlock = off in [host]",
                          directories[i]);
    free_texts(directories);
    return may;
}

/* ---- the service manager ---- */

#define TELL_EVERY_MS 1000

/* One line: the first reason why it is not ready, or what it reads. */
static char *status_line(const struct running *running)
{
    char *reasons = board_read_reasons(host_board(running->host));
    const struct config *config = running->config;
    char *line = *reasons ? mem_printf("not ready: %.*s", (int)strcspn(reasons, "\n"), reasons)
                          : mem_printf("reading %zu stream%s", config->stream_count,
                                       config->stream_count == 1 ? "" : "s");
    free(reasons);
    return line;
}

/* While this comes, the first reactor turns; whether the others do is looked at. */
static void tell_manager(void *user)
{
    struct running *running = user;
    int64_t watchdog_ms = notify_watchdog_ms(), every_ms = TELL_EVERY_MS;
    char *line = status_line(running);
    if (!running->told || strcmp(running->told, line) != 0)
        notify_send("STATUS=%s", line);
    free(running->told);
    running->told = line;
    if (watchdog_ms &&
        board_silent_ms(host_board(running->host), clock_monotonic_ms(running->clock)) < watchdog_ms)
        notify_send("WATCHDOG=1");
    if (watchdog_ms && watchdog_ms / 3 < every_ms)
        every_ms = watchdog_ms / 3;
    timer_set(host_reactor(running->host), &running->tell, every_ms > 1 ? every_ms : 1);
}

/* It runs: whether AWS answers is nothing that a start is undone for. */
static void begin_telling(struct running *running, struct clock *clock)
{
    running->clock = clock;
    timer_init(&running->tell, tell_manager, running);
    if (!notify_wanted())
        return;
    notify_send("READY=1");
    tell_manager(running);
}

static void end_telling(struct running *running)
{
    timer_stop(host_reactor(running->host), &running->tell);
    free(running->told);
    running->told = NULL;
}

/* ---- reload ---- */

static void take_over(struct running *running, const struct config *config, struct problems *problems)
{
    switch (host_reload(running->host, config, problems)) {
    case HOST_RELOADED:
        log_info(running->log, NULL, "%s was read again", running->options->ini);
        config_release(running->config);
        running->config = config_hold(config);
        admin_set_config(running->admin, config);
        break;
    case HOST_REFUSED:
        break;
    case HOST_MUST_RESTART:
        log_info(running->log, NULL, "[host] or [aws] of %s differ: everything stops and starts again",
                 running->options->ini);
        config_release(running->next);
        running->next = config_hold(config);
        host_stop(running->host);
        break;
    }
}

/* A file with errors changes nothing. False: it has some, which are logged. */
static bool read_again(struct running *running)
{
    struct problems problems = PROBLEMS_INIT;
    struct err err;
    notify_send("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic_us(running->clock));
    struct config *config = running->options->load(running->options->user, running->options->ini, &problems);
    if (!problems.count && !may_write(config, &err))
        problems_add(&problems, "%s: %s", running->options->ini, err.text);
    if (!problems.count && !running->next)
        take_over(running, config, &problems);
    bool taken = !problems.count;
    problems_log(&problems, running->log);
    host_count_ini(running->host, taken);
    problems_fini(&problems);
    config_release(config);
    if (!running->next) /* else the host that comes says so */
        notify_send("READY=1");
    return taken;
}

static void reload(struct running *running)
{
    if (!read_again(running))
        log_error(running->log, NULL, "%s: not taken over; everything goes on as before",
                  running->options->ini);
}

/* ---- what ${ssm:} and ${secret:} stand for ---- */

#define ASK_AGAIN_MS 30000 /* for a release that waits for it */

/* A thread asks for it, which may take a while: it reads the INI, and so whoever does that afterwards finds
 * all of it known. */
struct renewal {
    struct running *running;
    struct reactor *reactor;
    struct secrets *secrets;
    pthread_t thread;
    char *ini, *unanswered; /* unanswered: what could not be asked for; or NULL */
    bool reloads;           /* then the INI is to be taken over */
    bool again;             /* who asked for that meanwhile may have changed it since */
};

static void renewal_free(void *user)
{
    struct renewal *renewal = user;
    free(renewal->ini);
    free(renewal->unanswered);
    free(renewal);
}

static void renew(struct running *running, bool reloads);

static void on_renewed(void *user)
{
    struct renewal *renewal = user;
    struct running *running = renewal->running;
    pthread_join(renewal->thread, NULL);
    running->renewal = NULL;
    running->renewed_ms = clock_monotonic_ms(running->clock);
    free(running->unanswered);
    running->unanswered = renewal->unanswered;
    renewal->unanswered = NULL;
    if (running->unanswered) /* a release that waits for it asks again */
        running->refused_release = running->asked_release = 0;
    if (running->unanswered)
        log_error(running->log, NULL, "%s; what was known of it before counts", running->unanswered);
    if (renewal->again)
        renew(running, true);
    else if (renewal->reloads)
        reload(running);
    renewal_free(renewal);
}

static void *ask_again(void *user)
{
    struct renewal *renewal = user;
    struct problems problems = PROBLEMS_INIT;
    const struct config_plugs plugs = host_plugs_asking(renewal->secrets, secrets_ask);
    config_release(config_load(renewal->ini, &plugs, &problems));
    for (size_t i = 0; i < problems.count && !renewal->unanswered; i++)
        if (strstr(problems.lines[i], "${ssm:") || strstr(problems.lines[i], "${secret:"))
            renewal->unanswered = mem_string(problems.lines[i]);
    problems_fini(&problems);
    reactor_post_owned(renewal->reactor, on_renewed, renewal_free, renewal);
    return NULL;
}

static void renew(struct running *running, bool reloads)
{
    struct renewal *renewal = mem_zero(sizeof *renewal);
    *renewal = (struct renewal){.running = running,
                                .reactor = host_reactor(running->host),
                                .secrets = running->options->secrets,
                                .ini = mem_string(running->options->ini),
                                .reloads = reloads};
    running->renewal = renewal;
    if (pthread_create(&renewal->thread, NULL, ask_again, renewal) == 0)
        return;
    running->renewal = NULL;
    renewal_free(renewal);
    if (reloads)
        reload(running);
}

/* Before the reactor goes. */
static void end_renewal(struct running *running)
{
    struct renewal *renewal = running->renewal;
    if (!renewal)
        return;
    secrets_stop(running->options->secrets, true);
    pthread_join(renewal->thread, NULL); /* what it has posted goes with the reactor */
    secrets_stop(running->options->secrets, false);
    running->renewal = NULL;
}

static void renew_now_and_then(struct running *running)
{
    bool due =
        clock_monotonic_ms(running->clock) - running->renewed_ms >= running->config->host.secrets_age_ms;
    if (due && running->options->secrets && running->config->reference_count && !running->renewal)
        renew(running, false);
}

/* SIGHUP */
static void on_hangup(struct running *running)
{
    if (running->renewal)
        running->renewal->again = true;
    else if (running->options->secrets && config_mentions_secrets(running->options->ini))
        renew(running, true);
    else
        reload(running);
}

/* Scripts and the INI that came with them are one release: new scripts do not run with old settings. What is
 * wrong with it is said once. */
static bool take_release(void *user, uint64_t scripts)
{
    struct running *running = user;
    uint64_t hash = running->options->ini ? config_text_hash(running->options->ini) : 0;
    if (!hash || hash == running->config->text_hash)
        return true;
    hash = hash_mix(hash ^ scripts);
    bool asked_just_now =
        running->unanswered && clock_monotonic_ms(running->clock) - running->renewed_ms < ASK_AGAIN_MS;
    if (hash == running->refused_release || running->renewal || asked_just_now)
        return false;
    if (running->options->secrets && config_mentions_secrets(running->options->ini) &&
        running->asked_release != hash) { /* it is taken over once all is known that it asks for */
        running->asked_release = hash;
        renew(running, true);
        return false;
    }
    log_info(running->log, NULL, "scripts have changed, and %s with them: both are taken, or neither",
             running->options->ini);
    bool taken = read_again(running);
    running->refused_release = taken ? 0 : hash;
    if (!taken)
        log_error(running->log, NULL,
                  "%s and the scripts that came with it: not taken over; everything goes on as before",
                  running->options->ini);
    return taken && !running->next;
}

static void on_signal(void *user)
{
    struct running *running = user;
    struct signalfd_siginfo info;
    if (read(running->signal_fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGHUP && !running->options->follows_ini) { /* else its terminal has gone */
        on_hangup(running);
        return;
    }
    bool stopping = running->next != NULL; /* but it was to come back */
    config_release(running->next);
    running->next = NULL;
    notify_send("STOPPING=1");
    if (!stopping)
        host_stop(running->host);
}

/* ---- what it was started with ---- */

#define LOOK_EVERY_MS 5000
#define FOLLOW_EVERY_MS 1000
#define LOOK_LONGER 3 /* times in a row: who writes the file and signals needs a moment */

/* Whoever rotates a secret writes its file, and sends no signal. The INI itself is taken over by SIGHUP
 * alone. */
static void look_at_secrets(struct running *running)
{
    struct problems problems = PROBLEMS_INIT;
    struct err err;
    if (!running->config->files_hash)
        host_tell_trouble(running->host, "secrets", NULL);
    if (!running->config->files_hash || running->next || running->differs)
        return;
    struct config *config = running->options->load(running->options->user, running->options->ini, &problems);
    bool changed = !problems.count && config->text_hash == running->config->text_hash &&
                   config->files_hash != running->config->files_hash;
    if (changed && config->files_hash == running->refused_hash) { /* it is told already */
        config_release(config);
        return;
    }
    bool settled = changed && config->files_hash == running->seen_hash; /* it is not being written just now */
    running->seen_hash = changed ? config->files_hash : 0;
    running->refused_hash = 0;
    if (settled) {
        log_info(running->log, NULL, "what ${...} of %s stands for has changed", running->options->ini);
        if (!may_write(config, &err))
            problems_add(&problems, "%s: %s", running->options->ini, err.text);
        else
            take_over(running, config, &problems);
        problems_log(&problems, running->log);
        running->refused_hash = problems.count ? config->files_hash : 0;
    }
    host_tell_trouble(running->host, "secrets", problems.count ? problems.lines[0] : running->unanswered);
    problems_fini(&problems);
    config_release(config);
}

/* Each of its versions once, when it is not being written just now. */
static void follow_ini(struct running *running, uint64_t hash)
{
    bool settled = hash && hash == running->ini_seen && hash != running->config->text_hash;
    running->ini_seen = hash;
    if (!settled || hash == running->ini_followed || running->next)
        return;
    running->ini_followed = hash;
    log_info(running->log, NULL, "%s has changed", running->options->ini);
    on_hangup(running);
}

/* The INI may be another one by now, which the next start, or SIGHUP, takes; and behind the state's path may
 * stand another file, which commands look at, and the next host. */
static void look_at_files(void *user)
{
    struct running *running = user;
    const char *ini = running->options->ini, *state = store_file(running->config->host.state);
    struct stat status;
    uint64_t hash = ini ? config_text_hash(ini) : 0;
    running->differs = hash && hash != running->config->text_hash ? running->differs + 1 : 0;
    char *text = mem_printf("%s is not the one that is in force: SIGHUP takes it over, or says what is wrong",
                            ini ? ini : "");
    host_tell_trouble(running->host, "ini", running->differs >= LOOK_LONGER ? text : NULL);
    free(text);
    bool same =
        !running->state_inode || (stat(state, &status) == 0 && status.st_dev == running->state_device &&
                                  status.st_ino == running->state_inode);
    text = mem_printf(
        "%s is not the file any more that this host has open: commands, and the next host, look at "
        "another one (does its path lead through a link that was switched?)",
        state ? state : "");
    if (!same && !running->told_state)
        log_error(running->log, NULL, "state: %s", text);
    running->told_state = !same;
    host_tell_trouble(running->host, "state", same ? NULL : text);
    free(text);
    renew_now_and_then(running);
    look_at_secrets(running);
    timer_set(host_reactor(running->host), &running->look,
              running->options->follows_ini ? FOLLOW_EVERY_MS : LOOK_EVERY_MS);
    if (running->options->follows_ini)
        follow_ini(running, hash);
}

static void begin_looking(struct running *running)
{
    const char *state = store_file(running->config->host.state);
    struct stat status;
    running->differs = 0;
    running->renewed_ms = clock_monotonic_ms(running->clock);
    running->told_state = false;
    running->state_inode = 0; /* there is none: it goes with the process, or is a table */
    timer_init(&running->look, look_at_files, running);
    if (state && stat(state, &status) == 0) {
        running->state_device = status.st_dev;
        running->state_inode = status.st_ino;
    }
    timer_set(host_reactor(running->host), &running->look, LOOK_EVERY_MS);
}

/* ---- from start to stop ---- */

/* Where the numbers are shown. In the way of an address that nobody asked for may stand whoever likes; of one
 * that somebody did, nobody. NULL without an error: nowhere. */
static struct admin *show_numbers(struct running *running, struct err *err)
{
    const char *asked = running->config->host.listen, *address = asked ? asked : CONFIG_LISTEN;
    if (strcmp(address, "off") == 0)
        return NULL;
    struct admin *admin = admin_start(&(struct admin_options){.address = address,
                                                              .token = running->config->host.admin_token,
                                                              .board = host_board(running->host),
                                                              .config = running->config,
                                                              .log = running->log,
                                                              .playground = running->options->playground},
                                      err);
    if (admin)
        log_info(running->log, NULL, "metrics are at http://%.*s:%d/metrics, the dashboard at /",
                 (int)(strrchr(address, ':') - address), address, admin_port(admin));
    else if (!asked)
        log_warn(running->log, NULL,
                 "no metrics are shown: %s (listen in [host] names another address, or off)", err->text);
    if (!asked && !admin)
        err->code = ERR_NONE;
    return admin;
}

/* From start to stop with the configuration in force. */
static bool run_host(struct running *running, struct clock *clock, struct err *err)
{
    struct host_options options = {.config = running->config,
                                   .log = running->log,
                                   .world = host_world_system(clock),
                                   .observer = running->options->observer,
                                   .take_release = take_release,
                                   .user = running};
    running->host = host_new(&options, err);
    if (!running->host)
        return false;
    err->code = ERR_NONE;
    struct admin *admin = show_numbers(running, err);
    if (err->code != ERR_NONE) {
        err_prefix(err, "listen");
        host_free(running->host);
        running->host = NULL;
        return false;
    }
    running->admin = admin;
    struct watch *watch =
        reactor_watch(host_reactor(running->host), running->signal_fd, POLLIN, on_signal, running);
    begin_telling(running, clock);
    begin_looking(running);
    bool clean = host_run(running->host);
    end_renewal(running);
    end_telling(running);
    timer_stop(host_reactor(running->host), &running->look);
    running->failed = host_failed(running->host);
    watch_free(watch);
    running->admin = NULL;
    admin_stop(admin);
    host_free(running->host);
    running->host = NULL;
    log_info(running->log, NULL, clean ? "stopped; everything that was begun is settled" : "stopped");
    return true;
}

static struct log *open_log(const struct config *config, struct clock *clock)
{
    return log_new(STDERR_FILENO, (enum log_format)config->host.log_format,
                   (enum log_level)config->host.log_level, clock);
}

/* Until no next configuration is asked for. One that does not start gives way to the one before it. */
static int run_in_turn(struct running *running, struct clock *clock)
{
    const struct config *before = NULL;
    struct err err;
    while (running->config) {
        running->log = open_log(running->config, clock);
        if (running->rights)
            log_info(running->log, NULL, "%s", running->rights);
        free(running->rights);
        running->rights = NULL;
        if (run_host(running, clock, &err)) {
            config_release(before);
            before = running->config;
            running->config = running->next;
            running->next = NULL;
        } else if (before) {
            log_error(running->log, NULL, "%s; going on with the configuration before", err.text);
            config_release(running->config);
            running->config = before;
            before = NULL;
        } else {
            cmd_complain("%s", err.text);
            log_free(running->log);
            return err.code == ERR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
        }
        log_free(running->log);
    }
    config_release(before);
    return running->failed ? EXIT_FAILED : EXIT_DONE;
}

int serve(const struct serve_options *options, const struct config *config, int signal_fd)
{
    struct clock clock = clock_system();
    struct running running = {.options = options, .config = config, .signal_fd = signal_fd};
    if (options->confined && !config->host.core_dumps)
        rights_no_core();
    if (options->confined && config->host.landlock)
        running.rights = confine(config);
    int status = run_in_turn(&running, &clock);
    free(running.unanswered);
    config_release(running.config);
    return status;
}
