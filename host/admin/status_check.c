/* status_check.c: is it ready, and is it well? For scripts and monitoring, with a line for each thing that is
 * not. */
#include <stdio.h>
#include <string.h>

#include "admin/status.h"
#include "state/store_open.h"
#include "state/troubles.h"

static void add_once(struct problems *problems, const char *line)
{
    for (size_t i = 0; i < problems->count; i++)
        if (strcmp(problems->lines[i], line) == 0)
            return;
    problems_add(problems, "%s", line);
}

/* Hosts that share a state have told of themselves; one that has not is not known to be ready. */
static void add_untold(const struct status *status, struct problems *unready)
{
    for (size_t i = 0; status->asked && i < status->snapshot->member_count; i++) {
        const struct store_member *member = &status->snapshot->members[i];
        if (status_owes_answer(status, member))
            problems_add(unready, "host %s: it has not answered", status_session_name(member->session).text);
    }
}

void status_add_unready(const struct status *status, struct problems *unready)
{
    if (!status->running) {
        problems_add(unready, "no host is running on this state");
        return;
    }
    for (size_t i = 0; i < status->snapshot->trouble_count; i++) {
        const struct store_trouble *row = &status->snapshot->troubles[i];
        char line[600];
        if (!trouble_is_unready(row->subject, row->kind, status_age(status->now_ms, row->since_ms)))
            continue;
        snprintf(line, sizeof line, "%s: %s", row->subject, row->text);
        add_once(unready, line);
    }
    add_untold(status, unready);
    if (!status->told && store_is_shared(status->config->host.state))
        problems_add(unready, "the hosts could not be asked: whether they are ready is not known");
}

static void add_rows(const struct status *status, const struct status_limits *limits,
                     struct problems *problems)
{
    for (size_t i = 0; i < status->row_count; i++) {
        const struct status_row *row = &status->rows[i];
        const char *handler = row->checkpoint->handler, *shard = row->checkpoint->shard;
        if (row->idle && !row->paused)
            problems_add(problems, "handler %s, shard %s: no such handler runs", handler, shard);
        else if (!row->paused && limits->lag_ms >= 0 && row->lag_ms > limits->lag_ms)
            problems_add(problems, "handler %s, shard %s: it is %lld s behind", handler, shard,
                         (long long)row->lag_ms / 1000);
        if (row->trimmed_ms >= 0 && row->trimmed_ms < SOURCE_RETENTION_MS / 4)
            problems_add(problems, "handler %s, shard %s: its oldest record is trimmed in %lld min", handler,
                         shard, (long long)row->trimmed_ms / 60000);
    }
}

static void add_letters(const struct status *status, const struct status_limits *limits,
                        struct problems *problems)
{
    const struct store_snapshot *snapshot = status->snapshot;
    for (size_t i = 0; i < snapshot->dead_count; i++) {
        const char *handler = snapshot->dead[i].handler;
        int64_t count = store_sum_dead(snapshot, &i);
        if (limits->dead >= 0 && count > limits->dead)
            problems_add(problems, "handler %s: %lld dead letter%s", handler, (long long)count,
                         count == 1 ? "" : "s");
    }
}

void status_add_problems(const struct status *status, const struct status_limits *limits,
                         struct problems *problems)
{
    status_add_unready(status, problems);
    for (size_t i = 0; i < status->trouble_count; i++) {
        const struct store_trouble *row = &status->troubles[i];
        char line[600];
        if (status_age(status->now_ms, row->since_ms) < limits->trouble_ms)
            continue;
        snprintf(line, sizeof line, "%s: %s", row->subject, row->text);
        add_once(problems, line);
    }
    add_rows(status, limits, problems);
    add_letters(status, limits, problems);
    if (status->snapshot->event_count)
        problems_add(problems,
                     "%zu gap%s: records were lost (tidemill status shows them; tidemill dead drop "
                     "--gaps)",
                     status->snapshot->event_count, status->snapshot->event_count == 1 ? "" : "s");
}
