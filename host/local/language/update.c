/* update.c: update expressions. What an action needs is computed from the item as it was; removed list
 * elements leave a gap until the end, so that every index means the list as it was. */
#include <stdio.h>
#include <string.h>

#include "local/language/expression_parser.h"
#include "local/model/attr_index.h"

#define DEPTH_MAX 150

static const char parameter[] = "UpdateExpression";

/* ---- parsing ---- */

struct building {
    struct parser parser;
    struct update *update;
    struct action **end;
    bool seen[ACTION_DELETE + 1];
    const char *twice; /* a section that came again */
};

static const char *const sections[] = {
    [ACTION_SET] = "SET", [ACTION_REMOVE] = "REMOVE", [ACTION_ADD] = "ADD", [ACTION_DELETE] = "DELETE"};

static struct expr *parse_value(struct parser *parser);

/* "(a + :b)" as a whole, or an operand. */
static struct expr *parse_parentheses(struct parser *parser)
{
    struct expr *inner = ++parser->depth > DEPTH_MAX ? NULL : parse_value(parser);
    if (parser->depth-- > DEPTH_MAX)
        parser_fault(parser, "The expression contains too many parentheses or operators");
    if (!inner || !parser_expect_sign(parser, ")"))
        return NULL;
    parser->redundant = parser->redundant || inner->parenthesised;
    inner->parenthesised = true;
    return inner;
}

static struct expr *parse_value(struct parser *parser)
{
    struct expr *left = parser_take_sign(parser, "(") ? parse_parentheses(parser) : parser_operand(parser);
    if (!left || left->kind == EXPR_ARITHMETIC ||
        (!parser_is_sign(parser, "+") && !parser_is_sign(parser, "-")))
        return left;
    struct expr *sum = expr_new(parser, EXPR_ARITHMETIC, parser->at.text);
    parser_next(parser);
    struct expr *right = parser_operand(parser);
    if (!right)
        return NULL;
    expr_add(sum, left);
    expr_add(sum, right);
    return sum;
}

static bool parse_action(struct building *b, enum action_kind kind)
{
    struct parser *parser = &b->parser;
    struct action *action = arena_alloc(parser->placeholders->arena, sizeof *action);
    *action = (struct action){.kind = kind};
    if (!parser_path(parser, &action->path))
        return false;
    if (kind == ACTION_SET) {
        if (!parser_expect_sign(parser, "="))
            return false;
        action->operand = parse_value(parser);
        if (!action->operand)
            return false;
    } else if (kind != ACTION_REMOVE) {
        if (parser->at.kind != TOKEN_VALUE)
            return parser_unexpected(parser);
        action->operand = expr_new(parser, EXPR_VALUE, parser->at.text);
        parser_next(parser);
    }
    *b->end = action;
    b->end = &action->next;
    return true;
}

static bool parse_section(struct building *b)
{
    for (int kind = ACTION_SET; kind <= ACTION_DELETE; kind++) {
        if (!parser_take_word(&b->parser, sections[kind]))
            continue;
        if (b->seen[kind] && !b->twice)
            b->twice = sections[kind];
        b->seen[kind] = true;
        do {
            if (!parse_action(b, (enum action_kind)kind))
                return false;
        } while (parser_take_sign(&b->parser, ","));
        return true;
    }
    return parser_unexpected(&b->parser);
}

static const char *const long_type_names[ATTR_TYPES] = {
    "STRING", "NUMBER", "BINARY", "STRING_SET", "NUMBER_SET", "BINARY_SET", "MAP", "LIST", "BOOLEAN", "NULL"};

static bool check_set_operand(struct parser *parser, const struct action *action)
{
    const struct attr *value = action->operand->value;
    bool number = action->kind == ACTION_ADD && value->type == ATTR_N;
    return number || attr_is_set(value) ||
           parser_fault(
               parser,
               "Incorrect operand type for operator or function; operator: %s, operand type: %s, typeSet: "
               "ALLOWED_FOR_%s_OPERAND",
               sections[action->kind], long_type_names[value->type], sections[action->kind]);
}

/* In the order of the service: the last action first. */
static bool check_backwards(struct building *b, const struct action *first,
                            bool (*check)(struct parser *, struct action *))
{
    return !first || (check_backwards(b, first->next, check) && check(&b->parser, (struct action *)first));
}

static bool check_action_path(struct parser *parser, struct action *action)
{
    return check_path(parser, &action->path);
}

static bool check_action_operand(struct parser *parser, struct action *action)
{
    if (!action->operand)
        return true;
    if (!check_operand(parser, action->operand, true))
        return false;
    return !parser->typing || action->kind < ACTION_ADD || check_set_operand(parser, action);
}

static bool check_all_words(struct building *b)
{
    for (const struct action *action = b->update->actions; action; action = action->next)
        if (!check_reserved(&b->parser, &action->path) ||
            (action->operand && !check_words(&b->parser, action->operand, PLACE_UPDATE)))
            return false;
    return true;
}

static bool check_overlap(struct building *b)
{
    size_t count = 0;
    for (const struct action *action = b->update->actions; action; action = action->next)
        count++;
    struct path *paths = arena_alloc(b->parser.placeholders->arena, count * sizeof *paths);
    count = 0;
    for (const struct action *action = b->update->actions; action; action = action->next) {
        if (!paths_compatible(paths, count, &action->path, parameter, b->parser.placeholders->fault))
            return false;
        paths[count++] = action->path;
    }
    return true;
}

static bool check_actions(struct building *b)
{
    if (b->twice)
        return parser_fault(&b->parser, "The \"%s\" section can only be used once in an update expression;",
                            b->twice);
    if (!parser_expect_end(&b->parser) || !check_all_words(b))
        return false;
    b->parser.resolving = true;
    if (!check_backwards(b, b->update->actions, check_action_path) || !check_overlap(b))
        return false;
    b->parser.typing = true;
    return check_backwards(b, b->update->actions, check_action_operand);
}

bool update_only_removes(const struct update *update)
{
    for (const struct action *action = update ? update->actions : NULL; action; action = action->next)
        if (action->kind != ACTION_REMOVE && action->kind != ACTION_DELETE)
            return false;
    return update && update->actions;
}

struct update *update_parse(struct placeholders *placeholders, struct text source)
{
    struct building b = {.update = arena_alloc(placeholders->arena, sizeof(struct update))};
    *b.update = (struct update){0};
    b.end = &b.update->actions;
    parser_begin(&b.parser, placeholders, parameter, source);
    if (!parser_has_size(&b.parser, source))
        return NULL;
    do {
        if (!parse_section(&b))
            return NULL;
    } while (b.parser.at.kind != TOKEN_END);
    return check_actions(&b) ? b.update : NULL;
}

/* ---- what an action puts in its place ---- */

struct applying {
    struct arena *arena;
    const struct attr *before;
    struct fault *fault;
    bool legacy;
};

static struct attr *wrong_type(struct applying *a)
{
    fault_invalid(a->fault, a->legacy ? "Type mismatch for attribute to update"
                                      : "An operand in the update expression has an incorrect data type");
    return NULL;
}

static struct attr *evaluate(struct applying *a, const struct expr *expr);

static struct attr *list_append(struct applying *a, const struct attr *first, const struct attr *second)
{
    if (first->type != ATTR_L || second->type != ATTR_L)
        return wrong_type(a);
    struct attr *list = attr_copy(a->arena, first), *tail = attr_copy(a->arena, second);
    struct member **end = &list->members;
    while (*end)
        end = &(*end)->next;
    *end = tail->members;
    list->count += tail->count;
    return list;
}

static struct attr *evaluate_both(struct applying *a, const struct expr *expr)
{
    struct attr *first = evaluate(a, expr->first), *second = first ? evaluate(a, expr->first->next) : NULL;
    if (!first || !second)
        return NULL;
    if (expr->kind == EXPR_CALL)
        return list_append(a, first, second);
    if (first->type != ATTR_N || second->type != ATTR_N)
        return wrong_type(a);
    return attr_add(a->arena, first, second, *expr->text.data == '-', a->fault);
}

static struct attr *evaluate(struct applying *a, const struct expr *expr)
{
    if (expr->kind == EXPR_CALL && text_is(expr->text, "if_not_exists", 13)) {
        struct attr *there = path_find(&expr->first->path, a->before);
        struct attr *otherwise = evaluate(a, expr->first->next); /* must be there in any case */
        return there && otherwise ? there : otherwise;
    }
    if (expr->kind == EXPR_CALL || expr->kind == EXPR_ARITHMETIC)
        return evaluate_both(a, expr);
    const struct attr *value = operand_value(a->arena, expr, a->before);
    if (!value)
        fault_invalid(a->fault,
                      "The provided expression refers to an attribute that does not exist in the item");
    return (struct attr *)value;
}

/* Those of `from` that are not in the other set, behind what is in `to`. */
static void append_others(struct applying *a, struct attr *to, const struct attr *from,
                          const struct attr *other)
{
    struct attr_index index = attr_index_of(other);
    struct member **end = &to->members;
    while (*end)
        end = &(*end)->next;
    attr_each(member, from)
    {
        if (attr_index_get(&index, member->value->text))
            continue;
        *end = arena_alloc(a->arena, sizeof **end);
        **end = (struct member){.value = member->value};
        end = &(*end)->next;
        to->count++;
    }
    attr_index_fini(&index);
}

static struct attr *set_union(struct applying *a, const struct attr *set, const struct attr *more)
{
    struct attr *all = attr_copy(a->arena, set);
    append_others(a, all, more, set);
    attr_sort_set(all);
    return all;
}

static struct attr *set_minus(struct applying *a, const struct attr *set, const struct attr *less)
{
    struct attr *rest = attr_new(a->arena, set->type);
    append_others(a, rest, set, less);
    return rest;
}

static struct attr *add(struct applying *a, const struct attr *there, struct attr *operand)
{
    if (!there)
        return operand;
    if (there->type != operand->type)
        return wrong_type(a);
    if (operand->type == ATTR_L) /* of AttributeUpdates alone */
        return list_append(a, there, operand);
    return operand->type == ATTR_N ? attr_add(a->arena, there, operand, false, a->fault)
                                   : set_union(a, there, operand);
}

/* ---- putting it there ---- */

static bool invalid_path(struct applying *a)
{
    return fault_invalid(a->fault,
                         "The document path provided in the update expression is invalid for update");
}

static struct member *member_at(const struct attr *container, const struct step *step)
{
    size_t index = 0;
    if (container->type != (step->indexed ? ATTR_L : ATTR_M))
        return NULL;
    attr_each(member, container) if (step->indexed ? index++ == step->index
                                                   : text_equal(member->name, step->name)) return member;
    return NULL;
}

/* The container of the path's last step, copied with all above it. NULL and a fault. */
static struct attr *parent_of(struct applying *a, struct attr *item, const struct path *path)
{
    struct attr *at = item;
    for (size_t i = 0; i + 1 < path->count; i++) {
        struct member *member = member_at(at, &path->steps[i]);
        if (!member || !member->value) {
            invalid_path(a);
            return NULL;
        }
        member->value = attr_copy(a->arena, member->value);
        at = member->value;
    }
    if (at->type == (path->steps[path->count - 1].indexed ? ATTR_L : ATTR_M))
        return at;
    invalid_path(a);
    return NULL;
}

static bool put(struct applying *a, struct attr *item, const struct path *path, struct attr *value)
{
    const struct step *last = &path->steps[path->count - 1];
    struct attr *parent = parent_of(a, item, path);
    if (!parent)
        return false;
    struct member *member = member_at(parent, last);
    if (member)
        member->value = value;
    else
        attr_append(a->arena, parent, last->name, value);
    return true;
}

static bool take_away(struct applying *a, struct attr *item, const struct path *path)
{
    const struct step *last = &path->steps[path->count - 1];
    struct attr *parent = parent_of(a, item, path);
    if (!parent)
        return false;
    struct member *member = member_at(parent, last);
    if (last->indexed && member)
        member->value = NULL; /* a gap */
    else if (member)
        attr_remove(parent, last->name);
    return true;
}

static void close_gaps(struct attr *container)
{
    for (struct member **at = &container->members; *at;) {
        struct attr *value = (*at)->value;
        if (!value) {
            *at = (*at)->next;
            container->count--;
            continue;
        }
        if (value->type == ATTR_M || value->type == ATTR_L)
            close_gaps(value);
        at = &(*at)->next;
    }
}

/* ---- what each action leaves in its place, all of it from the item as it was ---- */

static bool parent_fits(struct applying *a, const struct path *path)
{
    struct path above = {path->steps, path->count - 1};
    const struct attr *parent = above.count ? path_find(&above, a->before) : a->before;
    enum attr_type type = path->steps[path->count - 1].indexed ? ATTR_L : ATTR_M;
    return (parent && parent->type == type) || invalid_path(a);
}

static bool compute(struct applying *a, struct action *action)
{
    struct attr *there = path_find(&action->path, a->before);
    action->result = NULL;
    if (!parent_fits(a, &action->path))
        return false;
    switch (action->kind) {
    case ACTION_SET:
        action->result = evaluate(a, action->operand);
        return action->result != NULL;
    case ACTION_ADD:
        action->result = add(a, there, action->operand->value);
        return action->result != NULL;
    case ACTION_DELETE:
        if (there && there->type != action->operand->value->type)
            return wrong_type(a) != NULL;
        action->result = there ? set_minus(a, there, action->operand->value) : NULL;
        if (action->result && !action->result->count)
            action->result = NULL;
        return true;
    default:
        return true;
    }
}

/* In the order of the service: the last action of a kind first. */
static bool compute_backwards(struct applying *a, struct action *first, enum action_kind kind)
{
    return !first || (compute_backwards(a, first->next, kind) && (first->kind != kind || compute(a, first)));
}

static bool compute_all(struct applying *a, struct action *first)
{
    return compute_backwards(a, first, ACTION_SET) && compute_backwards(a, first, ACTION_ADD) &&
           compute_backwards(a, first, ACTION_DELETE) && compute_backwards(a, first, ACTION_REMOVE);
}

/* Elements put behind a list's end go there in the order of their indexes. */
static bool later_in_list(const struct action *a, const struct action *b)
{
    const struct step *x = &a->path.steps[a->path.count - 1], *y = &b->path.steps[b->path.count - 1];
    if (a->path.count != b->path.count || !x->indexed || !y->indexed || x->index <= y->index)
        return false;
    struct path above_a = {a->path.steps, a->path.count - 1}, above_b = {b->path.steps, b->path.count - 1};
    return path_equal(&above_a, &above_b);
}

static void order_actions(struct update *update)
{
    for (struct action *a = update->actions; a; a = a->next)
        for (struct action *b = a->next; b; b = b->next)
            if (later_in_list(a, b)) {
                struct action swap = *a;
                struct action *next_a = a->next, *next_b = b->next;
                *a = *b;
                *b = swap;
                a->next = next_a;
                b->next = next_b;
            }
}

struct attr *update_apply(struct arena *arena, const struct update *update, const struct attr *item,
                          struct fault *fault)
{
    struct applying a = {arena, item, fault, update->legacy};
    struct attr *after = attr_copy(arena, item);
    bool gaps = false;
    order_actions((struct update *)update);
    if (!compute_all(&a, update->actions))
        return NULL;
    for (int pass = 0; pass < 2; pass++) { /* first the gaps, which move nothing */
        for (const struct action *action = update->actions; action; action = action->next) {
            bool indexed = action->path.steps[action->path.count - 1].indexed;
            if ((!action->result && indexed) != (pass == 0))
                continue;
            gaps = gaps || indexed;
            if (action->result ? !put(&a, after, &action->path, action->result)
                               : !take_away(&a, after, &action->path))
                return NULL;
        }
    }
    if (gaps)
        close_gaps(after);
    return after;
}
