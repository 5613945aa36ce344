/* utf8.c: see utf8.h. */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* The length of the character at `text`; 0: there is none. Table 3-7 of the Unicode standard. */
static size_t character_size(const unsigned char *text, size_t left)
{
    unsigned char first = text[0];
    if (first < 0x80)
        return 1;
    size_t size = first >= 0xc2 && first <= 0xdf   ? 2
                  : (first & 0xf0) == 0xe0         ? 3
                  : first >= 0xf0 && first <= 0xf4 ? 4
                                                   : 0;
    if (!size || left < size)
        return 0;
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

size_t utf8_valid_size(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        uint64_t word;
        if (size - at >= sizeof word) { /* mostly it is ASCII */
            memcpy(&word, text + at, sizeof word);
            if (!(word & 0x8080808080808080u)) {
                at += sizeof word;
                continue;
            }
        }
        size_t one = character_size((const unsigned char *)text + at, size - at);
        if (!one)
            return at;
        at += one;
    }
    return at;
}

size_t utf8_cut(const char *text, size_t size)
{
    size_t back = 0;
    while (back < 3 && back < size && ((unsigned char)text[size - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back < size && (unsigned char)text[size - 1 - back] >= 0xc0 &&
        !character_size((const unsigned char *)text + size - 1 - back, back + 1))
        return size - 1 - back;
    return size;
}

void utf8_trim(char *text)
{
    text[utf8_cut(text, strlen(text))] = '\0';
}

void utf8_write(struct buf *out, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t valid = utf8_valid_size(text + at, size - at);
        buf_add(out, text + at, valid);
        at += valid;
        if (at < size) {
            buf_add_literal(out, "\xef\xbf\xbd");
            at++;
        }
    }
}

/* The size of a control character there; 0: there is none. */
static size_t control_size(const unsigned char *at, size_t left)
{
    if ((*at < 0x20 && *at != '\n' && *at != '\t') || *at == 0x7f)
        return 1;
    if (left > 1 && at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
        return 2;
    if (left > 2 && at[0] == 0xe2 &&
        ((at[1] == 0x80 && at[2] >= 0xaa && at[2] <= 0xae) ||
         (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9)))
        return 3;
    return 0;
}

char *utf8_copy(const char *text)
{
    struct buf valid = BUF_INIT;
    utf8_write(&valid, text, strlen(text));
    return buf_take(&valid);
}

static size_t plain_size(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size && text[at] >= ' ' && text[at] <= '~')
        at++;
    return at;
}

void utf8_write_printable(struct buf *out, const char *text, size_t size)
{
    struct buf valid = BUF_INIT;
    size_t plain = plain_size(text, size);
    buf_add(out, text, plain); /* most of what is written is nothing else */
    if (plain == size)
        return;
    utf8_write(&valid, text + plain, size - plain);
    for (size_t i = 0; i < valid.size;) {
        size_t control = control_size((const unsigned char *)valid.data + i, valid.size - i);
        buf_add_char(out, control ? '?' : valid.data[i]);
        i += control ? control : 1;
    }
    buf_fini(&valid);
}
