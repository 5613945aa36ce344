/* filter.c: a realistic pattern on a parsed record, again and again. Prints matches per second. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "filter/filter.h"

#define ROUNDS 5000000

static const char pattern[] =
    "{\"eventName\":[\"MODIFY\"],\"dynamodb\":{\"NewImage\":{\"stock\":{\"N\":[{\"numeric\":[\"<\",50]}]},"
    "\"warehouse\":{\"S\":[{\"prefix\":\"AMS-\"}]}}}}";

#define IMAGE(stock)                                                                                        \
    "{\"productId\":{\"S\":\"product-0000042\"},\"name\":{\"S\":\"Ball bearing 6204-2RS "                   \
    "42\"},\"stock\":{\"N\":\"" stock "\"},\"reorderThreshold\":{\"N\":\"50\"},\"amountToReplenish\":{"     \
    "\"N\":\"100\"},\"price\":{\"N\":\"12.95\"},"                                                           \
    "\"warehouse\":{\"S\":\"AMS-4\"},\"active\":{\"BOOL\":true},\"tags\":{\"L\":[{\"S\":\"steel\"},{\"S\":" \
    "\"sealed\"}]}}"

static const char record[] =
    "{\"awsRegion\":\"eu-west-1\",\"eventID\":\"0\",\"eventName\":\"MODIFY\",\"eventSource\":\"aws:"
    "dynamodb\","
    "\"eventVersion\":\"1.1\",\"dynamodb\":{\"ApproximateCreationDateTime\":1767225600,"
    "\"Keys\":{\"productId\":{\"S\":\"product-0000042\"}},\"NewImage\":" IMAGE("49") ",\"OldImage\":" IMAGE(
        "51") ",\"SequenceNumber\":\"100000000000000000042\",\"SizeBytes\":310,\"StreamViewType\":\"NEW_AND_"
              "OLD_IMAGES\"}}";

int main(void)
{
    struct arena arena = ARENA_INIT;
    struct err err;
    struct timespec begun, ended;
    long long matched = 0;
    struct filter *filter = filter_compile(pattern, strlen(pattern), &err);
    const struct json *root = json_parse(&arena, record, strlen(record), &err);
    if (!filter || !root)
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (int i = 0; i < ROUNDS; i++)
        matched += filter_match_record(filter, root, "arn");
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9;
    printf("%.0f\n", (double)matched / seconds);
    filter_free(filter);
    arena_fini(&arena);
    return 0;
}
