/* buf.h: bytes that grow. A value: zero it or use BUF_INIT, and buf_fini when done. */
#ifndef TIDEMILL_BASE_BUF_H
#define TIDEMILL_BASE_BUF_H

#include <stddef.h>

struct buf {
    char *data; /* always NUL-terminated once anything was added; NULL before */
    size_t size;
    size_t capacity;
};

#define BUF_INIT ((struct buf){0})

void buf_fini(struct buf *buf);
void buf_fini_secret(struct buf *buf);           /* wipes it first */
void buf_clear(struct buf *buf);                 /* size 0, memory kept */
void buf_reserve(struct buf *buf, size_t extra); /* room for `extra` more bytes and a NUL */
void buf_add(struct buf *buf, const void *bytes, size_t size);
void buf_add_text(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The text, to be freed by the caller; the buf is empty after. Never NULL. */
char *buf_take(struct buf *buf);

static inline void buf_add_char(struct buf *buf, char c)
{
    if (buf->size + 1 >= buf->capacity)
        buf_reserve(buf, 1);
    buf->data[buf->size++] = c;
    buf->data[buf->size] = '\0';
}

/* A literal without strlen. */
#define buf_add_literal(buf, literal) buf_add((buf), "" literal, sizeof(literal) - 1)

#endif
