/* state_service.c: see state_service.h. */
#include "state_service.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/check.h"

void state_service_make(struct state_service *service,
                        void (*answer)(void *user, const struct transport_request *, struct answer *),
                        void *user)
{
    struct err err;
    *service = (struct state_service){
        .config = {.region = (char *)"eu-west-1", .call_timeout_ms = 30000, .connections = 8}};
    setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "x", 1);
    world_init(&service->world);
    world_add_reactor(&service->world);
    service->world.answer = answer;
    service->world.user = user;
    service->log =
        log_new(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_TEXT, LOG_DEBUG, &service->world.clock);
    service->engine = engine_new(&(struct engine_options){.clock = &service->world.clock}, &err);
    service->client = aws_client_new(service->world.reactor, &service->world.transport, &service->config,
                                     service->log, &err);
    CHECK(service->engine && service->client);
}

void state_service_fini(struct state_service *service)
{
    aws_client_free(service->client);
    engine_free(service->engine);
    log_free(service->log);
    world_fini(&service->world);
}

void state_service_answer(struct state_service *service, const struct transport_request *request,
                          struct answer *answer)
{
    struct engine_reply reply = {0};
    char target[80] = "";
    request_header(request, "X-Amz-Target", target, sizeof target);
    engine_call(service->engine, &(struct engine_request){target, request->body, request->body_size, NULL},
                &reply);
    answer->status = reply.status;
    answer->body = reply.body;
}
