/* fuzz_verify.c: signatures of requests, as whoever sends them. What nobody has signed is not verified; what
 * is signed is, and with a byte more it is not. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "intake/intake.h"
#include "intake/verify.h"

#define NOW_MS 1767225600000

struct headers {
    char *lines;          /* "Name: value\n", as verify_sign writes them */
    const char *any;      /* of each that is asked for; or NULL */
    char values[4][2048]; /* several are asked for, and kept */
    size_t next;
};

static const char *look_up(void *user, const char *name)
{
    struct headers *headers = user;
    size_t size = strlen(name);
    if (headers->any)
        return headers->any;
    for (const char *line = headers->lines, *end; line && (end = strchr(line, '\n')); line = end + 1)
        if (strncasecmp(line, name, size) == 0 && line[size] == ':') {
            size_t value = (size_t)(end - line) - size - 2;
            CHECK(value < sizeof headers->values[0]);
            char *kept = headers->values[headers->next++ % 4];
            memcpy(kept, line + size + 2, value);
            kept[value] = '\0';
            return kept;
        }
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = mem_copy((const char *)bytes, size);
    for (int verify = VERIFY_NONE; verify <= VERIFY_BEARER; verify++) {
        const struct config_intake intake = {.name = "x",
                                             .verify = verify,
                                             .secrets = verify ? "whsec_MDEyMzQ1Njc4OWFiY2RlZg== other-secret"
                                                               : NULL,
                                             .signature = "X-Signature",
                                             .tolerance_ms = 300000};
        struct headers sent = {.any = text};
        struct verify_request request = {look_up, &sent, text, strlen(text)};
        struct err err = {0};
        CHECK(verify_request(&intake, &request, NOW_MS, &err) == (verify == VERIFY_NONE));
        char *id = verify_id(&intake, &request);
        CHECK(*id);
        free(id);
        struct buf lines = BUF_INIT;
        verify_sign(&intake, "delivery", text, strlen(text), NOW_MS, &lines);
        struct headers sealed = {.lines = lines.data};
        struct verify_request good = {look_up, &sealed, text, strlen(text)};
        CHECK(verify_request(&intake, &good, NOW_MS, &err));
        char *longer = mem_printf("%sx", text);
        struct verify_request bad = {look_up, &sealed, longer, strlen(longer)};
        bool body_counts = verify != VERIFY_NONE && verify != VERIFY_BEARER;
        CHECK(verify_request(&intake, &bad, NOW_MS, &err) != body_counts);
        free(longer);
        buf_fini(&lines);
    }
    const struct config_intake below = {.path = "/hooks"};
    if (intake_path_is_good(&below, text))
        CHECK(strncmp(text, "/hooks", 6) == 0 && !strstr(text, "/../"));
    free(text);
    return 0;
}
