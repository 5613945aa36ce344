/* test_json.c: what the fuzzer of JSON asks, of texts that are made to be right or nearly so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../fuzz/fuzz_json.c"
#include "base/check.h"
#include "base/hash.h"
#include "base/json_shape.h"
#include "base/mem.h"

#define TEXTS 60000
#define LISTS 6000

static uint64_t seed;
static bool tight; /* no white space */

static uint32_t below(uint32_t bound)
{
    seed = hash_mix(seed + 0x9e3779b97f4a7c15ull);
    return (uint32_t)(seed >> 33) % bound;
}

static void add_one_of(struct buf *out, const char *const *texts, uint32_t count)
{
    buf_add_text(out, texts[below(count)]);
}

static void add_space(struct buf *out)
{
    static const char *const spaces[] = {" ", "\n", "\t", "\r", "  \n\t"};
    if (!tight && below(40) == 0)
        add_one_of(out, spaces, COUNT_OF(spaces));
}

static void add_string(struct buf *out)
{
    static const char *const parts[] = {
        "a",
        "S",
        "N",
        "stock",
        "\\\"",
        "\\\\",
        "\\u00e9",
        "é",
        "\\ud83c",
        "[{",
        "}],:",
        "\\/",
        " ",
        "\\n",
        "🌊",
        "\":",
        "\\\\\\",
        "\\u12",
        "\x01",
        "{\"S\"",
        "true",
        "-1.5",
        "",
        "0",
        "another name that is rather long, so that it crosses from a block to the next one"};
    buf_add_char(out, '"');
    for (uint32_t left = below(4); left; left--) /* most of them right, and seldom one that is not */
        add_one_of(out, parts, below(400) ? 11 : COUNT_OF(parts));
    if (below(20) == 0)
        buf_add_text(out, parts[COUNT_OF(parts) - 1]);
    buf_add_char(out, '"');
}

static void add_scalar(struct buf *out)
{
    static const char *const right[] = {"0",     "-1",   "12.50", "1e5",    "3E-7", "true",
                                        "false", "null", "-0",    "123456", "1.0"};
    static const char *const wrong[] = {"01", "-",         "1.",  "1e", "tru", "nulll",
                                        "+1", "truefalse", "0x1", "\\", "é"};
    if (below(300))
        add_one_of(out, right, COUNT_OF(right));
    else
        add_one_of(out, wrong, COUNT_OF(wrong));
}

static void add_any(struct buf *out, int depth);

/* As DynamoDB writes it, mostly. */
static void add_attribute(struct buf *out)
{
    static const char *const types[] = {"\"S\"", "\"N\"", "\"B\"", "\"S\" ", "\"SS\"", "\"\""};
    buf_add_char(out, '{');
    add_one_of(out, types, below(10) ? 3 : COUNT_OF(types));
    buf_add_char(out, ':');
    add_string(out);
    buf_add_char(out, '}');
}

static void add_children(struct buf *out, bool object, int depth)
{
    uint32_t count = below(8);
    buf_add_char(out, object ? '{' : '[');
    add_space(out);
    for (uint32_t i = 0; i < count; i++) {
        if (i || below(600) == 0)
            buf_add_char(out, ',');
        add_space(out);
        if (object && below(600)) {
            add_string(out);
            add_space(out);
            buf_add_char(out, ':');
        }
        add_space(out);
        if (below(3))
            add_attribute(out);
        else
            add_any(out, depth - 1);
        add_space(out);
    }
    buf_add_char(out, below(600) ? (object ? '}' : ']') : (object ? ']' : '}'));
}

static void add_any(struct buf *out, int depth)
{
    uint32_t kind = below(depth > 0 ? 8 : 3);
    if (kind < 2)
        add_string(out);
    else if (kind == 2)
        add_scalar(out);
    else
        add_children(out, kind < 7, depth);
}

static void ask_exactly(const struct buf *text)
{
    uint8_t *exact =
        mem_alloc(text->size ? text->size : 1); /* nothing behind it that a careless look would find */
    memcpy(exact, text->data, text->size);
    LLVMFuzzerTestOneInput(exact, text->size);
    free(exact);
}

static void texts_made_at_random(void **state)
{
    size_t right = 0;
    (void)state;
    for (uint32_t i = 0; i < TEXTS; i++) {
        struct buf text = BUF_INIT;
        struct arena arena = ARENA_INIT;
        struct err err;
        seed = i;
        tight = i % 4 == 0;
        add_space(&text);
        add_any(&text, 5);
        add_space(&text);
        if (below(10) == 0 && text.size)
            text.data[below((uint32_t)text.size)] = "\"\\{}[]:, 0ax\x1f"[below(14)];
        else if (below(10) == 0 && text.size)
            text.size = below((uint32_t)text.size);
        right += json_parse(&arena, text.data ? text.data : "", text.size, &err) != NULL;
        ask_exactly(&text);
        arena_fini(&arena);
        buf_fini(&text);
    }
    assert_in_range(right, TEXTS / 2, TEXTS - TEXTS / 20); /* both kinds are asked */
}

/* Each byte of a record in the place where 64 bytes end. */
static void blocks_end_anywhere(void **state)
{
    static const char record[] =
        " {\"Records\":[{\"a\":{\"S\":\"x\\\\\\\"y\"},\"b\\u0041\":[true,-12.5e3 , null],\"c\":{}}] , "
        "\"d\" : {\"L\":[{\"N\":\"1\"},{\"S\":\"\\\\\"}]}}\n";
    (void)state;
    for (size_t before = 0; before < 130; before++) {
        struct buf text = BUF_INIT;
        for (size_t i = 0; i < before; i++)
            buf_add_char(&text, ' ');
        buf_add_text(&text, record);
        ask_exactly(&text);
        buf_fini(&text);
    }
}

static const char bytes[] = "\"\\{}[]:, 0-1.eatnx\x1f";
#define BYTES (sizeof bytes - 1)

enum change { SET, INSERT, REMOVE, CHANGES };

static void add_changed(struct buf *out, const char *text, size_t size, size_t at, enum change change,
                        char byte)
{
    buf_add(out, text, at);
    if (change != REMOVE)
        buf_add_char(out, byte);
    at += change != INSERT;
    buf_add(out, text + at, size - at);
}

/* A list of what was found right before, and what differs from that in a byte, any of them in any way. */
static void nearly_the_same(void **state)
{
    static const char record[] = "{\"a\":{\"S\":\"x\"},\"\":{\"N\":\"\"},\"n\":-1.5e3,\"t\":[true,null,{}],"
                                 "\"d\":{\"M\":{\"e\":{\"L\":[]},"
                                 "\"k\":{\"BOOL\":false}}},\"\\u0041\":[[10]],\"z\":10}";
    size_t size = strlen(record);
    (void)state;
    for (size_t at = 0; at < size; at++) {
        for (size_t i = 0; i < BYTES; i++) {
            for (int change = SET; change < (i ? REMOVE : CHANGES); change++) {
                struct buf text = BUF_INIT;
                buf_add_text(&text, "{\"R\":[");
                for (int before = 0; before < 3; before++) {
                    buf_add_text(&text, record);
                    buf_add_char(&text, ',');
                }
                add_changed(&text, record, size, at, (enum change)change, bytes[i]);
                buf_add_char(&text, ',');
                buf_add_text(&text, record);
                buf_add_text(&text, "]}");
                ask_exactly(&text);
                buf_fini(&text);
            }
        }
    }
}

static uint32_t alike_in(const struct buf *text)
{
    struct arena arena = ARENA_INIT;
    struct json_index index;
    ask_exactly(text);
    assert_true(json_index_make(&index, &arena, text->data, text->size));
    arena_fini(&arena);
    return index.alike;
}

static void add_wide(struct buf *out, size_t members, const char *last)
{
    buf_add_char(out, '{');
    for (size_t i = 0; i < members; i++)
        buf_printf(out, "\"a%zu\":{\"S\":\"%zu\"},\"b%zu\":%zu,\"c%zu\":[%zu],\"d%zu\":{\"L\":[]},", i, i * i,
                   i, i + strlen(last), i, i / 3, i);
    buf_printf(out, "\"last\":%s}", last);
}

/* The first two are looked at entry by entry, the second one's shape is learnt. */
static void what_looks_alike_is_taken_so(void **state)
{
    static const struct {
        size_t members;
        uint32_t alike;
    } cases[] = {
        {0, 0},                            /* small ones are not worth it */
        {1, 8}, {10, 8}, {59, 8}, {61, 0}, /* more entries than are kept */
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t spaces = 0; spaces < 2; spaces++) {
            struct buf text = BUF_INIT;
            buf_printf(&text, "{\"L\":[%s", spaces ? " " : "");
            for (int objects = 0; objects < 10; objects++) {
                if (objects)
                    buf_add_char(&text, ',');
                add_wide(&text, cases[i].members, objects % 2 ? "1" : "-23.5e2");
            }
            buf_add_text(&text, "]}");
            assert_int_equal(alike_in(&text), spaces ? 0 : cases[i].alike);
            for (int cut = 0; cut < 200 && text.size > 1; cut++) {
                text.size--;
                ask_exactly(&text);
            }
            buf_fini(&text);
        }
    }
}

/* In turn, as many kinds as are kept, and one more of which there is only one. */
static void kinds_in_turn_are_all_known(void **state)
{
    struct buf text = BUF_INIT;
    (void)state;
    buf_add_char(&text, '[');
    add_wide(&text, 3, "[[[]]]");
    for (int objects = 0; objects < 3 * JSON_SHAPES_MAX; objects++) {
        buf_add_char(&text, ',');
        add_wide(&text, 3 + (size_t)objects % JSON_SHAPES_MAX, objects % 2 ? "true" : "false");
    }
    buf_add_text(&text, "]");
    assert_int_equal(alike_in(&text), 2 * JSON_SHAPES_MAX);
    buf_fini(&text);
}

/* Another list of the text begins anew, however deep it is. */
static void each_list_has_its_own(void **state)
{
    struct buf text = BUF_INIT;
    (void)state;
    buf_add_char(&text, '{');
    for (int list = 0; list < 3; list++) {
        buf_printf(&text, "\"%d\":%s[", list, list == 1 ? "{\"in\":" : "");
        for (int objects = 0; objects < 5; objects++) {
            add_wide(&text, 5, "\"\"");
            buf_add_char(&text, ',');
        }
        buf_printf(&text, "1]%s,", list == 1 ? "}" : "");
    }
    buf_add_text(&text, "\"z\":[]}");
    assert_int_equal(alike_in(&text), 3 * 3);
    buf_fini(&text);
}

/* Where nothing is like another it is given up, and what comes then is right as well. */
static void what_is_never_alike_is_given_up(void **state)
{
    struct buf text = BUF_INIT;
    (void)state;
    buf_add_char(&text, '[');
    for (size_t objects = 0; objects < 200; objects++) {
        if (objects)
            buf_add_char(&text, ',');
        add_wide(&text, objects < 100 ? 2 + objects : 2, "0");
    }
    buf_add_text(&text, "]");
    assert_int_equal(alike_in(&text), 0);
    buf_fini(&text);
}

#define KINDS_MAX 12 /* more than are kept */

static void add_list(struct buf *out)
{
    struct buf kinds[KINDS_MAX];
    uint32_t count = 1 + below(KINDS_MAX), objects = 2 + below(30);
    for (uint32_t i = 0; i < count; i++) {
        kinds[i] = BUF_INIT;
        do {
            kinds[i].size = 0;
            add_children(&kinds[i], true, 3);
        } while (kinds[i].size < 60); /* smaller ones are not remembered */
    }
    buf_add_char(out, '[');
    for (uint32_t i = 0; i < objects; i++) {
        const struct buf *kind = &kinds[below(2) ? 0 : below(count)];
        if (i)
            buf_add_char(out, ',');
        const char *letter = memchr(kind->data, 'a', kind->size);
        size_t any = below((uint32_t)kind->size);
        if (below(60) == 0)
            add_changed(out, kind->data, kind->size, any, (enum change)below(CHANGES), bytes[below(BYTES)]);
        else if (letter && below(2)) /* of a text, or of a word, which it spoils */
            add_changed(out, kind->data, kind->size, (size_t)(letter - kind->data), SET, 'e');
        else
            buf_add(out, kind->data, kind->size);
    }
    buf_add_char(out, ']');
    for (uint32_t i = 0; i < count; i++)
        buf_fini(&kinds[i]);
}

static void lists_made_at_random(void **state)
{
    size_t right = 0;
    (void)state;
    tight = true;
    for (uint32_t i = 0; i < LISTS; i++) {
        struct buf text = BUF_INIT;
        struct arena arena = ARENA_INIT;
        struct err err;
        seed = i;
        buf_add_text(&text, below(2) ? "{\"Items\":" : "{\"Keys\":[[]],\"L\":{\"Items\":");
        bool deeper = text.size > 10;
        add_list(&text);
        if (below(4) == 0) { /* and another list, of which nothing is known */
            buf_add_text(&text, ",\"Others\":");
            add_list(&text);
        }
        buf_add_text(&text, deeper ? "}}" : "}");
        right += json_parse(&arena, text.data, text.size, &err) != NULL;
        ask_exactly(&text);
        arena_fini(&arena);
        buf_fini(&text);
    }
    assert_in_range(right, LISTS / 4, LISTS - LISTS / 20);
}

static void as_deep_as_it_may_be(void **state)
{
    (void)state;
    for (int depth = JSON_DEPTH_MAX - 2; depth <= JSON_DEPTH_MAX + 2; depth++)
        for (int kind = 0; kind < 3; kind++) {
            static const char *const opening[] = {"[", "{\"a\":", "{\"a\":"}, *const inner[] = {
                                                                                  "", "1", "{\"S\":\"x\"}"};
            struct buf text = BUF_INIT;
            for (int i = 0; i < depth; i++)
                buf_add_text(&text, opening[kind]);
            buf_add_text(&text, inner[kind]);
            for (int i = 0; i < depth; i++)
                buf_add_char(&text, kind ? '}' : ']');
            ask_exactly(&text);
            buf_fini(&text);
        }
}

static void memory_has_an_end(void **state)
{
    struct buf text = BUF_INIT;
    struct err err;
    int refused = 0;
    (void)state;
    buf_add_char(&text, '[');
    for (int i = 0; i < 20000; i++)
        buf_add_text(&text, "[],");
    buf_add_text(&text, "1]");
    for (size_t max = 1000; max < 4000000; max = max * 3 / 2) {
        struct arena arena = {.max = max};
        if (!json_parse_deferring(&arena, text.data, text.size, 1, &err)) {
            assert_non_null(strstr(err.text, "more memory than there is for it"));
            refused++;
        }
        assert_in_range(arena.bytes, 0, 3 * max + 70000); /* a chunk is begun while there is room */
        arena_fini(&arena);
    }
    assert_in_range(refused, 5, 18);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_made_at_random),
        cmocka_unit_test(blocks_end_anywhere),
        cmocka_unit_test(nearly_the_same),
        cmocka_unit_test(what_looks_alike_is_taken_so),
        cmocka_unit_test(kinds_in_turn_are_all_known),
        cmocka_unit_test(each_list_has_its_own),
        cmocka_unit_test(what_is_never_alike_is_given_up),
        cmocka_unit_test(lists_made_at_random),
        cmocka_unit_test(as_deep_as_it_may_be),
        cmocka_unit_test(memory_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
