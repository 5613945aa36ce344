/* streams.h: what streams.c and stream_api.c share. Private to them. */
#ifndef TIDEMILL_LOCAL_KEEP_STREAMS_H
#define TIDEMILL_LOCAL_KEEP_STREAMS_H

#include "local/keep/call.h"

#define RETENTION_MS (24 * 3600 * 1000LL)
#define SEQUENCES_PER_MS 100000 /* so that a sequence number tells when it was made */

/* 21 digits, as the service's shortest, in order. */
#define SEQUENCE_TEXT 24
void sequence_write(char text[SEQUENCE_TEXT], int64_t sequence);

struct stream *stream_find(struct engine *engine, struct text arn);

/* Shards that have grown old are closed, and have a child. */
void stream_renew(struct call *call, struct stream *stream);

#endif
