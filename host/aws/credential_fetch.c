/* credential_fetch.c: one step at a time; whatever step is under way is in `step`, `process` or `soon`. */
#include "aws/credential_fetch.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "aws/fetch.h"
#include "aws/process.h"
#include "aws/sigv4.h"
#include "base/document.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "net/url.h"

#define STS_TIMEOUT_MS 10000
#define STS_ATTEMPTS 3
#define LINK_LOCAL_TIMEOUT_MS 1000
#define LINK_LOCAL_ATTEMPTS 3
#define PROCESS_TIMEOUT_MS 60000
#define TOKEN_BYTES_MAX (64u << 10)
#define CONTAINER_HOST "http://169.254.170.2"
#define INSTANCE_HOST "http://169.254.169.254"

struct credential_fetch {
    struct reactor *reactor;
    struct transport *transport;
    struct credential_plan plan;
    const char *region;
    const char *endpoint_sts;
    int64_t skew_ms;
    struct fetch *step;
    struct process *process;
    struct task soon;
    struct aws_keys keys; /* as far as they are */
    struct err err;       /* of a step that failed at once */
    size_t roles_assumed;
    char *instance_token; /* "X-aws-ec2-metadata-token: ..." */
    credential_fetch_fn *done;
    void *user;
};

static void fetch_free(struct credential_fetch *fetch)
{
    task_cancel(&fetch->soon);
    credential_plan_fini(&fetch->plan);
    aws_keys_fini(&fetch->keys);
    mem_free_secret(fetch->instance_token);
    free(fetch);
}

void credential_fetch_cancel(struct credential_fetch *fetch)
{
    if (!fetch)
        return;
    fetch_cancel(fetch->step);
    process_cancel(fetch->process);
    fetch_free(fetch);
}

static void finish(struct credential_fetch *fetch, const struct err *err)
{
    credential_fetch_fn *done = fetch->done;
    void *user = fetch->user;
    struct aws_keys keys = fetch->keys;
    struct err copy = err ? *err : (struct err){0};
    fetch->keys = (struct aws_keys){0};
    if (err)
        aws_keys_fini(&keys);
    fetch_free(fetch);
    done(user, err ? NULL : &keys, err ? &copy : NULL);
}

static void fail(struct credential_fetch *fetch, const struct err *err, const char *what)
{
    struct err copy = *err;
    err_prefix(&copy, "%s", what);
    finish(fetch, &copy);
}

static void next_role(struct credential_fetch *fetch);

/* ---- STS ---- */

static char *sts_url(const struct credential_fetch *fetch)
{
    if (fetch->endpoint_sts)
        return mem_string(fetch->endpoint_sts);
    const char *suffix = strncmp(fetch->region, "cn-", 3) == 0 ? "amazonaws.com.cn" : "amazonaws.com";
    return mem_printf("https://sts.%s.%s/", fetch->region, suffix);
}

static void on_sts(void *user, int status, const char *body, size_t size, const struct err *err)
{
    struct credential_fetch *fetch = user;
    struct err problem = {0};
    struct aws_keys keys;
    (void)size;
    fetch->step = NULL;
    if (err) {
        fail(fetch, err, "STS");
        return;
    }
    if (!sts_read(status, body, &keys, &problem)) {
        finish(fetch, &problem);
        return;
    }
    aws_keys_fini(&fetch->keys);
    fetch->keys = keys;
    next_role(fetch);
}

/* Signed with the keys got so far; web identity needs none. */
static void call_sts(struct credential_fetch *fetch, char *body, bool sign)
{
    char *url = sts_url(fetch);
    const char *headers[5] = {"Content-Type: application/x-www-form-urlencoded; charset=utf-8"};
    struct sigv4_headers added = {0};
    struct sigv4_cache cache = {0};
    if (sign) {
        struct sigv4_identity identity = {fetch->keys.access_key, fetch->keys.secret_key,
                                          fetch->keys.session_token};
        struct sigv4_request request = {
            .method = "POST",
            .url = url,
            .headers = headers,
            .body = body,
            .body_size = strlen(body),
            .region = fetch->region,
            .service = "sts",
            .wall_ms = clock_wall_ms(reactor_clock(fetch->reactor)) + fetch->skew_ms,
        };
        sigv4_sign(&identity, &request, &cache, &added);
        size_t count = 1;
        headers[count++] = added.date;
        headers[count++] = added.authorization.data;
        if (added.token.size)
            headers[count++] = added.token.data;
    }
    fetch->step = fetch_start(fetch->reactor, fetch->transport,
                              &(struct fetch_request){.method = "POST",
                                                      .url = url,
                                                      .headers = headers,
                                                      .body = body,
                                                      .timeout_ms = STS_TIMEOUT_MS,
                                                      .attempts = STS_ATTEMPTS},
                              on_sts, fetch);
    sigv4_headers_fini(&added);
    explicit_bzero(&cache, sizeof cache);
    mem_free_secret(body);
    free(url);
}

/* They go into the head of each request. */
static bool are_printable(const struct aws_keys *keys)
{
    const char *const texts[] = {keys->access_key, keys->secret_key, keys->session_token};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (const char *c = texts[i] ? texts[i] : ""; *c; c++)
            if (*c < '!' || *c > '~')
                return false;
    return true;
}

static void next_role(struct credential_fetch *fetch)
{
    struct err err;
    if (!are_printable(&fetch->keys)) {
        err_set(&err, ERR_PARSE,
                "credentials from %s: they hold a blank, a line's end or another character that none has",
                fetch->plan.description);
        finish(fetch, &err);
    } else if (fetch->roles_assumed == fetch->plan.role_count)
        finish(fetch, NULL);
    else
        call_sts(fetch, sts_assume_role_body(&fetch->plan.roles[fetch->roles_assumed++]), true);
}

/* ---- the JSON form that processes, containers and instances answer ---- */

static bool read_json(const char *text, size_t size, struct aws_keys *keys, struct err *err)
{
    bool ok = false;
    cJSON *root = document_read(text, size, err);
    if (root) {
        const char *token = document_text(root, "SessionToken");
        const char *expiration = document_text(root, "Expiration");
        const char *problem = document_text(root, "Message");
        keys->access_key = mem_string(document_text(root, "AccessKeyId"));
        keys->secret_key = mem_string(document_text(root, "SecretAccessKey"));
        keys->session_token = mem_string(token ? token : document_text(root, "Token"));
        keys->expires_ms = expiration ? clock_from_iso8601(expiration) : 0;
        if (!keys->access_key || !keys->secret_key)
            err_set(err, ERR_PARSE, "the answer holds no AccessKeyId and SecretAccessKey%s%s",
                    problem ? ": " : "", problem ? problem : "");
        else if (keys->expires_ms < 0)
            err_set(err, ERR_PARSE, "Expiration is not a time: %s", expiration);
        else
            ok = true;
    }
    if (!ok)
        aws_keys_fini(keys);
    cJSON_Delete(root);
    return ok;
}

static void take_json(struct credential_fetch *fetch, int status, const char *body, size_t size,
                      const struct err *err, const char *what)
{
    struct err problem = {0};
    if (!err && status != 200) {
        err_set(&problem, ERR_SERVICE, "HTTP status %d", status);
        err = &problem;
    } else if (!err && !read_json(body, size, &fetch->keys, &problem)) {
        err = &problem;
    }
    if (err)
        fail(fetch, err, what);
    else
        next_role(fetch);
}

/* ---- sources ---- */

static void on_container(void *user, int status, const char *body, size_t size, const struct err *err)
{
    struct credential_fetch *fetch = user;
    fetch->step = NULL;
    take_json(fetch, status, body, size, err, "the container's credentials endpoint");
}

/* Plain HTTP may go only where nobody listens on the way: the machine itself, and the addresses of ECS and
 * EKS. https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html */
static bool container_host_allowed(const char *url)
{
    static const char *const hosts[] = {"169.254.170.2", "169.254.170.23", "[fd00:ec2::23]",
                                        "localhost",     "[::1]",          NULL};
    if (strncasecmp(url, "https://", 8) == 0)
        return true;
    if (strncasecmp(url, "http://", 7) != 0)
        return false;
    const char *host = url + 7;
    if (memchr(host, '@', strcspn(host, "/?#")))
        return false; /* what looks like the host is a user's name */
    size_t size = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
    for (size_t i = 0; hosts[i]; i++)
        if (strlen(hosts[i]) == size && strncasecmp(hosts[i], host, size) == 0)
            return true;
    return size >= 7 && strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == size;
}

static bool start_container(struct credential_fetch *fetch, struct err *err)
{
    const char *relative = getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *file = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    char *url = relative && *relative ? mem_printf(CONTAINER_HOST "%s", relative) : mem_string(full);
    char *header = NULL, *text = NULL;
    bool ok = false;
    if (!container_host_allowed(url)) {
        char *origin = url_origin(url);
        err_set(err, ERR_CONFIG, "AWS_CONTAINER_CREDENTIALS_FULL_URI: %s is neither https nor this machine",
                origin);
        free(origin);
        goto out;
    }
    if (file && *file) {
        text = file_read(file, TOKEN_BYTES_MAX, NULL, err);
        if (!text)
            goto out;
        text[strcspn(text, "\r\n")] = '\0';
        token = text;
    }
    if (token && token[strcspn(token, "\r\n")]) {
        err_set(err, ERR_CONFIG, "AWS_CONTAINER_AUTHORIZATION_TOKEN: it has more than one line");
        goto out;
    }
    if (token && *token)
        header = mem_printf("Authorization: %s", token);
    fetch->step = fetch_start(fetch->reactor, fetch->transport,
                              &(struct fetch_request){.method = "GET",
                                                      .url = url,
                                                      .headers = (const char *[]){header, NULL},
                                                      .timeout_ms = LINK_LOCAL_TIMEOUT_MS * 5,
                                                      .attempts = LINK_LOCAL_ATTEMPTS,
                                                      .direct = true},
                              on_container, fetch);
    ok = true;
out:
    mem_free_secret(header);
    mem_free_secret(text);
    free(url);
    return ok;
}

static const char *instance_host(void)
{
    const char *host = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    return host && *host ? host : INSTANCE_HOST;
}

static void ask_instance(struct credential_fetch *fetch, const char *method, const char *path,
                         const char *header, fetch_fn *done)
{
    const char *host = instance_host();
    size_t size = strlen(host);
    char *url = mem_printf("%.*s%s", (int)(size && host[size - 1] == '/' ? size - 1 : size), host, path);
    fetch->step = fetch_start(fetch->reactor, fetch->transport,
                              &(struct fetch_request){.method = method,
                                                      .url = url,
                                                      .headers = (const char *[]){header, NULL},
                                                      .body = strcmp(method, "PUT") == 0 ? "" : NULL,
                                                      .timeout_ms = LINK_LOCAL_TIMEOUT_MS,
                                                      .attempts = LINK_LOCAL_ATTEMPTS,
                                                      .direct = true},
                              done, fetch);
    free(url);
}

static void on_instance_keys(void *user, int status, const char *body, size_t size, const struct err *err)
{
    struct credential_fetch *fetch = user;
    fetch->step = NULL;
    take_json(fetch, status, body, size, err, "the instance's role");
}

static void on_instance_role(void *user, int status, const char *body, size_t size, const struct err *err)
{
    struct credential_fetch *fetch = user;
    struct err problem = {0};
    (void)size;
    fetch->step = NULL;
    if (err || status != 200 || !*body) {
        if (!err)
            err_set(&problem, ERR_CONFIG, "the instance has no role (HTTP status %d)", status);
        fail(fetch, err ? err : &problem,
             "no AWS credentials: none in the environment, in a profile, from a "
             "container; instance metadata");
        return;
    }
    char *path =
        mem_printf("/latest/meta-data/iam/security-credentials/%.*s", (int)strcspn(body, "\r\n"), body);
    ask_instance(fetch, "GET", path, fetch->instance_token, on_instance_keys);
    free(path);
}

static void on_instance_token(void *user, int status, const char *body, size_t size, const struct err *err)
{
    struct credential_fetch *fetch = user;
    struct err problem = {0};
    fetch->step = NULL;
    if (err || status != 200) {
        if (!err)
            err_set(&problem, ERR_SERVICE, "HTTP status %d for a token", status);
        fail(fetch, err ? err : &problem,
             "no AWS credentials: none in the environment (AWS_ACCESS_KEY_ID), in a "
             "profile, from a container; instance metadata");
        return;
    }
    fetch->instance_token = mem_printf("X-aws-ec2-metadata-token: %.*s", (int)size, body);
    ask_instance(fetch, "GET", "/latest/meta-data/iam/security-credentials/", fetch->instance_token,
                 on_instance_role);
}

static void on_process(void *user, const char *output, size_t size, const struct err *err)
{
    struct credential_fetch *fetch = user;
    fetch->process = NULL;
    take_json(fetch, 200, output, size, err, "credential_process");
}

static bool start_web_identity(struct credential_fetch *fetch, struct err *err)
{
    char *token = file_read(fetch->plan.token_file, TOKEN_BYTES_MAX, NULL, err);
    if (!token)
        return err_prefix(err, "web identity token");
    token[strcspn(token, "\r\n")] = '\0';
    call_sts(fetch, sts_web_identity_body(fetch->plan.web_role_arn, fetch->plan.web_session, token), false);
    mem_free_secret(token);
    return true;
}

static void start(void *user)
{
    struct credential_fetch *fetch = user;
    struct err err = {0};
    bool started = true;
    switch (fetch->plan.source) {
    case SOURCE_STATIC:
        fetch->keys.access_key = mem_string(fetch->plan.access_key);
        fetch->keys.secret_key = mem_string(fetch->plan.secret_key);
        fetch->keys.session_token = mem_string(fetch->plan.session_token);
        next_role(fetch);
        return;
    case SOURCE_PROCESS:
        fetch->process =
            process_start(fetch->reactor, fetch->plan.process, PROCESS_TIMEOUT_MS, on_process, fetch, &err);
        started = fetch->process != NULL;
        break;
    case SOURCE_WEB_IDENTITY:
        started = start_web_identity(fetch, &err);
        break;
    case SOURCE_CONTAINER:
        started = start_container(fetch, &err);
        break;
    case SOURCE_INSTANCE:
        ask_instance(fetch, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600",
                     on_instance_token);
        break;
    }
    if (!started)
        finish(fetch, &err);
}

struct credential_fetch *credential_fetch_start(struct reactor *reactor, struct transport *transport,
                                                struct credential_plan *plan, const char *region,
                                                const char *endpoint_sts, int64_t skew_ms,
                                                credential_fetch_fn *done, void *user)
{
    struct credential_fetch *fetch = mem_zero(sizeof *fetch);
    fetch->reactor = reactor;
    fetch->transport = transport;
    fetch->plan = *plan;
    *plan = (struct credential_plan){0};
    fetch->region = region;
    fetch->endpoint_sts = endpoint_sts;
    fetch->skew_ms = skew_ms;
    fetch->done = done;
    fetch->user = user;
    task_init(&fetch->soon, start, fetch);
    task_defer(reactor, &fetch->soon);
    return fetch;
}
