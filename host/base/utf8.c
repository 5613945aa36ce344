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

void utf8_trim(char *text)
{
    size_t size = strlen(text), back = 0;
    while (back < 3 && back < size && ((unsigned char)text[size - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back < size && (unsigned char)text[size - 1 - back] >= 0xc0 &&
        !character_size((const unsigned char *)text + size - 1 - back, back + 1))
        text[size - 1 - back] = '\0';
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
