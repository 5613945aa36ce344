/* ini.c: a reader that feeds inih pieces it can hold, and puts the values together again. */
#include "conf/ini.h"

#include <ctype.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

/* inih's buffer holds 200 bytes with newline and NUL; a piece leaves room for its leading blank. */
#define PIECE_BYTES_MAX 190u
#define NAME_BYTES_MAX 49u

struct feed {
    const char *label;
    const char *at;    /* the next physical line */
    const char *piece; /* rest of the line being fed, or NULL */
    size_t piece_size;
    int line;         /* of what inih holds now, from 1 */
    bool joins;       /* the piece belongs to the value before it ... */
    bool splits_line; /* ... on the same physical line */
    ini_entry_fn *entry;
    void *user;
    struct problems *problems;
    char *section, *name;
    struct buf value;
    int value_line;
};

static void flush_entry(struct feed *feed)
{
    if (feed->name)
        feed->entry(feed->user, feed->section, feed->name, feed->value.data ? feed->value.data : "",
                    feed->value_line);
    free(feed->name);
    feed->name = NULL;
    buf_clear(&feed->value);
}

static int on_value(void *user, const char *section, const char *name, const char *value)
{
    (void)section;
    struct feed *feed = user;
    if (feed->joins && feed->name) {
        if (!feed->splits_line)
            buf_add_char(&feed->value, '\n');
    } else {
        flush_entry(feed);
        feed->name = mem_string(name);
        feed->value_line = feed->line;
    }
    buf_add_text(&feed->value, value);
    return 1;
}

/* inih's rule: a ';' behind white space starts a comment. */
static size_t without_comment(const char *line, size_t size)
{
    for (size_t i = 1; i < size; i++)
        if (line[i] == ';' && isspace((unsigned char)line[i - 1]))
            return i;
    return size;
}

static void open_section(struct feed *feed, const char *line, size_t size)
{
    const char *close = memchr(line, ']', size);
    flush_entry(feed);
    if (!close) {
        problems_add(feed->problems, "%s:%d: a section needs its closing ']'", feed->label, feed->line);
        return;
    }
    free(feed->section);
    feed->section = mem_copy(line + 1, (size_t)(close - line - 1));
    feed->entry(feed->user, feed->section, NULL, NULL, feed->line);
}

/* Look at one physical line; false: nothing of it goes to inih. */
static bool take_line(struct feed *feed, const char *line, size_t size)
{
    size_t blank = 0;
    while (blank < size && isspace((unsigned char)line[blank]))
        blank++;
    if (blank == size || line[blank] == ';' || line[blank] == '#')
        return false;
    size = without_comment(line, size);
    if (blank > 0 && feed->name) {
        feed->joins = true;
    } else if (line[blank] == '[') {
        open_section(feed, line + blank, size - blank);
        return false;
    } else {
        const char *equals = memchr(line, '=', size);
        if (!equals || equals == line + blank) {
            problems_add(feed->problems, "%s:%d: expected \"key = value\" or \"[section]\"", feed->label,
                         feed->line);
            return false;
        }
        if (equals - line > (long)NAME_BYTES_MAX) {
            problems_add(feed->problems, "%s:%d: a key has at most %u bytes", feed->label, feed->line,
                         NAME_BYTES_MAX);
            return false;
        }
        feed->joins = false;
    }
    feed->splits_line = false;
    feed->piece = line + blank;
    feed->piece_size = size - blank;
    return true;
}

/* Where to cut so that both sides survive inih's trimming and neither looks like a comment. */
static size_t cut(const char *text, size_t size)
{
    if (size <= PIECE_BYTES_MAX)
        return size;
    for (size_t i = PIECE_BYTES_MAX; i > NAME_BYTES_MAX + 2; i--)
        if (!isspace((unsigned char)text[i - 1]) && !isspace((unsigned char)text[i]) && text[i] != ';' &&
            text[i] != '#' && text[i] != '[' && text[i - 1] != '=')
            return i;
    return PIECE_BYTES_MAX;
}

static char *next_piece(char *out, int room, void *stream)
{
    struct feed *feed = stream;
    (void)room;
    while (!feed->piece) {
        if (!*feed->at)
            return NULL;
        const char *line = feed->at, *end = strchr(line, '\n');
        feed->at = end ? end + 1 : line + strlen(line);
        feed->line++;
        size_t size = end ? (size_t)(end - line) : strlen(line);
        if (feed->line == 1 && size >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
            line += 3, size -= 3;
        take_line(feed, line, size);
    }
    size_t size = cut(feed->piece, feed->piece_size), at = 0;
    if (feed->joins)
        out[at++] = ' ';
    memcpy(out + at, feed->piece, size);
    out[at + size] = '\n';
    out[at + size + 1] = '\0';
    feed->piece_size -= size;
    feed->piece = feed->piece_size ? feed->piece + size : NULL;
    return out;
}

/* inih asks for the next piece only after on_value for the one before: the marks are moved here. */
static char *feed_inih(char *out, int room, void *stream)
{
    struct feed *feed = stream;
    if (feed->piece)
        feed->joins = feed->splits_line = true;
    return next_piece(out, room, stream);
}

void ini_read(const char *label, const char *text, ini_entry_fn *entry, void *user, struct problems *problems)
{
    struct feed feed = {.label = label, .at = text, .entry = entry, .user = user, .problems = problems};
    feed.section = mem_string("");
    int wrong = ini_parse_stream(feed_inih, &feed, on_value, &feed);
    flush_entry(&feed);
    if (wrong)
        problems_add(problems, "%s:%d: not readable as an INI file", label, feed.line);
    buf_fini(&feed.value);
    free(feed.section);
}
