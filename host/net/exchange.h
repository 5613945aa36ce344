/* exchange.h: a request whose turn has come, and the engines that carry it: libcurl, and HTTP/1.1 of our own.
 * transport_network.h has the lines, asks an engine, and makes the sentence of what went wrong. */
#ifndef TIDEMILL_NET_EXCHANGE_H
#define TIDEMILL_NET_EXCHANGE_H

#include <stdatomic.h>

#include "net/reactor.h"
#include "net/transport.h"

struct exchange;

enum exchange_end {
    EXCHANGE_ANSWERED,  /* `response` is whole, or its status decides */
    EXCHANGE_TOO_LARGE, /* the body passed response_max */
    EXCHANGE_UNSURE, /* a kept connection closed after the request may have been read; it must not go twice */
    EXCHANGE_PAST,   /* the fence: nothing was sent */
    EXCHANGE_STARVED,   /* no descriptor was to be had: nothing was sent, and it may be begun again */
    EXCHANGE_TIMED_OUT, /* `text` says what took so long */
    EXCHANGE_FAILED,    /* `text` says why */
};

/* From the reactor, never from inside a call of the engine's. The exchange is not the engine's any more; who
 * is told may begin and give up others, and must not free the engine. */
typedef void exchange_done_fn(struct exchange *exchange, enum exchange_end end, const char *text);

struct exchange {
    struct transport_request request;   /* its texts stay as long as the exchange does; response_max is set */
    struct transport_response response; /* what has come; all but queued_ms is the engine's to fill */
    void *place;                        /* what the engine knows of the endpoint; see each */
    void *run;                          /* the engine's own while it is out */
    exchange_done_fn *done;
};

/* The last moment to look, before the first byte leaves: a connection was made meanwhile, or the machine
 * slept.
 */
static inline bool exchange_is_past(const struct exchange *exchange, const struct reactor *reactor)
{
    return exchange->request.fence &&
           atomic_load(exchange->request.fence) <= clock_boot_ms(reactor_clock(reactor));
}

struct engine {
    const struct engine_ops *ops;
};

struct engine_ops {
    void (*begin)(struct engine *engine, struct exchange *exchange);
    void (*give_up)(struct engine *engine,
                    struct exchange *exchange); /* one that has begun; without an answer */
    void (*free)(struct engine *engine);        /* after all exchanges */
};

static inline void engine_begin(struct engine *engine, struct exchange *exchange)
{
    engine->ops->begin(engine, exchange);
}

static inline void engine_give_up(struct engine *engine, struct exchange *exchange)
{
    engine->ops->give_up(engine, exchange);
}

static inline void engine_free(struct engine *engine)
{
    if (engine)
        engine->ops->free(engine);
}

#endif
