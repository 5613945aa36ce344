/* plugs.c: see plugs.h. */
#include "core/plugs.h"

#include "deliver/targets/table.h"
#include "state/store_open.h"

const struct config_plugs host_plugs = {target_types, store_places};
