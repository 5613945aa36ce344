/* plugs.c: see plugs.h. */
#include "core/plugs.h"

#include "deliver/targets/table.h"
#include "state/store_open.h"

const struct config_plugs host_plugs = {.targets = target_types, .stores = store_places};
const struct config_plugs host_plugs_playing = {
    .targets = target_types, .stores = store_places, .plays = true};

struct config_plugs host_plugs_asking(struct secrets *secrets, secret_fn *ask)
{
    return (struct config_plugs){
        .targets = target_types, .stores = store_places, .secret = ask, .user = secrets};
}
