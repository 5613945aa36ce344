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
    int part_ms = (int)(((wall_ms % 1000) + 1000) % 1000);
    time_t seconds = (time_t)((wall_ms - part_ms) / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    snprintf(text, CLOCK_ISO_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (tm.tm_year + 1900) % 10000,
             (tm.tm_mon + 1) % 100, tm.tm_mday % 100, tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100,
             part_ms);
}

/* So many digits, and then `after` (0: anything). NULL: that is not there. */
static const char *digits(const char *text, int count, char after, int *number)
{
    *number = 0;
    for (int i = 0; i < count; i++, text++) {
        if (*text < '0' || *text > '9')
            return NULL;
        *number = *number * 10 + (*text - '0');
    }
    return !after ? text : *text == after ? text + 1 : NULL;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* "Z", "z", "+02:00", "-00:30". */
static bool read_offset(const char *text, int64_t *seconds)
{
    int hours, minutes;
    int sign = *text == '-' ? -1 : 1;
    *seconds = 0;
    if ((*text == 'Z' || *text == 'z') && !text[1])
        return true;
    if ((*text != '+' && *text != '-') || !(text = digits(text + 1, 2, ':', &hours)) ||
        !(text = digits(text, 2, 0, &minutes)) || *text || hours > 23 || minutes > 59)
        return false;
    *seconds = (int64_t)sign * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_read_iso8601(const char *text, int64_t *ms)
{
    int year, month, day, hour, minute, second;
    int64_t offset_s, fraction = 0;
    bool ok = (text = digits(text, 4, '-', &year)) && (text = digits(text, 2, '-', &month)) &&
              (text = digits(text, 2, 0, &day)) && (*text == 'T' || *text == 't') &&
              (text = digits(text + 1, 2, ':', &hour)) && (text = digits(text, 2, ':', &minute)) &&
              (text = digits(text, 2, 0, &second));
    if (!ok || month < 1 || month > 12 || day < 1 || day > days_of(year, month) || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    if (*text == '.') {
        int64_t unit = 100000; /* microseconds: the last digit that counts rounds */
        if (text[1] < '0' || text[1] > '9')
            return false;
        for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10)
            fraction += unit * (*text - '0');
    }
    if (!read_offset(text, &offset_s))
        return false;
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    *ms = ((int64_t)timegm(&tm) - offset_s) * 1000 + (fraction + 500) / 1000;
    return true;
}

int64_t clock_from_iso8601(const char *text)
{
    int64_t ms;
    return clock_read_iso8601(text, &ms) && ms >= 0 ? ms : -1;
}
