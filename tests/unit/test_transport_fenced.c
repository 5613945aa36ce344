/* test_transport_fenced.c: who cannot tell that his shards are still his own sends nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/world.h"
#include "net/transport_fenced.h"

struct fixture {
    struct world world;
    struct transport *fenced;
    struct fence fence;
    int arrived, answered, failed;
};

static void on_request(void *user, const struct transport_request *request, struct answer *answer)
{
    struct fixture *f = user;
    f->arrived++;
    answer->status = 200;
    answer->delay_ms = strstr(request->url, "slow") ? 5000 : 10;
}

static void on_done(void *user, struct transport_response *response, const struct err *err)
{
    struct fixture *f = user;
    f->answered += response != NULL;
    f->failed += err != NULL;
    assert_true(!err || err->code == ERR_CANCELLED);
}

/* The world's transport is a part of the world. */
static void keep(struct transport *transport)
{
    (void)transport;
}

static void make(struct fixture *f, struct transport_ops *ops)
{
    *f = (struct fixture){0};
    world_init(&f->world);
    world_add_reactor(&f->world);
    f->world.answer = on_request;
    f->world.user = f;
    *ops = *f->world.transport.ops;
    ops->free = keep;
    f->world.transport.ops = ops;
    f->fenced = transport_fenced_new(&f->world.transport, f->world.reactor, &f->fence);
}

static struct transport_call *send(struct fixture *f, const char *url, bool own)
{
    static const char *const none[] = {NULL};
    struct transport_request request = {
        .method = "POST", .url = url, .headers = none, .body = "", .timeout_ms = 30000, .own = own};
    return transport_send(f->fenced, &request, on_done, f);
}

static bool never(void *user)
{
    (void)user;
    return false;
}

static void pass(struct fixture *f, int64_t ms)
{
    world_turn(&f->world, never, f, ms);
}

static void calls_begin_and_end_before_the_fence(void **state)
{
    struct fixture f;
    struct transport_ops ops;
    (void)state;
    make(&f, &ops);
    send(&f, "http://a/", false); /* no fence was ever set */
    send(&f, "http://a/", true);
    assert_int_equal(f.arrived, 1);
    pass(&f, 100);
    assert_int_equal(f.answered, 1);
    assert_int_equal(f.failed, 1);
    assert_int_equal(f.fence.unanswered_ms, 0); /* nothing has left */
    f.fence.until_ms = f.world.now_ms + 1000;
    send(&f, "http://a/", false);
    send(&f, "http://a/slow", false);
    transport_cancel(f.fenced, send(&f, "http://a/slow", true));
    send(&f, "http://a/slow", true);
    assert_int_equal(f.fence.unanswered_ms, 0); /* but what nobody outside sees */
    transport_cancel(f.fenced, send(&f, "http://a/slow", false));
    assert_int_equal(f.fence.unanswered_ms, f.world.now_ms);
    pass(&f, 900);
    assert_int_equal(f.answered, 2);
    f.fence.until_ms = f.world.now_ms + 1000; /* all is well: it moves on */
    pass(&f, 900);
    assert_int_equal(f.failed, 1);
    pass(&f, 200);
    assert_in_range(f.fence.unanswered_ms, f.fence.until_ms, f.fence.until_ms + 100);
    assert_int_equal(f.failed, 2); /* and now it does not: the slow one is given up, the host's own is not */
    pass(&f, 5000);
    assert_int_equal(f.answered, 3);
    assert_int_equal(f.failed, 2);
    send(&f, "http://a/", false);
    transport_cancel(f.fenced, send(&f, "http://a/", false));
    pass(&f, 100);
    assert_int_equal(f.failed, 3);
    transport_free(f.fenced);
    world_fini(&f.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(calls_begin_and_end_before_the_fence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
