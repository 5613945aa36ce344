/* coverage.c: which lines of a chunk can run, and which do: for an observer that asks (tidemill test
 * --cover).
 *
 * Lua tells the lines of a function that exists; those of one that nobody has made yet stand in its maker's
 * code only. So the chunk is dumped, and the lines are read off that: the format is Lua 5.4's own
 * (its source, ldump.c), checked by its header; of another one nothing is told but what runs. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/internal.h"

#define FORMAT_5_4 0x54
#define LINE_ELSEWHERE (-128) /* in the list of absolute ones */
#define TYPE_INTEGER 0x03
#define TYPE_FLOAT 0x13
#define TYPE_SHORT_STRING 0x04
#define TYPE_LONG_STRING 0x14
#define NESTED_MAX 200

struct dump {
    const unsigned char *at, *end;
    bool broken;
    unsigned char *active; /* by line */
    size_t lines;
};

static unsigned take_byte(struct dump *dump)
{
    if (dump->at >= dump->end) {
        dump->broken = true;
        return 0;
    }
    return *dump->at++;
}

/* Seven bits a byte, the highest first, the last one marked. */
static size_t take_size(struct dump *dump)
{
    size_t size = 0;
    unsigned byte;
    do {
        byte = take_byte(dump);
        size = size << 7 | (byte & 0x7f);
    } while (!(byte & 0x80) && !dump->broken);
    return size;
}

static const unsigned char *take(struct dump *dump, size_t size)
{
    const unsigned char *at = dump->at;
    if (dump->broken || size > (size_t)(dump->end - dump->at)) {
        dump->broken = true;
        return NULL;
    }
    dump->at += size;
    return at;
}

static void skip_string(struct dump *dump)
{
    size_t size = take_size(dump);
    if (size)
        take(dump, size - 1);
}

static void skip_constants(struct dump *dump)
{
    for (size_t count = take_size(dump); count && !dump->broken; count--) {
        unsigned type = take_byte(dump);
        if (type == TYPE_INTEGER)
            take(dump, sizeof(lua_Integer));
        else if (type == TYPE_FLOAT)
            take(dump, sizeof(lua_Number));
        else if (type == TYPE_SHORT_STRING || type == TYPE_LONG_STRING)
            skip_string(dump);
    }
}

static void note_line(struct dump *dump, size_t line)
{
    if (line < dump->lines)
        dump->active[line] = 1;
}

/* The lines of the instructions; but for the last one, which is the `end`, and the first of a function with
 * `...`, which is no line's. */
static void read_lines(struct dump *dump, size_t line, bool variadic)
{
    size_t count = take_size(dump);
    const signed char *steps = (const signed char *)take(dump, count);
    size_t absolute = take_size(dump), next_at = absolute ? take_size(dump) : 0,
           next_line = absolute ? take_size(dump) : 0;
    for (size_t i = 0; steps && i < count && !dump->broken; i++) {
        if (absolute && next_at == i) {
            line = next_line;
            absolute--;
            next_at = absolute ? take_size(dump) : 0;
            next_line = absolute ? take_size(dump) : 0;
        } else if (steps[i] != LINE_ELSEWHERE) {
            line += (size_t)(ptrdiff_t)steps[i];
        }
        if (i + 1 < count && (i || !variadic))
            note_line(dump, line);
    }
}

static void read_function(struct dump *dump, int depth)
{
    skip_string(dump); /* where it is from */
    size_t line = take_size(dump);
    take_size(dump);
    take_byte(dump);
    bool variadic = take_byte(dump);
    take_byte(dump);
    take(dump, take_size(dump) * 4);
    skip_constants(dump);
    take(dump, take_size(dump) * 3);
    dump->broken = dump->broken || depth > NESTED_MAX;
    for (size_t count = take_size(dump); count && !dump->broken; count--)
        read_function(dump, depth + 1);
    read_lines(dump, line, variadic);
    for (size_t count = take_size(dump); count && !dump->broken; count--) {
        skip_string(dump);
        take_size(dump);
        take_size(dump);
    }
    for (size_t count = take_size(dump); count && !dump->broken; count--)
        skip_string(dump);
}

static bool read_header(struct dump *dump)
{
    static const char mark[] = "\x19\x93\r\n\x1a\n";
    const unsigned char *signature = take(dump, 4), *version = take(dump, 2), *data = take(dump, 6),
                        *sizes = take(dump, 3);
    take(dump, sizeof(lua_Integer) + sizeof(lua_Number));
    take_byte(dump); /* upvalues */
    return !dump->broken && memcmp(signature, LUA_SIGNATURE, 4) == 0 && version[0] == FORMAT_5_4 &&
           !version[1] && memcmp(data, mark, 6) == 0 && sizes[0] == 4 && sizes[1] == sizeof(lua_Integer) &&
           sizes[2] == sizeof(lua_Number);
}

static int write_piece(lua_State *L, const void *piece, size_t size, void *user)
{
    (void)L;
    buf_add(user, piece, size);
    return 0;
}

void coverage_tell_lines(lua_State *L, const struct observer *observer, const char *path, size_t lines)
{
    struct buf text = BUF_INIT;
    lua_dump(L, write_piece, &text, 0);
    struct dump dump = {.at = (const unsigned char *)text.data,
                        .end = (const unsigned char *)text.data + text.size,
                        .lines = lines + 2};
    dump.active = mem_zero(dump.lines);
    if (read_header(&dump))
        read_function(&dump, 0);
    for (size_t line = 1; line < dump.lines && !dump.broken; line++)
        if (dump.active[line])
            observer->ran(observer->user, path, line, false);
    free(dump.active);
    buf_fini(&text);
}

void coverage_count(lua_State *L, const struct observer *observer, lua_Debug *activation)
{
    lua_getinfo(L, "S", activation);
    if (*activation->source == '@' && activation->currentline > 0)
        observer->ran(observer->user, activation->source + 1, (size_t)activation->currentline, true);
}
