/* check.h: what must hold, in every build: a host that no longer knows what is settled stops rather than go
 * on. What it was about to do is done again after its restart. */
#ifndef TIDEMILL_BASE_CHECK_H
#define TIDEMILL_BASE_CHECK_H

#include <assert.h>
#include <stddef.h>

/* Ends the process, with a line that says what did not hold and where. */
_Noreturn void check_failed(const char *condition, const char *file, int line);

#define CHECK(condition) \
    (__builtin_expect(!!(condition), 1) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

/* Of a table beside an enum: static_assert(COUNT_OF(names) == KIND_COUNT, "a name for each"). */
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

#endif
