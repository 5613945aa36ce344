/* fuzz_trace.c: where a trace goes on, as others write it. What is read is written again, and read the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "stats/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct trace_place place, again;
    bool sampled;
    char *text = malloc(size ? size : 1); /* without a NUL behind it */
    memcpy(text, bytes, size);
    if (trace_read_parent(text, size, &place, &sampled)) {
        char header[TRACE_PARENT_SIZE];
        trace_write_parent(&place, header);
        const char *value = header + strlen("traceparent: ");
        CHECK(trace_read_parent(value, strlen(value), &again, &sampled) && sampled);
        CHECK(memcmp(&place, &again, sizeof place) == 0);
    }
    if (trace_read_amzn(text, size, &place, &sampled)) {
        char header[TRACE_AMZN_SIZE];
        trace_write_amzn(&place, header);
        const char *value = header + strlen("X-Amzn-Trace-Id: ");
        CHECK(trace_read_amzn(value, strlen(value), &again, &sampled) && sampled);
        CHECK(memcmp(&place, &again, sizeof place) == 0);
    }
    free(text);
    return 0;
}
