/* credentials.c: the cache in front of credential_fetch. */
#include "aws/credentials.h"

#include <stdlib.h>
#include <string.h>

#include "aws/credential_fetch.h"
#include "base/mem.h"

#define ROLE_DURATION_S 3600      /* at most, of a role that another one assumes */
#define EARLY_MS (10 * 60 * 1000) /* before expiry: when a background fetch begins */
#define MARGIN_MS (30 * 1000)     /* keys that expire this soon are not used */
#define RETRY_MS 15000            /* after a background fetch that failed */
#define DELAY_MS_MAX (24 * 3600 * 1000)

/* Whoever fetches keys that are refused again, or cannot fetch any, waits longer each time. */
#define PAUSE_MS_MIN 1000
#define PAUSE_MS_MAX 60000

struct credentials {
    struct reactor *reactor;
    struct transport *transport;
    struct log *log;
    char *profile, *region, *endpoint_sts, *role_arn, *external_id;
    struct aws_keys keys;
    bool have, refused;
    bool used; /* since the last fetch */
    int64_t skew_ms;
    struct credential_fetch *fetch;
    struct timer refresh;
    struct list waiting;
    char *told; /* the description last logged */
    bool quiet;
    char *planned;      /* where those that are being fetched come from */
    uint64_t number;    /* of the keys at hand: grows with each fetch */
    int64_t pause_ms;   /* after the last fetch that was of no use; 0: it was */
    int64_t not_before; /* monotonic: no fetch until then */
    struct err failure; /* of the last fetch, while not_before holds */
};

static int64_t wall_ms(const struct credentials *credentials)
{
    return clock_wall_ms(reactor_clock(credentials->reactor)) + credentials->skew_ms;
}

static bool usable(const struct credentials *credentials)
{
    return credentials->have && !credentials->refused &&
           (!credentials->keys.expires_ms || wall_ms(credentials) < credentials->keys.expires_ms - MARGIN_MS);
}

static int64_t now_ms(const struct credentials *credentials)
{
    return clock_monotonic_ms(reactor_clock(credentials->reactor));
}

/* The last fetch was of no use. */
static void pause_fetching(struct credentials *credentials)
{
    credentials->pause_ms = credentials->pause_ms ? credentials->pause_ms * 2 : PAUSE_MS_MIN;
    if (credentials->pause_ms > PAUSE_MS_MAX)
        credentials->pause_ms = PAUSE_MS_MAX;
    credentials->not_before = now_ms(credentials) + credentials->pause_ms;
}

static void answer_all(struct credentials *credentials, const struct err *err)
{
    struct sigv4_identity identity = {credentials->keys.access_key, credentials->keys.secret_key,
                                      credentials->keys.session_token};
    struct list batch;
    list_init(&batch);
    /* Those who come back to wait again while answered belong to the next fetch. */
    while (!list_empty(&credentials->waiting)) {
        struct list *link = credentials->waiting.next;
        list_remove(link);
        list_append(&batch, link);
    }
    while (!list_empty(&batch)) {
        struct credentials_wait *wait = list_entry(batch.next, struct credentials_wait, link);
        list_remove(&wait->link);
        wait->fn(wait->user, err ? NULL : &identity, err);
    }
}

static void plan_refresh(struct credentials *credentials)
{
    if (!credentials->keys.expires_ms)
        return;
    int64_t left = credentials->keys.expires_ms - wall_ms(credentials);
    int64_t delay = left > 2 * EARLY_MS ? left - EARLY_MS : left / 2;
    delay = delay < RETRY_MS ? RETRY_MS : delay;
    timer_set(credentials->reactor, &credentials->refresh, delay < DELAY_MS_MAX ? delay : DELAY_MS_MAX);
}

/* Where they come from, once they have come. */
static void tell_source(struct credentials *credentials)
{
    if (credentials->quiet || !credentials->planned)
        return;
    if (credentials->told && strcmp(credentials->told, credentials->planned) == 0)
        return;
    log_info(credentials->log, "aws", "credentials from %s", credentials->planned);
    free(credentials->told);
    credentials->told = mem_string(credentials->planned);
}

static void on_fetched(void *user, struct aws_keys *keys, const struct err *err)
{
    struct credentials *credentials = user;
    credentials->fetch = NULL;
    if (keys) {
        aws_keys_fini(&credentials->keys);
        credentials->keys = *keys;
        credentials->have = true;
        credentials->used = credentials->refused = false;
        credentials->number++;
        credentials->failure.code = ERR_NONE;
        tell_source(credentials);
        plan_refresh(credentials);
        answer_all(credentials, NULL);
        return;
    }
    bool waited_for = !list_empty(&credentials->waiting);
    credentials->failure = *err;
    pause_fetching(credentials);
    if (usable(credentials)) {
        log_warn(credentials->log, "aws", "refreshing the credentials failed, the old ones still hold: %s",
                 err->text);
        timer_set(credentials->reactor, &credentials->refresh, RETRY_MS);
    }
    if (waited_for)
        answer_all(credentials, usable(credentials) ? NULL : err);
}

/* Behind those of the profile. */
static bool add_role(struct credential_plan *plan, const char *arn, const char *external_id, struct err *err)
{
    if (plan->role_count == ROLES_MAX) {
        err_set(err, ERR_CONFIG, "role %s: more than %d roles one after the other", arn, ROLES_MAX);
        return false;
    }
    plan->roles[plan->role_count++] = (struct credential_role){mem_string(arn), mem_string(external_id),
                                                               mem_string("tidemill"), ROLE_DURATION_S};
    char *description = mem_printf("%s, role %s", plan->description, arn);
    free(plan->description);
    plan->description = description;
    return true;
}

static void fetch_now(void *user)
{
    struct credentials *credentials = user;
    struct credential_plan plan;
    struct err err = {0};
    if (credentials->fetch)
        return;
    struct profiles *profiles = profiles_load();
    bool planned = credential_plan(profiles, credentials->profile, &plan, &err);
    profiles_free(profiles);
    if (planned && credentials->role_arn)
        planned = add_role(&plan, credentials->role_arn, credentials->external_id, &err);
    if (!planned) {
        credential_plan_fini(&plan);
        credentials->failure = err;
        pause_fetching(credentials);
        answer_all(credentials, &err);
        return;
    }
    free(credentials->planned);
    credentials->planned = mem_string(plan.description);
    credentials->fetch =
        credential_fetch_start(credentials->reactor, credentials->transport, &plan, credentials->region,
                               credentials->endpoint_sts, credentials->skew_ms, on_fetched, credentials);
}

/* A role that nobody asked for lately expires, and is assumed when it is asked for: there may be thousands.
 */
static void on_refresh(void *user)
{
    struct credentials *credentials = user;
    if (!credentials->role_arn || credentials->used)
        fetch_now(credentials);
}

struct credentials *credentials_new(struct reactor *reactor, struct transport *transport,
                                    const struct credentials_options *options)
{
    struct credentials *credentials = mem_zero(sizeof *credentials);
    credentials->reactor = reactor;
    credentials->transport = transport;
    credentials->log = options->log;
    credentials->quiet = options->quiet;
    credentials->profile = mem_string(options->profile);
    credentials->region = mem_string(options->region);
    credentials->endpoint_sts = mem_string(options->endpoint_sts);
    credentials->role_arn = mem_string(options->role_arn);
    credentials->external_id = mem_string(options->external_id);
    list_init(&credentials->waiting);
    timer_init(&credentials->refresh, on_refresh, credentials);
    return credentials;
}

void credentials_free(struct credentials *credentials)
{
    if (!credentials)
        return;
    timer_stop(credentials->reactor, &credentials->refresh);
    credential_fetch_cancel(credentials->fetch);
    aws_keys_fini(&credentials->keys);
    free(credentials->profile);
    free(credentials->region);
    free(credentials->endpoint_sts);
    free(credentials->role_arn);
    free(credentials->external_id);
    free(credentials->told);
    free(credentials->planned);
    free(credentials);
}

void credentials_get(struct credentials *credentials, struct credentials_wait *wait, credentials_fn *fn,
                     void *user)
{
    struct sigv4_identity identity = {credentials->keys.access_key, credentials->keys.secret_key,
                                      credentials->keys.session_token};
    credentials->used = true;
    if (usable(credentials)) {
        fn(user, &identity, NULL);
        return;
    }
    if (credentials->failure.code && now_ms(credentials) < credentials->not_before && !credentials->fetch) {
        struct err err = credentials->failure;
        fn(user, NULL, &err);
        return;
    }
    wait->fn = fn;
    wait->user = user;
    list_append(&credentials->waiting, &wait->link);
    fetch_now(credentials);
}

void credentials_cancel(struct credentials_wait *wait)
{
    list_remove(&wait->link);
}

uint64_t credentials_number(const struct credentials *credentials)
{
    return credentials->number;
}

bool credentials_refused(struct credentials *credentials, uint64_t number)
{
    if (number != credentials->number)
        return true; /* there are others by now */
    if (credentials->refused)
        return true; /* and they are being fetched */
    if (now_ms(credentials) < credentials->not_before)
        return false;
    pause_fetching(credentials); /* should the next ones be refused as well */
    log_warn(credentials->log, "aws", "the service refuses the credentials; they are fetched anew");
    credentials->refused = true;
    return true;
}

void credentials_accepted(struct credentials *credentials, uint64_t number)
{
    if (number == credentials->number && !credentials->refused)
        credentials->pause_ms = credentials->not_before = 0;
}

void credentials_set_skew(struct credentials *credentials, int64_t skew_ms)
{
    credentials->skew_ms = skew_ms;
}
