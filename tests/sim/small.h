/* small.h: a world with one host, one handler and services of the test's: what such worlds have in common. */
#ifndef TIDEMILL_TESTS_SIM_SMALL_H
#define TIDEMILL_TESTS_SIM_SMALL_H

#include "core/plugs.h"
#include "core/world.h"

struct small {
    uint64_t random;
    bool calm;  /* no faults any more */
    int faults; /* of a thousand requests */
    struct world world;
    struct host *host; /* NULL: it does not run */
    struct config *config;
    struct log *log;
    int nowhere;
    char directory[64];
    char violation[500]; /* "": none */
};

/* `answer` is asked with `user` for every request. */
void small_begin(struct small *small, uint64_t seed, bool loud,
                 void (*answer)(void *user, const struct transport_request *request, struct answer *answer),
                 void *user);
void small_end(struct small *small, char *violation);

/* A directory with scripts/h.lua and the INI, which is loaded. */
void small_deploy(struct small *small, const char *script, const char *ini);

uint64_t small_draw(struct small *small);
int small_below(struct small *small, int limit);

/* The first one is kept. */
void small_violated(struct small *small, const char *format, ...) __attribute__((format(printf, 2, 3)));

void small_start(struct small *small);
void small_crash(struct small *small); /* as SIGKILL does */
void small_pass(struct small *small, int64_t ms);

/* By chance a slow answer, or a broken connection, or a refusal of that service's: true when the request is
 * answered with that. */
bool small_fails(struct small *small, struct answer *answer);

#endif
