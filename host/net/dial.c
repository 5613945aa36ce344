/* dial.c: see dial.h. */
#include "net/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/mem.h"

#define NEXT_AFTER_MS 250
#define KEEPALIVE_S 60

struct attempt {
    struct dial *dial;
    int fd; /* -1: not under way */
    struct watch *watch;
};

struct dial {
    struct reactor *reactor;
    struct dial_options options;
    size_t next, running;
    struct attempt attempts[ADDRESSES_MAX];
    struct timer hurry;
    struct task start;
    int problem;
    dial_fn *done;
    void *user;
};

static void end_attempt(struct attempt *attempt)
{
    watch_free(attempt->watch);
    attempt->watch = NULL;
    if (attempt->fd >= 0) {
        close(attempt->fd);
        attempt->dial->running--;
    }
    attempt->fd = -1;
}

void dial_cancel(struct dial *dial)
{
    for (size_t i = 0; i < dial->next; i++)
        end_attempt(&dial->attempts[i]);
    timer_stop(dial->reactor, &dial->hurry);
    task_cancel(&dial->start);
    free(dial);
}

static void finish(struct dial *dial, int fd, const struct address *address)
{
    dial_fn *done = dial->done;
    void *user = dial->user;
    int problem = dial->problem;
    struct address taken = {0};
    if (address)
        taken = *address;
    dial_cancel(dial);
    done(user, fd, &taken, problem);
}

static void try_next(struct dial *dial);

static void on_ready(void *user)
{
    struct attempt *attempt = user;
    struct dial *dial = attempt->dial;
    int problem = 0, fd = attempt->fd;
    socklen_t size = sizeof problem;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) != 0)
        problem = errno;
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof peer;
    if (!problem && getpeername(fd, (struct sockaddr *)&peer, &peer_size) != 0 && errno == ENOTCONN)
        return; /* woken for nothing */
    if (!problem) {
        attempt->fd = -1;
        dial->running--;
        finish(dial, fd, &dial->options.addresses.at[attempt - dial->attempts]);
        return;
    }
    dial->problem = problem;
    end_attempt(attempt);
    try_next(dial);
}

/* Where one of these cannot be set the connection is as usual. */
static void set_options(const struct dial *dial, int fd)
{
    int yes = 1, idle_s = KEEPALIVE_S;
    unsigned patience_ms = (unsigned)dial->options.abrupt_ms;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof idle_s);
    if (!patience_ms)
        return;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
}

/* An errno; 0: it is under way, or has been taken at once. */
static int begin(struct dial *dial, struct attempt *attempt, const struct address *address)
{
    attempt->dial = dial;
    attempt->fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (attempt->fd < 0)
        return errno;
    dial->running++;
    set_options(dial, attempt->fd);
    if (connect(attempt->fd, (const struct sockaddr *)&address->at, address->size) != 0 &&
        errno != EINPROGRESS && errno != EINTR) {
        int problem = errno;
        end_attempt(attempt);
        return problem;
    }
    attempt->watch = reactor_watch(dial->reactor, attempt->fd, POLLOUT, on_ready, attempt);
    return 0;
}

static void try_next(struct dial *dial)
{
    while (dial->next < dial->options.addresses.count) {
        size_t number = dial->next++;
        int problem = begin(dial, &dial->attempts[number], &dial->options.addresses.at[number]);
        if (!problem) {
            if (dial->next < dial->options.addresses.count)
                timer_set(dial->reactor, &dial->hurry, NEXT_AFTER_MS);
            return;
        }
        dial->problem = problem;
        if (descriptors_lack(problem))
            break; /* nor for another address */
    }
    if (!dial->running)
        finish(dial, -1, NULL);
}

static void on_time(void *user)
{
    try_next(user);
}

struct dial *dial(struct reactor *reactor, const struct dial_options *options, dial_fn *done, void *user)
{
    struct dial *made = mem_zero(sizeof *made);
    made->reactor = reactor;
    made->options = *options;
    made->problem = EADDRNOTAVAIL;
    made->done = done;
    made->user = user;
    timer_init(&made->hurry, on_time, made);
    task_init(&made->start, on_time, made);
    task_defer(reactor, &made->start);
    return made;
}
