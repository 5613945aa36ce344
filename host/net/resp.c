/* resp.c: see resp.h. */
#include "net/resp.h"

#include <stdlib.h>
#include <string.h>

void resp_add_list(struct buf *out, size_t count)
{
    buf_printf(out, "*%zu\r\n", count);
}

void resp_add_word(struct buf *out, const char *text, size_t size)
{
    buf_printf(out, "$%zu\r\n", size);
    buf_add(out, text, size);
    buf_add_literal(out, "\r\n");
}

void resp_add_text(struct buf *out, const char *text)
{
    if (text)
        resp_add_word(out, text, strlen(text));
    else
        buf_add_literal(out, "$-1\r\n");
}

void resp_add_integer(struct buf *out, int64_t number)
{
    buf_printf(out, ":%lld\r\n", (long long)number);
}

bool resp_has_more(const struct resp *resp)
{
    return resp->at < resp->end;
}

/* "*2\r\n" or "$3\r\n" */
static long take_size(struct resp *resp)
{
    char *rest;
    long size = strtol(resp->at + 1, &rest, 10);
    resp->at = rest + 2;
    return size;
}

size_t resp_take_list(struct resp *resp)
{
    return (size_t)take_size(resp);
}

const char *resp_take_word(struct resp *resp, size_t *size)
{
    long bytes = take_size(resp);
    const char *word = resp->at;
    *size = 0;
    if (bytes < 0)
        return NULL;
    *size = (size_t)bytes;
    resp->at += bytes + 2;
    return word;
}
