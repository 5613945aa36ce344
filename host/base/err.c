/* err.c: see err.h. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

bool err_setv(struct err *err, enum err_code code, const char *format, va_list args)
{
    if (!err)
        return false;
    err->code = code;
    err->http_status = 0;
    err->passes = PASSES_AS_CODED;
    err->queued_ms = 0;
    err->service[0] = '\0';
    if (vsnprintf(err->text, sizeof err->text, format, args) >= (int)sizeof err->text)
        utf8_trim(err->text);
    return false;
}

bool err_set(struct err *err, enum err_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err_setv(err, code, format, args);
    va_end(args);
    return false;
}

bool err_prefix(struct err *err, const char *format, ...)
{
    if (!err)
        return false;
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, format);
    int size = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (size >= 0 && (size_t)size < sizeof err->text)
        snprintf(err->text + size, sizeof err->text - (size_t)size, ": %s", old);
    utf8_trim(err->text);
    return false;
}
