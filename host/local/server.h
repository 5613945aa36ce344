/* server.h: the engine over HTTP, as any AWS SDK speaks to DynamoDB. */
#ifndef TIDEMILL_LOCAL_SERVER_H
#define TIDEMILL_LOCAL_SERVER_H

#include "local/engine.h"

struct server;

/* Listens on 127.0.0.1, in threads of its own; `port` 0: one that is free. Also does the engine's
 * housekeeping, once a second. `pages`: web pages that may call beside those of this machine, as in
 * listener_options; stays. NULL and `err`. */
struct server *server_start(struct engine *engine, int port, const char *pages, struct err *err);

/* What is sent to paths under /inbox/ is given to `inbox`, on a thread of the server, and answered with 200
 * and {}: a place for what would go to other services. Without one, such a path is not found. */
typedef void server_inbox_fn(void *user, const char *method, const char *path, const char *body, size_t size);
void server_set_inbox(struct server *server, server_inbox_fn *inbox, void *user);

/* Looks at each call before it is carried out: false, and `code` and `message` as the service would refuse
 * it. On threads of the server. To be set before it is known where the server listens. */
struct listener_request;
#define SERVER_CODE_SIZE 64
#define SERVER_MESSAGE_SIZE 700
typedef bool server_guard_fn(void *user, const struct listener_request *request, char code[SERVER_CODE_SIZE],
                             char message[SERVER_MESSAGE_SIZE]);
void server_set_guard(struct server *server, server_guard_fn *guard, void *user);

int server_port(const struct server *server);

/* Answers what it has begun, then ends. */
void server_stop(struct server *server);

#endif
