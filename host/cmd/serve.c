/* serve.c: hosts one after the other, until a signal ends them. */
#include "cmd/serve.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "core/host.h"

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
    struct log *log;
    int signal_fd;
};

static void log_problems(struct log *log, const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        log_error(log, NULL, "%s", problems->lines[i]);
}

static void take_over(struct running *running, const struct config *config, struct problems *problems)
{
    switch (host_reload(running->host, config, problems)) {
    case HOST_RELOADED:
        log_info(running->log, NULL, "%s was read again", running->options->ini);
        config_release(running->config);
        running->config = config_hold(config);
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

/* SIGHUP: a file with errors changes nothing. */
static void reload(struct running *running)
{
    struct problems problems = PROBLEMS_INIT;
    struct config *config = running->options->load(running->options->user, running->options->ini, &problems);
    if (!problems.count && !running->next)
        take_over(running, config, &problems);
    log_problems(running->log, &problems);
    if (problems.count)
        log_error(running->log, NULL, "%s: not taken over; everything goes on as before",
                  running->options->ini);
    problems_fini(&problems);
    config_release(config);
}

static void on_signal(void *user)
{
    struct running *running = user;
    struct signalfd_siginfo info;
    if (read(running->signal_fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGHUP) {
        reload(running);
        return;
    }
    bool stopping = running->next != NULL; /* but it was to come back */
    config_release(running->next);
    running->next = NULL;
    if (!stopping)
        host_stop(running->host);
}

/* From start to stop with the configuration in force. */
static bool run_host(struct running *running, struct clock *clock, struct err *err)
{
    struct host_options options = {.config = running->config,
                                   .log = running->log,
                                   .world = host_world_system(clock),
                                   .observer = running->options->observer};
    running->host = host_new(&options, err);
    if (!running->host)
        return false;
    struct watch *watch =
        reactor_watch(host_reactor(running->host), running->signal_fd, POLLIN, on_signal, running);
    bool clean = host_run(running->host);
    watch_free(watch);
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
    return EXIT_DONE;
}

int serve(const struct serve_options *options, const struct config *config, int signal_fd)
{
    struct clock clock = clock_system();
    struct running running = {.options = options, .config = config, .signal_fd = signal_fd};
    int status = run_in_turn(&running, &clock);
    config_release(running.config);
    return status;
}
