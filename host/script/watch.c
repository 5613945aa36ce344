/* watch.c: see watch.h. */
#include "script/watch.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"

#define SIGNAL SIGURG /* ignored unless somebody asks for it, and nobody else here does */
#define LOOK_MS 5
#define IDLE_LOOKS 50 /* without a script that ran: then it rests until one runs */

/* A thread that runs scripts. */
struct seat {
    struct list link;
    pthread_t thread;
    atomic_uint turn;   /* odd while a script runs; another number for each */
    unsigned seen;      /* the watcher's: what it saw when it looked last */
    lua_State *running; /* the seat's thread's, its signal handler included */
    lua_Hook hook;
};

static struct list seats = {&seats, &seats};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static sem_t wake;
static atomic_bool rests;
static _Thread_local struct seat *own;

/* The next instruction or call, whatever it is: a C function may call others and no instruction between. */
static void on_signal(int number)
{
    (void)number;
    if (own && own->running)
        lua_sethook(own->running, own->hook, LUA_MASKCOUNT | LUA_MASKCALL, 1);
}

/* False: nothing ran since it looked last. */
static bool look(void)
{
    struct seat *seat;
    bool any = false;
    pthread_mutex_lock(&mutex);
    list_each(seat, &seats, struct seat, link) {
        unsigned turn = atomic_load(&seat->turn);
        any = any || turn != seat->seen || turn % 2;
        if (turn % 2 && turn == seat->seen)
            pthread_kill(seat->thread, SIGNAL);
        seat->seen = turn;
    }
    pthread_mutex_unlock(&mutex);
    return any;
}

static void *run(void *unused)
{
    int idle = 0;
    (void)unused;
    for (;;) {
        struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
        nanosleep(&pause, NULL);
        idle = look() ? 0 : idle + 1;
        if (idle < IDLE_LOOKS)
            continue;
        atomic_store(&rests, true);
        if (!look()) /* since then each turn wakes it */
            while (sem_wait(&wake) != 0)
                ;
        atomic_store(&rests, false);
        idle = 0;
    }
    return NULL;
}

static void leave(void *user)
{
    struct seat *seat = user;
    own = NULL;
    pthread_mutex_lock(&mutex);
    list_remove(&seat->link);
    pthread_mutex_unlock(&mutex);
    free(seat);
}

static void start(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    CHECK(sigaction(SIGNAL, &action, NULL) == 0);
    CHECK(pthread_key_create(&key, leave) == 0);
    CHECK(sem_init(&wake, 0, 0) == 0);
    CHECK(pthread_attr_init(&attributes) == 0);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the others */
    int code = pthread_create(&thread, &attributes, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(code == 0);
    pthread_attr_destroy(&attributes);
}

static struct seat *sit_down(void)
{
    pthread_once(&once, start);
    struct seat *seat = mem_zero(sizeof *seat);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    list_init(&seat->link);
    seat->thread = pthread_self();
    pthread_mutex_lock(&mutex);
    list_append(&seats, &seat->link);
    pthread_mutex_unlock(&mutex);
    pthread_setspecific(key, seat);
    own = seat;
    return seat;
}

static void set_running(struct seat *seat, lua_State *L)
{
    seat->running = L;
    atomic_signal_fence(memory_order_seq_cst);
}

lua_State *watch_begin(lua_State *L, lua_Hook hook)
{
    struct seat *seat = own ? own : sit_down();
    lua_State *before = seat->running;
    seat->hook = hook;
    set_running(seat, L);
    if (!before) {
        atomic_fetch_add(&seat->turn, 1);
        if (atomic_load(&rests) && atomic_exchange(&rests, false))
            sem_post(&wake);
    }
    return before;
}

void watch_end(lua_State *before)
{
    CHECK(own && own->running);
    set_running(own, before);
    if (!before)
        atomic_store_explicit(&own->turn, atomic_load_explicit(&own->turn, memory_order_relaxed) + 1,
                              memory_order_release); /* nobody else writes it */
}
