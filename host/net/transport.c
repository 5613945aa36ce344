/* transport.c: what all transports share. */
#include "net/transport.h"

#include <string.h>
#include <strings.h>

bool transport_header(const struct transport_response *response, const char *name, char *value, size_t size)
{
    size_t name_size = strlen(name);
    const char *line = response->headers.data, *end = line ? line + response->headers.size : NULL;
    while (line && line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop ? stop : end;
        if ((size_t)(stop - line) > name_size && line[name_size] == ':' &&
            strncasecmp(line, name, name_size) == 0) {
            const char *from = line + name_size + 1, *to = stop;
            while (from < to && (*from == ' ' || *from == '\t'))
                from++;
            while (to > from && (to[-1] == '\r' || to[-1] == ' '))
                to--;
            size_t length = (size_t)(to - from) < size ? (size_t)(to - from) : size - 1;
            memcpy(value, from, length);
            value[length] = '\0';
            return true;
        }
        line = stop + 1;
    }
    return false;
}

bool transport_wants_length(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

bool transport_has_header(const char *const *headers, const char *name)
{
    size_t size = strlen(name);
    for (; headers && *headers; headers++)
        if (strncasecmp(*headers, name, size) == 0 && (*headers)[size] == ':')
            return true;
    return false;
}
