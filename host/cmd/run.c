/* run.c: tidemill run. */
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "core/host.h"

struct running {
    struct host *host;
    int signal_fd;
};

static void on_signal(void *user)
{
    struct running *running = user;
    struct signalfd_siginfo info;
    if (read(running->signal_fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGHUP)
        host_reload(running->host);
    else
        host_stop(running->host);
}

/* Before any thread exists, so that all of them leave these signals to the signalfd. */
static int block_signals(void)
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

static int run_host(const struct config *config, struct log *log, struct clock *clock, int signal_fd)
{
    struct err err = {0};
    struct host *host = host_new(
        &(struct host_options){.config = config, .log = log, .world = host_world_system(clock)}, &err);
    if (!host) {
        cmd_complain("%s", err.text);
        return err.code == ERR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
    }
    struct running running = {host, signal_fd};
    struct watch *watch = reactor_watch(host_reactor(host), signal_fd, POLLIN, on_signal, &running);
    bool clean = host_run(host);
    watch_free(watch);
    host_free(host);
    log_info(log, NULL, clean ? "stopped; everything that was begun is settled" : "stopped");
    return EXIT_DONE;
}

static int run(int argc, char **argv)
{
    static const char *const flags[] = {NULL};
    const char *path = NULL;
    if (!cmd_options(argc, argv, &path, flags, NULL))
        return EXIT_USAGE;
    int signal_fd = block_signals();
    struct config *config = cmd_load_config(path);
    if (!config)
        return EXIT_USAGE;
    struct clock clock = clock_system();
    struct log *log = log_new(STDERR_FILENO, (enum log_format)config->host.log_format,
                              (enum log_level)config->host.log_level, &clock);
    int status = run_host(config, log, &clock, signal_fd);
    log_free(log);
    config_free(config);
    close(signal_fd);
    return status;
}

const struct command cmd_run = {
    .name = "run",
    .arguments = "[-c FILE]",
    .summary = "consume streams until SIGTERM",
    .help = "Reads the streams of the INI and runs the handlers in its scripts directory on every change.\n"
            "\n"
            "SIGTERM or SIGINT: no further record is started, those that were started finish (within\n"
            "shutdown_timeout), checkpoints are written. A second signal gives up what still runs.\n"
            "Scripts are reloaded when they change; SIGHUP looks at them at once.\n",
    .run = run,
};
