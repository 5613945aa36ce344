/* reactor.h: one thread, one event loop.
 *
 * A reactor runs timers, tasks and file descriptor callbacks one after the other on the thread that turns
 * it; only reactor_post and reactor_stop may be called from elsewhere. How it waits is the poller's
 * business: libcurl's poll in the program, a jump of the virtual clock in a simulation. */
#ifndef TIDEMILL_NET_REACTOR_H
#define TIDEMILL_NET_REACTOR_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/list.h"

struct reactor;

typedef void reactor_fn(void *user);

/* Wait until something happens on `fds` or on what the poller itself looks after, until woken, or until
 * `timeout_ms` passed; then handle the poller's own completions and leave revents in `fds`. */
struct poller {
    void (*wait)(struct poller *poller, struct pollfd *fds, size_t count, int64_t timeout_ms);
    void (*wake)(struct poller *poller); /* from any thread */
};

struct reactor *reactor_new(struct clock *clock);
void reactor_free(struct reactor *reactor);

/* A plain poll(2) until one is set; the poller must outlive the reactor's last turn. NULL: back to that. */
void reactor_set_poller(struct reactor *reactor, struct poller *poller);

struct clock *reactor_clock(const struct reactor *reactor);
int64_t reactor_now_ms(const struct reactor *reactor);  /* monotonic, as of the start of this turn */
int64_t reactor_step_us(const struct reactor *reactor); /* likewise, when the running step began */

/* The running step does nothing more, and its end is now: whoever has just looked spares another look. */
void reactor_step_over(struct reactor *reactor, int64_t now_us);

/* How long it has had nothing to do, ever since: of a time to its beginning, the share that was left over. */
int64_t reactor_waited_ms(const struct reactor *reactor);

/* One turn: what was posted, timers that are due, tasks, then wait. `wait_max_ms` bounds the waiting. */
void reactor_turn(struct reactor *reactor, int64_t wait_max_ms);

/* For those that can do nothing before it is done. */
void reactor_turn_until(struct reactor *reactor, const bool *done);

/* Turns until reactor_stop. */
void reactor_run(struct reactor *reactor);
void reactor_stop(struct reactor *reactor); /* from any thread */

/* Run `fn` on the reactor's thread; from any thread. Order per calling thread is kept. */
void reactor_post(struct reactor *reactor, reactor_fn *fn, void *user);

/* The same; where the reactor is freed first, `drop` gets `user` instead. */
void reactor_post_owned(struct reactor *reactor, reactor_fn *fn, reactor_fn *drop, void *user);

/* The thread is about to end, and nobody on the reactor waits for it; reactor_free does, ten seconds at most.
 */
void reactor_join_later(struct reactor *reactor, pthread_t thread);

/* Whoever does work that may take long says what it is, until the step ends; must stay until then. */
void reactor_label(struct reactor *reactor, const char *what);

/* Tell of each step (a callback: a timer, a task, a completion) that took longer than the longest so far, or
 * longer than 100 ms: nothing else ran on the thread meanwhile. */
typedef void reactor_step_fn(void *user, int64_t ms, const char *what);
void reactor_watch_steps(struct reactor *reactor, reactor_step_fn *fn, void *user);

/* For what calls back from a poller: the step begins, and ends. */
void reactor_step_begin(struct reactor *reactor);
void reactor_step_end(struct reactor *reactor);

/* A timer is a value inside its owner: zero it, timer_init, and stop it before the owner goes. */
struct timer {
    reactor_fn *fn;
    void *user;
    int64_t due_ms;
    size_t at;        /* place in the heap + 1; 0: not set; SIZE_MAX: */
    struct list link; /* it is due at once */
};

void timer_init(struct timer *timer, reactor_fn *fn, void *user);

/* Moves one that is set. At once (0, or less) is in the next turn: what sets itself again and again leaves
 * everybody else theirs. */
void timer_set(struct reactor *reactor, struct timer *timer, int64_t delay_ms);
void timer_stop(struct reactor *reactor, struct timer *timer);
static inline bool timer_is_set(const struct timer *timer)
{
    return timer->at != 0;
}

/* A task runs once, soon, from the top of the stack. It lives inside its owner, as a timer does. */
struct task {
    struct list link;
    reactor_fn *fn;
    void *user;
};

void task_init(struct task *task, reactor_fn *fn, void *user);
void task_defer(struct reactor *reactor, struct task *task); /* nothing when it waits already */
void task_cancel(struct task *task);

/* Call `fn` whenever `fd` is ready for `events` (POLLIN ...). The watch is freed before the descriptor is
 * closed: with the number of one that is closed another's watch may end. */
struct watch;
struct watch *reactor_watch(struct reactor *reactor, int fd, short events, reactor_fn *fn, void *user);
void watch_events(struct watch *watch, short events); /* from now on it is these */
void watch_free(struct watch *watch);

#endif
