/* dev_here.c: see dev_here.h. Who has the file locked lives. */
#include "cmd/dev_here.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/access.h"
#include "base/file.h"
#include "base/mem.h"
#include "state/store_open.h"

#define PLACE ".tidemill"
#define TEXT_BYTES_MAX 8192
#define DEV_URL_USUAL "http://127.0.0.1:8000"

static bool write_all(int fd, const char *text)
{
    size_t size = strlen(text);
    return write(fd, text, size) == (ssize_t)size;
}

/* Several INIs of a directory have files of their own: "dev", and of prod.ini "dev-prod.ini". */
char *dev_here_path(const char *ini, const char *name)
{
    const char *slash = strrchr(ini, '/'), *file = slash ? slash + 1 : ini;
    bool usual = strcmp(file, "tidemill.ini") == 0;
    char *below = mem_printf(PLACE "/%s%s%s", name, usual ? "" : "-", usual ? "" : file);
    char *path = path_beside(ini, below);
    free(below);
    return path;
}

void dev_here_make(const char *ini)
{
    char *directory = path_beside(ini, PLACE), *path = path_beside(ini, PLACE "/.gitignore");
    mkdir(directory, 0755);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0) {
        write_all(fd, "*\n");
        close(fd);
    }
    free(directory);
    free(path);
}

int dev_here_open(const char *ini, const char *state, const char *url, struct err *err)
{
    char *path = dev_here_path(ini, "dev"), *text = mem_printf("%s\n%s\n", state, url);
    dev_here_make(ini);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        err_set(err, ERR_BUSY, "another dev runs on %s already", ini);
    else if (ftruncate(fd, 0) == 0 && write_all(fd, text))
        err->code = ERR_NONE;
    else
        err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (err->code != ERR_NONE && fd >= 0)
        close(fd);
    free(path);
    free(text);
    return err->code == ERR_NONE ? fd : -1;
}

void dev_here_close(int fd, const char *ini)
{
    if (fd < 0)
        return;
    char *path = dev_here_path(ini, "dev");
    unlink(path);
    close(fd);
    free(path);
}

/* "STATE\nURL\n" of one that lives; false: there is none. */
static bool read_place(const char *ini, char text[TEXT_BYTES_MAX])
{
    char *path = dev_here_path(ini, "dev");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t size = fd >= 0 ? read(fd, text, TEXT_BYTES_MAX - 1) : -1;
    bool lives = size > 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    text[size > 0 ? size : 0] = '\0';
    if (fd >= 0)
        close(fd);
    free(path);
    return lives;
}

static void set_text(char **field, const char *text)
{
    free(*field);
    *field = mem_string(text);
}

void dev_here_set_calls(struct config *config, const char *url)
{
    set_text(&config->aws.endpoint, url);
    set_text(&config->aws.endpoint_dynamodb, NULL);
    set_text(&config->aws.endpoint_streams, NULL);
    set_text(&config->aws.profile, NULL);
    config->aws.assumes_no_role = true;
    if (!config->aws.region)
        config->aws.region = mem_string("us-east-1");
}

void dev_here_set_environment(const char *url)
{
    setenv("TIDEMILL_DEV_URL", url, 1);
    setenv("AWS_ACCESS_KEY_ID", "local", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "local", 1);
    unsetenv("AWS_SESSION_TOKEN");
}

void dev_here_know(const char *ini)
{
    char text[TEXT_BYTES_MAX], *rest = NULL;
    bool runs = read_place(ini, text) && strtok_r(text, "\n", &rest);
    const char *url = runs ? strtok_r(NULL, "\n", &rest) : NULL;
    setenv("TIDEMILL_DEV_URL", url ? url : DEV_URL_USUAL, 0);
}

char *dev_here_turn(struct config *config, bool calls)
{
    char text[TEXT_BYTES_MAX], *rest = NULL;
    if (!config || !*config->path || access_host_runs(config) || !read_place(config->path, text))
        return NULL;
    const char *state = strtok_r(text, "\n", &rest), *url = strtok_r(NULL, "\n", &rest);
    if (!state || !url)
        return NULL;
    set_text(&config->host.state, state);
    if (calls) {
        dev_here_set_calls(config, url);
        dev_here_set_environment(url);
    }
    return mem_string(url);
}
