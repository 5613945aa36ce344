/* err.h: an error is a value with one sentence a user can act on.
 *
 * A function that can fail returns bool and takes a `struct err *` last: false fills it. The sentence
 * is made where the cause is known and is never printed below cmd/ except through the log. */
#ifndef TIDEMILL_BASE_ERR_H
#define TIDEMILL_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum err_code {
    ERR_NONE = 0,
    ERR_CONFIG,    /* the user's INI or script is wrong */
    ERR_PARSE,     /* bytes that are not what they should be */
    ERR_IO,        /* a file or the operating system said no */
    ERR_NETWORK,   /* no usable answer arrived: connect, TLS, cut connection */
    ERR_TIMEOUT,   /* a bound in time was passed */
    ERR_SERVICE,   /* the service answered with an error; err.service names it */
    ERR_SCRIPT,    /* Lua raised */
    ERR_BUSY,      /* somebody else holds it */
    ERR_CANCELLED, /* we gave up on purpose */
    ERR_LIMIT,     /* a named bound was passed */
    ERR_RESOURCES, /* this machine has no more to give (descriptors); nobody was asked anything */
};

/* Will the same thing go well another time? */
enum err_passes {
    PASSES_AS_CODED, /* as its code, the service's code and the HTTP status say */
    PASSES_LATER,
    PASSES_NEVER,
};

struct err {
    enum err_code code;
    enum err_passes passes;
    int http_status;   /* of ERR_SERVICE, else 0 */
    int64_t queued_ms; /* how long a call waited for its turn before it failed, else 0 */
    char service[64];  /* the service's own error code, such as "ThrottlingException", else "" */
    char text[1024];   /* one sentence, no newline at its end */
};

/* Both fill `err` (which may be NULL; it passes as coded) and return false, so that `return err_set(...)`
 * reads well. */
bool err_set(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool err_setv(struct err *err, enum err_code code, const char *format, va_list args);

/* Put "<prefix>: " before the sentence that is there. Returns false. */
bool err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
