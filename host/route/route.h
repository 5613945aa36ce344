/* route.h: [route NAME]: a handler without Lua, which sends each record to a target. */
#ifndef TIDEMILL_ROUTE_ROUTE_H
#define TIDEMILL_ROUTE_ROUTE_H

#include "base/problems.h"
#include "net/reactor.h"
#include "handler/handler.h"

struct route_options {
    const char *name;
    const struct config *config; /* has the route; held */
    struct reactor *reactor;
    const struct emitter *emitter; /* NULL: only to be checked */
};

/* NULL, with lines in `problems`, when its pattern or transform is wrong. */
struct handler *route_load(const struct route_options *options, struct problems *problems);

/* What is allowed and probably not meant. */
void route_review(const struct handler *route, struct problems *warnings);

#endif
