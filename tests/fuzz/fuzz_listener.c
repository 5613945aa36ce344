/* fuzz_listener.c: any bytes in place of a request. The connection ends, with an answer or without. */
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/listener.h"

static void answer(void *user, const struct listener_request *request, struct listener_reply *reply)
{
    const char *header = listener_header(request, "X-A"), *query = listener_query(request, "a");
    (void)user;
    reply->status = 200;
    reply->type = "text/plain";
    buf_printf(&reply->body, "%s %s %s %s ", request->method, request->path, header ? header : "",
               query ? query : "");
    buf_add(&reply->body, request->body, request->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct listener *listener;
    struct err err;
    char room[4096];
    if (!listener)
        listener = listener_start(&(struct listener_options){.address = "127.0.0.1:0",
                                                             .body_bytes_max = 1000,
                                                             .connections_max = 100,
                                                             .idle_s = 5,
                                                             .local = true,
                                                             .answer = answer},
                                  &err);
    if (!listener)
        abort();
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)listener_port(listener)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, bytes, size, MSG_NOSIGNAL) >= 0) {
        shutdown(fd, SHUT_WR);
        while (recv(fd, room, sizeof room, 0) > 0)
            continue;
    }
    close(fd);
    return 0;
}
