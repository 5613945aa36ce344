/* brake.c: see brake.h. */
#include "aws/brake.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define TABLES_MAX 1000
#define CUT 0.7   /* of the pace at which it was throttled */
#define RAISE 0.1 /* of that pace, each second: back there in three, and on */
#define CALLS_S_MIN 0.5
#define ONE_CUT_US 500000 /* what was on its way meanwhile says nothing new */
#define MEASURE_US 1000000
#define FREE_FACTOR 4          /* that much faster than when it was throttled last: it has no limit ... */
#define FREE_AFTER_US 60000000 /* ... nor after so long */
#define SLOT_US 5000           /* before it is looked again whether another call has ended */
#define WAIT_US_MAX 1000000
#define UNUSED_US 5000

struct brake {
    pthread_mutex_t lock;
    double calls_s;      /* 0: no limit */
    double throttled_at; /* calls a second, when it was slowed down last */
    int64_t next_us;     /* when the next call may begin */
    int64_t cut_us, raised_us;
    int64_t measured_us; /* since when `calls` are counted */
    int64_t calls;
    double pace; /* calls a second, of the second before */
    int64_t in_flight, max_in_flight, slowed;
};

struct brakes {
    pthread_mutex_t lock; /* of the map */
    struct map all;       /* owned */
};

struct brakes *brakes_new(void)
{
    struct brakes *brakes = mem_zero(sizeof *brakes);
    pthread_mutex_init(&brakes->lock, NULL);
    return brakes;
}

void brakes_free(struct brakes *brakes)
{
    size_t at = 0;
    if (!brakes)
        return;
    for (struct brake *brake; (brake = map_next(&brakes->all, &at, NULL));) {
        pthread_mutex_destroy(&brake->lock);
        free(brake);
    }
    map_fini(&brakes->all);
    pthread_mutex_destroy(&brakes->lock);
    free(brakes);
}

/* "arn:aws:dynamodb:eu-west-1:123456789012:table/Orders" */
static char *name_of(const char *table)
{
    const char *name = strncmp(table, "arn:", 4) == 0 ? strstr(table, ":table/") : NULL;
    name = name ? name + strlen(":table/") : table;
    return mem_copy(name, strcspn(name, "/"));
}

struct brake *brakes_find(struct brakes *brakes, const char *table)
{
    if (!brakes || !table)
        return NULL;
    char *name = name_of(table);
    pthread_mutex_lock(&brakes->lock);
    struct brake *brake = map_get(&brakes->all, name);
    if (!brake && brakes->all.count < TABLES_MAX) {
        brake = mem_zero(sizeof *brake);
        pthread_mutex_init(&brake->lock, NULL);
        map_set(&brakes->all, name, brake);
    }
    pthread_mutex_unlock(&brakes->lock);
    free(name);
    return brake;
}

void brake_set_max_in_flight(struct brake *brake, int64_t max)
{
    if (!brake)
        return;
    pthread_mutex_lock(&brake->lock);
    brake->max_in_flight = max;
    pthread_mutex_unlock(&brake->lock);
}

/* ---- with the lock ---- */

static void measure(struct brake *brake, int64_t now_us)
{
    int64_t for_us = now_us - brake->measured_us;
    if (for_us < MEASURE_US)
        return;
    brake->pace = for_us < 2 * MEASURE_US ? (double)brake->calls * 1e6 / (double)for_us : 0;
    brake->calls = 0;
    brake->measured_us = now_us;
}

/* As it is just now, where a second is not over yet. */
static double pace_now(const struct brake *brake, int64_t now_us)
{
    int64_t for_us = now_us - brake->measured_us;
    double running = for_us > 0 ? (double)brake->calls * 1e6 / (double)(for_us > 50000 ? for_us : 50000) : 0;
    return running > brake->pace ? running : brake->pace;
}

static void slow_down(struct brake *brake, int64_t now_us)
{
    if (brake->cut_us && now_us - brake->cut_us < ONE_CUT_US)
        return;
    double pace = pace_now(brake, now_us);
    if (brake->calls_s > 0 && brake->calls_s < pace)
        pace = brake->calls_s;
    brake->throttled_at = pace > CALLS_S_MIN ? pace : CALLS_S_MIN;
    brake->calls_s = pace * CUT > CALLS_S_MIN ? pace * CUT : CALLS_S_MIN;
    brake->cut_us = brake->raised_us = now_us;
    brake->slowed++;
}

static void speed_up(struct brake *brake, int64_t now_us)
{
    if (brake->calls_s <= 0)
        return;
    int64_t for_us = now_us - brake->raised_us;
    double step = brake->throttled_at * RAISE;
    step = step > CALLS_S_MIN ? step : CALLS_S_MIN;
    brake->calls_s += step * (double)(for_us < 1000000 ? for_us : 1000000) / 1e6;
    brake->raised_us = now_us;
    if (brake->calls_s > FREE_FACTOR * brake->throttled_at || now_us - brake->cut_us > FREE_AFTER_US)
        brake->calls_s = 0;
}

static int64_t wait_us(const struct brake *brake, int64_t now_us)
{
    if (brake->max_in_flight && brake->in_flight >= brake->max_in_flight)
        return SLOT_US;
    int64_t wait = brake->calls_s > 0 ? brake->next_us - now_us : 0;
    return wait <= 0 ? 0 : wait < WAIT_US_MAX ? wait : WAIT_US_MAX;
}

static void take(struct brake *brake, int64_t now_us)
{
    measure(brake, now_us);
    brake->calls++;
    brake->in_flight++;
    if (brake->calls_s <= 0)
        return;
    /* Who waits comes back by the millisecond: what was not used in the last few is good. */
    int64_t since_us = now_us - UNUSED_US;
    brake->next_us =
        (brake->next_us > since_us ? brake->next_us : since_us) + (int64_t)(1e6 / brake->calls_s);
}

static void put_back(struct brake *brake)
{
    brake->in_flight--;
    brake->calls--;
    if (brake->calls_s > 0)
        brake->next_us -= (int64_t)(1e6 / brake->calls_s);
}

/* ---- calls ---- */

int64_t brake_begin(struct brake *brake, int64_t now_us)
{
    return brakes_begin(&brake, 1, now_us);
}

/* One after the other, in the caller's order, and each let go again where a later one says no: no two are
 * locked at once. */
int64_t brakes_begin(struct brake *const *brakes, size_t count, int64_t now_us)
{
    int64_t wait = 0;
    size_t taken = 0;
    for (; taken < count && !wait; taken++) {
        struct brake *brake = brakes[taken];
        if (!brake)
            continue;
        pthread_mutex_lock(&brake->lock);
        wait = wait_us(brake, now_us);
        if (!wait)
            take(brake, now_us);
        pthread_mutex_unlock(&brake->lock);
    }
    for (size_t i = 0; wait && i + 1 < taken; i++) {
        if (!brakes[i])
            continue;
        pthread_mutex_lock(&brakes[i]->lock);
        put_back(brakes[i]);
        pthread_mutex_unlock(&brakes[i]->lock);
    }
    return wait;
}

void brake_ended(struct brake *brake, bool throttled, int64_t now_us)
{
    if (!brake)
        return;
    pthread_mutex_lock(&brake->lock);
    brake->in_flight--;
    if (throttled)
        slow_down(brake, now_us);
    else
        speed_up(brake, now_us);
    pthread_mutex_unlock(&brake->lock);
}

void brake_slow(struct brake *brake, int64_t now_us)
{
    if (!brake)
        return;
    pthread_mutex_lock(&brake->lock);
    slow_down(brake, now_us);
    pthread_mutex_unlock(&brake->lock);
}

void brakes_each(struct brakes *brakes,
                 void (*fn)(void *user, const char *table, const struct brake_numbers *numbers), void *user)
{
    const char *table;
    size_t at = 0;
    pthread_mutex_lock(&brakes->lock);
    for (struct brake *brake; (brake = map_next(&brakes->all, &at, &table));) {
        pthread_mutex_lock(&brake->lock);
        struct brake_numbers numbers = {brake->calls_s, brake->in_flight, brake->max_in_flight,
                                        brake->slowed};
        pthread_mutex_unlock(&brake->lock);
        if (numbers.slowed || numbers.max_in_flight)
            fn(user, table, &numbers);
    }
    pthread_mutex_unlock(&brakes->lock);
}
