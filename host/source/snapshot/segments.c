/* segments.c: see segments.h. */
#include "source/snapshot/segments.h"

#include <stdlib.h>

#include "base/arn.h"
#include "base/check.h"
#include "base/mem.h"

/* Frees the call and keeps of the answer what is given. */
static struct segments_answer end(struct segments_answer *answer)
{
    struct segments_answer own = *answer;
    answer->text = NULL;
    own.free(own.call);
    return own;
}

void segments_answer_init(struct segments_answer *answer, struct source_call *call,
                          void (*free)(struct source_call *call), void *user)
{
    *answer = (struct segments_answer){.call = call, .free = free, .user = user};
    task_init(&answer->task, NULL, answer);
}

static void begin(struct segments_answer *answer, struct reactor *reactor, reactor_fn *give)
{
    task_init(&answer->task, give, answer);
    task_defer(reactor, &answer->task);
}

static void give_stream(void *user)
{
    struct segments_answer own = end(user);
    own.done.stream(own.user, own.text, NULL);
    free(own.text);
}

void segments_answer_stream(struct segments_answer *answer, struct reactor *reactor, const char *arn,
                            source_stream_fn *done)
{
    answer->done.stream = done;
    answer->text = arn ? stream_of_arn(arn) : NULL;
    begin(answer, reactor, give_stream);
}

static void give_shards(void *user)
{
    struct segments_answer own = end(user);
    struct snapshot_name name;
    bool known = snapshot_name_read(own.text, &name);
    CHECK(known); /* whoever asks has it from us, by way of the state */
    size_t count = (size_t)name.segments;
    char(*ids)[SNAPSHOT_SEGMENT_SIZE] = mem_zero(count * sizeof *ids);
    struct shard_info *shards = mem_zero(count * sizeof *shards);
    for (size_t i = 0; i < count; i++)
        shards[i] = (struct shard_info){.id = snapshot_segment(ids[i], (int64_t)i), .closed = true};
    own.done.shards(own.user,
                    &(struct shard_page){.status = STREAM_DISABLED, .shards = shards, .count = count}, NULL);
    free(shards);
    free(ids);
    snapshot_name_fini(&name);
    free(own.text);
}

void segments_answer_shards(struct segments_answer *answer, struct reactor *reactor, const char *arn,
                            source_shards_fn *done)
{
    answer->done.shards = done;
    answer->text = mem_string(arn);
    begin(answer, reactor, give_shards);
}

static void give_cursor(void *user)
{
    struct segments_answer own = end(user);
    own.done.cursor(own.user, own.text, NULL);
    free(own.text);
}

void segments_answer_cursor(struct segments_answer *answer, struct reactor *reactor, char *cursor,
                            source_cursor_fn *done)
{
    answer->done.cursor = done;
    answer->text = cursor;
    begin(answer, reactor, give_cursor);
}

void segments_answer_fini(struct segments_answer *answer)
{
    task_cancel(&answer->task);
    free(answer->text);
}
