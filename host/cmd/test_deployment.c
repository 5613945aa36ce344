/* test_deployment.c: see test_deployment.h. */
#include "cmd/test_deployment.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "core/plugs.h"
#include "script/directory.h"
#include "state/store_open.h"

/* See test_deployment.h. */
char *test_deployment_beside(const struct test_deployment *t, const char *text)
{
    struct buf out = BUF_INIT;
    char *scripts = mem_printf("%s/scripts", t->directory), *beside = path_beside(t->path, ".");
    beside[strlen(beside) - (strlen(beside) > 1 ? 2 : 0)] = '\0'; /* without "/." */
    for (const char *found; text && (found = strstr(text, scripts)); text = found + strlen(scripts)) {
        buf_add(&out, text, (size_t)(found - text));
        buf_add_text(&out, beside);
    }
    free(beside);
    buf_add_text(&out, text ? text : "");
    free(scripts);
    return buf_take(&out);
}

static bool link_script(struct test_deployment *t, const char *beside, const char *handler,
                        const char *script, bool needed, struct err *err)
{
    char *name = mem_printf("%s.lua", script), *path = path_beside(beside, name);
    char *link = mem_printf("%s/scripts/%s", t->directory, name), *target = realpath(path, NULL);
    bool ok = (!target && !needed) || (target && (symlink(target, link) == 0 || errno == EEXIST));
    if (!ok)
        err_set(err, ERR_CONFIG, "[handler %s]: there is no %s beside the test", handler, path);
    free(name);
    free(path);
    free(link);
    free(target);
    return ok;
}

static void link_directory(struct test_deployment *t, const char *beside, const char *name, struct err *err)
{
    char *link = mem_printf("%s/scripts/%s", t->directory, name), *own = path_beside(beside, name);
    char *whole = realpath(own, NULL);
    if (whole && symlink(whole, link) != 0)
        err_set(err, ERR_IO, "%s: cannot be linked", link);
    free(whole);
    free(link);
    free(own);
}

static bool link_those(struct test_deployment *t, const char *test, const char *beside, struct err *err)
{
    link_directory(t, beside, "lib", err);
    link_directory(t, beside, "templates", err);
    for (size_t i = 0; i < t->config->handler_count; i++) {
        const struct config_handler *section = &t->config->handlers[i];
        const char *script = config_handler_script(section);
        if (!link_script(t, beside, section->name, script ? script : section->name, true, err))
            return false;
    }
    const char *slash = strrchr(test, '/'), *own = slash ? slash + 1 : test, *end = strstr(own, "_test.lua");
    char *handler = mem_copy(own, end ? (size_t)(end - own) : 0);
    bool ok = !*handler || link_script(t, test, handler, handler, false, err);
    free(handler);
    return ok;
}

/* All that run would take, of a deployment that is there. */
static bool link_all(struct test_deployment *t, struct err *err)
{
    char **paths = script_paths(t->deployed, err);
    for (size_t i = 0; paths && paths[i]; i++) {
        const char *slash = strrchr(paths[i], '/'), *name = slash ? slash + 1 : paths[i];
        char *script = mem_copy(name, strlen(name) - strlen(".lua"));
        link_script(t, paths[i], script, script, false, err);
        free(script);
    }
    if (paths)
        script_paths_free(paths);
    return paths != NULL;
}

/* The handlers that have a section, the one that the test is named after, lib/ and templates/, as links; of a
 * deployment that is there all of its scripts. */
static bool link_scripts(struct test_deployment *t, const char *test, struct err *err)
{
    char *deployed = t->deployed ? mem_printf("%s/", t->deployed) : NULL;
    const char *beside = deployed ? deployed : test;
    bool ok = link_those(t, test, beside, err) && (!deployed || link_all(t, err));
    free(deployed);
    return ok;
}

#define REGION "us-east-1"

static bool load_config(struct test_deployment *t, const char *path, const char *deployment, struct err *err)
{
    struct problems problems = PROBLEMS_INIT;
    bool inline_text = strchr(deployment, '[') != NULL;
    char *ini = inline_text ? mem_printf("%s/test.ini", t->directory) : path_beside(path, deployment);
    FILE *file = inline_text ? fopen(ini, "w") : NULL;
    if (file) {
        fputs(deployment, file);
        fclose(file);
    }
    t->config = config_load(ini, &host_plugs_playing, &problems);
    if (problems.count)
        err_set(err, ERR_CONFIG, "%s", problems.lines[0]);
    bool ok = !problems.count;
    free(ini);
    problems_fini(&problems);
    struct config *config = t->config;
    free(config->host.state);
    t->deployed = inline_text ? NULL : realpath(config->host.scripts, NULL);
    free(config->host.scripts);
    free(config->aws.endpoint);
    free(config->aws.endpoint_dynamodb);
    free(config->aws.endpoint_streams);
    config->aws.endpoint = NULL;
    free(config->aws.region);
    char *state = mem_printf("%s/state.db", t->directory);
    config->host.state = store_in_file(state);
    free(state);
    config->host.scripts = mem_printf("%s/scripts", t->directory);
    config->host.threads = 1;
    config->aws.assumes_no_role = true;
    config->aws.endpoint_dynamodb =
        mem_string(TEST_ENDPOINT); /* all else is asked where AWS has it: see test.aws */
    config->aws.endpoint_streams = mem_string(TEST_ENDPOINT);
    config->aws.region = mem_string(REGION);
    return ok;
}

static bool make_directory(struct test_deployment *t, struct err *err)
{
    const char *temporary = getenv("TMPDIR");
    t->directory = mem_printf("%s/tidemill-test-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    char *scripts = NULL;
    bool ok = mkdtemp(t->directory) != NULL;
    if (ok) {
        scripts = mem_printf("%s/scripts", t->directory);
        ok = mkdir(scripts, 0700) == 0;
    }
    free(scripts);
    return ok || err_set(err, ERR_IO, "%s: cannot be made", t->directory);
}

static void remove_tree(const char *path)
{
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *inner = mem_printf("%s/%s", path, entry->d_name);
        if (lstat(inner, &status) == 0 && S_ISDIR(status.st_mode))
            remove_tree(inner);
        else
            unlink(inner);
        free(inner);
    }
    if (directory)
        closedir(directory);
    rmdir(path);
}

bool test_deployment_make(struct test_deployment *t, const char *path, const char *deployment,
                          struct err *err)
{
    *t = (struct test_deployment){.path = path};
    return make_directory(t, err) && load_config(t, path, deployment, err) && link_scripts(t, path, err);
}

void test_deployment_share_state(struct test_deployment *t)
{
    free(t->config->host.state);
    t->config->host.state = mem_string("dynamodb:" TEST_STATE_TABLE);
}

void test_deployment_fini(struct test_deployment *t)
{
    config_release(t->config);
    if (t->directory)
        remove_tree(t->directory);
    free(t->directory);
    free(t->deployed);
    *t = (struct test_deployment){0};
}
