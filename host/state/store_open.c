/* store_open.c: see store_open.h. */
#include "state/store_open.h"

#include <string.h>

#include "base/check.h"
#include "state/sqlite/store_sqlite.h"

static const struct store_kind *const kinds[] = {&store_sqlite_kind};

/* What stands behind the scheme. */
static const char *place_of(const char *uri)
{
    const char *colon = strchr(uri, ':');
    return colon ? colon + 1 : uri;
}

static const struct store_kind *kind_of(const char *uri, struct err *err)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        size_t size = strlen(kinds[i]->scheme);
        if (strncmp(uri, kinds[i]->scheme, size) == 0 && uri[size] == ':')
            return kinds[i];
    }
    err_set(err, ERR_CONFIG, "state: there is no store for \"%s\"", uri);
    return NULL;
}

struct store *store_open(struct reactor *reactor, const char *uri, const struct store_options *options,
                         struct err *err)
{
    const struct store_kind *kind = kind_of(uri, err);
    return kind ? kind->open(reactor, place_of(uri), options, err) : NULL;
}

struct store_lock *store_lock(const char *uri, struct err *err)
{
    const struct store_kind *kind = kind_of(uri, err);
    struct store_lock *lock = kind ? kind->lock(place_of(uri), err) : NULL;
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
    return kind && kind->in_use(place_of(uri));
}
