/* reader.c: cursor, page, pause, and again. */
#include "source/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#define BACKOFF_MS_MIN 200
#define BACKOFF_MS_MAX 10000
#define MISSING_MS_MAX 60000
#define COMPLAIN_EVERY_MS 60000

/* A page that is asked for. */
struct asked {
    struct reader *reader;
    int64_t at_ms; /* wall clock */
    bool awaited;  /* counted as such by the source */
};

struct reader {
    struct reader_options options;
    struct reader_events events;
    void *user;
    char *stream_arn, *shard, *subject, *trouble;
    struct timer next; /* the next step: a cursor or a page */
    struct source_call *call;
    char *cursor; /* NULL: to be got */
    struct {
        struct source_call *call; /* of the page behind the one that is read just now; NULL: none */
        char *cursor;
    } ahead;
    struct asked asked[2]; /* pages, in turn ... */
    size_t turn;           /* ... this one's now; the other is the one ahead */
    size_t full_bytes;     /* of the last page, where that was full; else 0 */
    bool held;             /* paused since the last page: what comes is not taken as fast as it is read */
    int64_t cursor_born_ms;
    struct position start;    /* where reading began */
    char last[SEQUENCE_SIZE]; /* of the last record read; "" before */
    bool gap;                 /* between gap_from and the next record */
    char gap_from[SEQUENCE_SIZE];
    bool from_horizon; /* the next cursor is at the trim horizon, whatever was read */
    bool paused, stopped, shard_closed;
    bool at_tip;
    int64_t idle_ms; /* pause after the last page, growing while idle */
    int64_t faults;  /* in a row */
    struct log_limit complained;
    int fruitless; /* cursors in a row that were good for nothing */
    uint64_t random;
    struct stats_stream *counters; /* `alone` where nobody collects them */
    struct stats_stream alone;
    struct stats_shard now;
};

static int64_t now_ms(const struct reader *reader)
{
    return clock_monotonic_ms(reactor_clock(reader->options.reactor));
}

static void step_in(struct reader *reader, int64_t delay_ms)
{
    CHECK(delay_ms >= 0);
    if (!reader->paused && !reader->stopped && !reader->call)
        timer_set(reader->options.reactor, &reader->next, delay_ms);
}

static void drop_cursor(struct reader *reader)
{
    free(reader->cursor);
    reader->cursor = NULL;
}

static void keep_cursor(struct reader *reader, const char *cursor)
{
    drop_cursor(reader);
    reader->cursor = mem_string(cursor);
    reader->cursor_born_ms = now_ms(reader);
}

/* ---- faults ---- */

static int64_t grow_backoff(struct reader *reader, int64_t max_ms)
{
    return backoff_ms((int64_t[]){BACKOFF_MS_MIN, max_ms}, ++reader->faults, &reader->random);
}

static void complain(struct reader *reader, const char *what, const struct err *err)
{
    int64_t now = now_ms(reader);
    char *text = mem_printf("shard %s: %s: %s", reader->shard, what, err->text);
    troubles_tell(reader->options.troubles, reader->subject, reader->trouble, text);
    free(text);
    if (log_limit_passes(&reader->complained, now, COMPLAIN_EVERY_MS))
        log_warn(reader->options.log, reader->subject, "shard %s: %s: %s", reader->shard, what, err->text);
}

/* The first new cursor is got at once; a service that refuses one after the other is asked more and more
 * rarely. */
static int64_t pause_before_cursor(struct reader *reader)
{
    return reader->fruitless++ ? grow_backoff(reader, BACKOFF_MS_MAX) : 0;
}

/* The records behind the cursor are gone: note it, and go on with the oldest that is left. */
static void begin_gap(struct reader *reader)
{
    if (!reader->gap) {
        const char *from = *reader->last ? reader->last : reader->start.sequence;
        reader->gap = true;
        memcpy(reader->gap_from, from, SEQUENCE_SIZE);
        reader->counters->gaps++;
    }
    reader->from_horizon = true;
    drop_cursor(reader);
    step_in(reader, pause_before_cursor(reader));
}

static void on_fault(struct reader *reader, const struct source_error *error)
{
    const struct err *err = &error->err;
    switch (error->fault) {
    case SOURCE_EXPIRED:
        reader->counters->expired++;
        drop_cursor(reader);
        if (reader->fruitless)
            complain(reader, "each iterator is refused as expired", err);
        step_in(reader, pause_before_cursor(reader));
        break;
    case SOURCE_TRIMMED:
        if (reader->fruitless > 1)
            complain(reader, "each iterator is refused as trimmed", err);
        begin_gap(reader);
        break;
    case SOURCE_THROTTLED:
        reader->counters->throttled++;
        troubles_tell(reader->options.troubles, reader->subject, reader->trouble, err->text);
        step_in(reader, grow_backoff(reader, BACKOFF_MS_MAX));
        break;
    case SOURCE_MISSING:
        drop_cursor(reader);
        complain(reader, "the service does not know it", err);
        step_in(reader, grow_backoff(reader, MISSING_MS_MAX));
        reader->events.missing(reader->user);
        break;
    case SOURCE_OTHER:
        complain(reader, "reading failed, trying again", err);
        step_in(reader, grow_backoff(reader, BACKOFF_MS_MAX));
        break;
    }
}

/* ---- pages ---- */

static bool is_full(const struct reader *reader, const struct page *page)
{
    return (int64_t)page->count >= reader->options.batch_size ||
           page->body.size >= reader->options.source->traits.full_page_bytes_min;
}

/* ---- the page behind it ---- */

static source_page_fn on_page;
static source_ahead_fn on_ahead;

static struct source_call *ask_page(struct asked *asked, const char *cursor)
{
    struct reader *reader = asked->reader;
    reader->counters->calls++;
    reader->now.calls++;
    asked->awaited = reader->full_bytes > 0;
    reader->options.source->awaited += asked->awaited;
    asked->at_ms = clock_wall_ms(reactor_clock(reader->options.reactor));
    return source_read_page(reader->options.source, cursor, reader->options.batch_size, on_ahead, on_page,
                            asked);
}

static void end_asked(struct asked *asked)
{
    asked->reader->options.source->awaited -= asked->awaited;
    asked->awaited = false;
}

static void drop_ahead(struct reader *reader)
{
    end_asked(&reader->asked[!reader->turn]);
    source_cancel(reader->options.source, reader->ahead.call);
    free(reader->ahead.cursor);
    reader->ahead.call = NULL;
    reader->ahead.cursor = NULL;
}

/* While this one is read the next is on its way, if there is more: behind a full one there is, and so there
 * is behind one like the full one before. Nothing is gained where reading waits for handlers, or where
 * another shard's page comes anyway: they would wait here, cold. */
static bool on_ahead(void *user, const char *next, size_t bytes)
{
    const struct asked *asked = user;
    struct reader *reader = asked->reader;
    CHECK(asked == &reader->asked[reader->turn] && !reader->ahead.call);
    if (reader->paused || reader->held || reader->options.source->awaited > asked->awaited ||
        (bytes < reader->options.source->traits.full_page_bytes_min &&
         (!reader->full_bytes || bytes < reader->full_bytes / 2)))
        return false;
    reader->ahead.cursor = mem_string(next);
    reader->ahead.call = ask_page(&reader->asked[!reader->turn], next);
    return true;
}

/* The page was read, and behind it is `next`, or nothing. */
static void take_ahead(struct reader *reader, const char *next)
{
    if (reader->ahead.call && next && strcmp(next, reader->ahead.cursor) == 0) {
        reader->call = reader->ahead.call;
        reader->ahead.call = NULL;
        reader->turn = !reader->turn;
    }
    drop_ahead(reader);
}

static int64_t pause_after(struct reader *reader, const struct page *page)
{
    int64_t least = reader->options.poll_min_ms, most = reader->options.poll_max_ms;
    if (is_full(reader, page))
        return 0;
    if (page->count || reader->shard_closed) {
        reader->idle_ms = 0;
        return least;
    }
    reader->idle_ms = reader->idle_ms ? reader->idle_ms * 2 : least;
    reader->idle_ms = reader->idle_ms < most ? reader->idle_ms : most;
    return reader->idle_ms;
}

static void count_page(struct reader *reader, const struct page *page)
{
    reader->counters->records += (int64_t)page->count;
    reader->now.records += (int64_t)page->count;
    reader->now.read_ms = clock_wall_ms(reactor_clock(reader->options.reactor));
    if (!page->count)
        reader->now.caught_up_ms = reader->now.read_ms;
    if (reader->complained.told)
        log_info(reader->options.log, reader->subject, "shard %s: reading again", reader->shard);
    reader->complained = (struct log_limit){0};
    reader->faults = 0;
    reader->fruitless = 0;
    troubles_end(reader->options.troubles, reader->subject, reader->trouble);
}

/* Numbers never fall within a page (several records may have one number). What does is a fault of the
 * service, not a reason to skip or to fall over. */
static bool in_order(const struct page *page)
{
    for (size_t i = 1; i < page->count; i++)
        if (sequence_compare(page->records[i].sequence, page->records[i - 1].sequence) < 0)
            return false;
    return true;
}

/* A service that goes back gives again what was read; all records of one number stand in one page. */
static void leave_out_repeated(const struct reader *reader, struct page *page)
{
    size_t count = 0;
    while (*reader->last && count < page->count &&
           sequence_compare(page->records[count].sequence, reader->last) <= 0)
        count++;
    page_leave_out(page, count);
}

static void on_disorder(struct reader *reader, struct page *page)
{
    struct err err;
    err_set(&err, ERR_PARSE, "the service gave records out of order (behind %s); they are read again",
            *reader->last ? reader->last : "the start");
    page_release(page);
    drop_cursor(reader);
    complain(reader, "reading failed", &err);
    step_in(reader, grow_backoff(reader, BACKOFF_MS_MAX));
}

/* The records first, and only then that there is no next page: a last one may hold records. */
static void on_page(void *user, struct page *page, const char *next, const struct source_error *error)
{
    struct asked *asked = user;
    struct reader *reader = asked->reader;
    end_asked(asked);
    if (asked != &reader->asked[reader->turn]) { /* before the one that it is behind: it failed at once */
        reader->ahead.call = NULL;
        drop_ahead(reader);
        page_release(page);
        return;
    }
    reader->call = NULL;
    bool good = !error && in_order(page);
    if (!good)
        drop_ahead(reader);
    if (error) {
        on_fault(reader, error);
        return;
    }
    if (!good) {
        on_disorder(reader, page);
        return;
    }
    CHECK(page && !reader->stopped);
    bool last = next == NULL;
    int64_t asked_ms = asked->at_ms, pause = pause_after(reader, page);
    take_ahead(reader, next);
    reader->held = false;
    reader->full_bytes = is_full(reader, page) ? page->body.size : 0;
    reader->at_tip = !reader->full_bytes;
    count_page(reader, page);
    leave_out_repeated(reader, page);
    if (last)
        drop_cursor(reader);
    else
        keep_cursor(reader, next);
    reader->stopped = last;
    if (page->count)
        sequence_copy(reader->last, page->records[page->count - 1].sequence);
    bool gap = reader->gap; /* told at once, even if what comes behind it is not written yet */
    char gap_from[SEQUENCE_SIZE], gap_to[SEQUENCE_SIZE] = "";
    if (gap) {
        memcpy(gap_from, reader->gap_from, sizeof gap_from);
        if (page->count)
            sequence_copy(gap_to, page->records[0].sequence);
        reader->gap = false;
    }
    step_in(reader, pause);
    if (gap)
        reader->events.gap(reader->user, gap_from, gap_to);
    bool empty = !page->count, tip = empty && reader->at_tip;
    if (empty)
        page_release(page);
    else
        reader->events.page(reader->user, page);
    if (tip && !last && reader->events.caught_up)
        reader->events.caught_up(reader->user, asked_ms);
    if (last)
        reader->events.closed(reader->user);
}

static void on_cursor(void *user, const char *cursor, const struct source_error *error)
{
    struct reader *reader = user;
    reader->call = NULL;
    if (error) {
        on_fault(reader, error);
        return;
    }
    CHECK(cursor);
    reader->from_horizon = false;
    keep_cursor(reader, cursor);
    step_in(reader, 0);
}

static void ask_cursor(struct reader *reader)
{
    enum cursor_kind kind = CURSOR_TRIM_HORIZON;
    const char *sequence = NULL;
    if (reader->from_horizon) {
        kind = CURSOR_TRIM_HORIZON;
    } else if (*reader->last) {
        kind = CURSOR_AFTER;
        sequence = reader->last;
    } else if (reader->start.kind == POSITION_AFTER) {
        kind = CURSOR_AFTER;
        sequence = reader->start.sequence;
    }
    char since[32];
    if (kind == CURSOR_TRIM_HORIZON && !reader->from_horizon && reader->start.kind == POSITION_LATEST &&
        reader->start.since_ms && reader->options.source->traits.finds_time) {
        kind = CURSOR_SINCE;
        snprintf(since, sizeof since, "%" PRId64, reader->start.since_ms - POSITION_MARGIN_MS);
        sequence = since;
    }
    /* POSITION_LATEST without its first cursor: from the horizon, and the subscription leaves out what is
     * older than the position. LATEST again would skip what was written meanwhile. */
    reader->call = source_get_cursor(reader->options.source, reader->stream_arn, reader->shard, kind,
                                     sequence, on_cursor, reader);
}

static void step(void *user)
{
    struct reader *reader = user;
    CHECK(!reader->call && !reader->stopped && !reader->paused);
    if (reader->cursor &&
        now_ms(reader) - reader->cursor_born_ms > reader->options.source->traits.cursor_age_ms_max)
        drop_cursor(reader);
    if (!reader->cursor) {
        ask_cursor(reader);
        return;
    }
    reader->call = ask_page(&reader->asked[reader->turn], reader->cursor);
}

struct reader *reader_new(const struct reader_options *options, const struct reader_events *events,
                          void *user)
{
    struct reader *reader = mem_zero(sizeof *reader);
    reader->options = *options;
    reader->events = *events;
    reader->counters = options->counters ? options->counters : &reader->alone;
    reader->user = user;
    reader->stream_arn = mem_string(options->stream_arn);
    reader->shard = mem_string(options->shard);
    reader->subject = mem_string(options->subject);
    reader->trouble = mem_printf("%s%s%s", options->shard, options->purpose ? " " : "",
                                 options->purpose ? options->purpose : "");
    reader->asked[0].reader = reader->asked[1].reader = reader;
    reader->stopped = true;
    reader->now.began_ms = clock_wall_ms(reactor_clock(options->reactor));
    reader->random = hash_bytes(reader->shard, strlen(reader->shard), (uint64_t)now_ms(reader));
    timer_init(&reader->next, step, reader);
    return reader;
}

static void halt(struct reader *reader)
{
    timer_stop(reader->options.reactor, &reader->next);
    source_cancel(reader->options.source, reader->call);
    reader->call = NULL;
    end_asked(&reader->asked[reader->turn]);
    drop_ahead(reader);
    drop_cursor(reader);
}

void reader_free(struct reader *reader)
{
    if (!reader)
        return;
    halt(reader);
    troubles_end(reader->options.troubles, reader->subject, reader->trouble);
    free(reader->stream_arn);
    free(reader->shard);
    free(reader->subject);
    free(reader->trouble);
    free(reader);
}

void reader_start(struct reader *reader, const struct position *position, const char *cursor)
{
    CHECK(position->kind != POSITION_FINISHED);
    halt(reader);
    reader->start = *position;
    if (position->kind != POSITION_AFTER)
        reader->start.sequence[0] = '\0';
    reader->last[0] = '\0';
    reader->gap = reader->from_horizon = reader->stopped = reader->at_tip = false;
    reader->full_bytes = 0;
    reader->idle_ms = reader->faults = 0;
    if (cursor)
        keep_cursor(reader, cursor);
    step_in(reader, 0);
}

void reader_pause(struct reader *reader)
{
    reader->paused = reader->held = true;
    timer_stop(reader->options.reactor, &reader->next);
}

void reader_resume(struct reader *reader)
{
    if (!reader->paused)
        return;
    reader->paused = false;
    step_in(reader, 0);
}

void reader_shard_closed(struct reader *reader)
{
    reader->shard_closed = true;
    if (timer_is_set(&reader->next) && !reader->faults)
        step_in(reader, 0);
}

bool reader_at_tip(const struct reader *reader)
{
    return reader->at_tip;
}

const struct stats_shard *reader_now(const struct reader *reader)
{
    return &reader->now;
}
