/* client.c: the life of a call: credentials, sign, send, and perhaps again. */
#include "aws/client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws/brake.h"
#include "aws/credentials.h"
#include "aws/profile.h"
#include "aws/retry.h"
#include "aws/sigv4.h"
#include "aws/xml.h"
#include "base/document.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"

#define ATTEMPTS_DEFAULT 3
#define CONNECT_TIMEOUT_MS 3100
#define HEADERS_MAX (12 + AWS_OTHER_HEADERS_MAX)
/* A signature may be off by five minutes; below this our clock is left alone. */
#define SKEW_IGNORED_MS 60000

#ifndef TIDEMILL_VERSION
#define TIDEMILL_VERSION "dev"
#endif

#define JSON_1_0 "Content-Type: application/x-amz-json-1.0"
#define JSON_1_1 "Content-Type: application/x-amz-json-1.1"
#define QUERY "Content-Type: application/x-www-form-urlencoded; charset=utf-8"

/* From the services' API models: where they are, what they sign as, how they are asked. */
static const struct {
    const char *name;     /* as metrics have it */
    const char *host;     /* before ".<region>.amazonaws.com" */
    const char *variable; /* AWS_ENDPOINT_URL_... */
    const char *signing;
    const char *content_type; /* NULL: each request has its own */
    const char *target;       /* X-Amz-Target's prefix; NULL: none */
} services[AWS_SERVICE_COUNT] = {
    [AWS_DYNAMODB] = {"dynamodb", "dynamodb", "AWS_ENDPOINT_URL_DYNAMODB", "dynamodb", JSON_1_0,
                      "DynamoDB_20120810"},
    [AWS_DYNAMODB_STREAMS] = {"dynamodb_streams", "streams.dynamodb", "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
                              "dynamodb", JSON_1_0, "DynamoDBStreams_20120810"},
    [AWS_EVENTS] = {"events", "events", "AWS_ENDPOINT_URL_EVENTBRIDGE", "events", JSON_1_1, "AWSEvents"},
    [AWS_SQS] = {"sqs", "sqs", "AWS_ENDPOINT_URL_SQS", "sqs", JSON_1_0, "AmazonSQS"},
    [AWS_SNS] = {"sns", "sns", "AWS_ENDPOINT_URL_SNS", "sns", QUERY, NULL},
    [AWS_KINESIS] = {"kinesis", "kinesis", "AWS_ENDPOINT_URL_KINESIS", "kinesis", JSON_1_1,
                     "Kinesis_20131202"},
    [AWS_FIREHOSE] = {"firehose", "firehose", "AWS_ENDPOINT_URL_FIREHOSE", "firehose", JSON_1_1,
                      "Firehose_20150804"},
    [AWS_LAMBDA] = {"lambda", "lambda", "AWS_ENDPOINT_URL_LAMBDA", "lambda", NULL, NULL},
    [AWS_STATES] = {"states", "states", "AWS_ENDPOINT_URL_SFN", "states", JSON_1_0, "AWSStepFunctions"},
    [AWS_S3] = {"s3", "s3", "AWS_ENDPOINT_URL_S3", "s3", NULL, NULL},
    [AWS_OTHER] = {"other", "", "AWS_ENDPOINT_URL", "", NULL, NULL},
};

struct aws_client {
    struct reactor *reactor;
    struct transport *transport;
    struct log *log;
    struct credentials *credentials;
    struct map assumed; /* "ROLE EXTERNAL_ID" -> struct credentials, owned */
    char *profile, *endpoint_sts;
    bool assumes_no_role;
    struct retry_budget budget;
    struct map budgets; /* of tables, which share theirs with nobody else: name -> budget, owned */
    struct brakes *brakes;
    struct sigv4_cache signing[AWS_SERVICE_COUNT];
    int64_t call_timeout_ms;
    char *region;
    char *endpoints[AWS_SERVICE_COUNT];   /* NULL: neither one of its own nor a region */
    bool own_endpoint[AWS_SERVICE_COUNT]; /* set by hand */
    int64_t date_ahead_ms;                /* of the last Date header over our clock */
    int64_t skew_ms;                      /* what signatures add: date_ahead_ms when it is large */
    uint64_t random;
    void (*watch)(void *user, const struct aws_attempt *attempt);
    void *watch_user;
    char *endpoint_ses; /* set by hand; or NULL */
};

struct aws_call {
    struct aws_client *client;
    struct aws_request request;
    char *url;
    aws_done_fn *done;
    void *user;
    struct task start;
    struct timer pause;              /* before a repetition */
    struct credentials *credentials; /* that it signs with */
    struct credentials_wait wait;
    struct transport_call *sent;
    int64_t deadline_ms; /* monotonic */
    int attempt;         /* from 1 */
    int attempts_max;
    uint64_t signed_with; /* the number of the credentials */
    bool uncounted;       /* what comes next is no attempt: we only know better who we are */
    int tokens;           /* of the budget, for the last repetition */
    bool refreshed;       /* other credentials were used for this call */
    bool reclocked;       /* the clock was corrected for this call */
    int64_t sent_us;      /* monotonic: of this attempt */
    struct brake *brakes[AWS_TABLES_MAX];
    size_t brake_count;
    bool begun; /* by its brakes, which are owed an end */
};

/* ---- the client ---- */

static char *find_region(const struct config_aws *config, const struct profiles *profiles)
{
    const char *region = config->region;
    region = region ? region : profile_environment("AWS_REGION");
    region = region ? region : profile_environment("AWS_DEFAULT_REGION");
    region = region ? region : profiles_get(profiles, profile_name(config->profile), "region");
    return mem_string(region);
}

/* An endpoint set by hand, for one service before that for all, the INI before the environment. */
static const char *set_endpoint(const struct config_aws *config, const char *one, const char *variable)
{
    const char *endpoint = one ? one : config->endpoint;
    endpoint = endpoint ? endpoint : profile_environment(variable);
    return endpoint ? endpoint : profile_environment("AWS_ENDPOINT_URL");
}

static char *with_slash(const char *url)
{
    size_t size = strlen(url);
    return mem_printf("%s%s", url, size && url[size - 1] == '/' ? "" : "/");
}

static char *public_endpoint(const char *service, const char *region)
{
    return mem_printf("https://%s.%s.%s/", service, region,
                      strncmp(region, "cn-", 3) == 0 ? "amazonaws.com.cn" : "amazonaws.com");
}

/* Their names have no region in them, and they sign for this one:
 * https://docs.aws.amazon.com/general/latest/gr/rande.html#global-endpoints */
#define GLOBAL_REGION "us-east-1"

static bool is_global(const char *service)
{
    static const char *const names[] = {"iam", "cloudfront", "route53", "organizations", "globalaccelerator"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], service) == 0)
            return true;
    return false;
}

static bool find_endpoints(struct aws_client *client, const struct config_aws *config, struct err *err)
{
    const char *own[AWS_SERVICE_COUNT] = {
        [AWS_DYNAMODB] = config->endpoint_dynamodb, [AWS_DYNAMODB_STREAMS] = config->endpoint_streams,
        [AWS_EVENTS] = config->endpoint_events,     [AWS_SQS] = config->endpoint_sqs,
        [AWS_SNS] = config->endpoint_sns,           [AWS_KINESIS] = config->endpoint_kinesis,
        [AWS_FIREHOSE] = config->endpoint_firehose, [AWS_STATES] = config->endpoint_states,
        [AWS_LAMBDA] = config->endpoint_lambda,     [AWS_S3] = config->endpoint_s3,
    };
    for (int i = 0; i < AWS_SERVICE_COUNT; i++) {
        const char *set = set_endpoint(config, own[i], services[i].variable);
        if (i == AWS_OTHER && !set)
            continue; /* each has its own */
        if (!set && !client->region && i > AWS_DYNAMODB_STREAMS)
            continue; /* not everybody calls it */
        if (!set && !client->region)
            return err_set(err, ERR_CONFIG, "no AWS region: set region in [aws], or AWS_REGION");
        client->own_endpoint[i] = set != NULL;
        client->endpoints[i] = set ? with_slash(set) : public_endpoint(services[i].host, client->region);
    }
    if (!client->region)
        client->region =
            mem_string("us-east-1"); /* with endpoints of one's own it only names the signature */
    return true;
}

static struct credentials *new_credentials(struct aws_client *client, const char *role,
                                           const char *external_id)
{
    return credentials_new(client->reactor, client->transport,
                           &(struct credentials_options){.quiet = client->assumes_no_role,
                                                         .profile = client->profile,
                                                         .region = client->region,
                                                         .endpoint_sts = client->endpoint_sts,
                                                         .role_arn = role,
                                                         .external_id = external_id,
                                                         .log = client->log});
}

/* Of the role, kept as long as the client: who asks for it once asks again. */
static struct credentials *credentials_of(struct aws_client *client, const struct aws_place *place)
{
    if (!place || !place->role || client->assumes_no_role)
        return client->credentials;
    char *key = mem_printf("%s %s", place->role, place->external_id ? place->external_id : "");
    struct credentials *credentials = map_get(&client->assumed, key);
    if (!credentials) {
        credentials = new_credentials(client, place->role, place->external_id);
        credentials_set_skew(credentials, client->skew_ms);
        map_set(&client->assumed, key, credentials);
    }
    free(key);
    return credentials;
}

struct aws_client *aws_client_new(struct reactor *reactor, struct transport *transport,
                                  const struct config_aws *config, struct log *log, struct err *err)
{
    struct aws_client *client = mem_zero(sizeof *client);
    struct profiles *profiles = profiles_load();
    client->reactor = reactor;
    client->transport = transport;
    client->endpoint_ses = mem_string(config->endpoint_ses);
    client->log = log;
    client->call_timeout_ms = config->call_timeout_ms;
    client->region = find_region(config, profiles);
    client->random =
        hash_mix((uint64_t)clock_wall_ms(reactor_clock(reactor))) ^ (uint64_t)reactor_now_ms(reactor);
    retry_budget_init(&client->budget);
    profiles_free(profiles);
    if (!find_endpoints(client, config, err)) {
        aws_client_free(client);
        return NULL;
    }
    client->profile = mem_string(config->profile);
    client->endpoint_sts = mem_string(set_endpoint(config, config->endpoint_sts, "AWS_ENDPOINT_URL_STS"));
    client->assumes_no_role = config->assumes_no_role;
    client->credentials = new_credentials(client, NULL, NULL);
    return client;
}

void aws_client_free(struct aws_client *client)
{
    if (!client)
        return;
    size_t at = 0;
    credentials_free(client->credentials);
    for (struct credentials *credentials; (credentials = map_next(&client->assumed, &at, NULL));)
        credentials_free(credentials);
    map_fini(&client->assumed);
    free(client->profile);
    free(client->endpoint_sts);
    free(client->endpoint_ses);
    for (int i = 0; i < AWS_SERVICE_COUNT; i++)
        free(client->endpoints[i]);
    at = 0;
    for (struct retry_budget *budget; (budget = map_next(&client->budgets, &at, NULL));)
        free(budget);
    map_fini(&client->budgets);
    free(client->region);
    explicit_bzero(client->signing, sizeof client->signing);
    free(client);
}

void aws_client_watch(struct aws_client *client, void (*watch)(void *user, const struct aws_attempt *attempt),
                      void *user)
{
    client->watch = watch;
    client->watch_user = user;
}

const char *aws_client_region(const struct aws_client *client)
{
    return client->region;
}

static int64_t wall_ms(const struct aws_client *client)
{
    return clock_wall_ms(reactor_clock(client->reactor));
}

int64_t aws_client_earliest_now_ms(const struct aws_client *client)
{
    return wall_ms(client) + (client->date_ahead_ms < 0 ? client->date_ahead_ms : 0);
}

int64_t aws_client_service_now_ms(const struct aws_client *client)
{
    return wall_ms(client) + client->date_ahead_ms;
}

static uint64_t next_random(struct aws_client *client)
{
    return client->random = hash_mix(client->random + 0x9e3779b97f4a7c15ull);
}

/* Learn from the Date header how far the service's clock is from ours. */
static void learn_clock(struct aws_client *client, const struct transport_response *response)
{
    char text[64];
    struct tm tm = {0};
    if (!transport_header(response, "date", text, sizeof text) ||
        !strptime(text, "%a, %d %b %Y %H:%M:%S", &tm))
        return;
    client->date_ahead_ms = (int64_t)timegm(&tm) * 1000 - wall_ms(client);
    int64_t distance = llabs(client->date_ahead_ms);
    client->skew_ms = distance > SKEW_IGNORED_MS ? client->date_ahead_ms : 0;
    size_t at = 0;
    credentials_set_skew(client->credentials, client->skew_ms);
    for (struct credentials *credentials; (credentials = map_next(&client->assumed, &at, NULL));)
        credentials_set_skew(credentials, client->skew_ms);
}

/* ---- tables ---- */

void aws_client_set_brakes(struct aws_client *client, struct brakes *brakes)
{
    client->brakes = brakes;
}

void aws_client_slow(struct aws_client *client, const char *table)
{
    brake_slow(brakes_find(client->brakes, table), clock_monotonic_us(reactor_clock(client->reactor)));
}

static void find_brakes(struct aws_call *call)
{
    char *at = call->request.tables;
    while (call->client->brakes && at && *at && call->brake_count < AWS_TABLES_MAX) {
        size_t size = strcspn(at, "\n");
        char *table = mem_copy(at, size);
        struct brake *brake = brakes_find(call->client->brakes, table);
        bool known = !brake;
        for (size_t i = 0; i < call->brake_count; i++)
            known = known || call->brakes[i] == brake; /* by its name, and by its ARN */
        if (!known)
            call->brakes[call->brake_count++] = brake;
        free(table);
        at += size + (at[size] != '\0');
    }
}

/* False: not yet; it is looked at again. Waiting for a turn is nobody's time but ours. */
static bool pass_brakes(struct aws_call *call)
{
    if (!call->brake_count)
        return true;
    int64_t wait_us = brakes_begin(call->brakes, call->brake_count,
                                   clock_monotonic_us(reactor_clock(call->client->reactor)));
    call->begun = wait_us == 0;
    if (call->begun)
        return true;
    int64_t wait_ms = (wait_us + 999) / 1000;
    call->deadline_ms += wait_ms;
    timer_set(call->client->reactor, &call->pause, wait_ms);
    return false;
}

/* A transaction that was cancelled says of each of its items why. */
static bool is_throttled(const struct err *problem)
{
    return strcmp(problem->service, "TransactionInProgressException") != 0 &&
           (retry_kind(problem) == RETRY_THROTTLING ||
            (strcmp(problem->service, "TransactionCanceledException") == 0 &&
             (strstr(problem->text, "ThrottlingError") ||
              strstr(problem->text, "ProvisionedThroughputExceeded"))));
}

static void end_brakes(struct aws_call *call, bool throttled)
{
    int64_t now_us = clock_monotonic_us(reactor_clock(call->client->reactor));
    for (size_t i = 0; call->begun && i < call->brake_count; i++)
        brake_ended(call->brakes[i], throttled, now_us);
    call->begun = false;
}

#define BUDGETS_MAX 1000

/* A table that is in trouble takes no repetition from another one. */
static struct retry_budget *budget_of(const struct aws_call *call)
{
    struct aws_client *client = call->client;
    const char *tables = call->request.tables;
    struct retry_budget *budget = tables ? map_get(&client->budgets, tables) : NULL;
    if (!tables || (!budget && client->budgets.count >= BUDGETS_MAX))
        return &client->budget;
    if (!budget) {
        budget = mem_zero(sizeof *budget);
        retry_budget_init(budget);
        map_set(&client->budgets, tables, budget);
    }
    return budget;
}

/* ---- one call ---- */

void aws_place_free(struct aws_place *place)
{
    if (!place)
        return;
    free(place->region);
    free(place->endpoint);
    free(place->role);
    free(place->external_id);
    free(place);
}

void aws_other_free(struct aws_other *other)
{
    if (!other)
        return;
    free(other->service);
    free(other->signing);
    free(other->operation);
    free(other->method);
    for (size_t i = 0; i < AWS_OTHER_HEADERS_MAX; i++)
        mem_free_secret(other->headers[i]);
    free(other);
}

static const char *name_of(const struct aws_request *request)
{
    return request->other ? request->other->service : services[request->service].name;
}

static const char *signing_of(const struct aws_request *request)
{
    return request->other ? request->other->signing : services[request->service].signing;
}

static bool is_s3(const struct aws_request *request)
{
    return strcmp(signing_of(request), "s3") == 0;
}

/* That it is asked at, whatever is set by hand; NULL: it says nothing. */
static const char *endpoint_of(const struct aws_request *request)
{
    return request->place ? request->place->endpoint : NULL;
}

/* Of a request; the client's where it says none. */
static const char *region_of(const struct aws_client *client, const struct aws_request *request)
{
    const char *endpoint = endpoint_of(request);
    if (request->other && !endpoint && is_global(request->other->service))
        return GLOBAL_REGION;
    return request->place && request->place->region ? request->place->region
           : request->region                        ? request->region
                                                    : client->region;
}

static void call_free(struct aws_call *call)
{
    aws_other_free(call->request.other);
    aws_place_free(call->request.place);
    end_brakes(call, false);
    free(call->request.tables);
    timer_stop(call->client->reactor, &call->pause);
    task_cancel(&call->start);
    credentials_cancel(&call->wait);
    buf_fini(&call->request.body);
    free(call->request.bucket);
    free(call->request.path);
    free(call->url);
    free(call);
}

void aws_cancel(struct aws_call *call)
{
    if (!call)
        return;
    if (call->sent)
        transport_cancel(call->client->transport, call->sent);
    call_free(call);
}

static void finish(struct aws_call *call, struct transport_response *response, const struct err *err)
{
    aws_done_fn *done = call->done;
    void *user = call->user;
    call_free(call);
    done(user, response, err);
}

/* "__type" is "com.amazonaws.dynamodb.v20120810#Code", or only the code. */
static void read_json_error(struct arena *arena, const struct buf *body, const char **code,
                            const char **message)
{
    cJSON *root = document_read(body->data, body->size, NULL);
    const char *type = document_text(root, "__type"), *lower = document_text(root, "message"),
               *upper = document_text(root, "Message");
    lower = lower ? lower : upper;
    *code = type ? arena_copy(arena, type, strlen(type)) : NULL;
    *message = lower ? arena_copy(arena, lower, strlen(lower)) : NULL;
    cJSON_Delete(root);
}

static void read_xml_error(struct arena *arena, const struct buf *body, const char **code,
                           const char **message)
{
    const struct xml *root = xml_parse(arena, body->data, body->size, NULL);
    *code = xml_text(root, "Code");
    *message = xml_text(root, "Message");
}

/* The service's error. */
static void read_error(const struct aws_call *call, const struct transport_response *response,
                       struct err *err)
{
    struct arena arena = ARENA_INIT;
    const char *code = NULL, *message = NULL;
    char header[128];
    if (response->body.size && response->body.data[0] == '<')
        read_xml_error(&arena, &response->body, &code, &message);
    else if (response->body.size)
        read_json_error(&arena, &response->body, &code, &message);
    if (!code && transport_header(response, "x-amzn-errortype", header, sizeof header)) {
        header[strcspn(header, ":")] = '\0';
        code = header;
    }
    const char *hash = code ? strrchr(code, '#') : NULL;
    code = hash ? hash + 1 : code;
    if (code)
        err_set(err, ERR_SERVICE, "%s: %s: %s", call->request.operation, code,
                message ? message : "no message");
    else
        err_set(err, ERR_SERVICE, "%s: HTTP status %d from %s", call->request.operation, response->status,
                call->url);
    err->http_status = response->status;
    snprintf(err->service, sizeof err->service, "%s", code ? code : "");
    arena_fini(&arena);
}

/* Worth another attempt at once, without a token: we now know better who we are or what time it is. */
static bool corrected(struct aws_call *call, const struct err *err, int64_t skew_before_ms)
{
    static const char *const credentials[] = {"ExpiredToken", "ExpiredTokenException",
                                              "UnrecognizedClientException", "InvalidClientTokenId", NULL};
    static const char *const clock[] = {"RequestTimeTooSkewed",      "RequestExpired",
                                        "InvalidSignatureException", "SignatureDoesNotMatch",
                                        "RequestInTheFuture",        NULL};
    if (err->code != ERR_SERVICE)
        return false;
    if (!call->refreshed && retry_code_is_one_of(err->service, credentials)) {
        call->refreshed = true;
        return credentials_refused(call->credentials, call->signed_with);
    }
    if (!call->reclocked && retry_code_is_one_of(err->service, clock) &&
        llabs(call->client->skew_ms - skew_before_ms) > SKEW_IGNORED_MS) {
        call->reclocked = true;
        log_warn(call->client->log, "aws", "this machine's clock is %lld s off; signing with the service's",
                 (long long)(call->client->skew_ms / 1000));
        return true;
    }
    return false;
}

static int64_t left_ms(const struct aws_call *call)
{
    return call->deadline_ms - clock_monotonic_ms(reactor_clock(call->client->reactor));
}

static void repeat_or_finish(struct aws_call *call, struct transport_response *response, struct err *err)
{
    struct aws_client *client = call->client;
    enum retry_kind kind = retry_kind(err);
    if (kind != RETRY_NEVER && call->attempt < call->attempts_max) {
        int64_t delay = retry_delay_ms(kind, call->attempt + 1, next_random(client));
        int tokens = delay < left_ms(call) ? retry_budget_take(budget_of(call), err) : 0;
        if (tokens) {
            log_debug(client->log, "aws", "%s; attempt %d in %lld ms", err->text, call->attempt + 1,
                      (long long)delay);
            call->tokens = tokens;
            timer_set(client->reactor, &call->pause, delay);
            return;
        }
    }
    finish(call, response, err);
}

static void begin_attempt(void *user);

/* `problem` NULL: it went well. */
static void tell_attempt(const struct aws_call *call, const struct err *problem)
{
    struct aws_client *client = call->client;
    char status[24];
    const char *code = "OK";
    if (!client->watch)
        return;
    if (problem && *problem->service) {
        code = problem->service;
    } else if (problem && problem->http_status) {
        snprintf(status, sizeof status, "HTTP%d", problem->http_status);
        code = status;
    } else if (problem) {
        code = problem->code == ERR_TIMEOUT ? "Timeout" : "NetworkError";
    }
    client->watch(client->watch_user,
                  &(struct aws_attempt){name_of(&call->request), call->request.operation, code,
                                        clock_monotonic_us(reactor_clock(client->reactor)) - call->sent_us});
}

static void on_response(void *user, struct transport_response *response, const struct err *err)
{
    struct aws_call *call = user;
    struct aws_client *client = call->client;
    int64_t skew_before_ms = client->skew_ms;
    struct err problem = {0};
    call->sent = NULL;
    /* Waiting for a turn is nobody's time but ours. */
    call->deadline_ms += response ? response->queued_ms : err->queued_ms;
    if (response)
        learn_clock(client, response);
    if (response && response->status >= 200 && response->status < 300) {
        credentials_accepted(call->credentials, call->signed_with);
        retry_budget_give(budget_of(call), call->tokens);
        end_brakes(call, false);
        tell_attempt(call, NULL);
        finish(call, response, NULL);
        return;
    }
    if (response)
        read_error(call, response, &problem);
    else {
        problem = *err;
        err_prefix(&problem, "%s", call->request.operation);
    }
    end_brakes(call, is_throttled(&problem));
    tell_attempt(call, &problem);
    call->uncounted = corrected(call, &problem, skew_before_ms);
    if (call->uncounted)
        timer_set(client->reactor, &call->pause, 0);
    else
        repeat_or_finish(call, response, &problem);
}

/* What stands in the request before it is signed; how many there are. */
static size_t add_headers(const struct aws_call *call, const char **headers, char *target, size_t target_size,
                          char *digest)
{
    const struct aws_request *request = &call->request;
    size_t count = 1;
    if (services[request->service].content_type)
        headers[count++] = services[request->service].content_type;
    if (services[request->service].target) {
        snprintf(target, target_size, "X-Amz-Target: %s.%s", services[request->service].target,
                 request->operation);
        headers[count++] = target;
    }
    for (size_t i = 0; i < sizeof request->headers / sizeof *request->headers && request->headers[i]; i++)
        headers[count++] = request->headers[i];
    for (size_t i = 0; request->other && i < AWS_OTHER_HEADERS_MAX && request->other->headers[i]; i++)
        headers[count++] = request->other->headers[i];
    if (is_s3(request)) { /* which wants to see what is signed of the body */
        memcpy(digest, "X-Amz-Content-SHA256: ", sizeof "X-Amz-Content-SHA256: ");
        sha256_hex(request->body.data ? request->body.data : "", request->body.size, digest + strlen(digest));
        headers[count++] = digest;
    }
    return count;
}

/* The time for this attempt: what is left, in equal parts. */
static int64_t attempt_ms(const struct aws_call *call)
{
    int attempts_left = call->attempts_max - call->attempt + 1;
    int64_t left = left_ms(call);
    attempts_left = attempts_left > 1 ? attempts_left : 1;
    return left > attempts_left ? left / attempts_left : 1;
}

static void on_credentials(void *user, const struct sigv4_identity *identity, const struct err *err)
{
    struct aws_call *call = user;
    struct aws_client *client = call->client;
    call->signed_with = credentials_number(call->credentials);
    if (!identity) {
        finish(call, NULL, err);
        return;
    }
    const char *headers[HEADERS_MAX] = {"User-Agent: tidemill/" TIDEMILL_VERSION};
    char target[128], digest[65 + sizeof "X-Amz-Content-SHA256: "];
    size_t count = add_headers(call, headers, target, sizeof target, digest);
    struct sigv4_headers added;
    struct sigv4_request to_sign = {
        .method = call->request.method,
        .url = call->url,
        .headers = headers,
        .body = call->request.body.data,
        .body_size = call->request.body.size,
        .region = region_of(client, &call->request),
        .service = signing_of(&call->request),
        .plain_path = is_s3(&call->request),
        .wall_ms = wall_ms(client) + client->skew_ms,
    };
    sigv4_sign(identity, &to_sign, &client->signing[call->request.service], &added);
    headers[count++] = added.date;
    headers[count++] = added.authorization.data;
    if (added.token.size)
        headers[count++] = added.token.data;
    if (*call->request.trace)
        headers[count++] = call->request.trace;
    headers[count] = NULL;
    struct transport_request request = {
        .method = call->request.method,
        .url = call->url,
        .headers = headers,
        .body = call->request.body.data,
        .body_size = call->request.body.size,
        .timeout_ms = attempt_ms(call),
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .own = call->request.own,
        .idempotent = true, /* as far as any call is that the SDKs repeat, and so do we */
        .status_decides = call->request.status_decides,
        .response_max = call->request.response_max,
    };
    call->sent_us = clock_monotonic_us(reactor_clock(client->reactor));
    call->sent = transport_send(client->transport, &request, on_response, call);
    sigv4_headers_fini(&added);
}

static void begin_attempt(void *user)
{
    struct aws_call *call = user;
    if (!pass_brakes(call))
        return;
    call->attempt += !call->uncounted;
    call->uncounted = false;
    if (!call->url) {
        struct err err = {0};
        err_set(&err, ERR_CONFIG, "%s: no AWS region: set region in [aws], or AWS_REGION",
                call->request.operation);
        finish(call, NULL, &err);
        return;
    }
    if (left_ms(call) <= 0) {
        struct err err = {0};
        err_set(&err, ERR_TIMEOUT, "%s: no success within call_timeout", call->request.operation);
        finish(call, NULL, &err);
        return;
    }
    credentials_get(call->credentials, &call->wait, on_credentials, call);
}

/* What the SDKs call the services whose endpoints have other names.
 * https://docs.aws.amazon.com/sdkref/latest/guide/ss-endpoints-table.html */
static const char *set_in_environment(const char *service)
{
    static const struct {
        const char *host, *id;
    } ids[] = {
        {"secretsmanager", "SECRETS_MANAGER"},
        {"states", "SFN"},
        {"events", "EVENTBRIDGE"},
        {"email", "SESV2"},
        {"email", "SES"},
        {"monitoring", "CLOUDWATCH"},
        {"logs", "CLOUDWATCH_LOGS"},
        {"cognito-idp", "COGNITO_IDENTITY_PROVIDER"},
        {"execute-api", "APIGATEWAYMANAGEMENTAPI"},
        {"es", "OPENSEARCH"},
        {"aoss", "OPENSEARCHSERVERLESS"},
    };
    char *variable = mem_printf("AWS_ENDPOINT_URL_%s", service);
    for (char *at = variable; *at; at++)
        *at = *at == '-' || *at == '.' ? '_' : (char)toupper((unsigned char)*at);
    const char *set = profile_environment(variable);
    free(variable);
    for (size_t i = 0; !set && i < sizeof ids / sizeof *ids; i++) {
        if (strcmp(ids[i].host, service) != 0)
            continue;
        variable = mem_printf("AWS_ENDPOINT_URL_%s", ids[i].id);
        set = profile_environment(variable);
        free(variable);
    }
    return set;
}

/* What is set by hand for the service: in the INI, in the environment (AWS_ENDPOINT_URL_SFN, or _STATES), or
 * for all. NULL: nothing. */
static const char *endpoint_set_for(const struct aws_client *client, const char *service)
{
    for (int i = 0; i < AWS_OTHER; i++)
        if (client->own_endpoint[i] && strcmp(services[i].host, service) == 0)
            return client->endpoints[i];
    if (client->endpoint_ses && strcmp(service, "email") == 0)
        return client->endpoint_ses;
    const char *set = set_in_environment(service);
    return set ? set : client->endpoints[AWS_OTHER];
}

/* The request's own endpoint, what is set by hand, the public one. */
static char *url_of_other(const struct aws_client *client, const struct aws_request *request)
{
    const struct aws_other *other = request->other;
    const char *path = request->path ? request->path : "";
    const char *set = endpoint_of(request) ? endpoint_of(request) : endpoint_set_for(client, other->service);
    const char *region = region_of(client, request);
    char *endpoint = set                         ? with_slash(set)
                     : is_global(other->service) ? mem_printf("https://%s.amazonaws.com/", other->service)
                     : region                    ? public_endpoint(other->service, region)
                                                 : NULL;
    char *url = endpoint ? mem_printf("%s%s", endpoint, *path == '/' ? path + 1 : path) : NULL;
    free(endpoint);
    return url;
}

/* A bucket stands in the host's name at S3 itself, and in the path elsewhere, or where its dots would not go
 * with the certificate. */
static char *url_of(const struct aws_client *client, const struct aws_request *request)
{
    bool own = client->own_endpoint[request->service];
    if (request->other)
        return url_of_other(client, request);
    bool elsewhere = request->region || (request->place && request->place->region);
    char *endpoint = endpoint_of(request) ? with_slash(endpoint_of(request))
                     : elsewhere && !own
                         ? public_endpoint(services[request->service].host, region_of(client, request))
                         : mem_string(client->endpoints[request->service]);
    own = own || endpoint_of(request);
    const char *bucket = request->bucket, *path = request->path ? request->path : "";
    char *url = !endpoint ? NULL
                : !bucket ? mem_printf("%s%s", endpoint, path)
                : own || strchr(bucket, '.')
                    ? mem_printf("%s%s/%s", endpoint, bucket, path)
                    : mem_printf("https://%s.%s%s", bucket, endpoint + strlen("https://"), path);
    free(endpoint);
    return url;
}

struct aws_call *aws_send(struct aws_client *client, struct aws_request *request, aws_done_fn *done,
                          void *user)
{
    struct aws_call *call = mem_zero(sizeof *call);
    call->client = client;
    call->request = *request;
    request->body = BUF_INIT;
    request->bucket = request->path = request->tables = NULL;
    request->other = NULL;
    request->place = NULL;
    call->credentials = credentials_of(client, call->request.place);
    if (call->request.other) {
        call->request.operation = call->request.other->operation;
        call->request.method = call->request.other->method;
    }
    find_brakes(call);
    if (!call->request.method)
        call->request.method = "POST";
    call->url = url_of(client, &call->request);
    call->done = done;
    call->user = user;
    call->attempts_max = request->attempts ? request->attempts : ATTEMPTS_DEFAULT;
    call->deadline_ms = clock_monotonic_ms(reactor_clock(client->reactor)) +
                        (request->timeout_ms ? request->timeout_ms : client->call_timeout_ms);
    list_init(&call->wait.link);
    timer_init(&call->pause, begin_attempt, call);
    task_init(&call->start, begin_attempt, call);
    task_defer(client->reactor, &call->start);
    return call;
}
