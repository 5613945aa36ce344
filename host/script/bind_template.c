/* bind_template.c: the raw verb under tidemill.template; lua/tidemill/template.lua does the rest.
 *
 *   raw.read(name) -> the text of scripts/templates/NAME, while the script loads; the script was made of it,
 * too
 */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "script/internal.h"

#define TEMPLATE_BYTES_MAX (1u << 20)

/* "mails/welcome.html"; nothing outside the directory can be named. */
static bool is_inside(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./";
    return *name && *name != '/' && *name != '.' && !name[strspn(name, letters)] && !strstr(name, "..") &&
           !strstr(name, "/.");
}

static int raw_read(lua_State *L)
{
    struct script *script = script_of(L);
    const char *name = script_check_text(L, 1);
    struct err err;
    size_t size;
    if (!is_inside(name))
        return luaL_error(L, "template: \"%s\" is no name of a file below scripts/templates", name);
    if (script->loaded) /* reading would hold up everything else on this thread */
        return luaL_error(L, "template: load \"%s\" while the script loads, outside of its functions", name);
    struct buf *text = script_buf(L), *path = script_buf(L);
    buf_add(path, script->lib, strlen(script->lib) - strlen("lib"));
    buf_printf(path, "templates/%s", name);
    char *bytes = file_read(path->data, TEMPLATE_BYTES_MAX, &size, &err);
    if (!bytes)
        return luaL_error(L, "template: %s", err.text);
    script_add_file(script, path->data, bytes, size);
    buf_add(text, bytes, size);
    free(bytes);
    lua_pushlstring(L, text->data, text->size);
    return 1;
}

int bind_template(lua_State *L)
{
    static const luaL_Reg verbs[] = {{"read", raw_read}, {NULL, NULL}};
    luaL_newlib(L, verbs);
    return 1;
}
