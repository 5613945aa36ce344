/* decimal.h: decimal numbers as text, compared exactly. DynamoDB's N has up to 38 digits and exponents from
 * -130 to 125; a double holds 15 digits. */
#ifndef TIDEMILL_VALUE_DECIMAL_H
#define TIDEMILL_VALUE_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>

/* digits * 10^exponent without leading and trailing zeros; zero has no digits. Digits beyond the room kept
 * are refused by decimal_read. */
#define DECIMAL_DIGITS_MAX 64
struct decimal {
    bool negative;
    int digit_count;
    long exponent;
    char digits[DECIMAL_DIGITS_MAX];
};

/* False where the text is not a number, or has more than DECIMAL_DIGITS_MAX significant digits. */
bool decimal_read(const char *text, size_t size, struct decimal *decimal);

int decimal_compare(const struct decimal *a, const struct decimal *b); /* <0, 0, >0 */

/* The shortest text that reads back as the same double; `text` holds 32 bytes. */
void double_shortest(double value, char *text);

#endif
