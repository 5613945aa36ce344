/* projection.c: projection expressions. */
#include <string.h>

#include "local/language/expression_parser.h"

static const char parameter[] = "ProjectionExpression";

struct projection *projection_parse(struct placeholders *placeholders, struct text source)
{
    struct parser parser;
    struct projection *projection = arena_alloc(placeholders->arena, sizeof *projection);
    *projection = (struct projection){0};
    parser_begin(&parser, placeholders, parameter, source);
    if (!parser_has_size(&parser, source))
        return NULL;
    size_t most = 1;
    for (size_t i = 0; i < source.size; i++)
        most += source.data[i] == ',';
    projection->paths = arena_alloc(placeholders->arena, most * sizeof *projection->paths);
    do {
        struct path *path = &projection->paths[projection->count++];
        *path = (struct path){0};
        if (!parser_path(&parser, path))
            return NULL;
    } while (parser_take_sign(&parser, ","));
    if (!parser_expect_end(&parser))
        return NULL;
    for (size_t i = 0; i < projection->count; i++)
        if (!check_reserved(&parser, &projection->paths[i]))
            return NULL;
    parser.resolving = true;
    for (size_t i = 0; i < projection->count; i++)
        if (!check_path(&parser, &projection->paths[i]))
            return NULL;
    for (size_t i = 0; i < projection->count; i++)
        if (!paths_compatible(projection->paths, i, &projection->paths[i], parameter, placeholders->fault))
            return NULL;
    return projection;
}

/* The paths that go through what is looked at, all `depth` steps long by now. */
struct selection {
    const struct path **paths;
    size_t count, depth;
};

static struct attr *select_from(struct arena *arena, const struct attr *value,
                                const struct selection *selection);

static struct selection narrow(struct arena *arena, const struct selection *selection,
                               const struct member *member, bool indexed, size_t index)
{
    struct selection inner = {arena_alloc(arena, selection->count * sizeof *inner.paths), 0,
                              selection->depth + 1};
    for (size_t i = 0; i < selection->count; i++) {
        const struct step *step = &selection->paths[i]->steps[selection->depth];
        if (step->indexed == indexed &&
            (indexed ? step->index == index : text_equal(step->name, member->name)))
            inner.paths[inner.count++] = selection->paths[i];
    }
    return inner;
}

static struct attr *select_members(struct arena *arena, const struct attr *value,
                                   const struct selection *selection)
{
    struct attr *result = attr_new(arena, value->type);
    size_t index = 0;
    attr_each(member, value)
    {
        struct selection inner = narrow(arena, selection, member, value->type == ATTR_L, index++);
        struct attr *part = inner.count ? select_from(arena, member->value, &inner) : NULL;
        if (part)
            attr_append(arena, result, member->name, part);
    }
    return result;
}

static struct attr *select_from(struct arena *arena, const struct attr *value,
                                const struct selection *selection)
{
    for (size_t i = 0; i < selection->count; i++)
        if (selection->paths[i]->count == selection->depth)
            return (struct attr *)value;
    if (value->type != ATTR_M && value->type != ATTR_L)
        return NULL;
    struct attr *result = select_members(arena, value, selection);
    return result->count ? result : NULL;
}

/* "y" of m.x.y, "l[0]" of m.l[0]. */
static struct text last_name(struct arena *arena, const struct path *path)
{
    struct buf name = BUF_INIT;
    size_t last = path->count - 1;
    while (last && path->steps[last].indexed)
        last--;
    if (last == path->count - 1)
        return path->steps[last].name;
    buf_add(&name, path->steps[last].name.data, path->steps[last].name.size);
    while (++last < path->count)
        buf_printf(&name, "[%zu]", path->steps[last].index);
    struct text text = {arena_copy(arena, name.data, name.size), name.size};
    buf_fini(&name);
    return text;
}

static struct attr *select_flat(struct arena *arena, const struct projection *projection,
                                const struct attr *item)
{
    struct attr *result = attr_new(arena, ATTR_M);
    for (size_t i = 0; i < projection->count; i++) {
        struct attr *value = path_find(&projection->paths[i], item);
        if (value)
            attr_set(arena, result, last_name(arena, &projection->paths[i]), value);
    }
    return result;
}

struct attr *projection_apply(struct arena *arena, const struct projection *projection,
                              const struct attr *item)
{
    if (projection->flat)
        return select_flat(arena, projection, item);
    struct selection selection = {arena_alloc(arena, projection->count * sizeof *selection.paths),
                                  projection->count, 0};
    for (size_t i = 0; i < projection->count; i++)
        selection.paths[i] = &projection->paths[i];
    return select_members(arena, item, &selection);
}
