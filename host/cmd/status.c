/* status.c: tidemill status: what the state store knows, beside a running host or without one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "cmd/cmd.h"
#include "net/reactor.h"
#include "state/store_sqlite.h"

static struct store_snapshot *load(const struct config *config, struct err *err)
{
    struct clock clock = clock_system();
    struct reactor *reactor = reactor_new(&clock);
    struct store_snapshot *snapshot = NULL;
    struct store *store = store_sqlite_new(
        reactor,
        &(struct store_sqlite_options){
            .path = config->host.state + strlen("sqlite:"), .group = config->host.group, .read_only = true},
        err);
    if (store)
        snapshot = store_load_now(store, reactor, err);
    store_free(store);
    reactor_free(reactor);
    return snapshot;
}

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

/* Age of the last settled record as of now; 0 when the reader has seen the end of the shard since, -1 when
 * nothing is known. */
static int64_t lag_ms(const struct store_checkpoint *checkpoint, const struct store_shard *shard,
                      int64_t now_ms)
{
    int64_t time_ms = checkpoint->position.record_time_ms;
    if (checkpoint->position.kind == POSITION_FINISHED)
        return 0;
    if (shard && shard->caught_up_ms && shard->caught_up_ms > time_ms + 1000)
        return 0;
    return time_ms ? now_ms - time_ms : -1;
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

static void print_json(const struct store_snapshot *snapshot, const struct config *config, int64_t now_ms)
{
    struct buf out = BUF_INIT;
    buf_add_char(&out, '{');
    add_member(&out, "group", config->host.group);
    add_member(&out, "state", config->host.state);
    buf_add_literal(&out, ",\"checkpoints\":[");
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        const struct store_shard *shard = find_shard(snapshot, row);
        int64_t lag = lag_ms(row, shard, now_ms);
        buf_add_text(&out, i ? ",{" : "{");
        add_member(&out, "handler", row->handler);
        add_member(&out, "stream_arn", row->stream_arn);
        add_member(&out, "shard", row->shard);
        add_member(&out, "position", kind_name(&row->position));
        add_member(&out, "sequence", row->position.sequence);
        add_number(&out, "record_time", row->position.record_time_ms / 1000);
        if (lag >= 0)
            add_number(&out, "lag_ms", lag);
        buf_add_char(&out, '}');
    }
    buf_add_literal(&out, "],\"shards\":[");
    for (size_t i = 0; i < snapshot->shard_count; i++) {
        const struct store_shard *row = &snapshot->shards[i];
        buf_add_text(&out, i ? ",{" : "{");
        add_member(&out, "stream_arn", row->stream_arn);
        add_member(&out, "shard", row->shard);
        add_number(&out, "get_records_calls", row->get_records_calls);
        add_number(&out, "records", row->records);
        add_number(&out, "read_ms", row->read_ms);
        add_number(&out, "caught_up_ms", row->caught_up_ms);
        buf_add_char(&out, '}');
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
    for (size_t i = 0; i < snapshot->dead_count; i++)
        add_number(&out, snapshot->dead[i].handler, snapshot->dead[i].count);
    buf_add_literal(&out, "},\"events\":[");
    for (size_t i = 0; i < snapshot->event_count; i++) {
        const struct store_event *row = &snapshot->events[i];
        buf_add_text(&out, i ? ",{" : "{");
        add_member(&out, "kind", row->kind);
        add_member(&out, "handler", row->handler);
        add_member(&out, "stream_arn", row->stream_arn);
        add_member(&out, "shard", row->shard);
        add_member(&out, "from_sequence", row->from_sequence);
        add_member(&out, "to_sequence", row->to_sequence);
        add_member(&out, "text", row->text);
        add_number(&out, "time_ms", row->time_ms);
        buf_add_char(&out, '}');
    }
    buf_add_literal(&out, "]}");
    puts(out.data);
    buf_fini(&out);
}

/* ---- for people ---- */

static void lag_text(int64_t lag, char *text, size_t size)
{
    if (lag < 0)
        snprintf(text, size, "-");
    else if (lag < 1000)
        snprintf(text, size, "0s");
    else if (lag < 120 * 1000)
        snprintf(text, size, "%llds", (long long)lag / 1000);
    else if (lag < 120 * 60 * 1000)
        snprintf(text, size, "%lldm", (long long)lag / 60000);
    else
        snprintf(text, size, "%lldh", (long long)lag / 3600000);
}

static void print_text(const struct store_snapshot *snapshot, int64_t now_ms)
{
    const char *bold = isatty(STDOUT_FILENO) ? "\033[1m" : "", *red = *bold ? "\033[31m" : "";
    const char *plain = *bold ? "\033[0m" : "";
    char lag[32];
    if (!snapshot->checkpoint_count)
        puts("no checkpoint yet");
    else
        printf("%s%-24s %-44s %-40s %6s%s\n", bold, "HANDLER", "SHARD", "CHECKPOINT", "LAG", plain);
    for (size_t i = 0; i < snapshot->checkpoint_count; i++) {
        const struct store_checkpoint *row = &snapshot->checkpoints[i];
        lag_text(lag_ms(row, find_shard(snapshot, row), now_ms), lag, sizeof lag);
        printf("%-24s %-44s %-40s %6s\n", row->handler, row->shard,
               row->position.kind == POSITION_AFTER ? row->position.sequence : kind_name(&row->position),
               lag);
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
    for (size_t i = 0; i < snapshot->dead_count; i++)
        printf("%s%s: %lld dead letter%s%s\n", red, snapshot->dead[i].handler,
               (long long)snapshot->dead[i].count, snapshot->dead[i].count == 1 ? "" : "s", plain);
    for (size_t i = 0; i < snapshot->event_count; i++) {
        const struct store_event *row = &snapshot->events[i];
        char time[CLOCK_ISO_SIZE];
        clock_iso8601(row->time_ms, time);
        printf("%s%s %s: handler %s, shard %s: %s (after %s, before %s)%s\n", red, time, row->kind,
               row->handler, row->shard, row->text, *row->from_sequence ? row->from_sequence : "-",
               *row->to_sequence ? row->to_sequence : "-", plain);
    }
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
    struct clock clock = clock_system();
    int64_t now_ms = clock_wall_ms(&clock);
    struct store_snapshot *snapshot = load(config, &err);
    if (!snapshot)
        cmd_complain("%s", err.text);
    else if (json[0])
        print_json(snapshot, config, now_ms);
    else
        print_text(snapshot, now_ms);
    int status = snapshot ? EXIT_DONE : EXIT_FAILED;
    store_snapshot_free(snapshot);
    config_release(config);
    return status;
}

const struct command cmd_status = {
    .name = "status",
    .arguments = "[-c FILE] [--json]",
    .summary = "checkpoints, lag and dead letters, per handler and shard",
    .help = "Shows what the state store knows: works beside a running host, and without one.\n"
            "LAG is the age of the last settled record while there is more to read.\n",
    .run = run,
};
