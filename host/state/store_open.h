/* store_open.h: a store by its URI, "SCHEME:PLACE", as [host] state says it
 * ("sqlite:/var/lib/tidemill/state.db").
 *
 * To add one: a folder beside sqlite/ with a `const struct store_kind`, and its two lines in store_open.c. */
#ifndef TIDEMILL_STATE_STORE_OPEN_H
#define TIDEMILL_STATE_STORE_OPEN_H

#include "conf/plugs.h"
#include "state/store.h"

struct store_options {
    const char *group;
    bool read_only;  /* beside a running host */
    bool must_exist; /* else it is made */
    bool upgrade;    /* one of an older version is brought on; else that is a host's to do */
    bool threaded;   /* work on a thread of its own; completions still come through the reactor */
    bool passing;    /* nothing is kept: the store goes with the process, whatever the URI says */
    /* Of one that hosts share. */
    struct aws_client *client;   /* of the reactor; must stay */
    struct shard_writer *writer; /* of checkpoints; must stay; NULL: none are written */
    bool create;                 /* it is made where it is missing */
    bool prepared;               /* it was opened by another reactor before */
    struct log *log;
    int (*commit_fails)(void *user); /* NULL, or for tests: asked at each COMMIT whether it is to fail */
    void *user;
};

/* Exclusive use by one host; gone with the process, however it ends. */
struct store_lock {
    const struct store_kind *kind;
    /* the kind's own stand behind */
};

struct store_kind;

/* A state that is filled from another one: nobody may begin on it before it is whole. What was begun and not
 * ended goes on. */
struct store_copy {
    const struct store_copy_ops *ops;
    struct store *store; /* to write into; goes with the copy */
    bool resumed;        /* something of it may be there from before it was interrupted */
};

struct store_copy_ops {
    /* `from` names the other state, as a URI. NULL and `err`: there is a state, or half a copy of another. */
    struct store_copy *(*begin)(const struct store_kind *, struct reactor *, const char *place,
                                const struct store_options *, const char *from, struct err *);
    bool (*end)(struct store_copy *, bool whole, struct err *);
};

struct store_kind {
    struct store_place place;
    bool shared; /* by the hosts of a group */
    /* Of one that is a table: what is done with its rows, and once more by who makes it; each ends with NULL.
     */
    const char *const *actions, *const *making;
    struct store *(*open)(struct reactor *, const char *place, const struct store_options *, struct err *);
    struct store_lock *(*lock)(const char *place, struct err *err); /* the first member is its `kind` */
    void (*unlock)(struct store_lock *);
    bool (*in_use)(const char *place);
    const struct store_copy_ops *copy;
    /* A whole copy of what stands at the place, beside a running host, into a file that is not there yet;
     * NULL: it is not one's own to copy. */
    bool (*backup)(const char *place, const char *file, struct err *err);
};

/* Of all kinds; ends with NULL. */
extern const struct store_place *const store_places[];

/* Everything that is durable at one moment, of all groups, into the file: see struct store_kind. False and
 * `err`. */
bool store_backup(const char *uri, const char *file, struct err *err);

/* Does it name one? False and `err`. */
bool store_check(const char *uri, struct err *err);

/* The URI of a store that is kept in this file. To be freed. */
char *store_in_file(const char *path);

/* Where its files stand; NULL: it has none here. To be freed. */
char *store_directory(const char *uri);

/* The file that it is; NULL: it is none. Valid as long as `uri`. */
const char *store_file(const char *uri);

/* What a host does with the table that it is, as IAM names it; NULL: it is none. `making`: where it may have
 * to be made. Ends with NULL. */
const char *const *store_actions(const char *uri, bool making);

/* Is it shared by the hosts of a group? */
bool store_is_shared(const char *uri);

/* What stands behind the scheme. */
const char *store_place_of(const char *uri);

/* Opens, and creates or upgrades what it needs. NULL and `err`. */
struct store *store_open(struct reactor *reactor, const char *uri, const struct store_options *options,
                         struct err *err);

/* As store_copy_ops. */
struct store_copy *store_copy_begin(struct reactor *reactor, const char *uri,
                                    const struct store_options *options, const char *from, struct err *err);

bool store_copy_end(struct store_copy *copy, bool whole, struct err *err);

/* NULL and `err`; ERR_BUSY: another host has it. */
struct store_lock *store_lock(const char *uri, struct err *err);
void store_unlock(struct store_lock *lock); /* or NULL */

/* Has somebody the lock? Does not take it, not even for a moment: a host may be about to. */
bool store_in_use(const char *uri);

#endif
