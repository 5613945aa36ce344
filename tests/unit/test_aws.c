/* test_aws.c: credentials from everywhere, and calls that fail in every way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aws/client.h"
#include "aws/credentials.h"
#include "aws/profile.h"
#include "aws/retry.h"
#include "base/mem.h"
#include "core/world.h"

#define HOUR_MS (3600 * 1000)

/* ---- a world of credential endpoints and one service ---- */

struct step {
    const char *url_part;  /* what the request must go to */
    const char *header;    /* "Name: value" it must carry, or NULL */
    const char *body_part; /* or NULL */
    int status;            /* 0: the connection breaks */
    const char *body;
    int64_t clock_ahead_ms; /* of the Date header */
    bool lost;
};

struct fixture {
    struct world world;
    struct log *log;
    const struct step *steps;
    int step_count, at;
    char key_used[64]; /* of the last signature */
    /* what came back */
    int answers, failures;
    struct err err;
    char access_key[64], token[64];
    int64_t answered_ms;
};

static bool has_header(const struct transport_request *request, const char *header)
{
    for (size_t i = 0; request->headers[i]; i++)
        if (strcmp(request->headers[i], header) == 0)
            return true;
    return false;
}

static void answer_step(void *user, const struct transport_request *request, struct answer *answer)
{
    struct fixture *f = user;
    char value[2000];
    if (f->at >= f->step_count)
        fail_msg("unexpected request to %s", request->url);
    const struct step *step = &f->steps[f->at++];
    if (!strstr(request->url, step->url_part))
        fail_msg("request %d went to %s, not %s", f->at, request->url, step->url_part);
    if (step->header && !has_header(request, step->header))
        fail_msg("request %d to %s lacks %s", f->at, request->url, step->header);
    if (step->body_part && !strstr(request->body, step->body_part))
        fail_msg("request %d: %s lacks %s", f->at, request->body, step->body_part);
    f->key_used[0] = '\0';
    if (request_header(request, "Authorization", value, sizeof value) && strstr(value, "Credential="))
        sscanf(strstr(value, "Credential="), "Credential=%63[^/]", f->key_used);
    f->world.skew_ms = step->clock_ahead_ms;
    answer->status = step->status;
    answer->lost = step->lost;
    buf_add_text(&answer->body, step->body ? step->body : "");
}

static void clear_environment(void)
{
    static const char *const names[] = {"AWS_ACCESS_KEY_ID",
                                        "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",
                                        "AWS_PROFILE",
                                        "AWS_REGION",
                                        "AWS_DEFAULT_REGION",
                                        "AWS_ROLE_ARN",
                                        "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "AWS_ENDPOINT_URL",
                                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                        "AWS_EC2_METADATA_DISABLED"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    setenv("AWS_CONFIG_FILE", "/nonexistent", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
}

static void make(struct fixture *f, const struct step *steps, int count)
{
    *f = (struct fixture){.steps = steps, .step_count = count};
    clear_environment();
    world_init(&f->world);
    world_add_reactor(&f->world);
    f->world.answer = answer_step;
    f->world.user = f;
    f->log = log_new(open("/dev/null", O_WRONLY), LOG_TEXT, LOG_DEBUG, &f->world.clock);
}

static void finish(struct fixture *f)
{
    assert_int_equal(f->at, f->step_count);
    world_fini(&f->world);
    log_free(f->log);
}

static char *temporary(const char *text)
{
    char *path = mem_string("/tmp/tidemill-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void drop(char *path)
{
    unlink(path);
    free(path);
}

static void on_identity(void *user, const struct sigv4_identity *identity, const struct err *err)
{
    struct fixture *f = user;
    f->answers++;
    f->failures += err != NULL;
    f->answered_ms = f->world.now_ms;
    if (err)
        f->err = *err;
    snprintf(f->access_key, sizeof f->access_key, "%s", identity ? identity->access_key : "");
    snprintf(f->token, sizeof f->token, "%s",
             identity && identity->session_token ? identity->session_token : "");
}

static bool answered(void *user)
{
    return ((struct fixture *)user)->answers > 0;
}

static bool never(void *user)
{
    (void)user;
    return false;
}

static struct credentials *new_credentials(struct fixture *f, const char *profile)
{
    return credentials_new(
        f->world.reactor, &f->world.transport,
        &(struct credentials_options){.profile = profile, .region = "eu-west-1", .log = f->log});
}

static void get_identity(struct fixture *f, struct credentials *credentials)
{
    struct credentials_wait wait;
    f->answers = 0;
    credentials_get(credentials, &wait, on_identity, f);
    /* A process runs in real time while virtual time leaps ahead: give it as long as it needs. */
    assert_true(world_turn(&f->world, answered, f, (int64_t)1000 * HOUR_MS));
}

static void check_identity(struct fixture *f, const char *profile, const char *access_key)
{
    struct credentials *credentials = new_credentials(f, profile);
    get_identity(f, credentials);
    if (f->failures)
        fail_msg("%s", f->err.text);
    assert_string_equal(f->access_key, access_key);
    credentials_free(credentials);
}

/* ---- the chain ---- */

static void the_environment_comes_first(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, NULL, 0);
    setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    setenv("AWS_SESSION_TOKEN", "token", 1);
    check_identity(&f, NULL, "ENV");
    assert_string_equal(f.token, "token");
    finish(&f);
}

static void profiles_are_read_from_both_files(void **state)
{
    struct fixture f;
    (void)state;
    char *config = temporary("[default]\nregion = eu-west-1\n[profile work]\naws_access_key_id = CONFIG\n"
                             "aws_secret_access_key = x\n[profile only]\naws_access_key_id = ONLY\n"
                             "aws_secret_access_key = x\n");
    char *shared = temporary("[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = x\n"
                             "[work]\naws_access_key_id = SHARED\naws_secret_access_key = x\n");
    make(&f, NULL, 0);
    setenv("AWS_CONFIG_FILE", config, 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", shared, 1);
    check_identity(&f, NULL, "DEFAULT");
    check_identity(&f, "work", "SHARED"); /* the credentials file wins */
    check_identity(&f, "only", "ONLY");
    setenv("AWS_PROFILE", "work", 1);
    check_identity(&f, NULL, "SHARED");
    setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "x", 1);
    check_identity(&f, NULL, "ENV");
    check_identity(&f, "only", "ONLY"); /* a profile asked for in the INI beats the environment */
    finish(&f);
    drop(config);
    drop(shared);
}

#define STS_ANSWER(key, expiration)                                          \
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>" key   \
    "</AccessKeyId><SecretAccessKey>s</Secre"                                \
    "tAccessKey><SessionToken>t&amp;k</SessionToken><Expiration>" expiration \
    "</Expiration></Credentials></AssumeRo"                                  \
    "leResult></AssumeRoleResponse>"

static void roles_are_assumed_one_after_the_other(void **state)
{
    static const struct step steps[] = {
        {.url_part = "https://sts.eu-west-1.amazonaws.com/",
         .status = 200,
         .body_part = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Ffirst",
         .body = STS_ANSWER("FIRST", "2026-01-01T01:00:00Z")},
        {.url_part = "sts.",
         .status = 200,
         .body_part = "RoleSessionName=me&ExternalId=ext&DurationSeconds=900",
         .header = "X-Amz-Security-Token: t&k",
         .body = STS_ANSWER("SECOND", "2026-01-01T01:00:00Z")},
    };
    struct fixture f;
    (void)state;
    char *config =
        temporary("[profile base]\naws_access_key_id = BASE\naws_secret_access_key = x\n"
                  "[profile first]\nrole_arn = arn:aws:iam::1:role/first\nsource_profile = base\n"
                  "[profile second]\nrole_arn = arn:aws:iam::1:role/second\nsource_profile = first\n"
                  "external_id = ext\nrole_session_name = me\nduration_seconds = 900\n");
    make(&f, steps, 2);
    setenv("AWS_CONFIG_FILE", config, 1);
    check_identity(&f, "second", "SECOND");
    assert_string_equal(f.token, "t&k");
    finish(&f);
    drop(config);
}

static void a_refused_role_says_why(void **state)
{
    static const struct step steps[] = {
        {.url_part = "sts.",
         .status = 403,
         .body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not "
                 "you</Message></Error></ErrorResponse>"},
    };
    struct fixture f;
    (void)state;
    char *config =
        temporary("[default]\nrole_arn = arn:aws:iam::1:role/r\ncredential_source = Environment\n");
    make(&f, steps, 1);
    setenv("AWS_CONFIG_FILE", config, 1);
    setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "x", 1);
    struct credentials *credentials = new_credentials(&f, "default");
    get_identity(&f, credentials);
    assert_int_equal(f.failures, 1);
    assert_string_equal(f.err.text, "STS: AccessDenied: not you");
    credentials_free(credentials);
    finish(&f);
    drop(config);
}

static void web_identity_needs_no_keys(void **state)
{
    static const struct step steps[] = {
        {.url_part = "sts.",
         .status = 200,
         .body_part = "WebIdentityToken=the.token",
         .body = STS_ANSWER("WEB", "2026-01-01T01:00:00Z")},
    };
    struct fixture f;
    (void)state;
    char *token = temporary("the.token\n");
    make(&f, steps, 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token, 1);
    setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod", 1);
    check_identity(&f, NULL, "WEB");
    finish(&f);
    drop(token);
}

static void a_credential_process_is_run(void **state)
{
    struct fixture f;
    (void)state;
    char *config = temporary(
        "[default]\ncredential_process = echo '{\"Version\":1,\"AccessKeyId\":\"PROC\","
        "\"SecretAccessKey\":\"s\",\"SessionToken\":\"t\",\"Expiration\":\"2030-01-01T00:00:00Z\"}'\n"
        "[profile fails]\ncredential_process = exit 3\n"
        "[profile talks]\ncredential_process = echo hello\n");
    make(&f, NULL, 0);
    /* A child process lives in real time. */
    reactor_set_poller(f.world.reactor, NULL);
    setenv("AWS_CONFIG_FILE", config, 1);
    check_identity(&f, NULL, "PROC");
    struct credentials *fails = new_credentials(&f, "fails"), *talks = new_credentials(&f, "talks");
    get_identity(&f, fails);
    assert_string_equal(f.err.text, "credential_process: it ended with status 3");
    get_identity(&f, talks);
    assert_non_null(strstr(f.err.text, "credential_process: not JSON"));
    credentials_free(fails);
    credentials_free(talks);
    finish(&f);
    drop(config);
}

#define JSON_ANSWER(key, expiration)               \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"" key \
    "\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Expiration\":\"" expiration "\"}"

static void the_containers_endpoint_is_asked_with_its_token(void **state)
{
    static const struct step steps[] = {
        {.url_part = "http://169.254.170.2/v2/x",
         .status = 200,
         .body = JSON_ANSWER("ECS", "2026-01-01T06:00:00Z")},
        {.url_part = "http://169.254.170.23/v1/credentials",
         .header = "Authorization: pod-token",
         .status = 500},
        {.url_part = "http://169.254.170.23/v1/credentials",
         .header = "Authorization: pod-token",
         .status = 200,
         .body = JSON_ANSWER("EKS", "2026-01-01T06:00:00Z")},
    };
    struct fixture f;
    (void)state;
    char *token = temporary("pod-token\n");
    make(&f, steps, 3);
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", 1);
    check_identity(&f, NULL, "ECS");
    unsetenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials", 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token, 1);
    check_identity(&f, NULL, "EKS");
    static const char *const elsewhere[] = {
        "http://evil.example/credentials", "http://localhost:x@evil.example/c",
        "http://127.0.0.1@evil.example/c", "http://[::1]@evil.example/",
        "http://localhost.evil.example/",  "http://127.0.0.1.evil.example/"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", elsewhere[i], 1);
        struct credentials *credentials = new_credentials(&f, NULL);
        get_identity(&f, credentials);
        assert_non_null(strstr(f.err.text, "neither https nor this machine"));
        credentials_free(credentials);
    }
    unsetenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials", 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token\r\nX-Other: header", 1);
    struct credentials *credentials = new_credentials(&f, NULL);
    get_identity(&f, credentials);
    assert_non_null(strstr(f.err.text, "more than one line"));
    credentials_free(credentials);
    unsetenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    finish(&f);
    drop(token);
}

static void the_instance_is_asked_by_imdsv2(void **state)
{
    static const struct step steps[] = {
        {.url_part = "http://169.254.169.254/latest/api/token",
         .status = 200,
         .body = "imds-token",
         .header = "X-aws-ec2-metadata-token-ttl-seconds: 21600"},
        {.url_part = "/latest/meta-data/iam/security-credentials/",
         .status = 200,
         .body = "the-role\n",
         .header = "X-aws-ec2-metadata-token: imds-token"},
        {.url_part = "/latest/meta-data/iam/security-credentials/the-role",
         .status = 200,
         .header = "X-aws-ec2-metadata-token: imds-token",
         .body = JSON_ANSWER("IMDS", "2026-01-01T06:00:00Z")},
    };
    struct fixture f;
    (void)state;
    make(&f, steps, 3);
    check_identity(&f, NULL, "IMDS");
    finish(&f);
}

static void nothing_anywhere_is_said_clearly(void **state)
{
    struct fixture f;
    (void)state;
    make(&f, NULL, 0);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    struct credentials *credentials = new_credentials(&f, NULL);
    get_identity(&f, credentials);
    assert_non_null(strstr(f.err.text, "no AWS credentials: none in the environment (AWS_ACCESS_KEY_ID)"));
    credentials_free(credentials);
    finish(&f);
}

static void wrong_profiles_are_said_clearly(void **state)
{
    static const struct {
        const char *profile, *wanted;
    } cases[] = {
        {"absent", "profile absent is in neither"},
        {"a", "goes round in a circle"},
        {"half", "needs either source_profile or credential_source"},
        {"orphan", "its source_profile nowhere does not exist"},
        {"sso", "signs in through SSO; give it credential_process"},
        {"mfa", "mfa_serial needs somebody to type a code"},
    };
    struct fixture f;
    struct err err;
    (void)state;
    char *config = temporary(
        "[profile a]\nrole_arn = r\nsource_profile = b\n[profile b]\nrole_arn = r\nsource_profile = a\n"
        "[profile half]\nrole_arn = r\n[profile orphan]\nrole_arn = r\nsource_profile = nowhere\n"
        "[profile sso]\nsso_session = s\n"
        "[profile mfa]\nrole_arn = r\nmfa_serial = m\nsource_profile = a\n");
    make(&f, NULL, 0);
    setenv("AWS_CONFIG_FILE", config, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct credential_plan plan;
        struct profiles *profiles = profiles_load();
        assert_false(credential_plan(profiles, cases[i].profile, &plan, &err));
        if (!strstr(err.text, cases[i].wanted))
            fail_msg("%s: %s", cases[i].profile, err.text);
        credential_plan_fini(&plan);
        profiles_free(profiles);
    }
    finish(&f);
    drop(config);
}

static void credentials_are_refreshed_before_they_expire_and_kept_when_that_fails(void **state)
{
    static const struct step steps[] = {
        {.url_part = "/v2/x", .status = 200, .body = JSON_ANSWER("ONE", "2026-01-01T01:00:00Z")},
        {.url_part = "/v2/x", .status = 404, .body = "{}"}, /* at 00:50 */
        {.url_part = "/v2/x", .status = 200, .body = JSON_ANSWER("TWO", "2026-01-01T03:00:00Z")},
    };
    struct fixture f;
    (void)state;
    make(&f, steps, 3);
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", 1);
    struct credentials *credentials = new_credentials(&f, NULL);
    get_identity(&f, credentials);
    assert_string_equal(f.access_key, "ONE");
    world_turn(&f.world, never, &f, 49 * 60 * 1000);
    assert_int_equal(f.at, 1);
    world_turn(&f.world, never, &f, 61 * 1000);
    assert_int_equal(f.at, 2);
    get_identity(&f, credentials);
    assert_string_equal(f.access_key, "ONE"); /* still good */
    world_turn(&f.world, never, &f, 60 * 1000);
    get_identity(&f, credentials);
    assert_string_equal(f.access_key, "TWO");
    assert_int_equal(f.failures, 0);
    credentials_free(credentials);
    finish(&f);
}

static void all_who_wait_share_one_fetch(void **state)
{
    static const struct step steps[] = {
        {.url_part = "/v2/x", .status = 200, .body = JSON_ANSWER("ONE", "2026-01-01T01:00:00Z")},
    };
    struct fixture f;
    struct credentials_wait waits[3];
    (void)state;
    make(&f, steps, 1);
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", 1);
    struct credentials *credentials = new_credentials(&f, NULL);
    for (int i = 0; i < 3; i++)
        credentials_get(credentials, &waits[i], on_identity, &f);
    credentials_cancel(&waits[1]);
    world_turn(&f.world, never, &f, 1000);
    assert_int_equal(f.answers, 2);
    credentials_free(credentials);
    finish(&f);
}

/* ---- calls ---- */

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct fixture *f = user;
    (void)response;
    f->answers++;
    f->failures += err != NULL;
    f->err = err ? *err : (struct err){0};
    f->answered_ms = f->world.now_ms;
}

static struct aws_client *new_client(struct fixture *f, struct config_aws *config)
{
    struct err err;
    setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "x", 1);
    *config = (struct config_aws){.region = (char *)"eu-west-1", .call_timeout_ms = 30000, .connections = 8};
    struct aws_client *client = aws_client_new(f->world.reactor, &f->world.transport, config, f->log, &err);
    assert_non_null(client);
    return client;
}

static void call_once(struct fixture *f, struct aws_client *client)
{
    struct aws_request request = {.service = AWS_DYNAMODB, .operation = "PutItem"};
    buf_add_text(&request.body, "{}");
    f->answers = f->failures = 0;
    aws_send(client, &request, on_answer, f);
    assert_true(world_turn(&f->world, answered, f, HOUR_MS));
}

static void check_call(const struct step *steps, int count, const char *failure)
{
    struct fixture f;
    struct config_aws config;
    make(&f, steps, count);
    struct aws_client *client = new_client(&f, &config);
    call_once(&f, client);
    if (failure && !strstr(f.err.text, failure))
        fail_msg("%s is not in %s", failure, f.err.text);
    if (!failure && f.failures)
        fail_msg("%s", f.err.text);
    aws_client_free(client);
    finish(&f);
}

#define URL "https://dynamodb.eu-west-1.amazonaws.com/"
#define ERROR(code) "{\"__type\":\"com.amazonaws.dynamodb.v20120810#" code "\",\"message\":\"m\"}"

static void a_call_is_tried_three_times(void **state)
{
    static const struct step recovers[] = {
        {.url_part = URL, .status = 500, .body = ERROR("InternalServerError")},
        {.url_part = URL, .status = 0},
        {.url_part = URL, .status = 200, .body = "{}"}};
    static const struct step throttled[] = {
        {.url_part = URL, .status = 400, .body = ERROR("ThrottlingException")},
        {.url_part = URL, .status = 400, .body = ERROR("RequestLimitExceeded")},
        {.url_part = URL, .status = 400, .body = ERROR("ThrottlingException")}};
    static const struct step fatal[] = {
        {.url_part = URL, .status = 400, .body = ERROR("ValidationException")}};
    static const struct step lost[] = {{.url_part = URL, .status = 200, .lost = true},
                                       {.url_part = URL, .status = 503, .body = "<html>busy</html>"},
                                       {.url_part = URL, .status = 200, .body = "{}"}};
    (void)state;
    check_call(recovers, 3, NULL);
    check_call(throttled, 3, "PutItem: ThrottlingException: m");
    check_call(fatal, 1, "PutItem: ValidationException: m");
    check_call(lost, 3, NULL);
}

static void a_call_is_bounded_in_time(void **state)
{
    static const struct step steps[] = {{.url_part = URL, .status = 200, .lost = true},
                                        {.url_part = URL, .status = 200, .lost = true},
                                        {.url_part = URL, .status = 200, .lost = true}};
    struct fixture f;
    struct config_aws config;
    (void)state;
    make(&f, steps, 3);
    struct aws_client *client = new_client(&f, &config);
    int64_t begun_ms = f.world.now_ms;
    call_once(&f, client);
    assert_int_equal(f.err.code, ERR_TIMEOUT);
    assert_true(f.answered_ms - begun_ms <= 30100);
    aws_client_free(client);
    finish(&f);
}

static void the_retry_budget_stops_repetitions_when_all_fails(void **state)
{
    enum { CALLS = 120 };
    static struct step steps[CALLS * 3];
    struct fixture f;
    struct config_aws config;
    (void)state;
    for (int i = 0; i < CALLS * 3; i++)
        steps[i] = (struct step){.url_part = URL, .status = 500, .body = ERROR("InternalServerError")};
    make(&f, steps, CALLS * 3);
    struct aws_client *client = new_client(&f, &config);
    for (int i = 0; i < CALLS; i++)
        call_once(&f, client);
    /* 500 tokens at 5 each are 100 repetitions; every call's first attempt is free */
    assert_int_equal(f.at, CALLS + 100);
    f.step_count = f.at;
    aws_client_free(client);
    finish(&f);
}

static void the_services_clock_is_believed(void **state)
{
    static const struct step steps[] = {
        {.url_part = URL,
         .status = 400,
         .clock_ahead_ms = 20 * 60 * 1000,
         .body = ERROR("InvalidSignatureException")},
        {.url_part = URL,
         .status = 200,
         .clock_ahead_ms = 20 * 60 * 1000,
         .body = "{}",
         .header = "X-Amz-Date: 20260101T002001Z"},
        {.url_part = URL,
         .status = 400,
         .clock_ahead_ms = 20 * 60 * 1000,
         .body = ERROR("InvalidSignatureException")},
    };
    struct fixture f;
    struct config_aws config;
    (void)state;
    make(&f, steps, 3);
    struct aws_client *client = new_client(&f, &config);
    call_once(&f, client);
    assert_int_equal(f.failures, 0);
    call_once(&f, client); /* wrong for another reason: not tried again */
    assert_int_equal(f.failures, 1);
    aws_client_free(client);
    finish(&f);
}

static void refused_credentials_are_fetched_anew_once(void **state)
{
    static const struct step steps[] = {
        {.url_part = "/v2/x", .status = 200, .body = JSON_ANSWER("ONE", "2026-01-01T06:00:00Z")},
        {.url_part = URL, .status = 400, .body = ERROR("ExpiredTokenException")},
        {.url_part = "/v2/x", .status = 200, .body = JSON_ANSWER("TWO", "2026-01-01T06:00:00Z")},
        {.url_part = URL, .status = 400, .body = ERROR("ExpiredTokenException")},
    };
    struct fixture f;
    struct config_aws config;
    (void)state;
    make(&f, steps, 4);
    struct aws_client *client = new_client(&f, &config);
    unsetenv("AWS_ACCESS_KEY_ID");
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", 1);
    call_once(&f, client);
    assert_string_equal(f.key_used, "TWO");
    assert_string_equal(f.err.service, "ExpiredTokenException");
    aws_client_free(client);
    finish(&f);
}

static void cancelled_calls_do_not_come_back(void **state)
{
    static const struct step steps[] = {{.url_part = URL, .status = 200, .body = "{}"}};
    struct fixture f;
    struct config_aws config;
    (void)state;
    make(&f, steps, 1);
    struct aws_client *client = new_client(&f, &config);
    for (int i = 0; i < 2; i++) {
        struct aws_request request = {.service = AWS_DYNAMODB, .operation = "PutItem"};
        buf_add_text(&request.body, "{}");
        struct aws_call *call = aws_send(client, &request, on_answer, &f);
        while (i && !f.at)
            reactor_turn(f.world.reactor, 0); /* until it is sent; the answer takes longer */
        aws_cancel(call);
    }
    world_turn(&f.world, never, &f, 60000);
    assert_int_equal(f.answers, 0);
    aws_client_free(client);
    finish(&f);
}

static void a_missing_region_is_said_clearly(void **state)
{
    struct fixture f;
    struct err err;
    struct config_aws config = {.call_timeout_ms = 1000};
    (void)state;
    make(&f, NULL, 0);
    assert_null(aws_client_new(f.world.reactor, &f.world.transport, &config, f.log, &err));
    assert_string_equal(err.text, "no AWS region: set region in [aws], or AWS_REGION");
    setenv("AWS_DEFAULT_REGION", "cn-north-1", 1);
    struct aws_client *client = aws_client_new(f.world.reactor, &f.world.transport, &config, f.log, &err);
    assert_string_equal(aws_client_region(client), "cn-north-1");
    aws_client_free(client);
    finish(&f);
}

static void backoff_is_jittered_doubles_and_is_capped(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t random = i * 0x9e3779b97f4a7c15ull;
        assert_in_range(retry_delay_ms(RETRY_TRANSIENT, 2, random), 0, 50);
        assert_in_range(retry_delay_ms(RETRY_TRANSIENT, 4, random), 0, 200);
        assert_in_range(retry_delay_ms(RETRY_THROTTLING, 2, random), 0, 1000);
        assert_in_range(retry_delay_ms(RETRY_THROTTLING, 30, random), 0, 20000);
    }
}

static void ignore(void *user, struct transport_response *response, const struct err *err)
{
    int *answers = user;
    assert_non_null(response);
    assert_null(err);
    ++*answers;
}

static bool four_answers(void *user)
{
    return *(int *)user == 4;
}

static void each_service_has_its_place(void **state)
{
    static const struct step steps[] = {
        {.url_part = "https://events.eu-west-1.amazonaws.com/",
         .header = "X-Amz-Target: AWSEvents.PutEvents",
         .status = 200,
         .body = "{}"},
        {.url_part = "https://events.eu-central-1.amazonaws.com/", .status = 200, .body = "{}"},
        {.url_part = "https://bucket.s3.eu-west-1.amazonaws.com/a/b%3Dc",
         .header = "X-Amz-Content-SHA256: "
                   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         .status = 204},
        {.url_part = "https://s3.cn-north-1.amazonaws.com.cn/with.dots/a", .status = 200},
    };
    struct fixture f;
    struct err err;
    int answers = 0;
    (void)state;
    make(&f, steps, 4);
    setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    struct config_aws config = {.region = (char *)"eu-west-1", .call_timeout_ms = 30000};
    struct aws_client *client = aws_client_new(f.world.reactor, &f.world.transport, &config, f.log, &err);
    assert_non_null(client);
    struct aws_request requests[] = {
        {.service = AWS_EVENTS, .operation = "PutEvents"},
        {.service = AWS_EVENTS, .operation = "PutEvents", .region = "eu-central-1"},
        {.service = AWS_S3,
         .operation = "PutObject",
         .method = "PUT",
         .bucket = mem_string("bucket"),
         .path = mem_string("a/b%3Dc")},
        {.service = AWS_S3,
         .operation = "GetObject",
         .method = "GET",
         .region = "cn-north-1",
         .bucket = mem_string("with.dots"),
         .path = mem_string("a")},
    };
    for (int i = 0; i < 4; i++)
        aws_send(client, &requests[i], ignore, &answers);
    assert_true(world_turn(&f.world, four_answers, &answers, 10000));
    aws_client_free(client);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_comes_first),
        cmocka_unit_test(profiles_are_read_from_both_files),
        cmocka_unit_test(roles_are_assumed_one_after_the_other),
        cmocka_unit_test(a_refused_role_says_why),
        cmocka_unit_test(web_identity_needs_no_keys),
        cmocka_unit_test(a_credential_process_is_run),
        cmocka_unit_test(the_containers_endpoint_is_asked_with_its_token),
        cmocka_unit_test(the_instance_is_asked_by_imdsv2),
        cmocka_unit_test(nothing_anywhere_is_said_clearly),
        cmocka_unit_test(wrong_profiles_are_said_clearly),
        cmocka_unit_test(credentials_are_refreshed_before_they_expire_and_kept_when_that_fails),
        cmocka_unit_test(all_who_wait_share_one_fetch),
        cmocka_unit_test(a_call_is_tried_three_times),
        cmocka_unit_test(a_call_is_bounded_in_time),
        cmocka_unit_test(the_retry_budget_stops_repetitions_when_all_fails),
        cmocka_unit_test(the_services_clock_is_believed),
        cmocka_unit_test(refused_credentials_are_fetched_anew_once),
        cmocka_unit_test(cancelled_calls_do_not_come_back),
        cmocka_unit_test(a_missing_region_is_said_clearly),
        cmocka_unit_test(each_service_has_its_place),
        cmocka_unit_test(backoff_is_jittered_doubles_and_is_capped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
