/* bind_config.c: tidemill.config, the keys of the [handler] section that are the script's own. */
#include <lauxlib.h>
#include <lua.h>

#include "script/internal.h"

int bind_config(lua_State *L)
{
    const struct config_handler *section = script_of(L)->section;
    lua_newtable(L);
    for (size_t i = 0; section && i < section->pair_count; i++) {
        const struct config_pair *pair = &section->pairs[i];
        if (handler_settings_knows(pair->name))
            continue;
        lua_pushstring(L, pair->value);
        lua_setfield(L, -2, pair->name);
    }
    return 1;
}
