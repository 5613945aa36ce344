/* rights.h: what the process may still do once it runs. */
#ifndef TIDEMILL_BASE_RIGHTS_H
#define TIDEMILL_BASE_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>

/* No core files: they would hold records and secrets. */
void rights_no_core(void);

/* From here on this process, and whatever it starts, writes, makes and removes files below these directories
 * only (and /dev), and nothing that it starts gains rights (no_new_privs). A directory that is not there is
 * left out. Before there are other threads. False where the kernel has no Landlock (before 5.13, or
 * switched off): nothing has changed then. https://docs.kernel.org/userspace-api/landlock.html */
bool rights_confine(const char *const *directories, size_t count);

/* May it write below the directory? True unless it was confined to others. */
bool rights_cover(const char *directory);

#endif
