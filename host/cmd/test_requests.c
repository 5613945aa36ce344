/* test_requests.c: see test_requests.h. */
#include "cmd/test_requests.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "intake/intake.h"
#include "intake/verify.h"

#define HEADERS_MAX 100

struct test_request {
    const struct config_intake *intake; /* NULL: there is none of the name */
    struct ticket *ticket;
    char *name, *id, *method, *path, *query, *lines, *body;
    size_t body_size;
    bool is_signed;
    char *real_id;
    struct handler_header headers[HEADERS_MAX];
    size_t header_count;
};

struct test_request *test_request_new(const struct config *config, const struct testing_request *asked,
                                      struct ticket *ticket)
{
    struct test_request *request = mem_zero(sizeof *request);
    request->intake = asked->intake ? config_intake(config, asked->intake) : NULL;
    request->ticket = ticket;
    request->name = mem_string(asked->intake);
    request->id = mem_string(asked->id);
    request->method = mem_string(asked->method ? asked->method : "POST");
    request->path = mem_string(asked->path                                ? asked->path
                               : request->intake && request->intake->path ? request->intake->path
                                                                          : "/");
    request->query = mem_string(asked->query);
    request->lines = mem_string(asked->lines);
    request->body = mem_copy(asked->body, asked->body_size);
    request->body_size = asked->body_size;
    request->is_signed = asked->is_signed;
    return request;
}

static void free_request(struct test_request *request)
{
    for (size_t i = 0; i < request->header_count; i++) {
        free(request->headers[i].name);
        free(request->headers[i].value);
    }
    free(request->name);
    free(request->id);
    free(request->method);
    free(request->path);
    free(request->query);
    free(request->lines);
    free(request->body);
    free(request->real_id);
    free(request);
}

/* "Name: value\n" lines. */
static void add_headers(struct test_request *request, const char *lines)
{
    for (const char *end; lines && (end = strchr(lines, '\n')); lines = end + 1) {
        const char *colon = memchr(lines, ':', (size_t)(end - lines));
        if (!colon || request->header_count == HEADERS_MAX)
            continue;
        const char *value = colon + 1 + strspn(colon + 1, " ");
        request->headers[request->header_count++] =
            (struct handler_header){mem_copy(lines, (size_t)(colon - lines)),
                                    mem_copy(value, value < end ? (size_t)(end - value) : 0)};
    }
}

static const char *look_up(void *user, const char *name)
{
    const struct test_request *request = user;
    for (size_t i = 0; i < request->header_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}

static void answer(struct test_request *request, int status, struct handler_answer *given, const char *why)
{
    struct ticket *ticket = request->ticket;
    char *text = mem_string(why);
    free_request(request);
    testing_answered(ticket, status, given, text);
    free(text);
}

static void on_answer(void *user, int status, struct handler_answer *given)
{
    answer(user, status, given, given ? NULL : "it has no answer: see the log");
}

void test_request_send(struct test_request *request, struct host *host, int64_t now_ms)
{
    const struct config_intake *intake = request->intake;
    const struct verify_request verified = {look_up, request, request->body, request->body_size};
    struct err err = {0};
    struct buf lines = BUF_INIT;
    if (!intake) {
        char *text = mem_printf("there is no [intake %s]", request->name ? request->name : "");
        answer(request, 0, NULL, text);
        free(text);
        return;
    }
    if (request->is_signed)
        verify_sign(intake, request->id, request->body, request->body_size, now_ms, &lines);
    add_headers(request, lines.data);
    add_headers(request, request->lines);
    buf_fini(&lines);
    if (!intake_path_is_good(intake, request->path)) {
        answer(request, 404, NULL, "the path is none of the intake's");
    } else if (request->body_size > (size_t)intake->body_bytes) {
        answer(request, 413, NULL, "the body is too large");
    } else if (!verify_request(intake, &verified, now_ms, &err)) {
        answer(request, 401, NULL, err.text);
    } else {
        request->real_id = verify_id(intake, &verified);
        const struct handler_request real = {.intake = intake->name,
                                             .id = request->real_id,
                                             .method = request->method,
                                             .path = request->path,
                                             .query = request->query,
                                             .headers = request->headers,
                                             .header_count = request->header_count,
                                             .body = request->body,
                                             .body_size = request->body_size,
                                             .remote = "127.0.0.1",
                                             .traceparent = look_up(request, "traceparent")};
        host_ask(host, &real, on_answer, request);
    }
}
