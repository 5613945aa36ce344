/* fuzz_headers.c: the head of an answer, of any bytes. */
#include <stdint.h>

#include "net/transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const names[] = {"Retry-After", "Date", "x-amzn-RequestId", "Location", "a", ""};
    struct transport_response response = {.status = 200};
    char small[4], large[256];
    buf_add(&response.headers, bytes, size);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        transport_header(&response, names[i], small, sizeof small);
        transport_header(&response, names[i], large, sizeof large);
    }
    buf_fini(&response.headers);
    return 0;
}
