/* sim.c: seeds to worlds, on as many processes as there are processors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "copying.h"
#include "flowing.h"
#include "group.h"
#include "sim.h"

#define PROCESSES_MAX 64

struct range {
    uint64_t from, to;
    void (*live)(uint64_t seed, bool loud, char *violation); /* a world */
    const char *name, *shown;
};

static bool read_range(const char *text, struct range *range)
{
    char *end;
    range->from = range->to = strtoull(text, &end, 10);
    if (end != text && strncmp(end, "..", 2) == 0)
        range->to = strtoull(end + 2, &end, 10);
    return end != text && !*end && range->from <= range->to;
}

static void show_progress(uint64_t done, uint64_t all)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r  sim   %llu of %llu seeds", (unsigned long long)done, (unsigned long long)all);
}

/* Every `step`-th seed. Returns how many failed, at most 100. */
static int run_seeds(const struct range *range, uint64_t first, uint64_t step, bool loud, uint64_t *current)
{
    int failed = 0;
    char violation[1000];
    for (uint64_t seed = range->from + first; seed <= range->to; seed += step) {
        *current = seed;
        range->live(seed, loud, violation);
        if (*violation) {
            printf("seed %llu: %s\n", (unsigned long long)seed, violation);
            fflush(stdout);
            failed += failed < 100;
        }
        if (first == 0)
            show_progress(seed - range->from + 1, range->to - range->from + 1);
    }
    return failed;
}

/* True when the process found nothing; one that fell over is reported with its seed. */
static bool wait_for(pid_t process, uint64_t seed)
{
    int status;
    if (waitpid(process, &status, 0) < 0 || !WIFSIGNALED(status))
        return status == 0;
    printf("seed %llu: the host fell over (signal %d)\n", (unsigned long long)seed, WTERMSIG(status));
    return false;
}

static int run_all(const struct range *range)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int count = processors < 1 ? 1 : processors > PROCESSES_MAX ? PROCESSES_MAX : (int)processors;
    pid_t processes[PROCESSES_MAX];
    bool failed = false;
    uint64_t *current = mmap(NULL, sizeof *current * PROCESSES_MAX, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (current == MAP_FAILED)
        return 1;
    fflush(stdout);
    for (int i = 0; i < count; i++)
        if ((processes[i] = fork()) == 0)
            exit(run_seeds(range, (uint64_t)i, (uint64_t)count, false, &current[i]) != 0);
    for (int i = 0; i < count; i++)
        failed = !wait_for(processes[i], current[i]) || failed;
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    printf("  sim   %s %llu to %llu: %s\n", range->name, (unsigned long long)range->from,
           (unsigned long long)range->to, failed ? range->shown : "all hold");
    return failed;
}

int main(int argc, char **argv)
{
    struct range range = {.live = life_run, .name = "seeds", .shown = "FAILED (make sim SEED=n shows one)"};
    uint64_t seed;
    if (argc == 4 && strcmp(argv[1], "crowd") == 0)
        return !crowd_run(atoi(argv[2]), atoi(argv[3]), 1);
    if (argc == 3 && strcmp(argv[1], "group") == 0) {
        range.live = group_run;
        range.name = "groups of hosts";
        range.shown = "FAILED (make sim GROUP=n shows one)";
        argv++, argc--;
    }
    if (argc == 3 && strcmp(argv[1], "copy") == 0) {
        range.live = copying_run;
        range.name = "copies of tables";
        range.shown = "FAILED (make sim COPY=n shows one)";
        argv++, argc--;
    }
    if (argc == 3 && strcmp(argv[1], "kinesis") == 0) {
        range.live = flowing_run;
        range.name = "tables by way of Kinesis";
        range.shown = "FAILED (make sim KINESIS=n shows one)";
        argv++, argc--;
    }
    if (argc != 2 || !read_range(argv[1], &range)) {
        fputs("usage: sim [group|copy|kinesis] SEED | FIRST..LAST\n       sim crowd HOSTS SHARDS\n", stderr);
        return 2;
    }
    if (range.from == range.to)
        return run_seeds(&range, 0, 1, true, &seed) != 0;
    return run_all(&range);
}
