/* board.c: see board.h. */
#include "stats/board.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"

struct place {
    struct sheet sheet;
    char *reasons;
    atomic_llong turned_ms; /* 0: never */
};

struct board {
    pthread_mutex_t lock; /* of sheets and reasons */
    struct place *places;
    size_t count;
};

struct board *board_new(size_t places)
{
    struct board *board = mem_zero(sizeof *board);
    pthread_mutex_init(&board->lock, NULL);
    board->places = mem_zero(places * sizeof *board->places);
    board->count = places;
    return board;
}

void board_free(struct board *board)
{
    if (!board)
        return;
    for (size_t i = 0; i < board->count; i++) {
        sheet_fini(&board->places[i].sheet);
        free(board->places[i].reasons);
    }
    pthread_mutex_destroy(&board->lock);
    free(board->places);
    free(board);
}

void board_put(struct board *board, size_t place, struct sheet *sheet)
{
    struct sheet old;
    CHECK(place < board->count);
    sheet_merge(sheet);
    pthread_mutex_lock(&board->lock);
    old = board->places[place].sheet;
    board->places[place].sheet = *sheet;
    pthread_mutex_unlock(&board->lock);
    *sheet = (struct sheet){0};
    sheet_fini(&old);
}

struct sheet board_read(struct board *board)
{
    struct sheet all = {0};
    pthread_mutex_lock(&board->lock);
    for (size_t i = 0; i < board->count; i++)
        sheet_copy(&all, &board->places[i].sheet);
    pthread_mutex_unlock(&board->lock);
    sheet_merge(&all);
    return all;
}

void board_put_reasons(struct board *board, size_t place, const char *reasons)
{
    CHECK(place < board->count);
    char *text = mem_string(reasons);
    pthread_mutex_lock(&board->lock);
    char *old = board->places[place].reasons;
    board->places[place].reasons = text;
    pthread_mutex_unlock(&board->lock);
    free(old);
}

/* Is the line, with its break, among them? */
static bool has_line(const struct buf *all, const char *line, size_t size)
{
    const char *at = all->size ? all->data : NULL;
    while (at && (strncmp(at, line, size) != 0)) {
        at = strchr(at, '\n');
        at = at && at[1] ? at + 1 : NULL;
    }
    return at != NULL;
}

char *board_read_reasons(struct board *board)
{
    struct buf all = BUF_INIT;
    pthread_mutex_lock(&board->lock);
    for (size_t i = 0; i < board->count; i++) {
        const char *begun = board->places[i].reasons, *end, *line = begun ? begun : "host: it begins\n";
        for (; (end = strchr(line, '\n')); line = end + 1)
            if (!has_line(&all, line, (size_t)(end - line) + 1))
                buf_add(&all, line, (size_t)(end - line) + 1);
    }
    pthread_mutex_unlock(&board->lock);
    buf_add(&all, "", 0);
    return buf_take(&all);
}

void board_turned(struct board *board, size_t place, int64_t now_ms)
{
    CHECK(place < board->count);
    atomic_store_explicit(&board->places[place].turned_ms, now_ms, memory_order_relaxed);
}

int64_t board_silent_ms(const struct board *board, int64_t now_ms)
{
    int64_t longest_ms = 0;
    for (size_t i = 0; i < board->count; i++) {
        int64_t turned_ms = atomic_load_explicit(&board->places[i].turned_ms, memory_order_relaxed);
        if (turned_ms && now_ms - turned_ms > longest_ms)
            longest_ms = now_ms - turned_ms;
    }
    return longest_ms;
}
