/* status.c: tidemill status: what the state store knows, beside a running host or without one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "cmd/cmd.h"
#include "cmd/state.h"

#define RETENTION_MS (24 * 3600 * 1000LL) /* of a stream record, by the service's documentation */

static const char *kind_name(const struct position *position)
{
    static const char *const names[] = {"trim_horizon", "latest", "after", "finished"};
    return (unsigned)position->kind < 4 ? names[position->kind] : "?";
}

static const struct store_shard *find_shard(const struct store_snapshot *snapshot,
                                            const struct store_checkpoint *checkpoint)
{
    for (size_t i = 0; i < snapshot->shard_count; i++)
        if (strcmp(snapshot->shards[i].shard, checkpoint->shard) == 0 &&
            strcmp(snapshot->shards[i].stream_arn, checkpoint->stream_arn) == 0)
            return &snapshot->shards[i];
    return NULL;
}

static const struct store_subscription *find_subscription(const struct store_snapshot *snapshot,
                                                          const struct store_checkpoint *checkpoint)
{
    for (size_t i = 0; i < snapshot->subscription_count; i++) {
        const struct store_subscription *row = &snapshot->subscriptions[i];
        if (strcmp(row->shard, checkpoint->shard) == 0 && strcmp(row->handler, checkpoint->handler) == 0 &&
            strcmp(row->stream_arn, checkpoint->stream_arn) == 0)
            return row;
    }
    return NULL;
}

static bool has_checkpoint(const struct store_snapshot *snapshot, const struct store_subscription *row)
{
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *checkpoint = &snapshot->checkpoints[i];
        if (find_subscription(snapshot, checkpoint) == row)
            return true;
    }
    return false;
}

/* Those who have settled nothing yet have no checkpoint: they stand at the beginning. */
static void add_beginners(struct store_snapshot *snapshot)
{
    size_t count = snapshot->checkpoint_count;
    struct store_checkpoint *all =
        arena_alloc(&snapshot->arena, (count + snapshot->subscription_count + 1) * sizeof *all);
    if (count)
        memcpy(all, snapshot->checkpoints, count * sizeof *all);
    for (size_t i = 0; i < snapshot->subscription_count; i++) {
        const struct store_subscription *row = &snapshot->subscriptions[i];
        if (!has_checkpoint(snapshot, row))
            all[count++] = (struct store_checkpoint){
                row->handler, row->stream_arn, row->shard, {.kind = POSITION_TRIM_HORIZON}, ""};
    }
    snapshot->checkpoints = all;
    snapshot->checkpoint_count = count;
}

/* A checkpoint with what else is known about it. */
struct row {
    const struct store_checkpoint *checkpoint;
    const struct store_subscription *subscription; /* or NULL */
    int64_t lag_ms;     /* iterator age: of the oldest record that is not settled; -1: not known */
    int64_t trimmed_ms; /* until that record is trimmed; -1: there is none, or not known */
};

static struct row row_of(const struct store_snapshot *snapshot, const struct store_checkpoint *checkpoint,
                         int64_t now_ms)
{
    const struct store_shard *shard = find_shard(snapshot, checkpoint);
    struct row row = {checkpoint, find_subscription(snapshot, checkpoint), -1, -1};
    int64_t oldest_ms = row.subscription ? row.subscription->oldest_ms : 0;
    int64_t settled_ms = checkpoint->position.record_time_ms;
    if (checkpoint->position.kind == POSITION_FINISHED)
        row.lag_ms = 0;
    else if (oldest_ms)
        row.lag_ms = now_ms > oldest_ms ? now_ms - oldest_ms : 0;
    else if (shard && shard->caught_up_ms && shard->caught_up_ms > settled_ms + 1000 &&
             !(row.subscription && row.subscription->catching_up))
        row.lag_ms = 0; /* the reader has seen the end of the shard since */
    else if (settled_ms)
        row.lag_ms = now_ms - settled_ms;
    if (row.lag_ms > 0)
        row.trimmed_ms = row.lag_ms < RETENTION_MS ? RETENTION_MS - row.lag_ms : 0;
    return row;
}

/* ---- JSON ---- */

static void add_member(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "%s\"%s\":", out->data[out->size - 1] == '{' ? "" : ",", name);
    json_write_string(out, text, strlen(text));
}

static void add_number(struct buf *out, const char *name, int64_t number)
{
    buf_printf(out, "%s\"%s\":%lld", out->data[out->size - 1] == '{' ? "" : ",", name, (long long)number);
}

static const char *version_of(const struct store_snapshot *snapshot, const char *handler)
{
    for (size_t i = 0; i < snapshot->handler_count; i++)
        if (strcmp(snapshot->handlers[i].handler, handler) == 0)
            return snapshot->handlers[i].version;
    return "";
}

static int64_t dead_of(const struct store_snapshot *snapshot, const struct store_checkpoint *checkpoint)
{
    for (size_t i = 0; i < snapshot->dead_count; i++)
        if (strcmp(snapshot->dead[i].handler, checkpoint->handler) == 0 &&
            strcmp(snapshot->dead[i].shard, checkpoint->shard) == 0 &&
            strcmp(snapshot->dead[i].stream_arn, checkpoint->stream_arn) == 0)
            return snapshot->dead[i].count;
    return 0;
}

static void write_checkpoint(struct buf *out, const struct store_snapshot *snapshot, const struct row *row)
{
    const struct store_checkpoint *checkpoint = row->checkpoint;
    const struct store_subscription *now = row->subscription;
    buf_add_char(out, '{');
    add_member(out, "handler", checkpoint->handler);
    add_member(out, "stream_arn", checkpoint->stream_arn);
    add_member(out, "shard", checkpoint->shard);
    add_member(out, "position", kind_name(&checkpoint->position));
    add_member(out, "sequence", checkpoint->position.sequence);
    add_number(out, "record_time", checkpoint->position.record_time_ms / 1000);
    if (row->lag_ms >= 0)
        add_number(out, "lag_ms", row->lag_ms);
    if (row->trimmed_ms >= 0)
        add_number(out, "trimmed_in_ms", row->trimmed_ms);
    add_number(out, "in_flight", now ? now->in_flight : 0);
    add_number(out, "retrying", now ? now->retrying : 0);
    add_number(out, "waiting", now ? now->waiting : 0);
    buf_printf(out, ",\"catching_up\":%s", now && now->catching_up ? "true" : "false");
    add_number(out, "dead", dead_of(snapshot, checkpoint));
    add_member(out, "version", version_of(snapshot, checkpoint->handler));
    buf_add_char(out, '}');
}

static void write_shard(struct buf *out, const struct store_shard *row)
{
    buf_add_char(out, '{');
    add_member(out, "stream_arn", row->stream_arn);
    add_member(out, "shard", row->shard);
    add_number(out, "get_records_calls", row->get_records_calls);
    add_number(out, "records", row->records);
    add_number(out, "read_ms", row->read_ms);
    add_number(out, "caught_up_ms", row->caught_up_ms);
    buf_add_char(out, '}');
}

static void write_event(struct buf *out, const struct store_event *row)
{
    buf_add_char(out, '{');
    add_member(out, "kind", row->kind);
    add_member(out, "handler", row->handler);
    add_member(out, "stream_arn", row->stream_arn);
    add_member(out, "shard", row->shard);
    add_member(out, "from_sequence", row->from_sequence);
    add_member(out, "to_sequence", row->to_sequence);
    add_member(out, "text", row->text);
    add_number(out, "time_ms", row->time_ms);
    buf_add_char(out, '}');
}

/* Of a handler on all its shards, whose counts stand together; `*i` ends on its last. */
static int64_t sum_dead(const struct store_snapshot *snapshot, size_t *i)
{
    const struct store_dead_count *dead = snapshot->dead;
    int64_t sum = dead[*i].count;
    while (*i + 1 < snapshot->dead_count && strcmp(dead[*i + 1].handler, dead[*i].handler) == 0)
        sum += dead[++*i].count;
    return sum;
}

static void print_json(const struct store_snapshot *snapshot, const struct config *config, bool running,
                       int64_t now_ms)
{
    struct buf out = BUF_INIT;
    buf_add_char(&out, '{');
    add_member(&out, "group", config->host.group);
    add_member(&out, "state", config->host.state);
    buf_printf(&out, ",\"running\":%s", running ? "true" : "false");
    buf_add_literal(&out, ",\"checkpoints\":[");
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        struct row row = row_of(snapshot, &snapshot->checkpoints[i], now_ms);
        buf_add_text(&out, i ? "," : "");
        write_checkpoint(&out, snapshot, &row);
    }
    buf_add_literal(&out, "],\"shards\":[");
    for (size_t i = 0; i < snapshot->shard_count; i++) {
        buf_add_text(&out, i ? "," : "");
        write_shard(&out, &snapshot->shards[i]);
    }
    buf_add_literal(&out, "],\"handlers\":[");
    for (size_t i = 0; i < snapshot->handler_count; i++) {
        buf_add_text(&out, i ? ",{" : "{");
        add_member(&out, "handler", snapshot->handlers[i].handler);
        add_member(&out, "version", snapshot->handlers[i].version);
        add_number(&out, "loaded_ms", snapshot->handlers[i].loaded_ms);
        buf_add_char(&out, '}');
    }
    buf_add_literal(&out, "],\"dead_letters\":{");
    for (size_t i = 0; i < snapshot->dead_count; i++) {
        const char *handler = snapshot->dead[i].handler;
        add_number(&out, handler, sum_dead(snapshot, &i));
    }
    buf_add_literal(&out, "},\"events\":[");
    for (size_t i = 0; i < snapshot->event_count; i++) {
        buf_add_text(&out, i ? "," : "");
        write_event(&out, &snapshot->events[i]);
    }
    buf_add_literal(&out, "]}");
    puts(out.data);
    buf_fini(&out);
}

/* ---- for people ---- */

static void time_text(int64_t ms, char *text, size_t size)
{
    if (ms < 0)
        snprintf(text, size, "-");
    else if (ms < 1000)
        snprintf(text, size, "0s");
    else if (ms < 120 * 1000)
        snprintf(text, size, "%llds", (long long)ms / 1000);
    else if (ms < 120 * 60 * 1000)
        snprintf(text, size, "%lldm", (long long)ms / 60000);
    else
        snprintf(text, size, "%lldh", (long long)ms / 3600000);
}

struct colours {
    const char *bold, *red, *yellow, *plain;
};

static struct colours colours_of(FILE *out)
{
    return isatty(fileno(out)) ? (struct colours){"\033[1m", "\033[31m", "\033[33m", "\033[0m"}
                               : (struct colours){"", "", "", ""};
}

static void print_checkpoint(const struct store_snapshot *snapshot, const struct row *row,
                             const struct colours *colours)
{
    const struct store_checkpoint *checkpoint = row->checkpoint;
    const struct store_subscription *now = row->subscription;
    char lag[32], trimmed[32];
    int64_t dead = dead_of(snapshot, checkpoint);
    const char *colour = dead || (row->trimmed_ms >= 0 && row->trimmed_ms < RETENTION_MS / 4) ? colours->red
                         : now && (now->retrying || now->catching_up) ? colours->yellow
                                                                      : "";
    time_text(row->lag_ms, lag, sizeof lag);
    time_text(row->trimmed_ms, trimmed, sizeof trimmed);
    printf("%s%-24s %-44s %-40s %6s %6s %6lld %6lld %7lld %5lld%s%s\n", colour, checkpoint->handler,
           checkpoint->shard,
           checkpoint->position.kind == POSITION_AFTER ? checkpoint->position.sequence
                                                       : kind_name(&checkpoint->position),
           lag, trimmed, now ? (long long)now->in_flight : 0, now ? (long long)now->retrying : 0,
           now ? (long long)now->waiting : 0, (long long)dead, now && now->catching_up ? "  catching up" : "",
           *colour ? colours->plain : "");
}

static void print_events(const struct store_snapshot *snapshot, const struct colours *colours)
{
    for (size_t i = 0; i < snapshot->event_count; i++) {
        const struct store_event *row = &snapshot->events[i];
        char time[CLOCK_ISO_SIZE];
        clock_iso8601(row->time_ms, time);
        printf("%s%s %s: handler %s, shard %s: %s (after %s, before %s)%s\n", colours->red, time, row->kind,
               row->handler, row->shard, row->text, *row->from_sequence ? row->from_sequence : "-",
               *row->to_sequence ? row->to_sequence : "-", colours->plain);
    }
}

static void print_text(const struct store_snapshot *snapshot, bool running, int64_t now_ms)
{
    struct colours colours = colours_of(stdout);
    if (!snapshot->checkpoint_count)
        puts("no checkpoint yet");
    else
        printf("%s%-24s %-44s %-40s %6s %6s %6s %6s %7s %5s%s\n", colours.bold, "HANDLER", "SHARD",
               "CHECKPOINT", "LAG", "LEFT", "FLIGHT", "RETRY", "WAITING", "DEAD", colours.plain);
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        struct row row = row_of(snapshot, &snapshot->checkpoints[i], now_ms);
        print_checkpoint(snapshot, &row, &colours);
    }
    for (size_t i = 0; i < snapshot->shard_count; i++)
        printf("%sshard %s: %lld records in %lld GetRecords calls\n", i ? "" : "\n",
               snapshot->shards[i].shard, (long long)snapshot->shards[i].records,
               (long long)snapshot->shards[i].get_records_calls);
    for (size_t i = 0; i < snapshot->handler_count; i++) {
        char time[CLOCK_ISO_SIZE];
        clock_iso8601(snapshot->handlers[i].loaded_ms, time);
        printf("%shandler %s: version %s since %s\n", i ? "" : "\n", snapshot->handlers[i].handler,
               snapshot->handlers[i].version, time);
    }
    for (size_t i = 0; i < snapshot->dead_count; i++) {
        const char *handler = snapshot->dead[i].handler;
        int64_t count = sum_dead(snapshot, &i);
        printf("%s%s: %lld dead letter%s (tidemill dead list)%s\n", colours.red, handler, (long long)count,
               count == 1 ? "" : "s", colours.plain);
    }
    print_events(snapshot, &colours);
    if (!running)
        printf("%s\nno host is running on this state: all is as the last one left it%s\n", colours.yellow,
               colours.plain);
}

static int run(int argc, char **argv)
{
    static const char *const flags[] = {"--json", NULL};
    const char *path = NULL;
    bool json[1] = {false};
    struct err err = {0};
    if (!cmd_options(argc, argv, &path, flags, json))
        return EXIT_USAGE;
    struct config *config = cmd_load_config(path);
    if (!config)
        return EXIT_USAGE;
    struct cmd_state state;
    struct store_snapshot *snapshot = NULL;
    if (cmd_state_open(&state, config, true, &err))
        snapshot = cmd_state_load(&state, &(struct store_query){.what = STORE_ALL}, &err);
    int64_t now_ms = clock_wall_ms(&state.clock);
    if (snapshot)
        add_beginners(snapshot);
    if (!snapshot)
        cmd_complain("%s", err.text);
    else if (json[0])
        print_json(snapshot, config, cmd_host_runs(config), now_ms);
    else
        print_text(snapshot, cmd_host_runs(config), now_ms);
    int status = snapshot ? EXIT_DONE : EXIT_FAILED;
    store_snapshot_free(snapshot);
    cmd_state_close(&state);
    config_release(config);
    return status;
}

const struct command cmd_status = {
    .name = "status",
    .arguments = "[-c FILE] [--json]",
    .summary = "checkpoints, lag and dead letters, per handler and shard",
    .help =
        "Shows what the state store knows: works beside a running host, and without one.\n"
        "  LAG      age of the oldest record that is not settled (the iterator age); 0s when there is none\n"
        "  LEFT     time until the service trims that record\n"
        "  FLIGHT   records that the handler works on now\n"
        "  RETRY    records that wait for another attempt\n"
        "  WAITING  records that were read and wait for their turn\n"
        "  DEAD     dead letters: see tidemill help dead\n"
        "A handler that is catching up reads by itself until it has met the others.\n",
    .run = run,
};
