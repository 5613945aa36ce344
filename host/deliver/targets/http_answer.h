/* http_answer.h: what an answer that is no 2xx says to targets that speak HTTP to whoever it is. */
#ifndef TIDEMILL_DELIVER_TARGETS_HTTP_ANSWER_H
#define TIDEMILL_DELIVER_TARGETS_HTTP_ANSWER_H

#include "deliver/target.h"

/* A transport_done_fn of a request's: tells it, with the status as an error where it is one, and with the
 * patience that was asked for (Retry-After). */
void http_answered(void *user, struct transport_response *response, const struct err *err);

#endif
