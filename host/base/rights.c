/* rights.c: see rights.h. Linux has no wrappers for these calls in glibc 2.36. */
#include "base/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

/* Newer than the headers of Debian 12. */
#define ACCESS_REFER (UINT64_C(1) << 13)    /* since version 2 of the interface */
#define ACCESS_TRUNCATE (UINT64_C(1) << 14) /* since version 3 */

static char **covered; /* real paths; NULL: it is not confined */
static size_t covered_count;

void rights_no_core(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

static uint64_t writes(int version)
{
    return LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
           LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
           LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
           LANDLOCK_ACCESS_FS_MAKE_SYM | (version >= 2 ? ACCESS_REFER : 0) |
           (version >= 3 ? ACCESS_TRUNCATE : 0);
}

static void allow(int ruleset, const char *directory, uint64_t access)
{
    int fd = open(directory, O_PATH | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0)
        return;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(fd);
}

static void note(const char *directory)
{
    char *real = realpath(directory, NULL);
    if (real)
        covered[covered_count++] = real;
}

bool rights_confine(const char *const *directories, size_t count)
{
    int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return false;
    uint64_t access = writes(version);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset,
                               &(struct landlock_ruleset_attr){.handled_access_fs = access},
                               sizeof(struct landlock_ruleset_attr), 0);
    if (ruleset < 0)
        return false;
    char **noted = mem_zero((count + 1) * sizeof *noted);
    covered = noted;
    for (size_t i = 0; i < count; i++) {
        allow(ruleset, directories[i], access);
        note(directories[i]);
    }
    allow(ruleset, "/dev", LANDLOCK_ACCESS_FS_WRITE_FILE | (access & ACCESS_TRUNCATE));
    bool confined =
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    if (!confined) {
        while (covered_count)
            free(covered[--covered_count]);
        free(covered);
        covered = NULL;
    }
    return confined;
}

bool rights_cover(const char *directory)
{
    char *path = mem_string(directory), *real = realpath(path, NULL);
    bool is = !covered;
    while (!real && strchr(path, '/')) { /* what is not there yet will be made in what is */
        *strrchr(path, '/') = '\0';
        real = realpath(*path ? path : "/", NULL);
        if (!*path)
            break;
    }
    for (size_t i = 0; real && covered && i < covered_count; i++) {
        size_t size = strlen(covered[i]);
        is = is || (strncmp(real, covered[i], size) == 0 && (!real[size] || real[size] == '/'));
    }
    free(real);
    free(path);
    return is;
}
