"""Generated changes of tables, indexes, streams and times to live, and statements in PartiQL, to the embedded
DynamoDB and to AWS's DynamoDB Local: the same answers. Where they differ on purpose, DIFFERENCES says why."""
import json
import os
import random
import re

import pytest
from conftest import wait_until
from test_local_differential import Peer, message_of, normal

REQUESTS = int(os.environ.get("DIFFERENTIAL_TABLE_REQUESTS", "1500"))
SEEDS = [int(seed) for seed in os.environ.get("DIFFERENTIAL_SEEDS", "1").split(",")]

# (ours, DynamoDB Local's, why ours differs); patterns of "KIND: MESSAGE", "OK" for what was done.
DIFFERENCES = [
    (r"ResourceNotFoundException: Requested resource not found.*",
     r"ResourceNotFoundException: (Cannot do operations on a non-existent table|Requested resource not found)|ValidationException: (Invalid global secondary index name|Cannot delete an index that is not a GlobalSecondaryIndex)",
     "the service's sentences"),
    (r"DuplicateItemException: (.*)", r"DuplicateItem: .*", "the name that the service's model has"),
    (r"ResourceInUseException: Table already exists: .*", r"ResourceInUseException: Cannot create preexisting table", "the service names the table"),
    (r"ValidationException: (One or more parameter values were invalid|Invalid KeySchema|Both the Hash Key and the Range Key) ?.*",
     r"ValidationException: (Local [Ss]econdary [Ii]ndices|Two (keys|(global|local) secondary)|No provisioned throughput|If Projection type INCLUDE|No attributes should"
     r"|Attribute \w is not|(Hash|Range) Key not|The number of attributes in key|Local Secondary Index range key not|Invalid StreamViewType).*|InternalFailure: .*",
     "the service's sentences, and its order of what is wrong"),
    (r"ValidationException: At least one of ProvisionedThroughput.*", r"ValidationException: Nothing to update|ResourceNotFoundException: .*", "the service's sentence, before the table"),
    (r"ValidationException: (Table already has an enabled stream|Table has no stream to disable): TableName: \w+", r"ValidationException: Table (already|has no) .*", "the service names the table"),
    (r"ValidationException: One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be .*", r"OK|ValidationException: .*|ResourceInUseException: .*",
     "DynamoDB Local keeps what a table that is paid by the request has no use for"),
    (r"ValidationException: One or more parameter values were invalid: ProvisionedThroughput (must|should not) be specified .*", r"OK|InternalFailure: .*",
     "DynamoDB Local fails by itself, or keeps what has no use"),
    (r"ValidationException: One or more parameter values were invalid: Missing the key \w in the item", r"ValidationException: Key attribute should be present in the item: Key \w",
     "the sentence that PutItem has"),
    (r"ValidationException: The provisioned throughput for the .* will not change.*", r"ValidationException: The requested throughput value equals the current value", "the service tells the values"),
    (r"ValidationException: TimeToLive is active on a different AttributeName: .*", r"ValidationException: TimeToLive is active on a different AttributeName", "the service names it"),
    (r"ResourceNotFoundException: Requested resource not found: Index .*", r"InternalFailure: .*", "DynamoDB Local fails by itself"),
]


class Generator:
    """Few names, so that requests meet."""
    TABLES = ["Apple", "Birch", "Cedar"]
    ATTRIBUTES = ["a", "b", "c"]
    INDEXES = ["one", "two", "six"]

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pick = self.random.choice
        self.there = [] # tables
        self.narrow = [] # '"Table"."index"' that holds less than its table

    def maybe(self, chance):
        return self.random.random() < chance

    def table(self):
        return self.pick(self.there if self.maybe(.97) else self.TABLES)

    def key_schema(self, names):
        return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"))]

    def names(self):
        return self.random.sample(self.ATTRIBUTES, self.random.randint(1, 2))

    def projection(self):
        kind = self.pick(["ALL", "KEYS_ONLY", "INCLUDE"])
        projection = {"ProjectionType": kind}
        if (kind == "INCLUDE") != self.maybe(.05):
            projection["NonKeyAttributes"] = self.random.sample(["x", "y", "z"], self.random.randint(1, 3))
        return projection

    def index(self, units, names=None):
        made = {"IndexName": self.pick(self.INDEXES), "KeySchema": self.key_schema(names or self.names()), "Projection": self.projection()}
        return {**made, "ProvisionedThroughput": self.units()} if units else made

    def units(self):
        return {"ReadCapacityUnits": self.random.randint(1, 3), "WriteCapacityUnits": self.random.randint(1, 3)}

    def attributes(self, names):
        return [{"AttributeName": name, "AttributeType": "N" if name == "b" else "S"} for name in names]

    def stream(self):
        on = self.maybe(.7)
        view = {"StreamViewType": self.pick(["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"])} if on != self.maybe(.05) else {}
        return {"StreamEnabled": on, **view}

    def create(self):
        names, used = self.names(), set()
        used |= set(names)
        units = self.maybe(.4)
        request = {"TableName": self.pick(self.TABLES), "KeySchema": self.key_schema(names), "BillingMode": "PROVISIONED" if units else "PAY_PER_REQUEST"}
        if units != self.maybe(.03):
            request["ProvisionedThroughput"] = self.units()
        for member, chance in (("GlobalSecondaryIndexes", .5), ("LocalSecondaryIndexes", .3)):
            if not self.maybe(chance):
                continue
            indexes = []
            for _ in range(self.random.randint(1, 2)):
                local = member[0] == "L" and self.maybe(.9)
                indexes.append(self.index(units and member[0] == "G", [names[0], self.pick(self.ATTRIBUTES)] if local else None))
                used |= {each["AttributeName"] for each in indexes[-1]["KeySchema"]}
            request[member] = indexes
        if self.maybe(.05):
            used ^= {self.pick(self.ATTRIBUTES)}
        request["AttributeDefinitions"] = self.attributes(sorted(used) or ["a"])
        if self.maybe(.4):
            request["StreamSpecification"] = self.stream()
        return "CreateTable", request

    def update(self):
        request = {"TableName": self.table()}
        roll = self.random.random()
        if roll < .3:
            index = self.index(self.maybe(.4))
            request["AttributeDefinitions"] = self.attributes(sorted({each["AttributeName"] for each in index["KeySchema"]} | ({"a"} if self.maybe(.5) else set())))
            request["GlobalSecondaryIndexUpdates"] = [{"Create": index}]
        elif roll < .5:
            request["GlobalSecondaryIndexUpdates"] = [{"Delete": {"IndexName": self.pick(self.INDEXES)}}]
        elif roll < .6:
            request["GlobalSecondaryIndexUpdates"] = [{"Update": {"IndexName": self.pick(self.INDEXES), "ProvisionedThroughput": self.units()}}]
        elif roll < .75:
            request["StreamSpecification"] = self.stream()
        elif roll < .85:
            request["BillingMode"] = self.pick(["PROVISIONED", "PAY_PER_REQUEST"])
            if self.maybe(.6):
                request["ProvisionedThroughput"] = self.units()
        elif roll < .95:
            request["ProvisionedThroughput"] = self.units()
        return "UpdateTable", request

    def time_to_live(self):
        return "UpdateTimeToLive", {"TableName": self.table(), "TimeToLiveSpecification": {"AttributeName": self.pick(["t", "u"]), "Enabled": self.maybe(.6)}}

    def literal(self):
        return self.pick(["1", "2", "-3.5", "'x'", "'it''s'", "true", "null", "[1, 'a']", "{'m': 1}", "<<1, 2>>", "<<'p', 'q'>>", "?"])

    def value_of(self, name):
        return self.pick(["1", "2"]) if name == "b" else self.pick(["'p'", "'q'"])

    def where(self):
        parts = [f"{name} = {self.value_of(name)}" for name in self.names()]
        if self.maybe(.3):
            parts.append(self.pick([f"x = {self.literal()}", "x > 1", "begins_with(x, 'a')", "attribute_type(x, 'S')", "x IN [1, 2]", "x BETWEEN 1 AND 3",
                                    "x IS MISSING", "x IS NOT NULL", "contains(y, 'p')", "size(y) > 1", "m.n = 1", "NOT x = 1", "(x = 1 OR y = 2)"]))
        return " AND ".join(parts)

    def statement(self):
        table = f'"{self.table()}"'
        if self.maybe(.2):
            table += f'."{self.pick(self.INDEXES)}"'
        if table in self.narrow: # DynamoDB Local reads what an index lacks out of the table; the service does not
            return self.statement()
        kind = self.pick(["INSERT"] * 3 + ["SELECT"] * 3 + ["UPDATE"] * 2 + ["DELETE"])
        if kind == "INSERT":
            members = [f"'{name}': {self.value_of(name)}" for name in self.ATTRIBUTES if self.maybe(.9)]
            members += [f"'{name}': {self.literal()}" for name in "xy" if self.maybe(.5)]
            text = f"INSERT INTO {table} VALUE {{{', '.join(members)}}}"
        elif kind == "SELECT":
            text = f"SELECT {self.pick(['*', '*', 'a', 'a, b', 'x, y', 'm.n', 'y[0]'])} FROM {table}" + (f" WHERE {self.where()}" if self.maybe(.7) else "")
        elif kind == "UPDATE":
            action = self.pick([f"SET x = {self.literal()}", "SET x = x + 1", "REMOVE x", f"SET x = {self.literal()} REMOVE y", "SET y = list_append(y, [1])",
                                "SET y = set_add(y, <<3>>)", "SET m.n = 1", "SET x = 1 SET y = 2"])
            text = f"UPDATE {table} {action} WHERE {self.where()}" + self.pick(["", "", " RETURNING ALL OLD *", " RETURNING MODIFIED NEW *"])
        else:
            text = f"DELETE FROM {table} WHERE {self.where()}" + self.pick(["", " RETURNING ALL OLD *"])
        request = {"Statement": text}
        if text.count("?") and self.maybe(.97):
            request["Parameters"] = [self.pick([{"S": "a"}, {"N": "1"}, {"L": []}, {"SS": ["p"]}]) for _ in range(text.count("?"))]
        return "ExecuteStatement", request

    def request(self):
        if len(self.there) < 2 or self.maybe(.05):
            return self.create()
        return self.pick([self.update, self.update, self.update, self.time_to_live,
                          lambda: ("DescribeTable", {"TableName": self.table()}), lambda: ("DescribeTable", {"TableName": self.table()}),
                          lambda: ("DeleteTable", {"TableName": self.table()}) if self.maybe(.2) else ("ListTables", {"ExclusiveStartTableName": "Anchor"}),
                          lambda: ("DescribeTimeToLive", {"TableName": self.table()}), *[self.statement] * 12])()


def described(table):
    """What both say of a table; names and numbers that the two make themselves are left out."""
    def index(each):
        told = {name: each.get(name) for name in ("IndexName", "KeySchema", "Projection")}
        told["Projection"] = {**told["Projection"], "NonKeyAttributes": sorted(told["Projection"].get("NonKeyAttributes", []))}
        # DynamoDB Local keeps what an index had before its table was paid by the request.
        told["units"] = not on_demand and [each.get("ProvisionedThroughput", {}).get(name) for name in ("ReadCapacityUnits", "WriteCapacityUnits")]
        return told
    on_demand = table.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST"
    keys = {part["AttributeName"] for each in [table, *table.get("GlobalSecondaryIndexes", []), *table.get("LocalSecondaryIndexes", [])] for part in each["KeySchema"]}
    return {
        "TableName": table["TableName"], "KeySchema": table["KeySchema"],
        # DynamoDB Local keeps those that are part of no key any more.
        "AttributeDefinitions": sorted(json.dumps(each) for each in table["AttributeDefinitions"] if each["AttributeName"] in keys),
        "indexes": [sorted((index(each) for each in table.get(kind, [])), key=json.dumps) for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")],
        "units": [table["ProvisionedThroughput"][name] for name in ("ReadCapacityUnits", "WriteCapacityUnits")],
        "on_demand": on_demand,
        "StreamSpecification": table.get("StreamSpecification"),
    }


def comparable(operation, answer):
    status, body = answer
    if status != 200:
        return "%s: %s" % (body["__type"].split("#")[1], message_of(body))
    for member in ("TableDescription", "Table"):
        if member in body:
            return described(body[member]) if operation in ("DescribeTable", "CreateTable") else {}
    if operation == "ListTagsOfResource":
        return sorted(map(json.dumps, body.get("Tags", [])))
    if operation == "ListTables":
        return [name for name in body["TableNames"] if name in Generator.TABLES] # others' are there, too
    if "Items" in body:
        return sorted(json.dumps(normal(item), sort_keys=True) for item in body["Items"])
    return normal(body)


def same(ours, theirs):
    if ours == theirs:
        return True
    mine, other = (answer if isinstance(answer, str) else "OK" for answer in (ours, theirs))
    return (mine, other) != ("OK", "OK") and any(re.fullmatch(first, mine) and re.fullmatch(second, other) for first, second, _ in DIFFERENCES)


def settled(peer, name):
    status, body = peer.call("DescribeTable", {"TableName": name})
    return status != 200 or (body["Table"]["TableStatus"] == "ACTIVE" and all(
        index["IndexStatus"] == "ACTIVE" for index in body["Table"].get("GlobalSecondaryIndexes", [])))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_answers_about_tables(local, dynamodb, seed):
    peers = [Peer(local.port), Peer(dynamodb.port)]
    generator = Generator(seed)
    for peer in peers:
        for name in generator.TABLES:
            peer.call("DeleteTable", {"TableName": name})
    different, done = [], {}
    for _ in range(REQUESTS):
        operation, request = generator.request()
        ours, theirs = (comparable(operation, peer.call(operation, request)) for peer in peers)
        done[operation] = done.get(operation, 0) + (not isinstance(ours, str))
        if not same(ours, theirs):
            different.append(f"{operation} {json.dumps(request)}\n  ours   {ours}\n  theirs {theirs}")
        if operation in ("CreateTable", "UpdateTable", "DeleteTable"):
            # One has done it, or DynamoDB Local will be deleting an index for an unknown time: from now on the same again.
            if isinstance(ours, str) != isinstance(theirs, str) or '"Delete"' in json.dumps(request):
                for peer in peers:
                    peer.call("DeleteTable", {"TableName": request["TableName"]})
            for peer in peers:
                wait_until(lambda: settled(peer, request["TableName"]), "the table is as it is to be")
            answers = [peers[0].call("DescribeTable", {"TableName": name}) for name in generator.TABLES]
            tables = [body["Table"] for status, body in answers if status == 200]
            generator.there = [table["TableName"] for table in tables]
            generator.narrow = [f'"{table["TableName"]}"."{index["IndexName"]}"' for table in tables
                                for index in table.get("GlobalSecondaryIndexes", []) + table.get("LocalSecondaryIndexes", [])
                                if index["Projection"]["ProjectionType"] != "ALL"]
    assert not different, f"{len(different)} of {REQUESTS} differ:\n" + "\n".join(different[:int(os.environ.get("DIFFERENTIAL_SHOWN", "20"))])
    assert all(done.values()), f"what is never done is not compared: {done}"
