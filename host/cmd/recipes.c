/* recipes.c: see recipes.h. The archive is a tar:
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar Interchange Format) */
#include "cmd/recipes.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/compress.h"
#include "base/embed.h"

EMBED(recipes_archive, TIDEMILL_RECIPES);

#define BLOCK 512
#define NAME_AT 0 /* 100 bytes */
#define SIZE_AT 124
#define TYPE_AT 156
#define BYTES_MAX (16u << 20)

static void open_archive(struct recipes *recipes)
{
    struct err err;
    CHECK(decompress(recipes_archive_start, (size_t)(recipes_archive_end - recipes_archive_start), BYTES_MAX,
                     &recipes->archive, &err));
}

/* "./search_index/scripts/search_index.lua" */
static bool read_name(const char *header, struct recipe_file *file)
{
    char whole[101] = {0};
    memcpy(whole, header + NAME_AT, 100);
    const char *name = strncmp(whole, "./", 2) == 0 ? whole + 2 : whole, *slash = strchr(name, '/');
    if (!slash || !slash[1])
        return false;
    memcpy(file->name, name, (size_t)(slash - name));
    file->name[slash - name] = '\0';
    strcpy(file->path, slash + 1);
    return true;
}

bool recipes_next(struct recipes *recipes, struct recipe_file *file)
{
    if (!recipes->archive.size)
        open_archive(recipes);
    while (recipes->at + BLOCK <= recipes->archive.size && recipes->archive.data[recipes->at]) {
        const char *header = recipes->archive.data + recipes->at;
        size_t size = strtoul(header + SIZE_AT, NULL, 8);
        CHECK(recipes->at + BLOCK + size <= recipes->archive.size);
        recipes->at += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
        if (header[TYPE_AT] != '0' || !read_name(header, file))
            continue;
        file->text = header + BLOCK;
        file->size = size;
        return true;
    }
    recipes_close(recipes);
    return false;
}

void recipes_close(struct recipes *recipes)
{
    buf_fini(&recipes->archive);
    *recipes = (struct recipes){0};
}
