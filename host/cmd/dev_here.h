/* dev_here.h: the `dev` that runs on an INI, for commands beside it: where its state is. Private to cmd/. */
#ifndef TIDEMILL_CMD_DEV_HERE_H
#define TIDEMILL_CMD_DEV_HERE_H

#include "conf/config.h"

/* The file of that name in .tidemill beside the INI; to be freed. */
char *dev_here_path(const char *ini, const char *name);

/* The directory is there, and git leaves it aside: whatever is in it is this machine's alone. */
void dev_here_make(const char *ini);

/* Tell, in .tidemill/dev beside the INI, until dev_here_close. Below 0, and `err`: it cannot be told there,
 * or (ERR_BUSY) another one is. `state` has an absolute path. */
int dev_here_open(const char *ini, const char *state, const char *url, struct err *err);
void dev_here_close(int fd, const char *ini); /* below 0 is allowed */

/* Calls go to the embedded DynamoDB there. */
void dev_here_set_calls(struct config *config, const char *url);

/* For INIs that name it, and so that no real credentials are sent anywhere. */
void dev_here_set_environment(const char *url);

/* INIs that name it can be read though no dev, or another process', reads them: what `dev` would say there.
 */
void dev_here_know(const char *ini);

/* Where a `dev` runs on the INI of the configuration, and no host on its own state: turn it to the dev's
 * state. `calls`: also the calls, to its DynamoDB. Its address, to be freed, or NULL. */
char *dev_here_turn(struct config *config, bool calls);

#endif
