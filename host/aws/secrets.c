/* secrets.c: see secrets.h. */
#include "aws/secrets.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aws/client.h"
#include "base/arn.h"
#include "base/document.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/transport_network.h"

#define PATIENCE_MS 4000 /* who starts, or reads the INI again, waits for it */
#define TURN_MS 100

struct secrets {
    atomic_bool stopped;
    pthread_mutex_t lock;
    struct map known; /* "ssm:NAME" -> char *, owned */
};

struct secrets *secrets_new(void)
{
    struct secrets *secrets = mem_zero(sizeof *secrets);
    pthread_mutex_init(&secrets->lock, NULL);
    return secrets;
}

void secrets_stop(struct secrets *secrets, bool stop)
{
    atomic_store(&secrets->stopped, stop);
}

void secrets_free(struct secrets *secrets)
{
    size_t at = 0;
    if (!secrets)
        return;
    for (char *value; (value = map_next(&secrets->known, &at, NULL));)
        mem_free_secret(value);
    map_fini(&secrets->known);
    pthread_mutex_destroy(&secrets->lock);
    free(secrets);
}

/* ---- asking ---- */

struct asking {
    bool done;
    const char *kind, *member; /* member: of the secret's object; NULL: all of it */
    char *value;
    struct err *err;
};

static const char *find_value(struct asking *asking, const cJSON *answer, cJSON **object)
{
    const char *whole = strcmp(asking->kind, "ssm") == 0
                            ? document_text(document_get(answer, "Parameter"), "Value")
                            : document_text(answer, "SecretString");
    if (!whole)
        err_set(asking->err, ERR_CONFIG,
                document_get(answer, "SecretBinary") ? "it is binary, and no text" : "an answer without it");
    if (!whole || !asking->member)
        return whole;
    *object = document_read(whole, strlen(whole), NULL);
    const cJSON *member = document_get(*object, asking->member);
    if (!cJSON_IsString(member) && !cJSON_IsNumber(member))
        err_set(asking->err, ERR_CONFIG, "it is no JSON object with a text or a number \"%s\"",
                asking->member);
    return cJSON_IsString(member) ? member->valuestring : NULL;
}

static void read_answer(struct asking *asking, struct transport_response *response)
{
    cJSON *answer = document_read(response->body.data, response->body.size, NULL), *object = NULL;
    const char *value = find_value(asking, answer, &object);
    const cJSON *number = asking->member ? document_get(object, asking->member) : NULL;
    if (value)
        asking->value = mem_string(value);
    else if (cJSON_IsNumber(number))
        asking->value = cJSON_PrintUnformatted(number);
    cJSON_Delete(object);
    cJSON_Delete(answer);
}

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct asking *asking = user;
    asking->done = true;
    if (err)
        *asking->err = *err;
    else
        read_answer(asking, response);
}

static void make_request(struct asking *asking, const char *name, size_t size, struct aws_request *request)
{
    bool parameter = strcmp(asking->kind, "ssm") == 0;
    struct aws_other *other = mem_zero(sizeof *other);
    char *part = mem_copy(name, size);
    cJSON *body = cJSON_CreateObject();
    document_add_text(body, parameter ? "Name" : "SecretId", part);
    if (parameter)
        cJSON_AddBoolToObject(body, "WithDecryption", true);
    char *text = cJSON_PrintUnformatted(body);
    *other = (struct aws_other){.service = mem_string(parameter ? "ssm" : "secretsmanager"),
                                .signing = mem_string(parameter ? "ssm" : "secretsmanager"),
                                .operation = mem_string(parameter ? "GetParameter" : "GetSecretValue"),
                                .method = mem_string("POST")};
    other->headers[0] = mem_string("Content-Type: application/x-amz-json-1.1");
    other->headers[1] =
        mem_printf("X-Amz-Target: %s.%s", parameter ? "AmazonSSM" : "secretsmanager", other->operation);
    *request = (struct aws_request){.service = AWS_OTHER,
                                    .operation = other->operation,
                                    .other = other,
                                    .path = mem_string("/"),
                                    .timeout_ms = PATIENCE_MS};
    if (!parameter && strncmp(name, "arn:", 4) == 0) { /* it may be another region's */
        request->place = mem_zero(sizeof *request->place);
        request->place->region = region_of_arn(part);
    }
    buf_add_text(&request->body, text);
    free(text);
    cJSON_Delete(body);
    free(part);
}

/* Owned; NULL and `err`. */
static char *ask(struct secrets *secrets, const struct config_aws *aws, const char *kind, const char *name,
                 struct err *err)
{
    const char *hash = strcmp(kind, "secret") == 0 ? strchr(name, '#') : NULL;
    struct asking asking = {.kind = kind, .member = hash ? hash + 1 : NULL, .err = err};
    struct clock clock = clock_system();
    struct log *log = log_new(STDERR_FILENO, LOG_TEXT, LOG_ERROR, &clock);
    struct reactor *reactor = reactor_new(&clock);
    struct transport *transport = transport_network_new(
        reactor, &(struct transport_network_options){
                     .connections = 1,
                     .ca_bundle = aws->ca_bundle ? aws->ca_bundle : getenv("AWS_CA_BUNDLE"),
                 });
    struct aws_client *client = aws_client_new(reactor, transport, aws, log, err);
    if (client) {
        struct aws_request request;
        make_request(&asking, name, hash ? (size_t)(hash - name) : strlen(name), &request);
        struct aws_call *call = aws_send(client, &request, on_answer, &asking);
        while (!asking.done && !atomic_load(&secrets->stopped))
            reactor_turn(reactor, TURN_MS);
        if (!asking.done) {
            aws_cancel(call);
            err_set(err, ERR_CANCELLED, "the host stops");
        }
        aws_client_free(client);
    }
    transport_free(transport);
    reactor_free(reactor);
    log_free(log);
    return asking.value;
}

bool secrets_ask(void *user, const struct config_aws *aws, const char *kind, const char *name,
                 struct buf *out, struct err *err)
{
    struct secrets *secrets = user;
    char *value = ask(secrets, aws, kind, name, err), *key = mem_printf("%s:%s", kind, name);
    if (value) {
        buf_add_text(out, value);
        pthread_mutex_lock(&secrets->lock);
        mem_free_secret(map_remove(&secrets->known, key));
        map_set(&secrets->known, key, value);
        pthread_mutex_unlock(&secrets->lock);
    }
    free(key);
    return value != NULL;
}

bool secrets_know(void *user, const struct config_aws *aws, const char *kind, const char *name,
                  struct buf *out, struct err *err)
{
    struct secrets *secrets = user;
    char *key = mem_printf("%s:%s", kind, name);
    (void)aws;
    pthread_mutex_lock(&secrets->lock);
    const char *value = map_get(&secrets->known, key);
    if (value)
        buf_add_text(out, value);
    pthread_mutex_unlock(&secrets->lock);
    free(key);
    return value || err_set(err, ERR_CONFIG, "it could not be asked for");
}
