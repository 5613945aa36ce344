/* state_service.h: a client of an embedded DynamoDB in virtual time, for what keeps a state there. */
#ifndef TIDEMILL_TESTS_STATE_SERVICE_H
#define TIDEMILL_TESTS_STATE_SERVICE_H

#include "aws/client.h"
#include "core/world.h"
#include "local/engine.h"

struct state_service {
    struct world world; /* with a reactor of its own */
    struct engine *engine;
    struct config_aws config;
    struct aws_client *client;
    struct log *log;
};

/* `answer` gets the client's requests; what it does not answer itself, it gives to state_service_answer. */
void state_service_make(struct state_service *service,
                        void (*answer)(void *user, const struct transport_request *, struct answer *),
                        void *user);
void state_service_fini(struct state_service *service);

/* As the embedded DynamoDB does. */
void state_service_answer(struct state_service *service, const struct transport_request *request,
                          struct answer *answer);

#endif
