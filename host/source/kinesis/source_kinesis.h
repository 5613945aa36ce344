/* source_kinesis.h: a table's changes by way of Kinesis Data Streams. */
#ifndef TIDEMILL_SOURCE_KINESIS_SOURCE_KINESIS_H
#define TIDEMILL_SOURCE_KINESIS_SOURCE_KINESIS_H

#include "source/sources.h"

extern const struct source_kind source_kinesis_kind;

#endif
