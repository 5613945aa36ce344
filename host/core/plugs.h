/* plugs.h: all there is to plug in, for config_load. */
#ifndef TIDEMILL_CORE_PLUGS_H
#define TIDEMILL_CORE_PLUGS_H

#include "conf/plugs.h"

extern const struct config_plugs host_plugs;

#endif
