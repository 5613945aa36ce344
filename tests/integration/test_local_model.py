"""The embedded DynamoDB's parameters against the service's model: what is required, how long, how many, of which kind,
which of several; all that is wrong in one answer."""
import http.client
import json
import pathlib
import subprocess

import botocore.session
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "host" / "local" / "model"
MODELS = {service: botocore.session.get_session().get_service_model(service) for service in ("dynamodb", "dynamodbstreams")}
TARGETS = {"dynamodb": "DynamoDB_20120810", "dynamodbstreams": "DynamoDBStreams_20120810", "tidemill": "TidemillLocal"}
ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/absent"

NAME = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
RCC = "Value 'X' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
RICM = "Value 'X' at 'returnItemCollectionMetrics' failed to satisfy constraint: Member must satisfy enum value set: [SIZE, NONE]"
RV = ("Value 'X' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: "
      "[ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]")
KEYS = "Map keys must satisfy constraint: [Member must have length less than or equal to 255, Member must have length greater than or equal to 3, " + NAME + "]"
WRITES = "Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than or equal to 1]"


def null(place):
    return f"Value null at '{place}' failed to satisfy constraint: Member must not be null"


def failed(value, place, constraint):
    return f"Value '{value}' at '{place}' failed to satisfy constraint: {constraint}"


def at_least(number, what="length"):
    return f"Member must have {what} greater than or equal to {number}"


def at_most(number, what="length"):
    return f"Member must have {what} less than or equal to {number}"


class Raw:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def __call__(self, operation, request, service="dynamodb"):
        self.connection.request("POST", "/", request if isinstance(request, (str, bytes)) else json.dumps(request), {
            "X-Amz-Target": f"{TARGETS[service]}.{operation}", "Content-Type": "application/x-amz-json-1.0", "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")

    def refused(self, operation, request, service="dynamodb", kind="ValidationException"):
        status, answer = self(operation, request, service)
        assert status == 400 and answer["__type"].endswith("#" + kind), (operation, request, status, answer)
        return answer.get("message", answer.get("Message"))


@pytest.fixture(scope="module")
def raw(local):
    return Raw(local.port)


def test_the_table_is_what_the_script_makes_of_the_model():
    made = subprocess.run([MODEL / "make_shapes.py"], capture_output=True, text=True, check=True).stdout
    assert made == (MODEL / "shapes.c").read_text(), "host/local/model/make_shapes.py > host/local/model/shapes.c"


ITEM = {"p": {"S": "a"}}
PUT = {"PutRequest": {"Item": ITEM}}
SEVERAL = [
    ("PutItem", {}, [null("tableName"), null("item")]),
    ("PutItem", {"Item": ITEM}, [null("tableName")]),
    ("PutItem", {"TableName": "a;", "ReturnConsumedCapacity": "X", "ReturnValues": "X", "ReturnItemCollectionMetrics": "X"},
     [RCC, failed("a;", "tableName", at_least(3)), failed("a;", "tableName", NAME), null("item"), RV, RICM]),
    ("PutItem", {"TableName": "", "Item": ITEM, "ReturnValues": "X"}, [failed("", "tableName", at_least(1))]),
    ("PutItem", {"TableName": "a" * 256, "Item": ITEM}, [failed("a" * 256, "tableName", at_most(255))]),
    ("PutItem", {"TableName": "bad table!@#", "Item": ITEM}, [failed("bad table!@#", "tableName", NAME)]),
    ("UpdateItem", {"TableName": "", "ReturnConsumedCapacity": "X", "ReturnValues": "X"},
     [RCC, failed("", "tableName", at_least(1)), RV, null("key")]),
    ("UpdateItem", {"TableName": "abc", "Key": ITEM, "ReturnConsumedCapacity": "X", "ReturnValues": "X"}, [RV]),
    ("Scan", {"TableName": "abc", "Limit": 0, "Segment": -1, "TotalSegments": 1000001},
     [failed(0, "limit", at_least(1, "value")), failed(1000001, "totalSegments", at_most(1000000, "value")), failed(-1, "segment", at_least(0, "value"))]),
    ("Query", {"TableName": "abc", "Limit": 0}, ["Value at 'Limit' failed to satisfy constraint: " + at_least(1, "value")]),
    ("Query", {"TableName": "abc", "Select": "X"},
     [failed("X", "select", "Member must satisfy enum value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]")]),
    ("Query", {"TableName": "abc", "KeyConditions": {"p": {"AttributeValueList": []}}}, [null("keyConditions.p.member.comparisonOperator")]),
    ("BatchGetItem", {"RequestItems": {}}, ["Value at 'RequestItems' failed to satisfy constraint: " + at_least(1)]),
    ("BatchGetItem", {"RequestItems": {"abc": {"Keys": []}}}, ["Value at 'RequestItems.abc.member.Keys' failed to satisfy constraint: " + at_least(1)]),
    ("BatchGetItem", {"RequestItems": {"abc": {"Keys": [ITEM] * 101}}},
     ["Value at 'RequestItems.abc.member.Keys' failed to satisfy constraint: " + at_most(100)]),
    ("BatchGetItem", {"RequestItems": {"bad!name": {"Keys": [ITEM]}}, "ReturnConsumedCapacity": "X"},
     [failed('{"bad!name":{"Keys":[{"p":{"S":"a"}}]}}', "requestItems", KEYS), RCC]),
    ("BatchWriteItem", {"RequestItems": {"abc": []}}, [failed("{abc=[]}", "requestItems", WRITES)]),
    ("BatchWriteItem", {"RequestItems": {"bad!name": [PUT]}, "ReturnConsumedCapacity": "X", "ReturnItemCollectionMetrics": "X"}, [RCC, RICM]),
    ("BatchWriteItem", {"RequestItems": {"abc": [{"PutRequest": {}}, {"DeleteRequest": {}}]}},
     [null("requestItems.abc.member.1.member.putRequest.item"), null("requestItems.abc.member.2.member.deleteRequest.key")]),
    ("TransactWriteItems", {"TransactItems": []}, [failed("[]", "transactItems", at_least(1))]),
    ("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "abc", "Item": ITEM}}], "ClientRequestToken": "x" * 37, "ReturnConsumedCapacity": "X"},
     [failed("x" * 37, "clientRequestToken", at_most(36)), RCC]),
    ("TransactWriteItems", {"TransactItems": [{"Update": {}}]},
     [null("transactItems.1.member.update.key"), null("transactItems.1.member.update.updateExpression"), null("transactItems.1.member.update.tableName")]),
    ("TransactGetItems", {"TransactItems": [{}]}, [null("transactItems.1.member.get")]),
    ("CreateTable", {}, "The parameter 'TableName' is required but was not present in the request"),
    ("CreateTable", {"TableName": "ab"},
     [null("attributeDefinitions"), failed("ab", "tableName", at_least(3)), null("keySchema")]),
    ("CreateTable", {"TableName": "abc", "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "X"}], "BillingMode": "X",
                     "KeySchema": [{"AttributeName": "p", "KeyType": "X"}, {"KeyType": "RANGE"}, {"AttributeName": "q"}]},
     [failed("X", "attributeDefinitions.1.member.attributeType", "Member must satisfy enum value set: [B, N, S]"),
      failed("X", "billingMode", "Member must satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]"),
      failed("[KeySchemaElement(attributeName=p, keyType=X), KeySchemaElement(attributeName=null, keyType=RANGE), "
             "KeySchemaElement(attributeName=q, keyType=null)]", "keySchema", at_most(2)),
      failed("X", "keySchema.1.member.keyType", "Member must satisfy enum value set: [HASH, RANGE]"),
      null("keySchema.2.member.attributeName"), null("keySchema.3.member.keyType")]),
    ("CreateTable", {"TableName": "abc", "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
                     "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
                     **{kind: [{"IndexName": name, "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}], "Projection": {}}]
                        for kind, name in (("LocalSecondaryIndexes", "aa"), ("GlobalSecondaryIndexes", "zz"))}},
     [failed("zz", "globalSecondaryIndexes.1.member.indexName", at_least(3)), failed("aa", "localSecondaryIndexes.1.member.indexName", at_least(3))]),
    ("UpdateTable", {"TableName": "abc", "ProvisionedThroughput": {"ReadCapacityUnits": -1, "WriteCapacityUnits": 0}},
     [failed(0, "provisionedThroughput.writeCapacityUnits", at_least(1, "value")), failed(-1, "provisionedThroughput.readCapacityUnits", at_least(1, "value"))]),
    ("TagResource", {"ResourceArn": ARN, "Tags": [{"Key": "", "Value": "v"}, {"Key": "k", "Value": "v" * 257}, {"Key": "k"}]},
     [failed("", "tags.1.member.key", at_least(1)), failed("v" * 257, "tags.2.member.value", at_most(256)), null("tags.3.member.value")]),
    ("ExecuteStatement", {"Statement": "", "Limit": 0},
     [failed("", "statement", at_least(1)), failed(0, "limit", at_least(1, "value"))]),
]


@pytest.mark.parametrize("operation, request_, wanted", SEVERAL, ids=[f"{index}-{case[0]}" for index, case in enumerate(SEVERAL)])
def test_all_that_is_wrong_is_told_at_once(operation, request_, wanted, raw):
    if isinstance(wanted, list):
        wanted = f"{len(wanted)} validation error{'s' if len(wanted) > 1 else ''} detected: " + "; ".join(wanted)
    assert raw.refused(operation, request_) == wanted


def test_not_more_than_ten_are_told(raw):
    message = raw.refused("TransactWriteItems", {"TransactItems": [{"Put": {}}] * 100})
    assert message.startswith("10 validation errors detected: ") and message.count(";") == 9, message


def test_twenty_six_writes_are_quoted_as_the_service_quotes_them(raw):
    message = raw.refused("BatchWriteItem", {"RequestItems": {"abc": [PUT] * 26}})
    assert message.startswith("1 validation error detected: Value '{abc=[WriteRequest(putRequest=PutRequest(item={p=") and message.endswith(WRITES), message


# ---- each constraint of each operation, by the model itself ----

DONE = {"dynamodb": ["PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem", "TransactWriteItems",
                     "TransactGetItems", "ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction", "CreateTable", "DescribeTable", "ListTables",
                     "UpdateTable", "DeleteTable", "UpdateTimeToLive", "DescribeTimeToLive", "TagResource", "UntagResource", "ListTagsOfResource",
                     "DescribeContinuousBackups", "UpdateContinuousBackups"],
        "dynamodbstreams": ["ListStreams", "DescribeStream", "GetShardIterator", "GetRecords"]}
BY_NAME = {"TableName"}  # has a length of its own where it may be an ARN
NO_LONGER_REQUIRED = {("UpdateGlobalSecondaryIndexAction", "ProvisionedThroughput")}


def valid(shape, depth=0):
    """The least that the shape takes."""
    kind, least = shape.type_name, shape.metadata.get("min", 1)
    if shape.name == "AttributeValue":
        return {"S": "a"}
    if getattr(shape, "enum", None):
        return shape.enum[0]
    if kind == "structure":
        return {name: valid(shape.members[name], depth + 1) for name in shape.required_members}
    if kind == "list":
        return [valid(shape.member, depth + 1) for _ in range(max(least, 1))]
    if kind == "map":
        return {valid(shape.key, depth + 1): valid(shape.value, depth + 1)}
    if kind in ("integer", "long", "double", "timestamp"):
        return shape.metadata.get("min", 1)
    return True if kind == "boolean" else "a" * max(least, 3)


def breakages(shape, place, wrap):
    """(request, what must stand in the answer) for each way to break one constraint below `place`."""
    metadata = shape.metadata
    for name, member in shape.members.items() if shape.type_name == "structure" and shape.name != "AttributeValue" else ():
        inner = f"{place}.{name[0].lower()}{name[1:]}" if place else name[0].lower() + name[1:]

        def wrapped(value, name=name, shape=shape):
            request = valid(shape)
            request[name] = value
            return wrap(request)
        if name in shape.required_members and (place or name not in BY_NAME) and (shape.name, name) not in NO_LONGER_REQUIRED:
            without = valid(shape)
            del without[name]
            yield wrap(without), null(inner)
        yield from breakages(member, inner, wrapped)
    if getattr(shape, "enum", None):
        yield wrap("NOPE"), f"Value 'NOPE' at '{place}' failed to satisfy constraint: Member must satisfy enum value set: ["
    kind = shape.type_name
    what = "value" if kind in ("integer", "long", "double") else "length"
    if shape.name in BY_NAME or shape.name in ("KeySchema", "KeyList", "BatchGetRequestMap", "BatchWriteItemRequestMap") or kind == "map":
        pass # told apart above
    elif kind in ("string", "list", "integer", "long"):
        if "max" in metadata and (kind != "string" or metadata["max"] < 70000):
            many = {"string": lambda: "a" * (metadata["max"] + 1), "list": lambda: [valid(shape.member)] * (metadata["max"] + 1)}
            yield wrap(many.get(kind, lambda: metadata["max"] + 1)()), f"failed to satisfy constraint: {at_most(metadata['max'], what)}"
        if metadata.get("min"):
            few = {"string": lambda: "a" * (metadata["min"] - 1), "list": lambda: []}
            yield wrap(few.get(kind, lambda: metadata["min"] - 1)()), f"failed to satisfy constraint: {at_least(metadata['min'], what)}"
    if kind == "list" and shape.name != "ListAttributeValue":
        yield from breakages(shape.member, f"{place}.1.member", lambda value: wrap([value]))


@pytest.mark.parametrize("service, operation", [(service, operation) for service in DONE for operation in DONE[service]])
def test_each_constraint_of_the_model_is_held(service, operation, raw):
    shape = MODELS[service].operation_model(operation).input_shape
    if shape is None:
        return
    tried = 0
    for request, wanted in breakages(shape, "", lambda value: value):
        message = raw.refused(operation, request, service)
        assert "validation error" in message and wanted in message or "Limit'" in message, (request, wanted, message)
        tried += 1
    assert tried or shape.required_members == ["TableName"] or not shape.members


WRONG_TYPES = [
    ("PutItem", {"TableName": 1}, "NUMBER_VALUE cannot be converted to String"),
    ("PutItem", {"TableName": 1.5}, "DECIMAL_VALUE cannot be converted to String"),
    ("PutItem", {"TableName": True}, "TRUE_VALUE cannot be converted to String"),
    ("PutItem", {"TableName": []}, "Unrecognized collection type class java.lang.String"),
    ("PutItem", {"TableName": {}}, "Start of structure or map found where not expected"),
    ("PutItem", {"Item": "x"}, "Unexpected field type"),
    ("PutItem", {"Item": []}, "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>"),
    ("PutItem", {"ExpressionAttributeNames": []}, "Unrecognized collection type java.util.Map<java.lang.String, java.lang.String>"),
    ("PutItem", {"TableName": "abc", "Item": {"a": {"S": 1}}}, "NUMBER_VALUE cannot be converted to String"),
    ("PutItem", {"TableName": "abc", "Item": {"a": {"B": 1}}}, "only base-64-encoded strings are convertible to bytes"),
    ("PutItem", {"TableName": "abc", "Item": {"a": {"BOOL": "true"}}}, "Unexpected token received from parser"),
    ("Scan", {"TableName": "abc", "Limit": "1"}, "STRING_VALUE cannot be converted to Integer"),
    ("UpdateTable", {"TableName": "abc", "ProvisionedThroughput": {"ReadCapacityUnits": "1"}}, "STRING_VALUE cannot be converted to Long"),
    ("CreateTable", {"KeySchema": {}}, "Start of structure or map found where not expected"),
    ("CreateTable", {"KeySchema": [[]]}, "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.KeySchemaElement"),
    ("CreateTable", {"KeySchema": "x"}, "Unexpected field type"),
]


@pytest.mark.parametrize("operation, request_, wanted", WRONG_TYPES, ids=[f"{index}-{case[0]}" for index, case in enumerate(WRONG_TYPES)])
def test_types_come_first(operation, request_, wanted, raw):
    assert raw.refused(operation, request_, kind="SerializationException") == wanted


def test_what_the_model_does_not_know_is_left_alone(raw):
    assert raw("ListTables", {"Nope": 1, "Limit": None})[0] == 200
