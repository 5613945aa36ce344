/* recipes.h: whole deployments that `init` writes, carried inside the binary (host/packaging/recipes.sh). */
#ifndef TIDEMILL_CMD_RECIPES_H
#define TIDEMILL_CMD_RECIPES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Zero it; recipes_next opens it. */
struct recipes {
    struct buf archive;
    size_t at;
};

struct recipe_file {
    char name[101]; /* of the recipe: "search_index" */
    char path[101]; /* of the file, in its directory: "scripts/search_index.lua" */
    const char *text;
    size_t size;
};

/* One file after the other, those of a recipe in a row; false: there are no more, and all is freed. */
bool recipes_next(struct recipes *recipes, struct recipe_file *file);

/* Before the last one. */
void recipes_close(struct recipes *recipes);

#endif
