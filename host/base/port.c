/* port.c: see port.h. Linux: /proc/net/tcp has the sockets' inodes, /proc/PID/fd who holds them (proc(5)). */
#include "base/port.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTENING 0x0a /* a socket's state in /proc/net/tcp */

/* The inode of the socket that listens there; 0: none in this table. */
static unsigned long find_inode(const char *table, int port)
{
    FILE *file = fopen(table, "re");
    char line[512];
    unsigned long found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        unsigned local_port, state;
        unsigned long inode;
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu", &local_port,
                   &state, &inode) == 3 &&
            state == LISTENING && (int)local_port == port)
            found = inode;
    }
    if (file)
        fclose(file);
    return found;
}

static bool holds(const char *process, const char *link)
{
    char path[600], target[64];
    snprintf(path, sizeof path, "/proc/%s/fd", process);
    DIR *directory = opendir(path);
    struct dirent *entry;
    bool found = false;
    while (directory && !found && (entry = readdir(directory))) {
        char descriptor[900];
        snprintf(descriptor, sizeof descriptor, "%s/%s", path, entry->d_name);
        ssize_t size = readlink(descriptor, target, sizeof target - 1);
        if (size > 0) {
            target[size] = '\0';
            found = strcmp(target, link) == 0;
        }
    }
    if (directory)
        closedir(directory);
    return found;
}

static void describe(const char *process, char *text, size_t size)
{
    char path[300], name[64] = "";
    snprintf(path, sizeof path, "/proc/%s/comm", process);
    FILE *file = fopen(path, "re");
    if (file && fgets(name, sizeof name, file))
        name[strcspn(name, "\n")] = '\0';
    if (file)
        fclose(file);
    snprintf(text, size, "process %s (%s)", process, *name ? name : "?");
}

void port_holder(int port, char *text, size_t size)
{
    unsigned long inode = find_inode("/proc/net/tcp", port);
    char link[64];
    snprintf(text, size, "another process");
    if (!inode)
        inode = find_inode("/proc/net/tcp6", port);
    if (!inode)
        return;
    snprintf(link, sizeof link, "socket:[%lu]", inode);
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    while (processes && (entry = readdir(processes))) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !holds(entry->d_name, link))
            continue;
        describe(entry->d_name, text, size);
        break;
    }
    if (processes)
        closedir(processes);
}
