/* process.c: what the system says of this process. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "stats/exposition.h"

static size_t count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;
    if (!directory)
        return 0;
    for (const struct dirent *entry; (entry = readdir(directory));)
        count += *entry->d_name != '.';
    closedir(directory);
    return count ? count - 1 : 0; /* without the directory's own */
}

/* The machine's start, since 1970. */
static double boot_s(void)
{
    struct timespec wall, boot;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return (double)(wall.tv_sec - boot.tv_sec) + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9;
}

/* See proc_pid_stat(5): the fields behind the name, which may hold anything. */
static void add_stat(struct sheet *sheet)
{
    unsigned long long user = 0, system = 0, start = 0, virtual = 0;
    long long resident = 0;
    char line[1024];
    double tick = (double)sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/self/stat", "re");
    size_t size = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file)
        fclose(file);
    line[size] = '\0';
    const char *rest = strrchr(line, ')');
    if (!rest || sscanf(rest + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu "
                        "%llu %lld",
                        &user, &system, &start, &virtual, &resident) != 5)
        return;
    sheet_add(sheet, "process_cpu_seconds_total", (double)(user + system) / tick, NULL);
    sheet_add(sheet, "process_start_time_seconds", boot_s() + (double)start / tick, NULL);
    sheet_add(sheet, "process_virtual_memory_bytes", (double)virtual, NULL);
    sheet_add(sheet, "process_resident_memory_bytes", (double)resident * (double)sysconf(_SC_PAGESIZE), NULL);
}

void exposition_add_process(struct sheet *sheet)
{
    struct rlimit limit;
    size_t open = count_descriptors();
    add_stat(sheet);
    if (open)
        sheet_add(sheet, "process_open_fds", (double)open, NULL);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        sheet_add(sheet, "process_max_fds", (double)limit.rlim_cur, NULL);
}
