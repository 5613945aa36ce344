/* json_scalar.c: see json_scalar.h. */
#include "base/json_scalar.h"

#include <string.h>

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

const char *json_number_end(const char *at, const char *end, const char **problem)
{
    const char *digits = at += *at == '-';
    at = skip_digits(at, end);
    *problem = "not a value";
    if (at == digits || (*digits == '0' && at - digits > 1))
        return NULL;
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        *problem = "a number without digits behind its point";
        if (at == digits)
            return NULL;
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        digits = at;
        at = skip_digits(at, end);
        *problem = "a number without digits in its exponent";
        if (at == digits)
            return NULL;
    }
    return at;
}

bool json_scalar_ends_at(const char *text, uint32_t begin, uint32_t last)
{
    const char *at = text + begin, *end = text + last + 1, *problem;
    if (last == UINT32_MAX || last < begin)
        return false;
    switch (*at) {
    case 't':
        return end - at == 4 && memcmp(at, "true", 4) == 0;
    case 'f':
        return end - at == 5 && memcmp(at, "false", 5) == 0;
    case 'n':
        return end - at == 4 && memcmp(at, "null", 4) == 0;
    default:
        return json_number_end(at, end, &problem) == end;
    }
}
