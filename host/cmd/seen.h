/* seen.h: what handlers were seen to call, in tests and in dev: the rights that they need. Private to cmd/.
 *
 * Kept in .tidemill/calls beside the INI, so that check and policy know of it; of a handler whose code has
 * changed since, nothing is known any more. */
#ifndef TIDEMILL_CMD_SEEN_H
#define TIDEMILL_CMD_SEEN_H

#include "conf/config.h"
#include "handler/observer.h"
#include "script/script.h"

struct seen_call {
    char *handler, *version;
    char *table;  /* or TABLE/index/INDEX; NULL: of another service */
    char *action; /* "PutItem"; "states:StartExecution" */
    /* Of the table's partition key, where it is a text: what all of them begin with, up to a separator, and
     * whether they were several. */
    char *keys;
    bool several, any_key; /* any_key: one had no such text */
};

struct seen {
    struct seen_call *list;
    size_t count, capacity;
    bool changed; /* since seen_load, or the last seen_save */
};

void seen_fini(struct seen *seen);

/* What a call needs. `config` knows the tables' keys. Calls to others than AWS need nothing. */
void seen_note(struct seen *seen, const struct config *config, const struct observed_call *call);

/* What is kept beside the INI; none where there is nothing to be read. */
void seen_load(struct seen *seen, const char *ini);

/* Beside the INI, together with what is kept there of other handlers. Where it cannot be kept, it is not. */
void seen_save(struct seen *seen, const char *ini);

void seen_merge(struct seen *seen, const struct seen *more);

/* As handlers would say it in what they return. `handler` NULL: of all. */
void seen_print(struct seen *seen, const char *handler);

/* "user#" of keys that have it in common; NULL: they show nothing. */
const char *seen_keys(const struct seen_call *call);

/* What a handler was when it was seen: its code, and its section. */
#define SEEN_VERSION_SIZE 40
void seen_version(const struct config *config, const char *handler, const char *code,
                  char version[SEEN_VERSION_SIZE]);

/* Was it seen of the handler, as it stands? */
bool seen_is_of(const struct seen_call *call, const struct handler *handler, const struct config *config);

/* Does the handler, in `tables` or `calls`, say that it makes this call? */
bool seen_is_declared(const struct seen_call *call, const struct script *script, const struct config *config);

#endif
