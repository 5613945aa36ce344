/* brake.h: how fast calls to one table may go. A table that throttles is called less often, and more often
 * again while it does not: additive increase, multiplicative decrease, by table, since the neighbour of a
 * slow table is not slow. All reactors of a process share what is known of a table.
 *
 * A table that never throttles has no limit but `max_in_flight`, where somebody has set one. */
#ifndef TIDEMILL_AWS_BRAKE_H
#define TIDEMILL_AWS_BRAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct brake;

/* By the table's name; from any thread. */
struct brakes;
struct brakes *brakes_new(void);
void brakes_free(struct brakes *brakes); /* NULL is allowed */

/* They stay until brakes_free. An ARN is taken for the name in it. NULL: of NULL, or of one table more than
 * can be kept in mind. */
struct brake *brakes_find(struct brakes *brakes, const char *table);

/* Calls at once to the table; 0: as many as come. */
void brake_set_max_in_flight(struct brake *brake, int64_t max);

/* May a call begin? 0: it has begun, and brake_ended is owed. Else so many microseconds are to be waited
 * before it is asked again. `now_us`: monotonic. Of several tables at once: see brakes_begin. */
int64_t brake_begin(struct brake *brake, int64_t now_us);

/* Of a call of several tables: begins with all of them, or with none. */
int64_t brakes_begin(struct brake *const *brakes, size_t count, int64_t now_us);

/* One that began has ended, with what the service says where it was asked too often, or not. */
void brake_ended(struct brake *brake, bool throttled, int64_t now_us);

/* A call that went well was told that part of it was too much. */
void brake_slow(struct brake *brake, int64_t now_us);

struct brake_numbers {
    double calls_s;                           /* the limit a second; 0: none */
    int64_t in_flight, max_in_flight, slowed; /* how often it was slowed down */
};

/* Each table that has, or had, a limit. */
void brakes_each(struct brakes *brakes,
                 void (*fn)(void *user, const char *table, const struct brake_numbers *numbers), void *user);

#endif
