/* local.c: tidemill local. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "local/server.h"

#define PORT 8000

struct arguments {
    int port;
    const char *data;
};

static const struct cmd_option known_options[] = {
    {"--port", CMD_PORT, offsetof(struct arguments, port), NULL},
    {"--data", CMD_TEXT, offsetof(struct arguments, data), "a directory"},
    {0},
};

/* Threads inherit the mask, so the signals wait for sigwait. */
static void block_signals(sigset_t *set)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

static void announce(const struct server *server, const struct arguments *arguments)
{
    bool colour = isatty(STDOUT_FILENO);
    printf("%sDynamoDB on http://127.0.0.1:%d%s, ", colour ? "\033[36m" : "", server_port(server),
           colour ? "\033[0m" : "");
    if (arguments->data)
        printf("kept in %s\n", arguments->data);
    else
        printf("in memory: nothing is kept (--data DIR keeps it)\n");
    fflush(stdout);
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {.port = PORT};
    struct clock clock = clock_system();
    struct err err;
    sigset_t signals;
    int signal;
    if (!cmd_options(argc, argv, known_options, &arguments))
        return EXIT_USAGE;
    block_signals(&signals);
    struct engine *engine = engine_new(&(struct engine_options){.directory = arguments.data,
                                                                .clock = &clock,
                                                                .region = getenv("AWS_REGION")},
                                       &err);
    struct server *server = engine ? server_start(engine, arguments.port, &err) : NULL;
    if (!server) {
        cmd_complain("%s", err.text);
        engine_free(engine);
        return EXIT_FAILED;
    }
    announce(server, &arguments);
    sigwait(&signals, &signal);
    server_stop(server);
    engine_free(engine);
    return EXIT_DONE;
}

const struct command cmd_local = {
    .name = "local",
    .arguments = "[--port N] [--data DIR]",
    .summary = "only the embedded DynamoDB",
    .help = "A DynamoDB with streams on 127.0.0.1, for any AWS SDK: point its endpoint here, with any "
            "credentials.\n"
            "\n"
            "--port N    where to listen (8000); 0 takes a free port\n"
            "--data DIR  keep everything in DIR, safe against kill -9; without it, in memory\n",
    .run = run,
};
