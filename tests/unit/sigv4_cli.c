/* sigv4_cli.c: signs the requests on stdin, one JSON object a line, and prints what is added, so that a test
 * can compare with another signer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/sigv4.h"
#include "base/json.h"

static const char *text_of(struct arena *arena, const struct json *root, const char *name)
{
    return json_string(arena, json_get(root, name));
}

static void sign(struct sigv4_cache *cache, const char *line, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    const struct json *root = json_parse(&arena, line, size, &err), *list = json_get(root, "headers");
    const char *headers[64] = {NULL};
    size_t count = 0;
    if (!root) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    json_each(header, list)
        headers[count++] = json_string(&arena, header);
    const struct json *body = json_get(root, "body");
    struct sigv4_identity identity = {text_of(&arena, root, "access"), text_of(&arena, root, "secret"),
                                      text_of(&arena, root, "token")};
    struct sigv4_request request = {
        .method = text_of(&arena, root, "method"),
        .url = text_of(&arena, root, "url"),
        .headers = headers,
        .body = body->text,
        .body_size = body->size,
        .region = text_of(&arena, root, "region"),
        .service = text_of(&arena, root, "service"),
        .wall_ms = json_integer(json_get(root, "time_ms"), 0),
    };
    struct sigv4_headers added;
    sigv4_sign(&identity, &request, cache, &added);
    printf("%s\t%s\t%s\n", added.date, added.token.size ? added.token.data : "", added.authorization.data);
    sigv4_headers_fini(&added);
    arena_fini(&arena);
}

int main(void)
{
    struct sigv4_cache cache = {0};
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t size; (size = getline(&line, &capacity, stdin)) > 0;)
        sign(&cache, line, (size_t)size);
    free(line);
    return 0;
}
