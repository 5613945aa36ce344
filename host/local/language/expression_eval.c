/* expression_eval.c: paths into items, and whether conditions hold. */
#include <stdio.h>
#include <string.h>

#include "local/language/expression_parser.h"

static bool is_text(struct text text, const char *literal)
{
    return text_is(text, literal, strlen(literal));
}

/* ---- paths ---- */

struct attr *path_find(const struct path *path, const struct attr *item)
{
    struct attr *at = (struct attr *)item;
    for (size_t i = 0; at && i < path->count; i++) {
        const struct step *step = &path->steps[i];
        if (step->indexed)
            at = at->type == ATTR_L ? attr_at(at, step->index) : NULL;
        else
            at = at->type == ATTR_M ? attr_get(at, step->name) : NULL;
    }
    return at;
}

static bool step_equal(const struct step *a, const struct step *b)
{
    return a->indexed == b->indexed && (a->indexed ? a->index == b->index : text_equal(a->name, b->name));
}

bool path_equal(const struct path *a, const struct path *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!step_equal(&a->steps[i], &b->steps[i]))
            return false;
    return true;
}

void path_write(struct buf *out, const struct path *path)
{
    buf_add_char(out, '[');
    for (size_t i = 0; i < path->count; i++) {
        const struct step *step = &path->steps[i];
        if (i)
            buf_add_literal(out, ", ");
        if (step->indexed)
            buf_printf(out, "[%zu]", step->index);
        else
            buf_add(out, step->name.data, step->name.size);
    }
    buf_add_char(out, ']');
}

/* One is part of the other, or they take the same thing once for a list and once for a map. */
bool paths_compatible(const struct path *paths, size_t count, const struct path *path, const char *parameter,
                      struct fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        size_t common = 0, shorter = paths[i].count < path->count ? paths[i].count : path->count;
        while (common < shorter && step_equal(&paths[i].steps[common], &path->steps[common]))
            common++;
        bool overlap = common == shorter;
        if (!overlap && paths[i].steps[common].indexed == path->steps[common].indexed)
            continue;
        struct buf one = BUF_INIT, two = BUF_INIT;
        path_write(&one, &paths[i]);
        path_write(&two, path);
        fault_invalid(
            fault,
            "Invalid %s: Two document paths %s with each other; must remove or rewrite one of these paths; "
            "path one: %s, path two: %s",
            parameter, overlap ? "overlap" : "conflict", one.data, two.data);
        buf_fini(&one);
        buf_fini(&two);
        return false;
    }
    return true;
}

/* ---- operands ---- */

/* As size() counts: characters of strings are its bytes in UTF-16, which for most is their number. */
static bool size_of(const struct attr *value, size_t *size)
{
    *size = 0;
    switch (value->type) {
    case ATTR_S:
        for (size_t i = 0; i < value->text.size; i++) {
            unsigned char c = (unsigned char)value->text.data[i];
            *size += (c & 0xc0) != 0x80;
            *size += c >= 0xf0; /* two units */
        }
        return true;
    case ATTR_B:
        *size = value->text.size;
        return true;
    case ATTR_N:
    case ATTR_BOOL:
    case ATTR_NULL:
        return false;
    default:
        *size = value->count;
        return true;
    }
}

static const struct attr *size_value(struct arena *arena, const struct attr *value)
{
    size_t size;
    char text[24];
    if (!value || !size_of(value, &size))
        return NULL;
    int length = snprintf(text, sizeof text, "%zu", size);
    return attr_text(arena, ATTR_N, arena_copy(arena, text, (size_t)length), (size_t)length);
}

const struct attr *operand_value(struct arena *arena, const struct expr *expr, const struct attr *item)
{
    switch (expr->kind) {
    case EXPR_PATH:
        return item ? path_find(&expr->path, item) : NULL;
    case EXPR_VALUE:
        return expr->value;
    default: /* the only function here */
        return size_value(arena, operand_value(arena, expr->first, item));
    }
}

/* ---- conditions ---- */

static bool has_order(const struct attr *value)
{
    return value->type == ATTR_S || value->type == ATTR_N || value->type == ATTR_B;
}

static bool compare(struct text operator, const struct attr * a, const struct attr *b)
{
    if (is_text(operator, "="))
        return a && b && attr_equal(a, b);
    if (is_text(operator, "<>"))
        return !a || !b || !attr_equal(a, b);
    if (!a || !b || a->type != b->type || !has_order(a))
        return false;
    int order = attr_compare(a, b);
    return is_text(operator, "<")    ? order < 0
           : is_text(operator, "<=") ? order <= 0
           : is_text(operator, ">")  ? order > 0
                                     : order >= 0;
}

static bool contains(const struct attr *value, const struct attr *part)
{
    if (value->type == part->type && (value->type == ATTR_S || value->type == ATTR_B))
        return memmem(value->text.data, value->text.size, part->text.data, part->text.size) != NULL;
    if (attr_is_set(value))
        return attr_in_set(value, part);
    if (value->type == ATTR_L)
        attr_each(member, value) if (attr_equal(member->value, part)) return true;
    return false;
}

static bool begins_with(const struct attr *value, const struct attr *part)
{
    return value->type == part->type && (value->type == ATTR_S || value->type == ATTR_B) &&
           value->text.size >= part->text.size &&
           memcmp(value->text.data, part->text.data, part->text.size) == 0;
}

static bool call_holds(struct arena *arena, const struct expr *call, const struct attr *item)
{
    const struct attr *first = operand_value(arena, call->first, item);
    if (is_text(call->text, "attribute_exists"))
        return first != NULL;
    if (is_text(call->text, "attribute_not_exists"))
        return first == NULL;
    const struct attr *second = operand_value(arena, call->first->next, item);
    if (!first || !second)
        return false;
    if (is_text(call->text, "attribute_type"))
        return second->type == ATTR_S && is_text(second->text, attr_type_names[first->type]);
    return is_text(call->text, "contains") ? contains(first, second) : begins_with(first, second);
}

static bool between_holds(struct arena *arena, const struct expr *expr, const struct attr *item)
{
    const struct attr *value = operand_value(arena, expr->first, item);
    const struct expr *low = expr->first->next;
    return compare((struct text){">=", 2}, value, operand_value(arena, low, item)) &&
           compare((struct text){"<=", 2}, value, operand_value(arena, low->next, item));
}

static bool in_holds(struct arena *arena, const struct expr *expr, const struct attr *item)
{
    const struct attr *value = operand_value(arena, expr->first, item);
    for (const struct expr *other = expr->first->next; other; other = other->next)
        if (compare((struct text){"=", 1}, value, operand_value(arena, other, item)))
            return true;
    return false;
}

bool condition_holds(struct arena *arena, const struct expr *expr, const struct attr *item)
{
    const struct expr *first = expr->first;
    switch (expr->kind) {
    case EXPR_AND:
        return condition_holds(arena, first, item) && condition_holds(arena, first->next, item);
    case EXPR_OR:
        return condition_holds(arena, first, item) || condition_holds(arena, first->next, item);
    case EXPR_NOT:
        return !condition_holds(arena, first, item);
    case EXPR_CALL:
        return call_holds(arena, expr, item);
    case EXPR_BETWEEN:
        return between_holds(arena, expr, item);
    case EXPR_IN:
        return in_holds(arena, expr, item);
    default:
        return compare(expr->text, operand_value(arena, first, item),
                       operand_value(arena, first->next, item));
    }
}
