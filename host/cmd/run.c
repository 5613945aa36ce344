/* run.c: tidemill run. */
#include <unistd.h>

#include "aws/secrets.h"
#include "cmd/cmd.h"
#include "cmd/serve.h"
#include "core/plugs.h"

static struct config *load(void *user, const char *path, struct problems *problems)
{
    const struct config_plugs plugs = host_plugs_asking(user, secrets_know);
    return config_load(path, &plugs, problems);
}

static int run(int argc, char **argv)
{
    const char *path = NULL;
    if (!cmd_config_option(argc, argv, &path))
        return EXIT_USAGE;
    int signal_fd = serve_block_signals();
    struct secrets *secrets = secrets_new();
    const struct config_plugs plugs = host_plugs_asking(secrets, secrets_ask);
    struct config *config = cmd_load_config_with(path, &plugs);
    int status = config ? serve(&(struct serve_options){.ini = cmd_config_path(path),
                                                        .load = load,
                                                        .user = secrets,
                                                        .secrets = secrets,
                                                        .confined = true},
                                config, signal_fd)
                        : EXIT_USAGE;
    secrets_free(secrets);
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
            "Scripts are reloaded when they change. SIGHUP reads the INI again: streams and handlers that\n"
            "differ change while the others go on; when [host] or [aws] differ, everything stops and starts\n"
            "again. An INI with errors changes nothing.\n",
    .run = run,
};
