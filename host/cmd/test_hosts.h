/* test_hosts.h: the hosts of a test's world: one, or several that share a state. Each can die by itself, and
 * is then started anew on what it has left. Private to test*.c. */
#ifndef TIDEMILL_CMD_TEST_HOSTS_H
#define TIDEMILL_CMD_TEST_HOSTS_H

#include "core/host.h"
#include "core/world.h"

#define TEST_HOSTS_MAX 8

struct test_hosts;

struct test_host {
    struct test_hosts *all;
    struct world world;
    struct host *host; /* NULL: none */
    bool dying;        /* it does nothing more that counts, and is to be buried */
};

struct test_hosts {
    struct test_host each[TEST_HOSTS_MAX];
    size_t count;
    struct world *leader;        /* whose time they live in */
    struct host_options options; /* of each; the world is made for it, but for its emitter */
    /* What services answer a host that lives. */
    void (*answer)(void *user, struct test_host *host, const struct transport_request *request,
                   struct answer *answer);
    void *user;
};

/* So many of them begin, after the end of those before. False and `err`. */
bool test_hosts_begin(struct test_hosts *hosts, size_t count, struct err *err);
void test_hosts_end(struct test_hosts *hosts);

/* As by SIGKILL, at the end of this turn. */
void test_hosts_kill(struct test_host *host);
bool test_hosts_any_dying(const struct test_hosts *hosts);

/* Those that were killed, on the state that they have left; between turns. False and `err`. */
bool test_hosts_restart(struct test_hosts *hosts, struct err *err);

bool test_hosts_read(struct test_hosts *hosts, const char *stream);
bool test_hosts_drained(const struct test_hosts *hosts);
bool test_hosts_call(const struct test_hosts *hosts); /* is anything under way? */

#endif
