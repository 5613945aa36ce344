/* reactor.c: a heap of timers, a list of tasks, a locked list of posts; a few descriptors that are polled,
 * and all others in one epoll(7), which is polled with them: a turn costs the same with ten as with a
 * thousand. */
#include "net/reactor.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

#define WAIT_MS_MAX 60000
#define UNTIL_MS 2
#define POLLED_FEW 16 /* descriptors, for which one call of the kernel is enough */

struct post {
    struct post *next;
    reactor_fn *drop;
    reactor_fn *fn;
    void *user;
};

struct watch {
    struct list link;
    struct list change; /* among those that epoll is to be told of, or among those that are gone */
    struct reactor *reactor;
    int fd;
    short events, told; /* what is wanted, and what epoll knows */
    enum { WATCH_NEW, WATCH_KNOWN, WATCH_POLLED } state;
    size_t at;       /* of a polled one: among the descriptors + 1; 0: it came since */
    uint32_t number; /* of a known one: its place among them */
    bool gone;       /* freed while callbacks run */
    reactor_fn *fn;
    void *user;
};

struct reactor {
    struct clock *clock;
    struct poller *poller;
    struct poller plain;
    int wake_fd; /* of the plain poller */
    int64_t now_ms, waited_ms;

    struct timer **heap; /* earliest first */
    size_t heap_count, heap_capacity;
    struct list at_once; /* timers */
    struct list tasks;
    struct list watches;
    struct pollfd *fds;
    size_t fds_capacity;
    bool watches_running;

    int64_t step_began_us, longest_ms;
    int64_t seen_us; /* the clock, when it was looked at last */
    bool step_over;  /* that was the end of the running step */
    const char *label;
    reactor_step_fn *on_step;
    void *on_step_user;

    struct list polled; /* a few, and those that epoll does not take: of files, which are always ready */
    struct list changed, gone;
    size_t polled_count;
    int epoll_fd;
    bool epoll_waits;     /* it is the first of the descriptors */
    struct watch **known; /* by their numbers; NULL: nobody has that */
    size_t known_capacity, known_count;
    struct epoll_event *events; /* as many */

    pthread_t *ending; /* threads that are to be joined */
    size_t ending_count, ending_capacity;

    pthread_mutex_t lock; /* over the posts */
    struct post *posts, **posts_end;
    atomic_bool stopping;
};

/* ---- steps ---- */

#define STEP_MS_TOLD 100

void reactor_label(struct reactor *reactor, const char *what)
{
    reactor->label = what;
}

void reactor_watch_steps(struct reactor *reactor, reactor_step_fn *fn, void *user)
{
    reactor->on_step = fn;
    reactor->on_step_user = user;
}

static int64_t look(struct reactor *reactor)
{
    reactor->seen_us = clock_monotonic_us(reactor->clock);
    return reactor->seen_us / 1000;
}

static void begin_step(struct reactor *reactor)
{
    reactor->label = NULL;
    reactor->step_over = false;
    reactor->step_began_us = reactor->seen_us;
}

void reactor_step_begin(struct reactor *reactor)
{
    look(reactor);
    begin_step(reactor);
}

int64_t reactor_step_us(const struct reactor *reactor)
{
    return reactor->step_began_us;
}

void reactor_step_over(struct reactor *reactor, int64_t now_us)
{
    reactor->seen_us = now_us;
    reactor->step_over = true;
}

void reactor_step_end(struct reactor *reactor)
{
    if (!reactor->step_over)
        look(reactor);
    int64_t ms = (reactor->seen_us - reactor->step_began_us) / 1000;
    if (ms <= reactor->longest_ms && ms < STEP_MS_TOLD)
        return;
    if (ms > reactor->longest_ms)
        reactor->longest_ms = ms;
    if (reactor->on_step)
        reactor->on_step(reactor->on_step_user, ms, reactor->label ? reactor->label : "the host itself");
}

/* One begins where the one before has ended, or the waiting. */
static void run_step(struct reactor *reactor, reactor_fn *fn, void *user)
{
    begin_step(reactor);
    fn(user);
    reactor_step_end(reactor);
}

/* All that is in the list by now; what is added to it meanwhile is not seen. */
static void take_all(struct list *from, struct list *batch)
{
    list_init(batch);
    if (list_empty(from))
        return;
    *batch = *from;
    batch->next->prev = batch->prev->next = batch;
    list_init(from);
}

/* ---- timers: a binary heap by due time, and those that are due at once ---- */

#define AT_ONCE SIZE_MAX

static bool earlier(const struct timer *a, const struct timer *b)
{
    return a->due_ms < b->due_ms;
}

static void place(struct reactor *reactor, struct timer *timer, size_t index)
{
    CHECK(index < reactor->heap_count);
    reactor->heap[index] = timer;
    timer->at = index + 1;
}

static void sift_up(struct reactor *reactor, size_t index)
{
    struct timer *timer = reactor->heap[index];
    while (index > 0 && earlier(timer, reactor->heap[(index - 1) / 2])) {
        place(reactor, reactor->heap[(index - 1) / 2], index);
        index = (index - 1) / 2;
    }
    place(reactor, timer, index);
}

static void sift_down(struct reactor *reactor, size_t index)
{
    struct timer *timer = reactor->heap[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= reactor->heap_count)
            break;
        if (child + 1 < reactor->heap_count && earlier(reactor->heap[child + 1], reactor->heap[child]))
            child++;
        if (!earlier(reactor->heap[child], timer))
            break;
        place(reactor, reactor->heap[child], index);
        index = child;
    }
    place(reactor, timer, index);
}

void timer_init(struct timer *timer, reactor_fn *fn, void *user)
{
    *timer = (struct timer){.fn = fn, .user = user};
}

void timer_stop(struct reactor *reactor, struct timer *timer)
{
    if (!timer->at)
        return;
    if (timer->at == AT_ONCE) {
        list_remove(&timer->link);
        timer->at = 0;
        return;
    }
    size_t index = timer->at - 1;
    CHECK(index < reactor->heap_count && reactor->heap[index] == timer);
    timer->at = 0;
    struct timer *last = reactor->heap[reactor->heap_count - 1];
    CHECK(last == timer || last->at == reactor->heap_count);
    reactor->heap_count--;
    if (last == timer)
        return;
    place(reactor, last, index);
    sift_up(reactor, index);
    sift_down(reactor, last->at - 1);
}

void timer_set(struct reactor *reactor, struct timer *timer, int64_t delay_ms)
{
    timer_stop(reactor, timer);
    CHECK(timer->fn && !timer->at);
    if (delay_ms <= 0) {
        list_append(&reactor->at_once, &timer->link);
        timer->at = AT_ONCE;
        return;
    }
    timer->due_ms = clock_monotonic_ms(reactor->clock) + delay_ms;
    mem_grow(&reactor->heap, &reactor->heap_capacity, reactor->heap_count, sizeof *reactor->heap);
    reactor->heap_count++;
    place(reactor, timer, reactor->heap_count - 1);
    sift_up(reactor, timer->at - 1);
}

static void fire(struct reactor *reactor, struct timer *timer)
{
    timer_stop(reactor, timer);
    run_step(reactor, timer->fn, timer->user);
}

static void fire_timers(struct reactor *reactor)
{
    struct list batch;
    take_all(&reactor->at_once, &batch);
    while (reactor->heap_count && reactor->heap[0]->due_ms <= reactor->now_ms) {
        CHECK(reactor->heap[0]->at == 1);
        fire(reactor, reactor->heap[0]);
    }
    while (!list_empty(&batch))
        fire(reactor, list_entry(batch.next, struct timer, link));
}

/* ---- tasks and posts ---- */

void task_init(struct task *task, reactor_fn *fn, void *user)
{
    *task = (struct task){.fn = fn, .user = user};
    list_init(&task->link);
}

void task_defer(struct reactor *reactor, struct task *task)
{
    CHECK(task->fn);
    if (list_empty(&task->link))
        list_append(&reactor->tasks, &task->link);
}

void task_cancel(struct task *task)
{
    list_remove(&task->link);
}

/* Those deferred by now; what they defer waits for the next turn, so that completions get their turn. */
static void run_tasks(struct reactor *reactor)
{
    struct list batch;
    take_all(&reactor->tasks, &batch);
    while (!list_empty(&batch)) {
        struct task *task = list_entry(batch.next, struct task, link);
        list_remove(&task->link);
        run_step(reactor, task->fn, task->user);
    }
}

void reactor_post(struct reactor *reactor, reactor_fn *fn, void *user)
{
    reactor_post_owned(reactor, fn, NULL, user);
}

void reactor_post_owned(struct reactor *reactor, reactor_fn *fn, reactor_fn *drop, void *user)
{
    struct post *post = mem_alloc(sizeof *post);
    CHECK(fn);
    *post = (struct post){.fn = fn, .drop = drop, .user = user};
    pthread_mutex_lock(&reactor->lock);
    *reactor->posts_end = post;
    reactor->posts_end = &post->next;
    struct poller *poller = reactor->poller;
    poller->wake(poller);
    pthread_mutex_unlock(&reactor->lock);
}

static struct post *take_posts(struct reactor *reactor)
{
    pthread_mutex_lock(&reactor->lock);
    struct post *posts = reactor->posts;
    reactor->posts = NULL;
    reactor->posts_end = &reactor->posts;
    pthread_mutex_unlock(&reactor->lock);
    return posts;
}

static void run_posts(struct reactor *reactor)
{
    for (struct post *post = take_posts(reactor), *next; post; post = next) {
        next = post->next;
        run_step(reactor, post->fn, post->user);
        free(post);
    }
}

static bool has_posts(struct reactor *reactor)
{
    pthread_mutex_lock(&reactor->lock);
    bool some = reactor->posts != NULL;
    pthread_mutex_unlock(&reactor->lock);
    return some;
}

/* ---- file descriptors ---- */

struct watch *reactor_watch(struct reactor *reactor, int fd, short events, reactor_fn *fn, void *user)
{
    struct watch *watch = mem_zero(sizeof *watch);
    *watch = (struct watch){.reactor = reactor, .fd = fd, .events = events, .fn = fn, .user = user};
    list_append(&reactor->watches, &watch->link);
    list_append(&reactor->changed, &watch->change);
    return watch;
}

void watch_events(struct watch *watch, short events)
{
    watch->events = events;
    if (watch->state == WATCH_KNOWN && list_empty(&watch->change) && events != watch->told)
        list_append(&watch->reactor->changed, &watch->change);
}

/* At once: whoever frees a watch closes the descriptor next, and its number is another's soon. */
static void forget(struct watch *watch)
{
    struct reactor *reactor = watch->reactor;
    list_remove(&watch->change);
    if (watch->state == WATCH_KNOWN) {
        epoll_ctl(reactor->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL); /* it may be closed already */
        CHECK(reactor->known[watch->number] == watch);
        reactor->known[watch->number] = NULL;
        reactor->known_count--;
    } else if (watch->state == WATCH_POLLED) {
        reactor->polled_count--;
    }
    watch->state = WATCH_NEW;
}

void watch_free(struct watch *watch)
{
    if (!watch)
        return;
    CHECK(!watch->gone);
    forget(watch);
    if (watch->reactor->watches_running) { /* which frees it, and may be at its place in a list */
        watch->gone = true;
        list_append(&watch->reactor->gone, &watch->change);
        return;
    }
    list_remove(&watch->link);
    free(watch);
}

static uint32_t free_number(struct reactor *reactor)
{
    size_t number = reactor->known_count; /* nearly always */
    if (reactor->known_count == reactor->known_capacity) {
        reactor->known_capacity += reactor->known_capacity + 8;
        reactor->known = mem_resize(reactor->known, reactor->known_capacity * sizeof *reactor->known);
        reactor->events = mem_resize(reactor->events, reactor->known_capacity * sizeof *reactor->events);
        for (size_t i = reactor->known_count; i < reactor->known_capacity; i++)
            reactor->known[i] = NULL;
    }
    while (reactor->known[number])
        number = number + 1 < reactor->known_capacity ? number + 1 : 0;
    return (uint32_t)number;
}

/* Tell epoll what is wanted, of what is not polled. */
static void tell(struct watch *watch)
{
    struct reactor *reactor = watch->reactor;
    struct epoll_event event = {.events = (uint32_t)watch->events};
    list_remove(&watch->change);
    if (watch->state == WATCH_KNOWN) {
        if (watch->told == watch->events)
            return;
        event.data.u32 = watch->number;
        watch->told = watch->events;
        if (epoll_ctl(reactor->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) == 0)
            return;
        forget(watch);
    }
    event.data.u32 = free_number(reactor);
    if (reactor->polled_count >= POLLED_FEW &&
        epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) == 0) {
        watch->state = WATCH_KNOWN;
        watch->told = watch->events;
        watch->number = event.data.u32;
        reactor->known[watch->number] = watch;
        reactor->known_count++;
        return;
    }
    watch->state = WATCH_POLLED;
    watch->at = 0;
    reactor->polled_count++;
    list_remove(&watch->link);
    list_append(&reactor->polled, &watch->link);
}

static void run_watch(struct reactor *reactor, struct watch *watch)
{
    if (watch && !watch->gone)
        run_step(reactor, watch->fn, watch->user);
}

/* Those that were waited for; completions within the poller may have freed some of them, and made others. A
 * number may be another's by now only where its watch came since, which epoll does not know yet. */
static void run_watches(struct reactor *reactor)
{
    struct watch *watch;
    int ready = 0;
    CHECK(reactor->watches_running);
    if (reactor->epoll_waits && reactor->fds[0].revents)
        ready = epoll_wait(reactor->epoll_fd, reactor->events, (int)reactor->known_capacity, 0);
    for (int i = 0; i < ready; i++)
        run_watch(reactor, reactor->known[reactor->events[i].data.u32]);
    list_each(watch, &reactor->polled, struct watch, link)
        if (watch->at && reactor->fds[watch->at - 1].revents)
            run_watch(reactor, watch);
    reactor->watches_running = false;
    while (!list_empty(&reactor->gone)) {
        watch = list_entry(reactor->gone.next, struct watch, change);
        list_remove(&watch->change);
        list_remove(&watch->link);
        free(watch);
    }
}

static size_t fill_fds(struct reactor *reactor)
{
    size_t count = 0;
    struct watch *watch;
    CHECK(!reactor->watches_running);
    while (!list_empty(&reactor->changed))
        tell(list_entry(reactor->changed.next, struct watch, change));
    if (reactor->fds_capacity < reactor->polled_count + 1) {
        reactor->fds_capacity = reactor->polled_count + 8;
        reactor->fds = mem_resize(reactor->fds, reactor->fds_capacity * sizeof *reactor->fds);
    }
    reactor->epoll_waits = reactor->known_count > 0;
    if (reactor->epoll_waits)
        reactor->fds[count++] = (struct pollfd){.fd = reactor->epoll_fd, .events = POLLIN};
    list_each(watch, &reactor->polled, struct watch, link) {
        reactor->fds[count++] = (struct pollfd){.fd = watch->fd, .events = watch->events};
        watch->at = count;
    }
    reactor->watches_running = true;
    return count;
}

/* ---- the plain poller ---- */

static void plain_wait(struct poller *poller, struct pollfd *fds, size_t count, int64_t timeout_ms)
{
    struct reactor *reactor = list_entry(poller, struct reactor, plain);
    struct pollfd *all = mem_alloc((count + 1) * sizeof *all);
    for (size_t i = 0; i < count; i++)
        all[i] = fds[i];
    all[count] = (struct pollfd){.fd = reactor->wake_fd, .events = POLLIN};
    poll(all, (nfds_t)count + 1, (int)timeout_ms);
    for (size_t i = 0; i < count; i++)
        fds[i].revents = all[i].revents;
    uint64_t wakes;
    if (all[count].revents && read(reactor->wake_fd, &wakes, sizeof wakes) < 0)
        wakes = 0; /* another wake is on its way */
    free(all);
}

static void plain_wake(struct poller *poller)
{
    struct reactor *reactor = list_entry(poller, struct reactor, plain);
    uint64_t one = 1;
    if (write(reactor->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full: a wake is pending */
}

/* ---- the loop ---- */

struct reactor *reactor_new(struct clock *clock)
{
    struct reactor *reactor = mem_zero(sizeof *reactor);
    reactor->clock = clock;
    reactor->plain = (struct poller){.wait = plain_wait, .wake = plain_wake};
    reactor->poller = &reactor->plain;
    reactor->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    reactor->posts_end = &reactor->posts;
    reactor->now_ms = clock_monotonic_ms(clock);
    list_init(&reactor->at_once);
    list_init(&reactor->tasks);
    list_init(&reactor->watches);
    list_init(&reactor->changed);
    list_init(&reactor->polled);
    list_init(&reactor->gone);
    reactor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    pthread_mutex_init(&reactor->lock, NULL);
    return reactor;
}

/* ---- threads of others ---- */

#define JOIN_SECONDS_MAX 10

void reactor_join_later(struct reactor *reactor, pthread_t thread)
{
    size_t kept = 0;
    for (size_t i = 0; i < reactor->ending_count; i++) /* those that have ended meanwhile */
        if (pthread_tryjoin_np(reactor->ending[i], NULL) != 0)
            reactor->ending[kept++] = reactor->ending[i];
    reactor->ending_count = kept;
    mem_grow(&reactor->ending, &reactor->ending_capacity, kept, sizeof *reactor->ending);
    reactor->ending[reactor->ending_count++] = thread;
}

/* One that hangs is left alone: it uses nothing of the reactor's any more. */
static void join_all(struct reactor *reactor)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOIN_SECONDS_MAX;
    for (size_t i = 0; i < reactor->ending_count; i++)
        if (pthread_timedjoin_np(reactor->ending[i], NULL, &until) != 0)
            pthread_detach(reactor->ending[i]);
    free(reactor->ending);
}

void reactor_free(struct reactor *reactor)
{
    struct watch *watch;
    if (!reactor)
        return;
    join_all(reactor);
    list_each(watch, &reactor->watches, struct watch, link)
        watch_free(watch);
    list_each(watch, &reactor->polled, struct watch, link)
        watch_free(watch);
    for (struct post *post = take_posts(reactor), *next; post; post = next) {
        next = post->next;
        if (post->drop)
            post->drop(post->user);
        free(post);
    }
    close(reactor->wake_fd);
    close(reactor->epoll_fd);
    free(reactor->known);
    free(reactor->events);
    pthread_mutex_destroy(&reactor->lock);
    free(reactor->heap);
    free(reactor->fds);
    free(reactor);
}

void reactor_set_poller(struct reactor *reactor, struct poller *poller)
{
    pthread_mutex_lock(&reactor->lock);
    reactor->poller = poller ? poller : &reactor->plain;
    pthread_mutex_unlock(&reactor->lock);
}

struct clock *reactor_clock(const struct reactor *reactor)
{
    return reactor->clock;
}

int64_t reactor_now_ms(const struct reactor *reactor)
{
    return reactor->now_ms;
}

int64_t reactor_waited_ms(const struct reactor *reactor)
{
    return reactor->waited_ms;
}

/* How long nothing is to be done from `now_ms` on. */
static int64_t wait_time(struct reactor *reactor, int64_t now_ms, int64_t wait_max_ms)
{
    if (!list_empty(&reactor->tasks) || !list_empty(&reactor->at_once) || has_posts(reactor) ||
        atomic_load(&reactor->stopping))
        return 0;
    int64_t wait = wait_max_ms < WAIT_MS_MAX ? wait_max_ms : WAIT_MS_MAX;
    if (reactor->heap_count) {
        int64_t until = reactor->heap[0]->due_ms - now_ms;
        wait = until < wait ? until : wait;
    }
    return wait > 0 ? wait : 0;
}

void reactor_turn(struct reactor *reactor, int64_t wait_max_ms)
{
    reactor->now_ms = look(reactor);
    run_posts(reactor);
    fire_timers(reactor);
    run_tasks(reactor);
    size_t count = fill_fds(reactor);
    int64_t begun_ms = look(reactor), wait_ms = wait_time(reactor, begun_ms, wait_max_ms);
    reactor->poller->wait(reactor->poller, reactor->fds, count, wait_ms);
    reactor->now_ms = look(reactor);
    if (wait_ms)
        reactor->waited_ms += reactor->now_ms - begun_ms;
    run_watches(reactor);
}

void reactor_turn_until(struct reactor *reactor, const bool *done)
{
    while (!*done)
        reactor_turn(reactor, UNTIL_MS); /* it may be done before the turn waits */
}

void reactor_run(struct reactor *reactor)
{
    while (!atomic_load(&reactor->stopping))
        reactor_turn(reactor, WAIT_MS_MAX);
    atomic_store(&reactor->stopping, false);
}

void reactor_stop(struct reactor *reactor)
{
    atomic_store(&reactor->stopping, true);
    pthread_mutex_lock(&reactor->lock);
    reactor->poller->wake(reactor->poller);
    pthread_mutex_unlock(&reactor->lock);
}
