/* test_hosts.c: see test_hosts.h. */
#include "cmd/test_hosts.h"

#include "base/list.h"

static void on_request(void *user, const struct transport_request *request, struct answer *answer)
{
    struct test_host *host = user;
    if (!host->dying)
        host->all->answer(host->all->user, host, request, answer);
}

static bool begin(struct test_host *host, struct test_hosts *hosts, struct err *err)
{
    struct host_options options = hosts->options;
    *host = (struct test_host){.all = hosts};
    world_init(&host->world);
    world_follow(&host->world, hosts->leader);
    host->world.answer = on_request;
    host->world.user = host;
    host->world.clock.cpu_ms = hosts->leader->clock.cpu_ms;
    options.world = world_of_host(&host->world);
    options.world.emitter_new = hosts->options.world.emitter_new;
    options.world.emitter_user = hosts->options.world.emitter_user;
    host->host = host_new(&options, err);
    return host->host != NULL;
}

static void end(struct test_host *host)
{
    host_free(host->host);
    host->host = NULL;
    host->world.reactor = NULL; /* was the host's own */
    world_fini(&host->world);
}

void test_hosts_end(struct test_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        end(&hosts->each[i]);
    hosts->count = 0;
}

bool test_hosts_begin(struct test_hosts *hosts, size_t count, struct err *err)
{
    bool ok = true;
    test_hosts_end(hosts);
    for (size_t i = 0; ok && i < count; i++) {
        ok = begin(&hosts->each[i], hosts, err);
        hosts->count++;
    }
    return ok;
}

void test_hosts_kill(struct test_host *host)
{
    host->dying = true;
}

bool test_hosts_any_dying(const struct test_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (hosts->each[i].dying)
            return true;
    return false;
}

bool test_hosts_restart(struct test_hosts *hosts, struct err *err)
{
    bool ok = true;
    for (size_t i = 0; i < hosts->count; i++) {
        if (!hosts->each[i].dying)
            continue;
        end(&hosts->each[i]);
        ok = begin(&hosts->each[i], hosts, err) && ok;
    }
    return ok;
}

bool test_hosts_read(struct test_hosts *hosts, const char *stream)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (hosts->each[i].host && host_reads(hosts->each[i].host, stream))
            return true;
    return false;
}

bool test_hosts_drained(const struct test_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (hosts->each[i].host && !host_drained(hosts->each[i].host))
            return false;
    return true;
}

bool test_hosts_call(const struct test_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (!list_empty(&hosts->each[i].world.calls))
            return true;
    return false;
}
