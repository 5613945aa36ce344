/* tables.c: a new key is a line here and a field in config.h. */
#include "conf/tables.h"

#include <stddef.h>

static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const formats[] = {"auto", "text", "json", NULL};
static const char *const switches[] = {"off", "on", NULL};
static const char *const answers[] = {"no", "yes", NULL};
static const char *const starts[] = {"trim_horizon", "latest", NULL};
static const char *const gap_policies[] = {"continue", "stop", NULL};
static const char *const orderings[] = {"item", "shard", NULL};

const struct setting conf_host_settings[] = {
    {"name", SETTING_TEXT, offsetof(struct config_host, name), 0, 0, NULL},
    {"group", SETTING_TEXT, offsetof(struct config_host, group), 0, 0, NULL},
    {"scripts", SETTING_TEXT, offsetof(struct config_host, scripts), 0, 0, NULL},
    {"state", SETTING_TEXT, offsetof(struct config_host, state), 0, 0, NULL},
    {"otlp", SETTING_TEXT, offsetof(struct config_host, otlp), 0, 0, NULL},
    {"otlp_sample", SETTING_SHARE, offsetof(struct config_host, otlp_sample_ppm), 0, 0, NULL},
    {"threads", SETTING_INTEGER, offsetof(struct config_host, threads), 0, 256, NULL},
    {"listen", SETTING_TEXT, offsetof(struct config_host, listen), 0, 0, NULL},
    {"admin_token", SETTING_TEXT, offsetof(struct config_host, admin_token), 0, 0, NULL},
    {"landlock", SETTING_CHOICE, offsetof(struct config_host, landlock), 0, 0, switches},
    {"core_dumps", SETTING_CHOICE, offsetof(struct config_host, core_dumps), 0, 0, switches},
    {"log_level", SETTING_CHOICE, offsetof(struct config_host, log_level), 0, 0, levels},
    {"log_format", SETTING_CHOICE, offsetof(struct config_host, log_format), 0, 0, formats},
    {"shutdown_timeout", SETTING_DURATION, offsetof(struct config_host, shutdown_timeout_ms), 0, HOUR_MS,
     NULL},
    {"secrets_age", SETTING_DURATION, offsetof(struct config_host, secrets_age_ms), 1000, 24 * HOUR_MS, NULL},
    {"checkpoint_interval", SETTING_DURATION, offsetof(struct config_host, checkpoint_interval_ms), 10,
     HOUR_MS, NULL},
    {"lease", SETTING_DURATION, offsetof(struct config_host, lease_ms), 4000, HOUR_MS, NULL},
    {"create_state", SETTING_CHOICE, offsetof(struct config_host, create_state), 0, 0, answers},
    {NULL, 0, 0, 0, 0, NULL},
};

const struct setting conf_aws_settings[] = {
    {"region", SETTING_TEXT, offsetof(struct config_aws, region), 0, 0, NULL},
    {"profile", SETTING_TEXT, offsetof(struct config_aws, profile), 0, 0, NULL},
    {"endpoint", SETTING_TEXT, offsetof(struct config_aws, endpoint), 0, 0, NULL},
    {"endpoint_dynamodb", SETTING_TEXT, offsetof(struct config_aws, endpoint_dynamodb), 0, 0, NULL},
    {"endpoint_streams", SETTING_TEXT, offsetof(struct config_aws, endpoint_streams), 0, 0, NULL},
    {"endpoint_sts", SETTING_TEXT, offsetof(struct config_aws, endpoint_sts), 0, 0, NULL},
    {"endpoint_events", SETTING_TEXT, offsetof(struct config_aws, endpoint_events), 0, 0, NULL},
    {"endpoint_sqs", SETTING_TEXT, offsetof(struct config_aws, endpoint_sqs), 0, 0, NULL},
    {"endpoint_sns", SETTING_TEXT, offsetof(struct config_aws, endpoint_sns), 0, 0, NULL},
    {"endpoint_kinesis", SETTING_TEXT, offsetof(struct config_aws, endpoint_kinesis), 0, 0, NULL},
    {"endpoint_firehose", SETTING_TEXT, offsetof(struct config_aws, endpoint_firehose), 0, 0, NULL},
    {"endpoint_lambda", SETTING_TEXT, offsetof(struct config_aws, endpoint_lambda), 0, 0, NULL},
    {"endpoint_states", SETTING_TEXT, offsetof(struct config_aws, endpoint_states), 0, 0, NULL},
    {"endpoint_ses", SETTING_TEXT, offsetof(struct config_aws, endpoint_ses), 0, 0, NULL},
    {"endpoint_s3", SETTING_TEXT, offsetof(struct config_aws, endpoint_s3), 0, 0, NULL},
    {"ca_bundle", SETTING_TEXT, offsetof(struct config_aws, ca_bundle), 0, 0, NULL},
    {"connections", SETTING_INTEGER, offsetof(struct config_aws, connections), 1, 4096, NULL},
    {"call_timeout", SETTING_DURATION, offsetof(struct config_aws, call_timeout_ms), 100, HOUR_MS, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

const struct setting conf_stream_settings[] = {
    {"table", SETTING_TEXT, offsetof(struct config_stream, table), 0, 0, NULL},
    {"arn", SETTING_TEXT, offsetof(struct config_stream, arn), 0, 0, NULL},
    {"kinesis", SETTING_TEXT, offsetof(struct config_stream, kinesis), 0, 0, NULL},
    {"tables", SETTING_NAMES, offsetof(struct config_stream, tables), 0, 0, NULL},
    {"tag", SETTING_TEXT, offsetof(struct config_stream, tag), 0, 0, NULL},
    {"start", SETTING_CHOICE, offsetof(struct config_stream, start), 0, 0, starts},
    {"on_gap", SETTING_CHOICE, offsetof(struct config_stream, on_gap), 0, 0, gap_policies},
    {"batch_size", SETTING_INTEGER, offsetof(struct config_stream, batch_size), 1, 1000, NULL},
    {"poll_min", SETTING_DURATION, offsetof(struct config_stream, poll_min_ms), 1, HOUR_MS, NULL},
    {"poll_max", SETTING_DURATION, offsetof(struct config_stream, poll_max_ms), 1, HOUR_MS, NULL},
    {"window", SETTING_SIZE, offsetof(struct config_stream, window_bytes), 2 * MIB, 64 * GIB, NULL},
    {"discovery", SETTING_DURATION, offsetof(struct config_stream, discovery_ms), 100, HOUR_MS, NULL},
    {"export", SETTING_TEXT, offsetof(struct config_stream, export), 0, 0, NULL},
    {"snapshot", SETTING_CHOICE, offsetof(struct config_stream, snapshot), 0, 0, answers},
    {"snapshot_consistent", SETTING_CHOICE, offsetof(struct config_stream, snapshot_consistent), 0, 0,
     answers},
    {"snapshot_units", SETTING_INTEGER, offsetof(struct config_stream, snapshot_units), 1, 10000000, NULL},
    {"snapshot_segments", SETTING_INTEGER, offsetof(struct config_stream, snapshot_segments), 1,
     SNAPSHOT_SEGMENTS_MAX, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const char *const views[] = {"none",      "keys_only",          "new_image",
                                    "old_image", "new_and_old_images", NULL};

const struct setting conf_table_settings[] = {
    {"key", SETTING_TEXT, offsetof(struct config_table, key_text), 0, 0, NULL},
    {"stream", SETTING_CHOICE, offsetof(struct config_table, stream), 0, 0, views},
    {"ttl", SETTING_TEXT, offsetof(struct config_table, ttl), 0, 0, NULL},
    {"seed", SETTING_TEXT, offsetof(struct config_table, seed), 0, 0, NULL},
    {"max_in_flight", SETTING_INTEGER, offsetof(struct config_table, max_in_flight), 1, 100000, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const char *const verifications[] = {"none",     "github", "stripe", "slack", "standard",
                                            "tidemill", "hmac",   "bearer", NULL};

const struct setting conf_intake_settings[] = {
    {"listen", SETTING_TEXT, offsetof(struct config_intake, listen), 0, 0, NULL},
    {"certificate", SETTING_TEXT, offsetof(struct config_intake, certificate), 0, 0, NULL},
    {"key", SETTING_TEXT, offsetof(struct config_intake, key), 0, 0, NULL},
    {"path", SETTING_TEXT, offsetof(struct config_intake, path), 0, 0, NULL},
    {"verify", SETTING_CHOICE, offsetof(struct config_intake, verify), 0, 0, verifications},
    {"secret", SETTING_TEXT, offsetof(struct config_intake, secrets), 0, 0, NULL},
    {"signature", SETTING_TEXT, offsetof(struct config_intake, signature), 0, 0, NULL},
    {"id", SETTING_TEXT, offsetof(struct config_intake, id), 0, 0, NULL},
    {"tolerance", SETTING_DURATION, offsetof(struct config_intake, tolerance_ms), SECOND_MS, DAY_MS, NULL},
    {"body", SETTING_SIZE, offsetof(struct config_intake, body_bytes), 1, 64 * MIB, NULL},
    {"rate", SETTING_RATE, offsetof(struct config_intake, rate_ns), 0, 0, NULL},
    {"concurrency", SETTING_INTEGER, offsetof(struct config_intake, concurrency), 1, 10000, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

const struct setting conf_handler_settings[] = {
    {"intake", SETTING_TEXT, offsetof(struct handler_settings, intake), 0, 0, NULL},
    {"stream", SETTING_NAMES, offsetof(struct handler_settings, streams), 0, 0, NULL},
    {"ordering", SETTING_CHOICE, offsetof(struct handler_settings, ordering), 0, 0, orderings},
    {"concurrency", SETTING_INTEGER, offsetof(struct handler_settings, concurrency), 1, 10000, NULL},
    {"batch_size", SETTING_INTEGER, offsetof(struct handler_settings, batch_size), 1, 10000, NULL},
    {"batch_window", SETTING_DURATION, offsetof(struct handler_settings, batch_window_ms), 0, 300 * SECOND_MS,
     NULL},
    {"tumbling_window", SETTING_DURATION, offsetof(struct handler_settings, tumbling_window_ms), SECOND_MS,
     DAY_MS, NULL},
    {"retries", SETTING_INTEGER, offsetof(struct handler_settings, retries), -1, 10000, NULL},
    {"backoff", SETTING_RANGE, offsetof(struct handler_settings, backoff_ms), 0, 0, NULL},
    {"max_age", SETTING_DURATION, offsetof(struct handler_settings, max_age_ms), 1, 7 * DAY_MS, NULL},
    {"on_failure", SETTING_TEXT, offsetof(struct handler_settings, on_failure), 0, 0, NULL},
    {"timeout", SETTING_DURATION, offsetof(struct handler_settings, timeout_ms), 1, DAY_MS, NULL},
    {"cpu_limit", SETTING_DURATION, offsetof(struct handler_settings, cpu_limit_ms), 1, HOUR_MS, NULL},
    {"memory", SETTING_SIZE, offsetof(struct handler_settings, memory_bytes), MIB, 64 * GIB, NULL},
    {"rate", SETTING_RATE, offsetof(struct handler_settings, rate_ns), 0, 0, NULL},
    {"allow_hosts", SETTING_TEXT, offsetof(struct handler_settings, allow_hosts), 0, 0, NULL},
    {"formerly", SETTING_TEXT, offsetof(struct handler_settings, formerly), 0, 0, NULL},
    {"script", SETTING_TEXT, offsetof(struct handler_settings, script), 0, 0, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

/* Those of all targets; `type` is read before them, and each type has its own (conf/target_type.h). */
const struct setting conf_target_settings[] = {
    {"region", SETTING_TEXT, offsetof(struct config_target, region), 0, 0, NULL},
    {"role", SETTING_TEXT, offsetof(struct config_target, role), 0, 0, NULL},
    {"external_id", SETTING_TEXT, offsetof(struct config_target, external_id), 0, 0, NULL},
    {"spill", SETTING_TEXT, offsetof(struct config_target, spill), 0, 0, NULL},
    {"batch_count", SETTING_INTEGER, offsetof(struct config_target, batch_count), 1, 1000000, NULL},
    {"batch_bytes", SETTING_SIZE, offsetof(struct config_target, batch_bytes), 1, GIB, NULL},
    {"linger", SETTING_DURATION, offsetof(struct config_target, linger_ms), 0, HOUR_MS, NULL},
    {"in_flight", SETTING_INTEGER, offsetof(struct config_target, in_flight), 1, 1000, NULL},
    {"retries", SETTING_INTEGER, offsetof(struct config_target, retries), -1, 10000, NULL},
    {"backoff", SETTING_RANGE, offsetof(struct config_target, backoff_ms), 0, 0, NULL},
    {"rate", SETTING_RATE, offsetof(struct config_target, rate_ns), 0, 0, NULL},
    {"timeout", SETTING_DURATION, offsetof(struct config_target, timeout_ms), 1, HOUR_MS, NULL},
    {NULL, 0, 0, 0, 0, NULL},
};

static const char *const images[] = {"record", "new", "old", "both", "keys", NULL};

const struct setting conf_route_settings[] = {
    {"target", SETTING_TEXT, offsetof(struct config_route, target), 0, 0, NULL},
    {"pattern", SETTING_TEXT, offsetof(struct config_route, pattern), 0, 0, NULL},
    {"input_path", SETTING_TEXT, offsetof(struct config_route, input_path), 0, 0, NULL},
    {"input_paths", SETTING_TEXT, offsetof(struct config_route, input_paths), 0, 0, NULL},
    {"input_template", SETTING_TEXT, offsetof(struct config_route, input_template), 0, 0, NULL},
    {"detail_type", SETTING_TEXT, offsetof(struct config_route, detail_type), 0, 0, NULL},
    {"source", SETTING_TEXT, offsetof(struct config_route, source), 0, 0, NULL},
    {"subject", SETTING_TEXT, offsetof(struct config_route, subject), 0, 0, NULL},
    {"image", SETTING_CHOICE, offsetof(struct config_route, image), 0, 0, images},
    {"unmarshalled", SETTING_CHOICE, offsetof(struct config_route, unmarshalled), 0, 0, answers},
    {NULL, 0, 0, 0, 0, NULL},
};
