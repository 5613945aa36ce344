/* json.c: a recursive descent over the text, one node a value.
 *
 * Grammar: RFC 8259. A lone surrogate escape becomes U+FFFD, as most parsers do; bytes above 0x7f are
 * passed on as they are. */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/check.h"
#include "base/mem.h"
#include "base/utf8.h"

struct parser {
    struct arena *arena;
    const char *start, *at, *end;
    const char *problem; /* what was wrong at `at` */
    const struct json_deferring *deferring;
};

static bool fail(struct parser *p, const char *problem)
{
    if (!p->problem)
        p->problem = problem;
    return false;
}

static void skip_space(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

static bool is_plain(char c)
{
    return c != '"' && c != '\\' && (unsigned char)c >= 0x20;
}

/* Past what is neither a quote nor a backslash nor a control byte. */
static const char *skip_plain(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, slash)),
                                   _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
        int mask = _mm_movemask_epi8(hit);
        if (mask)
            return at + __builtin_ctz((unsigned)mask);
    }
#else
    const uint64_t ones = 0x0101010101010101ull, tops = 0x8080808080808080ull;
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
        uint64_t hit = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word);
        if (hit & tops)
            break;
    }
#endif
    while (at < end && is_plain(*at))
        at++;
    return at;
}

static int hex4(const char *at)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int c = at[i] | 0x20;
        int digit = at[i] >= '0' && at[i] <= '9' ? at[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static char *put_utf8(char *out, uint32_t point)
{
    if (point < 0x80) {
        *out++ = (char)point;
    } else if (point < 0x800) {
        *out++ = (char)(0xc0 | point >> 6);
        *out++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *out++ = (char)(0xe0 | point >> 12);
        *out++ = (char)(0x80 | (point >> 6 & 0x3f));
        *out++ = (char)(0x80 | (point & 0x3f));
    } else {
        *out++ = (char)(0xf0 | point >> 18);
        *out++ = (char)(0x80 | (point >> 12 & 0x3f));
        *out++ = (char)(0x80 | (point >> 6 & 0x3f));
        *out++ = (char)(0x80 | (point & 0x3f));
    }
    return out;
}

/* `*at` stands behind "\u". */
static bool read_unicode(const char **at, const char *end, uint32_t *point)
{
    int high = end - *at >= 4 ? hex4(*at) : -1;
    if (high < 0)
        return false;
    *at += 4;
    *point = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff)
        return true;
    int low = high < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' ? hex4(*at + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        *point = 0xfffd;
        return true;
    }
    *at += 6;
    *point = 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    return true;
}

static bool fits(struct parser *p, size_t more)
{
    return !p->arena->max || (p->arena->bytes <= p->arena->max && more <= p->arena->max - p->arena->bytes) ||
           fail(p, "it needs more memory than there is for it");
}

/* Between `from` and `to` stands a string with escapes: decode it into the arena. */
static bool unescape(struct parser *p, const char *from, const char *to, const char **text, uint32_t *size)
{
    if (!fits(p, (size_t)(to - from)))
        return false;
    char *start = arena_alloc(p->arena, (size_t)(to - from) + 1), *out = start;
    for (const char *at = from; at < to;) {
        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
        const char *letter = at[1] ? strchr(letters, at[1]) : NULL;
        uint32_t point;
        if (letter) {
            *out++ = bytes[letter - letters];
            at += 2;
        } else if (at[1] == 'u' && (at += 2, read_unicode(&at, to, &point))) {
            out = put_utf8(out, point);
        } else {
            p->at = at;
            return fail(p, "a wrong escape in a string");
        }
    }
    *text = start;
    *size = (uint32_t)(out - start);
    return true;
}

/* Past a string and its closing quote. Has it escapes? They are not looked at. */
static inline __attribute__((always_inline)) bool find_end(struct parser *p, bool *escaped)
{
    const char *at = p->at, *end = p->end;
    *escaped = false;
    for (;;) {
        at = skip_plain(at, end);
        if (at < end && *at == '\\' && end - at >= 2) {
            *escaped = true;
            at += 2;
            continue;
        }
        break;
    }
    p->at = at;
    if (at >= end || *at == '\\')
        return fail(p, "a string without its end");
    if (*at != '"')
        return fail(p, "a control byte in a string");
    p->at = at + 1;
    return true;
}

/* `p->at` stands behind the opening quote; after, behind the closing one. */
static bool parse_string(struct parser *p, const char **text, uint32_t *size)
{
    const char *from = p->at;
    bool escaped;
    if (!find_end(p, &escaped))
        return false;
    if (escaped)
        return unescape(p, from, p->at - 1, text, size);
    *text = from;
    *size = (uint32_t)(p->at - 1 - from);
    return true;
}

/* The same without a text. */
static bool skip_string(struct parser *p)
{
    const char *from = p->at;
    bool escaped;
    if (!find_end(p, &escaped) || !escaped)
        return !p->problem;
    for (const char *at = from, *to = p->at - 1; at < to;) {
        uint32_t point;
        if (*at++ != '\\')
            continue;
        if (*at && strchr("\"\\/bfnrt", *at)) {
            at++;
            continue;
        }
        if (*at == 'u' && (at++, read_unicode(&at, to, &point)))
            continue;
        p->at = at[-1] == 'u' ? at : at - 1; /* as unescape has it */
        return fail(p, "a wrong escape in a string");
    }
    return true;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

static bool parse_number(struct parser *p, struct json *value)
{
    const char *at = p->at, *end = p->end, *digits;
    if (*at == '-')
        at++;
    digits = at;
    at = skip_digits(at, end);
    if (at == digits || (*digits == '0' && at - digits > 1))
        return fail(p, "not a value");
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits)
            return fail(p, "a number without digits behind its point");
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        digits = at;
        at = skip_digits(at, end);
        if (at == digits)
            return fail(p, "a number without digits in its exponent");
    }
    value->type = JSON_NUMBER;
    value->size = (uint32_t)(at - p->at);
    p->at = at;
    return true;
}

static bool parse_word(struct parser *p, struct json *value, const char *word, enum json_type type)
{
    size_t size = strlen(word);
    if ((size_t)(p->end - p->at) < size || memcmp(p->at, word, size) != 0)
        return fail(p, "not a value");
    value->type = (uint8_t)type;
    value->size = (uint32_t)size;
    p->at += size;
    return true;
}

static bool skip_value(struct parser *p, int depth);

/* The opening quote of a member's key, and the colon behind it. */
static bool open_key(struct parser *p)
{
    skip_space(p);
    if (p->at >= p->end || *p->at != '"')
        return fail(p, "a member without a key in quotes");
    p->at++;
    return true;
}

static bool close_key(struct parser *p)
{
    skip_space(p);
    if (p->at >= p->end || *p->at != ':')
        return fail(p, "a key without a colon");
    p->at++;
    return true;
}

/* Up to the comma behind a child, or to the parent's last byte. */
static bool end_child(struct parser *p, char close)
{
    skip_space(p);
    if (p->at >= p->end || (*p->at != ',' && *p->at != close))
        return fail(p, close == '}' ? "an object without its end" : "an array without its end");
    return true;
}

/* As parse_children, without a tree. `count`: of its children. */
static bool skip_children(struct parser *p, char close, int depth, uint32_t *count)
{
    p->at++;
    if (depth >= JSON_DEPTH_MAX)
        return fail(p, "nested too deeply");
    skip_space(p);
    if (p->at < p->end && *p->at == close) {
        p->at++;
        return true;
    }
    for (;; p->at++) {
        if (close == '}' && !(open_key(p) && skip_string(p) && close_key(p)))
            return false;
        if (!skip_value(p, depth + 1))
            return false;
        ++*count;
        if (!end_child(p, close))
            return false;
        if (*p->at == close)
            break;
    }
    p->at++;
    return true;
}

static bool skip_value(struct parser *p, int depth)
{
    struct json value;
    uint32_t count = 0;
    skip_space(p);
    if (p->at >= p->end)
        return fail(p, "the text ends where a value should be");
    switch (*p->at) {
    case '"':
        p->at++;
        return skip_string(p);
    case '{':
        return skip_children(p, '}', depth, &count);
    case '[':
        return skip_children(p, ']', depth, &count);
    case 't':
        return parse_word(p, &value, "true", JSON_TRUE);
    case 'f':
        return parse_word(p, &value, "false", JSON_FALSE);
    case 'n':
        return parse_word(p, &value, "null", JSON_NULL);
    default:
        return parse_number(p, &value);
    }
}

static bool parse_value(struct parser *p, struct json *value, int depth);

/* Is the value behind this key to be deferred? */
static bool is_deferred(const struct parser *p, const struct json *member, int depth)
{
    return p->deferring && depth == p->deferring->depth && p->at < p->end && *p->at == '{' &&
           (json_key_is(member, p->deferring->names[0]) || json_key_is(member, p->deferring->names[1]));
}

/* Until it is opened its child stands for the arena. */
static bool defer(struct parser *p, struct json *value, int depth)
{
    const char *from = p->at;
    value->type = JSON_OBJECT;
    value->count = 0;
    value->next = NULL;
    value->text = from;
    if (!skip_children(p, '}', depth, &value->count))
        return false;
    value->size = (uint32_t)(p->at - from);
    value->deferred = value->count > 0;
    value->child = value->deferred ? (const struct json *)(const void *)p->arena : NULL;
    return true;
}

static bool parse_key(struct parser *p, struct json *member)
{
    return open_key(p) && parse_string(p, &member->key, &member->key_size) && close_key(p);
}

/* Arrays and objects differ only in their keys and their last byte. */
static bool parse_children(struct parser *p, struct json *parent, char close, int depth)
{
    const char *from = p->at++;
    const struct json **link = &parent->child;
    if (depth >= JSON_DEPTH_MAX)
        return fail(p, "nested too deeply");
    skip_space(p);
    if (p->at < p->end && *p->at == close)
        goto out;
    for (;;) {
        if (!fits(p, 0))
            return false;
        struct json *child = arena_alloc(p->arena, sizeof *child);
        child->key = NULL;
        child->key_size = 0;
        if (close == '}' && !parse_key(p, child))
            return false;
        if (close == '}' && p->deferring && is_deferred(p, child, depth + 1)) {
            if (!defer(p, child, depth + 1))
                return false;
        } else if (!parse_value(p, child, depth + 1)) {
            return false;
        }
        *link = child;
        link = &child->next;
        parent->count++;
        if (!end_child(p, close))
            return false;
        if (*p->at == close)
            break;
        p->at++;
    }
out:
    p->at++;
    parent->text = from;
    parent->size = (uint32_t)(p->at - from);
    return true;
}

static bool parse_value(struct parser *p, struct json *value, int depth)
{
    skip_space(p);
    if (p->at >= p->end)
        return fail(p, "the text ends where a value should be");
    value->deferred = false;
    value->count = 0;
    value->child = NULL;
    value->next = NULL;
    value->text = p->at;
    switch (*p->at) {
    case '"':
        value->type = JSON_STRING;
        p->at++;
        return parse_string(p, &value->text, &value->size);
    case '{':
        value->type = JSON_OBJECT;
        return parse_children(p, value, '}', depth);
    case '[':
        value->type = JSON_ARRAY;
        return parse_children(p, value, ']', depth);
    case 't':
        return parse_word(p, value, "true", JSON_TRUE);
    case 'f':
        return parse_word(p, value, "false", JSON_FALSE);
    case 'n':
        return parse_word(p, value, "null", JSON_NULL);
    default:
        return parse_number(p, value);
    }
}

const struct json *json_parse(struct arena *arena, const char *text, size_t size, struct err *err)
{
    return json_parse_deferring(arena, text, size, NULL, err);
}

const struct json *json_open(const struct json *object)
{
    struct json *opened = (struct json *)(uintptr_t)object, whole = {0};
    struct parser p = {.arena = (struct arena *)(uintptr_t)object->child,
                       .start = object->text,
                       .at = object->text,
                       .end = object->text + object->size};
    CHECK(parse_children(&p, &whole, '}', 0)); /* it was checked when it was deferred */
    opened->child = whole.child;
    opened->deferred = false;
    return opened->child;
}

/* Its text once more, up to the member. */
static const struct json *pick_of_text(const struct json *object, const char *name, size_t size,
                                       struct arena *scratch, size_t *at)
{
    struct parser p = {
        .arena = scratch, .start = object->text, .at = object->text + 1, .end = object->text + object->size};
    struct json *member = arena_alloc(scratch, sizeof *member);
    for (*at = 0; *at < object->count; ++*at, p.at++) {
        CHECK(parse_key(&p, member));
        if (member->key_size == size && memcmp(member->key, name, size) == 0) {
            CHECK(parse_value(&p, member, 1));
            return member;
        }
        CHECK(skip_value(&p, 1));
        skip_space(&p);
    }
    return NULL;
}

const struct json *json_pick(const struct json *object, const char *name, size_t size, struct arena *scratch,
                             size_t *at)
{
    if (object->deferred)
        return pick_of_text(object, name, size, scratch, at);
    *at = 0;
    json_each(member, object) {
        if (member->key_size == size && memcmp(member->key, name, size) == 0)
            return member;
        ++*at;
    }
    return NULL;
}

const struct json *json_parse_deferring(struct arena *arena, const char *text, size_t size,
                                        const struct json_deferring *deferring, struct err *err)
{
    struct parser p = {.arena = arena, .start = text, .at = text, .end = text + size, .deferring = deferring};
    struct json *root = arena_alloc(arena, sizeof *root);
    root->key = NULL;
    root->key_size = 0;
    if (size > INT32_MAX)
        fail(&p, "too large");
    else if (parse_value(&p, root, 0)) {
        skip_space(&p);
        if (p.at == p.end)
            return root;
        fail(&p, "something behind the value");
    }
    err_set(err, ERR_PARSE, "not JSON: %s, at byte %zu of %zu", p.problem, (size_t)(p.at - p.start), size);
    return NULL;
}

const struct json *json_get(const struct json *object, const char *key)
{
    if (!object || object->type != JSON_OBJECT)
        return NULL;
    json_each(member, object)
        if (json_key_is(member, key))
            return member;
    return NULL;
}

const char *json_string(struct arena *arena, const struct json *value)
{
    return value && value->type == JSON_STRING ? arena_copy(arena, value->text, value->size) : NULL;
}

char *json_string_dup(const struct json *value)
{
    return value && value->type == JSON_STRING ? mem_copy(value->text, value->size) : NULL;
}

double json_double(const struct json *value, double fallback)
{
    char text[64];
    if (!value || value->type != JSON_NUMBER || value->size >= sizeof text)
        return fallback;
    memcpy(text, value->text, value->size);
    text[value->size] = '\0';
    return strtod(text, NULL);
}

int64_t json_integer(const struct json *value, int64_t fallback)
{
    double number = json_double(value, (double)fallback);
    return number >= -9e15 && number <= 9e15 ? (int64_t)number : fallback;
}

int64_t json_int64(const struct json *value, int64_t fallback)
{
    char text[64];
    size_t digits = 0;
    if (!value || value->type != JSON_NUMBER)
        return fallback;
    while (digits < value->size && strchr("-0123456789", value->text[digits]))
        digits++;
    if (digits == value->size && value->size < sizeof text) {
        memcpy(text, value->text, value->size);
        text[value->size] = '\0';
        return strtoll(text, NULL, 10); /* which stops at the ends */
    }
    double number = json_double(value, *value->text == '-' ? -1e300 : 1e300);
    return number <= -9.2e18 ? INT64_MIN : number >= 9.2e18 ? INT64_MAX : (int64_t)number;
}

static void write_escape(struct buf *out, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    const char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    buf_add(out, escape, sizeof escape);
}

void json_write_text(struct buf *out, const char *text, size_t size)
{
    const char *end = text + size, *from = text;
    for (const char *at = text; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_add(out, from, (size_t)(at - from));
        from = at + 1;
        if (c == '"' || c == '\\') {
            buf_add_char(out, '\\');
            from = at; /* itself with what follows */
        } else if (c == '\n')
            buf_add_literal(out, "\\n");
        else
            write_escape(out, c);
    }
    buf_add(out, from, (size_t)(end - from));
}

void json_write_string(struct buf *out, const char *text, size_t size)
{
    buf_reserve(out, size + 2);
    buf_add_char(out, '"');
    json_write_text(out, text, size);
    buf_add_char(out, '"');
}

void json_write_member(struct buf *out, const char *name, const char *text, size_t size)
{
    buf_printf(out, "\"%s\":", name);
    json_write_string(out, text, size);
}

void json_write_value(struct buf *out, const struct json *value)
{
    if (value->type == JSON_STRING) {
        json_write_string(out, value->text, value->size);
        return;
    }
    if (value->type != JSON_ARRAY && value->type != JSON_OBJECT) {
        buf_add(out, value->text, value->size);
        return;
    }
    bool object = value->type == JSON_OBJECT;
    buf_add_char(out, object ? '{' : '[');
    json_each(child, value) {
        if (child != value->child)
            buf_add_char(out, ',');
        if (object) {
            json_write_string(out, child->key, child->key_size);
            buf_add_char(out, ':');
        }
        json_write_value(out, child);
    }
    buf_add_char(out, object ? '}' : ']');
}

void json_add_text(struct buf *out, const char *name, const char *text)
{
    char *valid = utf8_copy(text);
    buf_add_char(out, ',');
    json_write_member(out, name, valid, strlen(valid));
    free(valid);
}
