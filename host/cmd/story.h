/* story.h: a record, a call and what became of them, each in one line for people. Private to cmd/.
 *
 * What is written drives no terminal but by the colours that are asked for. */
#ifndef TIDEMILL_CMD_STORY_H
#define TIDEMILL_CMD_STORY_H

#include "base/buf.h"
#include "handler/observer.h"

/* Text from outside, of which at most `most` bytes are shown, and … for the rest. */
void story_add_shown(struct buf *out, const char *text, size_t size, size_t most);

/* `style`: a terminal's number of a colour, or NULL for none. */
void story_add_styled(struct buf *out, const char *style, const char *text);

/* "MODIFY Products p-1  stock 12 → 4": the key, and what differs, by name. */
void story_add_record(struct buf *out, const char *table, const struct record *record, bool colour);

/* JSON over several lines, `indent` columns in; what is short stays on one. */
void story_add_json(struct buf *out, const struct json *value, size_t indent);

/* "done", "failed, will try again", "gave up, kept as a dead letter", ...; and a colour for it. */
const char *story_outcome(enum outcome outcome);
const char *story_outcome_colour(enum outcome outcome);

/* "PutItem Replenishment orderId p-1 → done". `columns`: there are no more, and what is left out is of the
 * request; 0: as wide as it comes. */
void story_add_call(struct buf *out, const struct observed_call *call, size_t columns);

/* How many columns it takes on a terminal, and its first `columns` of them with … for the rest. */
size_t story_columns(const struct buf *line);
void story_cut(struct buf *line, size_t columns);

#endif
