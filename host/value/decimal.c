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

#define STORED_DIGITS_MAX 38
#define STORED_TOP_MAX 126    /* below 1E+126 */
#define STORED_TOP_MIN (-129) /* from 1E-130 on */

enum decimal_fault decimal_check(const struct decimal *decimal)
{
    long top = decimal->digit_count + decimal->exponent;
    if (!decimal->digit_count)
        return DECIMAL_OK;
    if (top > STORED_TOP_MAX)
        return DECIMAL_OVERFLOW;
    if (top < STORED_TOP_MIN)
        return DECIMAL_UNDERFLOW;
    return decimal->digit_count > STORED_DIGITS_MAX ? DECIMAL_TOO_PRECISE : DECIMAL_OK;
}

/* One digit for each place that a stored number can have, the highest first. */
#define PLACES (STORED_TOP_MAX + 1 + 130 + STORED_DIGITS_MAX + 1)

static void spread(const struct decimal *decimal, int *places)
{
    long at = STORED_TOP_MAX + 1 - (decimal->digit_count + decimal->exponent);
    for (int i = 0; i < decimal->digit_count; i++)
        places[at + i] += (decimal->negative ? -1 : 1) * (decimal->digits[i] - '0');
}

/* Each place becomes 0..9; returns the sign that was left at the top. */
static bool carry(int *places)
{
    bool negative = false;
    for (int i = 0; i < PLACES; i++) {
        if (!places[i])
            continue;
        negative = places[i] < 0;
        break;
    }
    for (int i = PLACES - 1; i >= 0; i--) {
        places[i] = negative ? -places[i] : places[i];
    }
    for (int i = PLACES - 1; i > 0; i--) {
        int over = places[i] < 0 ? -1 : places[i] / 10;
        places[i] -= over * 10;
        places[i - 1] += over;
    }
    return negative;
}

enum decimal_fault decimal_add(const struct decimal *a, const struct decimal *b, struct decimal *sum)
{
    int places[PLACES] = {0}, first = 0, last = PLACES - 1;
    spread(a, places);
    spread(b, places);
    bool negative = carry(places);
    while (first < PLACES && !places[first])
        first++;
    while (last > first && !places[last])
        last--;
    *sum = (struct decimal){.negative = negative && first < PLACES};
    if (first == PLACES)
        return DECIMAL_OK;
    if (last - first + 1 > DECIMAL_DIGITS_MAX)
        return DECIMAL_TOO_PRECISE;
    for (int i = first; i <= last; i++)
        sum->digits[sum->digit_count++] = (char)('0' + places[i]);
    sum->exponent = STORED_TOP_MAX + 1 - first - sum->digit_count;
    return decimal_check(sum);
}

enum decimal_fault decimal_multiply(const struct decimal *a, const struct decimal *b, struct decimal *product)
{
    int places[2 * STORED_DIGITS_MAX] = {0}, count = a->digit_count + b->digit_count, first = 0,
                   last = count - 1;
    *product = (struct decimal){0};
    if (!a->digit_count || !b->digit_count)
        return DECIMAL_OK;
    for (int i = 0; i < a->digit_count; i++)
        for (int j = 0; j < b->digit_count; j++)
            places[i + j + 1] += (a->digits[i] - '0') * (b->digits[j] - '0');
    for (int i = count - 1; i > 0; i--) {
        places[i - 1] += places[i] / 10;
        places[i] %= 10;
    }
    while (!places[first]) /* of digits that are no zeros there is a product */
        first++;
    while (!places[last])
        last--;
    if (last - first + 1 > STORED_DIGITS_MAX)
        return DECIMAL_TOO_PRECISE;
    product->negative = a->negative != b->negative;
    product->exponent = a->exponent + b->exponent + (count - 1 - last);
    for (int i = first; i <= last; i++)
        product->digits[product->digit_count++] = (char)('0' + places[i]);
    return decimal_check(product);
}

size_t decimal_write(const struct decimal *decimal, char *text)
{
    long point = decimal->digit_count + decimal->exponent; /* digits before it */
    size_t size = 0;
    if (!decimal->digit_count) {
        memcpy(text, "0", 2);
        return 1;
    }
    if (decimal->negative)
        text[size++] = '-';
    if (point <= 0)
        text[size++] = '0';
    for (long i = 0; i < point; i++)
        text[size++] = i < decimal->digit_count ? decimal->digits[i] : '0';
    if (decimal->exponent < 0)
        text[size++] = '.';
    for (long i = point; i < 0; i++)
        text[size++] = '0';
    for (long i = point > 0 ? point : 0; i < decimal->digit_count; i++)
        text[size++] = decimal->digits[i];
    text[size] = '\0';
    return size;
}

size_t decimal_sort_key(const struct decimal *decimal, unsigned char *key)
{
    size_t size = 0;
    unsigned top = (unsigned)(decimal->digit_count + decimal->exponent + 1000);
    if (!decimal->digit_count) {
        key[0] = 1; /* between the negative, 0, and the positive, 2 */
        return 1;
    }
    key[size++] = decimal->negative ? 0 : 2;
    key[size++] = (unsigned char)(top >> 8);
    key[size++] = (unsigned char)top;
    for (int i = 0; i < decimal->digit_count; i++)
        key[size++] = (unsigned char)(decimal->digits[i] - '0' + 1);
    if (!decimal->negative)
        return size;
    for (size_t i = 1; i < size; i++)
        key[i] = (unsigned char)~key[i];
    key[size++] = 0xff; /* so that the longer one of two is the smaller */
    return size;
}

void double_shortest(double value, char *text)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}
