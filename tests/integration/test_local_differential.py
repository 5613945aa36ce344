"""Generated requests, right and wrong, to the embedded DynamoDB and to AWS's DynamoDB Local: the same answers, and the
same stream records. Where they differ on purpose, DIFFERENCES says why."""
import decimal
import http.client
import json
import os
import random
import re

import pytest
from conftest import wait_until

REQUESTS = int(os.environ.get("DIFFERENTIAL_REQUESTS", "6000"))
SEEDS = [int(seed) for seed in os.environ.get("DIFFERENTIAL_SEEDS", "1").split(",")]

UPDATE_FAULTS = (r"(The document path provided in the update expression is invalid|An operand in the update expression has an "
                 r"incorrect|The provided expression refers to an attribute that does not|DynamoDB only supports precision|"
                 r"Attempting to store more than|Number (over|under)flow).*")

# (ours, DynamoDB Local's, why ours differs); either may be a pattern of the error's message.
DIFFERENCES = [
    (r"The provided key element does not match the schema",
     r"(One or more parameter values were invalid: Type mismatch for key|The number of conditions on the keys is invalid"
     r"|One of the required keys was not given a value)",
     "the service has one sentence for a key that does not fit"),
    (r"One or more parameter values were invalid: Missing the key \w+ in the item",
     r"One of the required keys was not given a value", "the service names the key"),
    (r"One or more parameter values were invalid: Type mismatch for key \w+ expected: \w+ actual: \w+",
     r"One or more parameter values were invalid: Type mismatch for key", "the service names the key"),
    (r"One or more parameter values were invalid: Type mismatch for Index Key .*",
     r"One or more parameter values were invalid: Type mismatch for Index Key", "the service names the key"),
    (r"Attempting to store more than 38 significant digits in a Number",
     r"DynamoDB only supports precision up to 38 digits", "the service's sentence, also in arithmetic"),
    (r"Query condition missed key schema element: \w+",
     r"(Query condition missed key schema element|Query key condition not supported)", "the service names the key"),
    (r"One or more parameter values were invalid: Type mismatch for Index Key .*", r"Invalid attribute value type",
     "the service's sentence, for lists and maps as well"),
    (r"Invalid \w+Expression: Two document paths .*", r"Invalid \w+Expression: Two document paths .*",
     "DynamoDB Local does not always name the two paths that overlap or conflict"),
    (r"Invalid \w+Expression: The BETWEEN operator .*", r"Invalid \w+Expression: The BETWEEN operator .*",
     "a number is quoted as it is stored, not as it was written"),
    (r"Key attributes must be scalars.*", r"Key attributes must be scalars.*", "where there are several, either may be named"),
    (UPDATE_FAULTS, UPDATE_FAULTS, "where an update cannot be carried out for several reasons, DynamoDB Local names one in the "
     "order of a hash table"),
    (r"One or more parameter values were invalid: (ADD action|DELETE action with value) is not supported for the type \w+",
     r"One or more parameter values were invalid: (ADD action|DELETE action with value) is not supported for the type \w+",
     "the service calls the types by their short names"),
    (r"Number (over|under)flow\..*", r"Number (over|under)flow.*", "the service's sentence"),
    (r"One or more parameter values were invalid: .*", r"ConditionalOperator can only be used.*",
     "where an update is wrong as well, either may be named"),
    (r"ConditionalOperator can only be used.*",
     r"(The number of conditions on the keys is invalid|Invalid attribute value type|One of the required keys .*|One or more parameter values .*)",
     "where the key is wrong as well, or an index's, either may be named"),
    (r"Attempting to store more than 38 significant digits in a Number", r"Type mismatch for attribute to update",
     "where an update cannot be carried out for several reasons, either may be named"),
]


decimal.getcontext().prec = 50


class Peer:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def call(self, operation, request, service="DynamoDB"):
        self.connection.request("POST", "/", json.dumps(request), {
            "X-Amz-Target": f"{service}_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, "
                             "SignedHeaders=host, Signature=0"})
        answer = self.connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else {}


def normal(value):
    """Sets have no order, and neither have the members of objects."""
    if isinstance(value, dict):
        if len(value) == 1:
            (kind, inner), = value.items()
            if kind in ("SS", "NS", "BS") and isinstance(inner, list):
                return {kind: sorted(inner)}
            if kind == "N" and isinstance(inner, str):  # the service normalises a number, DynamoDB Local not everywhere
                return {"N": str(decimal.Decimal(inner).normalize())}
        return {name: normal(inner) for name, inner in value.items()}
    return [normal(inner) for inner in value] if isinstance(value, list) else value


class Generator:
    """Small worlds, so that requests meet: three partitions, four sort keys, a dozen attributes."""
    NAMES = ["n", "s", "l", "m", "ss", "ns", "b", "t", "z", "g"]
    WORDS = ["", "a", "ab", "abc", "b", "x y", "ü", "zz"]
    NUMBERS = ["0", "1", "-1", "2", "10", "1.5", "-0.25", "1e3", "0.10", "99999999999999999999999999999999999999",
               "1E-130", "9.9999999999999999999999999999999999999E+125", "-7", "3"]

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pick = self.random.choice

    def maybe(self, chance):
        return self.random.random() < chance

    def value(self, depth=0):
        kind = self.pick(["S", "S", "N", "N", "N", "B", "SS", "NS", "BS", "BOOL", "NULL"] + (["L", "M"] * 2 if depth < 3 else []))
        if kind == "S":
            return {"S": self.pick(self.WORDS)}
        if kind == "N":
            return {"N": self.pick(self.NUMBERS)}
        if kind == "B":
            return {"B": self.pick(["", "YQ==", "YWI=", "/w=="])}
        if kind == "SS":
            return {"SS": self.random.sample(self.WORDS[1:], self.random.randint(1, 3))}
        if kind == "NS":
            return {"NS": self.random.sample(["1", "2", "3", "-4.5"], self.random.randint(1, 3))}
        if kind == "BS":
            return {"BS": self.random.sample(["YQ==", "YWI=", "/w=="], self.random.randint(1, 2))}
        if kind == "BOOL":
            return {"BOOL": self.maybe(.5)}
        if kind == "NULL":
            return {"NULL": True}
        if kind == "L":
            return {"L": [self.value(depth + 1) for _ in range(self.random.randint(0, 3))]}
        return {"M": {name: self.value(depth + 1) for name in self.random.sample(["x", "y", "l", "n"], self.random.randint(0, 3))}}

    def key(self):
        if self.maybe(.03):
            return self.pick([{}, {"pk": {"S": "a"}}, {"pk": {"S": "a"}, "sk": {"S": "1"}}, {"pk": {"S": ""}, "sk": {"N": "1"}},
                              {"pk": {"S": "a"}, "sk": {"N": "1"}, "z": {"S": "z"}}, {"pk": {"N": "1"}, "sk": {"N": "1"}}])
        return {"pk": {"S": self.pick("abc")}, "sk": {"N": self.pick(["1", "2", "-3", "1.5"])}}

    def item(self):
        item = self.key()
        for name in self.random.sample(self.NAMES, self.random.randint(0, 7)):
            item[name] = self.value()
        if "g" in item and self.maybe(.9):
            item["g"] = {"S": self.pick(["g1", "g2"])}
        return item

    # Expressions: `self.names` and `self.values` collect what they use.
    def begin(self):
        self.names, self.values = {}, {}

    def name(self):
        name = self.pick(self.NAMES + ["pk", "sk"] if self.maybe(.1) else self.NAMES)
        if self.maybe(.15):
            self.names["#" + name] = self.pick([name, "x", "status", "a.b"])
            return "#" + name
        return "status" if self.maybe(.01) else name

    def path(self):
        path = self.name()
        while self.maybe(.25):
            path += self.pick([".x", ".y", ".l", "[0]", "[1]", "[2]"])
        return path

    def literal(self, value=None):
        name = f":v{len(self.values)}"
        if self.maybe(.01):
            return ":undefined"
        self.values[name] = value or self.value(depth=2)
        return name

    def operand(self):
        roll = self.random.random()
        if roll < .45:
            return self.path()
        if roll < .9:
            return self.literal()
        if roll < .98:
            return f"size({self.path()})"
        return f"({self.path()})"

    def condition(self, depth=0):
        roll = self.random.random()
        if roll < .4 or depth > 3:
            return f"{self.operand()} {self.pick(['=', '<>', '<', '<=', '>', '>='])} {self.operand()}"
        if roll < .5:
            return f"{self.operand()} BETWEEN {self.operand()} AND {self.operand()}"
        if roll < .57:
            return f"{self.operand()} IN ({', '.join(self.operand() for _ in range(self.random.randint(1, 3)))})"
        if roll < .75:
            return self.pick([
                lambda: f"attribute_exists({self.path()})", lambda: f"attribute_not_exists({self.path()})",
                lambda: f"attribute_type({self.path()}, {self.literal({'S': self.pick(['S', 'N', 'L', 'M', 'SS', 'NULL', 'Q'])})})",
                lambda: f"begins_with({self.operand()}, {self.operand()})", lambda: f"contains({self.operand()}, {self.operand()})"])()
        if roll < .85:
            return f"{self.condition(depth + 1)} {self.pick(['AND', 'OR', 'and'])} {self.condition(depth + 1)}"
        if roll < .92:
            return f"NOT {self.condition(depth + 1)}"
        return f"({self.condition(depth + 1)})"

    def set_value(self):
        roll = self.random.random()
        if roll < .45:
            return self.operand() if self.maybe(.5) else self.literal()
        if roll < .65:
            number = self.literal({"N": self.pick(self.NUMBERS)})
            left = f"if_not_exists({self.path()}, {number})" if self.maybe(.5) else f"{self.path()} + {number}"
            return left if "+" in left else f"{left} {self.pick('+-')} {self.literal({'N': self.pick(self.NUMBERS)})}"
        if roll < .8:
            return f"if_not_exists({self.path()}, {self.operand()})"
        return f"list_append({self.operand()}, {self.literal({'L': [self.value(2)]})})"

    def update(self):
        sections = []
        chosen = self.random.sample(["SET", "REMOVE", "ADD", "DELETE"], self.random.randint(1, 2))
        if not {"SET", "ADD"} & set(chosen): # what only takes away makes no item at the service, and one in DynamoDB Local
            chosen.append("SET")
        for section in chosen:
            actions = []
            for _ in range(self.random.randint(1, 2)):
                if section == "SET":
                    actions.append(f"{self.path()} = {self.set_value()}")
                elif section == "REMOVE":
                    actions.append(self.path())
                else:
                    actions.append(f"{self.path()} {self.literal(self.value(3))}")
            sections.append(f"{section} {', '.join(actions)}")
        return " ".join(sections)

    def projection(self):
        return ", ".join(self.path() for _ in range(self.random.randint(1, 3)))

    def spoil(self, text):
        """Now and then an expression that is none."""
        if not self.maybe(.06):
            return text
        words = text.split(" ")
        at = self.random.randrange(len(words))
        self.pick([lambda: words.pop(at), lambda: words.insert(at, self.pick(["(", ")", ",", "AND", "=", "@", "1", "foo"])),
                   lambda: words.insert(at, words[at])])()
        return " ".join(words)

    def with_placeholders(self, request):
        if self.names:
            request["ExpressionAttributeNames"] = self.names
        if self.values:
            request["ExpressionAttributeValues"] = self.values
        return request

    def write(self, kind, transaction=False):
        self.begin()
        request = {"TableName": "Table" if self.maybe(.99) else "Missing"}
        request["Item" if kind == "Put" else "Key"] = self.item() if kind == "Put" else self.key()
        if kind == "Update" and (transaction or self.maybe(.95)):
            request["UpdateExpression"] = self.spoil(self.update())
        if kind == "ConditionCheck" or self.maybe(.4):
            request["ConditionExpression"] = self.spoil(self.condition())
        if self.maybe(.3):
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if not transaction and self.maybe(.5):
            request["ReturnValues"] = self.pick(["ALL_OLD", "NONE"] + (["ALL_NEW"] if kind == "Update" else []))
        return self.with_placeholders(request)

    def transaction(self):
        kinds = ["Put", "Update", "Delete", "ConditionCheck"]
        return {"TransactItems": [{kind: self.write(kind, transaction=True)} for kind in self.random.choices(kinds, k=self.random.randint(1, 3))]}

    def read(self):
        self.begin()
        request = {"TableName": "Table", "Key": self.key(), "ConsistentRead": True}
        if self.maybe(.5):
            request["ProjectionExpression"] = self.spoil(self.projection())
        return self.with_placeholders(request)

    def query(self):
        self.begin()
        request = {"TableName": "Table"}
        hash_name, range_name = self.pick([("pk", "sk"), ("pk", "sk"), ("g", "sk"), ("pk", "n")])
        if hash_name == "g":
            request["IndexName"] = "global"
        elif range_name == "n":
            request["IndexName"] = "local"
        condition = f"{hash_name} = {self.literal({'S': self.pick('abc') if hash_name == 'pk' else self.pick(['g1', 'g2'])})}"
        if self.maybe(.6):
            number = lambda: self.literal({"N": self.pick(["1", "2", "-3", "0"])})
            condition += f" AND {range_name} "
            condition += (f"{self.pick(['=', '<', '<=', '>', '>=', '<>'])} {number()}" if self.maybe(.7)
                          else f"BETWEEN {number()} AND {number()}")
        request["KeyConditionExpression"] = self.spoil(condition)
        if self.maybe(.5):
            request["ScanIndexForward"] = False
        return self.finish_page(request)

    def scan(self):
        self.begin()
        return self.finish_page({"TableName": "Table", **self.pick([{}, {"IndexName": "global"}])})

    def finish_page(self, request):
        if self.maybe(.4):
            request["FilterExpression"] = self.spoil(self.condition())
        if self.maybe(.3):
            request["ProjectionExpression"] = self.spoil(self.projection())
        elif self.maybe(.2):
            request["Select"] = "COUNT"
        return self.with_placeholders(request)

    # The parameters from before there were expressions.
    OPERATORS = {"EQ": 1, "NE": 1, "LT": 1, "LE": 1, "GT": 1, "GE": 1, "BETWEEN": 2, "IN": 2, "BEGINS_WITH": 1, "CONTAINS": 1,
                 "NOT_CONTAINS": 1, "NULL": 0, "NOT_NULL": 0}

    def legacy_condition(self):
        operator = self.pick(list(self.OPERATORS))
        count = self.OPERATORS[operator] if self.maybe(.95) else self.random.randint(0, 3)
        condition = {"ComparisonOperator": operator}
        if count:
            condition["AttributeValueList"] = [self.value(depth=3) for _ in range(count)]
        return condition

    def legacy_conditions(self):
        return {name: self.legacy_condition() for name in self.random.sample(self.NAMES, self.random.randint(1, 2))}

    def expected(self):
        expected = {}
        for name in self.random.sample(self.NAMES, self.random.randint(1, 2)):
            expected[name] = self.pick([self.legacy_condition, lambda: {"Exists": False}, lambda: {"Value": self.value(3)},
                                        lambda: {"Exists": True, "Value": self.value(3)}])()
        return expected

    def attribute_updates(self):
        updates = {}
        for name in self.random.sample(self.NAMES + (["sk"] if self.maybe(.05) else []), self.random.randint(1, 3)):
            # Always named: without one DynamoDB Local does nothing, where the service's default is PUT.
            action = self.pick(["PUT", "PUT", "ADD", "DELETE"])
            updates[name] = {"Action": action}
            if action != "DELETE" or self.maybe(.5):
                updates[name]["Value"] = self.value(3)
        if all(update["Action"] == "DELETE" for update in updates.values()): # as in update()
            updates["n"] = {"Action": "PUT", "Value": self.value(3)}
        return updates

    def with_operator(self, request, conditions):
        count = len(request.get(conditions, ()))
        if count and self.maybe(.5 if count > 1 else .05):
            request["ConditionalOperator"] = self.pick(["AND", "OR"])
        return request

    def legacy_write(self, kind):
        request = {"TableName": "Table"}
        request["Item" if kind == "Put" else "Key"] = self.item() if kind == "Put" else self.key()
        if kind == "Update":
            request["AttributeUpdates"] = self.attribute_updates()
        if self.maybe(.6):
            request["Expected"] = self.expected()
        if self.maybe(.5):
            request["ReturnValues"] = "ALL_OLD"
        return self.with_operator(request, "Expected")

    def legacy_read(self):
        return {"TableName": "Table", "Key": self.key(), "AttributesToGet": self.random.sample(self.NAMES, self.random.randint(1, 3))}

    def legacy_query(self):
        request = {"TableName": "Table", "KeyConditions": {
            "pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": self.pick("abc")}]}}}
        if self.maybe(.6):
            operator = self.pick(["EQ", "LT", "LE", "GT", "GE", "BETWEEN"])  # NE: DynamoDB Local answers 500
            request["KeyConditions"]["sk"] = {"ComparisonOperator": operator, "AttributeValueList": [
                {"N": self.pick(["1", "2", "-3"])} for _ in range(2 if operator == "BETWEEN" else 1)]}
        if self.maybe(.5):
            request["QueryFilter"] = self.legacy_conditions()
        return self.with_operator(request, "QueryFilter")

    def legacy_scan(self):
        return self.with_operator({"TableName": "Table", "ScanFilter": self.legacy_conditions()}, "ScanFilter")

    def legacy(self):
        return self.pick([("PutItem", lambda: self.legacy_write("Put")), ("UpdateItem", lambda: self.legacy_write("Update")),
                          ("UpdateItem", lambda: self.legacy_write("Update")), ("DeleteItem", lambda: self.legacy_write("Delete")),
                          ("GetItem", self.legacy_read), ("Query", self.legacy_query), ("Scan", self.legacy_scan)])

    def batch_write(self):
        self.begin()
        return {"RequestItems": {"Table": [self.pick([{"PutRequest": {"Item": self.item()}}, {"DeleteRequest": {"Key": self.key()}}])
                                           for _ in range(self.random.randint(1, 4))]}}

    def request(self):
        if self.maybe(.2):
            operation, make_legacy = self.legacy()
            return operation, make_legacy()
        kind = self.pick(["PutItem"] * 3 + ["UpdateItem"] * 5 + ["DeleteItem", "GetItem", "GetItem", "Query", "Query", "Scan",
                                                               "TransactWriteItems", "BatchWriteItem"])
        make = {"PutItem": lambda: self.write("Put"), "UpdateItem": lambda: self.write("Update"), "DeleteItem": lambda: self.write("Delete"),
                "GetItem": self.read, "Query": self.query, "Scan": self.scan, "TransactWriteItems": self.transaction,
                "BatchWriteItem": self.batch_write}
        return kind, make[kind]()


TABLE = {
    "TableName": "Table", "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in
                             (("pk", "S"), ("sk", "N"), ("g", "S"), ("n", "N"))],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "GlobalSecondaryIndexes": [{"IndexName": "global", "Projection": {"ProjectionType": "ALL"}, "KeySchema": [
        {"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]}],
    "LocalSecondaryIndexes": [{"IndexName": "local", "Projection": {"ProjectionType": "ALL"}, "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}]}],
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
}


# Where several things are wrong, the service looks at the request before the table and its items; DynamoDB Local at some
# of these first. (ours, DynamoDB Local's)
EARLIER = [
    (r"Invalid \w+Expression: .*|Value provided in .*|Key attributes must be scalars.*|.*Requested resource not found|ExpressionAttribute.*",
     r"Cannot do operations on a non-existent table|Invalid attribute value type|One or more parameter values were invalid: Type "
     r"mismatch for (Index Key|key)|One of the required keys was not given a value|The number of conditions on the keys is invalid"
     r"|One or more parameter values are not valid.*"),
    (r"Requested resource not found|One or more parameter values are not valid.*", r"Key attributes must be scalars.*"),
    (r"Key attributes must be scalars.*|The provided key element does not match the schema|One or more parameter values are not "
     r"valid.*|Requested resource not found", r"Invalid \w+Expression: .*|Transaction cancelled, .*|The document path .*|Invalid attribute value type"),
    # A step of a transaction that cannot be carried out is a reason to cancel it; DynamoDB Local refuses the request.
    (r"One or more parameter values were invalid: Cannot update attribute .*", r"The conditional request failed|Invalid \w+Expression: .*|Transaction cancelled, .*"),
    (r"One or more parameter values were invalid: (ADD action|DELETE action|Only DELETE action|Cannot update attribute) .*",
     r"The conditional request failed|One or more parameter values were invalid: .*|Updates on index keys must .*"
     r"|The BETWEEN condition was .*|The number of conditions .*|One or more parameter values are not valid.*|Type mismatch for attribute to update"),
    (r"One or more parameter values were invalid: .*",
     r"Invalid attribute value type|The BETWEEN condition was .*|One or more parameter values were invalid: Type mismatch for Index Key"),
    (r"Type mismatch for attribute to update|One or more parameter values (are not valid|were invalid: Type mismatch for Index Key).*",
     r"Updates on index keys must .*|One or more parameter values are not valid.*"),
    (r"One or more parameter values were invalid: (Type mismatch for Index Key|ComparisonOperator|Cannot update) .*|The BETWEEN condition was .*"
     r"|The provided key element .*|One or more parameter values are not valid.*",
     r"Updates on index keys must .*|The BETWEEN condition was .*|One or more parameter values were invalid: .*|Invalid attribute value type"
     r"|One of the required keys .*|The number of conditions .*|The conditional request failed"),
    (r"One or more parameter values were invalid: Missing the key .*", r"Item to put in PutItem cannot be null"),
    (r"Transaction cancelled, .*", r"Transaction cancelled, .*ValidationError.*|Invalid attribute value type"),
    (r"One or more parameter values were invalid: Type mismatch for .*", r"Invalid attribute value type"),
    (r"Requested resource not found", r"An operand in the update .*|The provided expression refers .*|Transaction request cannot include .*"),
    (r"One or more parameter values were invalid: (ComparisonOperator|AttributeValues inside|Invalid number of arg).*",
     r"One or more parameter values (are not valid|were invalid: Type mismatch for key).*|One of the required keys .*"),
    (r"ConditionalOperator can only be used when .*", r"The BETWEEN condition was .*"),
    (r"One or more parameter values were invalid: Cannot update attribute .*", r"The document path .*"),
    # Of two actions that are wrong, each names another.
    (r"Attempting to store more than 38 significant digits in a Number", r"Updates on index keys must .*"),
    (r"Transaction cancelled, .*ValidationError.*|Transaction request cannot include multiple operations on one item", r".*"),
]


def message_of(body):
    return body.get("message", body.get("Message", ""))


def excused(ours, theirs):
    return any(re.fullmatch(mine, ours) and re.match(other, theirs) for mine, other, _ in DIFFERENCES)


def comparable(operation, answer):
    status, body = answer
    body = normal(body)
    if operation in ("Scan", "Query") and "Items" in body:
        # The order of partitions, and of equal sort keys, is nobody's promise.
        body["Items"] = sorted(body["Items"], key=lambda item: json.dumps(item, sort_keys=True))
    for name in ("message", "Message", "__type", "ConsumedCapacity"):  # DynamoDB Local tells the capacity unasked
        body.pop(name, None)
    return status, body


def same(operation, ours, theirs):
    messages = message_of(ours[1]), message_of(theirs[1])
    if ours[0] == theirs[0] == 400 and any(re.fullmatch(mine, messages[0]) and re.match(other, messages[1]) for mine, other in EARLIER):
        return True
    if comparable(operation, ours) != comparable(operation, theirs):
        reasons = [[reason.get("Code") for reason in answer[1].get("CancellationReasons", [])] for answer in (ours, theirs)]
        return bool(reasons[0]) and reasons[0] == reasons[1]
    if ours[0] == 200:
        return True
    kinds = [answer[1]["__type"].split("#")[1] for answer in (ours, theirs)]
    return kinds[0] == kinds[1] and (messages[0] == messages[1] or excused(*messages))


def keys_of(request):
    """Of what a single write or a transaction touches."""
    steps = [body for step in request["TransactItems"] for body in step.values()] if "TransactItems" in request else [request]
    for step in steps:
        item = step.get("Key", step.get("Item"))
        yield {name: item[name] for name in ("pk", "sk")}


def whole(image):
    """DynamoDB Local writes an empty map in a stream record without its type."""
    if image == {}:
        return {"M": {}}
    if isinstance(image, dict):
        return {name: whole(inner) if name != "M" else {key: whole(value) for key, value in inner.items()} for name, inner in image.items()}
    return [whole(inner) for inner in image] if isinstance(image, list) else image


def records(peer):
    """What the stream says, item by item."""
    arn = peer.call("DescribeTable", {"TableName": "Table"})[1]["Table"]["LatestStreamArn"]
    shards = peer.call("DescribeStream", {"StreamArn": arn}, "DynamoDBStreams")[1]["StreamDescription"]["Shards"]
    found = {}
    for shard in shards:
        iterator = peer.call("GetShardIterator", {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"},
                             "DynamoDBStreams")[1]["ShardIterator"]
        while iterator:
            page = peer.call("GetRecords", {"ShardIterator": iterator}, "DynamoDBStreams")[1]
            for record in page["Records"]:
                change = record["dynamodb"]
                told = {name: normal(whole(change.get(name))) for name in ("Keys", "NewImage", "OldImage", "StreamViewType", "SizeBytes")}
                found.setdefault(json.dumps(change["Keys"], sort_keys=True), []).append((record["eventName"], told))
            iterator = page.get("NextShardIterator") if page["Records"] else None
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_answers(local, dynamodb, seed):
    peers = [Peer(local.port), Peer(dynamodb.port)]
    for peer in peers:
        peer.call("DeleteTable", {"TableName": "Table"})
        wait_until(lambda: peer.call("CreateTable", TABLE)[0] == 200, "the table is there")
    generator = Generator(seed)
    different, refused = [], set()
    for _ in range(REQUESTS):
        operation, request = generator.request()
        ours, theirs = (peer.call(operation, request) for peer in peers)
        if ((ours[0], theirs[0]) == (400, 200) and "Type mismatch for Index Key" in json.dumps(ours[1])
                or (ours[0], theirs[0]) == (200, 400) and "Updates on index keys must" in json.dumps(theirs[1])):
            # DynamoDB Local lets an update put any type into an index's key; the service refuses, and so do we. With
            # AttributeUpdates it does refuse, and even to take one away that is not there.
            for key in keys_of(request):
                for peer in peers:
                    peer.call("DeleteItem", {"TableName": "Table", "Key": key})
                refused.add(json.dumps(normal(key), sort_keys=True))
            continue
        if not same(operation, ours, theirs):
            different.append(f"{operation} {json.dumps(request)}\n  ours   {ours}\n  theirs {theirs}")
    assert not different, f"{len(different)} of {REQUESTS} differ:\n" + "\n".join(different[:20])
    ours, theirs = (records(peer) for peer in peers)
    assert ours.keys() == theirs.keys()
    assert sum(map(len, ours.values())) > REQUESTS / 20
    for key in ours:
        if json.dumps(normal(json.loads(key)), sort_keys=True) not in refused:
            for mine, other in zip(ours[key], theirs[key]):
                assert json.dumps(mine, sort_keys=True) == json.dumps(other, sort_keys=True)
            assert len(ours[key]) == len(theirs[key])
