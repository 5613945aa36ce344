/* config.h: the INI as typed values. The contract is the table in README.md.
 *
 * A configuration is read-only once loaded and is shared by all reactors. */
#ifndef TIDEMILL_CONF_CONFIG_H
#define TIDEMILL_CONF_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compress.h"
#include "base/err.h"
#include "base/log.h"
#include "base/problems.h"
#include "conf/plugs.h"
#include "conf/settings.h"

enum start_position { START_TRIM_HORIZON, START_LATEST, START_AT };
enum gap_policy { GAP_CONTINUE, GAP_STOP };
enum ordering { ORDERING_ITEM, ORDERING_SHARD };

#define CONFIG_LISTEN "127.0.0.1:9464"

/* Read side by side. The service would take more. */
#define SNAPSHOT_SEGMENTS_MAX 1000

struct config_host {
    char *name;
    char *group;
    char *scripts;     /* absolute, or as seen from the working directory */
    char *state;       /* "SCHEME:PLACE" (state/store_open.h); a path is resolved beside the INI */
    char *admin_token; /* who shows it may change something; and, where others reach `listen`, see it */
    char *listen; /* where metrics are shown: see base/address.h; "off": nowhere; NULL: CONFIG_LISTEN, if free
                   */
    char *otlp;   /* where spans go: http://127.0.0.1:4318; NULL: nowhere */
    int64_t otlp_sample_ppm; /* of a million records */
    int64_t threads;         /* 0: one per core */
    int landlock;            /* 1: it writes only where state and files of targets are (base/rights.h) */
    int core_dumps;          /* 1: as the system has it; 0: none */
    int log_level;           /* enum log_level */
    int log_format;          /* enum log_format */
    int64_t shutdown_timeout_ms;
    int64_t secrets_age_ms; /* then what ${ssm:} and ${secret:} stand for is asked for again */
    int64_t checkpoint_interval_ms;
    int64_t lease_ms; /* of a state that hosts share: how long a silent one is waited for */
    int create_state; /* 1: a state's table is made where it is missing */
};

struct config_aws {
    char *region;
    char *profile;
    char *endpoint;
    char *endpoint_dynamodb;
    char *endpoint_streams;
    char *endpoint_sts;
    char *endpoint_events, *endpoint_sqs, *endpoint_sns, *endpoint_kinesis, *endpoint_firehose,
        *endpoint_lambda, *endpoint_states, *endpoint_s3, *endpoint_ses;
    char *ca_bundle;
    bool assumes_no_role; /* for dev and test, where there is nobody to ask */
    int64_t connections;  /* calls at once to one endpoint, per reactor */
    int64_t call_timeout_ms;
};

struct config_stream {
    char *name;
    char *table;         /* its latest stream; or */
    char *arn;           /* one stream; or */
    char *kinesis;       /* a Kinesis stream's name or ARN, with the changes of `table` */
    struct names tables; /* many, by name ("orders-*"), */
    char *tag;           /* and by tag ("cdc:on") */
    int start;           /* enum start_position */
    int64_t start_at_ms; /* of START_AT */
    int on_gap;          /* enum gap_policy */
    int64_t batch_size;
    int64_t poll_min_ms;
    int64_t poll_max_ms;
    int64_t window_bytes;
    int64_t discovery_ms;
    char *export;              /* in place of reading it for that: s3://BUCKET/PREFIX, or a directory */
    int snapshot;              /* 1: a handler without a checkpoint first has every item of the table */
    int snapshot_consistent;   /* 1: read consistently, for twice the units */
    int64_t snapshot_units;    /* read units a second, over all hosts; 0: as many as there are */
    int64_t snapshot_segments; /* read side by side; 0: by the table's size */
    const char *played;        /* the key in whose place the table itself is played (dev, test); NULL: none */
    int line;
};

enum intake_verify {
    VERIFY_NONE,
    VERIFY_GITHUB,
    VERIFY_STRIPE,
    VERIFY_SLACK,
    VERIFY_STANDARD,
    VERIFY_TIDEMILL,
    VERIFY_HMAC,
    VERIFY_BEARER
};

/* Requests from outside, for the on_request of one handler. */
struct config_intake {
    char *name;
    char *listen;            /* see base/address.h */
    char *certificate, *key; /* PEM files; NULL: plain HTTP */
    char *path;              /* what paths begin with; NULL: all */
    int verify;              /* enum intake_verify; -1: not said */
    char *secrets;           /* any of them, between blanks; NULL: none */
    char *signature;         /* hmac: the header it is in */
    char *id;                /* the header with the sender's delivery id; NULL: as `verify` has it */
    int64_t tolerance_ms;    /* so old, or early, may a time be that is signed */
    int64_t body_bytes, rate_ns, concurrency;
    int line;
};

/* How records reach one handler: from defaults, then the script's table, then the INI. */
struct handler_settings {
    struct names streams;
    char *intake; /* it has requests instead; or NULL */
    int ordering; /* enum ordering */
    int64_t concurrency;
    int64_t batch_size;         /* records for one on_batch or on_window, at most */
    int64_t batch_window_ms;    /* how long a batch may wait to fill */
    int64_t tumbling_window_ms; /* 0: none */
    int64_t retries;            /* -1: as long as max_age allows */
    int64_t backoff_ms[2];
    int64_t max_age_ms;
    char *on_failure;
    int64_t timeout_ms;
    int64_t cpu_limit_ms;
    int64_t memory_bytes;
    int64_t rate_ns;   /* between two calls, over all hosts; 0: as they come */
    char *allow_hosts; /* where tidemill.http may go; NULL: anywhere */
    char *formerly;    /* the name it had before: it goes on where that one stands; or NULL */
    char *script;      /* the section runs that script under its own name; NULL: its own */
};

struct config_pair {
    char *name;
    char *value; /* ${...} filled in */
    char *shown; /* as it stands in the file */
    int line;
};

struct config_handler {
    const char *kind; /* "handler"; of a route's section "route" */
    char *name;
    struct config_pair *pairs; /* every key of the section, settings and the script's own */
    size_t pair_count, pair_capacity;
    int line;
};

struct target_type;

/* Where messages go. */
struct config_target {
    char *name;
    const struct target_type *type; /* conf/target_type.h */
    void *own;                      /* the type's own settings, as its file has them; NULL: it has none */
    char *region;                   /* NULL: that of [aws] */
    char *role, *external_id;       /* of another account that AWS's are asked as; NULL: as [aws] says */
    char *spill;                    /* a target for what is too large for this one */
    /* 0 or -1: what is usual for the type (conf/target_type.h) */
    int64_t batch_count, batch_bytes, linger_ms, in_flight;
    int64_t retries; /* -1: as long as the record's max_age allows */
    int64_t rate_ns; /* between two messages, over all hosts; 0: as they come */
    int64_t backoff_ms[2];
    int64_t timeout_ms;
    bool shown;                /* by dev: its messages are printed with its name, in place of a service */
    struct config_pair *pairs; /* while the file is read */
    size_t pair_count, pair_capacity;
    int line;
};

/* What somebody pays: of [prices]. */
struct config_price {
    char *name;
    double price;
    int line;
};

enum route_image { IMAGE_RECORD, IMAGE_NEW, IMAGE_OLD, IMAGE_BOTH, IMAGE_KEYS };

/* A fan-out without a script. */
struct config_route {
    char *name;
    struct config_handler section; /* every key as it was written */
    char *target, *pattern;
    char *input_path, *input_paths, *input_template;
    char *detail_type, *source, *subject;
    int image; /* enum route_image */
    int unmarshalled;
    struct handler_settings settings;
    int line;
};

/* "customer, jobId:N": one or two attributes, strings unless they say :N or :B. */
struct config_key {
    char *names[2];
    char types[2]; /* 'S', 'N', 'B' */
    size_t count;
};

struct config_index {
    char *name;
    bool local;
    struct config_key key; /* of a local one both attributes, the table's first one before its own */
};

/* A table for the embedded DynamoDB, or what is to be kept to with one anywhere. */
struct config_table {
    char *name;
    char *key_text, *ttl, *seed; /* seed: a file's path, beside the INI; key NULL: it is not made */
    int64_t max_in_flight;       /* calls of handlers at once to it, of the whole process; 0: as they come */
    int stream;                  /* index into "none", "keys_only", ... as enum view_type counts */
    struct config_key key;
    struct config_index *indexes;
    size_t index_count, index_capacity;
    int line;
};

/* ${ssm:/crm/token} */
struct config_reference {
    char *kind, *name;
};

struct config {
    atomic_size_t holders;
    char *path;
    struct config_host host;
    struct config_aws aws;
    struct config_stream *streams;
    struct config_found *found; /* of config_stream_of */
    size_t stream_count, stream_capacity;
    struct config_handler *handlers;
    size_t handler_count, handler_capacity;
    const struct target_type *const *target_types; /* those there are */
    struct config_target *targets;
    size_t target_count, target_capacity;
    struct config_route *routes;
    size_t route_count, route_capacity;
    struct config_table *tables;
    size_t table_count, table_capacity;
    struct config_intake *intakes;
    size_t intake_count, intake_capacity;
    char *currency; /* NULL: USD */
    struct config_price *prices;
    size_t price_count, price_capacity;
    /* Of what stands in it (${env:X} as such), whatever its order, without [host] and [aws], where the
     * machines of a group may differ; the same on every machine. */
    uint64_t digest;
    uint64_t text_hash; /* of the file, as it was read: see config_text_hash */
    bool incomplete; /* some ${...} was not filled in: what is said there is missing, and was complained of,
                        or nobody was asked */
    uint64_t files_hash; /* of what ${file:}, ${ssm:} and ${secret:} stood for; 0: there is none */
    struct config_reference *references; /* each ${ssm:} and ${secret:}, as often as it stands there */
    size_t reference_count, reference_capacity;
    /* Whatever else is wrong, [host] and [aws] are not: commands about the state need no more. */
    bool state_known;
};

/* The names in [prices], beside those of types of targets. */
#define CONFIG_PRICE_STREAM "stream_read"
#define CONFIG_PRICE_READ "read_unit"
#define CONFIG_PRICE_WRITE "write_unit"

/* What a million costs (of a target that is paid by the byte: a GiB), as [prices] says, or usually. */
double config_price(const struct config *config, const char *name);

/* Of a file as it stands there now; 0: it cannot be read. */
uint64_t config_text_hash(const char *path);

/* Does a ${ssm:} or ${secret:} stand in the file now? */
bool config_mentions_secrets(const char *path);

/* Read and check everything; each thing that is wrong becomes a line of `problems` and the rest is still
 * checked. `target_types` are the kinds of targets that it may name (deliver/targets/table.h). Never NULL;
 * usable only when no problem was added. */
struct config *config_load(const char *path, const struct config_plugs *plugs, struct problems *problems);

/* Only the defaults, of no file (its path is ""). */
struct config *config_empty(const struct config_plugs *plugs);

/* Counted by reference, from any thread; config_load and config_empty give the first. NULL is nothing. */
const struct config *config_hold(const struct config *config);
void config_release(const struct config *config);

/* Longer than this the end of a shard is not left unseen by a reader that works; `stream` may be NULL. */
#define CONFIG_READ_LATE_MS 15000
int64_t config_read_late_ms(const struct config_stream *stream);

const struct config_stream *config_stream(const struct config *config, const char *name);
const struct config_handler *config_handler(const struct config *config, const char *name); /* or NULL */
const struct config_target *config_target(const struct config *config, const char *name);   /* or NULL */
const struct config_intake *config_intake(const struct config *config, const char *name);   /* or NULL */
const struct config_table *config_table(const struct config *config, const char *name);     /* or NULL */
const struct config_route *config_route(const struct config *config, const char *name);     /* or NULL */

/* Do two configurations say the same of [host] and [aws], of a stream, of a handler? A section that neither
 * has is the same in both. Filled-in values count, not how they are written. */
/* The script that the section runs, if it says another one than its name does ("copy": scripts/copy.lua); or
 * NULL. */
const char *config_handler_script(const struct config_handler *section);

/* Is the script run by sections with other names, and by none of its own? Then it is no handler itself. */
bool config_script_is_shared(const struct config *config, const char *name);

/* Does such a text of a route come from the record: "$.path", or with "<name>" in it? NULL does not. */
bool config_is_filled_in(const char *text);

/* Is that a role's ARN? */
bool config_is_role(const char *text);

bool config_same_process(const struct config *a, const struct config *b);
bool config_same_stream(const struct config *a, const struct config *b, const char *name);
bool config_same_handler(const struct config *a, const struct config *b, const char *name);
bool config_same_intake(const struct config *a, const struct config *b, const char *name);
bool config_same_route(const struct config *a, const struct config *b, const char *name);
bool config_same_targets(const struct config *a, const struct config *b); /* NULL: no targets */

/* False and `err`; what was read is the caller's to free with config_key_fini either way. */
bool config_key_parse(const char *text, struct config_key *key, struct err *err);
void config_key_fini(struct config_key *key);

void handler_settings_init(struct handler_settings *settings);
void handler_settings_fini(struct handler_settings *settings);

/* Into settings that were initialised. */
void handler_settings_copy(struct handler_settings *settings, const struct handler_settings *from);

/* Is `name` one of the settings (and not the script's own key)? */
bool handler_settings_knows(const char *name);
const char *handler_settings_nearest(const char *name); /* the key that may be meant; or NULL */

/* `text` as the INI writes it. `shown` is what errors quote. */
bool handler_settings_set(struct handler_settings *settings, const char *name, const char *text,
                          const char *shown, struct err *err);

/* Overlay the INI's section onto settings that hold the script's; problems name the INI's lines. */
void handler_settings_overlay(struct handler_settings *settings, const struct config *config,
                              const struct config_handler *handler, struct problems *problems);

/* What can only be said of settings as a whole; problems begin with `where`. `config` may be NULL, and so may
 * `section`, which some of them come from. */
void handler_settings_check(const struct handler_settings *settings, const struct config *config,
                            const struct config_handler *section, const char *where,
                            struct problems *problems);

/* Are there streams of those names, each of a table of its own? False and `err`, which begins with the key.
 */
bool handler_streams_check(const struct handler_settings *settings, const struct config *config,
                           const struct config_handler *section, struct err *err);

/* Of the handler's streams that of the table, else the first that there is; or NULL. `config` may be NULL. */
const struct config_stream *handler_stream_of(const struct handler_settings *settings,
                                              const struct config *config, const char *table);

/* The table that a stream is of, owned; NULL: it cannot be told. */
char *config_stream_table(const struct config_stream *stream);

/* "stream NAME", and of one of many tables which, for logs and troubles; owned by the caller. */
char *config_stream_subject(const struct config *config, const struct config_stream *stream);

/* Does it name many tables? */
bool config_stream_is_many(const struct config_stream *stream);

/* Does the table's name fit those that it means? (Its tag is another question.) False where it names one. */
bool config_stream_fits(const struct config_stream *stream, const char *table);

/* The stream of one of the many tables, as if it were named alone; stays as long as the configuration. For
 * one thread, always the same. */
const struct config_stream *config_stream_of(const struct config *config, const struct config_stream *many,
                                             const char *table);

/* The key's value as it stands in the section: what ${...} stands for is shown to nobody. `value` where it
 * does not come from there. */
const char *config_shown(const struct config_handler *section, const char *name, const char *value);

/* setting_refuse of a key that the section has. */
bool config_refuse(const struct config_handler *section, const char *name, const char *value,
                   struct err *err);

/* The line of a key in a section, or of the section where it does not stand in it. */
int config_key_line(const struct config_handler *section, const char *name);

/* Print its messages instead of sending them. */
void config_target_show(const struct config *config, struct config_target *target);

/* The endpoint that was set for one of AWS's services ("sqs"), or NULL. */
const char *config_endpoint(const struct config_aws *aws, const char *service);

#endif
