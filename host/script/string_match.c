/* string_match.c: a backtracking matcher whose recursion is as deep as the pattern has items, never as the
 * subject is long, and which counts its steps. */
#include "script/string_match.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#define CAPTURES_MAX 32
#define DEPTH_MAX 200
#define STEPS_PER_TICK 20000

#define CAPTURE_OPEN (-1)
#define CAPTURE_POSITION (-2)

struct capture {
    const char *start;
    ptrdiff_t size; /* or one of the two above */
};

struct match {
    lua_State *L;
    const struct string_match_limits *limits;
    const char *subject, *subject_end, *pattern_end;
    unsigned steps;
    int depth, count;
    struct capture captures[CAPTURES_MAX];
};

static const char *run(struct match *m, const char *s, const char *p);

/* `n` more steps. */
static void step(struct match *m, size_t n)
{
    m->steps += n < STEPS_PER_TICK ? (unsigned)n : STEPS_PER_TICK;
    if (m->steps < STEPS_PER_TICK)
        return;
    m->steps = 0;
    m->limits->tick(m->L);
}

/* ---- one character ---- */

static bool in_class(int c, int class)
{
    bool in;
    switch (tolower(class)) {
    case 'a':
        in = isalpha(c);
        break;
    case 'c':
        in = iscntrl(c);
        break;
    case 'd':
        in = isdigit(c);
        break;
    case 'g':
        in = isgraph(c);
        break;
    case 'l':
        in = islower(c);
        break;
    case 'p':
        in = ispunct(c);
        break;
    case 's':
        in = isspace(c);
        break;
    case 'u':
        in = isupper(c);
        break;
    case 'w':
        in = isalnum(c);
        break;
    case 'x':
        in = isxdigit(c);
        break;
    default:
        return class == c;
    }
    return isupper(class) ? !in : in;
}

/* `p` stands behind the opening bracket; `end` at the closing one. */
static bool in_set(int c, const char *p, const char *end)
{
    bool wanted = *p != '^';
    for (p += !wanted; p < end; p++) {
        if (*p == '%') {
            p++;
            if (in_class(c, (unsigned char)*p))
                return wanted;
        } else if (p + 2 < end && p[1] == '-') {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
                return wanted;
            p += 2;
        } else if ((unsigned char)*p == c) {
            return wanted;
        }
    }
    return !wanted;
}

/* Behind the item that begins at `p`. */
static const char *item_end(struct match *m, const char *p)
{
    if (*p == '%') {
        if (p + 1 == m->pattern_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 2;
    }
    if (*p++ != '[')
        return p;
    if (p < m->pattern_end && *p == '^')
        p++;
    do { /* a bracket that comes first stands for itself */
        if (p == m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%' && p < m->pattern_end)
            p++;
    } while (p == m->pattern_end || *p != ']');
    return p + 1;
}

static bool matches_one(struct match *m, const char *s, const char *p, const char *end)
{
    if (s >= m->subject_end)
        return false;
    int c = (unsigned char)*s;
    switch (*p) {
    case '.':
        return true;
    case '%':
        return in_class(c, (unsigned char)p[1]);
    case '[':
        step(m, (size_t)(end - p)); /* a set may be long */
        return in_set(c, p + 1, end - 1);
    default:
        return (unsigned char)*p == c;
    }
}

/* ---- items that are more than a character ---- */

/* %bxy */
static const char *balanced(struct match *m, const char *s, const char *p)
{
    int open = 1;
    if (p + 1 >= m->pattern_end)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->subject_end || *s != *p)
        return NULL;
    for (s++; s < m->subject_end; s++) {
        step(m, 1);
        if (*s == p[1] && --open == 0)
            return s + 1;
        if (*s != p[1] && *s == *p)
            open++;
    }
    return NULL;
}

/* %f[set]: NULL, or behind the set. */
static const char *frontier(struct match *m, const char *s, const char *p)
{
    if (p >= m->pattern_end || *p != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");
    const char *end = item_end(m, p);
    int before = s == m->subject ? 0 : (unsigned char)s[-1];
    int after = s < m->subject_end ? (unsigned char)*s : 0;
    step(m, (size_t)(end - p));
    return !in_set(before, p + 1, end - 1) && in_set(after, p + 1, end - 1) ? end : NULL;
}

/* %1 to %9 */
static const char *repeated(struct match *m, const char *s, int digit)
{
    int which = digit - '1';
    if (which < 0 || which >= m->count || m->captures[which].size == CAPTURE_OPEN)
        luaL_error(m->L, "invalid capture index %%%d", which + 1);
    /* A position capture has no text, and matches none. */
    size_t size = (size_t)m->captures[which].size;
    if ((size_t)(m->subject_end - s) < size)
        return NULL;
    step(m, size);
    return memcmp(s, m->captures[which].start, size) == 0 ? s + size : NULL;
}

static const char *open_capture(struct match *m, const char *s, const char *p, ptrdiff_t kind)
{
    if (m->count >= CAPTURES_MAX)
        luaL_error(m->L, "too many captures");
    m->captures[m->count++] = (struct capture){s, kind};
    const char *end = run(m, s, p);
    if (!end)
        m->count--;
    return end;
}

static const char *close_capture(struct match *m, const char *s, const char *p)
{
    int which = m->count - 1;
    while (which >= 0 && m->captures[which].size != CAPTURE_OPEN)
        which--;
    if (which < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->captures[which].size = s - m->captures[which].start;
    const char *end = run(m, s, p);
    if (!end)
        m->captures[which].size = CAPTURE_OPEN;
    return end;
}

/* ---- repetition of the item p..end; the rest of the pattern is behind its sign ---- */

static const char *longest_first(struct match *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t count = 0;
    while (matches_one(m, s + count, p, end)) {
        count++;
        step(m, 1);
    }
    for (; count >= 0; count--) {
        const char *rest = run(m, s + count, end + 1);
        if (rest)
            return rest;
    }
    return NULL;
}

static const char *shortest_first(struct match *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        const char *rest = run(m, s, end + 1);
        if (rest)
            return rest;
        if (!matches_one(m, s, p, end))
            return NULL;
    }
}

/* ---- the pattern from `p` on at `s`: where the match ends, or NULL ---- */

/* %b, %f and %1: what they need of the subject. `*next` is set to the rest of the pattern; false: `p` is none
 * of these. */
static bool special(struct match *m, const char **s, const char *p, const char **next)
{
    int which = p + 1 < m->pattern_end ? (unsigned char)p[1] : 0;
    if (*p != '%')
        return false;
    if (which == 'b') {
        *s = balanced(m, *s, p + 2);
        *next = p + 4;
    } else if (which == 'f') {
        *next = frontier(m, *s, p + 2);
        *s = *next ? *s : NULL;
    } else if (isdigit(which)) {
        *s = repeated(m, *s, which);
        *next = p + 2;
    } else {
        return false;
    }
    return true;
}

/* As far as it goes without branching: what a branch returns is the result. */
static const char *run_items(struct match *m, const char *s, const char *p)
{
    while (s && p < m->pattern_end) {
        step(m, 1);
        if (*p == '(')
            return p + 1 < m->pattern_end && p[1] == ')' ? open_capture(m, s, p + 2, CAPTURE_POSITION)
                                                         : open_capture(m, s, p + 1, CAPTURE_OPEN);
        if (*p == ')')
            return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end)
            return s == m->subject_end ? s : NULL;
        if (special(m, &s, p, &p))
            continue;
        const char *end = item_end(m, p), *rest;
        char sign = end < m->pattern_end ? *end : '\0';
        if (!matches_one(m, s, p, end)) {
            s = sign == '*' || sign == '?' || sign == '-' ? s : NULL; /* which may also stand for nothing */
            p = end + 1;
            continue;
        }
        switch (sign) {
        case '?':
            rest = run(m, s + 1, end + 1);
            if (rest)
                return rest;
            p = end + 1;
            break;
        case '+':
            return longest_first(m, s + 1, p, end);
        case '*':
            return longest_first(m, s, p, end);
        case '-':
            return shortest_first(m, s, p, end);
        default:
            s++;
            p = end;
        }
    }
    return s;
}

static const char *run(struct match *m, const char *s, const char *p)
{
    if (++m->depth > DEPTH_MAX)
        luaL_error(m->L, "pattern too complex");
    const char *end = run_items(m, s, p);
    m->depth--;
    return end;
}

static const char *match_at(struct match *m, const char *s, const char *pattern)
{
    m->depth = m->count = 0;
    return run(m, s, pattern);
}

/* ---- results ---- */

/* Capture `which` of the match s..e; without captures, the first is the whole match. */
static void push_capture(struct match *m, int which, const char *s, const char *e)
{
    if (which >= m->count) {
        if (which != 0)
            luaL_error(m->L, "invalid capture index %%%d", which + 1);
        lua_pushlstring(m->L, s, (size_t)(e - s));
        return;
    }
    const struct capture *capture = &m->captures[which];
    if (capture->size == CAPTURE_OPEN)
        luaL_error(m->L, "unfinished capture");
    if (capture->size == CAPTURE_POSITION)
        lua_pushinteger(m->L, capture->start - m->subject + 1);
    else
        lua_pushlstring(m->L, capture->start, (size_t)capture->size);
}

/* All captures; without any, the whole match where `s` is given. */
static int push_captures(struct match *m, const char *s, const char *e)
{
    int count = m->count == 0 && s ? 1 : m->count;
    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(m, i, s, e);
    return count;
}

static struct match prepare(lua_State *L, const char *subject, size_t subject_size, const char *pattern,
                            size_t pattern_size)
{
    return (struct match){
        .L = L,
        .limits = lua_touserdata(L, lua_upvalueindex(1)),
        .subject = subject,
        .subject_end = subject + subject_size,
        .pattern_end = pattern + pattern_size,
    };
}

/* From 0; one behind the end of a subject of `size` when it lies outside. */
static size_t start_of(lua_State *L, int index, size_t size)
{
    lua_Integer at = luaL_optinteger(L, index, 1);
    if (at > 0)
        return (lua_Unsigned)at - 1 > size ? size + 1 : (size_t)at - 1;
    if (at == 0 || at < -(lua_Integer)size)
        return 0;
    return size - (size_t)-at;
}

/* ---- find and match ---- */

static bool is_plain(const char *pattern, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (pattern[i] && strchr("^$*+?.([%-", pattern[i]))
            return false;
    return true;
}

static int find_plain(lua_State *L, const char *subject, size_t size, size_t start, const char *text,
                      size_t text_size)
{
    const char *found = memmem(subject + start, size - start, text, text_size);
    if (!found) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, found - subject + 1);
    lua_pushinteger(L, found - subject + (lua_Integer)text_size);
    return 2;
}

static int find_or_match(lua_State *L, bool find)
{
    size_t size, pattern_size;
    const char *subject = luaL_checklstring(L, 1, &size), *pattern = luaL_checklstring(L, 2, &pattern_size);
    size_t start = start_of(L, 3, size);
    if (start > size) {
        luaL_pushfail(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || is_plain(pattern, pattern_size)))
        return find_plain(L, subject, size, start, pattern, pattern_size);
    struct match m = prepare(L, subject, size, pattern, pattern_size);
    bool anchored = pattern_size && *pattern == '^';
    for (const char *s = subject + start; s <= m.subject_end; s++) {
        const char *e = match_at(&m, s, pattern + anchored);
        if (e && !find)
            return push_captures(&m, s, e);
        if (e) {
            lua_pushinteger(L, s - subject + 1);
            lua_pushinteger(L, e - subject);
            return push_captures(&m, NULL, NULL) + 2;
        }
        if (anchored)
            break;
    }
    luaL_pushfail(L);
    return 1;
}

static int string_find(lua_State *L)
{
    return find_or_match(L, true);
}

static int string_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* ---- gmatch ---- */

/* Upvalues: limits, subject, pattern, where to go on, where the last match ended (-1: none yet). */
static int next_match(lua_State *L)
{
    size_t size, pattern_size;
    const char *subject = lua_tolstring(L, lua_upvalueindex(2), &size);
    const char *pattern = lua_tolstring(L, lua_upvalueindex(3), &pattern_size);
    lua_Integer start = lua_tointeger(L, lua_upvalueindex(4)), last = lua_tointeger(L, lua_upvalueindex(5));
    struct match m = prepare(L, subject, size, pattern, pattern_size);
    for (; start <= (lua_Integer)size; start++) {
        const char *s = subject + start, *e = match_at(&m, s, pattern);
        if (!e || e - subject == last)
            continue;
        lua_pushinteger(L, e - subject);
        lua_pushvalue(L, -1);
        lua_replace(L, lua_upvalueindex(4));
        lua_replace(L, lua_upvalueindex(5));
        return push_captures(&m, s, e);
    }
    lua_pushinteger(L, start);
    lua_replace(L, lua_upvalueindex(4));
    return 0;
}

static int string_gmatch(lua_State *L)
{
    size_t size;
    luaL_checklstring(L, 1, &size);
    luaL_checkstring(L, 2);
    size_t start = start_of(L, 3, size);
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_pushinteger(L, (lua_Integer)start);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, next_match, 5);
    return 1;
}

/* ---- gsub ---- */

/* The replacement with its %0 to %9 filled in. */
static void add_filled(struct match *m, luaL_Buffer *out, const char *s, const char *e)
{
    size_t size;
    const char *text = lua_tolstring(m->L, 3, &size), *end = text + size;
    for (const char *sign; (sign = memchr(text, '%', (size_t)(end - text))); text = sign + 2) {
        int c = sign + 1 < end ? (unsigned char)sign[1] : 0;
        luaL_addlstring(out, text, (size_t)(sign - text));
        if (c == '%') {
            luaL_addchar(out, '%');
        } else if (c == '0') {
            luaL_addlstring(out, s, (size_t)(e - s));
        } else if (isdigit(c)) {
            push_capture(m, c - '1', s, e);
            luaL_addvalue(out); /* a position's number becomes text */
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
    }
    luaL_addlstring(out, text, (size_t)(end - text));
}

/* What stands for the match s..e; true when it is something else than before. */
static bool add_replacement(struct match *m, luaL_Buffer *out, int type, const char *s, const char *e)
{
    lua_State *L = m->L;
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, e), 1);
    } else if (type == LUA_TTABLE) {
        push_capture(m, 0, s, e);
        lua_gettable(L, 3);
    } else {
        add_filled(m, out, s, e);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, s, (size_t)(e - s));
        return false;
    }
    if (!lua_isstring(L, -1))
        return luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1)) != 0;
    luaL_addvalue(out);
    return true;
}

static int string_gsub(lua_State *L)
{
    size_t size, pattern_size;
    const char *subject = luaL_checklstring(L, 1, &size), *pattern = luaL_checklstring(L, 2, &pattern_size);
    int type = lua_type(L, 3);
    lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)size + 1), count = 0;
    luaL_argexpected(
        L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
        "string/function/table");
    struct match m = prepare(L, subject, size, pattern, pattern_size);
    bool anchored = pattern_size && *pattern == '^', changed = false;
    const char *s = subject, *last = NULL;
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    while (count < max) {
        const char *e = match_at(&m, s, pattern + anchored);
        if (e && e != last) {
            count++;
            changed = add_replacement(&m, &out, type, s, e) || changed;
            s = last = e;
        } else if (s < m.subject_end) {
            luaL_addchar(&out, *s++);
        } else {
            break;
        }
        if (anchored)
            break;
    }
    if (changed) {
        luaL_addlstring(&out, s, (size_t)(m.subject_end - s));
        luaL_pushresult(&out);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
}

void string_match_open(lua_State *L, const struct string_match_limits *limits)
{
    static const luaL_Reg functions[] = {{"find", string_find},
                                         {"match", string_match},
                                         {"gmatch", string_gmatch},
                                         {"gsub", string_gsub},
                                         {NULL, NULL}};
    lua_pushlightuserdata(L, (void *)limits);
    luaL_setfuncs(L, functions, 1);
}
