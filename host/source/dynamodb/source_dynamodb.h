/* source_dynamodb.h: DynamoDB Streams as a source. */
#ifndef TIDEMILL_SOURCE_DYNAMODB_SOURCE_DYNAMODB_H
#define TIDEMILL_SOURCE_DYNAMODB_SOURCE_DYNAMODB_H

#include "source/sources.h"

extern const struct source_kind source_dynamodb_kind;

#endif
