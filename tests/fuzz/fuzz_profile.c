/* fuzz_profile.c: shared config and credentials files of any bytes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "aws/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static char path[64];
    struct err err = {0};
    if (!*path) {
        snprintf(path, sizeof path, "/tmp/tidemill-fuzz-profile-%d", (int)getpid());
        setenv("AWS_CONFIG_FILE", path, 1);
        setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
        unsetenv("AWS_ACCESS_KEY_ID");
        unsetenv("AWS_SECRET_ACCESS_KEY");
    }
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, size, file);
    fclose(file);
    struct profiles *profiles = profiles_load();
    profiles_get(profiles, "default", "region");
    struct credential_plan plan = {0};
    if (credential_plan(profiles, NULL, &plan, &err))
        credential_plan_fini(&plan);
    profiles_free(profiles);
    unlink(path);
    return 0;
}
