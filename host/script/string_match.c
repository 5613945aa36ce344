/* string_match.c: a backtracking matcher whose recursion is as deep as the pattern has items, never as the
 * subject is long, and which counts its steps. Between two places of the subject it makes room for others; at
 * one place it may take so many steps and no more. */
#include "script/string_match.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "script/internal.h"

#define CAPTURES_MAX 32
#define DEPTH_MAX 200
#define STEPS_PER_TICK 20000
/* At one place: for what backtracks, and for what passes a long text a few times. Some 20 ms. */
#define STEPS_MAX 4000000
#define PASSES_MAX 4

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
    bool ticked; /* since it was last asked whether others should have their turn */
    size_t left; /* steps at this place */
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
    m->ticked = true;
    m->limits->tick(m->L);
    if (m->left < STEPS_PER_TICK)
        luaL_error(m->L,
                   "the pattern backtracks too much on this text: more than %d steps at one place of it",
                   (int)STEPS_MAX);
    m->left -= STEPS_PER_TICK;
}

static bool should_make_room(struct match *m)
{
    if (!m->ticked)
        return false;
    m->ticked = false;
    return m->limits->should_make_room(m->L);
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
    m->left = STEPS_MAX + PASSES_MAX * (size_t)(m->subject_end - s);
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

static int find_more(lua_State *L, int status, lua_KContext start);
static int match_more(lua_State *L, int status, lua_KContext start);

/* The arguments stand at 1 to 4; from `start` on. */
static int find_from(lua_State *L, bool find, size_t start)
{
    size_t size, pattern_size;
    const char *subject = lua_tolstring(L, 1, &size), *pattern = lua_tolstring(L, 2, &pattern_size);
    struct match m = prepare(L, subject, size, pattern, pattern_size);
    bool anchored = pattern_size && *pattern == '^';
    for (const char *s = subject + start; s <= m.subject_end; s++) {
        if (should_make_room(&m))
            return m.limits->make_room(L, (lua_KContext)(s - subject), find ? find_more : match_more);
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

static int find_more(lua_State *L, int status, lua_KContext start)
{
    (void)status;
    return find_from(L, true, (size_t)start);
}

static int match_more(lua_State *L, int status, lua_KContext start)
{
    (void)status;
    return find_from(L, false, (size_t)start);
}

/* Numbers are made text in their places: what follows reads them there. */
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
    lua_settop(L, 4);
    return find_from(L, find, start);
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
static int next_match(lua_State *L);

static int next_more(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return next_match(L);
}

static int next_match(lua_State *L)
{
    size_t size, pattern_size;
    const char *subject = lua_tolstring(L, lua_upvalueindex(2), &size);
    const char *pattern = lua_tolstring(L, lua_upvalueindex(3), &pattern_size);
    lua_Integer start = lua_tointeger(L, lua_upvalueindex(4)), last = lua_tointeger(L, lua_upvalueindex(5));
    struct match m = prepare(L, subject, size, pattern, pattern_size);
    for (; start <= (lua_Integer)size; start++) {
        if (should_make_room(&m)) {
            lua_pushinteger(L, start);
            lua_replace(L, lua_upvalueindex(4));
            return m.limits->make_room(L, 0, next_more);
        }
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

/* Where a gsub stands, on the stack at 5: it lets others have their turn, and so may what it calls. */
struct gsub {
    size_t at, match_end;   /* in the subject: where it goes on; the end of the match that begins there */
    ptrdiff_t last;         /* the end of the last match; -1: none */
    lua_Integer max, count; /* of replacements */
    bool anchored, changed;
    struct buf out;
    size_t held; /* of it, while a function of the script's runs: it may never come back */
    const struct string_match_limits *limits;
};

static const char gsub_name[] = "tidemill.gsub";

static void hold_out(lua_State *L, struct gsub *gsub, size_t bytes)
{
    if (bytes != gsub->held)
        gsub->limits->hold(L, (ptrdiff_t)bytes - (ptrdiff_t)gsub->held);
    gsub->held = bytes;
}

static void free_gsub(lua_State *L, void *object)
{
    struct gsub *gsub = object;
    if (L && gsub->held)
        hold_out(L, gsub, 0);
    buf_fini(&gsub->out);
}

#define LARGE_REPLACEMENT 65536u

/* The replacement is on top of the stack: what the function, the table or the text said. */
static void take_replacement(lua_State *L, struct gsub *gsub, const char *subject)
{
    const struct string_match_limits *limits = gsub->limits;
    size_t size = 0;
    const char *text = lua_tolstring(L, -1, &size); /* NULL: it is none */
    if (size >= LARGE_REPLACEMENT) {                /* a few of them are as much as many steps */
        limits->tick(L);
        if (limits->too_large(L, gsub->out.size + size))
            luaL_error(L, "not enough memory");
    }
    if (!lua_toboolean(L, -1)) {
        buf_add(&gsub->out, subject + gsub->at, gsub->match_end - gsub->at);
    } else if (text) {
        buf_add(&gsub->out, text, size);
        gsub->changed = true;
    } else {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
    gsub->at = gsub->match_end;
    lua_settop(L, 5);
}

static int gsub_go_on(lua_State *L);

static int gsub_called(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    hold_out(L, state_owned(L, 5), 0);
    take_replacement(L, state_owned(L, 5), lua_tostring(L, 1));
    return gsub_go_on(L);
}

static int gsub_more(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return gsub_go_on(L);
}

/* What stands for the match that was found, onto the stack. */
static void push_replacement(struct match *m, struct gsub *gsub)
{
    lua_State *L = m->L;
    const char *s = m->subject + gsub->at, *e = m->subject + gsub->match_end;
    if (lua_type(L, 3) == LUA_TTABLE) {
        push_capture(m, 0, s, e);
        lua_gettable(L, 3);
        return;
    }
    luaL_Buffer filled;
    luaL_buffinit(L, &filled);
    add_filled(m, &filled, s, e);
    luaL_pushresult(&filled);
}

static int gsub_end(lua_State *L, struct gsub *gsub, const char *subject, size_t size)
{
    if (gsub->changed) {
        buf_add(&gsub->out, subject + gsub->at, size - gsub->at);
        lua_pushlstring(L, gsub->out.data ? gsub->out.data : "", gsub->out.size);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, gsub->count);
    return 2;
}

/* More than the handler's memory could hold is not gathered outside of it. */
static void check_size(lua_State *L, const struct gsub *gsub, const struct match *m)
{
    if (m->limits->too_large(L, gsub->out.size))
        luaL_error(L, "not enough memory");
}

static int gsub_go_on(lua_State *L)
{
    struct gsub *gsub = state_owned(L, 5);
    size_t size, pattern_size;
    const char *subject = lua_tolstring(L, 1, &size), *pattern = lua_tolstring(L, 2, &pattern_size);
    struct match m = prepare(L, subject, size, pattern, pattern_size);
    bool first = gsub->at == 0 && gsub->count == 0;
    while (gsub->count < gsub->max && (first || !gsub->anchored)) {
        const char *s = subject + gsub->at;
        if (should_make_room(&m)) {
            check_size(L, gsub, &m);
            return m.limits->make_room(L, 0, gsub_more);
        }
        const char *e = match_at(&m, s, pattern + gsub->anchored);
        first = false;
        if (e && e - subject != gsub->last) {
            gsub->count++;
            gsub->last = e - subject;
            gsub->match_end = (size_t)(e - subject);
            if (lua_type(L, 3) == LUA_TFUNCTION) {
                lua_pushvalue(L, 3);
                int captures = push_captures(&m, s, e);
                hold_out(L, gsub, gsub->out.capacity);
                lua_callk(L, captures, 1, 0, gsub_called);
                hold_out(L, gsub, 0);
                take_replacement(L, gsub, subject);
                continue;
            }
            push_replacement(&m, gsub);
            take_replacement(L, gsub, subject);
        } else if (s < m.subject_end) {
            buf_add_char(&gsub->out, *s);
            gsub->at++;
        } else {
            break;
        }
    }
    check_size(L, gsub, &m);
    return gsub_end(L, gsub, subject, size);
}

static int string_gsub(lua_State *L)
{
    size_t size, pattern_size;
    luaL_checklstring(L, 1, &size);
    const char *pattern = luaL_checklstring(L, 2, &pattern_size);
    int type = lua_type(L, 3);
    lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)size + 1);
    luaL_argexpected(
        L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
        "string/function/table");
    lua_settop(L, 4);
    const struct string_match_limits *limits = lua_touserdata(L, lua_upvalueindex(1));
    struct gsub *gsub =
        state_push_owned(L, limits->owned ? limits->owned(L) : NULL, sizeof *gsub, gsub_name, free_gsub);
    gsub->limits = limits;
    gsub->last = -1;
    gsub->max = max;
    gsub->anchored = pattern_size && *pattern == '^';
    return gsub_go_on(L);
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
    state_open_owned(L, gsub_name);
}
