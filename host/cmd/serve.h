/* serve.h: what run and dev have in common: a host that runs until SIGTERM and reads its INI again on SIGHUP.
 */
#ifndef TIDEMILL_CMD_SERVE_H
#define TIDEMILL_CMD_SERVE_H

#include "conf/config.h"

struct observer;
struct playground;
struct secrets;

struct serve_options {
    const char *ini;
    /* As config_load, for SIGHUP. */
    struct config *(*load)(void *user, const char *path, struct problems *problems);
    const struct observer *observer; /* or NULL */
    bool follows_ini;                /* takes it over when it changes, as by SIGHUP */
    void *user;
    struct secrets *secrets; /* what `load` asks for: it is asked for again now and then; or NULL */
    const struct playground *playground; /* of the dashboard; or NULL; must stay */
    bool confined; /* it gives up the rights that it does not need ([host] landlock, core_dumps) */
};

/* The signals that serve waits for, kept from all threads that begin later: call it first. */
int serve_block_signals(void);

/* Takes the reference to `config`. Returns the exit status. */
int serve(const struct serve_options *options, const struct config *config, int signal_fd);

#endif
