/* plugs.h: all there is to plug in, for config_load. */
#ifndef TIDEMILL_CORE_PLUGS_H
#define TIDEMILL_CORE_PLUGS_H

#include "conf/plugs.h"

struct secrets;

/* Nobody is asked for what ${ssm:} and ${secret:} stand for: it is missing. */
extern const struct config_plugs host_plugs;

/* Nobody is asked, and to handlers each stands for itself: for who only plays. */
extern const struct config_plugs host_plugs_playing;

/* AWS is asked: `ask` is secrets_know or secrets_ask (aws/secrets.h). */
struct config_plugs host_plugs_asking(struct secrets *secrets, secret_fn *ask);

#endif
