/* test_cover.h: which lines of handlers' files tests have run. Private to test*.c. */
#ifndef TIDEMILL_CMD_TEST_COVER_H
#define TIDEMILL_CMD_TEST_COVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct test_cover;

struct test_cover *test_cover_new(void);
void test_cover_free(struct test_cover *cover);

/* As an observer is told: a line of the file can run, or (`now`) runs. Links are followed. */
void test_cover_note(struct test_cover *cover, const char *path, size_t line, bool now);

/* A line for each file, with the lines that never ran. */
void test_cover_print(struct test_cover *cover, bool colour);

/* As lcov has it (geninfo(1)), for genhtml, editors and CI services. False and `err`. */
bool test_cover_write_lcov(struct test_cover *cover, const char *path, struct err *err);

#endif
