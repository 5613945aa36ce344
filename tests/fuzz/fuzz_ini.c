/* fuzz_ini.c: an INI of any bytes gives entries or problems, never a crash. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/ini.h"
#include "conf/settings.h"

static void entry(void *user, const char *section, const char *name, const char *value, int line)
{
    int64_t number;
    struct err err;
    (void)user, (void)section, (void)line;
    if (!name)
        return;
    duration_parse(value, &number, &err);
    size_parse(value, &number, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct problems problems = PROBLEMS_INIT;
    char *text = mem_copy(data, size);
    ini_read("fuzz.ini", text, entry, NULL, &problems);
    problems_fini(&problems);
    free(text);
    return 0;
}
