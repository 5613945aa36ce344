/* url.c: see url.h. Two parsers that read one URL differently are a way around a check, so libcurl's is
 * asked. */
#include "net/url.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

char *url_host(const char *url, struct err *err)
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL, *user = NULL, *result = NULL;
    CURLUcode code = curl_url_set(parts, CURLUPART_URL, url, 0);
    if (code) {
        /* Not itself: there may be a secret in it. */
        err_set(err, ERR_SCRIPT, "a text of %zu characters is given as a URL and is none: %s", strlen(url),
                curl_url_strerror(code));
    } else {
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
        curl_url_get(parts, CURLUPART_HOST, &host, 0);
        curl_url_get(parts, CURLUPART_USER, &user, 0);
        if (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)
            err_set(err, ERR_SCRIPT, "%s: only http and https are known", scheme);
        else if (user)
            err_set(err, ERR_SCRIPT, "a URL must not carry a user's name; send an Authorization header");
        else
            result = mem_string(host);
    }
    for (char *c = result; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 32);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(parts);
    return result;
}

char *url_origin(const char *url)
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *origin;
    if (curl_url_set(parts, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK) {
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
        curl_url_get(parts, CURLUPART_HOST, &host, 0);
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    }
    origin = scheme && host ? mem_printf("%s://%s%s%s", scheme, host, port ? ":" : "", port ? port : "")
                            : mem_string("?");
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parts);
    return origin;
}

size_t url_origin_size(const char *url)
{
    const char *host = strstr(url, "://");
    return host ? (size_t)(host - url) + 3 + strcspn(host + 3, "/?#") : 0;
}

static bool same_host(const char *host, const char *listed, size_t size)
{
    size_t host_size = strlen(host);
    if (size > 2 && listed[0] == '*' && listed[1] == '.')
        return host_size > size - 1 && strncasecmp(host + host_size - (size - 1), listed + 1, size - 1) == 0;
    return host_size == size && strncasecmp(host, listed, size) == 0;
}

bool url_host_listed(const char *host, const char *list)
{
    for (list += strspn(list, ", \t\n"); *list; list += strspn(list, ", \t\n")) {
        size_t size = strcspn(list, ", \t\n");
        if (same_host(host, list, size))
            return true;
        list += size;
    }
    return false;
}

void url_encode(struct buf *out, const char *text, size_t size, const char *kept)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            (c && strchr(kept, c)))
            buf_add_char(out, (char)c);
        else
            buf_add(out, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}
