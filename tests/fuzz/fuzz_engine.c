/* fuzz_engine.c: calls of the embedded DynamoDB, one a line: a letter for the operation, then the request. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "local/engine.h"

static const char *const operations[26] = {
    "DynamoDB_20120810.PutItem",
    "DynamoDB_20120810.GetItem",
    "DynamoDB_20120810.UpdateItem",
    "DynamoDB_20120810.DeleteItem",
    "DynamoDB_20120810.Query",
    "DynamoDB_20120810.Scan",
    "DynamoDB_20120810.BatchGetItem",
    "DynamoDB_20120810.BatchWriteItem",
    "DynamoDB_20120810.TransactWriteItems",
    "DynamoDB_20120810.TransactGetItems",
    "DynamoDB_20120810.CreateTable",
    "DynamoDB_20120810.UpdateTable",
    "DynamoDB_20120810.DeleteTable",
    "DynamoDB_20120810.DescribeTable",
    "DynamoDB_20120810.UpdateTimeToLive",
    "DynamoDB_20120810.TagResource",
    "DynamoDB_20120810.UntagResource",
    "DynamoDB_20120810.ListTables",
    "DynamoDBStreams_20120810.ListStreams",
    "DynamoDBStreams_20120810.DescribeStream",
    "DynamoDBStreams_20120810.GetShardIterator",
    "DynamoDBStreams_20120810.GetRecords",
    "TidemillLocal.SetFaults",
    "TidemillLocal.SplitShards",
    "TidemillLocal.TrimRecords",
    "DynamoDB_20120810.ListTagsOfResource",
};

static const char table[] = "{\"TableName\":\"Tab\",\"BillingMode\":\"PAY_PER_REQUEST\",\"KeySchema\":[{"
                            "\"AttributeName\":\"p\",\"KeyType\":\"HASH\"},"
                            "{\"AttributeName\":\"s\",\"KeyType\":\"RANGE\"}],\"AttributeDefinitions\":[{"
                            "\"AttributeName\":\"p\",\"AttributeType\":\"S\"},"
                            "{\"AttributeName\":\"s\",\"AttributeType\":\"N\"}],\"StreamSpecification\":{"
                            "\"StreamEnabled\":true,\"StreamViewType\":"
                            "\"NEW_AND_OLD_IMAGES\"}}";

static void call(struct engine *engine, const char *target, const char *body, size_t size)
{
    struct engine_reply reply = {0};
    char *copy = malloc(size + 1); /* exactly as large, so that reading behind it is seen */
    memcpy(copy, body, size);
    engine_call(engine, &(struct engine_request){target, copy, size, NULL}, &reply);
    buf_fini(&reply.body);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clock clock = clock_system();
    struct err err;
    struct engine *engine = engine_new(&(struct engine_options){.clock = &clock}, &err);
    const char *at = (const char *)data, *end = at + size;
    call(engine, "DynamoDB_20120810.CreateTable", table, sizeof table - 1);
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
        if (*at >= 'a' && *at <= 'z')
            call(engine, operations[*at - 'a'], at + 1, (size_t)(stop - at - 1));
        at = stop + (newline != NULL);
    }
    engine_housekeeping(engine);
    engine_free(engine);
    return 0;
}
