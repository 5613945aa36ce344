/* record.c: the record object. What of its images is asked for is decoded then, and kept; everything else is
 * read from the page. When the invocation ends its serial grows and the object is good for nothing more.
 * Images that a script has kept live on: out of the page, and when that goes, with a copy of their text. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/internal.h"
#include "record/record_json.h"
#include "value/lazy_item.h"
#include "value/lua_value.h"

enum { NEW_IMAGE, OLD_IMAGE, IMAGES };

/* One that a script has, and that is not decoded whole. */
struct lazy_image {
    const void *table; /* of Lua's, that shows it; NULL: none does */
    const char *text;  /* of the page, then of the copy */
    size_t size;
    bool over;
    unsigned touches;
    uint64_t *taken;
};

struct record_object {
    struct invocation *invocation;
    uint64_t serial;
    size_t index;     /* among the invocation's records */
    bool kept;        /* told to keep.c */
    unsigned decoded; /* bits by `field`: what its user values have */
    struct lazy_image images[IMAGES];
    uint64_t taken[]; /* of both */
};

enum field {
    FIELD_NONE,
    FIELD_NEW, /* user values 1 to 4 keep what was decoded, and 5 SLOT_TEXTS */
    FIELD_OLD,
    FIELD_KEYS,
    FIELD_RAW,
    FIELD_ID,
    FIELD_EVENT,
    FIELD_SEQUENCE,
    FIELD_TIME,
    FIELD_TABLE,
    FIELD_STREAM,
    FIELD_SHARD,
    FIELD_SIZE,
    FIELD_VIEW,
    FIELD_EXPIRED,
    FIELD_ATTEMPT,
    FIELD_REDRIVEN,
    FIELD_REPLAYED,
    FIELD_AGE,
    FIELD_CHANGED,
    FIELD_EPOCH,
    FIELD_SNAPSHOT,
    FIELD_LATE,
};

static const char *const field_names[] = {"",      "new",      "old",     "keys",     "raw",      "id",
                                          "event", "sequence", "time",    "table",    "stream",   "shard",
                                          "size",  "view",     "expired", "attempt",  "redriven", "replayed",
                                          "age",   "changed",  "epoch",   "snapshot", "late"};
#define FIELD_COUNT (sizeof field_names / sizeof *field_names)

/* The copy of the images' texts, when the page is gone. */
#define SLOT_TEXTS 5

/* The record object at `index`, or NULL. */
static struct record_object *to_record(lua_State *L, int index)
{
    struct record_object *object = lua_touserdata(L, index);
    bool is = object && lua_getmetatable(L, index);
    if (is) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->record_meta);
        is = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    return is ? object : NULL;
}

static const struct handler_input *input_of(lua_State *L, const struct record_object *object,
                                            const struct handler_source **source)
{
    if (object->serial != object->invocation->serial)
        luaL_error(L, "this record was handed back when its handler returned; keep what you need of it");
    if (source)
        *source = object->invocation->call->source;
    return &object->invocation->call->inputs[object->index];
}

const struct handler_input *record_test(lua_State *L, int index, const struct handler_source **source)
{
    const struct record_object *object = to_record(L, index);
    return object ? input_of(L, object, source) : NULL;
}

int64_t record_place(lua_State *L, int index, const struct invocation *invocation)
{
    struct record_object *object = to_record(L, index);
    bool ours = object && object->invocation == invocation && object->serial == invocation->serial;
    return ours ? (int64_t)object->index : -1;
}

static const struct handler_input *check(lua_State *L, int index, const struct handler_source **source)
{
    const struct handler_input *input = record_test(L, index, source);
    if (!input)
        luaL_typeerror(L, index, "record");
    return input;
}

static void push_item(lua_State *L, const struct json *item)
{
    struct err err;
    if (!item)
        lua_pushnil(L);
    else if (!value_push_item(L, item, &err))
        luaL_error(L, "the record cannot be decoded: %s", err.text);
}

/* For what is looked up and used at once. */
static struct arena *clear_scratch(lua_State *L)
{
    struct arena *scratch = &script_of(L)->scratch;
    arena_clear(scratch);
    return scratch;
}

/* ---- images ---- */

static const struct json *image_of(const struct record *record, int which)
{
    return which == NEW_IMAGE ? record->new_image : record->old_image;
}

/* Of an object whose record was handed back: read again. No object of the stack's holds it: what closes one
 * within a C function may leave Lua 5.4.4 with a pointer to a stack that is gone. */
static const struct json *read_again(lua_State *L, const struct lazy_image *image)
{
    struct err err;
    const struct json *item = json_parse(clear_scratch(L), image->text, image->size, &err);
    if (!item)
        luaL_error(L, "the record cannot be decoded: %s", err.text);
    return item;
}

/* Written where it is wanted: a copy of what was written in pieces just now keeps the processor waiting. */
static void write_view(struct lazy_view *view, struct lazy_image *image, const struct json *item,
                       struct script *script, int which, bool passing)
{
    view->item = item;
    view->taken = image->taken;
    view->touches = &image->touches;
    view->over = &image->over;
    view->scratch = &script->scratch;
    view->passing = passing;
    view->habits = &script->habits[which];
}

static void view_image(lua_State *L, int owner, int which, struct lazy_view *view)
{
    struct record_object *object = lua_touserdata(L, owner);
    struct lazy_image *image = &object->images[which];
    bool passing = object->serial != object->invocation->serial;
    const struct json *item = passing
                                  ? read_again(L, image)
                                  : image_of(object->invocation->call->inputs[object->index].record, which);
    write_view(view, image, item, script_of(L), which, passing);
}

/* Nearly always it is one of the record's that is handled now. */
static bool view_own_image(lua_State *L, const void *table, int which, struct lazy_view *view)
{
    struct script *script = script_of(L);
    struct record_object *object = script->current ? script->current->root->record : NULL;
    if (!object || object->images[which].table != table)
        return false;
    write_view(view, &object->images[which], image_of(object->invocation->call->inputs->record, which),
               script, which, false);
    return true;
}

static const struct lazy_kind image_kinds[] = {
    {view_image, view_own_image, NEW_IMAGE, "the record", value_push},
    {view_image, view_own_image, OLD_IMAGE, "the record", value_push}};

/* The page of the object at the index goes. */
static void keep_texts(lua_State *L, int index)
{
    struct record_object *object = lua_touserdata(L, index);
    size_t size = 0;
    for (int which = 0; which < IMAGES; which++)
        if (object->images[which].table && !object->images[which].over)
            size += object->images[which].size;
    if (!size)
        return;
    index = lua_absindex(L, index);
    char *text = lua_newuserdatauv(L, size, 0);
    for (int which = 0; which < IMAGES; which++) {
        struct lazy_image *image = &object->images[which];
        if (!image->table || image->over)
            continue;
        memcpy(text, image->text, image->size);
        image->text = text;
        text += image->size;
    }
    lua_setiuservalue(L, index, SLOT_TEXTS);
}

/* Upvalues of record_index: what lazy_open pushed, behind the fields. */
#define META_OF(which) lua_upvalueindex(2 + (which))

static void push_image(lua_State *L, struct record_object *object, const struct record *record, int which)
{
    struct lazy_image *image = &object->images[which];
    const struct json *item = image_of(record, which);
    struct script *script = script_of(L);
    struct lazy_view view;
    if (!item || item->type != JSON_OBJECT || item->count < LAZY_ATTRIBUTES_MIN) {
        push_item(L, item);
        return;
    }
    if (!object->kept)
        keep_until(L, 1, record->page, keep_texts);
    object->kept = true;
    lazy_push(L, 1, META_OF(which), script->touched);
    image->text = item->text;
    image->size = item->size;
    /* One before it may have failed half-way. */
    memset(image->taken, 0, LAZY_WORDS(item->count) * sizeof *image->taken);
    write_view(&view, image, item, script, which, false);
    lazy_fill(L, META_OF(which), &image_kinds[which], &view);
    image->table = lua_topointer(L, -1); /* now that nothing raises: another may stand there else */
}

/* An image's table has room for what this script touches: that is 3, or 7. */
#define TOUCHED_FEW 3
#define TOUCHED_MANY 7

void record_end(struct invocation *invocation)
{
    const struct record_object *object = invocation->record;
    invocation->record = NULL;
    if (object &&
        (object->images[NEW_IMAGE].touches > TOUCHED_FEW || object->images[OLD_IMAGE].touches > TOUCHED_FEW))
        invocation->script->touched = TOUCHED_MANY;
}

static void push_raw(lua_State *L, const struct record *record, const struct handler_source *source)
{
    struct buf *text = script_buf(L);
    struct arena *arena = script_arena(L);
    struct err err;
    record_write_json(text, record, source->stream_arn);
    const struct json *json = json_parse(arena, text->data, text->size, &err);
    if (!json)
        luaL_error(L, "the record cannot be decoded: %s", err.text);
    value_push_json(L, json);
}

/* What was decoded is kept in a user value, so that both mentions of record.new are the same table. */
static int push_decoded(lua_State *L, struct record_object *object, const struct record *record,
                        const struct handler_source *source, enum field field)
{
    if (object->decoded & 1u << field) {
        lua_getiuservalue(L, 1, field);
        return 1;
    }
    if (field == FIELD_NEW)
        push_image(L, object, record, NEW_IMAGE);
    else if (field == FIELD_OLD)
        push_image(L, object, record, OLD_IMAGE);
    else if (field == FIELD_KEYS)
        push_item(L, record->keys);
    else
        push_raw(L, record, source);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, field);
    object->decoded |= 1u << field;
    return 1;
}

static void push_text(lua_State *L, const struct json *text)
{
    if (text && text->type == JSON_STRING)
        lua_pushlstring(L, text->text, text->size);
    else
        lua_pushnil(L);
}

static void push_id(lua_State *L, const struct record *record)
{
    if (!record->part) {
        struct json storage;
        push_text(L, record_event_id(record, clear_scratch(L), &storage));
        return;
    }
    struct buf *text = script_buf(L);
    record_write_id(text, record);
    lua_pushlstring(L, text->data, text->size);
}

/* ---- record:changed(name) ---- */

static bool same(const struct json *a, const struct json *b);

static bool same_lists(const struct json *a, const struct json *b)
{
    const struct json *other = json_children(b);
    json_each(item, a) {
        if (!same(item, other))
            return false;
        other = other->next;
    }
    return true;
}

static int compare_bytes(const char *a, size_t a_size, const char *b, size_t b_size)
{
    if (a_size != b_size)
        return a_size < b_size ? -1 : 1;
    return a_size ? memcmp(a, b, a_size) : 0;
}

static int by_text(const void *a, const void *b)
{
    const struct json *x = *(const struct json *const *)a, *y = *(const struct json *const *)b;
    return compare_bytes(x->text, x->size, y->text, y->size);
}

static int by_key(const void *a, const void *b)
{
    const struct json *x = *(const struct json *const *)a, *y = *(const struct json *const *)b;
    return compare_bytes(x->key, x->key_size, y->key, y->key_size);
}

/* To be freed. */
static const struct json **sorted(const struct json *parent, int (*order)(const void *, const void *))
{
    const struct json **all = mem_alloc((parent->count + 1) * sizeof(const struct json *));
    size_t count = 0;
    json_each(item, parent)
        all[count++] = item;
    qsort(all, count, sizeof(const struct json *), order);
    return all;
}

/* Both have as many. */
static bool same_sorted(const struct json *a, const struct json *b, int (*order)(const void *, const void *))
{
    const struct json **mine = sorted(a, order), **theirs = sorted(b, order);
    bool equal = true;
    for (uint32_t i = 0; equal && i < a->count; i++)
        equal = order(&mine[i], &theirs[i]) == 0 && same(mine[i], theirs[i]);
    free(mine);
    free(theirs);
    return equal;
}

/* Equal attribute values. Members of maps and elements of sets have no order. */
static bool same(const struct json *a, const struct json *b)
{
    if (!a || !b)
        return a == b;
    if (a->type != b->type || a->count != b->count)
        return false;
    if (a->size == b->size && memcmp(a->text, b->text, a->size) == 0)
        return true;
    if (a->type == JSON_STRING || a->type == JSON_NUMBER)
        return false;
    if (a->type == JSON_OBJECT)
        return same_sorted(a, b, by_key);
    if (a->type == JSON_ARRAY)
        return a->key && a->key_size == 2 ? same_sorted(a, b, by_text) : same_lists(a, b);
    return true;
}

static int record_changed(lua_State *L)
{
    const struct record *record = check(L, 1, NULL)->record;
    const char *name = script_check_text(L, 2); /* no attribute that we could look up has a zero byte */
    struct arena *scratch = clear_scratch(L);
    const struct json *images[] = {record->old_image, record->new_image}, *values[2];
    size_t at;
    for (int i = 0; i < 2; i++)
        values[i] = images[i] ? json_pick(images[i], name, strlen(name), scratch, &at) : NULL;
    lua_pushboolean(L, !same(values[0], values[1]));
    return 1;
}

/* ---- metamethods ---- */

/* What the key at 2 names; upvalue 1: a table of all fields. */
static enum field field_of(lua_State *L)
{
    size_t size = 0;
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &size) : NULL;
    if (size == 3 && memcmp(name, "new", 3) == 0)
        return FIELD_NEW;
    if (size == 3 && memcmp(name, "old", 3) == 0)
        return FIELD_OLD;
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    enum field field = (enum field)lua_tointeger(L, -1);
    lua_settop(L, 2);
    return field;
}

/* Lua calls it, with a record; no script gets hold of it (__metatable). */
static int record_index(lua_State *L)
{
    const struct handler_source *source;
    struct record_object *object = lua_touserdata(L, 1);
    const struct handler_input *input = input_of(L, object, &source);
    const struct record *record = input->record;
    enum field field = field_of(L);
    switch (field) {
    case FIELD_NEW:
    case FIELD_OLD:
    case FIELD_KEYS:
    case FIELD_RAW:
        return push_decoded(L, object, record, source, field);
    case FIELD_ID:
        push_id(L, record);
        return 1;
    case FIELD_EVENT:
        lua_pushstring(L, record_event_name(record->event));
        return 1;
    case FIELD_SEQUENCE:
        lua_pushstring(L, record->sequence);
        return 1;
    case FIELD_TIME:
        lua_pushinteger(L, record->time_ms / 1000);
        return 1;
    case FIELD_TABLE:
        lua_pushstring(L, record->table ? record->table : source->table);
        return 1;
    case FIELD_STREAM:
        lua_pushstring(L, source->stream);
        return 1;
    case FIELD_SHARD:
        lua_pushstring(L, source->shard);
        return 1;
    case FIELD_SIZE:
        lua_pushinteger(L, record->size_bytes);
        return 1;
    case FIELD_VIEW:
        push_text(L, record_view(record));
        return 1;
    case FIELD_EXPIRED:
        lua_pushboolean(L, record_expired(record));
        return 1;
    case FIELD_ATTEMPT:
        lua_pushinteger(L, input->attempt);
        return 1;
    case FIELD_REDRIVEN:
        lua_pushboolean(L, input->redriven);
        return 1;
    case FIELD_REPLAYED:
        lua_pushboolean(L, input->replayed);
        return 1;
    case FIELD_AGE:
        lua_pushinteger(L, (clock_wall_ms(reactor_clock(script_of(L)->options.reactor)) - record->time_ms) /
                               1000);
        return 1;
    case FIELD_EPOCH:
        lua_pushinteger(L, source->epoch);
        return 1;
    case FIELD_SNAPSHOT:
        lua_pushboolean(L, record->snapshot);
        return 1;
    case FIELD_LATE:
        lua_pushboolean(L, record->late);
        return 1;
    case FIELD_CHANGED:
        lua_pushcfunction(L, record_changed);
        return 1;
    case FIELD_NONE:
        break;
    }
    return luaL_error(L, "a record has no '%s'", luaL_tolstring(L, 2, NULL));
}

static int record_newindex(lua_State *L)
{
    return luaL_error(L, "a record cannot be changed; copy what you need");
}

static int record_tostring(lua_State *L)
{
    const struct handler_source *source;
    const struct record *record = check(L, 1, &source)->record;
    lua_pushfstring(L, "record %s %s of %s", record_event_name(record->event), record->sequence,
                    source->shard);
    return 1;
}

void record_open(lua_State *L)
{
    script_of(L)->touched = TOUCHED_FEW;
    lua_newtable(L);
    lua_createtable(L, 0, FIELD_COUNT);
    for (size_t i = 1; i < FIELD_COUNT; i++) {
        lua_pushinteger(L, (lua_Integer)i);
        lua_setfield(L, -2, field_names[i]);
    }
    for (int which = 0; which < IMAGES; which++)
        lazy_open(L, &image_kinds[which]);
    lua_pushcclosure(L, record_index, 1 + IMAGES);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, record_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, record_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "record");
    lua_setfield(L, -2, "__name");
    lua_pushliteral(L, "record");
    lua_setfield(L, -2, "__metatable");
    script_of(L)->record_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}

struct record_object *record_push(lua_State *L, struct invocation *invocation, size_t index)
{
    const struct record *record = invocation->call->inputs[index].record;
    size_t words[IMAGES], all = 0;
    for (int which = 0; which < IMAGES; which++)
        all += words[which] = image_of(record, which) ? LAZY_WORDS(image_of(record, which)->count) : 0;
    struct record_object *object =
        lua_newuserdatauv(L, sizeof *object + all * sizeof *object->taken, SLOT_TEXTS);
    *object = (struct record_object){.invocation = invocation, .serial = invocation->serial, .index = index};
    memset(object->taken, 0, all * sizeof *object->taken);
    object->images[NEW_IMAGE].taken = object->taken;
    object->images[OLD_IMAGE].taken = object->taken + words[NEW_IMAGE];
    lua_rawgeti(L, LUA_REGISTRYINDEX, invocation->script->record_meta);
    lua_setmetatable(L, -2);
    return object;
}
