/* dev.h: the parts of tidemill dev. Private to dev*.c. */
#ifndef TIDEMILL_CMD_DEV_H
#define TIDEMILL_CMD_DEV_H

#include "base/buf.h"
#include "base/json.h"
#include "conf/config.h"
#include "local/engine.h"
#include "handler/observer.h"

/* The INI's [table] sections in the engine: created with their indexes, stream and time to live, and seeded,
 * unless they are there. False and `err`. */
bool dev_make_tables(struct engine *engine, const struct config *config, struct err *err);

/* Would the same table be made of both? */
bool dev_same_table(const struct config_table *a, const struct config_table *b);

/* Prints what to try next: an item for the first table that has a stream; of one with a seed how its first
 * item, if another one of the seed has the same key, becomes the last of those: what the seed has shown, once
 * more. */
struct dev_suggestions {
    char *table; /* NULL: there are none */
    char *items[2];
    size_t count;
};
void dev_suggest(const struct config *config, struct dev_suggestions *suggestions);
void dev_suggestions_fini(struct dev_suggestions *suggestions);

/* {"TableName": ..., "Item": {...}}, or "Key"; the item is plain JSON, or DynamoDB's with its types. */
void dev_write_named(const char *table, const char *name, const struct json *item, struct buf *out);

/* dev_items.c: tidemill dev put|get|delete|scan TABLE [ITEM]. Returns the exit status. */
int dev_items(const char *ini, const char *name, const char *table, const char *item);

/* Prints each record and what its handlers did. `user` of both is a struct dev_display. */
struct dev_display;
struct dev_display *dev_display_new(const char *ini); /* which must stay */
void dev_display_free(struct dev_display *display);
struct observer dev_display_observer(struct dev_display *display);

/* What handlers call is noted by it, for seen.h. From any thread. */
void dev_display_set_config(struct dev_display *display, const struct config *config);
void dev_display_print_seen(struct dev_display *display);

/* Write what nobody has said more of for a while, or (`all`) whatever there is. From any thread. */
void dev_display_tell(struct dev_display *display, bool all);

/* A terminal's keys, and the display's time, until it is stopped. `suggestions`: what `w` writes when nothing
 * else is said, in turn; they must stay. `keys`: what they run finds this dev. NULL: no thread could be had.
 */
struct dev_console;
struct dev_console *dev_console_start(struct dev_display *display, const char *ini,
                                      const struct dev_suggestions *suggestions, bool keys);
void dev_console_stop(struct dev_console *console);

/* A request to the inbox, which stands for the outside services while developing. From any thread. */
void dev_display_inbox(void *user, const char *method, const char *path, const char *body, size_t size);

/* The newest of what came there, first: JSON, an array of texts. From any thread. */
void dev_display_write_inbox(void *user, struct buf *out);

#endif
