/* clock.h: the clock seam. Everything that asks for the time asks a `struct clock`, so that a test can
 * hold time in its hand. Milliseconds, where no name says otherwise. */
#ifndef TIDEMILL_BASE_CLOCK_H
#define TIDEMILL_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock {
    int64_t (*monotonic_ms)(struct clock *); /* never goes back; for delays and deadlines */
    int64_t (*wall_ms)(struct clock *);      /* since 1970; for what people and services see */
    /* As monotonic_ms, and goes on while the machine sleeps; NULL: it does not sleep. */
    int64_t (*boot_ms)(struct clock *);
    int64_t (*monotonic_us)(struct clock *); /* likewise, finer; NULL: it is not known so finely */
    int64_t (*cpu_ms)(struct clock *);       /* used by the calling thread; a system call, so ask rarely */
};

/* The machine's clocks. Stateless: may be shared by all threads. */
struct clock clock_system(void);

static inline int64_t clock_monotonic_ms(struct clock *clock)
{
    return clock->monotonic_ms(clock);
}

static inline int64_t clock_monotonic_us(struct clock *clock)
{
    return clock->monotonic_us ? clock->monotonic_us(clock) : 1000 * clock->monotonic_ms(clock);
}

static inline int64_t clock_wall_ms(struct clock *clock)
{
    return clock->wall_ms(clock);
}

static inline int64_t clock_boot_ms(struct clock *clock)
{
    return clock->boot_ms ? clock->boot_ms(clock) : clock->monotonic_ms(clock);
}

static inline int64_t clock_cpu_ms(struct clock *clock)
{
    return clock->cpu_ms(clock);
}

/* "2026-01-31T23:59:59.123Z" into `text`, which holds at least CLOCK_ISO_SIZE bytes. */
#define CLOCK_ISO_SIZE 32
void clock_iso8601(int64_t wall_ms, char *text);

/* "2026-01-31T23:59:59Z", "2026-01-31t23:59:59.25+02:00" (RFC 3339; years 0 to 9999) to milliseconds since
 * 1970. False: it is no such time. */
bool clock_read_iso8601(const char *text, int64_t *ms);
int64_t clock_from_iso8601(const char *text); /* likewise, since 1970; -1: none */

#endif
