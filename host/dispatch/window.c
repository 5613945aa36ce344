/* window.c: see window.h. */
#include "dispatch/window.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"

static void read_open(struct window *window, const struct json *kept)
{
    const struct json *state = json_get(kept, "state");
    window->phase = WINDOW_OPEN;
    window->start_ms = json_integer(json_get(kept, "start"), 0);
    window->end_ms = json_integer(json_get(kept, "end"), 0);
    window->attempts = json_integer(json_get(kept, "attempts"), 0);
    window->due_ms = json_integer(json_get(kept, "due"), 0);
    if (state) {
        struct buf text = BUF_INIT;
        json_write_value(&text, state);
        window->state = mem_string(text.data);
        buf_fini(&text);
    }
}

void window_read(struct window *window, const char *progress)
{
    struct arena arena = {0};
    struct err err;
    const struct json *root = *progress ? json_parse(&arena, progress, strlen(progress), &err) : NULL;
    const struct json *kept = json_get(root, "window");
    *window = (struct window){.closed_ms = json_integer(json_get(root, "closed"), 0)};
    if (kept)
        read_open(window, kept);
    arena_fini(&arena);
}

void window_write(const struct window *window, struct buf *progress)
{
    if (window->closed_ms)
        buf_printf(progress, "%s\"closed\":%lld", progress->size > 1 ? "," : "",
                   (long long)window->closed_ms);
    if (window->phase == WINDOW_NONE)
        return;
    buf_printf(progress, "%s\"window\":{\"start\":%lld,\"end\":%lld", progress->size > 1 ? "," : "",
               (long long)window->start_ms, (long long)window->end_ms);
    if (window->attempts)
        buf_printf(progress, ",\"attempts\":%lld,\"due\":%lld", (long long)window->attempts,
                   (long long)window->due_ms);
    if (window->state) {
        buf_add_literal(progress, ",\"state\":");
        buf_add_text(progress, window->state);
    }
    buf_add_char(progress, '}');
}

void window_fini(struct window *window)
{
    free(window->state);
    window->state = NULL;
}

bool window_holds(const struct window *window, int64_t time_ms)
{
    return window->phase != WINDOW_NONE && time_ms < window->end_ms;
}

/* The end stays where windows of this length end, also behind one that was closed early. */
static void open_for(struct window *window, int64_t time_ms, int64_t length_ms)
{
    int64_t start_ms = time_ms - time_ms % length_ms;
    CHECK(!window->state && !window->attempts);
    window->start_ms = start_ms > window->closed_ms ? start_ms : window->closed_ms;
    window->end_ms = window->start_ms - window->start_ms % length_ms + length_ms;
    window->phase = WINDOW_OPEN;
}

bool window_accepts(struct window *window, int64_t time_ms, int64_t length_ms)
{
    CHECK(length_ms > 0);
    if (window->phase == WINDOW_OPEN && time_ms >= window->end_ms)
        window_end(window);
    if (window->phase == WINDOW_NONE)
        open_for(window, time_ms, length_ms);
    return window->phase == WINDOW_OPEN;
}

void window_end(struct window *window)
{
    CHECK(window->phase == WINDOW_OPEN);
    window->phase = WINDOW_ENDED;
}

void window_close(struct window *window)
{
    CHECK(window->phase != WINDOW_NONE);
    window_fini(window);
    window->phase = WINDOW_NONE;
    window->closed_ms = window->end_ms;
    window->attempts = window->due_ms = 0;
}

struct handler_window window_of_call(const struct window *window, bool final)
{
    CHECK(window->phase != WINDOW_NONE);
    return (struct handler_window){window->start_ms, window->end_ms, window->state, final};
}

void window_take_state(struct window *window, char **state)
{
    if (window->phase != WINDOW_OPEN && window->phase != WINDOW_ENDED)
        return; /* it was dropped meanwhile: another version of the script had no on_window */
    window_fini(window);
    window->state = *state;
    *state = NULL;
}
