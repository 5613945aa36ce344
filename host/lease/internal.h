/* internal.h: the parts of a coordinator. Private to lease/.
 *
 * coordinator -> {balance, wardens} -> transfers -> holdings -> members -> session -> request: a file calls
 * those behind it; what goes the other way goes by `struct upwards`. */
#ifndef TIDEMILL_LEASE_INTERNAL_H
#define TIDEMILL_LEASE_INTERNAL_H

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "lease/coordinator.h"

#define LEASE_NEVER INT64_MAX

/* Shares of a lease, in thousandths: see README.md. */
#define FENCE_SHARE 600 /* from the sending of the last good beat */
#define QUIET_SHARE 125 /* a call's life after the last look at the fence: D */
#define DOUBT_SHARE 100 /* that the wall clock may run ahead of the other unnoticed: theta */
#define BLIND_SHARE 350 /* an observer's own gap, after which all silence counts anew */
#define BEAT_SHARE 333
#define BEAT_ANSWER_SHARE 100
#define BEAT_AGAIN_SHARE 33
#define SICK_SHARE 500   /* that a reactor stood still: nothing is given to the host */
#define MUTE_SHARE 1000  /* likewise: it does not beat, and is not born anew */
#define PARENT_SHARE 100 /* between two looks at a parent's row, growing to: */
#define PARENT_MOST_SHARE 200

/* ---- a session ---- */

enum phase {
    PHASE_GROUP, /* is the group open? */
    PHASE_BIRTH, /* its row is made, and the group looked at again */
    PHASE_LIVE,
    PHASE_LEFT, /* nothing is done any more */
};

struct sent_beat {
    char nonce[LEASE_NONCE_SIZE];
    int64_t sent_ms, wall_ms;
    int64_t number; /* of this session: 1, 2, ... */
};

#define UNKNOWN_BEATS 16

struct session {
    enum phase phase;
    char id[LEASE_SESSION_SIZE]; /* "": none */
    char unopened[LEASE_NONCE_SIZE];
    char group[LEASE_NONCE_SIZE]; /* that was open before its birth */
    int64_t unopened_ms;          /* when this group was first seen not to be open */
    bool asking;                  /* about the group, or for the row: an answer is awaited */
    int64_t due_ms;               /* of the next step of these, or of the next beat */
    bool hurry;                   /* another beat, though one may be on its way */
    struct sent_beat last, unknown[UNKNOWN_BEATS];
    int unknown_count;
    struct sent_beat sending;
    int64_t doubt_ms; /* a clock was seen to jump; 0: none since the last good beat that was sent after */
    int64_t born_ms;
    int64_t since_wall_ms;
    char why[200]; /* the last beat was not done; "": it was */
};

/* ---- other hosts ---- */

struct member {
    char session[LEASE_SESSION_SIZE];
    char beat[LEASE_NONCE_SIZE];
    int64_t seen_ms; /* when this beat was first seen, or everything counts from */
    int64_t lease_ms;
    bool listed; /* by the last answer */
    bool known;  /* it was seen alive, and told of */
    bool dead, marking;
    int64_t dead_ms;
    int64_t mark_ms; /* a moment behind its silence's end, so that not all mark at once */
    enum lease_host_state state;
    char *follows;
    double load; /* as it said, and what was given to it since */
    int64_t reactors;
};

struct members {
    struct map all; /* session -> struct member, owned */
    bool asking;
    int64_t due_ms, listed_ms;
    int64_t quick_ms;   /* until then it is looked at often */
    int64_t changed_ms; /* when somebody came or went */
    int64_t rung;       /* as counted when it was last told */
    int64_t mail;       /* as counted when it was last read */
    bool mail_wanted, mail_asking;
    int64_t mail_look_ms, death_ms;     /* it is read then in any case; when somebody last died */
    int64_t mail_due_ms, mail_again_ms; /* the last pause before what was kept is looked at again */
    struct list reads;                  /* rows that mail tells of */
};

struct mail_read {
    struct list link;
    char id[LEASE_NONCE_SIZE];
    int64_t epoch;
};

/* ---- what is this host's ---- */

struct waiter {
    struct waiter *next;
    coordinator_done_fn *done;
    void *user;
};

struct holding {
    struct list link; /* in `stirred`, or alone */
    struct coordinator *coordinator;
    char *key, *stream, *shard, *parents[2];
    int64_t epoch, version;
    double load;
    bool told;       /* `gained` was called */
    int64_t confirm; /* it runs when a beat that was sent after this one has succeeded; -1: at once */
    struct arena row_arena;
    struct lease_row row; /* until it is told */
    /* writing: one at a time, the same until its outcome is known */
    struct op *writing;
    char nonce[LEASE_NONCE_SIZE];
    struct waiter *waiting, *written_for; /* for the next write; for the one on its way */
    struct map parts;                     /* handler -> struct part, owned: the newest, for the next write */
    bool dirty;
    int64_t next_epoch; /* of the next write, where it is greater */
    int64_t not_before_ms;
    /* giving */
    enum { HOLDING_RUNS, HOLDING_DRAINS, HOLDING_DRAINED, HOLDING_GIVEN } phase;
    bool balancing; /* drains for balance: only for so long */
    int64_t drain_from_ms;
    char to[LEASE_SESSION_SIZE];
    int64_t moved_ms; /* when it came */
    /* its parent, while it waits for it */
    char *parent;
    struct op *asking_parent;
    int64_t parent_due_ms, parent_pause_ms;
    bool writing_end; /* of a handler: who waits for that on this host looks at once */
    /* who has the shard that it is wanted beside, or whether its row is of use still */
    struct op *asking;
    bool deleting;         /* its row is of no use any more, and may be gone */
    int64_t beside_due_ms; /* the first is not asked before */
};

struct part {
    bool end, gone;
    char text[];
};

/* ---- what is given ---- */

/* From a dead one, or a new row, or a holding: mail, the row, and a word to the receiver. */
struct transfer {
    struct list link;
    struct coordinator *coordinator;
    char *key, *stream, *shard, *parents[2];
    char from[LEASE_SESSION_SIZE], to[LEASE_SESSION_SIZE];
    int64_t seen_epoch, epoch;
    double load;
    enum { TRANSFER_TAKE, TRANSFER_CREATE, TRANSFER_GIVE } kind;
    bool started;
    bool comes; /* to this host, and counts as coming */
    bool given; /* the row is the other's: only the word to him is left */
    char mail_id[LEASE_NONCE_SIZE], nonce[LEASE_NONCE_SIZE];
    void (*done)(void *user); /* of who created; may be NULL */
    void *user;
};

/* ---- wardens ---- */

struct bucket {
    bool mine, asking;
    int64_t due_ms, again_ms; /* again_ms: a second look, LEASE_NEVER: none */
};

struct followed {
    char *stream;
    bool created;    /* its own row is there */
    bool ended;      /* it is read here no more */
    int64_t left_ms; /* nobody here reads it since then; 0: somebody does */
    struct bucket buckets[LEASE_BUCKETS + 1];
};

/* ---- balance ---- */

struct episodes {
    int64_t until_ms;  /* of the one that runs; 0: none */
    int rounds;        /* that are left of it */
    bool of_change;    /* since somebody came or went; else since it was uneven for long */
    int64_t begin_ms;  /* one is to begin then; 0: none is */
    int64_t uneven_ms; /* since when it has been; 0: it is not */
    int moves;         /* in this one */
    double residue;    /* that one without a move left */
    int64_t round_ms;  /* when the next round may begin */
    int64_t place_ms;  /* when it is next looked for what is misplaced */
};

/* What a part tells those that stand above it. */
struct upwards {
    void (*begun)(struct coordinator *); /* the session */
    void (*over)(struct coordinator *);  /* it is somebody else's who marked it, or its row is gone */
    void (*looked_at_lease)(struct coordinator *, int64_t now);
    void (*members_changed)(struct coordinator *, bool died);
    void (*born)(struct coordinator *);                             /* a new row came to this host */
    void (*give)(struct holding *);                                 /* the mail, then holding_write */
    void (*given)(struct holding *);                                /* written: a word to the receiver */
    void (*retake)(struct coordinator *, const struct lease_row *); /* own, but abandoned */
    void (*create)(struct coordinator *, const char *stream, const char *shard, const char *const parents[2],
                   void (*done)(void *user), void *user);
};

struct coordinator {
    const struct upwards *up;
    struct coordinator_options options;
    char *name, *instance, *version, *fingerprint, *follows;
    int64_t fingerprint_ms;  /* wall clock: when it was set */
    int64_t server_ahead_ms; /* the table's wall clock over our own clock */
    bool held;               /* as told */
    bool leaving, marking_left;
    int64_t silent_ms;     /* of one of its reactors */
    int64_t left_after_ms; /* no sooner */
    struct list ops;
    struct session session;
    struct members members;
    struct map holdings;  /* key -> struct holding, owned */
    struct list stirred;  /* holdings that something is to be done about */
    struct map abandoned; /* key -> int64_t, owned: the epoch in which it was lost, or is another's */
    struct list transfers, queued;
    int transfers_started;
    double coming;       /* load of rows that are made or taken for this host */
    struct map moving;   /* key -> struct transfer: rows that are made, or taken */
    struct map followed; /* stream -> struct followed, owned */
    bool misplaced;      /* it may have shards of streams that it does not read */
    struct episodes episodes;
    bool over;    /* no table, or left */
    bool freeing; /* nobody is told anything any more */
};

int64_t now_of(const struct coordinator *coordinator);
int64_t share_of(const struct coordinator *coordinator, int64_t thousandths); /* of the own lease */

/* ---- request.c ---- */

struct op;
typedef void op_done_fn(struct coordinator *coordinator, void *subject, const struct lease_answer *answer);

/* `done` is called unless the session ends first. One that `persists` is sent again, the same, until it is
 * known whether it was done: `done` hears LEASE_OK or LEASE_REFUSED only. */
struct op *op_send(struct coordinator *coordinator, const struct lease_request *request, int64_t timeout_ms,
                   bool persists, op_done_fn *done, void *subject);
void op_drop(struct op *op); /* nobody waits for it any more */
void ops_drop_all(struct coordinator *coordinator);
void ops_turn(struct coordinator *coordinator, int64_t now, int64_t *next);
void nonce_make(struct coordinator *coordinator, char nonce[LEASE_NONCE_SIZE]);
int64_t epoch_after(const struct coordinator *coordinator, int64_t epoch);
int below(struct coordinator *coordinator, int limit);

/* ---- session.c ---- */

double own_load(const struct coordinator *coordinator);
bool is_sick(const struct coordinator *coordinator); /* one of its reactors stands still */
void session_begin(struct coordinator *coordinator);
void session_turn(struct coordinator *coordinator, int64_t now, int64_t *next);
void session_beat_now(struct coordinator *coordinator);
bool session_valid(struct coordinator *coordinator, int64_t now);

/* ---- members.c ---- */

void members_begin(struct coordinator *coordinator); /* of a session */
void members_fini(struct coordinator *coordinator);
void members_turn(struct coordinator *coordinator, int64_t now, int64_t *next);

/* Is this session marked dead, for certain? One that nobody has seen is watched from now on. */
bool member_is_dead(struct coordinator *coordinator, const char *session);

/* The row of a session was seen to be dead. */
void member_dead(struct coordinator *coordinator, const char *session);

/* Does it run, and beats? One that is silent for half of its lease is given nothing. Of that stream: it reads
 * it; NULL: of any. */
bool member_takes(const struct coordinator *coordinator, const struct member *member, const char *stream);
bool member_follows(const struct member *member, const char *stream);
bool is_followed(const struct coordinator *coordinator, const char *stream); /* by this host */

/* Who is to have another shard of the stream, of that weight: the least loaded for what it can; "": nobody
 * but this host
 * (`self`: this host counts, too). It is counted as given. */
const char *members_choose(struct coordinator *coordinator, const char *stream, double load, bool self);

/* Likewise, of two that are drawn by lot, this host among all (unless it leaves). */
const char *members_choose_one_of_two(struct coordinator *coordinator, const char *stream, double load);

/* ---- holdings.c ---- */

char *holding_key(const char *stream, const char *shard);
struct holding *holding_find(const struct coordinator *coordinator, const char *stream, const char *shard);

/* A row whose owner is this session, not an old reading of it: run it unless it runs; take it anew where it
 * was lost, or given away, in that epoch or behind it. */
void holding_meet(struct coordinator *coordinator, const struct lease_row *row);
void holding_lose(struct holding *holding);  /* tell, remember, free */
bool row_ended(const struct lease_row *row); /* all handlers that stand in it have finished the shard */
void holding_write(struct holding *holding);
void holding_drain(struct holding *holding, const char *to, bool balancing);
void holdings_end(struct coordinator *coordinator); /* with the session */
void holdings_turn(struct coordinator *coordinator, int64_t now, int64_t *next);

/* ---- transfers.c ---- */

void transfer_take(struct coordinator *coordinator, const struct lease_row *row);   /* of a dead one */
void transfer_retake(struct coordinator *coordinator, const struct lease_row *row); /* own, but abandoned */
void transfer_create(struct coordinator *coordinator, const char *stream, const char *shard,
                     const char *const parents[2], void (*done)(void *user), void *user);
void transfer_give(struct holding *holding);  /* the mail, then holding_write */
void transfer_given(struct holding *holding); /* written: a word to the receiver */
void transfers_end(struct coordinator *coordinator);
bool transfer_under_way(const struct coordinator *coordinator, const char *stream, const char *shard);

/* ---- wardens.c ---- */

void wardens_changed(struct coordinator *coordinator, bool died);
void wardens_turn(struct coordinator *coordinator, int64_t now, int64_t *next);
void mail_after_death(struct coordinator *coordinator, int64_t now);
void mail_turn(struct coordinator *coordinator, int64_t now, int64_t *next);
void wardens_begin(struct coordinator *coordinator); /* of a session */
void wardens_fini(struct coordinator *coordinator);

/* ---- balance.c ---- */

void balance_changed(struct coordinator *coordinator, int64_t now);
void balance_born(struct coordinator *coordinator, int64_t now);
void balance_turn(struct coordinator *coordinator, int64_t now, int64_t *next);

static inline void sooner(int64_t *next, int64_t due_ms)
{
    if (due_ms < *next)
        *next = due_ms;
}

#endif
