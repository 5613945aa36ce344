/* client.h: calls to AWS services: signed, repeated, bounded in time.
 *
 * One client belongs to one reactor and is shared by all that call from it: they share its connections,
 * its credentials, its retry budget and what it learned about the clock. */
#ifndef TIDEMILL_AWS_CLIENT_H
#define TIDEMILL_AWS_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "conf/config.h"
#include "net/reactor.h"
#include "net/transport.h"

struct aws_client;
struct aws_call;

enum aws_service {
    AWS_DYNAMODB,
    AWS_DYNAMODB_STREAMS,
    AWS_EVENTS,
    AWS_SQS,
    AWS_SNS,
    AWS_KINESIS,
    AWS_FIREHOSE,
    AWS_LAMBDA,
    AWS_S3,
    AWS_SERVICE_COUNT
};

/* The region comes from the INI, AWS_REGION, AWS_DEFAULT_REGION or the profile; NULL and `err` when none
 * names one and the endpoints need it. `config` must stay. */
struct aws_client *aws_client_new(struct reactor *reactor, struct transport *transport,
                                  const struct config_aws *config, struct log *log, struct err *err);
void aws_client_free(struct aws_client *client); /* no call may be under way */

const char *aws_client_region(const struct aws_client *client);

/* Milliseconds since 1970 on the services' clock, as far as it is known, and never later than ours: the
 * instant before which everything is surely in the past for both. */
int64_t aws_client_earliest_now_ms(const struct aws_client *client);

/* Likewise, as the last Date header said it: to a second, and later than ours where that one is behind. */
int64_t aws_client_service_now_ms(const struct aws_client *client);

/* One attempt of a call, that has ended. */
struct aws_attempt {
    const char *service, *operation; /* "dynamodb", "PutItem" */
    const char *code;                /* "OK", the service's own, "Timeout" or "NetworkError" */
    int64_t us;                      /* since it was sent */
};

/* `watch` is told of each from now on. */
void aws_client_watch(struct aws_client *client, void (*watch)(void *user, const struct aws_attempt *attempt),
                      void *user);

struct aws_request {
    enum aws_service service;
    const char *operation; /* "PutItem"; must stay */
    struct buf body;       /* taken */
    int attempts;          /* 0: three, as in the SDKs */
    int64_t timeout_ms;    /* of all attempts together; 0: the client's */
    const char *region;    /* NULL: the client's; must stay, as these do */
    const char *method;    /* NULL: POST */
    const char *headers[3];
    bool own;            /* the host's own: it waits for no calls of handlers and targets */
    bool status_decides; /* of what it answers nothing but the status is wanted */
    char *bucket;        /* of S3; taken */
    char *path; /* behind the endpoint or bucket, percent-encoded, with its query; NULL: none; taken */
};

/* On success `response` holds the answer, whose status is 2xx, and `err` is NULL. When the service answered
 * with an error, `err` has its code and `response` the answer. Without any answer `response` is NULL. The
 * receiver may take response->body. */
typedef void aws_done_fn(void *user, struct transport_response *response, const struct err *err);

/* `done` never comes from inside this call. */
struct aws_call *aws_send(struct aws_client *client, struct aws_request *request, aws_done_fn *done,
                          void *user);
void aws_cancel(struct aws_call *call); /* NULL is allowed */

#endif
