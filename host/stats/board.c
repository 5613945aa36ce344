/* board.c: see board.h. */
#include "stats/board.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

struct board {
    pthread_mutex_t lock;
    struct sheet *sheets;
    size_t count;
};

struct board *board_new(size_t places)
{
    struct board *board = mem_zero(sizeof *board);
    pthread_mutex_init(&board->lock, NULL);
    board->sheets = mem_zero(places * sizeof *board->sheets);
    board->count = places;
    return board;
}

void board_free(struct board *board)
{
    if (!board)
        return;
    for (size_t i = 0; i < board->count; i++)
        sheet_fini(&board->sheets[i]);
    pthread_mutex_destroy(&board->lock);
    free(board->sheets);
    free(board);
}

void board_put(struct board *board, size_t place, struct sheet *sheet)
{
    struct sheet old;
    CHECK(place < board->count);
    sheet_merge(sheet);
    pthread_mutex_lock(&board->lock);
    old = board->sheets[place];
    board->sheets[place] = *sheet;
    pthread_mutex_unlock(&board->lock);
    *sheet = (struct sheet){0};
    sheet_fini(&old);
}

struct sheet board_read(struct board *board)
{
    struct sheet all = {0};
    pthread_mutex_lock(&board->lock);
    for (size_t i = 0; i < board->count; i++)
        sheet_copy(&all, &board->sheets[i]);
    pthread_mutex_unlock(&board->lock);
    sheet_merge(&all);
    return all;
}
