/* target_type.h: a kind of target, all of it in one struct: what the INI, the commands, routes and delivery
 * ask.
 *
 * To add one: a file in deliver/targets/ with the struct its settings are kept in and a `const struct
 * target_type`, and its line in deliver/targets/table.c. Nothing else knows a type by its name.
 *
 * Most types gather messages to requests: `open` is batcher_open, and then `measure` (of each message, when
 * it comes), `send` (a request) and `read` (its answer) are called in this order, `cancel` instead of `read`
 * when the host ends; a request that was given to request_send_aws needs no `cancel`. deliver/target.h has
 * what they get in hand. */
#ifndef TIDEMILL_CONF_TARGET_TYPE_H
#define TIDEMILL_CONF_TARGET_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/settings.h"

struct config_target;
struct config_route;
struct message;
struct request;
struct target;
struct transport_response;

/* What is paid for. */
enum price_unit { PRICE_NOTHING, PRICE_REQUESTS, PRICE_MESSAGES, PRICE_BYTES };

/* Where AWS is, for ARNs. */
struct target_place {
    const char *partition, *region;
};

typedef void target_complain_fn(void *user, const char *sentence);

struct target_type {
    const char *name; /* as in "type = NAME" */

    /* ---- its keys, beside those of all targets ---- */

    const struct setting *settings; /* ends with a name of NULL; NULL: none */
    size_t settings_size;           /* of the struct that they are kept in, config_target.own */
    const char *const *needed;      /* those that must be given; ends with NULL; NULL: none */
    /* Look at their values; `ini` is the file's path. Or NULL. */
    void (*check)(struct config_target *, const char *ini, target_complain_fn *complain, void *user);
    /* Likewise of a route to it. Or NULL. */
    bool (*check_route)(const struct config_target *, const struct config_route *, struct err *err);

    /* ---- what it is ---- */

    const char *service; /* of AWS's, as in endpoint_NAME and its IAM actions: it takes a region; or NULL */
    bool keeps_files;    /* events stand in files there, and large messages may be spilled into it */
    const char *(*directory)(
        const struct config_target *); /* of this machine that it writes below; or NULL */
    bool spills;                       /* takes `spill` itself */
    bool takes_batches;                /* a route hands it several records at once */
    bool pipelined; /* it keeps the order of what is given to it: routes need not wait for answers */

    /* What a million of them costs, of bytes a GiB, in US dollars (us-east-1); [prices] may say otherwise. */
    enum price_unit paid;
    double price;

    /* ---- permissions (of an AWS service) ---- */

    const char *const *actions; /* ends with NULL */
    /* To be freed; NULL: this one asks nothing of AWS. */
    char *(*arn)(const struct config_target *, const struct target_place *);
    /* Likewise of what that stands in, or NULL. */
    const char *const *around_actions;
    char *(*around_arn)(const struct config_target *, const struct target_place *);

    /* ---- delivery ---- */

    struct target *(*open)(const struct target_type *);
    size_t count_max;  /* entries in a request */
    size_t bytes_max;  /* all entries, as `measure` counts them, unless batch_bytes says otherwise ... */
    size_t bytes_most; /* ... which may say so much; what is larger than a batch goes alone, up to this */
    int64_t linger_ms, in_flight; /* usual */
    int64_t timeout_ms;           /* likewise; 0: as long as any call to AWS */
    /* The bytes that the message counts for, or 0 and `err` where the service would never take it. */
    size_t (*measure)(const struct target *, const struct message *, struct err *err);
    /* Send it: with request_send_aws, or otherwise, and call request_answered in the end. */
    void (*send)(struct request *);
    /* Read a 2xx answer: emission_set_err for each entry that was not accepted. NULL: it says nothing. */
    void (*read)(struct request *, struct transport_response *);
    /* Does the refusal of a request say that it was accepted before? Or NULL. */
    bool (*is_done)(const struct err *);
    void (*cancel)(struct request *); /* what `send` began otherwise; or NULL */
    /* Of a type whose connections outlive a request, which stand in target.own from its first `send` on: the
     * target goes, and all of its requests were answered or cancelled. Or NULL. */
    void (*close)(struct target *);
};

/* Are all of the keys set that its type needs? */
bool target_is_whole(const struct config_target *target);

/* Is AWS asked by this one? An index of one's own is not, though its type may be. */
bool target_asks_aws(const struct config_target *target);

/* NULL: there is none of that name; `types` ends with NULL (deliver/targets/table.h). */
const struct target_type *target_type_find(const struct target_type *const *types, const char *name);

/* "arn:PARTITION:" and `format`, which takes the region, and `name`; where that is an ARN, it stands as it
 * is. To be freed. */
char *target_arn(const struct config_target *target, const struct target_place *place, const char *format,
                 const char *name);

#endif
