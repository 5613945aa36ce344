/* world.h: a world in the hand of a test: a clock that only moves when nothing else is to be done, and a
 * transport whose answers a function gives. Together they are the host's two seams.
 *
 * Several of them may live in one time, each with a reactor and calls of its own: what happens to one of them
 * happens to one host. */
#ifndef TIDEMILL_CORE_WORLD_H
#define TIDEMILL_CORE_WORLD_H

#include "base/list.h"
#include "base/log.h"
#include "worker/worker.h"
#include "net/reactor.h"
#include "net/transport.h"

/* What the service answers. Leave `status` 0 for a connection that breaks. */
struct answer {
    int status;
    struct buf headers; /* whole lines with \r\n; a Date is added when empty */
    struct buf body;
    int64_t delay_ms;
    bool lost; /* the service did its work, the answer never arrives */
};

struct world {
    struct clock clock;
    int64_t now_ms; /* monotonic */
    int64_t wall_start_ms;
    int64_t skew_ms; /* of the service's clock over ours */
    struct reactor *reactor;
    struct transport transport;
    struct poller poller;
    struct list calls, delivered; /* those that were delivered are freed with the next call */
    void (*answer)(void *user, const struct transport_request *request, struct answer *answer);
    void *user;
    int requests;
    struct world *leader;  /* whose time it lives in; NULL: its own */
    struct list followers; /* of a leader */
    struct list link;      /* among those */
    bool turning;          /* a leader: they are turned one after the other, and time waits for all */
    int64_t until_ms;      /* then it has something to do next */
};

void world_init(struct world *world);
void world_fini(struct world *world);

/* It lives in the leader's time from now on, until world_fini. */
void world_follow(struct world *world, struct world *leader);

/* With a reactor of its own, for tests of single parts. */
void world_add_reactor(struct world *world);

/* For a host. */
struct worker_world world_of_host(struct world *world);

/* Turn it and those that follow it until `condition` holds; false when `limit_ms` of virtual time passed
 * first. */
bool world_turn(struct world *world, bool (*condition)(void *user), void *user, int64_t limit_ms);

const char *request_header(const struct transport_request *request, const char *name, char *value,
                           size_t size);

#endif
