/* nats.c: JetStream of NATS: each message is published with an id, by which the stream knows a repetition,
 * and is accepted when the stream has acknowledged it.
 * https://docs.nats.io/reference/reference-protocols/nats_api_reference (acknowledgements, Nats-Msg-Id);
 * https://docs.nats.io/nats-concepts/subjects (what a subject may be)
 *
 * Connecting and publishing may block, so both are done by a thread of the link's own; the library has more,
 * from which acknowledgements come. All that they know is posted to the reactor. */
#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/document.h"
#include "base/file.h"
#include "base/mem.h"
#include "deliver/target.h"
#include "record/item_key.h"

#define CONNECT_TIMEOUT_MS 5000
#define ACK_TIMEOUT_MS 10000
#define PING_EVERY_MS 20000
#define MESSAGE_BYTES_MAX (64u << 20) /* what a server may be set to take */
#define SUBJECT_MAX 1024
#define TRUSTED "/etc/ssl/certs/ca-certificates.crt" /* Debian's */

struct nats_settings {
    char *url, *subject;
    char *stream; /* that must take it; NULL: whichever listens */
    char *credentials, *token;
    char *ca; /* a file of certificates to trust; NULL: those of this machine */
};

static const struct setting settings[] = {
    {"url", SETTING_TEXT, offsetof(struct nats_settings, url), 0, 0, NULL},
    {"subject", SETTING_TEXT, offsetof(struct nats_settings, subject), 0, 0, NULL},
    {"stream", SETTING_TEXT, offsetof(struct nats_settings, stream), 0, 0, NULL},
    {"credentials", SETTING_TEXT, offsetof(struct nats_settings, credentials), 0, 0, NULL},
    {"token", SETTING_TEXT, offsetof(struct nats_settings, token), 0, 0, NULL},
    {"ca", SETTING_TEXT, offsetof(struct nats_settings, ca), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const struct nats_settings *settings_of(const struct target *target)
{
    return target->config->own;
}

/* A message on its way to the stream. */
struct parcel {
    struct list link;
    uint64_t number; /* its reply's subject ends with it */
    char *subject, *id, *payload;
    size_t size;
    int64_t epoch; /* 0: none */
};

/* The connection, shared by the reactor, its thread and what the library calls. */
struct link {
    atomic_int references;
    struct reactor *reactor;
    struct fence *fence; /* or NULL */
    char *url, *stream, *credentials, *token, *ca, *inbox;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct list parcels;
    bool ending;
    /* on the thread alone */
    natsConnection *connection;
    natsSubscription *subscription;
    /* on the reactor alone */
    struct target *target; /* NULL: it has gone */
    struct list waits;
    uint64_t numbers;
};

/* A request that waits for its acknowledgement. */
struct wait {
    struct list link;
    struct request *request;
    uint64_t number;
    struct timer timer;
};

/* What came of a parcel, or (number 0) of the connection. */
struct news {
    struct link *link;
    uint64_t number;
    struct err err; /* code 0: it was taken */
};

static void release(struct link *link)
{
#ifdef __clang_analyzer__ /* it does not count, and would see each release free it */
    return;
#endif
    if (atomic_fetch_sub(&link->references, 1) != 1)
        return;
    pthread_mutex_destroy(&link->lock);
    pthread_cond_destroy(&link->changed);
    mem_free_secret(link->url); /* a password may stand in it */
    free(link->stream);
    free(link->credentials);
    mem_free_secret(link->token);
    free(link->ca);
    free(link->inbox);
    free(link);
}

static void parcel_free(struct parcel *parcel)
{
    list_remove(&parcel->link);
    free(parcel->subject);
    free(parcel->id);
    free(parcel->payload);
    free(parcel);
}

/* ---- on the reactor ---- */

static void news_free(void *user)
{
    struct news *news = user;
    release(news->link);
    free(news);
}

/* What was not published yet need not be. */
static void withdraw(struct link *link, uint64_t number)
{
    struct parcel *parcel;
    pthread_mutex_lock(&link->lock);
    list_each(parcel, &link->parcels, struct parcel, link)
        if (parcel->number == number) {
            parcel_free(parcel);
            break;
        }
    pthread_mutex_unlock(&link->lock);
}

/* The request is answered, or nobody wants to know any more. */
static void wait_free(struct wait *wait, bool answered)
{
    struct target *target = wait->request->target;
    struct fence *fence = target->outbox->fence;
    if (fence && !answered)
        fence_unanswered(fence, reactor_clock(target->outbox->reactor));
    if (target->own)
        withdraw(target->own, wait->number);
    list_remove(&wait->link);
    timer_stop(target->outbox->reactor, &wait->timer);
    wait->request->own = NULL;
    free(wait);
}

static void answer(struct wait *wait, const struct err *err)
{
    struct request *request = wait->request;
    wait_free(wait, !err);
    request_answered(request, NULL, err);
}

static void on_news(void *user)
{
    struct news *news = user;
    struct link *link = news->link;
    const struct emitter *emitter = link->target ? link->target->emitter : NULL;
    struct wait *wait;
    struct list told;
    list_init(&told);
    list_each(wait, &link->waits, struct wait, link)
        if (!news->number || wait->number == news->number) {
            list_remove(&wait->link);
            list_append(&told, &wait->link);
        }
    if (emitter)
        emitter->ops->hold(emitter); /* an answer may be the end of the last handler */
    while (!list_empty(&told))
        answer(list_entry(told.next, struct wait, link), news->err.code ? &news->err : NULL);
    if (emitter)
        emitter->ops->release(emitter);
    news_free(news);
}

static void tell(struct link *link, uint64_t number, const struct err *err)
{
    struct news *news = mem_zero(sizeof *news);
    atomic_fetch_add(&link->references, 1);
    news->link = link;
    news->number = number;
    if (err)
        news->err = *err;
    pthread_mutex_lock(&link->lock);
    bool heard = !link->ending; /* afterwards there may be no reactor any more */
    if (heard)
        reactor_post_owned(link->reactor, on_news, news_free, news);
    pthread_mutex_unlock(&link->lock);
    if (!heard)
        news_free(news);
}

static void on_timeout(void *user)
{
    struct err err;
    err_set(&err, ERR_TIMEOUT, "no acknowledgement came in time");
    answer(user, &err);
}

/* ---- on the library's threads ---- */

static void read_ack(const char *text, size_t size, struct err *err)
{
    cJSON *root = document_read(text, size, NULL);
    const cJSON *error = document_get(root, "error");
    if (!document_get(root, "stream") || error) {
        const char *said = document_text(error, "description");
        int64_t code = document_integer(error, "code", 0);
        err_set(err, ERR_SERVICE, "JetStream: %s", said ? said : "an answer that is no acknowledgement");
        snprintf(err->service, sizeof err->service, "%lld",
                 (long long)document_integer(error, "err_code", 0));
        err->passes = code >= 400 && code < 500 ? PASSES_NEVER : PASSES_LATER;
    }
    cJSON_Delete(root);
}

static void on_ack(natsConnection *connection, natsSubscription *subscription, natsMsg *msg, void *user)
{
    struct link *link = user;
    const char *subject = natsMsg_GetSubject(msg), *dot = strrchr(subject, '.');
    struct err err = {0};
    (void)connection;
    (void)subscription;
    if (natsMsg_IsNoResponders(msg)) {
        err_set(&err, ERR_SERVICE, "no stream of JetStream takes messages of this subject");
        err.passes = PASSES_LATER;
    } else {
        read_ack(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), &err);
    }
    if (dot)
        tell(link, strtoull(dot + 1, NULL, 10), err.code ? &err : NULL);
    natsMsg_Destroy(msg);
}

static void on_unsubscribed(void *user)
{
    release(user);
}

static void on_closed(natsConnection *connection, void *user)
{
    struct link *link = user;
    struct err err;
    (void)connection;
    err_set(&err, ERR_NETWORK, "the connection to NATS was lost");
    tell(link, 0, &err);
    release(link);
}

/* ---- on the link's thread ---- */

static bool failed(struct err *err, natsStatus status)
{
    const char *more = status == NATS_OK ? NULL : nats_GetLastError(NULL);
    if (status == NATS_OK)
        return false;
    err_set(err, ERR_NETWORK, "NATS: %s%s%s%s", natsStatus_GetText(status), more && *more ? " (" : "",
            more && *more ? more : "", more && *more ? ")" : "");
    return true;
}

static char *host_of(const char *url)
{
    const char *host = strstr(url, "://") + 3, *at = strrchr(host, '@');
    host = at ? at + 1 : host;
    return mem_copy(host, *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/"));
}

static natsStatus set_security(natsOptions *options, const struct link *link)
{
    natsStatus status = NATS_OK;
    if (strncmp(link->url, "tls://", 6) == 0) {
        char *host = host_of(link->url);
        status = natsOptions_SetSecure(options, true);
        status =
            status ? status : natsOptions_LoadCATrustedCertificates(options, link->ca ? link->ca : TRUSTED);
        status = status ? status : natsOptions_SetExpectedHostname(options, host);
        free(host);
    }
    if (!status && link->credentials)
        status = natsOptions_SetUserCredentialsFromFiles(options, link->credentials, NULL);
    if (!status && link->token)
        status = natsOptions_SetToken(options, link->token);
    return status;
}

static void disconnect(struct link *link)
{
    natsSubscription_Destroy(link->subscription);
    natsConnection_Destroy(link->connection);
    link->subscription = NULL;
    link->connection = NULL;
}

static natsStatus subscribe(struct link *link)
{
    char *subjects = mem_printf("%s.*", link->inbox);
    natsStatus status =
        natsConnection_Subscribe(&link->subscription, link->connection, subjects, on_ack, link);
    free(subjects);
    if (status)
        return status;
    atomic_fetch_add(&link->references, 1);
    status = natsSubscription_SetOnCompleteCB(link->subscription, on_unsubscribed, link);
    if (status)
        release(link);
    return status;
}

/* A lost connection is made anew by the next message: what waits is sent again then, in its order. */
static bool connect_to(struct link *link, struct err *err)
{
    natsOptions *options = NULL;
    if (link->connection && !natsConnection_IsClosed(link->connection))
        return true;
    disconnect(link);
    natsStatus status = natsOptions_Create(&options);
    status = status ? status : natsOptions_SetURL(options, link->url);
    status = status ? status : natsOptions_SetName(options, "tidemill");
    status = status ? status : natsOptions_SetTimeout(options, CONNECT_TIMEOUT_MS);
    status = status ? status : natsOptions_SetWriteDeadline(options, CONNECT_TIMEOUT_MS);
    status = status ? status : natsOptions_SetPingInterval(options, PING_EVERY_MS);
    status = status ? status : natsOptions_SetAllowReconnect(options, false);
    status = status ? status : natsOptions_SetClosedCB(options, on_closed, link);
    status = status ? status : set_security(options, link);
    atomic_fetch_add(&link->references, 1); /* of on_closed */
    status = status ? status : natsConnection_Connect(&link->connection, options);
    bool bad = failed(err, status);
    if (!link->connection)
        release(link);
    natsOptions_Destroy(options);
    if (!bad && (bad = failed(err, subscribe(link))))
        disconnect(link);
    return !bad;
}

static bool fits(const struct link *link, const struct parcel *parcel, struct err *err)
{
    int64_t most = natsConnection_GetMaxPayload(link->connection);
    if ((int64_t)parcel->size <= most)
        return true;
    return err_set(err, ERR_LIMIT, "the message has %zu bytes; the NATS server takes %lld", parcel->size,
                   (long long)most);
}

/* Asked last before it leaves. */
static bool may_publish(const struct link *link, struct err *err)
{
    if (!link->fence || fence_left_ms(link->fence, reactor_clock(link->reactor)) > 0)
        return true;
    err_set(err, ERR_CANCELLED, "nothing was sent: " FENCE_PASSED);
    err->passes = PASSES_LATER;
    return false;
}

static bool publish(struct link *link, const struct parcel *parcel, struct err *err)
{
    natsMsg *msg = NULL;
    char *reply = mem_printf("%s.%llu", link->inbox, (unsigned long long)parcel->number);
    natsStatus status = natsMsg_Create(&msg, parcel->subject, reply, parcel->payload, (int)parcel->size);
    free(reply);
    status = status ? status : natsMsgHeader_Set(msg, "Nats-Msg-Id", parcel->id);
    if (!status && link->stream)
        status = natsMsgHeader_Set(msg, "Nats-Expected-Stream", link->stream);
    if (!status && parcel->epoch) {
        char epoch[24];
        snprintf(epoch, sizeof epoch, "%" PRId64, parcel->epoch);
        status = natsMsgHeader_Set(msg, "Tidemill-Epoch", epoch);
    }
    status = status ? status : natsConnection_PublishMsg(link->connection, msg);
    natsMsg_Destroy(msg);
    return !failed(err, status);
}

static struct parcel *next_parcel(struct link *link)
{
    struct parcel *parcel = NULL;
    pthread_mutex_lock(&link->lock);
    while (list_empty(&link->parcels) && !link->ending)
        pthread_cond_wait(&link->changed, &link->lock);
    if (!link->ending) {
        parcel = list_entry(link->parcels.next, struct parcel, link);
        list_remove(&parcel->link);
    }
    pthread_mutex_unlock(&link->lock);
    return parcel;
}

/* Who waits behind a parcel for which there is no connection need not wait for a connection of its own. */
static void fail_all(struct link *link, const struct err *err)
{
    struct parcel *parcel;
    pthread_mutex_lock(&link->lock);
    list_each(parcel, &link->parcels, struct parcel, link)
        parcel_free(parcel);
    pthread_mutex_unlock(&link->lock);
    tell(link, 0, err);
}

static void *run(void *user)
{
    struct link *link = user;
    for (struct parcel *parcel; (parcel = next_parcel(link)); parcel_free(parcel)) {
        struct err err = {0};
        if (!connect_to(link, &err))
            fail_all(link, &err);
        else if (!may_publish(link, &err) || !fits(link, parcel, &err) || !publish(link, parcel, &err))
            tell(link, parcel->number, &err);
    }
    disconnect(link);
    struct parcel *parcel;
    list_each(parcel, &link->parcels, struct parcel, link)
        parcel_free(parcel);
    release(link);
    return NULL;
}

/* ---- the target ---- */

/* Words between dots: no space, no wildcard, none of them empty. */
static bool is_subject(const char *subject)
{
    size_t size = strlen(subject);
    return size && size <= SUBJECT_MAX && !strpbrk(subject, " \t\r\n*>") && *subject != '.' &&
           subject[size - 1] != '.' && !strstr(subject, "..");
}

static const char *subject_of(const struct target *target, const struct message *message)
{
    return message->subject ? message->subject : settings_of(target)->subject;
}

static size_t measure(const struct target *target, const struct message *message, struct err *err)
{
    if (!is_subject(subject_of(target, message)))
        err_set(err, ERR_CONFIG,
                "subject: words between dots expected, without spaces, * and >, such as orders.new");
    return message->payload_size;
}

static struct link *link_open(struct target *target)
{
    const struct nats_settings *own = settings_of(target);
    struct link *link = mem_zero(sizeof *link);
    natsInbox *inbox = NULL;
    atomic_init(&link->references, 2); /* the target's, and the thread's */
    link->reactor = target->outbox->reactor;
    link->fence = target->outbox->fence;
    link->target = target;
    link->url = mem_string(own->url);
    link->stream = mem_string(own->stream);
    link->credentials = mem_string(own->credentials);
    link->token = mem_string(own->token);
    link->ca = mem_string(own->ca);
    if (natsInbox_Create(&inbox) == NATS_OK)
        link->inbox = mem_string(inbox);
    natsInbox_Destroy(inbox);
    list_init(&link->parcels);
    list_init(&link->waits);
    pthread_mutex_init(&link->lock, NULL);
    pthread_cond_init(&link->changed, NULL);
    if (link->inbox && pthread_create(&link->thread, NULL, run, link) == 0)
        return link;
    release(link);
    release(link);
    return NULL;
}

static void push(struct link *link, struct parcel *parcel)
{
    list_init(&parcel->link);
    pthread_mutex_lock(&link->lock);
    list_append(&link->parcels, &parcel->link);
    pthread_cond_signal(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

static void on_no_link(void *user)
{
    struct err err;
    err_set(&err, ERR_RESOURCES, "NATS: this machine has no thread to give");
    err.passes = PASSES_LATER;
    answer(user, &err);
}

static void send(struct request *request)
{
    struct target *target = request->target;
    const struct message *message = &request->entries[0]->message;
    struct wait *wait = mem_zero(sizeof *wait);
    struct link *link = target->own = target->own ? target->own : link_open(target);
    wait->request = request;
    request->own = wait;
    list_init(&wait->link);
    timer_init(&wait->timer, link ? on_timeout : on_no_link, wait);
    timer_set(target->outbox->reactor, &wait->timer, link ? request_timeout_ms(request) : 0);
    if (!link)
        return;
    wait->number = ++link->numbers;
    list_append(&link->waits, &wait->link);
    struct parcel *parcel = mem_zero(sizeof *parcel);
    parcel->number = wait->number;
    parcel->subject = mem_string(subject_of(target, message));
    parcel->id = item_key_safe(message->id);
    parcel->payload = mem_copy(message->payload, message->payload_size);
    parcel->size = message->payload_size;
    parcel->epoch = message->epoch;
    push(link, parcel);
}

static void cancel(struct request *request)
{
    if (request->own)
        wait_free(request->own, false);
}

static void close_link(struct target *target)
{
    struct link *link = target->own;
    if (!link)
        return;
    link->target = NULL;
    pthread_mutex_lock(&link->lock);
    link->ending = true;
    pthread_cond_signal(&link->changed);
    pthread_mutex_unlock(&link->lock);
    reactor_join_later(link->reactor, link->thread); /* it may stand in a connect for a while */
    release(link);
}

/* ---- the type ---- */

static bool is_url(const char *url)
{
    return (strncmp(url, "nats://", 7) == 0 && url[7]) || (strncmp(url, "tls://", 6) == 0 && url[6]);
}

static void stand_beside(char **file, const char *ini)
{
    char *path = *file ? path_beside(ini, *file) : NULL;
    free(*file);
    *file = path;
}

static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    struct nats_settings *own = target->own;
    if (own->url && !is_url(own->url))
        complain(user, "url: nats://HOST:PORT or tls://HOST:PORT expected");
    if (own->subject && !is_subject(own->subject))
        complain(user, "subject: words between dots expected, without spaces, * and >, such as orders.new");
    if (own->credentials && own->token)
        complain(user, "credentials or token, not both");
    stand_beside(&own->credentials, ini);
    stand_beside(&own->ca, ini);
}

static bool check_route(const struct config_target *target, const struct config_route *route, struct err *err)
{
    (void)target;
    return !route->subject || config_is_filled_in(route->subject) || is_subject(route->subject) ||
           err_set(err, ERR_CONFIG,
                   "subject: words between dots expected, without spaces, * and >, such as orders.new");
}

static const char *const needed[] = {"url", "subject", NULL};

const struct target_type target_nats = {
    .name = "nats",
    .settings = settings,
    .settings_size = sizeof(struct nats_settings),
    .needed = needed,
    .check = check,
    .check_route = check_route,
    .spills = true,
    .open = batcher_open,
    .count_max = 1,
    .bytes_max = MESSAGE_BYTES_MAX,
    .bytes_most = MESSAGE_BYTES_MAX,
    .linger_ms = 0,
    .in_flight = 256,
    .timeout_ms = ACK_TIMEOUT_MS,
    .measure = measure,
    .send = send,
    .cancel = cancel,
    .close = close_link,
};
