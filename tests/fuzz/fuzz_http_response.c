/* fuzz_http_response.c: an answer reads the same whole, in pieces, and with its body put in place by the
 * caller; it stays within its bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/http_response.h"

#define BODY_MAX 3000 /* below what a fuzzer's input may hold */

struct read_answer {
    struct http_response response;
    enum http_reading reading;
    struct buf headers, body;
    size_t taken;
};

static void demand_http(bool holds)
{
    if (!holds)
        abort();
}

/* The body where it may go without a look at it. */
static size_t place_plain(struct read_answer *answer, const char *bytes, size_t size)
{
    size_t plain = http_response_plain(&answer->response);
    plain = plain < size ? plain : size;
    if (!plain)
        return 0;
    buf_reserve(&answer->body, plain);
    memcpy(answer->body.data + answer->body.size, bytes, plain);
    answer->reading = http_response_placed(&answer->response, plain);
    return plain;
}

/* With `random`: in pieces of its making; else at once. What is not taken is shown again from a copy of just
 * that size, so that a sanitizer sees who looks beyond. */
static void read_answer(struct read_answer *answer, const char *bytes, size_t size, bool without_body,
                        uint64_t random)
{
    size_t shown = 0;
    memset(answer, 0, sizeof *answer);
    http_response_init(&answer->response, without_body, &answer->headers, &answer->body, BODY_MAX);
    answer->reading = HTTP_GOES_ON;
    while (answer->reading == HTTP_GOES_ON && shown < size) {
        size_t step = size - shown, taken;
        if (random) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            step = 1 + (size_t)(random >> 33) % step;
            step = random >> 60 ? 1 + step % 7 : step;
            step = step < size - shown ? step : size - shown;
        }
        size_t plain = random && answer->taken == shown && random >> 62
                           ? place_plain(answer, bytes + answer->taken, step)
                           : 0;
        if (plain) {
            shown += plain;
            answer->taken += plain;
            continue;
        }
        shown += step;
        char *copy = mem_copy(bytes + answer->taken, shown - answer->taken);
        answer->reading = http_response_read(&answer->response, copy, shown - answer->taken, &taken);
        free(copy);
        answer->taken += taken;
    }
    if (answer->reading == HTTP_GOES_ON)
        answer->reading = http_response_ended(&answer->response);
}

static void forget_answer(struct read_answer *answer)
{
    buf_fini(&answer->headers);
    buf_fini(&answer->body);
}

static void same_bytes_of(const struct buf *a, const struct buf *b)
{
    demand_http(a->size == b->size && (!a->size || memcmp(a->data, b->data, a->size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct read_answer whole, pieces;
    if (!size)
        return 0;
    const char *text = (const char *)bytes + 1;
    read_answer(&whole, text, size - 1, bytes[0] == 'H', 0);
    demand_http(whole.reading != HTTP_GOES_ON && whole.body.size <= BODY_MAX &&
                whole.headers.size <= HTTP_HEAD_BYTES_MAX &&
                (whole.reading == HTTP_BROKEN) == (whole.response.problem != NULL));
    for (uint64_t random = 1; random < 4; random++) {
        read_answer(&pieces, text, size - 1, bytes[0] == 'H', random * 977 + size);
        demand_http(pieces.reading == whole.reading && pieces.response.status == whole.response.status &&
                    pieces.response.keeps == whole.response.keeps);
        demand_http(whole.reading != HTTP_COMPLETE || pieces.taken == whole.taken);
        demand_http(whole.reading != HTTP_BROKEN ||
                    strcmp(pieces.response.problem, whole.response.problem) == 0);
        same_bytes_of(&whole.headers, &pieces.headers);
        same_bytes_of(&whole.body, &pieces.body);
        forget_answer(&pieces);
    }
    forget_answer(&whole);
    return 0;
}
