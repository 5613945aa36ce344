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

/* ---- what DynamoDB stores: 38 digits, 1E-130 up to 9.99..E+125 ---- */

enum decimal_fault { DECIMAL_OK, DECIMAL_TOO_PRECISE, DECIMAL_OVERFLOW, DECIMAL_UNDERFLOW };

enum decimal_fault decimal_check(const struct decimal *decimal);

/* Exact; a sum of more than DECIMAL_DIGITS_MAX digits is DECIMAL_TOO_PRECISE. Both must have passed
 * decimal_check. */
enum decimal_fault decimal_add(const struct decimal *a, const struct decimal *b, struct decimal *sum);

/* Likewise, of a product; more than 38 digits are DECIMAL_TOO_PRECISE. */
enum decimal_fault decimal_multiply(const struct decimal *a, const struct decimal *b,
                                    struct decimal *product);

/* As DynamoDB writes it: plain digits without an exponent. `text` holds DECIMAL_TEXT_SIZE bytes. Returns the
 * length. For what passed decimal_check. */
#define DECIMAL_TEXT_SIZE 176
size_t decimal_write(const struct decimal *decimal, char *text);

/* Bytes whose memcmp order (a shorter prefix first) is the numbers' order. `key` holds DECIMAL_SORT_KEY_SIZE
 * bytes. Returns the length. */
#define DECIMAL_SORT_KEY_SIZE (DECIMAL_DIGITS_MAX + 4)
size_t decimal_sort_key(const struct decimal *decimal, unsigned char *key);

/* The shortest text that reads back as the same double; `text` holds 32 bytes. */
void double_shortest(double value, char *text);

#endif
