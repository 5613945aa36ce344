/* outside.c: see outside.h. */
#include "cmd/outside.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/handlers.h"
#include "core/host.h"
#include "deliver/outbox.h"
#include "state/store_open.h"

/* Nothing is sent, so any key and any region do. */
static void pretend_credentials(void)
{
    setenv("AWS_ACCESS_KEY_ID", "dry-run", 0);
    setenv("AWS_SECRET_ACCESS_KEY", "dry-run", 0);
    setenv("AWS_REGION", "us-east-1", 0);
}

static struct transport *make_transport(struct cmd_outside *outside,
                                        const struct cmd_outside_options *options)
{
    if (!options->tell_call) {
        struct worker_world world = host_world_system(&outside->clock);
        return world.transport_new(world.user, outside->reactor, outside->config);
    }
    pretend_credentials();
    return transport_dry_new(outside->reactor, options->tell_call, NULL);
}

static struct emitter *make_emitter(struct cmd_outside *outside, const struct cmd_outside_options *options)
{
    if (options->tell_emission)
        return emitter_dry_new(outside->reactor, NULL, options->tell_emission, NULL);
    return outbox_new(&(struct outbox_options){
        .config = outside->config,
        .reactor = outside->reactor,
        .aws = outside->aws,
        .transport = outside->transport,
        .log = outside->log,
    });
}

bool cmd_outside_open(struct cmd_outside *outside, const struct config *config,
                      const struct cmd_outside_options *options, struct err *err)
{
    *outside = (struct cmd_outside){.config = config, .clock = clock_system()};
    outside->log =
        log_new(STDERR_FILENO, (enum log_format)config->host.log_format, options->log_level, &outside->clock);
    outside->reactor = reactor_new(&outside->clock);
    outside->transport = make_transport(outside, options);
    outside->aws = aws_client_new(outside->reactor, outside->transport, &config->aws, outside->log, err);
    if (!outside->aws)
        return false;
    struct store_options store = {
        .group = config->host.group, .passing = !options->keeps, .log = outside->log};
    outside->store = store_open(outside->reactor, config->host.state, &store, err);
    if (!outside->store)
        return false;
    outside->emitter = make_emitter(outside, options);
    outside->emitter->ops->flush(outside->emitter, false);
    return true;
}

void cmd_outside_close_store(struct cmd_outside *outside)
{
    store_free(outside->store);
    outside->store = NULL;
}

void cmd_outside_close(struct cmd_outside *outside)
{
    cmd_outside_close_store(outside);
    if (outside->emitter)
        outside->emitter->ops->release(outside->emitter);
    aws_client_free(outside->aws);
    transport_free(outside->transport);
    reactor_free(outside->reactor);
    log_free(outside->log);
}

struct handler *cmd_outside_load(const struct cmd_outside *outside, const char *place,
                                 const struct config *config, struct problems *problems)
{
    return handler_load(
        &(struct script_options){
            .path = place,
            .config = config,
            .reactor = outside->reactor,
            .aws = outside->aws,
            .transport = outside->transport,
            .store = outside->store,
            .emitter = outside->emitter,
            .log = outside->log,
        },
        problems);
}
