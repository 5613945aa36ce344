/* streams.c: see streams.h. */
#include "aws/streams.h"

#include <string.h>

#include "base/json.h"

#define SHARDS_PER_PAGE 100 /* DescribeStream's maximum */

static void add_member(struct buf *out, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(out, "%s\"%s\":", out->size > 1 ? "," : "", name);
    json_write_string(out, value, strlen(value));
}

static struct aws_request make(enum aws_service service, const char *operation)
{
    struct aws_request request = {.service = service, .operation = operation};
    buf_add_char(&request.body, '{');
    return request;
}

struct aws_request streams_describe_table(const char *table)
{
    struct aws_request request = make(AWS_DYNAMODB, "DescribeTable");
    add_member(&request.body, "TableName", table);
    buf_add_char(&request.body, '}');
    return request;
}

struct aws_request streams_list_streams(const char *table, const char *exclusive_start_stream_arn)
{
    struct aws_request request = make(AWS_DYNAMODB_STREAMS, "ListStreams");
    add_member(&request.body, "TableName", table);
    add_member(&request.body, "ExclusiveStartStreamArn", exclusive_start_stream_arn);
    buf_add_char(&request.body, '}');
    return request;
}

struct aws_request streams_describe_stream(const char *stream_arn, const char *exclusive_start_shard_id,
                                           const char *children_of)
{
    struct aws_request request = make(AWS_DYNAMODB_STREAMS, "DescribeStream");
    add_member(&request.body, "StreamArn", stream_arn);
    add_member(&request.body, "ExclusiveStartShardId", exclusive_start_shard_id);
    if (children_of) {
        buf_add_literal(&request.body, ",\"ShardFilter\":{\"Type\":\"CHILD_SHARDS\",\"ShardId\":");
        json_write_string(&request.body, children_of, strlen(children_of));
        buf_add_char(&request.body, '}');
    }
    buf_printf(&request.body, ",\"Limit\":%d}", SHARDS_PER_PAGE);
    return request;
}

struct aws_request streams_get_shard_iterator(const char *stream_arn, const char *shard_id, const char *type,
                                              const char *sequence_number)
{
    struct aws_request request = make(AWS_DYNAMODB_STREAMS, "GetShardIterator");
    add_member(&request.body, "StreamArn", stream_arn);
    add_member(&request.body, "ShardId", shard_id);
    add_member(&request.body, "ShardIteratorType", type);
    add_member(&request.body, "SequenceNumber", sequence_number);
    buf_add_char(&request.body, '}');
    return request;
}

struct aws_request streams_get_records(const char *shard_iterator, int64_t limit)
{
    struct aws_request request = make(AWS_DYNAMODB_STREAMS, "GetRecords");
    add_member(&request.body, "ShardIterator", shard_iterator);
    buf_printf(&request.body, ",\"Limit\":%lld}", (long long)limit);
    return request;
}
