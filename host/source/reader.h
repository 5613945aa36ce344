/* reader.h: read one shard, page by page, for as long as it has records.
 *
 * The reader knows nothing of handlers. It keeps a cursor, paces its reads, and turns the service's faults
 * into three things its owner must know: a gap, the end, and that the shard is missing. */
#ifndef TIDEMILL_SOURCE_READER_H
#define TIDEMILL_SOURCE_READER_H

#include "base/log.h"
#include "net/reactor.h"
#include "record/position.h"
#include "state/troubles.h"
#include "stats/stats.h"
#include "source/source.h"

struct reader;

struct reader_options {
    struct reactor *reactor;
    struct source *source;
    struct log *log;
    const char *subject; /* for the log: "stream products" */
    const char *stream_arn, *shard;
    const char *purpose; /* what tells its troubles from those of the shard's other reader; NULL: nothing */
    int64_t batch_size, poll_min_ms, poll_max_ms;
    struct troubles *troubles;     /* or NULL */
    struct stats_stream *counters; /* or NULL; must stay */
};

/* From the reactor, never from inside a call of the reader. None of them may free or restart the reader. */
struct reader_events {
    /* Take over one reference. */
    void (*page)(void *user, struct page *page);
    /* Records behind `from` were trimmed before they were read; reading goes on with `to` ("" while no
     * younger record is known: the shard ended or is empty). Comes before the page that holds `to`. */
    void (*gap)(void *user, const char *from, const char *to);
    /* The shard is closed and its last page was delivered. The reader has stopped. */
    void (*closed)(void *user);
    /* A page that was asked for at `asked_ms` (wall clock) was empty: there was nothing more then. Or NULL.
     */
    void (*caught_up)(void *user, int64_t asked_ms);
    /* The service does not know the shard (any more). The reader goes on asking, more and more rarely. */
    void (*missing)(void *user);
};

struct reader *reader_new(const struct reader_options *options, const struct reader_events *events,
                          void *user);
void reader_free(struct reader *reader);

/* Begin, or begin again, at `position` (not FINISHED). `cursor` is one that is at hand for it, or NULL. */
void reader_start(struct reader *reader, const struct position *position, const char *cursor);

/* No further page is asked for; one that is on its way still arrives. */
void reader_pause(struct reader *reader);
void reader_resume(struct reader *reader);

/* Was the last page so short that there was nothing more then? False before the first. */
bool reader_at_tip(const struct reader *reader);

/* A closed shard has nothing to wait for: read to its end at the fast pace. */
void reader_shard_closed(struct reader *reader);

const struct stats_shard *reader_now(const struct reader *reader);

#endif
