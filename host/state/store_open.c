/* store_open.c: see store_open.h. */
#include "state/store_open.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "state/dynamodb/store_dynamodb.h"
#include "state/sqlite/store_sqlite.h"

static const struct store_kind *const kinds[] = {&store_sqlite_kind, &store_dynamodb_kind};
const struct store_place *const store_places[] = {&store_sqlite_kind.place, &store_dynamodb_kind.place, NULL};

char *store_in_file(const char *path)
{
    return mem_printf("%s:%s", store_sqlite_kind.place.scheme, path);
}

const char *store_place_of(const char *uri)
{
    const char *colon = strchr(uri, ':');
    return colon ? colon + 1 : uri;
}

static const struct store_kind *kind_of(const char *uri, struct err *err)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        const char *scheme = kinds[i]->place.scheme;
        size_t size = strlen(scheme);
        if (strncmp(uri, scheme, size) == 0 && uri[size] == ':')
            return kinds[i];
    }
    err_set(err, ERR_CONFIG, "state: there is no store for \"%s\"", uri);
    return NULL;
}

bool store_check(const char *uri, struct err *err)
{
    const struct store_kind *kind = kind_of(uri, err);
    return kind && (*store_place_of(uri) ||
                    err_set(err, ERR_CONFIG, "\"%s\" names no place: %s", uri, kind->place.form));
}

bool store_is_shared(const char *uri)
{
    const struct store_kind *kind = kind_of(uri, NULL);
    return kind && kind->shared;
}

const char *const *store_actions(const char *uri, bool making)
{
    const struct store_kind *kind = kind_of(uri, NULL);
    return !kind ? NULL : making ? kind->making : kind->actions;
}

const char *store_file(const char *uri)
{
    struct err err;
    const struct store_kind *kind = kind_of(uri, &err);
    return kind && kind->place.is_path ? store_place_of(uri) : NULL;
}

bool store_backup(const char *uri, const char *file, struct err *err)
{
    const struct store_kind *kind = kind_of(uri, err);
    if (!kind)
        return false;
    if (!kind->backup)
        return err_set(
            err, ERR_CONFIG,
            "%s is no file: its back-ups are the service's (point-in-time recovery); or, while no host runs, "
            "tidemill state copy %s sqlite:FILE",
            uri, uri);
    return kind->backup(store_place_of(uri), file, err);
}

char *store_directory(const char *uri)
{
    struct err err;
    const struct store_kind *kind = kind_of(uri, &err);
    if (!kind || !kind->place.is_path)
        return NULL;
    const char *path = store_place_of(uri), *slash = strrchr(path, '/');
    return slash == path ? mem_string("/") : slash ? mem_copy(path, (size_t)(slash - path)) : mem_string(".");
}

struct store *store_open(struct reactor *reactor, const char *uri, const struct store_options *options,
                         struct err *err)
{
    /* What is kept nowhere is kept in memory, wherever the state is. */
    const struct store_kind *kind = options->passing ? &store_sqlite_kind : kind_of(uri, err);
    return kind ? kind->open(reactor, store_place_of(uri), options, err) : NULL;
}

struct store_copy *store_copy_begin(struct reactor *reactor, const char *uri,
                                    const struct store_options *options, const char *from, struct err *err)
{
    const struct store_kind *kind = kind_of(uri, err);
    return kind ? kind->copy->begin(kind, reactor, store_place_of(uri), options, from, err) : NULL;
}

bool store_copy_end(struct store_copy *copy, bool whole, struct err *err)
{
    return copy->ops->end(copy, whole, err);
}

struct store_lock *store_lock(const char *uri, struct err *err)
{
    const struct store_kind *kind = kind_of(uri, err);
    struct store_lock *lock = kind ? kind->lock(store_place_of(uri), err) : NULL;
    CHECK(!lock || lock->kind == kind);
    return lock;
}

void store_unlock(struct store_lock *lock)
{
    if (lock)
        lock->kind->unlock(lock);
}

bool store_in_use(const char *uri)
{
    const struct store_kind *kind = kind_of(uri, NULL);
    return kind && kind->in_use(store_place_of(uri));
}
