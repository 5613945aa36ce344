/* credentials.c: the cache in front of credential_fetch. */
#include "aws/credentials.h"

#include <stdlib.h>
#include <string.h>

#include "aws/credential_fetch.h"
#include "base/mem.h"

#define EARLY_MS (10 * 60 * 1000) /* before expiry: when a background fetch begins */
#define MARGIN_MS (30 * 1000)     /* keys that expire this soon are not used */
#define RETRY_MS 15000            /* after a background fetch that failed */
#define DELAY_MS_MAX (24 * 3600 * 1000)

struct credentials {
    struct reactor *reactor;
    struct transport *transport;
    struct log *log;
    char *profile, *region, *endpoint_sts;
    struct aws_keys keys;
    bool have, refused;
    int64_t skew_ms;
    struct credential_fetch *fetch;
    struct timer refresh;
    struct list waiting;
    char *told; /* the description last logged */
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

static void on_fetched(void *user, struct aws_keys *keys, const struct err *err)
{
    struct credentials *credentials = user;
    credentials->fetch = NULL;
    if (keys) {
        aws_keys_fini(&credentials->keys);
        credentials->keys = *keys;
        credentials->have = true;
        credentials->refused = false;
        plan_refresh(credentials);
        answer_all(credentials, NULL);
        return;
    }
    bool waited_for = !list_empty(&credentials->waiting);
    if (usable(credentials)) {
        log_warn(credentials->log, "aws", "refreshing the credentials failed, the old ones still hold: %s",
                 err->text);
        timer_set(credentials->reactor, &credentials->refresh, RETRY_MS);
    }
    if (waited_for)
        answer_all(credentials, usable(credentials) ? NULL : err);
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
    if (!planned) {
        credential_plan_fini(&plan);
        answer_all(credentials, &err);
        return;
    }
    if (!credentials->told || strcmp(credentials->told, plan.description) != 0) {
        log_info(credentials->log, "aws", "credentials from %s", plan.description);
        free(credentials->told);
        credentials->told = mem_string(plan.description);
    }
    credentials->fetch =
        credential_fetch_start(credentials->reactor, credentials->transport, &plan, credentials->region,
                               credentials->endpoint_sts, credentials->skew_ms, on_fetched, credentials);
}

struct credentials *credentials_new(struct reactor *reactor, struct transport *transport,
                                    const struct credentials_options *options)
{
    struct credentials *credentials = mem_zero(sizeof *credentials);
    credentials->reactor = reactor;
    credentials->transport = transport;
    credentials->log = options->log;
    credentials->profile = mem_string(options->profile);
    credentials->region = mem_string(options->region);
    credentials->endpoint_sts = mem_string(options->endpoint_sts);
    list_init(&credentials->waiting);
    timer_init(&credentials->refresh, fetch_now, credentials);
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
    free(credentials->told);
    free(credentials);
}

void credentials_get(struct credentials *credentials, struct credentials_wait *wait, credentials_fn *fn,
                     void *user)
{
    struct sigv4_identity identity = {credentials->keys.access_key, credentials->keys.secret_key,
                                      credentials->keys.session_token};
    if (usable(credentials)) {
        fn(user, &identity, NULL);
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

void credentials_refused(struct credentials *credentials)
{
    credentials->refused = true;
}

void credentials_set_skew(struct credentials *credentials, int64_t skew_ms)
{
    credentials->skew_ms = skew_ms;
}
