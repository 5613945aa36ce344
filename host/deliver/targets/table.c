/* table.c: the kinds of targets there are; conf/target_type.h says how one is added. */
#include "deliver/targets/table.h"

extern const struct target_type target_eventbridge, target_sqs, target_sns, target_kinesis, target_firehose,
    target_lambda, target_stepfunctions, target_dynamodb, target_ses, target_s3, target_http, target_file,
    target_stdout, target_nats, target_redis, target_opensearch;

const struct target_type *const target_types[] = {
    &target_eventbridge,
    &target_sqs,
    &target_sns,
    &target_kinesis,
    &target_firehose,
    &target_lambda,
    &target_stepfunctions,
    &target_dynamodb,
    &target_opensearch,
    &target_ses,
    &target_s3,
    &target_http,
    &target_file,
    &target_stdout,
#ifdef TIDEMILL_NATS /* the library was there when this was built */
    &target_nats,
#endif
#ifdef TIDEMILL_REDIS /* likewise */
    &target_redis,
#endif
    NULL,
};
