/* emitter_dry.h: an emitter that sends nothing: it tells what it was given, and everything is accepted. */
#ifndef TIDEMILL_DELIVER_EMITTER_DRY_H
#define TIDEMILL_DELIVER_EMITTER_DRY_H

#include "conf/config.h"
#include "net/reactor.h"
#include "handler/emitter.h"

typedef void emitter_dry_fn(void *user, const char *target, const struct message *message);

/* Knows the targets of `config`, which is held; NULL: any. Counted by reference; the caller has the first. */
struct emitter *emitter_dry_new(struct reactor *reactor, const struct config *config, emitter_dry_fn *tell,
                                void *user);

#endif
