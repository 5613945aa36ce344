/* table.h: the rows that many hosts of a group share, and what may be asked of them: the seam between the
 * rules of ownership and the table that keeps the rows.
 *
 * Each request touches one row (or lists some); what it demands of the row and what it changes are one step
 * of the table. A table answers each with one of four outcomes: what it did, that it refused (with the row as
 * it stood), that nobody knows, or that it certainly did nothing. A request whose outcome is not known may be
 * carried out at any later time: who must know sends the same one again until he does. */
#ifndef TIDEMILL_LEASE_TABLE_H
#define TIDEMILL_LEASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

/* A session: the host's name (63 bytes at most), '#', 16 hexadecimal digits. */
#define LEASE_SESSION_SIZE 88
#define LEASE_NONCE_SIZE 17 /* 16 hexadecimal digits */

/* Of each stream's shards; the row that says who discovers the stream stands in one more. */
#define LEASE_BUCKETS 64
#define LEASE_STREAM_BUCKET LEASE_BUCKETS
#define LEASE_STREAM_ROW "~stream" /* in place of a shard's id */

/* Of texts; ends with NULL. What hosts agree by, and where rows are stored: all versions must come to the
 * same. */
uint64_t lease_hash(const char *const *texts);

/* As it stands in `follows` of a host that reads the stream. */
#define LEASE_FOLLOWS_SIZE 10
void lease_follows(const char *stream, char digits[LEASE_FOLLOWS_SIZE]);

/* The bucket of a shard's row. */
int lease_bucket(const char *shard);

/* In place of a parent, of a shard whose row was copied from where nobody keeps them. */
#define LEASE_PARENTS_UNKNOWN "?"

/* Beside the hosts' rows, in place of a session: counts how often somebody asked all hosts for something. */
#define LEASE_BELL "~bell"

enum lease_death { LEASE_ALIVE, LEASE_MARKED, LEASE_LEFT };
enum lease_host_state { LEASE_RUN, LEASE_LEAVING, LEASE_SICK };

struct lease_host {
    const char *session;
    const char *beat; /* another nonce each time */
    int64_t lease_ms; /* how long its silence must last */
    double load;      /* of its shards, see options */
    int64_t shards, reactors;
    int64_t mail; /* counts what it was told of */
    enum lease_host_state state;
    enum lease_death death;
    const char *instance;              /* of the process: what it claims says so */
    const char *version, *fingerprint; /* of the program; of scripts and INI */
    int64_t since_ms;                  /* wall clock */
    int64_t fingerprint_ms;            /* likewise: since when it has these */
    const char *follows; /* which streams it reads: of each a blank and 8 hexadecimal digits of its hash */
    int64_t beat_ms;     /* likewise, of the table's: for people, nothing is decided by it */
};

/* One handler's checkpoint in a shard, as the store writes it; to write, NULL takes it away. */
struct lease_part {
    const char *handler, *text;
    bool end; /* the handler has finished the shard */
};

struct lease_row {
    const char *stream, *shard;
    const char *parents[2]; /* NULL: none; the first LEASE_PARENTS_UNKNOWN: not known yet */
    const char *owner;      /* a session */
    int64_t epoch, version;
    const char *nonce; /* of who wrote last */
    double load;
    const struct lease_part *parts;
    size_t part_count;
};

/* What a host was given: the row will have that epoch, or has had it. */
struct lease_mail {
    const char *id, *stream, *shard;
    int64_t epoch;
};

enum lease_request_kind {
    LEASE_READ_GROUP,   /* `opened`, `gid` in the answer; refused: there is none */
    LEASE_CREATE_GROUP, /* of `gid`, not opened; refused: there is one */
    LEASE_OPEN_GROUP,   /* of `gid`; refused: another, or open already */
    LEASE_LIST_HOSTS,   /* may be a little old */
    LEASE_CREATE_HOST,  /* `host`; refused: there is one */
    LEASE_BEAT,         /* `host`, where its beat is `last` and it is not dead */
    LEASE_MARK,         /* `death` on `host.session`, where its beat is `last` and it is not dead */
    LEASE_BURY,         /* a row of `host.session` that is dead; refused: there is a row */
    LEASE_FORGET_HOST,  /* delete the row of `host.session`, where it is dead */
    LEASE_TELL,        /* count `host.session`'s mail on and add `row.load`, where it is there and not dead */
    LEASE_CREATE_ROW,  /* `row`, with its owner, epoch and nonce; refused: there is one */
    LEASE_WRITE_ROW,   /* where owner, epoch and version are as `seen` says (version 0: whatever it is):
                          owner, epoch, nonce, load as `row` says, version + 1, and of the parts those given */
    LEASE_READ_ROW,    /* not an old one; refused: there is none */
    LEASE_LIST_BUCKET, /* `bucket` of `row.stream`; may be a little old */
    LEASE_DELETE_ROW,  /* where owner, epoch and version are as `seen` says */
    LEASE_PUT_MAIL,    /* `mail` to `host.session`; the same again changes nothing */
    LEASE_LIST_MAIL,   /* of `host.session`; not an old list */
    LEASE_DELETE_MAIL, /* `mail.id` of `host.session` */
};

struct lease_request {
    enum lease_request_kind kind;
    const char *gid;
    struct lease_host host;
    const char *last, *by;
    enum lease_death death;
    struct lease_row row;
    struct {
        const char *owner;
        int64_t epoch, version;
    } seen;
    int bucket;
    struct lease_mail mail;
};

enum lease_outcome {
    LEASE_OK,
    LEASE_REFUSED, /* the condition did not hold; the row as it stands is in the answer, where there is one */
    LEASE_UNKNOWN, /* no answer came: it may have been done, or may still be */
    LEASE_NOT_DONE, /* certainly: throttled, refused before it was looked at */
    LEASE_NO_TABLE,
};

/* Valid during the call. A write that was done gives the row as it is then. */
struct lease_answer {
    enum lease_outcome outcome;
    const struct err *err; /* why it was not done, or nobody knows; else NULL */
    int64_t server_ms;     /* the table's wall clock, 0: unknown */
    const char *gid;
    bool opened;
    const struct lease_host *hosts;
    size_t host_count;
    int64_t rung; /* of LEASE_LIST_HOSTS: how often the bell was */
    const struct lease_row *rows;
    size_t row_count;
    const struct lease_mail *mail;
    size_t mail_count;
};

/* With all that it points to in the arena. */
struct lease_request lease_request_copy(struct arena *arena, const struct lease_request *request);
struct lease_row lease_row_copy(struct arena *arena, const struct lease_row *row);

struct lease_table;
struct lease_call;
typedef void lease_answer_fn(void *user, const struct lease_answer *answer);

struct lease_table_ops {
    /* The request is copied. `done` comes once, later, LEASE_UNKNOWN after `timeout_ms`; never after cancel.
     */
    struct lease_call *(*send)(struct lease_table *, const struct lease_request *, int64_t timeout_ms,
                               lease_answer_fn *done, void *user);
    void (*cancel)(struct lease_table *, struct lease_call *);
};

struct lease_table {
    const struct lease_table_ops *ops;
};

#endif
