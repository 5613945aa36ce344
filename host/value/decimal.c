/* decimal.c: see decimal.h. */
#include "value/decimal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "e-12" at `at`; true when the rest is an exponent or nothing. */
static bool read_exponent(const char *at, const char *end, long *exponent)
{
    bool negative = false;
    long value = 0;
    if (at == end)
        return true;
    if (*at != 'e' && *at != 'E')
        return false;
    at++;
    if (at < end && (*at == '+' || *at == '-'))
        negative = *at++ == '-';
    if (at == end)
        return false;
    for (; at < end; at++) {
        if (!is_digit(*at) || value > 100000)
            return false;
        value = value * 10 + (*at - '0');
    }
    *exponent += negative ? -value : value;
    return true;
}

bool decimal_read(const char *text, size_t size, struct decimal *decimal)
{
    const char *at = text, *end = text + size;
    bool point = false, some = false;
    decimal->digit_count = 0;
    decimal->exponent = 0;
    decimal->negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    long pending = 0; /* zeros that count only when another digit follows */
    for (; at < end && (is_digit(*at) || (*at == '.' && !point)); at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        some = true;
        decimal->exponent -= point;
        if (*at == '0') {
            pending += decimal->digit_count > 0;
            continue;
        }
        if (decimal->digit_count + pending + 1 > DECIMAL_DIGITS_MAX)
            return false;
        for (; pending; pending--)
            decimal->digits[decimal->digit_count++] = '0';
        decimal->digits[decimal->digit_count++] = *at;
    }
    decimal->exponent += pending;
    if (!some || !read_exponent(at, end, &decimal->exponent))
        return false;
    if (decimal->digit_count == 0) {
        decimal->exponent = 0;
        decimal->negative = false;
    }
    return true;
}

int decimal_compare(const struct decimal *a, const struct decimal *b)
{
    if (!a->digit_count || !b->digit_count || a->negative != b->negative) {
        int sign_a = !a->digit_count ? 0 : a->negative ? -1 : 1;
        int sign_b = !b->digit_count ? 0 : b->negative ? -1 : 1;
        return (sign_a > sign_b) - (sign_a < sign_b);
    }
    int sign = a->negative ? -1 : 1;
    long top_a = a->digit_count + a->exponent, top_b = b->digit_count + b->exponent;
    if (top_a != top_b)
        return top_a > top_b ? sign : -sign;
    int common = a->digit_count < b->digit_count ? a->digit_count : b->digit_count;
    int order = memcmp(a->digits, b->digits, (size_t)common);
    if (order == 0)
        order = a->digit_count - b->digit_count;
    return order == 0 ? 0 : order > 0 ? sign : -sign;
}

void double_shortest(double value, char *text)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}
