/* directory.c: see directory.h. */
#include "script/directory.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size > end_size && strcmp(text + size - end_size, end) == 0;
}

static int is_script(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && ends_with(entry->d_name, ".lua") &&
           !ends_with(entry->d_name, "_test.lua");
}

char **script_paths(const char *directory, struct err *err)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_script, alphasort);
    if (count < 0) {
        err_set(err, ERR_CONFIG, "%s: cannot read the scripts directory: %s", directory, strerror(errno));
        return NULL;
    }
    char **paths = mem_zero(((size_t)count + 1) * sizeof *paths);
    for (int i = 0; i < count; i++) {
        paths[i] = mem_printf("%s/%s", directory, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return paths;
}

void script_paths_free(char **paths)
{
    for (size_t i = 0; paths && paths[i]; i++)
        free(paths[i]);
    free(paths);
}

char *script_name_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t size = strlen(name);
    return mem_copy(name, size > 4 && strcmp(name + size - 4, ".lua") == 0 ? size - 4 : size);
}
