/* snapshots.h: what the reactors of a host must know together of the snapshots that are under way.
 *
 * A snapshot is the table as it was when its handler's place in the stream was taken, and not a mixture of
 * then and now: what was written since comes by the stream, after it. An item that has changed meanwhile is
 * read as it is now, which is too new; so whoever reads the table waits until the stream was looked through
 * up to then (watch.h), and gives of such an item the image that its first change has replaced. One that did
 * not exist yet is left out, since its creation is to come. So a handler never has an item older than it has
 * had it, and each change after what it began with.
 *
 * All may be called from any thread. */
#ifndef TIDEMILL_SOURCE_SNAPSHOT_SNAPSHOTS_H
#define TIDEMILL_SOURCE_SNAPSHOT_SNAPSHOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/pace.h"

struct snapshots;

/* `paces`: for the read units; must stay. NULL: they are not bounded. */
struct snapshots *snapshots_new(struct paces *paces);
void snapshots_free(struct snapshots *snapshots); /* NULL is allowed */

/* Is one under way here? */
bool snapshots_any(struct snapshots *snapshots);

/* ---- whoever watches the stream ---- */

/* The snapshot is under way here. `units`: read units a second of that table, over all hosts and snapshots;
 * 0: as many as there are. */
void snapshots_begin(struct snapshots *snapshots, const char *arn, const char *table, int64_t units,
                     bool consistent);
/* As often as it began: heirs of one handler may be on it. */
void snapshots_end(struct snapshots *snapshots, const char *arn);

/* The stream was looked through up to what was written at that time (this host's wall clock). */
void snapshots_saw(struct snapshots *snapshots, const char *arn, int64_t until_ms);

/* The item (record/page.h: its number) has changed. Only the first change counts: `image` is what it has
 * replaced, as JSON; NULL: there was none, or the stream does not show it. */
void snapshots_changed(struct snapshots *snapshots, const char *arn, uint64_t item, const char *image,
                       size_t size);

/* ---- whoever reads the table ---- */

struct snapshot_terms {
    bool consistent;
    int64_t interval_ns; /* between two read units; 0: no limit */
    struct pace *pace;
};

/* False: not under way here, or not yet. */
bool snapshots_terms(struct snapshots *snapshots, const char *arn, struct snapshot_terms *terms);

/* 0: nothing yet. */
int64_t snapshots_seen_ms(struct snapshots *snapshots, const char *arn);

enum snapshot_item {
    ITEM_AS_READ,   /* it has not changed */
    ITEM_AS_IT_WAS, /* it has: `image` is what it was */
    ITEM_LATER      /* it comes by the stream alone */
};
enum snapshot_item snapshots_look(struct snapshots *snapshots, const char *arn, uint64_t item,
                                  struct buf *image);

#endif
