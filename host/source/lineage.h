/* lineage.h: which shards of a stream may be read now.
 *
 * A child may start when its parents are finished or have been trimmed away; where the shards of a generation
 * end together (ScyllaDB Alternator), when all of the generations before are. The answer depends only on the
 * shard list and on what was finished, so it can be asked again at any time. What a handler has finished is
 * a `progress`; many of them share one lineage. */
#ifndef TIDEMILL_SOURCE_LINEAGE_H
#define TIDEMILL_SOURCE_LINEAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/map.h"
#include "source/source.h"

struct lineage;

struct lineage *lineage_new(void);
void lineage_free(struct lineage *lineage);

/* A full listing: begin, merge its pages, end. A shard known before that was in none of the pages of several
 * listings in a row, over some seconds, is gone (DescribeStream is eventually consistent: a listing may miss
 * it). One that comes back after that is a new one. `now_ms` is monotonic. */
void lineage_begin(struct lineage *lineage);
void lineage_learn(struct lineage *lineage, const struct shard_info *shards, size_t count);
void lineage_end(struct lineage *lineage, int64_t now_ms, void (*gone)(void *user, const char *shard),
                 void *user);

/* It is known from elsewhere, and must be in a listing soon, or it is gone. Until it was listed it is not
 * ready, and its children wait for it. */
void lineage_expect(struct lineage *lineage, const char *shard);

/* Is one that is known missing from the last listing? The next should come soon. */
bool lineage_misses(const struct lineage *lineage);

/* Was it in a listing, ever? */
bool lineage_listed(const struct lineage *lineage, const char *shard);

/* The oldest number behind `sequence` with which a shard of the last listing begins; NULL: none is known. */
const char *lineage_next_starting(const struct lineage *lineage, const char *sequence);

size_t lineage_count(const struct lineage *lineage);
bool lineage_knows(const struct lineage *lineage, const char *shard);

/* Closed: said so, or it has a child (a listing may show a parent open beside its child). */
bool lineage_closed(const struct lineage *lineage, const char *shard);
bool lineage_has_child(const struct lineage *lineage, const char *shard);

/* Has it a child with no other parent? */
bool lineage_has_heir(const struct lineage *lineage, const char *shard);

/* Have others taken the place of its whole generation (ScyllaDB Alternator)? */
bool lineage_superseded(const struct lineage *lineage, const char *shard);

/* Is it a child of that one? */
bool shard_is_child(const struct shard_info *shard, const char *parent);

/* The shards, oldest first; valid until the next lineage_learn or lineage_end. */
const struct shard_info *lineage_at(const struct lineage *lineage, size_t index);

/* What one handler finished. */
struct progress {
    struct map finished;
    uint64_t version, oldest_open; /* lineage_ready's: as of that version of the lineage; 0: not known */
};

#define PROGRESS_INIT ((struct progress){.finished = MAP_INIT})
void progress_fini(struct progress *progress);
void progress_finish(struct progress *progress, const char *shard);
void progress_forget(struct progress *progress, const char *shard);
bool progress_finished(const struct progress *progress, const char *shard);

/* May the handler read this shard now? False for one that is finished already. */
bool lineage_ready(const struct lineage *lineage, struct progress *progress, const char *shard);

/* Has the handler finished every shard that is known? */
bool lineage_all_finished(const struct lineage *lineage, const struct progress *progress);

#endif
