/* test_value.c: numbers that must not change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "value/decimal.h"
#include "value/lua_value.h"

static int compare(const char *a, const char *b)
{
    struct decimal x, y;
    assert_true(decimal_read(a, strlen(a), &x));
    assert_true(decimal_read(b, strlen(b), &y));
    int order = decimal_compare(&x, &y);
    assert_int_equal(decimal_compare(&y, &x), -order);
    return order;
}

static void decimals_compare_exactly(void **state)
{
    (void)state;
    assert_int_equal(compare("1", "1.000"), 0);
    assert_int_equal(compare("100", "1e2"), 0);
    assert_int_equal(compare("-0", "0"), 0);
    assert_int_equal(compare("0.00", "0e9"), 0);
    assert_int_equal(compare("-1", "1"), -1);
    assert_int_equal(compare("-2", "-10"), 1);
    assert_int_equal(compare("0.1", "0.09999999999999999999999999999999999999"), 1);
    assert_int_equal(
        compare("12345678901234567890123456789012345678", "12345678901234567890123456789012345679"), -1);
    assert_int_equal(compare("9.9999999999999999999999999999999999999E+125", "1E+126"), -1);
    assert_int_equal(compare("1E-130", "0"), 1);
    assert_int_equal(compare("1050", "105"), 1);
}

static void what_is_no_number_is_refused(void **state)
{
    static const char *const wrong[] = {"",     "-",  ".",  "1.2.3", "1e",  "e5",
                                        "0x10", " 1", "1 ", "nan",   "1e+", "--1"};
    struct decimal decimal;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (decimal_read(wrong[i], strlen(wrong[i]), &decimal))
            fail_msg("\"%s\" was read as a number", wrong[i]);
}

static struct decimal decimal_of(const char *text)
{
    struct decimal decimal;
    if (!decimal_read(text, strlen(text), &decimal))
        fail_msg("%s is no number", text);
    return decimal;
}

static const char *text_of(__int128 number, char *end)
{
    bool negative = number < 0;
    *--end = '\0';
    do
        *--end = (char)('0' + (int)(negative ? -(number % 10) : number % 10));
    while (number /= 10);
    if (negative)
        *--end = '-';
    return end;
}

/* Against the processor's own integers, with points at random places. */
static void products_and_sums_are_exact(void **state)
{
    unsigned seed = 7;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        long long x = (long long)rand_r(&seed) * rand_r(&seed) % 1000000000000000000 >> rand_r(&seed) % 60,
                  y = (long long)rand_r(&seed) * rand_r(&seed) % 1000000000000000000 >> rand_r(&seed) % 60;
        long a_exponent = rand_r(&seed) % 30 - 15, b_exponent = rand_r(&seed) % 30 - 15;
        char text[64], wanted[128], buffer[64];
        struct decimal a, b, result, expected;
        x = i & 1 ? -x : x;
        y = i & 2 ? -y : y;
        snprintf(text, sizeof text, "%llde%ld", x, a_exponent);
        a = decimal_of(text);
        snprintf(text, sizeof text, "%llde%ld", y, b_exponent);
        b = decimal_of(text);
        snprintf(wanted, sizeof wanted, "%se%ld", text_of((__int128)x * y, buffer + sizeof buffer),
                 a_exponent + b_exponent);
        expected = decimal_of(wanted);
        assert_int_equal(decimal_multiply(&a, &b, &result), DECIMAL_OK);
        assert_int_equal(decimal_compare(&result, &expected), 0);
        b = decimal_of("0");
        assert_int_equal(decimal_multiply(&a, &b, &result), DECIMAL_OK);
        assert_int_equal(result.digit_count, 0);
        snprintf(text, sizeof text, "%llde%ld", y, a_exponent);
        b = decimal_of(text);
        snprintf(wanted, sizeof wanted, "%se%ld", text_of((__int128)x + y, buffer + sizeof buffer),
                 a_exponent);
        expected = decimal_of(wanted);
        assert_int_equal(decimal_add(&a, &b, &result), DECIMAL_OK);
        assert_int_equal(decimal_compare(&result, &expected), 0);
    }
    struct decimal nines = decimal_of("99999999999999999999999999999999999999"), two = decimal_of("2"),
                   large = decimal_of("9e125"), small = decimal_of("1e-130"), result;
    assert_int_equal(decimal_multiply(&nines, &nines, &result), DECIMAL_TOO_PRECISE);
    assert_int_equal(decimal_multiply(&nines, &two, &result), DECIMAL_TOO_PRECISE);
    assert_int_equal(decimal_multiply(&large, &two, &result), DECIMAL_OVERFLOW);
    assert_int_equal(decimal_multiply(&small, &small, &result), DECIMAL_UNDERFLOW);
    assert_int_equal(decimal_multiply(&large, &small, &result), DECIMAL_OK);
}

/* N through Lua and back. */
static void check_number(lua_State *L, const char *text)
{
    struct buf out = BUF_INIT;
    struct err err;
    struct decimal before, after;
    value_push_number(L, text, strlen(text));
    assert_true(value_write(L, -1, &out, &err));
    lua_pop(L, 1);
    out.data[out.size - 2] = '\0'; /* {"N":"..."} */
    const char *written = out.data + 6;
    assert_true(decimal_read(text, strlen(text), &before) && decimal_read(written, strlen(written), &after));
    if (decimal_compare(&before, &after) != 0)
        fail_msg("%s became %s", text, written);
    buf_fini(&out);
}

static void generated_numbers_come_back_equal(void **state)
{
    lua_State *L = luaL_newstate();
    char text[80];
    (void)state;
    value_open(L, NULL);
    srand(11);
    for (int i = 0; i < 50000; i++) {
        int digits = 1 + rand() % 38, at = 0, point = rand() % (digits + 1);
        if (rand() % 2)
            text[at++] = '-';
        text[at++] = (char)('1' + rand() % 9);
        for (int d = 1; d < digits; d++) {
            if (d == point)
                text[at++] = '.';
            text[at++] = (char)('0' + rand() % 10);
        }
        if (rand() % 3 == 0)
            at += snprintf(text + at, sizeof text - (size_t)at, "E%+d", rand() % 160 - 90);
        text[at] = '\0';
        check_number(L, text);
    }
    check_number(L, "9223372036854775807");
    check_number(L, "-9223372036854775808");
    check_number(L, "9223372036854775808");
    check_number(L, "0.1");
    check_number(L, "1E-130");
    lua_close(L);
}

static int no_function(lua_State *L)
{
    (void)L;
    return 0;
}

static void what_cannot_be_written_is_named_by_its_path(void **state)
{
    static const struct {
        const char *code, *wanted;
    } cases[] = {
        {"return {a = {b = {1, print}}}", "a.b[2]: a value of this kind cannot be written"},
        {"return {a = 0/0}", "a: not a finite number"},
        {"return {a = {[1] = 1, x = 2}}",
         "a: a table is either a list (1, 2, 3 ...) or a map with string keys"},
        {"local t = {} t.t = t return t", "nested too deeply (or a table that holds itself)"},
    };
    lua_State *L = luaL_newstate();
    (void)state;
    value_open(L, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = BUF_INIT;
        struct err err;
        lua_pushcfunction(L, no_function);
        lua_setglobal(L, "print");
        assert_int_equal(luaL_dostring(L, cases[i].code), LUA_OK);
        assert_false(value_write(L, -1, &out, &err));
        if (!strstr(err.text, cases[i].wanted))
            fail_msg("%s: %s", cases[i].code, err.text);
        lua_settop(L, 0);
        buf_fini(&out);
    }
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decimals_compare_exactly),
        cmocka_unit_test(products_and_sums_are_exact),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(generated_numbers_come_back_equal),
        cmocka_unit_test(what_cannot_be_written_is_named_by_its_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
