/* reference.c: see reference.h. lua/reference.lua makes them. */
#include "script/reference.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "base/check.h"
#include "base/embed.h"
#include "base/mem.h"
#include "script/internal.h"

EMBED(reference_script, "lua/reference.lua");
EMBED(meta_config, "lua/meta/config.lua");
EMBED(meta_crypto, "lua/meta/crypto.lua");
EMBED(meta_emit, "lua/meta/emit.lua");
EMBED(meta_handler, "lua/meta/handler.lua");
EMBED(meta_json, "lua/meta/json.lua");
EMBED(meta_log, "lua/meta/log.lua");
EMBED(meta_pattern, "lua/meta/pattern.lua");
EMBED(meta_record, "lua/meta/record.lua");
EMBED(meta_request, "lua/meta/request.lua");
EMBED(meta_time, "lua/meta/time.lua");
EMBED(meta_values, "lua/meta/values.lua");

static const struct {
    const char *name, *start, *end;
} metas[] = {
    {"meta.config", meta_config_start, meta_config_end},
    {"meta.crypto", meta_crypto_start, meta_crypto_end},
    {"meta.emit", meta_emit_start, meta_emit_end},
    {"meta.handler", meta_handler_start, meta_handler_end},
    {"meta.json", meta_json_start, meta_json_end},
    {"meta.log", meta_log_start, meta_log_end},
    {"meta.pattern", meta_pattern_start, meta_pattern_end},
    {"meta.record", meta_record_start, meta_record_end},
    {"meta.request", meta_request_start, meta_request_end},
    {"meta.time", meta_time_start, meta_time_end},
    {"meta.values", meta_values_start, meta_values_end},
};

static const char *source_at(size_t i, const char **name, size_t *size)
{
    const char *text = library_at(i, name, size);
    size_t of_library = 0;
    if (text)
        return text;
    while (library_at(of_library, name, size))
        of_library++;
    if (i - of_library >= sizeof metas / sizeof *metas)
        return NULL;
    *name = metas[i - of_library].name;
    *size = (size_t)(metas[i - of_library].end - metas[i - of_library].start);
    return metas[i - of_library].start;
}

const char *reference_source(size_t i, char **path, size_t *size)
{
    const char *name, *text = source_at(i, &name, size);
    if (!text)
        return NULL;
    *path = mem_printf("%s.lua", name);
    char *dot = strchr(*path, '.');
    if (strcmp(dot, ".lua") != 0)
        *dot = '/'; /* "tidemill.http.lua" */
    return text;
}

static void push_sources(lua_State *L)
{
    const char *name, *text;
    size_t size;
    lua_newtable(L);
    for (size_t i = 0; (text = source_at(i, &name, &size)); i++) {
        lua_pushlstring(L, text, size);
        lua_setfield(L, -2, name);
    }
}

/* Two values: the page or nil, and the list of names. */
static void run(lua_State *L, const char *name, bool markdown)
{
    bool well =
        luaL_loadbuffer(L, reference_script_start, (size_t)(reference_script_end - reference_script_start),
                        "=reference") == LUA_OK;
    push_sources(L);
    lua_pushstring(L, name);
    lua_pushstring(L, markdown ? "markdown" : "text");
    well = well && lua_pcall(L, 3, 2, 0) == LUA_OK;
    CHECK(well); /* all of it is ours */
}

char *reference_page(const char *name, bool markdown, char **names)
{
    lua_State *L = luaL_newstate();
    CHECK(L);
    luaL_openlibs(L);
    run(L, name, markdown);
    char *page = mem_string(lua_tostring(L, -2));
    struct buf list = BUF_INIT;
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TSTRING; i++) {
        buf_printf(&list, "%s%s", i > 1 ? " " : "", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    *names = mem_string(list.size ? list.data : "");
    buf_fini(&list);
    lua_close(L);
    return page;
}
