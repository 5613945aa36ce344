/* shapes.c: written by make_shapes.py out of the service's model; see there. */
/* clang-format off */
#include "local/model/shapes.h"

#include <stddef.h>
#include <string.h>

struct operation_shape {
    const char *name;
    const struct shape *input;
};

static const struct shape tables_BatchExecuteStatementInput;
static const struct shape tables_PartiQLBatchRequest;
static const struct shape tables_BatchStatementRequest;
static const struct shape tables_PartiQLStatement;
static const struct shape tables_PreparedStatementParameters;
static const struct shape tables_AttributeValue;
static const struct shape tables_StringAttributeValue;
static const struct shape tables_NumberAttributeValue;
static const struct shape tables_BinaryAttributeValue;
static const struct shape tables_StringSetAttributeValue;
static const struct shape tables_NumberSetAttributeValue;
static const struct shape tables_BinarySetAttributeValue;
static const struct shape tables_MapAttributeValue;
static const struct shape tables_AttributeName;
static const struct shape tables_ListAttributeValue;
static const struct shape tables_NullAttributeValue;
static const struct shape tables_BooleanAttributeValue;
static const struct shape tables_ConsistentRead;
static const struct shape tables_ReturnValuesOnConditionCheckFailure;
static const struct shape tables_ReturnConsumedCapacity;
static const struct shape tables_BatchGetItemInput;
static const struct shape tables_BatchGetRequestMap;
static const struct shape tables_TableNameOrArn;
static const struct shape tables_KeysAndAttributes;
static const struct shape tables_KeyList;
static const struct shape tables_Key;
static const struct shape tables_AttributeNameList;
static const struct shape tables_ProjectionExpression;
static const struct shape tables_ExpressionAttributeNameMap;
static const struct shape tables_ExpressionAttributeNameVariable;
static const struct shape tables_BatchWriteItemInput;
static const struct shape tables_BatchWriteItemRequestMap;
static const struct shape tables_WriteRequests;
static const struct shape tables_WriteRequest;
static const struct shape tables_PutRequest;
static const struct shape tables_PutItemInputAttributeMap;
static const struct shape tables_DeleteRequest;
static const struct shape tables_ReturnItemCollectionMetrics;
static const struct shape tables_CreateBackupInput;
static const struct shape tables_BackupName;
static const struct shape tables_CreateGlobalTableInput;
static const struct shape tables_TableName;
static const struct shape tables_ReplicaList;
static const struct shape tables_Replica;
static const struct shape tables_RegionName;
static const struct shape tables_CreateTableInput;
static const struct shape tables_AttributeDefinitions;
static const struct shape tables_AttributeDefinition;
static const struct shape tables_KeySchemaAttributeName;
static const struct shape tables_ScalarAttributeType;
static const struct shape tables_BillingMode;
static const struct shape tables_ProvisionedThroughput;
static const struct shape tables_PositiveLongObject;
static const struct shape tables_KeySchema;
static const struct shape tables_KeySchemaElement;
static const struct shape tables_KeyType;
static const struct shape tables_GlobalSecondaryIndexList;
static const struct shape tables_GlobalSecondaryIndex;
static const struct shape tables_IndexName;
static const struct shape tables_IndexKeySchema;
static const struct shape tables_Projection;
static const struct shape tables_ProjectionType;
static const struct shape tables_NonKeyAttributeNameList;
static const struct shape tables_NonKeyAttributeName;
static const struct shape tables_OnDemandThroughput;
static const struct shape tables_Units;
static const struct shape tables_WarmThroughput;
static const struct shape tables_LocalSecondaryIndexList;
static const struct shape tables_LocalSecondaryIndex;
static const struct shape tables_StreamSpecification;
static const struct shape tables_StreamEnabled;
static const struct shape tables_StreamViewType;
static const struct shape tables_SSESpecification;
static const struct shape tables_SSEEnabled;
static const struct shape tables_SSEType;
static const struct shape tables_KMSMasterKeyId;
static const struct shape tables_TagList;
static const struct shape tables_Tag;
static const struct shape tables_TagKeyString;
static const struct shape tables_TagValueString;
static const struct shape tables_TableClass;
static const struct shape tables_DeletionProtectionEnabled;
static const struct shape tables_ResourcePolicy;
static const struct shape tables_DeleteBackupInput;
static const struct shape tables_BackupArn;
static const struct shape tables_DeleteItemInput;
static const struct shape tables_ExpectedAttributeMap;
static const struct shape tables_ExpectedAttributeValue;
static const struct shape tables_BooleanObject;
static const struct shape tables_ComparisonOperator;
static const struct shape tables_AttributeValueList;
static const struct shape tables_ConditionalOperator;
static const struct shape tables_ReturnValue;
static const struct shape tables_ConditionExpression;
static const struct shape tables_ExpressionAttributeValueMap;
static const struct shape tables_ExpressionAttributeValueVariable;
static const struct shape tables_DeleteResourcePolicyInput;
static const struct shape tables_ResourceArnString;
static const struct shape tables_PolicyRevisionId;
static const struct shape tables_DeleteTableInput;
static const struct shape tables_DescribeBackupInput;
static const struct shape tables_DescribeContinuousBackupsInput;
static const struct shape tables_DescribeContributorInsightsInput;
static const struct shape tables_DescribeEndpointsRequest;
static const struct shape tables_DescribeExportInput;
static const struct shape tables_ExportArn;
static const struct shape tables_DescribeGlobalTableInput;
static const struct shape tables_DescribeGlobalTableSettingsInput;
static const struct shape tables_DescribeImportInput;
static const struct shape tables_ImportArn;
static const struct shape tables_DescribeKinesisStreamingDestinationInput;
static const struct shape tables_DescribeLimitsInput;
static const struct shape tables_DescribeTableInput;
static const struct shape tables_DescribeTableReplicaAutoScalingInput;
static const struct shape tables_DescribeTimeToLiveInput;
static const struct shape tables_KinesisStreamingDestinationInput;
static const struct shape tables_StreamArn;
static const struct shape tables_ExecuteStatementInput;
static const struct shape tables_PartiQLNextToken;
static const struct shape tables_PositiveIntegerObject;
static const struct shape tables_ExecuteTransactionInput;
static const struct shape tables_ParameterizedStatements;
static const struct shape tables_ParameterizedStatement;
static const struct shape tables_ClientRequestToken;
static const struct shape tables_ExportTableToPointInTimeInput;
static const struct shape tables_TableArn;
static const struct shape tables_ExportTime;
static const struct shape tables_ClientToken;
static const struct shape tables_S3Bucket;
static const struct shape tables_S3BucketOwner;
static const struct shape tables_S3Prefix;
static const struct shape tables_S3SseAlgorithm;
static const struct shape tables_S3SseKmsKeyId;
static const struct shape tables_ExportFormat;
static const struct shape tables_GetItemInput;
static const struct shape tables_GetResourcePolicyInput;
static const struct shape tables_ImportTableInput;
static const struct shape tables_S3BucketSource;
static const struct shape tables_InputFormat;
static const struct shape tables_InputFormatOptions;
static const struct shape tables_CsvOptions;
static const struct shape tables_CsvDelimiter;
static const struct shape tables_CsvHeaderList;
static const struct shape tables_CsvHeader;
static const struct shape tables_InputCompressionType;
static const struct shape tables_TableCreationParameters;
static const struct shape tables_ListBackupsInput;
static const struct shape tables_BackupsInputLimit;
static const struct shape tables_TimeRangeLowerBound;
static const struct shape tables_TimeRangeUpperBound;
static const struct shape tables_BackupTypeFilter;
static const struct shape tables_ListContributorInsightsInput;
static const struct shape tables_NextTokenString;
static const struct shape tables_ListContributorInsightsLimit;
static const struct shape tables_ListExportsInput;
static const struct shape tables_ListExportsMaxLimit;
static const struct shape tables_ExportNextToken;
static const struct shape tables_ListGlobalTablesInput;
static const struct shape tables_ListImportsInput;
static const struct shape tables_ListImportsMaxLimit;
static const struct shape tables_ImportNextToken;
static const struct shape tables_ListTablesInput;
static const struct shape tables_ListTablesInputLimit;
static const struct shape tables_ListTagsOfResourceInput;
static const struct shape tables_PutItemInput;
static const struct shape tables_PutResourcePolicyInput;
static const struct shape tables_QueryInput;
static const struct shape tables_Select;
static const struct shape tables_KeyConditions;
static const struct shape tables_Condition;
static const struct shape tables_FilterConditionMap;
static const struct shape tables_KeyExpression;
static const struct shape tables_RestoreTableFromBackupInput;
static const struct shape tables_RestoreTableToPointInTimeInput;
static const struct shape tables_Date;
static const struct shape tables_ScanInput;
static const struct shape tables_ScanTotalSegments;
static const struct shape tables_ScanSegment;
static const struct shape tables_TagResourceInput;
static const struct shape tables_TransactGetItemsInput;
static const struct shape tables_TransactGetItemList;
static const struct shape tables_TransactGetItem;
static const struct shape tables_Get;
static const struct shape tables_TransactWriteItemsInput;
static const struct shape tables_TransactWriteItemList;
static const struct shape tables_TransactWriteItem;
static const struct shape tables_ConditionCheck;
static const struct shape tables_Put;
static const struct shape tables_Delete;
static const struct shape tables_Update;
static const struct shape tables_UpdateExpression;
static const struct shape tables_UntagResourceInput;
static const struct shape tables_TagKeyList;
static const struct shape tables_UpdateContinuousBackupsInput;
static const struct shape tables_PointInTimeRecoverySpecification;
static const struct shape tables_RecoveryPeriodInDays;
static const struct shape tables_UpdateContributorInsightsInput;
static const struct shape tables_ContributorInsightsAction;
static const struct shape tables_UpdateGlobalTableInput;
static const struct shape tables_ReplicaUpdateList;
static const struct shape tables_ReplicaUpdate;
static const struct shape tables_CreateReplicaAction;
static const struct shape tables_DeleteReplicaAction;
static const struct shape tables_UpdateGlobalTableSettingsInput;
static const struct shape tables_AutoScalingSettingsUpdate;
static const struct shape tables_AutoScalingRoleArn;
static const struct shape tables_AutoScalingPolicyUpdate;
static const struct shape tables_AutoScalingPolicyName;
static const struct shape tables_AutoScalingTargetTrackingScalingPolicyConfigurationUpdate;
static const struct shape tables_IntegerObject;
static const struct shape tables_Double;
static const struct shape tables_GlobalTableGlobalSecondaryIndexSettingsUpdateList;
static const struct shape tables_GlobalTableGlobalSecondaryIndexSettingsUpdate;
static const struct shape tables_ReplicaSettingsUpdateList;
static const struct shape tables_ReplicaSettingsUpdate;
static const struct shape tables_ReplicaGlobalSecondaryIndexSettingsUpdateList;
static const struct shape tables_ReplicaGlobalSecondaryIndexSettingsUpdate;
static const struct shape tables_UpdateItemInput;
static const struct shape tables_AttributeUpdates;
static const struct shape tables_AttributeValueUpdate;
static const struct shape tables_AttributeAction;
static const struct shape tables_UpdateTableInput;
static const struct shape tables_GlobalSecondaryIndexUpdateList;
static const struct shape tables_GlobalSecondaryIndexUpdate;
static const struct shape tables_UpdateGlobalSecondaryIndexAction;
static const struct shape tables_CreateGlobalSecondaryIndexAction;
static const struct shape tables_DeleteGlobalSecondaryIndexAction;
static const struct shape tables_ReplicationGroupUpdateList;
static const struct shape tables_ReplicationGroupUpdate;
static const struct shape tables_CreateReplicationGroupMemberAction;
static const struct shape tables_ProvisionedThroughputOverride;
static const struct shape tables_ReplicaGlobalSecondaryIndexList;
static const struct shape tables_ReplicaGlobalSecondaryIndex;
static const struct shape tables_UpdateReplicationGroupMemberAction;
static const struct shape tables_DeleteReplicationGroupMemberAction;
static const struct shape tables_UpdateTableReplicaAutoScalingInput;
static const struct shape tables_GlobalSecondaryIndexAutoScalingUpdateList;
static const struct shape tables_GlobalSecondaryIndexAutoScalingUpdate;
static const struct shape tables_ReplicaAutoScalingUpdateList;
static const struct shape tables_ReplicaAutoScalingUpdate;
static const struct shape tables_ReplicaGlobalSecondaryIndexAutoScalingUpdateList;
static const struct shape tables_ReplicaGlobalSecondaryIndexAutoScalingUpdate;
static const struct shape tables_UpdateTimeToLiveInput;
static const struct shape tables_TimeToLiveSpecification;
static const struct shape tables_TimeToLiveEnabled;
static const struct shape tables_TimeToLiveAttributeName;

static const struct shape tables_PartiQLStatement = {.name = "PartiQLStatement", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 8192, .has_max = true};
static const struct shape tables_StringAttributeValue = {.name = "StringAttributeValue", .kind = SHAPE_STRING};
static const struct shape tables_NumberAttributeValue = {.name = "NumberAttributeValue", .kind = SHAPE_STRING};
static const struct shape tables_BinaryAttributeValue = {.name = "BinaryAttributeValue", .kind = SHAPE_BLOB};
static const struct shape tables_StringSetAttributeValue = {.name = "StringSetAttributeValue", .kind = SHAPE_LIST, .value = &tables_StringAttributeValue};
static const struct shape tables_NumberSetAttributeValue = {.name = "NumberSetAttributeValue", .kind = SHAPE_LIST, .value = &tables_NumberAttributeValue};
static const struct shape tables_BinarySetAttributeValue = {.name = "BinarySetAttributeValue", .kind = SHAPE_LIST, .value = &tables_BinaryAttributeValue};
static const struct shape tables_AttributeName = {.name = "AttributeName", .kind = SHAPE_STRING, .max = 65535, .has_max = true};
static const struct shape tables_MapAttributeValue = {.name = "MapAttributeValue", .kind = SHAPE_MAP, .key = &tables_AttributeName, .value = &tables_AttributeValue};
static const struct shape tables_ListAttributeValue = {.name = "ListAttributeValue", .kind = SHAPE_LIST, .value = &tables_AttributeValue};
static const struct shape tables_NullAttributeValue = {.name = "NullAttributeValue", .kind = SHAPE_BOOLEAN};
static const struct shape tables_BooleanAttributeValue = {.name = "BooleanAttributeValue", .kind = SHAPE_BOOLEAN};
static const struct shape_member members_of_tables_AttributeValue[] = {
    {"S", &tables_StringAttributeValue, 0},
    {"N", &tables_NumberAttributeValue, 0},
    {"B", &tables_BinaryAttributeValue, 0},
    {"SS", &tables_StringSetAttributeValue, 0},
    {"NS", &tables_NumberSetAttributeValue, 0},
    {"BS", &tables_BinarySetAttributeValue, 0},
    {"M", &tables_MapAttributeValue, 0},
    {"L", &tables_ListAttributeValue, 0},
    {"NULL", &tables_NullAttributeValue, 0},
    {"BOOL", &tables_BooleanAttributeValue, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_AttributeValue = {.name = "AttributeValue", .kind = SHAPE_STRUCTURE, .members = members_of_tables_AttributeValue};
static const struct shape tables_PreparedStatementParameters = {.name = "PreparedStatementParameters", .kind = SHAPE_LIST, .min = 1, .has_min = true, .value = &tables_AttributeValue};
static const struct shape tables_ConsistentRead = {.name = "ConsistentRead", .kind = SHAPE_BOOLEAN};
static const char *const values_of_tables_ReturnValuesOnConditionCheckFailure[] = {"ALL_OLD", "NONE", NULL};
static const struct shape tables_ReturnValuesOnConditionCheckFailure = {.name = "ReturnValuesOnConditionCheckFailure", .kind = SHAPE_STRING, .values = values_of_tables_ReturnValuesOnConditionCheckFailure};
static const struct shape_member members_of_tables_BatchStatementRequest[] = {
    {"Statement", &tables_PartiQLStatement, MEMBER_REQUIRED},
    {"Parameters", &tables_PreparedStatementParameters, 0},
    {"ConsistentRead", &tables_ConsistentRead, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_BatchStatementRequest = {.name = "BatchStatementRequest", .kind = SHAPE_STRUCTURE, .members = members_of_tables_BatchStatementRequest};
static const struct shape tables_PartiQLBatchRequest = {.name = "PartiQLBatchRequest", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 25, .has_max = true, .value = &tables_BatchStatementRequest};
static const char *const values_of_tables_ReturnConsumedCapacity[] = {"INDEXES", "TOTAL", "NONE", NULL};
static const struct shape tables_ReturnConsumedCapacity = {.name = "ReturnConsumedCapacity", .kind = SHAPE_STRING, .values = values_of_tables_ReturnConsumedCapacity};
static const struct shape_member members_of_tables_BatchExecuteStatementInput[] = {
    {"Statements", &tables_PartiQLBatchRequest, MEMBER_REQUIRED},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_BatchExecuteStatementInput = {.name = "BatchExecuteStatementInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_BatchExecuteStatementInput};
static const struct shape tables_TableNameOrArn = {.name = "TableNameOrArn", .kind = SHAPE_STRING, .pattern = "[a-zA-Z0-9_.-]+", .name_or_arn = true};
static const struct shape tables_Key = {.name = "Key", .kind = SHAPE_MAP, .key = &tables_AttributeName, .value = &tables_AttributeValue};
static const struct shape tables_KeyList = {.name = "KeyList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 100, .has_max = true, .value = &tables_Key};
static const struct shape tables_AttributeNameList = {.name = "AttributeNameList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .value = &tables_AttributeName};
static const struct shape tables_ProjectionExpression = {.name = "ProjectionExpression", .kind = SHAPE_STRING};
static const struct shape tables_ExpressionAttributeNameVariable = {.name = "ExpressionAttributeNameVariable", .kind = SHAPE_STRING};
static const struct shape tables_ExpressionAttributeNameMap = {.name = "ExpressionAttributeNameMap", .kind = SHAPE_MAP, .key = &tables_ExpressionAttributeNameVariable, .value = &tables_AttributeName};
static const struct shape_member members_of_tables_KeysAndAttributes[] = {
    {"Keys", &tables_KeyList, MEMBER_REQUIRED | MEMBER_GENERIC},
    {"AttributesToGet", &tables_AttributeNameList, 0},
    {"ConsistentRead", &tables_ConsistentRead, 0},
    {"ProjectionExpression", &tables_ProjectionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_KeysAndAttributes = {.name = "KeysAndAttributes", .kind = SHAPE_STRUCTURE, .members = members_of_tables_KeysAndAttributes};
static const struct shape tables_BatchGetRequestMap = {.name = "BatchGetRequestMap", .kind = SHAPE_MAP, .min = 1, .has_min = true, .max = 100, .has_max = true, .key = &tables_TableNameOrArn, .value = &tables_KeysAndAttributes};
static const struct shape_member members_of_tables_BatchGetItemInput[] = {
    {"RequestItems", &tables_BatchGetRequestMap, MEMBER_REQUIRED | MEMBER_GENERIC | MEMBER_AS_JSON},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_BatchGetItemInput = {.name = "BatchGetItemInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_BatchGetItemInput};
static const struct shape tables_PutItemInputAttributeMap = {.name = "PutItemInputAttributeMap", .kind = SHAPE_MAP, .key = &tables_AttributeName, .value = &tables_AttributeValue};
static const struct shape_member members_of_tables_PutRequest[] = {
    {"Item", &tables_PutItemInputAttributeMap, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_PutRequest = {.name = "PutRequest", .kind = SHAPE_STRUCTURE, .members = members_of_tables_PutRequest};
static const struct shape_member members_of_tables_DeleteRequest[] = {
    {"Key", &tables_Key, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DeleteRequest = {.name = "DeleteRequest", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DeleteRequest};
static const struct shape_member members_of_tables_WriteRequest[] = {
    {"PutRequest", &tables_PutRequest, 0},
    {"DeleteRequest", &tables_DeleteRequest, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_WriteRequest = {.name = "WriteRequest", .kind = SHAPE_STRUCTURE, .members = members_of_tables_WriteRequest};
static const struct shape tables_WriteRequests = {.name = "WriteRequests", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 25, .has_max = true, .value = &tables_WriteRequest};
static const struct shape tables_BatchWriteItemRequestMap = {.name = "BatchWriteItemRequestMap", .kind = SHAPE_MAP, .min = 1, .has_min = true, .max = 25, .has_max = true, .key = &tables_TableNameOrArn, .value = &tables_WriteRequests};
static const char *const values_of_tables_ReturnItemCollectionMetrics[] = {"SIZE", "NONE", NULL};
static const struct shape tables_ReturnItemCollectionMetrics = {.name = "ReturnItemCollectionMetrics", .kind = SHAPE_STRING, .values = values_of_tables_ReturnItemCollectionMetrics};
static const struct shape_member members_of_tables_BatchWriteItemInput[] = {
    {"RequestItems", &tables_BatchWriteItemRequestMap, MEMBER_REQUIRED | MEMBER_LATER},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {"ReturnItemCollectionMetrics", &tables_ReturnItemCollectionMetrics, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_BatchWriteItemInput = {.name = "BatchWriteItemInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_BatchWriteItemInput};
static const struct shape tables_BackupName = {.name = "BackupName", .kind = SHAPE_STRING, .min = 3, .has_min = true, .max = 255, .has_max = true, .pattern = "[a-zA-Z0-9_.-]+"};
static const struct shape_member members_of_tables_CreateBackupInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"BackupName", &tables_BackupName, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_CreateBackupInput = {.name = "CreateBackupInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_CreateBackupInput};
static const struct shape tables_TableName = {.name = "TableName", .kind = SHAPE_STRING, .min = 3, .has_min = true, .max = 255, .has_max = true, .pattern = "[a-zA-Z0-9_.-]+"};
static const struct shape tables_RegionName = {.name = "RegionName", .kind = SHAPE_STRING};
static const struct shape_member members_of_tables_Replica[] = {
    {"RegionName", &tables_RegionName, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_Replica = {.name = "Replica", .kind = SHAPE_STRUCTURE, .members = members_of_tables_Replica};
static const struct shape tables_ReplicaList = {.name = "ReplicaList", .kind = SHAPE_LIST, .value = &tables_Replica};
static const struct shape_member members_of_tables_CreateGlobalTableInput[] = {
    {"GlobalTableName", &tables_TableName, MEMBER_REQUIRED},
    {"ReplicationGroup", &tables_ReplicaList, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_CreateGlobalTableInput = {.name = "CreateGlobalTableInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_CreateGlobalTableInput};
static const struct shape tables_KeySchemaAttributeName = {.name = "KeySchemaAttributeName", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 255, .has_max = true};
static const char *const values_of_tables_ScalarAttributeType[] = {"B", "N", "S", NULL};
static const struct shape tables_ScalarAttributeType = {.name = "ScalarAttributeType", .kind = SHAPE_STRING, .values = values_of_tables_ScalarAttributeType};
static const struct shape_member members_of_tables_AttributeDefinition[] = {
    {"AttributeName", &tables_KeySchemaAttributeName, MEMBER_REQUIRED},
    {"AttributeType", &tables_ScalarAttributeType, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_AttributeDefinition = {.name = "AttributeDefinition", .kind = SHAPE_STRUCTURE, .members = members_of_tables_AttributeDefinition};
static const struct shape tables_AttributeDefinitions = {.name = "AttributeDefinitions", .kind = SHAPE_LIST, .value = &tables_AttributeDefinition};
static const char *const values_of_tables_BillingMode[] = {"PROVISIONED", "PAY_PER_REQUEST", NULL};
static const struct shape tables_BillingMode = {.name = "BillingMode", .kind = SHAPE_STRING, .values = values_of_tables_BillingMode};
static const struct shape tables_PositiveLongObject = {.name = "PositiveLongObject", .kind = SHAPE_LONG, .min = 1, .has_min = true};
static const struct shape_member members_of_tables_ProvisionedThroughput[] = {
    {"WriteCapacityUnits", &tables_PositiveLongObject, MEMBER_REQUIRED},
    {"ReadCapacityUnits", &tables_PositiveLongObject, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_ProvisionedThroughput = {.name = "ProvisionedThroughput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ProvisionedThroughput};
static const char *const values_of_tables_KeyType[] = {"HASH", "RANGE", NULL};
static const struct shape tables_KeyType = {.name = "KeyType", .kind = SHAPE_STRING, .values = values_of_tables_KeyType};
static const struct shape_member members_of_tables_KeySchemaElement[] = {
    {"AttributeName", &tables_KeySchemaAttributeName, MEMBER_REQUIRED},
    {"KeyType", &tables_KeyType, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_KeySchemaElement = {.name = "KeySchemaElement", .kind = SHAPE_STRUCTURE, .members = members_of_tables_KeySchemaElement};
static const struct shape tables_KeySchema = {.name = "KeySchema", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 2, .has_max = true, .value = &tables_KeySchemaElement};
static const struct shape tables_IndexName = {.name = "IndexName", .kind = SHAPE_STRING, .min = 3, .has_min = true, .max = 255, .has_max = true, .pattern = "[a-zA-Z0-9_.-]+"};
static const struct shape tables_IndexKeySchema = {.name = "IndexKeySchema", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 8, .has_max = true, .value = &tables_KeySchemaElement};
static const char *const values_of_tables_ProjectionType[] = {"ALL", "INCLUDE", "KEYS_ONLY", NULL};
static const struct shape tables_ProjectionType = {.name = "ProjectionType", .kind = SHAPE_STRING, .values = values_of_tables_ProjectionType};
static const struct shape tables_NonKeyAttributeName = {.name = "NonKeyAttributeName", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 255, .has_max = true};
static const struct shape tables_NonKeyAttributeNameList = {.name = "NonKeyAttributeNameList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 20, .has_max = true, .value = &tables_NonKeyAttributeName};
static const struct shape_member members_of_tables_Projection[] = {
    {"ProjectionType", &tables_ProjectionType, 0},
    {"NonKeyAttributes", &tables_NonKeyAttributeNameList, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_Projection = {.name = "Projection", .kind = SHAPE_STRUCTURE, .members = members_of_tables_Projection};
static const struct shape tables_Units = {.name = "Units", .kind = SHAPE_LONG};
static const struct shape_member members_of_tables_OnDemandThroughput[] = {
    {"MaxReadRequestUnits", &tables_Units, 0},
    {"MaxWriteRequestUnits", &tables_Units, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_OnDemandThroughput = {.name = "OnDemandThroughput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_OnDemandThroughput};
static const struct shape_member members_of_tables_WarmThroughput[] = {
    {"ReadUnitsPerSecond", &tables_Units, 0},
    {"WriteUnitsPerSecond", &tables_Units, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_WarmThroughput = {.name = "WarmThroughput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_WarmThroughput};
static const struct shape_member members_of_tables_GlobalSecondaryIndex[] = {
    {"IndexName", &tables_IndexName, MEMBER_REQUIRED},
    {"KeySchema", &tables_IndexKeySchema, MEMBER_REQUIRED},
    {"Projection", &tables_Projection, MEMBER_REQUIRED},
    {"ProvisionedThroughput", &tables_ProvisionedThroughput, 0},
    {"OnDemandThroughput", &tables_OnDemandThroughput, 0},
    {"WarmThroughput", &tables_WarmThroughput, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_GlobalSecondaryIndex = {.name = "GlobalSecondaryIndex", .kind = SHAPE_STRUCTURE, .members = members_of_tables_GlobalSecondaryIndex};
static const struct shape tables_GlobalSecondaryIndexList = {.name = "GlobalSecondaryIndexList", .kind = SHAPE_LIST, .value = &tables_GlobalSecondaryIndex};
static const struct shape_member members_of_tables_LocalSecondaryIndex[] = {
    {"IndexName", &tables_IndexName, MEMBER_REQUIRED},
    {"KeySchema", &tables_KeySchema, MEMBER_REQUIRED},
    {"Projection", &tables_Projection, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_LocalSecondaryIndex = {.name = "LocalSecondaryIndex", .kind = SHAPE_STRUCTURE, .members = members_of_tables_LocalSecondaryIndex};
static const struct shape tables_LocalSecondaryIndexList = {.name = "LocalSecondaryIndexList", .kind = SHAPE_LIST, .value = &tables_LocalSecondaryIndex};
static const struct shape tables_StreamEnabled = {.name = "StreamEnabled", .kind = SHAPE_BOOLEAN};
static const char *const values_of_tables_StreamViewType[] = {"NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY", NULL};
static const struct shape tables_StreamViewType = {.name = "StreamViewType", .kind = SHAPE_STRING, .values = values_of_tables_StreamViewType};
static const struct shape_member members_of_tables_StreamSpecification[] = {
    {"StreamEnabled", &tables_StreamEnabled, MEMBER_REQUIRED},
    {"StreamViewType", &tables_StreamViewType, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_StreamSpecification = {.name = "StreamSpecification", .kind = SHAPE_STRUCTURE, .members = members_of_tables_StreamSpecification};
static const struct shape tables_SSEEnabled = {.name = "SSEEnabled", .kind = SHAPE_BOOLEAN};
static const char *const values_of_tables_SSEType[] = {"AES256", "KMS", NULL};
static const struct shape tables_SSEType = {.name = "SSEType", .kind = SHAPE_STRING, .values = values_of_tables_SSEType};
static const struct shape tables_KMSMasterKeyId = {.name = "KMSMasterKeyId", .kind = SHAPE_STRING};
static const struct shape_member members_of_tables_SSESpecification[] = {
    {"Enabled", &tables_SSEEnabled, 0},
    {"SSEType", &tables_SSEType, 0},
    {"KMSMasterKeyId", &tables_KMSMasterKeyId, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_SSESpecification = {.name = "SSESpecification", .kind = SHAPE_STRUCTURE, .members = members_of_tables_SSESpecification};
static const struct shape tables_TagKeyString = {.name = "TagKeyString", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 128, .has_max = true};
static const struct shape tables_TagValueString = {.name = "TagValueString", .kind = SHAPE_STRING, .min = 0, .has_min = true, .max = 256, .has_max = true};
static const struct shape_member members_of_tables_Tag[] = {
    {"Key", &tables_TagKeyString, MEMBER_REQUIRED},
    {"Value", &tables_TagValueString, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_Tag = {.name = "Tag", .kind = SHAPE_STRUCTURE, .members = members_of_tables_Tag};
static const struct shape tables_TagList = {.name = "TagList", .kind = SHAPE_LIST, .value = &tables_Tag};
static const char *const values_of_tables_TableClass[] = {"STANDARD", "STANDARD_INFREQUENT_ACCESS", NULL};
static const struct shape tables_TableClass = {.name = "TableClass", .kind = SHAPE_STRING, .values = values_of_tables_TableClass};
static const struct shape tables_DeletionProtectionEnabled = {.name = "DeletionProtectionEnabled", .kind = SHAPE_BOOLEAN};
static const struct shape tables_ResourcePolicy = {.name = "ResourcePolicy", .kind = SHAPE_STRING};
static const struct shape_member members_of_tables_CreateTableInput[] = {
    {"AttributeDefinitions", &tables_AttributeDefinitions, MEMBER_REQUIRED},
    {"TableName", &tables_TableName, MEMBER_REQUIRED | MEMBER_FIRST},
    {"BillingMode", &tables_BillingMode, 0},
    {"ProvisionedThroughput", &tables_ProvisionedThroughput, 0},
    {"KeySchema", &tables_KeySchema, MEMBER_REQUIRED},
    {"GlobalSecondaryIndexes", &tables_GlobalSecondaryIndexList, 0},
    {"LocalSecondaryIndexes", &tables_LocalSecondaryIndexList, 0},
    {"StreamSpecification", &tables_StreamSpecification, 0},
    {"SSESpecification", &tables_SSESpecification, 0},
    {"Tags", &tables_TagList, 0},
    {"TableClass", &tables_TableClass, 0},
    {"DeletionProtectionEnabled", &tables_DeletionProtectionEnabled, 0},
    {"WarmThroughput", &tables_WarmThroughput, 0},
    {"ResourcePolicy", &tables_ResourcePolicy, 0},
    {"OnDemandThroughput", &tables_OnDemandThroughput, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_CreateTableInput = {.name = "CreateTableInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_CreateTableInput};
static const struct shape tables_BackupArn = {.name = "BackupArn", .kind = SHAPE_STRING, .min = 37, .has_min = true, .max = 1024, .has_max = true};
static const struct shape_member members_of_tables_DeleteBackupInput[] = {
    {"BackupArn", &tables_BackupArn, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DeleteBackupInput = {.name = "DeleteBackupInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DeleteBackupInput};
static const struct shape tables_BooleanObject = {.name = "BooleanObject", .kind = SHAPE_BOOLEAN};
static const char *const values_of_tables_ComparisonOperator[] = {"IN", "NULL", "BETWEEN", "LT", "NOT_CONTAINS", "EQ", "GT", "NOT_NULL", "NE", "LE", "BEGINS_WITH", "GE", "CONTAINS", NULL};
static const struct shape tables_ComparisonOperator = {.name = "ComparisonOperator", .kind = SHAPE_STRING, .values = values_of_tables_ComparisonOperator};
static const struct shape tables_AttributeValueList = {.name = "AttributeValueList", .kind = SHAPE_LIST, .value = &tables_AttributeValue};
static const struct shape_member members_of_tables_ExpectedAttributeValue[] = {
    {"Value", &tables_AttributeValue, 0},
    {"Exists", &tables_BooleanObject, 0},
    {"ComparisonOperator", &tables_ComparisonOperator, 0},
    {"AttributeValueList", &tables_AttributeValueList, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ExpectedAttributeValue = {.name = "ExpectedAttributeValue", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ExpectedAttributeValue};
static const struct shape tables_ExpectedAttributeMap = {.name = "ExpectedAttributeMap", .kind = SHAPE_MAP, .key = &tables_AttributeName, .value = &tables_ExpectedAttributeValue};
static const char *const values_of_tables_ConditionalOperator[] = {"OR", "AND", NULL};
static const struct shape tables_ConditionalOperator = {.name = "ConditionalOperator", .kind = SHAPE_STRING, .values = values_of_tables_ConditionalOperator};
static const char *const values_of_tables_ReturnValue[] = {"ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW", NULL};
static const struct shape tables_ReturnValue = {.name = "ReturnValue", .kind = SHAPE_STRING, .values = values_of_tables_ReturnValue};
static const struct shape tables_ConditionExpression = {.name = "ConditionExpression", .kind = SHAPE_STRING};
static const struct shape tables_ExpressionAttributeValueVariable = {.name = "ExpressionAttributeValueVariable", .kind = SHAPE_STRING};
static const struct shape tables_ExpressionAttributeValueMap = {.name = "ExpressionAttributeValueMap", .kind = SHAPE_MAP, .key = &tables_ExpressionAttributeValueVariable, .value = &tables_AttributeValue};
static const struct shape_member members_of_tables_DeleteItemInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"Key", &tables_Key, MEMBER_REQUIRED},
    {"Expected", &tables_ExpectedAttributeMap, 0},
    {"ConditionalOperator", &tables_ConditionalOperator, 0},
    {"ReturnValues", &tables_ReturnValue, 0},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {"ReturnItemCollectionMetrics", &tables_ReturnItemCollectionMetrics, 0},
    {"ConditionExpression", &tables_ConditionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {"ExpressionAttributeValues", &tables_ExpressionAttributeValueMap, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_DeleteItemInput = {.name = "DeleteItemInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DeleteItemInput};
static const struct shape tables_ResourceArnString = {.name = "ResourceArnString", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 1283, .has_max = true};
static const struct shape tables_PolicyRevisionId = {.name = "PolicyRevisionId", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 255, .has_max = true};
static const struct shape_member members_of_tables_DeleteResourcePolicyInput[] = {
    {"ResourceArn", &tables_ResourceArnString, MEMBER_REQUIRED},
    {"ExpectedRevisionId", &tables_PolicyRevisionId, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_DeleteResourcePolicyInput = {.name = "DeleteResourcePolicyInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DeleteResourcePolicyInput};
static const struct shape_member members_of_tables_DeleteTableInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED | MEMBER_FIRST},
    {NULL, NULL, 0},
};
static const struct shape tables_DeleteTableInput = {.name = "DeleteTableInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DeleteTableInput};
static const struct shape_member members_of_tables_DescribeBackupInput[] = {
    {"BackupArn", &tables_BackupArn, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeBackupInput = {.name = "DescribeBackupInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeBackupInput};
static const struct shape_member members_of_tables_DescribeContinuousBackupsInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED | MEMBER_FIRST},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeContinuousBackupsInput = {.name = "DescribeContinuousBackupsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeContinuousBackupsInput};
static const struct shape_member members_of_tables_DescribeContributorInsightsInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"IndexName", &tables_IndexName, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeContributorInsightsInput = {.name = "DescribeContributorInsightsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeContributorInsightsInput};
static const struct shape_member members_of_tables_DescribeEndpointsRequest[] = {
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeEndpointsRequest = {.name = "DescribeEndpointsRequest", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeEndpointsRequest};
static const struct shape tables_ExportArn = {.name = "ExportArn", .kind = SHAPE_STRING, .min = 37, .has_min = true, .max = 1024, .has_max = true};
static const struct shape_member members_of_tables_DescribeExportInput[] = {
    {"ExportArn", &tables_ExportArn, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeExportInput = {.name = "DescribeExportInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeExportInput};
static const struct shape_member members_of_tables_DescribeGlobalTableInput[] = {
    {"GlobalTableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeGlobalTableInput = {.name = "DescribeGlobalTableInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeGlobalTableInput};
static const struct shape_member members_of_tables_DescribeGlobalTableSettingsInput[] = {
    {"GlobalTableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeGlobalTableSettingsInput = {.name = "DescribeGlobalTableSettingsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeGlobalTableSettingsInput};
static const struct shape tables_ImportArn = {.name = "ImportArn", .kind = SHAPE_STRING, .min = 37, .has_min = true, .max = 1024, .has_max = true};
static const struct shape_member members_of_tables_DescribeImportInput[] = {
    {"ImportArn", &tables_ImportArn, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeImportInput = {.name = "DescribeImportInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeImportInput};
static const struct shape_member members_of_tables_DescribeKinesisStreamingDestinationInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeKinesisStreamingDestinationInput = {.name = "DescribeKinesisStreamingDestinationInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeKinesisStreamingDestinationInput};
static const struct shape_member members_of_tables_DescribeLimitsInput[] = {
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeLimitsInput = {.name = "DescribeLimitsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeLimitsInput};
static const struct shape_member members_of_tables_DescribeTableInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED | MEMBER_FIRST},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeTableInput = {.name = "DescribeTableInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeTableInput};
static const struct shape_member members_of_tables_DescribeTableReplicaAutoScalingInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeTableReplicaAutoScalingInput = {.name = "DescribeTableReplicaAutoScalingInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeTableReplicaAutoScalingInput};
static const struct shape_member members_of_tables_DescribeTimeToLiveInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED | MEMBER_FIRST},
    {NULL, NULL, 0},
};
static const struct shape tables_DescribeTimeToLiveInput = {.name = "DescribeTimeToLiveInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DescribeTimeToLiveInput};
static const struct shape tables_StreamArn = {.name = "StreamArn", .kind = SHAPE_STRING, .min = 37, .has_min = true, .max = 1024, .has_max = true};
static const struct shape_member members_of_tables_KinesisStreamingDestinationInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"StreamArn", &tables_StreamArn, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_KinesisStreamingDestinationInput = {.name = "KinesisStreamingDestinationInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_KinesisStreamingDestinationInput};
static const struct shape tables_PartiQLNextToken = {.name = "PartiQLNextToken", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 32768, .has_max = true};
static const struct shape tables_PositiveIntegerObject = {.name = "PositiveIntegerObject", .kind = SHAPE_INTEGER, .min = 1, .has_min = true};
static const struct shape_member members_of_tables_ExecuteStatementInput[] = {
    {"Statement", &tables_PartiQLStatement, MEMBER_REQUIRED},
    {"Parameters", &tables_PreparedStatementParameters, 0},
    {"ConsistentRead", &tables_ConsistentRead, 0},
    {"NextToken", &tables_PartiQLNextToken, 0},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {"Limit", &tables_PositiveIntegerObject, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ExecuteStatementInput = {.name = "ExecuteStatementInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ExecuteStatementInput};
static const struct shape_member members_of_tables_ParameterizedStatement[] = {
    {"Statement", &tables_PartiQLStatement, MEMBER_REQUIRED},
    {"Parameters", &tables_PreparedStatementParameters, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ParameterizedStatement = {.name = "ParameterizedStatement", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ParameterizedStatement};
static const struct shape tables_ParameterizedStatements = {.name = "ParameterizedStatements", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 100, .has_max = true, .value = &tables_ParameterizedStatement};
static const struct shape tables_ClientRequestToken = {.name = "ClientRequestToken", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 36, .has_max = true};
static const struct shape_member members_of_tables_ExecuteTransactionInput[] = {
    {"TransactStatements", &tables_ParameterizedStatements, MEMBER_REQUIRED},
    {"ClientRequestToken", &tables_ClientRequestToken, 0},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ExecuteTransactionInput = {.name = "ExecuteTransactionInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ExecuteTransactionInput};
static const struct shape tables_TableArn = {.name = "TableArn", .kind = SHAPE_STRING};
static const struct shape tables_ExportTime = {.name = "ExportTime", .kind = SHAPE_DOUBLE};
static const struct shape tables_ClientToken = {.name = "ClientToken", .kind = SHAPE_STRING};
static const struct shape tables_S3Bucket = {.name = "S3Bucket", .kind = SHAPE_STRING, .max = 255, .has_max = true};
static const struct shape tables_S3BucketOwner = {.name = "S3BucketOwner", .kind = SHAPE_STRING};
static const struct shape tables_S3Prefix = {.name = "S3Prefix", .kind = SHAPE_STRING, .max = 1024, .has_max = true};
static const char *const values_of_tables_S3SseAlgorithm[] = {"AES256", "KMS", NULL};
static const struct shape tables_S3SseAlgorithm = {.name = "S3SseAlgorithm", .kind = SHAPE_STRING, .values = values_of_tables_S3SseAlgorithm};
static const struct shape tables_S3SseKmsKeyId = {.name = "S3SseKmsKeyId", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 2048, .has_max = true};
static const char *const values_of_tables_ExportFormat[] = {"DYNAMODB_JSON", "ION", NULL};
static const struct shape tables_ExportFormat = {.name = "ExportFormat", .kind = SHAPE_STRING, .values = values_of_tables_ExportFormat};
static const struct shape_member members_of_tables_ExportTableToPointInTimeInput[] = {
    {"TableArn", &tables_TableArn, MEMBER_REQUIRED},
    {"ExportTime", &tables_ExportTime, 0},
    {"ClientToken", &tables_ClientToken, 0},
    {"S3Bucket", &tables_S3Bucket, MEMBER_REQUIRED},
    {"S3BucketOwner", &tables_S3BucketOwner, 0},
    {"S3Prefix", &tables_S3Prefix, 0},
    {"S3SseAlgorithm", &tables_S3SseAlgorithm, 0},
    {"S3SseKmsKeyId", &tables_S3SseKmsKeyId, 0},
    {"ExportFormat", &tables_ExportFormat, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ExportTableToPointInTimeInput = {.name = "ExportTableToPointInTimeInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ExportTableToPointInTimeInput};
static const struct shape_member members_of_tables_GetItemInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"Key", &tables_Key, MEMBER_REQUIRED},
    {"AttributesToGet", &tables_AttributeNameList, 0},
    {"ConsistentRead", &tables_ConsistentRead, 0},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {"ProjectionExpression", &tables_ProjectionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_GetItemInput = {.name = "GetItemInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_GetItemInput};
static const struct shape_member members_of_tables_GetResourcePolicyInput[] = {
    {"ResourceArn", &tables_ResourceArnString, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_GetResourcePolicyInput = {.name = "GetResourcePolicyInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_GetResourcePolicyInput};
static const struct shape_member members_of_tables_S3BucketSource[] = {
    {"S3BucketOwner", &tables_S3BucketOwner, 0},
    {"S3Bucket", &tables_S3Bucket, MEMBER_REQUIRED},
    {"S3KeyPrefix", &tables_S3Prefix, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_S3BucketSource = {.name = "S3BucketSource", .kind = SHAPE_STRUCTURE, .members = members_of_tables_S3BucketSource};
static const char *const values_of_tables_InputFormat[] = {"DYNAMODB_JSON", "ION", "CSV", NULL};
static const struct shape tables_InputFormat = {.name = "InputFormat", .kind = SHAPE_STRING, .values = values_of_tables_InputFormat};
static const struct shape tables_CsvDelimiter = {.name = "CsvDelimiter", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 1, .has_max = true};
static const struct shape tables_CsvHeader = {.name = "CsvHeader", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 65536, .has_max = true};
static const struct shape tables_CsvHeaderList = {.name = "CsvHeaderList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 255, .has_max = true, .value = &tables_CsvHeader};
static const struct shape_member members_of_tables_CsvOptions[] = {
    {"Delimiter", &tables_CsvDelimiter, 0},
    {"HeaderList", &tables_CsvHeaderList, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_CsvOptions = {.name = "CsvOptions", .kind = SHAPE_STRUCTURE, .members = members_of_tables_CsvOptions};
static const struct shape_member members_of_tables_InputFormatOptions[] = {
    {"Csv", &tables_CsvOptions, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_InputFormatOptions = {.name = "InputFormatOptions", .kind = SHAPE_STRUCTURE, .members = members_of_tables_InputFormatOptions};
static const char *const values_of_tables_InputCompressionType[] = {"GZIP", "ZSTD", "NONE", NULL};
static const struct shape tables_InputCompressionType = {.name = "InputCompressionType", .kind = SHAPE_STRING, .values = values_of_tables_InputCompressionType};
static const struct shape_member members_of_tables_TableCreationParameters[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"AttributeDefinitions", &tables_AttributeDefinitions, MEMBER_REQUIRED},
    {"KeySchema", &tables_KeySchema, MEMBER_REQUIRED},
    {"BillingMode", &tables_BillingMode, 0},
    {"ProvisionedThroughput", &tables_ProvisionedThroughput, 0},
    {"SSESpecification", &tables_SSESpecification, 0},
    {"GlobalSecondaryIndexes", &tables_GlobalSecondaryIndexList, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_TableCreationParameters = {.name = "TableCreationParameters", .kind = SHAPE_STRUCTURE, .members = members_of_tables_TableCreationParameters};
static const struct shape_member members_of_tables_ImportTableInput[] = {
    {"ClientToken", &tables_ClientToken, 0},
    {"S3BucketSource", &tables_S3BucketSource, MEMBER_REQUIRED},
    {"InputFormat", &tables_InputFormat, MEMBER_REQUIRED},
    {"InputFormatOptions", &tables_InputFormatOptions, 0},
    {"InputCompressionType", &tables_InputCompressionType, 0},
    {"TableCreationParameters", &tables_TableCreationParameters, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_ImportTableInput = {.name = "ImportTableInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ImportTableInput};
static const struct shape tables_BackupsInputLimit = {.name = "BackupsInputLimit", .kind = SHAPE_INTEGER, .min = 1, .has_min = true, .max = 100, .has_max = true};
static const struct shape tables_TimeRangeLowerBound = {.name = "TimeRangeLowerBound", .kind = SHAPE_DOUBLE};
static const struct shape tables_TimeRangeUpperBound = {.name = "TimeRangeUpperBound", .kind = SHAPE_DOUBLE};
static const char *const values_of_tables_BackupTypeFilter[] = {"USER", "SYSTEM", "AWS_BACKUP", "ALL", NULL};
static const struct shape tables_BackupTypeFilter = {.name = "BackupTypeFilter", .kind = SHAPE_STRING, .values = values_of_tables_BackupTypeFilter};
static const struct shape_member members_of_tables_ListBackupsInput[] = {
    {"TableName", &tables_TableNameOrArn, 0},
    {"Limit", &tables_BackupsInputLimit, 0},
    {"TimeRangeLowerBound", &tables_TimeRangeLowerBound, 0},
    {"TimeRangeUpperBound", &tables_TimeRangeUpperBound, 0},
    {"ExclusiveStartBackupArn", &tables_BackupArn, 0},
    {"BackupType", &tables_BackupTypeFilter, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ListBackupsInput = {.name = "ListBackupsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ListBackupsInput};
static const struct shape tables_NextTokenString = {.name = "NextTokenString", .kind = SHAPE_STRING};
static const struct shape tables_ListContributorInsightsLimit = {.name = "ListContributorInsightsLimit", .kind = SHAPE_INTEGER, .max = 100, .has_max = true};
static const struct shape_member members_of_tables_ListContributorInsightsInput[] = {
    {"TableName", &tables_TableNameOrArn, 0},
    {"NextToken", &tables_NextTokenString, 0},
    {"MaxResults", &tables_ListContributorInsightsLimit, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ListContributorInsightsInput = {.name = "ListContributorInsightsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ListContributorInsightsInput};
static const struct shape tables_ListExportsMaxLimit = {.name = "ListExportsMaxLimit", .kind = SHAPE_INTEGER, .min = 1, .has_min = true, .max = 25, .has_max = true};
static const struct shape tables_ExportNextToken = {.name = "ExportNextToken", .kind = SHAPE_STRING};
static const struct shape_member members_of_tables_ListExportsInput[] = {
    {"TableArn", &tables_TableArn, 0},
    {"MaxResults", &tables_ListExportsMaxLimit, 0},
    {"NextToken", &tables_ExportNextToken, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ListExportsInput = {.name = "ListExportsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ListExportsInput};
static const struct shape_member members_of_tables_ListGlobalTablesInput[] = {
    {"ExclusiveStartGlobalTableName", &tables_TableNameOrArn, 0},
    {"Limit", &tables_PositiveIntegerObject, 0},
    {"RegionName", &tables_RegionName, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ListGlobalTablesInput = {.name = "ListGlobalTablesInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ListGlobalTablesInput};
static const struct shape tables_ListImportsMaxLimit = {.name = "ListImportsMaxLimit", .kind = SHAPE_INTEGER, .min = 1, .has_min = true, .max = 25, .has_max = true};
static const struct shape tables_ImportNextToken = {.name = "ImportNextToken", .kind = SHAPE_STRING, .min = 112, .has_min = true, .max = 1024, .has_max = true};
static const struct shape_member members_of_tables_ListImportsInput[] = {
    {"TableArn", &tables_TableArn, 0},
    {"PageSize", &tables_ListImportsMaxLimit, 0},
    {"NextToken", &tables_ImportNextToken, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ListImportsInput = {.name = "ListImportsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ListImportsInput};
static const struct shape tables_ListTablesInputLimit = {.name = "ListTablesInputLimit", .kind = SHAPE_INTEGER, .min = 1, .has_min = true, .max = 100, .has_max = true};
static const struct shape_member members_of_tables_ListTablesInput[] = {
    {"ExclusiveStartTableName", &tables_TableName, 0},
    {"Limit", &tables_ListTablesInputLimit, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ListTablesInput = {.name = "ListTablesInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ListTablesInput};
static const struct shape_member members_of_tables_ListTagsOfResourceInput[] = {
    {"ResourceArn", &tables_ResourceArnString, MEMBER_REQUIRED},
    {"NextToken", &tables_NextTokenString, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ListTagsOfResourceInput = {.name = "ListTagsOfResourceInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ListTagsOfResourceInput};
static const struct shape_member members_of_tables_PutItemInput[] = {
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"Item", &tables_PutItemInputAttributeMap, MEMBER_REQUIRED},
    {"ReturnValues", &tables_ReturnValue, 0},
    {"ReturnItemCollectionMetrics", &tables_ReturnItemCollectionMetrics, 0},
    {"Expected", &tables_ExpectedAttributeMap, 0},
    {"ConditionalOperator", &tables_ConditionalOperator, 0},
    {"ConditionExpression", &tables_ConditionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {"ExpressionAttributeValues", &tables_ExpressionAttributeValueMap, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_PutItemInput = {.name = "PutItemInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_PutItemInput};
static const struct shape_member members_of_tables_PutResourcePolicyInput[] = {
    {"ResourceArn", &tables_ResourceArnString, MEMBER_REQUIRED},
    {"Policy", &tables_ResourcePolicy, MEMBER_REQUIRED},
    {"ExpectedRevisionId", &tables_PolicyRevisionId, 0},
    {"ConfirmRemoveSelfResourceAccess", &tables_DeletionProtectionEnabled, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_PutResourcePolicyInput = {.name = "PutResourcePolicyInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_PutResourcePolicyInput};
static const char *const values_of_tables_Select[] = {"SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", NULL};
static const struct shape tables_Select = {.name = "Select", .kind = SHAPE_STRING, .values = values_of_tables_Select};
static const struct shape_member members_of_tables_Condition[] = {
    {"AttributeValueList", &tables_AttributeValueList, 0},
    {"ComparisonOperator", &tables_ComparisonOperator, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_Condition = {.name = "Condition", .kind = SHAPE_STRUCTURE, .members = members_of_tables_Condition};
static const struct shape tables_KeyConditions = {.name = "KeyConditions", .kind = SHAPE_MAP, .key = &tables_AttributeName, .value = &tables_Condition};
static const struct shape tables_FilterConditionMap = {.name = "FilterConditionMap", .kind = SHAPE_MAP, .key = &tables_AttributeName, .value = &tables_Condition};
static const struct shape tables_KeyExpression = {.name = "KeyExpression", .kind = SHAPE_STRING};
static const struct shape_member members_of_tables_QueryInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"IndexName", &tables_IndexName, 0},
    {"Select", &tables_Select, 0},
    {"AttributesToGet", &tables_AttributeNameList, 0},
    {"Limit", &tables_PositiveIntegerObject, MEMBER_GENERIC},
    {"ConsistentRead", &tables_ConsistentRead, 0},
    {"KeyConditions", &tables_KeyConditions, 0},
    {"QueryFilter", &tables_FilterConditionMap, 0},
    {"ConditionalOperator", &tables_ConditionalOperator, 0},
    {"ScanIndexForward", &tables_BooleanObject, 0},
    {"ExclusiveStartKey", &tables_Key, 0},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {"ProjectionExpression", &tables_ProjectionExpression, 0},
    {"FilterExpression", &tables_ConditionExpression, 0},
    {"KeyConditionExpression", &tables_KeyExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {"ExpressionAttributeValues", &tables_ExpressionAttributeValueMap, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_QueryInput = {.name = "QueryInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_QueryInput};
static const struct shape_member members_of_tables_RestoreTableFromBackupInput[] = {
    {"TargetTableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"BackupArn", &tables_BackupArn, MEMBER_REQUIRED},
    {"BillingModeOverride", &tables_BillingMode, 0},
    {"GlobalSecondaryIndexOverride", &tables_GlobalSecondaryIndexList, 0},
    {"LocalSecondaryIndexOverride", &tables_LocalSecondaryIndexList, 0},
    {"ProvisionedThroughputOverride", &tables_ProvisionedThroughput, 0},
    {"SSESpecificationOverride", &tables_SSESpecification, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_RestoreTableFromBackupInput = {.name = "RestoreTableFromBackupInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_RestoreTableFromBackupInput};
static const struct shape tables_Date = {.name = "Date", .kind = SHAPE_DOUBLE};
static const struct shape_member members_of_tables_RestoreTableToPointInTimeInput[] = {
    {"SourceTableArn", &tables_TableArn, 0},
    {"SourceTableName", &tables_TableNameOrArn, 0},
    {"TargetTableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"UseLatestRestorableTime", &tables_BooleanObject, 0},
    {"RestoreDateTime", &tables_Date, 0},
    {"BillingModeOverride", &tables_BillingMode, 0},
    {"GlobalSecondaryIndexOverride", &tables_GlobalSecondaryIndexList, 0},
    {"LocalSecondaryIndexOverride", &tables_LocalSecondaryIndexList, 0},
    {"ProvisionedThroughputOverride", &tables_ProvisionedThroughput, 0},
    {"SSESpecificationOverride", &tables_SSESpecification, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_RestoreTableToPointInTimeInput = {.name = "RestoreTableToPointInTimeInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_RestoreTableToPointInTimeInput};
static const struct shape tables_ScanTotalSegments = {.name = "ScanTotalSegments", .kind = SHAPE_INTEGER, .min = 1, .has_min = true, .max = 1000000, .has_max = true};
static const struct shape tables_ScanSegment = {.name = "ScanSegment", .kind = SHAPE_INTEGER, .min = 0, .has_min = true, .max = 999999, .has_max = true};
static const struct shape_member members_of_tables_ScanInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"IndexName", &tables_IndexName, 0},
    {"AttributesToGet", &tables_AttributeNameList, 0},
    {"Limit", &tables_PositiveIntegerObject, 0},
    {"Select", &tables_Select, 0},
    {"ScanFilter", &tables_FilterConditionMap, 0},
    {"ConditionalOperator", &tables_ConditionalOperator, 0},
    {"ExclusiveStartKey", &tables_Key, 0},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {"TotalSegments", &tables_ScanTotalSegments, 0},
    {"Segment", &tables_ScanSegment, 0},
    {"ProjectionExpression", &tables_ProjectionExpression, 0},
    {"FilterExpression", &tables_ConditionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {"ExpressionAttributeValues", &tables_ExpressionAttributeValueMap, 0},
    {"ConsistentRead", &tables_ConsistentRead, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ScanInput = {.name = "ScanInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ScanInput};
static const struct shape_member members_of_tables_TagResourceInput[] = {
    {"ResourceArn", &tables_ResourceArnString, MEMBER_REQUIRED},
    {"Tags", &tables_TagList, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_TagResourceInput = {.name = "TagResourceInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_TagResourceInput};
static const struct shape_member members_of_tables_Get[] = {
    {"Key", &tables_Key, MEMBER_REQUIRED},
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"ProjectionExpression", &tables_ProjectionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_Get = {.name = "Get", .kind = SHAPE_STRUCTURE, .members = members_of_tables_Get};
static const struct shape_member members_of_tables_TransactGetItem[] = {
    {"Get", &tables_Get, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_TransactGetItem = {.name = "TransactGetItem", .kind = SHAPE_STRUCTURE, .members = members_of_tables_TransactGetItem};
static const struct shape tables_TransactGetItemList = {.name = "TransactGetItemList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 100, .has_max = true, .value = &tables_TransactGetItem};
static const struct shape_member members_of_tables_TransactGetItemsInput[] = {
    {"TransactItems", &tables_TransactGetItemList, MEMBER_REQUIRED},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_TransactGetItemsInput = {.name = "TransactGetItemsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_TransactGetItemsInput};
static const struct shape_member members_of_tables_ConditionCheck[] = {
    {"Key", &tables_Key, MEMBER_REQUIRED},
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"ConditionExpression", &tables_ConditionExpression, MEMBER_REQUIRED},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {"ExpressionAttributeValues", &tables_ExpressionAttributeValueMap, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ConditionCheck = {.name = "ConditionCheck", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ConditionCheck};
static const struct shape_member members_of_tables_Put[] = {
    {"Item", &tables_PutItemInputAttributeMap, MEMBER_REQUIRED},
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"ConditionExpression", &tables_ConditionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {"ExpressionAttributeValues", &tables_ExpressionAttributeValueMap, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_Put = {.name = "Put", .kind = SHAPE_STRUCTURE, .members = members_of_tables_Put};
static const struct shape_member members_of_tables_Delete[] = {
    {"Key", &tables_Key, MEMBER_REQUIRED},
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"ConditionExpression", &tables_ConditionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {"ExpressionAttributeValues", &tables_ExpressionAttributeValueMap, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_Delete = {.name = "Delete", .kind = SHAPE_STRUCTURE, .members = members_of_tables_Delete};
static const struct shape tables_UpdateExpression = {.name = "UpdateExpression", .kind = SHAPE_STRING};
static const struct shape_member members_of_tables_Update[] = {
    {"Key", &tables_Key, MEMBER_REQUIRED},
    {"UpdateExpression", &tables_UpdateExpression, MEMBER_REQUIRED},
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"ConditionExpression", &tables_ConditionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {"ExpressionAttributeValues", &tables_ExpressionAttributeValueMap, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_Update = {.name = "Update", .kind = SHAPE_STRUCTURE, .members = members_of_tables_Update};
static const struct shape_member members_of_tables_TransactWriteItem[] = {
    {"ConditionCheck", &tables_ConditionCheck, 0},
    {"Put", &tables_Put, 0},
    {"Delete", &tables_Delete, 0},
    {"Update", &tables_Update, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_TransactWriteItem = {.name = "TransactWriteItem", .kind = SHAPE_STRUCTURE, .members = members_of_tables_TransactWriteItem};
static const struct shape tables_TransactWriteItemList = {.name = "TransactWriteItemList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 100, .has_max = true, .value = &tables_TransactWriteItem};
static const struct shape_member members_of_tables_TransactWriteItemsInput[] = {
    {"ClientRequestToken", &tables_ClientRequestToken, 0},
    {"TransactItems", &tables_TransactWriteItemList, MEMBER_REQUIRED},
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {"ReturnItemCollectionMetrics", &tables_ReturnItemCollectionMetrics, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_TransactWriteItemsInput = {.name = "TransactWriteItemsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_TransactWriteItemsInput};
static const struct shape tables_TagKeyList = {.name = "TagKeyList", .kind = SHAPE_LIST, .value = &tables_TagKeyString};
static const struct shape_member members_of_tables_UntagResourceInput[] = {
    {"ResourceArn", &tables_ResourceArnString, MEMBER_REQUIRED},
    {"TagKeys", &tables_TagKeyList, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_UntagResourceInput = {.name = "UntagResourceInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UntagResourceInput};
static const struct shape tables_RecoveryPeriodInDays = {.name = "RecoveryPeriodInDays", .kind = SHAPE_INTEGER, .min = 1, .has_min = true, .max = 35, .has_max = true};
static const struct shape_member members_of_tables_PointInTimeRecoverySpecification[] = {
    {"PointInTimeRecoveryEnabled", &tables_BooleanObject, MEMBER_REQUIRED},
    {"RecoveryPeriodInDays", &tables_RecoveryPeriodInDays, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_PointInTimeRecoverySpecification = {.name = "PointInTimeRecoverySpecification", .kind = SHAPE_STRUCTURE, .members = members_of_tables_PointInTimeRecoverySpecification};
static const struct shape_member members_of_tables_UpdateContinuousBackupsInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED | MEMBER_FIRST},
    {"PointInTimeRecoverySpecification", &tables_PointInTimeRecoverySpecification, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateContinuousBackupsInput = {.name = "UpdateContinuousBackupsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateContinuousBackupsInput};
static const char *const values_of_tables_ContributorInsightsAction[] = {"ENABLE", "DISABLE", NULL};
static const struct shape tables_ContributorInsightsAction = {.name = "ContributorInsightsAction", .kind = SHAPE_STRING, .values = values_of_tables_ContributorInsightsAction};
static const struct shape_member members_of_tables_UpdateContributorInsightsInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"IndexName", &tables_IndexName, 0},
    {"ContributorInsightsAction", &tables_ContributorInsightsAction, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateContributorInsightsInput = {.name = "UpdateContributorInsightsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateContributorInsightsInput};
static const struct shape_member members_of_tables_CreateReplicaAction[] = {
    {"RegionName", &tables_RegionName, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_CreateReplicaAction = {.name = "CreateReplicaAction", .kind = SHAPE_STRUCTURE, .members = members_of_tables_CreateReplicaAction};
static const struct shape_member members_of_tables_DeleteReplicaAction[] = {
    {"RegionName", &tables_RegionName, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DeleteReplicaAction = {.name = "DeleteReplicaAction", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DeleteReplicaAction};
static const struct shape_member members_of_tables_ReplicaUpdate[] = {
    {"Create", &tables_CreateReplicaAction, 0},
    {"Delete", &tables_DeleteReplicaAction, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ReplicaUpdate = {.name = "ReplicaUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ReplicaUpdate};
static const struct shape tables_ReplicaUpdateList = {.name = "ReplicaUpdateList", .kind = SHAPE_LIST, .value = &tables_ReplicaUpdate};
static const struct shape_member members_of_tables_UpdateGlobalTableInput[] = {
    {"GlobalTableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"ReplicaUpdates", &tables_ReplicaUpdateList, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateGlobalTableInput = {.name = "UpdateGlobalTableInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateGlobalTableInput};
static const struct shape tables_AutoScalingRoleArn = {.name = "AutoScalingRoleArn", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 1600, .has_max = true};
static const struct shape tables_AutoScalingPolicyName = {.name = "AutoScalingPolicyName", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 256, .has_max = true};
static const struct shape tables_IntegerObject = {.name = "IntegerObject", .kind = SHAPE_INTEGER};
static const struct shape tables_Double = {.name = "Double", .kind = SHAPE_DOUBLE};
static const struct shape_member members_of_tables_AutoScalingTargetTrackingScalingPolicyConfigurationUpdate[] = {
    {"DisableScaleIn", &tables_BooleanObject, 0},
    {"ScaleInCooldown", &tables_IntegerObject, 0},
    {"ScaleOutCooldown", &tables_IntegerObject, 0},
    {"TargetValue", &tables_Double, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_AutoScalingTargetTrackingScalingPolicyConfigurationUpdate = {.name = "AutoScalingTargetTrackingScalingPolicyConfigurationUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_AutoScalingTargetTrackingScalingPolicyConfigurationUpdate};
static const struct shape_member members_of_tables_AutoScalingPolicyUpdate[] = {
    {"PolicyName", &tables_AutoScalingPolicyName, 0},
    {"TargetTrackingScalingPolicyConfiguration", &tables_AutoScalingTargetTrackingScalingPolicyConfigurationUpdate, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_AutoScalingPolicyUpdate = {.name = "AutoScalingPolicyUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_AutoScalingPolicyUpdate};
static const struct shape_member members_of_tables_AutoScalingSettingsUpdate[] = {
    {"MinimumUnits", &tables_PositiveLongObject, 0},
    {"MaximumUnits", &tables_PositiveLongObject, 0},
    {"AutoScalingDisabled", &tables_BooleanObject, 0},
    {"AutoScalingRoleArn", &tables_AutoScalingRoleArn, 0},
    {"ScalingPolicyUpdate", &tables_AutoScalingPolicyUpdate, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_AutoScalingSettingsUpdate = {.name = "AutoScalingSettingsUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_AutoScalingSettingsUpdate};
static const struct shape_member members_of_tables_GlobalTableGlobalSecondaryIndexSettingsUpdate[] = {
    {"IndexName", &tables_IndexName, MEMBER_REQUIRED},
    {"ProvisionedWriteCapacityUnits", &tables_PositiveLongObject, 0},
    {"ProvisionedWriteCapacityAutoScalingSettingsUpdate", &tables_AutoScalingSettingsUpdate, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_GlobalTableGlobalSecondaryIndexSettingsUpdate = {.name = "GlobalTableGlobalSecondaryIndexSettingsUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_GlobalTableGlobalSecondaryIndexSettingsUpdate};
static const struct shape tables_GlobalTableGlobalSecondaryIndexSettingsUpdateList = {.name = "GlobalTableGlobalSecondaryIndexSettingsUpdateList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 20, .has_max = true, .value = &tables_GlobalTableGlobalSecondaryIndexSettingsUpdate};
static const struct shape_member members_of_tables_ReplicaGlobalSecondaryIndexSettingsUpdate[] = {
    {"IndexName", &tables_IndexName, MEMBER_REQUIRED},
    {"ProvisionedReadCapacityUnits", &tables_PositiveLongObject, 0},
    {"ProvisionedReadCapacityAutoScalingSettingsUpdate", &tables_AutoScalingSettingsUpdate, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ReplicaGlobalSecondaryIndexSettingsUpdate = {.name = "ReplicaGlobalSecondaryIndexSettingsUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ReplicaGlobalSecondaryIndexSettingsUpdate};
static const struct shape tables_ReplicaGlobalSecondaryIndexSettingsUpdateList = {.name = "ReplicaGlobalSecondaryIndexSettingsUpdateList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 20, .has_max = true, .value = &tables_ReplicaGlobalSecondaryIndexSettingsUpdate};
static const struct shape_member members_of_tables_ReplicaSettingsUpdate[] = {
    {"RegionName", &tables_RegionName, MEMBER_REQUIRED},
    {"ReplicaProvisionedReadCapacityUnits", &tables_PositiveLongObject, 0},
    {"ReplicaProvisionedReadCapacityAutoScalingSettingsUpdate", &tables_AutoScalingSettingsUpdate, 0},
    {"ReplicaGlobalSecondaryIndexSettingsUpdate", &tables_ReplicaGlobalSecondaryIndexSettingsUpdateList, 0},
    {"ReplicaTableClass", &tables_TableClass, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ReplicaSettingsUpdate = {.name = "ReplicaSettingsUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ReplicaSettingsUpdate};
static const struct shape tables_ReplicaSettingsUpdateList = {.name = "ReplicaSettingsUpdateList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .max = 50, .has_max = true, .value = &tables_ReplicaSettingsUpdate};
static const struct shape_member members_of_tables_UpdateGlobalTableSettingsInput[] = {
    {"GlobalTableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"GlobalTableBillingMode", &tables_BillingMode, 0},
    {"GlobalTableProvisionedWriteCapacityUnits", &tables_PositiveLongObject, 0},
    {"GlobalTableProvisionedWriteCapacityAutoScalingSettingsUpdate", &tables_AutoScalingSettingsUpdate, 0},
    {"GlobalTableGlobalSecondaryIndexSettingsUpdate", &tables_GlobalTableGlobalSecondaryIndexSettingsUpdateList, 0},
    {"ReplicaSettingsUpdate", &tables_ReplicaSettingsUpdateList, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateGlobalTableSettingsInput = {.name = "UpdateGlobalTableSettingsInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateGlobalTableSettingsInput};
static const char *const values_of_tables_AttributeAction[] = {"ADD", "DELETE", "PUT", NULL};
static const struct shape tables_AttributeAction = {.name = "AttributeAction", .kind = SHAPE_STRING, .values = values_of_tables_AttributeAction};
static const struct shape_member members_of_tables_AttributeValueUpdate[] = {
    {"Value", &tables_AttributeValue, 0},
    {"Action", &tables_AttributeAction, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_AttributeValueUpdate = {.name = "AttributeValueUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_AttributeValueUpdate};
static const struct shape tables_AttributeUpdates = {.name = "AttributeUpdates", .kind = SHAPE_MAP, .key = &tables_AttributeName, .value = &tables_AttributeValueUpdate};
static const struct shape_member members_of_tables_UpdateItemInput[] = {
    {"ReturnConsumedCapacity", &tables_ReturnConsumedCapacity, 0},
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"ReturnValues", &tables_ReturnValue, MEMBER_ALONE},
    {"ConditionalOperator", &tables_ConditionalOperator, 0},
    {"Key", &tables_Key, MEMBER_REQUIRED},
    {"AttributeUpdates", &tables_AttributeUpdates, 0},
    {"Expected", &tables_ExpectedAttributeMap, 0},
    {"ReturnItemCollectionMetrics", &tables_ReturnItemCollectionMetrics, 0},
    {"UpdateExpression", &tables_UpdateExpression, 0},
    {"ConditionExpression", &tables_ConditionExpression, 0},
    {"ExpressionAttributeNames", &tables_ExpressionAttributeNameMap, 0},
    {"ExpressionAttributeValues", &tables_ExpressionAttributeValueMap, 0},
    {"ReturnValuesOnConditionCheckFailure", &tables_ReturnValuesOnConditionCheckFailure, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateItemInput = {.name = "UpdateItemInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateItemInput};
static const struct shape_member members_of_tables_UpdateGlobalSecondaryIndexAction[] = {
    {"IndexName", &tables_IndexName, MEMBER_REQUIRED},
    {"ProvisionedThroughput", &tables_ProvisionedThroughput, 0},
    {"OnDemandThroughput", &tables_OnDemandThroughput, 0},
    {"WarmThroughput", &tables_WarmThroughput, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateGlobalSecondaryIndexAction = {.name = "UpdateGlobalSecondaryIndexAction", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateGlobalSecondaryIndexAction};
static const struct shape_member members_of_tables_CreateGlobalSecondaryIndexAction[] = {
    {"IndexName", &tables_IndexName, MEMBER_REQUIRED},
    {"KeySchema", &tables_IndexKeySchema, MEMBER_REQUIRED},
    {"Projection", &tables_Projection, MEMBER_REQUIRED},
    {"ProvisionedThroughput", &tables_ProvisionedThroughput, 0},
    {"OnDemandThroughput", &tables_OnDemandThroughput, 0},
    {"WarmThroughput", &tables_WarmThroughput, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_CreateGlobalSecondaryIndexAction = {.name = "CreateGlobalSecondaryIndexAction", .kind = SHAPE_STRUCTURE, .members = members_of_tables_CreateGlobalSecondaryIndexAction};
static const struct shape_member members_of_tables_DeleteGlobalSecondaryIndexAction[] = {
    {"IndexName", &tables_IndexName, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DeleteGlobalSecondaryIndexAction = {.name = "DeleteGlobalSecondaryIndexAction", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DeleteGlobalSecondaryIndexAction};
static const struct shape_member members_of_tables_GlobalSecondaryIndexUpdate[] = {
    {"Update", &tables_UpdateGlobalSecondaryIndexAction, 0},
    {"Create", &tables_CreateGlobalSecondaryIndexAction, 0},
    {"Delete", &tables_DeleteGlobalSecondaryIndexAction, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_GlobalSecondaryIndexUpdate = {.name = "GlobalSecondaryIndexUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_GlobalSecondaryIndexUpdate};
static const struct shape tables_GlobalSecondaryIndexUpdateList = {.name = "GlobalSecondaryIndexUpdateList", .kind = SHAPE_LIST, .value = &tables_GlobalSecondaryIndexUpdate};
static const struct shape_member members_of_tables_ProvisionedThroughputOverride[] = {
    {"ReadCapacityUnits", &tables_PositiveLongObject, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ProvisionedThroughputOverride = {.name = "ProvisionedThroughputOverride", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ProvisionedThroughputOverride};
static const struct shape_member members_of_tables_ReplicaGlobalSecondaryIndex[] = {
    {"IndexName", &tables_IndexName, MEMBER_REQUIRED},
    {"ProvisionedThroughputOverride", &tables_ProvisionedThroughputOverride, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ReplicaGlobalSecondaryIndex = {.name = "ReplicaGlobalSecondaryIndex", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ReplicaGlobalSecondaryIndex};
static const struct shape tables_ReplicaGlobalSecondaryIndexList = {.name = "ReplicaGlobalSecondaryIndexList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .value = &tables_ReplicaGlobalSecondaryIndex};
static const struct shape_member members_of_tables_CreateReplicationGroupMemberAction[] = {
    {"RegionName", &tables_RegionName, MEMBER_REQUIRED},
    {"KMSMasterKeyId", &tables_KMSMasterKeyId, 0},
    {"ProvisionedThroughputOverride", &tables_ProvisionedThroughputOverride, 0},
    {"GlobalSecondaryIndexes", &tables_ReplicaGlobalSecondaryIndexList, 0},
    {"TableClassOverride", &tables_TableClass, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_CreateReplicationGroupMemberAction = {.name = "CreateReplicationGroupMemberAction", .kind = SHAPE_STRUCTURE, .members = members_of_tables_CreateReplicationGroupMemberAction};
static const struct shape_member members_of_tables_UpdateReplicationGroupMemberAction[] = {
    {"RegionName", &tables_RegionName, MEMBER_REQUIRED},
    {"KMSMasterKeyId", &tables_KMSMasterKeyId, 0},
    {"ProvisionedThroughputOverride", &tables_ProvisionedThroughputOverride, 0},
    {"GlobalSecondaryIndexes", &tables_ReplicaGlobalSecondaryIndexList, 0},
    {"TableClassOverride", &tables_TableClass, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateReplicationGroupMemberAction = {.name = "UpdateReplicationGroupMemberAction", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateReplicationGroupMemberAction};
static const struct shape_member members_of_tables_DeleteReplicationGroupMemberAction[] = {
    {"RegionName", &tables_RegionName, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_DeleteReplicationGroupMemberAction = {.name = "DeleteReplicationGroupMemberAction", .kind = SHAPE_STRUCTURE, .members = members_of_tables_DeleteReplicationGroupMemberAction};
static const struct shape_member members_of_tables_ReplicationGroupUpdate[] = {
    {"Create", &tables_CreateReplicationGroupMemberAction, 0},
    {"Update", &tables_UpdateReplicationGroupMemberAction, 0},
    {"Delete", &tables_DeleteReplicationGroupMemberAction, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ReplicationGroupUpdate = {.name = "ReplicationGroupUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ReplicationGroupUpdate};
static const struct shape tables_ReplicationGroupUpdateList = {.name = "ReplicationGroupUpdateList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .value = &tables_ReplicationGroupUpdate};
static const struct shape_member members_of_tables_UpdateTableInput[] = {
    {"AttributeDefinitions", &tables_AttributeDefinitions, 0},
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED | MEMBER_FIRST},
    {"BillingMode", &tables_BillingMode, 0},
    {"ProvisionedThroughput", &tables_ProvisionedThroughput, 0},
    {"GlobalSecondaryIndexUpdates", &tables_GlobalSecondaryIndexUpdateList, 0},
    {"StreamSpecification", &tables_StreamSpecification, 0},
    {"SSESpecification", &tables_SSESpecification, 0},
    {"ReplicaUpdates", &tables_ReplicationGroupUpdateList, 0},
    {"TableClass", &tables_TableClass, 0},
    {"DeletionProtectionEnabled", &tables_DeletionProtectionEnabled, 0},
    {"OnDemandThroughput", &tables_OnDemandThroughput, 0},
    {"WarmThroughput", &tables_WarmThroughput, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateTableInput = {.name = "UpdateTableInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateTableInput};
static const struct shape_member members_of_tables_GlobalSecondaryIndexAutoScalingUpdate[] = {
    {"IndexName", &tables_IndexName, 0},
    {"ProvisionedWriteCapacityAutoScalingUpdate", &tables_AutoScalingSettingsUpdate, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_GlobalSecondaryIndexAutoScalingUpdate = {.name = "GlobalSecondaryIndexAutoScalingUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_GlobalSecondaryIndexAutoScalingUpdate};
static const struct shape tables_GlobalSecondaryIndexAutoScalingUpdateList = {.name = "GlobalSecondaryIndexAutoScalingUpdateList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .value = &tables_GlobalSecondaryIndexAutoScalingUpdate};
static const struct shape_member members_of_tables_ReplicaGlobalSecondaryIndexAutoScalingUpdate[] = {
    {"IndexName", &tables_IndexName, 0},
    {"ProvisionedReadCapacityAutoScalingUpdate", &tables_AutoScalingSettingsUpdate, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ReplicaGlobalSecondaryIndexAutoScalingUpdate = {.name = "ReplicaGlobalSecondaryIndexAutoScalingUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ReplicaGlobalSecondaryIndexAutoScalingUpdate};
static const struct shape tables_ReplicaGlobalSecondaryIndexAutoScalingUpdateList = {.name = "ReplicaGlobalSecondaryIndexAutoScalingUpdateList", .kind = SHAPE_LIST, .value = &tables_ReplicaGlobalSecondaryIndexAutoScalingUpdate};
static const struct shape_member members_of_tables_ReplicaAutoScalingUpdate[] = {
    {"RegionName", &tables_RegionName, MEMBER_REQUIRED},
    {"ReplicaGlobalSecondaryIndexUpdates", &tables_ReplicaGlobalSecondaryIndexAutoScalingUpdateList, 0},
    {"ReplicaProvisionedReadCapacityAutoScalingUpdate", &tables_AutoScalingSettingsUpdate, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_ReplicaAutoScalingUpdate = {.name = "ReplicaAutoScalingUpdate", .kind = SHAPE_STRUCTURE, .members = members_of_tables_ReplicaAutoScalingUpdate};
static const struct shape tables_ReplicaAutoScalingUpdateList = {.name = "ReplicaAutoScalingUpdateList", .kind = SHAPE_LIST, .min = 1, .has_min = true, .value = &tables_ReplicaAutoScalingUpdate};
static const struct shape_member members_of_tables_UpdateTableReplicaAutoScalingInput[] = {
    {"GlobalSecondaryIndexUpdates", &tables_GlobalSecondaryIndexAutoScalingUpdateList, 0},
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED},
    {"ProvisionedWriteCapacityAutoScalingUpdate", &tables_AutoScalingSettingsUpdate, 0},
    {"ReplicaUpdates", &tables_ReplicaAutoScalingUpdateList, 0},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateTableReplicaAutoScalingInput = {.name = "UpdateTableReplicaAutoScalingInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateTableReplicaAutoScalingInput};
static const struct shape tables_TimeToLiveEnabled = {.name = "TimeToLiveEnabled", .kind = SHAPE_BOOLEAN};
static const struct shape tables_TimeToLiveAttributeName = {.name = "TimeToLiveAttributeName", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 255, .has_max = true};
static const struct shape_member members_of_tables_TimeToLiveSpecification[] = {
    {"Enabled", &tables_TimeToLiveEnabled, MEMBER_REQUIRED},
    {"AttributeName", &tables_TimeToLiveAttributeName, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_TimeToLiveSpecification = {.name = "TimeToLiveSpecification", .kind = SHAPE_STRUCTURE, .members = members_of_tables_TimeToLiveSpecification};
static const struct shape_member members_of_tables_UpdateTimeToLiveInput[] = {
    {"TableName", &tables_TableNameOrArn, MEMBER_REQUIRED | MEMBER_FIRST},
    {"TimeToLiveSpecification", &tables_TimeToLiveSpecification, MEMBER_REQUIRED},
    {NULL, NULL, 0},
};
static const struct shape tables_UpdateTimeToLiveInput = {.name = "UpdateTimeToLiveInput", .kind = SHAPE_STRUCTURE, .members = members_of_tables_UpdateTimeToLiveInput};

static const struct operation_shape tables_operations[] = {
    {"BatchExecuteStatement", &tables_BatchExecuteStatementInput},
    {"BatchGetItem", &tables_BatchGetItemInput},
    {"BatchWriteItem", &tables_BatchWriteItemInput},
    {"CreateBackup", &tables_CreateBackupInput},
    {"CreateGlobalTable", &tables_CreateGlobalTableInput},
    {"CreateTable", &tables_CreateTableInput},
    {"DeleteBackup", &tables_DeleteBackupInput},
    {"DeleteItem", &tables_DeleteItemInput},
    {"DeleteResourcePolicy", &tables_DeleteResourcePolicyInput},
    {"DeleteTable", &tables_DeleteTableInput},
    {"DescribeBackup", &tables_DescribeBackupInput},
    {"DescribeContinuousBackups", &tables_DescribeContinuousBackupsInput},
    {"DescribeContributorInsights", &tables_DescribeContributorInsightsInput},
    {"DescribeEndpoints", &tables_DescribeEndpointsRequest},
    {"DescribeExport", &tables_DescribeExportInput},
    {"DescribeGlobalTable", &tables_DescribeGlobalTableInput},
    {"DescribeGlobalTableSettings", &tables_DescribeGlobalTableSettingsInput},
    {"DescribeImport", &tables_DescribeImportInput},
    {"DescribeKinesisStreamingDestination", &tables_DescribeKinesisStreamingDestinationInput},
    {"DescribeLimits", &tables_DescribeLimitsInput},
    {"DescribeTable", &tables_DescribeTableInput},
    {"DescribeTableReplicaAutoScaling", &tables_DescribeTableReplicaAutoScalingInput},
    {"DescribeTimeToLive", &tables_DescribeTimeToLiveInput},
    {"DisableKinesisStreamingDestination", &tables_KinesisStreamingDestinationInput},
    {"EnableKinesisStreamingDestination", &tables_KinesisStreamingDestinationInput},
    {"ExecuteStatement", &tables_ExecuteStatementInput},
    {"ExecuteTransaction", &tables_ExecuteTransactionInput},
    {"ExportTableToPointInTime", &tables_ExportTableToPointInTimeInput},
    {"GetItem", &tables_GetItemInput},
    {"GetResourcePolicy", &tables_GetResourcePolicyInput},
    {"ImportTable", &tables_ImportTableInput},
    {"ListBackups", &tables_ListBackupsInput},
    {"ListContributorInsights", &tables_ListContributorInsightsInput},
    {"ListExports", &tables_ListExportsInput},
    {"ListGlobalTables", &tables_ListGlobalTablesInput},
    {"ListImports", &tables_ListImportsInput},
    {"ListTables", &tables_ListTablesInput},
    {"ListTagsOfResource", &tables_ListTagsOfResourceInput},
    {"PutItem", &tables_PutItemInput},
    {"PutResourcePolicy", &tables_PutResourcePolicyInput},
    {"Query", &tables_QueryInput},
    {"RestoreTableFromBackup", &tables_RestoreTableFromBackupInput},
    {"RestoreTableToPointInTime", &tables_RestoreTableToPointInTimeInput},
    {"Scan", &tables_ScanInput},
    {"TagResource", &tables_TagResourceInput},
    {"TransactGetItems", &tables_TransactGetItemsInput},
    {"TransactWriteItems", &tables_TransactWriteItemsInput},
    {"UntagResource", &tables_UntagResourceInput},
    {"UpdateContinuousBackups", &tables_UpdateContinuousBackupsInput},
    {"UpdateContributorInsights", &tables_UpdateContributorInsightsInput},
    {"UpdateGlobalTable", &tables_UpdateGlobalTableInput},
    {"UpdateGlobalTableSettings", &tables_UpdateGlobalTableSettingsInput},
    {"UpdateItem", &tables_UpdateItemInput},
    {"UpdateTable", &tables_UpdateTableInput},
    {"UpdateTableReplicaAutoScaling", &tables_UpdateTableReplicaAutoScalingInput},
    {"UpdateTimeToLive", &tables_UpdateTimeToLiveInput},
    {NULL, NULL},
};

static const struct shape streams_DescribeStreamInput;
static const struct shape streams_StreamArn;
static const struct shape streams_PositiveIntegerObject;
static const struct shape streams_ShardId;
static const struct shape streams_ShardFilter;
static const struct shape streams_ShardFilterType;
static const struct shape streams_GetRecordsInput;
static const struct shape streams_ShardIterator;
static const struct shape streams_GetShardIteratorInput;
static const struct shape streams_ShardIteratorType;
static const struct shape streams_SequenceNumber;
static const struct shape streams_ListStreamsInput;
static const struct shape streams_TableName;

static const struct shape streams_StreamArn = {.name = "StreamArn", .kind = SHAPE_STRING, .min = 37, .has_min = true, .max = 1024, .has_max = true};
static const struct shape streams_PositiveIntegerObject = {.name = "PositiveIntegerObject", .kind = SHAPE_INTEGER, .min = 1, .has_min = true};
static const struct shape streams_ShardId = {.name = "ShardId", .kind = SHAPE_STRING, .min = 28, .has_min = true, .max = 65, .has_max = true};
static const char *const values_of_streams_ShardFilterType[] = {"CHILD_SHARDS", NULL};
static const struct shape streams_ShardFilterType = {.name = "ShardFilterType", .kind = SHAPE_STRING, .values = values_of_streams_ShardFilterType};
static const struct shape_member members_of_streams_ShardFilter[] = {
    {"Type", &streams_ShardFilterType, 0},
    {"ShardId", &streams_ShardId, 0},
    {NULL, NULL, 0},
};
static const struct shape streams_ShardFilter = {.name = "ShardFilter", .kind = SHAPE_STRUCTURE, .members = members_of_streams_ShardFilter};
static const struct shape_member members_of_streams_DescribeStreamInput[] = {
    {"StreamArn", &streams_StreamArn, MEMBER_REQUIRED},
    {"Limit", &streams_PositiveIntegerObject, 0},
    {"ExclusiveStartShardId", &streams_ShardId, 0},
    {"ShardFilter", &streams_ShardFilter, 0},
    {NULL, NULL, 0},
};
static const struct shape streams_DescribeStreamInput = {.name = "DescribeStreamInput", .kind = SHAPE_STRUCTURE, .members = members_of_streams_DescribeStreamInput};
static const struct shape streams_ShardIterator = {.name = "ShardIterator", .kind = SHAPE_STRING, .min = 1, .has_min = true, .max = 2048, .has_max = true};
static const struct shape_member members_of_streams_GetRecordsInput[] = {
    {"ShardIterator", &streams_ShardIterator, MEMBER_REQUIRED},
    {"Limit", &streams_PositiveIntegerObject, 0},
    {NULL, NULL, 0},
};
static const struct shape streams_GetRecordsInput = {.name = "GetRecordsInput", .kind = SHAPE_STRUCTURE, .members = members_of_streams_GetRecordsInput};
static const char *const values_of_streams_ShardIteratorType[] = {"AT_SEQUENCE_NUMBER", "TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER", "LATEST", NULL};
static const struct shape streams_ShardIteratorType = {.name = "ShardIteratorType", .kind = SHAPE_STRING, .values = values_of_streams_ShardIteratorType};
static const struct shape streams_SequenceNumber = {.name = "SequenceNumber", .kind = SHAPE_STRING, .min = 21, .has_min = true, .max = 40, .has_max = true};
static const struct shape_member members_of_streams_GetShardIteratorInput[] = {
    {"StreamArn", &streams_StreamArn, MEMBER_REQUIRED},
    {"ShardId", &streams_ShardId, MEMBER_REQUIRED},
    {"ShardIteratorType", &streams_ShardIteratorType, MEMBER_REQUIRED},
    {"SequenceNumber", &streams_SequenceNumber, 0},
    {NULL, NULL, 0},
};
static const struct shape streams_GetShardIteratorInput = {.name = "GetShardIteratorInput", .kind = SHAPE_STRUCTURE, .members = members_of_streams_GetShardIteratorInput};
static const struct shape streams_TableName = {.name = "TableName", .kind = SHAPE_STRING, .min = 3, .has_min = true, .max = 255, .has_max = true, .pattern = "[a-zA-Z0-9_.-]+"};
static const struct shape_member members_of_streams_ListStreamsInput[] = {
    {"TableName", &streams_TableName, 0},
    {"Limit", &streams_PositiveIntegerObject, 0},
    {"ExclusiveStartStreamArn", &streams_StreamArn, 0},
    {NULL, NULL, 0},
};
static const struct shape streams_ListStreamsInput = {.name = "ListStreamsInput", .kind = SHAPE_STRUCTURE, .members = members_of_streams_ListStreamsInput};

static const struct operation_shape streams_operations[] = {
    {"DescribeStream", &streams_DescribeStreamInput},
    {"GetRecords", &streams_GetRecordsInput},
    {"GetShardIterator", &streams_GetShardIteratorInput},
    {"ListStreams", &streams_ListStreamsInput},
    {NULL, NULL},
};

const struct shape *shape_of_input(const char *operation, bool streams)
{
    const struct operation_shape *all = streams ? streams_operations : tables_operations;
    for (size_t i = 0; all[i].name; i++)
        if (strcmp(all[i].name, operation) == 0)
            return all[i].input;
    return NULL;
}
