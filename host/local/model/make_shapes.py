#!/usr/bin/env python3
"""Writes shapes.c: what the parameters of each operation may be, out of the service's own model (service-2.json as
Debian's python3-botocore has it). Run it where that package is, `host/local/model/make_shapes.py > host/local/model/shapes.c`.

The model says what is allowed; what it does not say stands below: members that came after that model, and where
answers of the service, as public suites of conformance tests hold them, differ from the model's letter."""
import json
import pathlib
import re

MODELS = pathlib.Path("/usr/lib/python3/dist-packages/botocore/data")

# Shapes that are younger than the model.
NEW_SHAPES = {
    "DeletionProtectionEnabled": {"type": "boolean"},
    "Units": {"type": "long"},
    "OnDemandThroughput": {"type": "structure", "members": {"MaxReadRequestUnits": {"shape": "Units"}, "MaxWriteRequestUnits": {"shape": "Units"}}},
    "WarmThroughput": {"type": "structure", "members": {"ReadUnitsPerSecond": {"shape": "Units"}, "WriteUnitsPerSecond": {"shape": "Units"}}},
    "ResourcePolicy": {"type": "string"},
    "PolicyRevisionId": {"type": "string", "min": 1, "max": 255},
    "PutResourcePolicyInput": {"type": "structure", "required": ["ResourceArn", "Policy"], "members": {
        "ResourceArn": {"shape": "ResourceArnString"}, "Policy": {"shape": "ResourcePolicy"}, "ExpectedRevisionId": {"shape": "PolicyRevisionId"},
        "ConfirmRemoveSelfResourceAccess": {"shape": "DeletionProtectionEnabled"}}},
    "GetResourcePolicyInput": {"type": "structure", "required": ["ResourceArn"], "members": {"ResourceArn": {"shape": "ResourceArnString"}}},
    "DeleteResourcePolicyInput": {"type": "structure", "required": ["ResourceArn"], "members": {
        "ResourceArn": {"shape": "ResourceArnString"}, "ExpectedRevisionId": {"shape": "PolicyRevisionId"}}},
    "RecoveryPeriodInDays": {"type": "integer", "min": 1, "max": 35},
    "ShardFilterType": {"type": "string", "enum": ["CHILD_SHARDS"]},
    "ShardFilter": {"type": "structure", "members": {"Type": {"shape": "ShardFilterType"}, "ShardId": {"shape": "ShardId"}}},
    # Up to four attributes of each kind; a table's own key has one of each.
    "IndexKeySchema": {"type": "list", "min": 1, "max": 8, "member": {"shape": "KeySchemaElement"}},
    # A table's name or its ARN: the lengths are the validator's.
    "TableNameOrArn": {"type": "string", "pattern": "[a-zA-Z0-9_.-]+", "name_or_arn": True},
}
NEW_OPERATIONS = {"dynamodb": {f"{verb}ResourcePolicy": {"input": {"shape": f"{verb}ResourcePolicyInput"}} for verb in ("Get", "Put", "Delete")}}
ON_FAILURE = {"ReturnValuesOnConditionCheckFailure": "ReturnValuesOnConditionCheckFailure"}
NEW_MEMBERS = {
    "CreateTableInput": {"DeletionProtectionEnabled": "DeletionProtectionEnabled", "WarmThroughput": "WarmThroughput",
                         "ResourcePolicy": "ResourcePolicy", "OnDemandThroughput": "OnDemandThroughput"},
    "UpdateTableInput": {"DeletionProtectionEnabled": "DeletionProtectionEnabled", "OnDemandThroughput": "OnDemandThroughput", "WarmThroughput": "WarmThroughput"},
    **{shape: {"OnDemandThroughput": "OnDemandThroughput", "WarmThroughput": "WarmThroughput"}
       for shape in ("GlobalSecondaryIndex", "CreateGlobalSecondaryIndexAction", "UpdateGlobalSecondaryIndexAction")},
    **{shape: ON_FAILURE for shape in ("PutItemInput", "UpdateItemInput", "DeleteItemInput", "ExecuteStatementInput", "BatchStatementRequest", "ParameterizedStatement")},
    "PointInTimeRecoverySpecification": {"RecoveryPeriodInDays": "RecoveryPeriodInDays"},
    "DescribeStreamInput": {"ShardFilter": "ShardFilter"},
}
NO_LONGER_REQUIRED = {"UpdateGlobalSecondaryIndexAction": ["ProvisionedThroughput"]}
OTHER_SHAPES = {(shape, "KeySchema"): "IndexKeySchema" for shape in ("GlobalSecondaryIndex", "CreateGlobalSecondaryIndexAction")}
# Where a name stands that may not be an ARN.
NAMES_ONLY = {"CreateTableInput", "ListTablesInput", "CreateGlobalTableInput", "ListStreamsInput"}

# Maps by tables.
KEYS = {name: "TableNameOrArn" for name in ("BatchGetRequestMap", "BatchWriteItemRequestMap")}

# The service's order of what may be chosen.
ENUM_ORDERS = {
    "ScalarAttributeType": ["B", "N", "S"],
    "ReturnValue": ["ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"],
    "Select": ["SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"],
    "ComparisonOperator": ["IN", "NULL", "BETWEEN", "LT", "NOT_CONTAINS", "EQ", "GT", "NOT_NULL", "NE", "LE", "BEGINS_WITH", "GE", "CONTAINS"],
    "ConditionalOperator": ["OR", "AND"],
    "ProjectionType": ["ALL", "INCLUDE", "KEYS_ONLY"],
    "AttributeAction": ["ADD", "DELETE", "PUT"],
    "ShardIteratorType": ["AT_SEQUENCE_NUMBER", "TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER", "LATEST"],
}
# The service's order of what is wrong, where answers of it are known; members that are not named follow in the model's.
MEMBER_ORDERS = {
    "CreateTableInput": ["AttributeDefinitions", "TableName", "BillingMode", "ProvisionedThroughput", "KeySchema", "GlobalSecondaryIndexes", "LocalSecondaryIndexes"],
    "ProvisionedThroughput": ["WriteCapacityUnits", "ReadCapacityUnits"],
    "PutItemInput": ["ReturnConsumedCapacity", "TableName", "Item", "ReturnValues", "ReturnItemCollectionMetrics"],
    "UpdateItemInput": ["ReturnConsumedCapacity", "TableName", "ReturnValues", "ConditionalOperator", "Key"],
    "TransactWriteItemsInput": ["ClientRequestToken", "TransactItems"],
}
# How else the service answers. GENERIC: a length or a range without its value, by the name as it was sent. ALONE: where
# every required member is there, nothing else is told. LATER: told only where nothing else is wrong. AS_JSON: what was
# sent is quoted as JSON. FIRST: where it is missing, that is told alone, and otherwise than for others.
FLAGS = {
    **{(f"{operation}Input", "TableName"): ["FIRST"]
       for operation in ("CreateTable", "UpdateTable", "DeleteTable", "DescribeTable", "UpdateTimeToLive", "DescribeTimeToLive",
                         "DescribeContinuousBackups", "UpdateContinuousBackups")},
    ("BatchGetItemInput", "RequestItems"): ["GENERIC", "AS_JSON"],
    ("KeysAndAttributes", "Keys"): ["GENERIC"],
    ("QueryInput", "Limit"): ["GENERIC"],
    ("BatchWriteItemInput", "RequestItems"): ["LATER"],
    ("UpdateItemInput", "ReturnValues"): ["ALONE"],
}
KINDS = {"integer": "INTEGER", "long": "LONG", "double": "DOUBLE", "timestamp": "DOUBLE"}


def c_string(text):
    return json.dumps(text) if text is not None else "NULL"


class Service:
    def __init__(self, name, prefix):
        model = json.loads((MODELS / name / "2012-08-10" / "service-2.json").read_text())
        self.prefix, self.done, self.lines = prefix, {}, []
        self.shapes = {**model["shapes"], **NEW_SHAPES}
        self.operations = {**model["operations"], **NEW_OPERATIONS.get(name, {})}

    def members(self, name, shape):
        members = {member: value["shape"] for member, value in shape["members"].items()}
        members |= NEW_MEMBERS.get(name, {})
        for member in members:
            members[member] = OTHER_SHAPES.get((name, member), members[member])
            if members[member] == "TableName" and name not in NAMES_ONLY:
                members[member] = "TableNameOrArn"
        first = MEMBER_ORDERS.get(name, [])
        return {member: members[member] for member in first + [member for member in members if member not in first]}

    def write(self, name):
        """Returns the C name of the shape."""
        if name in self.done:
            return self.done[name]
        shape = self.shapes[name]
        c_name = self.done[name] = f"{self.prefix}_{name}"
        kind = KINDS.get(shape["type"], shape["type"].upper())
        lines = []
        fields = [f".name = {c_string(name)}", f".kind = SHAPE_{kind}"]
        if shape["type"] != "timestamp":
            fields += [f".{bound} = {shape[bound]}, .has_{bound} = true" for bound in ("min", "max") if bound in shape]
        if re.fullmatch(r"\[[^\\\]]+\]\+", shape.get("pattern", "")): # others belong to operations that are refused
            fields.append(f".pattern = {c_string(shape['pattern'])}")
        if shape.get("name_or_arn"):
            fields.append(".name_or_arn = true")
        if "enum" in shape:
            values = ENUM_ORDERS.get(name, shape["enum"])
            assert set(values) == set(shape["enum"]), name
            lines.append(f"static const char *const values_of_{c_name}[] = {{{', '.join(map(c_string, values))}, NULL}};")
            fields.append(f".values = values_of_{c_name}")
        if shape["type"] == "structure":
            members = self.members(name, shape)
            required = set(shape.get("required", [])) - set(NO_LONGER_REQUIRED.get(name, []))
            lines.append(f"static const struct shape_member members_of_{c_name}[] = {{")
            for member, target in members.items():
                flags = (["REQUIRED"] if member in required else []) + FLAGS.get((name, member), [])
                lines.append(f"    {{{c_string(member)}, &{self.write(target)}, {' | '.join('MEMBER_' + flag for flag in flags) or '0'}}},")
            lines += ["    {NULL, NULL, 0},", "};"]
            fields.append(f".members = members_of_{c_name}")
        if shape["type"] == "list":
            fields.append(f".value = &{self.write(shape['member']['shape'])}")
        if shape["type"] == "map":
            fields += [f".key = &{self.write(KEYS.get(name, shape['key']['shape']))}", f".value = &{self.write(shape['value']['shape'])}"]
        self.lines += [*lines, f"static const struct shape {c_name} = {{{', '.join(fields)}}};"]
        return c_name

    def write_operations(self):
        rows = [f"    {{{c_string(name)}, &{self.write(operation['input']['shape'])}}},"
                for name, operation in sorted(self.operations.items()) if "input" in operation]
        return [f"static const struct operation_shape {self.prefix}_operations[] = {{", *rows, "    {NULL, NULL},", "};"]


def main():
    print("/* shapes.c: written by make_shapes.py out of the service's model; see there. */")
    print("/* clang-format off */")
    print('#include "local/model/shapes.h"\n\n#include <stddef.h>\n#include <string.h>\n')
    print("struct operation_shape {\n    const char *name;\n    const struct shape *input;\n};\n")
    for name, prefix in (("dynamodb", "tables"), ("dynamodbstreams", "streams")):
        service = Service(name, prefix)
        operations = service.write_operations()
        print("\n".join(f"static const struct shape {c_name};" for c_name in service.done.values()), end="\n\n")
        print("\n".join(service.lines), end="\n\n")
        print("\n".join(operations), end="\n\n")
    print("const struct shape *shape_of_input(const char *operation, bool streams)\n{")
    print("    const struct operation_shape *all = streams ? streams_operations : tables_operations;")
    print("    for (size_t i = 0; all[i].name; i++)\n        if (strcmp(all[i].name, operation) == 0)\n            return all[i].input;")
    print("    return NULL;\n}")


main()
