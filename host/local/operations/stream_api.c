/* stream_api.c: ListStreams, DescribeStream, GetShardIterator, GetRecords. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "local/keep/streams.h"

#define ITERATOR_AGE_MS (15 * 60 * 1000LL)
#define RECORDS_MAX 1000
#define SHARDS_MAX 100

/* ---- ListStreams, DescribeStream ---- */

bool op_list_streams(struct call *call)
{
    struct text table = call_text(call, "TableName"), start = call_text(call, "ExclusiveStartStreamArn");
    struct stream *stream;
    int64_t limit = json_integer(call_member(call, "Limit"), 100), count = 0;
    const struct stream *last = NULL;
    bool begun = !start.data, more = false;
    buf_add_literal(call->out, "{\"Streams\":[");
    list_each(stream, &call->engine->streams, struct stream, link) {
        bool wanted = !table.data || text_is(table, stream->table, strlen(stream->table));
        if (begun && wanted && count == limit)
            more = true;
        if (begun && wanted && count < limit) {
            buf_printf(call->out, "%s{\"StreamArn\":\"%s\",\"TableName\":\"%s\",\"StreamLabel\":\"%s\"}",
                       count ? "," : "", stream->arn, stream->table, stream->label);
            last = stream;
            count++;
        }
        begun = begun || text_is(start, stream->arn, strlen(stream->arn));
    }
    buf_add_char(call->out, ']');
    if (more && last)
        buf_printf(call->out, ",\"LastEvaluatedStreamArn\":\"%s\"", last->arn);
    buf_add_char(call->out, '}');
    return true;
}

static struct stream *call_stream(struct call *call)
{
    struct text arn = call_text(call, "StreamArn");
    struct stream *stream = stream_find(call->engine, arn);
    if (!stream)
        fault_set(call->fault, "ResourceNotFoundException",
                  "Requested resource not found: Stream: %.*s not found", (int)arn.size, arn.data);
    return stream;
}

static const struct shard *find_shard(const struct stream *stream, struct text name)
{
    for (size_t i = 0; i < stream->shard_count; i++)
        if (text_is(name, stream->shards[i].name, strlen(stream->shards[i].name)))
            return &stream->shards[i];
    return NULL;
}

static void write_shard(struct buf *out, const struct shard *shard, bool first)
{
    char start[SEQUENCE_TEXT], end[SEQUENCE_TEXT];
    sequence_write(start, shard->start);
    sequence_write(end, shard->end);
    buf_printf(out, "%s{\"ShardId\":\"%s\",\"SequenceNumberRange\":{\"StartingSequenceNumber\":\"%s\"",
               first ? "" : ",", shard->name, start);
    if (shard->end)
        buf_printf(out, ",\"EndingSequenceNumber\":\"%s\"", end);
    buf_add_char(out, '}');
    if (shard->parent)
        buf_printf(out, ",\"ParentShardId\":\"%s\"", shard->parent);
    buf_add_char(out, '}');
}

/* Returns the last shard that was written when there are more. */
static const struct shard *write_shards(struct call *call, const struct stream *stream, struct text start,
                                        const struct json *parent, int64_t limit)
{
    const struct shard *last = NULL;
    int64_t count = 0;
    bool begun = !start.data;
    for (size_t i = 0; i < stream->shard_count; i++) {
        const struct shard *shard = &stream->shards[i];
        bool wanted = begun && (!parent || (shard->parent && json_string_is(parent, shard->parent)));
        begun = begun || text_is(start, shard->name, strlen(shard->name));
        if (!wanted)
            continue;
        if (count == limit)
            return last;
        write_shard(call->out, shard, count++ == 0);
        last = shard;
    }
    return NULL;
}

bool op_describe_stream(struct call *call)
{
    struct text start = call_text(call, "ExclusiveStartShardId");
    int64_t limit = json_integer(call_member(call, "Limit"), SHARDS_MAX);
    struct stream *stream = call_stream(call);
    if (!stream)
        return false;
    if (start.data && !find_shard(stream, start))
        return fault_set(call->fault, "ResourceNotFoundException",
                         "Requested resource not found: Shard: %.*s in Stream: %s not found", (int)start.size,
                         start.data, stream->arn);
    stream_renew(call, stream);
    const struct json *filter = call_member(call, "ShardFilter");
    buf_printf(
        call->out,
        "{\"StreamDescription\":{\"StreamArn\":\"%s\",\"StreamLabel\":\"%s\",\"StreamStatus\":\"%s\","
        "\"StreamViewType\":\"%s\",\"CreationRequestDateTime\":%.3f,\"TableName\":\"%s\",\"KeySchema\":%s,"
        "\"Shards\":[",
        stream->arn, stream->label, stream->enabled ? "ENABLED" : "DISABLED", view_names[stream->view],
        (double)stream->created_ms / 1000.0, stream->table, stream->key);
    const struct shard *last =
        write_shards(call, stream, start, filter ? json_get(filter, "ShardId") : NULL, limit);
    buf_add_char(call->out, ']');
    if (last)
        buf_printf(call->out, ",\"LastEvaluatedShardId\":\"%s\"", last->name);
    buf_add_literal(call->out, "}}");
    return true;
}

/* ---- iterators ---- */

/* "ARN|1|SHARD-SEQUENCE-MADE-NUMBER": the next record to be read is the first from SEQUENCE on. */
static void write_iterator(struct call *call, const char *arn, int64_t shard, int64_t sequence)
{
    buf_printf(call->out, "\"%s|1|%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64 "\"", arn,
               (uint64_t)shard, (uint64_t)sequence, (uint64_t)call->now_ms,
               (uint64_t)call->engine->iterators++);
}

static bool read_sequence(struct call *call, int64_t *sequence)
{
    struct text text = call_text(call, "SequenceNumber");
    char digits[24];
    if (!text.data)
        return fault_invalid(call->fault,
                             "1 validation error detected: Value null at 'sequenceNumber' failed to satisfy "
                             "constraint: Member must not be null");
    bool valid = text.size == 21 && *text.data == '1';
    for (size_t i = 0; valid && i < text.size; i++)
        valid = text.data[i] >= '0' && text.data[i] <= '9';
    if (!valid)
        return fault_invalid(call->fault, "Invalid SequenceNumber %.*s", (int)text.size, text.data);
    memcpy(digits, text.data + 1, 20);
    digits[20] = '\0';
    *sequence = strtoll(digits, NULL, 10);
    return true;
}

/* Older than what is kept? */
static bool trimmed(struct call *call, const struct shard *shard, int64_t sequence)
{
    int64_t horizon = (call->now_ms - RETENTION_MS) * SEQUENCES_PER_MS;
    return sequence < shard->start ||
           (sequence != shard->start && (sequence < horizon || sequence < call->engine->trimmed_below));
}

static bool note_first(void *user, int64_t sequence, struct text record)
{
    (void)record;
    *(int64_t *)user = sequence;
    return false;
}

/* Behind the shard's beginning, before the oldest record that it has: nobody can have read that number. */
static bool before_first(struct call *call, const struct shard *shard, int64_t sequence)
{
    int64_t first = 0;
    if (sequence == shard->start)
        return false;
    storage_records(call->engine->storage, shard->id, shard->start, note_first, &first);
    return first && sequence < first;
}

bool op_get_shard_iterator(struct call *call)
{
    static const char *const types[] = {
        "", "TRIM_HORIZON", "LATEST", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", NULL};
    struct text name = call_text(call, "ShardId");
    int64_t sequence = 0;
    struct stream *stream = call_stream(call);
    if (!stream)
        return false;
    size_t type = call_choice(call, "ShardIteratorType", types);
    const struct shard *shard = find_shard(stream, name);
    if (!shard)
        return fault_set(call->fault, "ResourceNotFoundException",
                         "Requested resource not found: Shard: %.*s in Stream: %s not found", (int)name.size,
                         name.data, stream->arn);
    if (type >= 3 && !read_sequence(call, &sequence))
        return false;
    if (type >= 3 && (trimmed(call, shard, sequence) || (type == 3 && before_first(call, shard, sequence))))
        return fault_set(call->fault, "TrimmedDataAccessException",
                         "The operation attempted to read past the oldest stream record in a shard.");
    if (type == 1)
        sequence = shard->start;
    else if (type == 2)
        sequence = call->engine->last_sequence + 1;
    else
        sequence += type == 4;
    buf_add_literal(call->out, "{\"ShardIterator\":");
    write_iterator(call, stream->arn, shard->id, sequence);
    buf_add_char(call->out, '}');
    return true;
}

struct reading {
    struct buf *out;
    size_t begun;
    int64_t count, limit, next;
    bool more;
};

static bool add_record(void *user, int64_t sequence, struct text record)
{
    struct reading *reading = user;
    if (reading->count == reading->limit ||
        (reading->count && reading->out->size - reading->begun + record.size > PAGE_BYTES_MAX)) {
        reading->more = true;
        return false;
    }
    if (reading->count++)
        buf_add_char(reading->out, ',');
    buf_add(reading->out, record.data, record.size);
    reading->next = sequence + 1;
    return true;
}

struct iterator {
    struct stream *stream;
    const struct shard *shard;
    int64_t sequence, made_ms, number;
};

#define ITERATOR_REST (3 + 4 * 16 + 3)

static bool parse_iterator(struct call *call, struct text text, struct iterator *iterator)
{
    const char *bar = text.data ? memchr(text.data, '|', text.size) : NULL;
    uint64_t numbers[4];
    char copy[ITERATOR_REST + 1];
    size_t rest = bar ? (size_t)(text.data + text.size - bar) : 0;
    if (rest != ITERATOR_REST)
        return fault_invalid(call->fault, "Invalid ShardIterator");
    memcpy(copy, bar, rest);
    copy[rest] = '\0';
    if (sscanf(copy, "|1|%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64, &numbers[0], &numbers[1],
               &numbers[2], &numbers[3]) != 4)
        return fault_invalid(call->fault, "Invalid ShardIterator");
    *iterator = (struct iterator){
        .stream = stream_find(call->engine, (struct text){text.data, (size_t)(bar - text.data)}),
        .sequence = (int64_t)numbers[1],
        .made_ms = (int64_t)numbers[2],
        .number = (int64_t)numbers[3]};
    for (size_t i = 0; iterator->stream && i < iterator->stream->shard_count; i++)
        if (iterator->stream->shards[i].id == (int64_t)numbers[0])
            iterator->shard = &iterator->stream->shards[i];
    return iterator->shard ||
           fault_set(call->fault, "ResourceNotFoundException", "Requested resource not found");
}

static bool iterator_good(struct call *call, const struct iterator *iterator)
{
    bool old = call->now_ms - iterator->made_ms >= ITERATOR_AGE_MS;
    /* Numbers begin again with each process, and times do not. */
    if (old || (iterator->number < call->engine->expired_below))
        return fault_set(
            call->fault, "ExpiredIteratorException",
            "Iterator expired. The iterator was created at a time that is more than 15 minutes ago.");
    int64_t horizon = (call->now_ms - RETENTION_MS) * SEQUENCES_PER_MS;
    bool behind =
        iterator->sequence > iterator->shard->start && iterator->sequence < horizon && !iterator->shard->end;
    bool cut =
        iterator->sequence > iterator->shard->start && iterator->sequence < call->engine->trimmed_below;
    return (!behind && !cut) ||
           fault_set(call->fault, "TrimmedDataAccessException",
                     "The operation attempted to read past the oldest stream record in a shard.");
}

bool op_get_records(struct call *call)
{
    struct text text = call_text(call, "ShardIterator");
    struct iterator iterator = {0};
    int64_t limit = json_integer(call_member(call, "Limit"), RECORDS_MAX);
    if (!parse_iterator(call, text, &iterator) || !iterator.shard || !iterator_good(call, &iterator))
        return false;
    buf_add_literal(call->out, "{\"Records\":[");
    struct reading reading = {call->out, call->out->size, 0, limit, iterator.sequence, false};
    storage_records(call->engine->storage, iterator.shard->id, iterator.sequence, add_record, &reading);
    buf_add_char(call->out, ']');
    /* A closed shard that was read to its end has no next iterator; an open one's goes on from now. */
    if (!reading.more && !iterator.shard->end && reading.next <= call->engine->last_sequence)
        reading.next = call->engine->last_sequence + 1;
    if (reading.more || !iterator.shard->end) {
        buf_add_literal(call->out, ",\"NextShardIterator\":");
        write_iterator(call, iterator.stream->arn, iterator.shard->id, reading.next);
    }
    buf_add_char(call->out, '}');
    return true;
}

/* ---- for those who watch a reader ---- */

void engine_each_shard(struct engine *engine, void (*each)(void *user, const char *table, int64_t shard),
                       void *user)
{
    struct stream *stream;
    pthread_mutex_lock(&engine->lock);
    list_each(stream, &engine->streams, struct stream, link)
        for (size_t i = 0; i < stream->shard_count; i++)
            each(user, stream->table, stream->shards[i].id);
    pthread_mutex_unlock(&engine->lock);
}

int64_t engine_shard_of(const char *body, size_t size)
{
    uint64_t shard;
    const char *bar = memmem(body, size, "|1|", 3);
    char digits[17] = "";
    if (!bar || (size_t)(body + size - bar) < 19)
        return -1;
    memcpy(digits, bar + 3, 16);
    return sscanf(digits, "%16" SCNx64, &shard) == 1 ? (int64_t)shard : -1;
}
