/* window.h: the tumbling window of a handler with on_window, as a value: its bounds, and the state between
 * two calls.
 *
 * The time of the records closes it. The state is kept in the same write as the checkpoint, so that each
 * record counts in it once. A window that has ended takes nothing until its last call is over, see closing.h.
 */
#ifndef TIDEMILL_DISPATCH_WINDOW_H
#define TIDEMILL_DISPATCH_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "handler/handler.h"

enum window_phase {
    WINDOW_NONE,
    WINDOW_OPEN,
    WINDOW_ENDED,   /* its last call is to be made */
    WINDOW_CLOSING, /* its last call runs, or waits for another attempt, or is given up just now */
};

struct window {
    enum window_phase phase;
    int64_t start_ms, end_ms;
    int64_t closed_ms; /* the end of the last one that was closed: nothing goes in there any more; 0: none */
    char *state;       /* JSON, or NULL */
    int64_t attempts;  /* of the last call, that were begun, also before a restart */
    int64_t due_ms;    /* wall clock: no other attempt before then; 0: none is waited for */
};

/* Out of the progress that window_write wrote into; "" or one that cannot be read: there is none. */
void window_read(struct window *window, const char *progress);

/* Members of the JSON object that `progress` begins. */
void window_write(const struct window *window, struct buf *progress);

void window_fini(struct window *window);

/* Has it ended? Then nothing may run but its last call. */
static inline bool window_is_over(const struct window *window)
{
    return window->phase >= WINDOW_ENDED;
}

/* Does a record of this time (wall clock) belong to the one that is open? One that comes late, behind the end
 * of its own, does. */
bool window_holds(const struct window *window, int64_t time_ms);

/* Make room for a record of this time, in windows that are so long: true when the one for it is open; false
 * when the one before it is over and must be closed first. */
bool window_accepts(struct window *window, int64_t time_ms, int64_t length_ms);

/* Its last call is to be made. It must be open. */
void window_end(struct window *window);

/* The last call is over, one way or another. */
void window_close(struct window *window);

/* What a call within it is told. Valid while the state stays. */
struct handler_window window_of_call(const struct window *window, bool final);

/* What on_window returned for records; NULL: nothing. It is taken; unless the window is gone. */
void window_take_state(struct window *window, char **state);

#endif
