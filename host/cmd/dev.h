/* dev.h: the parts of tidemill dev. Private to dev*.c. */
#ifndef TIDEMILL_CMD_DEV_H
#define TIDEMILL_CMD_DEV_H

#include "conf/config.h"
#include "local/engine.h"
#include "handler/observer.h"

/* The INI's [table] sections in the engine: created with their indexes, stream and time to live, and seeded,
 * unless they are there. False and `err`. */
bool dev_make_tables(struct engine *engine, const struct config *config, struct err *err);

/* Prints a line to try next: the first seed item of the first table that has any. */
void dev_suggest(const struct config *config, const char *url);

/* Prints each record and what its handlers did. `user` of both is a struct dev_display. */
struct dev_display;
struct dev_display *dev_display_new(void);
void dev_display_free(struct dev_display *display);
struct observer dev_display_observer(struct dev_display *display);

/* A request to the inbox, which stands for the outside services while developing. From any thread. */
void dev_display_inbox(void *user, const char *method, const char *path, const char *body, size_t size);

/* The newest of what came there, first: JSON, an array of texts. From any thread. */
void dev_display_write_inbox(void *user, struct buf *out);

#endif
