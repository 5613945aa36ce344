/* address.c: see address.h. */
#include "base/address.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool read_port(const char *text, uint16_t *port)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    *port = (uint16_t)number;
    return *text >= '0' && *text <= '9' && !*end && number <= 65535;
}

static bool read_v6(const char *host, union address *address, uint16_t port)
{
    size_t size = strlen(host);
    if (size < 3 || host[0] != '[' || host[size - 1] != ']')
        return false;
    char *inner = mem_copy(host + 1, size - 2);
    *address = (union address){.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    bool ok = inet_pton(AF_INET6, inner, &address->v6.sin6_addr) == 1;
    free(inner);
    return ok;
}

static bool read_host(const char *host, union address *address, uint16_t port)
{
    *address = (union address){.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    return inet_pton(AF_INET, *host ? host : "0.0.0.0", &address->v4.sin_addr) == 1 ||
           read_v6(host, address, port);
}

bool address_read(const char *text, union address *address, struct err *err)
{
    const char *colon = strrchr(text, ':');
    uint16_t port;
    bool ok = false;
    if (colon && read_port(colon + 1, &port)) {
        char *host = mem_copy(text, (size_t)(colon - text));
        ok = read_host(host, address, port);
        free(host);
    }
    return ok ||
           err_set(err, ERR_CONFIG,
                   "\"%s\" is no address to listen on: ADDRESS:PORT expected, such as 127.0.0.1:9464 or "
                   "[::1]:9464",
                   text);
}

bool address_is_loopback(const union address *address)
{
    return address->any.sa_family == AF_INET ? ntohl(address->v4.sin_addr.s_addr) >> 24 == 127
                                             : IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}
