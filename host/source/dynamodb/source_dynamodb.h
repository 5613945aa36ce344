/* source_dynamodb.h: DynamoDB Streams as a source. */
#ifndef TIDEMILL_SOURCE_DYNAMODB_SOURCE_DYNAMODB_H
#define TIDEMILL_SOURCE_DYNAMODB_SOURCE_DYNAMODB_H

#include "aws/client.h"
#include "source/source.h"

struct source *source_dynamodb_new(struct aws_client *client);

#endif
