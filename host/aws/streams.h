/* streams.h: the requests of DynamoDB Streams, and the one of DynamoDB that finds a stream.
 * https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html
 */
#ifndef TIDEMILL_AWS_STREAMS_H
#define TIDEMILL_AWS_STREAMS_H

#include <stdint.h>

#include "aws/client.h"

/* Each makes a request to be handed to aws_send. NULL arguments leave the member out. */
struct aws_request streams_describe_table(const char *table);
struct aws_request streams_list_streams(const char *table, const char *exclusive_start_stream_arn);
struct aws_request streams_describe_stream(const char *stream_arn, const char *exclusive_start_shard_id,
                                           const char *children_of);
struct aws_request streams_get_shard_iterator(const char *stream_arn, const char *shard_id, const char *type,
                                              const char *sequence_number);
struct aws_request streams_get_records(const char *shard_iterator, int64_t limit);

#endif
