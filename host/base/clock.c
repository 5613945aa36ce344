/* clock.c: see clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t read_ms(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_monotonic_ms(struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_MONOTONIC);
}

static int64_t system_monotonic_us(struct clock *clock)
{
    struct timespec now;
    (void)clock;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t system_wall_ms(struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_REALTIME);
}

static int64_t system_boot_ms(struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_BOOTTIME);
}

static int64_t system_cpu_ms(struct clock *clock)
{
    (void)clock;
    return read_ms(CLOCK_THREAD_CPUTIME_ID);
}

struct clock clock_system(void)
{
    return (struct clock){.monotonic_ms = system_monotonic_ms,
                          .wall_ms = system_wall_ms,
                          .boot_ms = system_boot_ms,
                          .monotonic_us = system_monotonic_us,
                          .cpu_ms = system_cpu_ms};
}

void clock_iso8601(int64_t wall_ms, char *text)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char date[24];
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, CLOCK_ISO_SIZE, "%s.%03dZ", date, (int)(wall_ms % 1000));
}

int64_t clock_from_iso8601(const char *text)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        return -1;
    int64_t ms = 0;
    if (*rest == '.') {
        size_t digits = strspn(rest + 1, "0123456789");
        char fraction[12] = "";
        memcpy(fraction, rest, 1 + (digits < 9 ? digits : 9));
        ms = digits ? (int64_t)(strtod(fraction, NULL) * 1000.0 + 0.5) : 0;
        rest += 1 + digits;
    }
    if (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0)
        return -1;
    return (int64_t)timegm(&tm) * 1000 + ms;
}
