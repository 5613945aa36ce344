/* reports.c: what a worker has to say goes out as posts. */
#include <stdlib.h>

#include "base/mem.h"
#include "worker/internal.h"

struct report {
    struct worker *worker;
    enum worker_report kind;
    char *stream_arn, *shard, *handler, *progress;
    int64_t letter;
};

static void report_free(void *user)
{
    struct report *report = user;
    free(report->stream_arn);
    free(report->shard);
    free(report->handler);
    free(report->progress);
    free(report);
}

static void deliver_report(void *user)
{
    struct report *report = user;
    const struct worker_reports *reports = &report->worker->reports;
    switch (report->kind) {
    case REPORT_CLOSED:
        reports->closed(reports->user, report->stream_arn, report->shard);
        break;
    case REPORT_FINISHED:
        reports->finished(reports->user, report->stream_arn, report->shard, report->handler,
                          report->progress);
        break;
    case REPORT_MISSING:
        reports->missing(reports->user, report->stream_arn, report->shard);
        break;
    case REPORT_LEFT:
        reports->left(reports->user, report->handler);
        break;
    case REPORT_REDRIVEN:
        reports->redriven(reports->user, report->stream_arn, report->shard, report->letter);
        break;
    case REPORT_HELD:
        reports->held(reports->user, report->stream_arn, report->shard, report->letter);
        break;
    case REPORT_LOADED: /* the place, in `handler`; whether it was, in `letter` */
        reports->loaded(reports->user, report->worker, report->handler, report->letter != 0);
        break;
    case REPORT_HALTED:
        reports->halted(reports->user, report->handler);
        break;
    case REPORT_DRAINED:
        reports->drained(reports->user, report->stream_arn, report->shard);
        break;
    case REPORT_READ:
        reports->read(reports->user, report->stream_arn, report->shard, report->letter);
        break;
    case REPORT_STOPPED:
        reports->stopped(reports->user, report->worker);
        break;
    }
    report_free(report);
}

static struct report *report_new(struct worker *worker, enum worker_report kind, const struct shard *shard,
                                 const char *handler)
{
    struct report *report = mem_zero(sizeof *report);
    report->worker = worker;
    report->kind = kind;
    report->stream_arn = mem_string(shard ? shard_stream_arn(shard) : NULL);
    report->shard = mem_string(shard ? shard_id(shard) : NULL);
    report->handler = mem_string(handler);
    return report;
}

void worker_report_redriven(struct worker *worker, const char *stream_arn, const char *shard, int64_t letter)
{
    struct report *report = report_new(worker, REPORT_REDRIVEN, NULL, NULL);
    report->stream_arn = mem_string(stream_arn);
    report->shard = mem_string(shard);
    report->letter = letter;
    reactor_post_owned(worker->reports.reactor, deliver_report, report_free, report);
}

void worker_report_read(struct worker *worker, const char *stream_arn, const char *shard, int64_t records)
{
    struct report *report = report_new(worker, REPORT_READ, NULL, NULL);
    report->stream_arn = mem_string(stream_arn);
    report->shard = mem_string(shard);
    report->letter = records;
    reactor_post_owned(worker->reports.reactor, deliver_report, report_free, report);
}

void worker_report_drained(struct worker *worker, const char *stream_arn, const char *shard)
{
    struct report *report = report_new(worker, REPORT_DRAINED, NULL, NULL);
    report->stream_arn = mem_string(stream_arn);
    report->shard = mem_string(shard);
    reactor_post_owned(worker->reports.reactor, deliver_report, report_free, report);
}

void worker_report(struct worker *worker, enum worker_report kind, const struct shard *shard,
                   const char *handler, const char *progress, int64_t letter)
{
    struct report *report = report_new(worker, kind, shard, handler);
    report->progress = mem_string(progress);
    report->letter = letter;
    reactor_post_owned(worker->reports.reactor, deliver_report, report_free, report);
}
