/* file.c: files of events in a directory of this machine; deliver/lake.c writes them. */
#include <stdlib.h>

#include "base/file.h"
#include "deliver/lake.h"

static const struct setting settings[] = {
    {"path", SETTING_TEXT, offsetof(struct lake_settings, path), 0, 0, NULL},
    {"compression", SETTING_CHOICE, offsetof(struct lake_settings, compression), 0, 0, lake_compressions},
    {NULL, 0, 0, 0, 0, NULL},
};

/* It stands beside the INI. */
static void check(struct config_target *target, const char *ini, target_complain_fn *complain, void *user)
{
    struct lake_settings *own = target->own;
    (void)complain;
    (void)user;
    if (!own->path)
        return;
    char *path = path_beside(ini, own->path);
    free(own->path);
    own->path = path;
}

static const char *directory(const struct config_target *target)
{
    return ((const struct lake_settings *)target->own)->path;
}

static const char *const needed[] = {"path", NULL};

const struct target_type target_file = {
    .name = "file",
    .settings = settings,
    .settings_size = sizeof(struct lake_settings),
    .needed = needed,
    .check = check,
    .keeps_files = true,
    .directory = directory,
    .pipelined = true,
    .open = lake_open,
};
