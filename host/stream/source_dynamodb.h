/* source_dynamodb.h: DynamoDB Streams as a source. */
#ifndef TIDEMILL_STREAM_SOURCE_DYNAMODB_H
#define TIDEMILL_STREAM_SOURCE_DYNAMODB_H

#include "aws/client.h"
#include "stream/source.h"

struct source *source_dynamodb_new(struct aws_client *client);

#endif
