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
    AWS_STATES,
    AWS_S3,
    AWS_OTHER, /* a request says which, see struct aws_other */
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

/* What is known of tables on all reactors; must stay. Without it no call waits for its table. */
struct brakes;
void aws_client_set_brakes(struct aws_client *client, struct brakes *brakes);

/* A call went well, and was told that the table could not take all of it. */
void aws_client_slow(struct aws_client *client, const char *table);

#define AWS_OTHER_HEADERS_MAX 20

/* Where else a call goes. All texts are owned. */
struct aws_place {
    char *region;      /* NULL: the client's */
    char *endpoint;    /* "https://..."; NULL: the region's, or the one that is set by hand */
    char *role;        /* ARN: its credentials are used, which ours may ask for; NULL: ours */
    char *external_id; /* that the role's account wants; NULL: none */
};

/* All of it, and itself. NULL is allowed. */
void aws_place_free(struct aws_place *place);

/* A service that this client has no line for, by what its requests are made of. All texts are owned by the
 * request. */
struct aws_other {
    char *service;                        /* before ".REGION.amazonaws.com": "states" */
    char *signing;                        /* what it signs as, mostly the same */
    char *operation;                      /* for errors and metrics */
    char *method;                         /* "POST" */
    char *headers[AWS_OTHER_HEADERS_MAX]; /* "Name: value", signed; ends with NULL or at the last */
};

/* All of it, and itself. NULL is allowed. */
void aws_other_free(struct aws_other *other);

#define AWS_TABLES_MAX 8

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
    size_t response_max; /* bytes; 0: as much as any answer may have */
    bool status_decides; /* of what it answers nothing but the status is wanted */
    char trace[96];      /* a header that goes along and is not signed; "": none */
    char *tables; /* those that it is about, each with a newline behind it: it waits until they can take it
                     (aws/brake.h); NULL: none, or more than AWS_TABLES_MAX; taken */
    struct aws_other *other; /* of AWS_OTHER; taken */
    struct aws_place *place; /* NULL: where the client is; taken */
    char *bucket;            /* of S3; taken */
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
