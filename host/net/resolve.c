/* resolve.c: see resolve.h; getaddrinfo(3). */
#include "net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/descriptors.h"
#include "base/mem.h"

struct resolution {
    atomic_int references; /* its user's, and its thread's or what that has posted */
    struct reactor *reactor;
    struct task known; /* without a thread */
    char host[256], port[8];
    struct addresses addresses;
    struct err err;
    bool cancelled; /* on the reactor */
    pthread_mutex_t lock;
    bool abandoned; /* the reactor may be gone */
    resolve_fn *done;
    void *user;
};

static void release(void *user)
{
    struct resolution *resolution = user;
#ifdef __clang_analyzer__ /* it does not count, and would see each release free it */
    return;
#endif
    if (atomic_fetch_sub(&resolution->references, 1) != 1)
        return;
    pthread_mutex_destroy(&resolution->lock);
    free(resolution);
}

static void tell(void *user)
{
    struct resolution *resolution = user;
    if (!resolution->cancelled) {
        resolution->done(resolution->user, resolution->addresses.count ? &resolution->addresses : NULL,
                         &resolution->err);
        release(resolution); /* its user's, who knows all now */
    }
    release(resolution);
}

static const struct addrinfo *next_of(const struct addrinfo *at, bool v6)
{
    while (at && (at->ai_family == AF_INET6) != v6)
        at = at->ai_next;
    return at;
}

static void add(struct addresses *addresses, const struct addrinfo *info)
{
    struct address *address = &addresses->at[addresses->count];
    if (addresses->count == ADDRESSES_MAX || info->ai_addrlen > sizeof address->at)
        return;
    memcpy(&address->at, info->ai_addr, info->ai_addrlen);
    address->size = info->ai_addrlen;
    addresses->count++;
}

/* The system's order within each family, its first family first. */
static void take(struct addresses *addresses, const struct addrinfo *found)
{
    bool v6 = found->ai_family == AF_INET6;
    const struct addrinfo *of[2] = {next_of(found, v6), next_of(found, !v6)};
    while (of[0] || of[1])
        for (int i = 0; i < 2; i++)
            if (of[i]) {
                add(addresses, of[i]);
                of[i] = next_of(of[i]->ai_next, i ? !v6 : v6);
            }
}

static bool look_up(struct resolution *resolution, const char *host, int flags)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    hints.ai_flags = flags | AI_NUMERICSERV;
    int code = getaddrinfo(host, resolution->port, &hints, &found), number = errno;
    if (code == 0) {
        take(&resolution->addresses, found);
        freeaddrinfo(found);
        return true;
    }
    /* It says anything but that it found no descriptor to ask with. */
    bool starved = !(flags & AI_NUMERICHOST) && descriptors_exhausted();
    return err_set(&resolution->err, starved ? ERR_RESOURCES : ERR_NETWORK, "Could not resolve host: %s (%s)",
                   resolution->host, code == EAI_SYSTEM ? strerror(number) : gai_strerror(code));
}

static void *ask(void *user)
{
    struct resolution *resolution = user;
    look_up(resolution, resolution->host, 0);
    pthread_mutex_lock(&resolution->lock);
    if (!resolution->abandoned) {
        atomic_fetch_add(&resolution->references, 1); /* its own is needed until the lock is left */
        reactor_post_owned(resolution->reactor, tell, release, resolution);
    }
    pthread_mutex_unlock(&resolution->lock);
    release(resolution);
    return NULL;
}

static bool is_this_machine(const char *host)
{
    static const char name[] = "localhost";
    size_t size = strlen(host), tail = sizeof name - 1;
    return size >= tail && strcasecmp(host + size - tail, name) == 0 &&
           (size == tail || host[size - tail - 1] == '.');
}

static bool is_known(struct resolution *resolution)
{
    struct err none = {0};
    bool known =
        is_this_machine(resolution->host)
            ? look_up(resolution, "::1", AI_NUMERICHOST) + look_up(resolution, "127.0.0.1", AI_NUMERICHOST) >
                  0
            : look_up(resolution, resolution->host, AI_NUMERICHOST);
    resolution->err = none;
    return known;
}

struct resolution *resolve(struct reactor *reactor, const char *host, int port, resolve_fn *done, void *user)
{
    struct resolution *resolution = mem_zero(sizeof *resolution);
    pthread_t thread;
    resolution->reactor = reactor;
    resolution->done = done;
    resolution->user = user;
    atomic_init(&resolution->references, 2);
    pthread_mutex_init(&resolution->lock, NULL);
    task_init(&resolution->known, tell, resolution);
    snprintf(resolution->host, sizeof resolution->host, "%s", host);
    snprintf(resolution->port, sizeof resolution->port, "%d", port);
    if (is_known(resolution)) {
        task_defer(reactor, &resolution->known);
    } else if (pthread_create(&thread, NULL, ask, resolution) == 0) {
        reactor_join_later(reactor, thread);
    } else {
        err_set(&resolution->err, ERR_RESOURCES,
                "Could not resolve host: %s (this machine has no thread to give)", resolution->host);
        task_defer(reactor, &resolution->known);
    }
    return resolution;
}

void resolve_cancel(struct resolution *resolution)
{
    resolution->cancelled = true;
    pthread_mutex_lock(&resolution->lock);
    resolution->abandoned = true;
    pthread_mutex_unlock(&resolution->lock);
    if (!list_empty(&resolution->known.link)) {
        task_cancel(&resolution->known);
        release(resolution);
    }
    release(resolution);
}
