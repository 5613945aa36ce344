/* actions.h: what somebody beside the host changes: a command, or who shows the admin_token to the dashboard.
 * Each goes through the state: the running host, or the next one, does it. */
#ifndef TIDEMILL_ADMIN_ACTIONS_H
#define TIDEMILL_ADMIN_ACTIONS_H

#include "admin/access.h"

struct action {
    const char *handler;    /* of a pause, or its end, NULL: all of them, a sentence on a line each */
    const char *reason;     /* of a pause; or NULL */
    const char *to, *shard; /* of a seek: trim_horizon, latest, a time, 2h (ago) or a number; "": all shards,
                               or the only one */
    bool toggle;            /* of a pause: who is paused is fed again */
    bool running;           /* of a seek: also while a host runs */
};

/* The state is open for writing. What came of it is added to `told`, a sentence. False and `err`. */
bool action_pause(struct access *state, const struct config *config, const struct action *action,
                  struct buf *told, struct err *err);
bool action_resume(struct access *state, const struct config *config, const struct action *action,
                   struct buf *told, struct err *err);
bool action_seek(struct access *state, const struct config *config, const struct action *action,
                 struct buf *told, struct err *err);

#endif
