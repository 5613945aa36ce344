/* streams.c: see streams.h. */
#include "aws/streams.h"

#include "base/document.h"

#define SHARDS_PER_PAGE 100 /* DescribeStream's maximum */

/* Where there is no value, there is no member. */
static void add_member(cJSON *body, const char *name, const char *value)
{
    if (value)
        document_add_text(body, name, value);
}

/* Takes the body. */
static struct aws_request make(enum aws_service service, const char *operation, cJSON *body)
{
    struct aws_request request = {.service = service, .operation = operation};
    document_write(body, &request.body);
    return request;
}

struct aws_request streams_describe_table(const char *table)
{
    cJSON *body = cJSON_CreateObject();
    add_member(body, "TableName", table);
    return make(AWS_DYNAMODB, "DescribeTable", body);
}

struct aws_request streams_list_streams(const char *table, const char *exclusive_start_stream_arn)
{
    cJSON *body = cJSON_CreateObject();
    add_member(body, "TableName", table);
    add_member(body, "ExclusiveStartStreamArn", exclusive_start_stream_arn);
    return make(AWS_DYNAMODB_STREAMS, "ListStreams", body);
}

struct aws_request streams_describe_stream(const char *stream_arn, const char *exclusive_start_shard_id,
                                           const char *children_of)
{
    cJSON *body = cJSON_CreateObject();
    add_member(body, "StreamArn", stream_arn);
    add_member(body, "ExclusiveStartShardId", exclusive_start_shard_id);
    if (children_of) {
        cJSON *filter = cJSON_AddObjectToObject(body, "ShardFilter");
        add_member(filter, "Type", "CHILD_SHARDS");
        add_member(filter, "ShardId", children_of);
    }
    document_add_integer(body, "Limit", SHARDS_PER_PAGE);
    return make(AWS_DYNAMODB_STREAMS, "DescribeStream", body);
}

struct aws_request streams_get_shard_iterator(const char *stream_arn, const char *shard_id, const char *type,
                                              const char *sequence_number)
{
    cJSON *body = cJSON_CreateObject();
    add_member(body, "StreamArn", stream_arn);
    add_member(body, "ShardId", shard_id);
    add_member(body, "ShardIteratorType", type);
    add_member(body, "SequenceNumber", sequence_number);
    return make(AWS_DYNAMODB_STREAMS, "GetShardIterator", body);
}

struct aws_request streams_get_records(const char *shard_iterator, int64_t limit)
{
    cJSON *body = cJSON_CreateObject();
    add_member(body, "ShardIterator", shard_iterator);
    document_add_integer(body, "Limit", limit);
    return make(AWS_DYNAMODB_STREAMS, "GetRecords", body);
}
