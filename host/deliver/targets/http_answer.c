/* http_answer.c: see http_answer.h. */
#include "deliver/targets/http_answer.h"

#include <stdlib.h>
#include <time.h>

#include "base/utf8.h"

#define RETRY_AFTER_MS_MAX (3600 * 1000)
#define SAID_BYTES_MAX 300

/* Seconds, or a date. */
static int64_t retry_after_ms(const struct target *target, const struct transport_response *response)
{
    char text[64], *end;
    struct tm tm = {0};
    if (!transport_header(response, "retry-after", text, sizeof text))
        return 0;
    long long seconds = strtoll(text, &end, 10);
    if (seconds > RETRY_AFTER_MS_MAX / 1000)
        seconds = RETRY_AFTER_MS_MAX / 1000;
    int64_t ms = end != text && !*end && seconds > 0 ? seconds * 1000 : 0;
    if (!ms && strptime(text, "%a, %d %b %Y %H:%M:%S", &tm))
        ms = (int64_t)timegm(&tm) * 1000 - clock_wall_ms(reactor_clock(target->outbox->reactor));
    ms = ms < 0 ? 0 : ms;
    return ms < RETRY_AFTER_MS_MAX ? ms : RETRY_AFTER_MS_MAX;
}

void http_answered(void *user, struct transport_response *response, const struct err *err)
{
    struct request *request = user;
    struct err refused = {0};
    if (!response || (response->status >= 200 && response->status < 300)) {
        request_answered(request, response, err);
        return;
    }
    struct buf said = BUF_INIT; /* where the target reads answers: what it says of itself */
    utf8_write_printable(&said, response->body.data ? response->body.data : "",
                         response->body.size < SAID_BYTES_MAX ? response->body.size : SAID_BYTES_MAX);
    err_set(&refused, ERR_SERVICE, "HTTP status %d%s%.*s", response->status, said.size ? ": " : "",
            (int)said.size, said.data ? said.data : "");
    buf_fini(&said);
    refused.http_status = response->status;
    /* What passes: https://www.rfc-editor.org/rfc/rfc9110 (408), RFC 8470 (425), RFC 6585 (429). */
    if (response->status == 408 || response->status == 425)
        refused.passes = PASSES_LATER;
    int64_t patience = retry_after_ms(request->target, response);
    for (size_t i = 0; i < request->count; i++)
        request->entries[i]->retry_after_ms = patience;
    request_answered(request, response, &refused);
}
