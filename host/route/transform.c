/* transform.c: see transform.h. */
#include "route/transform.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/problems.h"
#include "record/record_json.h"
#include "record/unmarshal.h"

#define VARIABLES_MAX 100 /* as EventBridge allows */
#define STEPS_MAX 32

/* ".name", "['name']" or "[0]" */
struct step {
    char *name; /* NULL: an index */
    size_t index;
};

struct path {
    struct step steps[STEPS_MAX];
    size_t count;
};

struct piece {
    char *text;     /* a literal; NULL: a variable */
    int variable;   /* -1: the whole event */
    bool in_string; /* between quotes */
};

struct pieces {
    struct piece *all;
    size_t count, capacity;
};

/* Of a text of the section's. */
struct filling {
    enum { NOTHING, FIXED, PATHED, PIECED } kind;
    char *fixed;
    struct path path;
    struct pieces pieces;
};

struct transform {
    enum { WHOLE, IMAGE, PATH, TEMPLATE } kind;
    enum route_image image;
    bool unmarshalled;
    struct path path;
    char *names[VARIABLES_MAX + 1];
    struct path paths[VARIABLES_MAX];
    size_t variables;
    struct pieces pieces;
    struct filling detail_type, source, subject;
};

/* ---- paths ---- */

static bool path_wrong(const char *text, struct err *err)
{
    return err_set(err, ERR_CONFIG, "\"%s\" is no path (try $.dynamodb.NewImage.id.S)", text);
}

static bool add_step(struct path *path, const char *name, size_t size, size_t index)
{
    if (path->count == STEPS_MAX)
        return false;
    path->steps[path->count++] = (struct step){name ? mem_copy(name, size) : NULL, index};
    return true;
}

static bool path_parse(const char *text, struct path *path, struct err *err)
{
    const char *at = text;
    if (*at++ != '$')
        return path_wrong(text, err);
    while (*at) {
        char *end = NULL;
        if (*at == '.' && strcspn(at + 1, ".[") > 0) {
            size_t size = strcspn(at + 1, ".[");
            if (!add_step(path, at + 1, size, 0))
                return path_wrong(text, err);
            at += 1 + size;
        } else if (*at == '[' && (at[1] == '\'' || at[1] == '"')) {
            const char *close = strchr(at + 2, at[1]);
            if (!close || close[1] != ']' || !add_step(path, at + 2, (size_t)(close - at - 2), 0))
                return path_wrong(text, err);
            at = close + 2;
        } else if (*at == '[' && at[1] >= '0' && at[1] <= '9') {
            size_t index = strtoul(at + 1, &end, 10);
            if (*end != ']' || !add_step(path, NULL, 0, index))
                return path_wrong(text, err);
            at = end + 1;
        } else {
            return path_wrong(text, err);
        }
    }
    return true;
}

static const struct json *path_follow(const struct path *path, const struct json *value)
{
    for (size_t i = 0; value && i < path->count; i++) {
        const struct step *step = &path->steps[i];
        if (step->name) {
            value = json_get(value, step->name);
            continue;
        }
        const struct json *item = value->type == JSON_ARRAY ? json_children(value) : NULL;
        for (size_t left = step->index; item && left; left--)
            item = item->next;
        value = item;
    }
    return value;
}

static void path_fini(struct path *path)
{
    for (size_t i = 0; i < path->count; i++)
        free(path->steps[i].name);
}

/* ---- templates ---- */

static void add_piece(struct pieces *pieces, const char *text, size_t size, int variable, bool in_string)
{
    mem_grow(&pieces->all, &pieces->capacity, pieces->count, sizeof *pieces->all);
    pieces->all[pieces->count++] = (struct piece){text ? mem_copy(text, size) : NULL, variable, in_string};
}

static void pieces_fini(struct pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++)
        free(pieces->all[i].text);
    free(pieces->all);
}

#define WHOLE_EVENT "aws.events.event.json"

static bool add_variable(const struct transform *transform, struct pieces *pieces, const char *name,
                         size_t size, bool in_string, struct err *err)
{
    char *copy = mem_copy(name, size);
    int found = strcmp(copy, WHOLE_EVENT) == 0 ? -1 : -2;
    for (size_t i = 0; i < transform->variables && found == -2; i++)
        if (strcmp(transform->names[i], copy) == 0)
            found = (int)i;
    const char *meant = nearest_name(copy, (const char *const *)transform->names);
    if (found == -2)
        err_set(err, ERR_CONFIG, "input_paths has no \"%s\"%s%s%s", copy, meant ? " (did you mean " : "",
                meant ? meant : "", meant ? "?)" : "");
    else
        add_piece(pieces, NULL, 0, found, in_string);
    free(copy);
    return found != -2;
}

static bool is_name(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
              (text[i] >= '0' && text[i] <= '9') || strchr("_-.", text[i])))
            return false;
    return size > 0;
}

/* Would it be JSON with null in the place of each variable? */
static bool template_is_json(const struct transform *transform, struct err *err)
{
    struct buf text = BUF_INIT;
    struct arena arena = ARENA_INIT;
    struct err inner;
    const struct piece *all = transform->pieces.all;
    for (size_t i = 0; i < transform->pieces.count; i++)
        buf_add_text(&text, all[i].text ? all[i].text : all[i].in_string ? "" : "null");
    bool ok = json_parse(&arena, text.data ? text.data : "", text.size, &inner) != NULL;
    if (!ok)
        err_set(err, ERR_CONFIG, "filled in, it is not JSON: %s", inner.text);
    arena_fini(&arena);
    buf_fini(&text);
    return ok;
}

static bool template_parse(struct transform *transform, const char *text, struct err *err)
{
    const char *from = text, *at = text;
    bool in_string = false;
    while (*at) {
        const char *close = *at == '<' ? strchr(at, '>') : NULL;
        if (close && is_name(at + 1, (size_t)(close - at - 1))) {
            add_piece(&transform->pieces, from, (size_t)(at - from), 0, false);
            if (!add_variable(transform, &transform->pieces, at + 1, (size_t)(close - at - 1), in_string,
                              err))
                return false;
            at = from = close + 1;
        } else if (in_string && *at == '\\' && at[1]) {
            at += 2;
        } else {
            in_string ^= *at == '"';
            at++;
        }
    }
    add_piece(&transform->pieces, from, (size_t)(at - from), 0, false);
    return template_is_json(transform, err);
}

/* ---- texts ---- */

/* Of "Order <state>", when the variables are known. */
static bool read_pieces(const struct transform *transform, const char *text, struct pieces *pieces,
                        struct err *err)
{
    const char *from = text;
    for (const char *at; (at = strchr(from, '<')); from = strchr(at, '>') + 1) {
        const char *close = strchr(at, '>');
        size_t size = close ? (size_t)(close - at - 1) : 0;
        if (!close || !is_name(at + 1, size))
            return err_set(err, ERR_CONFIG,
                           at[1] == '$'
                               ? "\"%s\": a path stands alone, without < and >, or in input_paths with a "
                                 "name, which stands in them"
                               : "\"%s\": a name of input_paths expected between < and >",
                           text);
        add_piece(pieces, from, (size_t)(at - from), 0, false);
        if (!add_variable(transform, pieces, at + 1, size, true, err))
            return false;
    }
    add_piece(pieces, from, strlen(from), 0, false);
    return true;
}

static bool read_filling(const struct transform *transform, const struct config_route *route, const char *key,
                         const char *text, struct filling *filling, struct err *err)
{
    bool ok = true;
    if (!text)
        return true;
    filling->kind = *text == '$' ? PATHED : strchr(text, '<') ? PIECED : FIXED;
    if (filling->kind == FIXED)
        filling->fixed = mem_string(text);
    else if (filling->kind == PATHED)
        ok = path_parse(text, &filling->path, err);
    else
        ok = read_pieces(transform, text, &filling->pieces, err);
    return ok || config_refuse(&route->section, key, text, err);
}

static void filling_fini(struct filling *filling)
{
    free(filling->fixed);
    path_fini(&filling->path);
    pieces_fini(&filling->pieces);
}

static bool read_paths(struct transform *transform, const char *text, struct err *err)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, text, strlen(text), err);
    bool ok = root && root->type == JSON_OBJECT;
    if (root && !ok)
        err_set(err, ERR_CONFIG, "an object of names and paths expected");
    json_each(member, ok ? root : NULL) {
        const char *path = json_string(&arena, member);
        if (transform->variables == VARIABLES_MAX)
            ok = err_set(err, ERR_CONFIG, "more than %d variables", VARIABLES_MAX);
        else if (!path || !is_name(member->key, member->key_size))
            ok = err_set(err, ERR_CONFIG, "\"%.*s\": a name of letters and digits and a path expected",
                         (int)member->key_size, member->key);
        else {
            transform->names[transform->variables] = mem_copy(member->key, member->key_size);
            ok = path_parse(path, &transform->paths[transform->variables++], err);
        }
        if (!ok)
            break;
    }
    arena_fini(&arena);
    return ok;
}

/* ---- values ---- */

static void write_item(const struct transform *transform, const struct json *item, struct buf *out)
{
    if (!item)
        buf_add_literal(out, "null");
    else if (transform->unmarshalled)
        record_unmarshal(out, item, true);
    else
        json_write_value(out, item);
}

static void write_image(const struct transform *transform, const struct record *record, struct buf *out)
{
    switch (transform->image) {
    case IMAGE_NEW:
        write_item(transform, record->new_image, out);
        return;
    case IMAGE_OLD:
        write_item(transform, record->old_image, out);
        return;
    case IMAGE_KEYS:
        write_item(transform, record->keys, out);
        return;
    default:
        buf_printf(out, "{\"event\":\"%s\",\"keys\":", record_event_name(record->event));
        write_item(transform, record->keys, out);
        buf_add_literal(out, ",\"old\":");
        write_item(transform, record->old_image, out);
        buf_add_literal(out, ",\"new\":");
        write_item(transform, record->new_image, out);
        buf_add_char(out, '}');
    }
}

/* Into a JSON string that is open: the text of a string, or of any other value. */
static void write_in_string(struct buf *out, const char *text, size_t size)
{
    struct buf quoted = BUF_INIT;
    json_write_string(&quoted, text, size);
    buf_add(out, quoted.data + 1, quoted.size - 2);
    buf_fini(&quoted);
}

static void write_variable(struct buf *out, const struct json *value, bool in_string)
{
    struct buf text = BUF_INIT;
    if (!in_string && !value)
        buf_add_literal(out, "null");
    else if (!in_string)
        json_write_value(out, value);
    else if (value && value->type == JSON_STRING)
        write_in_string(out, value->text, value->size);
    else if (value) {
        json_write_value(&text, value);
        write_in_string(out, text.data, text.size);
    }
    buf_fini(&text);
}

static void write_template(const struct transform *transform, const struct json *event, struct buf *out)
{
    for (size_t i = 0; i < transform->pieces.count; i++) {
        const struct piece *piece = &transform->pieces.all[i];
        if (piece->text)
            buf_add_text(out, piece->text);
        else if (piece->variable < 0)
            write_variable(out, event, piece->in_string);
        else
            write_variable(out, path_follow(&transform->paths[piece->variable], event), piece->in_string);
    }
}

static void write_name(struct buf *out, const struct json *member, bool behind)
{
    if (behind)
        buf_add_char(out, ',');
    json_write_string(out, member->key, member->key_size);
    buf_add_char(out, ':');
}

/* Lambda's event, where unmarshalled is said with its items as plain JSON. */
static const struct json *read_event(const struct transform *transform, const struct record *record,
                                     const char *stream_arn, struct arena *arena, struct buf *text)
{
    struct buf plain = BUF_INIT;
    record_write_json(text, record, stream_arn);
    const struct json *event = json_parse(arena, text->data, text->size, NULL);
    if (!transform->unmarshalled)
        return event;
    buf_add_char(&plain, '{');
    json_each(member, event) {
        write_name(&plain, member, member != event->child);
        if (!json_key_is(member, "dynamodb")) {
            json_write_value(&plain, member);
            continue;
        }
        buf_add_char(&plain, '{');
        json_each(part, member) {
            write_name(&plain, part, part != member->child);
            if (json_key_is(part, "Keys") || json_key_is(part, "NewImage") || json_key_is(part, "OldImage"))
                record_unmarshal(&plain, part, true);
            else
                json_write_value(&plain, part);
        }
        buf_add_char(&plain, '}');
    }
    buf_add_char(&plain, '}');
    arena_fini(arena);
    *arena = (struct arena)ARENA_INIT;
    buf_fini(text);
    *text = plain;
    return json_parse(arena, text->data, text->size, NULL);
}

void transform_apply(const struct transform *transform, const struct record *record, const char *stream_arn,
                     struct buf *out)
{
    struct buf text = BUF_INIT;
    struct arena arena = ARENA_INIT;
    if (transform->kind == WHOLE) {
        record_write_json(out, record, stream_arn);
        return;
    }
    if (transform->kind == IMAGE) {
        write_image(transform, record, out);
        return;
    }
    const struct json *event = read_event(transform, record, stream_arn, &arena, &text);
    if (transform->kind == PATH)
        write_variable(out, path_follow(&transform->path, event), false);
    else
        write_template(transform, event, out);
    arena_fini(&arena);
    buf_fini(&text);
}

/* A text, or what stands for another value. */
static void add_plain(struct buf *out, const struct json *value)
{
    if (value && value->type == JSON_STRING)
        buf_add(out, value->text, value->size);
    else if (value && value->type != JSON_NULL)
        json_write_value(out, value);
}

static char *fill(const struct transform *transform, const struct filling *filling, const struct json *event)
{
    struct buf out = BUF_INIT;
    if (filling->kind == NOTHING || filling->kind == FIXED)
        return mem_string(filling->fixed);
    if (filling->kind == PATHED)
        add_plain(&out, path_follow(&filling->path, event));
    for (size_t i = 0; i < filling->pieces.count; i++) {
        const struct piece *piece = &filling->pieces.all[i];
        if (piece->text)
            buf_add_text(&out, piece->text);
        else
            add_plain(&out,
                      piece->variable < 0 ? event : path_follow(&transform->paths[piece->variable], event));
    }
    if (out.size && !memchr(out.data, 0, out.size)) /* a text of C's cannot hold that */
        return buf_take(&out);
    buf_fini(&out);
    return NULL;
}

void transform_write_texts(const struct transform *transform, const struct record *record,
                           const char *stream_arn, struct transform_texts *texts)
{
    bool fixed = transform->detail_type.kind <= FIXED && transform->source.kind <= FIXED &&
                 transform->subject.kind <= FIXED;
    struct buf text = BUF_INIT;
    struct arena arena = ARENA_INIT;
    const struct json *event = fixed ? NULL : read_event(transform, record, stream_arn, &arena, &text);
    *texts = (struct transform_texts){fill(transform, &transform->detail_type, event),
                                      fill(transform, &transform->source, event),
                                      fill(transform, &transform->subject, event)};
    arena_fini(&arena);
    buf_fini(&text);
}

/* ---- life ---- */

bool transform_none(const struct transform *transform)
{
    return transform->kind == WHOLE;
}

bool transform_applies(const struct transform *transform, const struct record *record)
{
    if (transform->kind != IMAGE)
        return true;
    return transform->image == IMAGE_NEW   ? record->new_image != NULL
           : transform->image == IMAGE_OLD ? record->old_image != NULL
                                           : true;
}

struct transform *transform_new(const struct config_route *route, struct err *err)
{
    struct transform *transform = mem_zero(sizeof *transform);
    bool ok = true;
    transform->image = (enum route_image)route->image;
    transform->unmarshalled = route->unmarshalled;
    if (route->image != IMAGE_RECORD || route->unmarshalled)
        transform->kind = IMAGE;
    if (transform->kind == IMAGE && transform->image == IMAGE_RECORD)
        transform->image = IMAGE_BOTH;
    if (route->input_path) {
        transform->kind = PATH;
        ok = path_parse(route->input_path, &transform->path, err) ||
             config_refuse(&route->section, "input_path", route->input_path, err);
    }
    if (ok && route->input_paths)
        ok = read_paths(transform, route->input_paths, err) ||
             config_refuse(&route->section, "input_paths", route->input_paths, err);
    if (ok && route->input_template) {
        transform->kind = TEMPLATE;
        ok = template_parse(transform, route->input_template, err) ||
             config_refuse(&route->section, "input_template", route->input_template, err);
    }
    ok = ok &&
         read_filling(transform, route, "detail_type", route->detail_type, &transform->detail_type, err) &&
         read_filling(transform, route, "source", route->source, &transform->source, err) &&
         read_filling(transform, route, "subject", route->subject, &transform->subject, err);
    if (ok)
        return transform;
    transform_free(transform);
    return NULL;
}

void transform_free(struct transform *transform)
{
    if (!transform)
        return;
    for (size_t i = 0; i < transform->variables; i++) {
        free(transform->names[i]);
        path_fini(&transform->paths[i]);
    }
    pieces_fini(&transform->pieces);
    path_fini(&transform->path);
    filling_fini(&transform->detail_type);
    filling_fini(&transform->source);
    filling_fini(&transform->subject);
    free(transform);
}
