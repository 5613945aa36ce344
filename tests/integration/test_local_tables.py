"""The embedded DynamoDB's tables: indexes of several attributes, states, refusals, settings that are kept, tags, policies,
transactions' limits, and what only takes away."""
import base64
import functools
import random
import time

import pytest
from conftest import Local, wait_until
from test_local_model import ARN, Raw

S = "arn:aws:dynamodb:us-east-1:000000000000:table/"
ON_DEMAND = {"BillingMode": "PAY_PER_REQUEST"}
UNITS = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
ALL = {"ProjectionType": "ALL"}


def attributes(names, kinds={}):
    return [{"AttributeName": name, "AttributeType": kinds.get(name, "S")} for name in names]


def schema(hashes, ranges=""):
    return [{"AttributeName": name, "KeyType": kind} for names, kind in ((hashes, "HASH"), (ranges, "RANGE")) for name in names]


@pytest.fixture(scope="module")
def raw(local):
    return Raw(local.port)


def made(raw, name, defined="p", key=("p",), kinds={}, **more):
    status, answer = raw("CreateTable", {"TableName": name, "AttributeDefinitions": attributes(defined, kinds), "KeySchema": schema(*key),
                                         **({} if "ProvisionedThroughput" in more else ON_DEMAND), **more})
    assert status == 200, answer
    return answer["TableDescription"]


def ok(answer):
    status, body = answer
    assert status == 200, body
    return body


# ---- indexes of several attributes ----

KINDS = {"a": "S", "b": "N", "c": "S", "d": "N", "e": "B"}
VALUES = {"a": ["x", "x\0", "x\0\1", "y"], "b": ["1", "2", "-3"], "c": ["", "a", "ab", "a\0", "a\0\xff", "b"], "d": ["0", "1e3", "-1.5", "7"],
          "e": [b"\0", b"\0\0", b"\0\1", b"\xff", b"a"]}
HASHES, RANGES = "ab", "cde"


def value(name, plain):
    return {KINDS[name]: base64.b64encode(plain).decode() if KINDS[name] == "B" else plain}


def place(name, plain):
    """What orders it."""
    return float(plain) if KINDS[name] == "N" else plain if isinstance(plain, bytes) else plain.encode()


def plain_of(item):
    return {name: item[name] for name in item}


def matches(test, name, item, low, high):
    here, low, high = place(name, item[name]), place(name, low), place(name, high) if high is not None else None
    return {"=": lambda: here == low, "<": lambda: here < low, "<=": lambda: here <= low, ">": lambda: here > low, ">=": lambda: here >= low,
            "BETWEEN": lambda: low <= here <= high, "begins_with": lambda: here[:len(low)] == low}[test]()


@pytest.mark.parametrize("seed", range(4))
def test_an_index_of_several_attributes_answers_as_a_plain_model(seed, raw):
    table, dice = f"Several{seed}", random.Random(seed)
    made(raw, table, "p" + HASHES + RANGES, kinds=KINDS,
         GlobalSecondaryIndexes=[{"IndexName": "all", "KeySchema": schema(HASHES, RANGES), "Projection": ALL}])
    items = {}
    for step in range(150):
        key = str(dice.randrange(60))
        if dice.random() < .15:
            items.pop(key, None)
            ok(raw("DeleteItem", {"TableName": table, "Key": {"p": {"S": key}}}))
            continue
        item = {name: dice.choice(VALUES[name]) for name in KINDS if dice.random() < .93}
        if item.get("c") == "":
            del item["c"]
        items[key] = item
        ok(raw("PutItem", {"TableName": table, "Item": {"p": {"S": key}, **{name: value(name, item[name]) for name in item}}}))
    indexed = {key: item for key, item in items.items() if all(name in item for name in KINDS)}
    for _ in range(250):
        conditions, used = [], {}
        wanted = {name: dice.choice(VALUES[name]) for name in HASHES}
        tests = [(name, "=", wanted[name], None) for name in HASHES]
        depth = dice.randint(0, len(RANGES))
        for index, name in enumerate(RANGES[:depth]):
            last = index == depth - 1
            test = dice.choice(["=", "<", "<=", ">", ">=", "BETWEEN"] + (["begins_with"] if KINDS[name] != "N" else [])) if last else "="
            low, high = dice.choice(VALUES[name][1:] if name == "c" else VALUES[name]), None
            if test == "BETWEEN":
                low, high = sorted([low, dice.choice(VALUES[name][1:] if name == "c" else VALUES[name])], key=functools.partial(place, name))
            tests.append((name, test, low, high))
        for index, (name, test, low, high) in enumerate(tests):
            used[f":l{index}"] = value(name, low)
            if high is not None:
                used[f":h{index}"] = value(name, high)
            conditions.append(f"begins_with({name}, :l{index})" if test == "begins_with" else f"{name} BETWEEN :l{index} AND :h{index}" if test == "BETWEEN"
                              else f"{name} {test} :l{index}")
        dice.shuffle(conditions)
        forward, limit = dice.random() < .5, dice.randint(1, 5)
        right = [key for key, item in indexed.items() if all(matches(test, name, item, low, high) for name, test, low, high in tests)]
        found, start = [], None
        while True:
            page = ok(raw("Query", {"TableName": table, "IndexName": "all", "KeyConditionExpression": " AND ".join(conditions), "Limit": limit,
                                    "ExpressionAttributeValues": used, "ScanIndexForward": forward, **({"ExclusiveStartKey": start} if start else {})}))
            found += [item["p"]["S"] for item in page["Items"]]
            start = page.get("LastEvaluatedKey")
            if not start:
                break
            assert set(start) == set("p" + HASHES + RANGES)
        assert sorted(found) == sorted(right), (conditions, used, found, right)
        order = [[place(name, indexed[key][name]) for name in RANGES] for key in found]
        assert order == sorted(order, reverse=not forward), (conditions, used, order)
    assert sorted(item["p"]["S"] for item in ok(raw("Scan", {"TableName": table, "IndexName": "all"}))["Items"]) == sorted(indexed)
    hashes = {f":{name}": value(name, VALUES[name][0]) for name in HASHES}
    spoken = ok(raw("ExecuteStatement", {"Statement": f'SELECT p FROM "{table}"."all" WHERE a = ? AND b = ? AND c > ?',
                                         "Parameters": [hashes[":a"], hashes[":b"], {"S": "a"}]}))["Items"]
    assert sorted(item["p"]["S"] for item in spoken) == sorted(
        key for key, item in indexed.items() if item["a"] == VALUES["a"][0] and item["b"] == VALUES["b"][0] and item["c"].encode() > b"a")


def test_what_an_index_of_several_attributes_refuses(raw):
    made(raw, "Gaps", "p" + HASHES + RANGES, kinds=KINDS, GlobalSecondaryIndexes=[{"IndexName": "all", "KeySchema": schema(HASHES, RANGES), "Projection": ALL}])

    def refused(condition):
        used = {f":{name}": value(name, VALUES[name][1]) for name in KINDS if f":{name}" in condition}
        return raw.refused("Query", {"TableName": "Gaps", "IndexName": "all", "KeyConditionExpression": condition, "ExpressionAttributeValues": used})
    gap = "RANGE key attributes {} must have equality conditions specified in the query because a condition is present on key attribute {}"
    assert refused("a = :a AND b = :b AND d = :d") == gap.format("c", "d")
    assert refused("a = :a AND b = :b AND c > :c AND d = :d") == gap.format("c", "d")
    assert refused("a = :a AND b = :b AND e = :e") == gap.format("c, d", "e")
    assert refused("a = :a AND c = :c") == "Query condition missed key schema element: b"
    assert refused("a = :a AND b > :b") == "Query key condition not supported"


@pytest.mark.parametrize("key, problem", [
    (schema("abcde"), "exceeds the limit of 4"), (schema("a", "bcdef"), "exceeds the limit of 4"), (schema("", "a"), "The first KeySchemaElement is not a HASH key type"),
    (schema("a") + schema("", "b") + schema("c"), "must come before the first RANGE"), (schema("aa"), "have the same name")])
def test_a_key_of_several_attributes_has_limits(key, problem, raw):
    names = sorted({element["AttributeName"] for element in key})
    message = raw.refused("CreateTable", {"TableName": "Odd", "AttributeDefinitions": attributes("p" + "".join(names)), "KeySchema": schema("p"), **ON_DEMAND,
                                          "GlobalSecondaryIndexes": [{"IndexName": "odd", "KeySchema": key, "Projection": ALL}]})
    assert problem in message, message


def test_an_index_that_comes_late_holds_what_fits(raw):
    made(raw, "Late")
    for key, more in {"1": {"a": {"S": "x"}, "b": {"N": "1"}}, "2": {"a": {"S": "x"}}, "3": {"a": {"N": "5"}, "b": {"N": "1"}}, "4": {"a": {"S": "x"}, "b": {"N": "0"}},
                      "5": {"a": {"S": ""}, "b": {"N": "1"}}, "6": {"a": {"S": "z" * 2049}, "b": {"N": "1"}}}.items():
        ok(raw("PutItem", {"TableName": "Late", "Item": {"p": {"S": key}, **more}}))
    ok(raw("UpdateTable", {"TableName": "Late", "AttributeDefinitions": attributes("ab", KINDS),
                           "GlobalSecondaryIndexUpdates": [{"Create": {"IndexName": "late", "KeySchema": schema("a", "b"), "Projection": ALL}}]}))
    assert [item["p"]["S"] for item in ok(raw("Scan", {"TableName": "Late", "IndexName": "late"}))["Items"]] == ["4", "1"]
    ok(raw("UpdateTable", {"TableName": "Late", "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "late"}}]}))
    assert ok(raw("DescribeTable", {"TableName": "Late"}))["Table"]["AttributeDefinitions"] == attributes("p")


# ---- states ----

def test_tables_take_their_time_where_that_is_said(tmp_path):
    service = Local(tmp_path, "--table-delay", "700ms")
    try:
        raw = Raw(service.port)
        assert made(raw, "Slow")["TableStatus"] == "CREATING"
        status = lambda: ok(raw("DescribeTable", {"TableName": "Slow"}))["Table"]["TableStatus"]
        assert raw.refused("PutItem", {"TableName": "Slow", "Item": {"p": {"S": "a"}}}, kind="ResourceNotFoundException") == "Requested resource not found"
        assert raw.refused("DeleteTable", {"TableName": "Slow"}, kind="ResourceInUseException").endswith("Table is being created: Slow")
        wait_until(lambda: status() == "ACTIVE", "it is there")
        ok(raw("PutItem", {"TableName": "Slow", "Item": {"p": {"S": "a"}, "g": {"S": "x"}}}))
        create = {"IndexName": "index", "KeySchema": schema("g"), "Projection": ALL}
        changed = ok(raw("UpdateTable", {"TableName": "Slow", "AttributeDefinitions": attributes("g"), "GlobalSecondaryIndexUpdates": [{"Create": create}]}))
        [index] = changed["TableDescription"]["GlobalSecondaryIndexes"]
        assert (changed["TableDescription"]["TableStatus"], index["IndexStatus"], index["Backfilling"]) == ("UPDATING", "CREATING", True)
        query = {"TableName": "Slow", "IndexName": "index", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"S": "x"}}}
        assert raw.refused("Query", query) == "Cannot read from backfilling global secondary index: index"
        assert ok(raw("GetItem", {"TableName": "Slow", "Key": {"p": {"S": "a"}}}))["Item"], "the table itself is read meanwhile"
        assert raw.refused("UpdateTable", {"TableName": "Slow", "DeletionProtectionEnabled": True}, kind="ResourceInUseException").endswith("being updated: Slow")
        wait_until(lambda: status() == "ACTIVE", "it was changed")
        assert ok(raw("Query", query))["Count"] == 1
        assert ok(raw("DeleteTable", {"TableName": "Slow"}))["TableDescription"]["TableStatus"] == "DELETING"
        assert status() == "DELETING" and ok(raw("ListTables", {}))["TableNames"] == ["Slow"]
        raw.refused("PutItem", {"TableName": "Slow", "Item": {"p": {"S": "a"}}}, kind="ResourceNotFoundException")
        raw.refused("CreateTable", {"TableName": "Slow", "AttributeDefinitions": attributes("p"), "KeySchema": schema("p"), **ON_DEMAND}, kind="ResourceInUseException")
        wait_until(lambda: raw("DescribeTable", {"TableName": "Slow"})[0] == 400, "it is gone")
        made(raw, "Slow")
    finally:
        service.stop()


def test_a_table_that_is_being_deleted_is_not_kept(tmp_path):
    service = Local(tmp_path, "--table-delay", "1h", "--data", str(tmp_path / "data"))
    raw = Raw(service.port)
    made(raw, "Gone")
    service.stop()
    service = Local(tmp_path, "--table-delay", "1h", "--data", str(tmp_path / "data"))
    raw = Raw(service.port)
    assert ok(raw("DescribeTable", {"TableName": "Gone"}))["Table"]["TableStatus"] == "ACTIVE"
    ok(raw("DeleteTable", {"TableName": "Gone"}))
    service.stop()
    service = Local(tmp_path, "--data", str(tmp_path / "data"))
    assert ok(Raw(service.port)("ListTables", {}))["TableNames"] == []
    service.stop()


def test_items_expire_later_where_that_is_said(tmp_path):
    for delay, there in (("1h", True), ("1s", False)):
        service = Local(tmp_path, "--ttl-delay", delay)
        raw = Raw(service.port)
        made(raw, "Fleeting")
        ok(raw("UpdateTimeToLive", {"TableName": "Fleeting", "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "t"}}))
        for key in "ab":
            ok(raw("PutItem", {"TableName": "Fleeting", "Item": {"p": {"S": key}, "t": {"N": str(int(time.time())) if key == "a" else "99999999999"}}}))
        count = lambda: ok(raw("Scan", {"TableName": "Fleeting"}))["Count"]
        if there:
            ok(raw("UpdateTimeToLive", {"TableName": "Fleeting", "TimeToLiveSpecification": {"Enabled": False, "AttributeName": "t"}}))
            assert count() == 2
        else:
            wait_until(lambda: count() == 1, "it has expired")
        service.stop()


# ---- refusals ----

def test_update_table_refuses_what_changes_nothing_and_what_does_not_fit(raw):
    made(raw, "Fixed", "pg", ProvisionedThroughput=UNITS,
         GlobalSecondaryIndexes=[{"IndexName": "index", "KeySchema": schema("g"), "Projection": ALL, "ProvisionedThroughput": UNITS}])
    refused = lambda **more: raw.refused("UpdateTable", {"TableName": "Fixed", **more})
    same = ("The provisioned throughput for the {} will not change. The requested value equals the current value. Current ReadCapacityUnits provisioned for the {}: 1. "
            "Requested ReadCapacityUnits: 1. Current WriteCapacityUnits provisioned for the {}: 1. Requested WriteCapacityUnits: 1. "
            "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.")
    wrong = "One or more parameter values were invalid: "
    assert refused().startswith("At least one of ProvisionedThroughput, BillingMode, ")
    assert refused(ProvisionedThroughput=UNITS) == same.format("table", "table", "table")
    update = {"IndexName": "index", "ProvisionedThroughput": UNITS}
    assert refused(GlobalSecondaryIndexUpdates=[{"Update": update}]) == same.format("index index", "index", "index")
    assert refused(GlobalSecondaryIndexUpdates=[{}]).startswith(wrong + "One of GlobalSecondaryIndexUpdate.Update, ")
    assert refused(GlobalSecondaryIndexUpdates=[{"Update": update}, {"Delete": {"IndexName": "index"}}]).endswith("allowed simultaneously. Index: index")
    assert refused(BillingMode="PROVISIONED") == wrong + "ProvisionedThroughput must be specified when BillingMode is PROVISIONED"
    assert refused(BillingMode="PAY_PER_REQUEST", ProvisionedThroughput=UNITS) == \
        wrong + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
    assert refused(ProvisionedThroughput={"ReadCapacityUnits": 10 ** 12 + 1, "WriteCapacityUnits": 1}) == "Given value 1000000000001 for ReadCapacityUnits is out of bounds"
    two = [{"Create": {"IndexName": name, "KeySchema": schema("g"), "Projection": ALL, "ProvisionedThroughput": UNITS}} for name in ("one", "two")]
    assert "Only 1 online index" in raw.refused("UpdateTable", {"TableName": "Fixed", "GlobalSecondaryIndexUpdates": two}, kind="LimitExceededException")
    raw.refused("UpdateTable", {"TableName": "Fixed", "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "nope"}}]}, kind="ResourceNotFoundException")
    assert raw.refused("UpdateTable", {"TableName": "Nope", "BillingMode": "PAY_PER_REQUEST"}, kind="ResourceNotFoundException") == "Requested resource not found: Table: Nope not found"
    several = {"Update": update, "Create": two[0]["Create"]}
    assert refused(GlobalSecondaryIndexUpdates=[several]).startswith(wrong + "Only one of GlobalSecondaryIndexUpdate.Update, ")
    # A change that fails half way leaves all as it was, the stream as well.
    before = ok(raw("DescribeTable", {"TableName": "Fixed"}))
    refused(DeletionProtectionEnabled=True, TableClass="STANDARD_INFREQUENT_ACCESS", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            GlobalSecondaryIndexUpdates=[{"Create": {**two[0]["Create"], "IndexName": "index"}}])
    assert ok(raw("DescribeTable", {"TableName": "Fixed"})) == before and ok(raw("ListStreams", {"TableName": "Fixed"}, "dynamodbstreams"))["Streams"] == []
    # What is null was not said.
    refused(GlobalSecondaryIndexUpdates=[{"Create": None, "Update": update, "Delete": None}], BillingMode=None)
    ok(raw("UpdateTable", {"TableName": "Fixed", "BillingMode": "PAY_PER_REQUEST"}))
    assert refused(ProvisionedThroughput=UNITS).startswith(wrong + "Neither")
    assert refused(BillingMode="PROVISIONED", ProvisionedThroughput=UNITS) == wrong + "ProvisionedThroughput must be specified for index: index"
    ok(raw("UpdateTable", {"TableName": "Fixed", "BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS, "GlobalSecondaryIndexUpdates": [{"Update": update}]}))


def test_what_is_only_kept_is_described(tmp_path):
    service = Local(tmp_path, "--data", str(tmp_path / "data"))
    raw = Raw(service.port)
    index = {"IndexName": "index", "KeySchema": schema("g"), "Projection": ALL, "OnDemandThroughput": {"MaxReadRequestUnits": 3}}
    made(raw, "Kept", "pg", OnDemandThroughput={"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 5}, WarmThroughput={"ReadUnitsPerSecond": 12000},
         SSESpecification={"Enabled": True}, TableClass="STANDARD_INFREQUENT_ACCESS", DeletionProtectionEnabled=True, GlobalSecondaryIndexes=[index])
    ok(raw("UpdateTable", {"TableName": "Kept", "WarmThroughput": {"ReadUnitsPerSecond": 13000, "WriteUnitsPerSecond": 4000}}))
    ok(raw("UpdateContinuousBackups", {"TableName": "Kept", "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}}))
    policy = '{"Version":"2012-10-17","Statement":[]}'
    revision = ok(raw("PutResourcePolicy", {"ResourceArn": S + "Kept", "Policy": policy}))["RevisionId"]
    service.stop()
    service = Local(tmp_path, "--data", str(tmp_path / "data"))
    raw = Raw(service.port)
    table = ok(raw("DescribeTable", {"TableName": "Kept"}))["Table"]
    assert table["OnDemandThroughput"] == {"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 5}
    assert table["WarmThroughput"] == {"ReadUnitsPerSecond": 13000, "WriteUnitsPerSecond": 4000, "Status": "ACTIVE"}
    assert table["SSEDescription"]["Status"] == "ENABLED" and table["SSEDescription"]["KMSMasterKeyArn"].startswith("arn:aws:kms:us-east-1:000000000000:")
    assert (table["TableClassSummary"]["TableClass"], table["DeletionProtectionEnabled"]) == ("STANDARD_INFREQUENT_ACCESS", True)
    assert table["GlobalSecondaryIndexes"][0]["OnDemandThroughput"] == {"MaxReadRequestUnits": 3}
    recovery = ok(raw("DescribeContinuousBackups", {"TableName": "Kept"}))["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert (recovery["PointInTimeRecoveryStatus"], recovery["RecoveryPeriodInDays"]) == ("ENABLED", 7)
    assert ok(raw("GetResourcePolicy", {"ResourceArn": S + "Kept"})) == {"Policy": policy, "RevisionId": revision}
    raw.refused("PutResourcePolicy", {"ResourceArn": S + "Kept", "Policy": policy, "ExpectedRevisionId": "1"}, kind="PolicyNotFoundException")
    assert raw.refused("PutResourcePolicy", {"ResourceArn": S + "Kept", "Policy": "no"}) == "Policy document is malformed"
    ok(raw("DeleteResourcePolicy", {"ResourceArn": S + "Kept"}))
    raw.refused("GetResourcePolicy", {"ResourceArn": S + "Kept"}, kind="PolicyNotFoundException")
    assert "protected against deletion" in raw.refused("DeleteTable", {"TableName": "Kept"})
    service.stop()


def test_a_stream_has_a_policy_of_its_own(raw):
    made(raw, "Policed", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    arn = ok(raw("DescribeTable", {"TableName": "Policed"}))["Table"]["LatestStreamArn"]
    policies = {name: f'{{"Version":"2012-10-17","Id":"{name[-3:]}","Statement":[]}}' for name in (S + "Policed", arn)}
    for name, policy in policies.items():
        ok(raw("PutResourcePolicy", {"ResourceArn": name, "Policy": policy}))
    assert {name: ok(raw("GetResourcePolicy", {"ResourceArn": name}))["Policy"] for name in policies} == policies
    for name in (S + "Policed/stream/2020", S + "Policed/index/nope", arn + "1", arn[:-1]):
        raw.refused("PutResourcePolicy", {"ResourceArn": name, "Policy": policies[arn]}, kind="ResourceNotFoundException")
    raw.refused("PutResourcePolicy", {"ResourceArn": arn, "Policy": '{"Statement":[' + " " * 20480 + "]}"})
    ok(raw("DeleteResourcePolicy", {"ResourceArn": arn}))
    raw.refused("GetResourcePolicy", {"ResourceArn": arn}, kind="PolicyNotFoundException")
    assert ok(raw("GetResourcePolicy", {"ResourceArn": S + "Policed"}))["Policy"] == policies[S + "Policed"]


def test_shards_that_ended_have_ended_after_a_restart_too(tmp_path):
    service = Local(tmp_path, "--data", str(tmp_path / "data"))
    raw = Raw(service.port)
    made(raw, "Split", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    made(raw, "Off", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    for table in ("Split", "Off"):
        ok(raw("PutItem", {"TableName": table, "Item": {"p": {"S": "a"}}}))
    arn = ok(raw("DescribeTable", {"TableName": "Split"}))["Table"]["LatestStreamArn"]
    shard = ok(raw("DescribeStream", {"StreamArn": arn}, "dynamodbstreams"))["StreamDescription"]["Shards"][0]["ShardId"]
    ok(raw("SplitShards", {"StreamArn": arn, "ShardId": shard, "Children": 2}, "tidemill"))
    ok(raw("UpdateTable", {"TableName": "Off", "StreamSpecification": {"StreamEnabled": False}}))
    describe = lambda raw: [ok(raw("DescribeStream", {"StreamArn": each["StreamArn"]}, "dynamodbstreams"))["StreamDescription"]
                            for each in ok(raw("ListStreams", {}, "dynamodbstreams"))["Streams"]]
    before = describe(raw)
    ended = [shard for stream in before for shard in stream["Shards"] if "EndingSequenceNumber" in shard["SequenceNumberRange"]]
    assert len(ended) >= 2
    service.kill()
    service = Local(tmp_path, "--data", str(tmp_path / "data"))
    by_arn = lambda streams: sorted(streams, key=lambda stream: stream["StreamArn"])
    assert by_arn(describe(Raw(service.port))) == by_arn(before)
    service.stop()


def test_there_is_nothing_beside_tables(raw):
    made(raw, "Alone")
    for operation, member in (("ListBackups", "BackupSummaries"), ("ListExports", "ExportSummaries"), ("ListImports", "ImportSummaryList"),
                              ("ListGlobalTables", "GlobalTables"), ("ListContributorInsights", "ContributorInsightsSummaries")):
        assert ok(raw(operation, {})) == {member: []}
    backup = S + "Alone/backup/01234567890123-abcdefab"
    for operation, request, kind in (("DescribeBackup", {"BackupArn": backup}, "BackupNotFoundException"), ("DeleteBackup", {"BackupArn": backup}, "BackupNotFoundException"),
                                     ("RestoreTableFromBackup", {"BackupArn": backup, "TargetTableName": "Other"}, "BackupNotFoundException"),
                                     ("DescribeExport", {"ExportArn": S + "Alone/export/01234567890123-abcdefab"}, "ExportNotFoundException"),
                                     ("DescribeImport", {"ImportArn": S + "Alone/import/01234567890123-abcdefab"}, "ImportNotFoundException"),
                                     ("DescribeGlobalTable", {"GlobalTableName": "Alone"}, "GlobalTableNotFoundException"),
                                     ("ExportTableToPointInTime", {"TableArn": S + "Absent", "S3Bucket": "bucket"}, "TableNotFoundException"),
                                     ("ExportTableToPointInTime", {"TableArn": S + "Alone", "S3Bucket": "bucket"}, "PointInTimeRecoveryUnavailableException"),
                                     ("RestoreTableToPointInTime", {"SourceTableName": "Alone", "TargetTableName": "Other"}, "PointInTimeRecoveryUnavailableException"),
                                     ("ImportTable", {}, "UnknownOperationException"), ("CreateBackup", {}, "UnknownOperationException"),
                                     ("ExportTableToPointInTime", {"S3Bucket": "bucket"}, "ValidationException")):
        raw.refused(operation, request, kind=kind)
    ok(raw("UpdateContinuousBackups", {"TableName": "Alone", "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}))
    raw.refused("ExportTableToPointInTime", {"TableArn": S + "Alone", "S3Bucket": "bucket"}, kind="UnknownOperationException")
    assert ok(raw("DescribeContributorInsights", {"TableName": "Alone"})) == {"TableName": "Alone", "ContributorInsightsStatus": "DISABLED"}
    assert ok(raw("DescribeKinesisStreamingDestination", {"TableName": "Alone"})) == {"TableName": "Alone", "KinesisDataStreamDestinations": []}


def test_tags(raw):
    made(raw, "Tagged", Tags=[{"Key": "k0", "Value": ""}])
    tag = lambda *keys: {"ResourceArn": S + "Tagged", "Tags": [{"Key": key, "Value": "v"} for key in keys]}
    ok(raw("TagResource", tag(*(f"k{n}" for n in range(50)))))
    raw.refused("TagResource", tag("one more"), kind="LimitExceededException")
    assert "reserved" in raw.refused("TagResource", tag("aws:x")) and "Duplicate" in raw.refused("TagResource", tag("a", "a"))
    found, token = [], None
    while True:
        page = ok(raw("ListTagsOfResource", {"ResourceArn": S + "Tagged", **({"NextToken": token} if token else {})}))
        found += [each["Key"] for each in page["Tags"]]
        token = page.get("NextToken")
        if not token:
            break
        assert len(page["Tags"]) == 10
    assert len(set(found)) == 50
    ok(raw("UntagResource", {"ResourceArn": S + "Tagged", "TagKeys": found[1:] + ["nope"]}))
    assert [each["Key"] for each in ok(raw("ListTagsOfResource", {"ResourceArn": S + "Tagged"}))["Tags"]] == found[:1]
    for arn in ("Tagged", "arn:aws:s3:::b", "arn:aws:dynamodb:us-east-1:000000000000:index/x", "arn:aws:dynamodb:us-east-1:000000000000:table/"):
        assert raw.refused("ListTagsOfResource", {"ResourceArn": arn}) == f"Invalid TableArn: Invalid ResourceArn provided as input {arn}"
    raw.refused("ListTagsOfResource", {"ResourceArn": ARN}, kind="ResourceNotFoundException")
    raw.refused("ListTagsOfResource", {"ResourceArn": ARN.replace("000000000000", "123456789012")}, kind="AccessDeniedException")


def test_what_is_made_is_checked_as_what_is_changed(raw):
    make = lambda **more: dict(TableName="Checked", AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
                               KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}], **{**ON_DEMAND, **more})
    raw.refused("CreateTable", make(Tags=[{"Key": str(n), "Value": ""} for n in range(51)]), kind="LimitExceededException")
    raw.refused("CreateTable", make(Tags=[{"Key": "a", "Value": ""}] * 2))
    raw.refused("CreateTable", make(ResourcePolicy="nonsense"))
    index = lambda n, names: {"IndexName": f"index{n}", "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
                              "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": [f"a{n}.{k}" for k in range(names)]}}
    assert "limit of 100" in raw.refused("CreateTable", make(GlobalSecondaryIndexes=[index(n, 20) for n in range(5)] + [index(5, 1)]))
    assert "out of bounds" in raw.refused("CreateTable", make(BillingMode="PROVISIONED", ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 2**63 - 1}))
    ok(raw("CreateTable", make(GlobalSecondaryIndexes=[index(n, 20) for n in range(5)])))
    assert "limit of 100" in raw.refused("UpdateTable", {"TableName": "Checked", "GlobalSecondaryIndexUpdates": [{"Create": index(5, 1)}]})
    assert "same type" in raw.refused("UpdateTable", {"TableName": "Checked", "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "N"}], **ON_DEMAND})
    for token in ("-10", " 10", "5", "9" * 30):
        raw.refused("ListTagsOfResource", {"ResourceArn": S + "Checked", "NextToken": token})
    raw.refused("UpdateTimeToLive", {"TableName": "Checked", "TimeToLiveSpecification": {"AttributeName": "t\0x", "Enabled": True}})


def test_requests_of_very_many_parts_are_answered(raw):
    made(raw, "Many")
    many = 50_000
    item = {"p": {"S": "a"}}
    ok(raw("PutItem", {"TableName": "Many", "Item": item, "Expected": {f"a{n}": {"Exists": False} for n in range(many)}}))
    assert ok(raw("Scan", {"TableName": "Many", "ScanFilter": {f"a{n}": {"ComparisonOperator": "NULL"} for n in range(many)}}))["Count"] == 1
    assert ok(raw("Scan", {"TableName": "Many", "AttributesToGet": [f"a{n}" for n in range(many)] + ["p"]}))["Items"] == [item]
    raw.refused("Scan", {"TableName": "Many", "AttributesToGet": [f"a{n}" for n in range(many)] + ["a7"]})
    raw.refused("UpdateTable", {"TableName": "Many", "GlobalSecondaryIndexUpdates": [{"Update": {"IndexName": f"aaa{n}"}} for n in range(many)]}, kind="ResourceNotFoundException")
    raw.refused("TagResource", {"ResourceArn": S + "Many", "Tags": [{"Key": str(n), "Value": ""} for n in range(many)]}, kind="LimitExceededException")
    attributes = [{"AttributeName": f"a{n}", "AttributeType": "S"} for n in range(many)]
    index = lambda n: {"IndexName": f"index{n}", "KeySchema": [{"AttributeName": "a0", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
    for count in (1, 20, many):
        raw.refused("CreateTable", dict(TableName="Wide", AttributeDefinitions=attributes, KeySchema=[{"AttributeName": "a1", "KeyType": "HASH"}],
                                        GlobalSecondaryIndexes=[index(n) for n in range(count)], **ON_DEMAND))


# ---- items ----

def test_batches_take_a_table_by_its_arn(raw):
    made(raw, "ByArn")
    ok(raw("BatchWriteItem", {"RequestItems": {S + "ByArn": [{"PutRequest": {"Item": {"p": {"S": "a"}}}}]}}))
    keys = lambda key: {"Keys": [{"p": {"S": key}}]}
    assert ok(raw("BatchGetItem", {"RequestItems": {S + "ByArn": keys("a"), "ByArn": keys("b")}}))["Responses"] == {S + "ByArn": [{"p": {"S": "a"}}], "ByArn": []}


def test_a_transaction_that_was_done_costs_its_reads(raw):
    made(raw, "Again")
    put = {"TransactItems": [{"Put": {"TableName": "Again", "Item": {"p": {"S": "a"}, "d": {"S": "x" * 5000}}}}], "ReturnConsumedCapacity": "TOTAL"}
    units = [ok(raw("TransactWriteItems", {**put, "ClientRequestToken": token}))["ConsumedCapacity"][0]["CapacityUnits"] for token in ("a\0b", "a\0b", "a\0c", "a\\0b")]
    assert units == [10, 4, 10, 10], "tokens that differ behind a null character are others"


def test_statements_of_a_transaction_are_done_once_for_a_token(raw):
    made(raw, "Once")
    ok(raw("PutItem", {"TableName": "Once", "Item": {"p": {"S": "a"}, "n": {"N": "0"}}}))
    more = lambda by: {"TransactStatements": [{"Statement": f"UPDATE \"Once\" SET n = n + {by} WHERE p = 'a'"}], "ClientRequestToken": "t", "ReturnConsumedCapacity": "TOTAL"}
    assert [ok(raw("ExecuteTransaction", more(1)))["ConsumedCapacity"][0]["CapacityUnits"] for _ in range(2)] == [2, 2]
    raw.refused("ExecuteTransaction", more(2), kind="IdempotentParameterMismatchException")
    assert ok(raw("GetItem", {"TableName": "Once", "Key": {"p": {"S": "a"}}}))["Item"]["n"] == {"N": "1"}


def test_the_item_that_made_a_condition_fail_is_given_where_that_is_asked(raw):
    made(raw, "Failed")
    item = {"p": {"S": "a"}, "z": {"S": "q"}}
    ok(raw("PutItem", {"TableName": "Failed", "Item": item}))
    fails = {"Statement": "UPDATE \"Failed\" SET q = 1 WHERE p = 'a' AND z = '9'"}
    for more, given in (({"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}, item), ({"ReturnValuesOnConditionCheckFailure": "NONE"}, None), ({}, None)):
        answers = [raw("ExecuteStatement", {**fails, **more})[1], raw("BatchExecuteStatement", {"Statements": [{**fails, **more}]})[1]["Responses"][0]["Error"],
                   raw("ExecuteTransaction", {"TransactStatements": [{**fails, **more}]})[1]["CancellationReasons"][0]]
        assert [answer.get("Item") for answer in answers] == [given] * 3, answers
    update = {"TableName": "Failed", "Key": {"p": {"S": "a"}}, "UpdateExpression": "SET z = z + :o", "ExpressionAttributeValues": {":o": {"N": "1"}}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    reason = raw("TransactWriteItems", {"TransactItems": [{"Update": update}]})[1]["CancellationReasons"][0]
    assert reason["Code"] == "ValidationError" and "Item" not in reason


def test_sets_in_statements_are_sets(raw):
    made(raw, "Literals")
    assert "duplicates" in raw.refused("ExecuteStatement", {"Statement": "INSERT INTO \"Literals\" VALUE {'p':'x','s':<<1,1.0>>}"})
    ok(raw("ExecuteStatement", {"Statement": "INSERT INTO \"Literals\" VALUE {'p':'x','s':<<3,1,2>>}"}))
    assert ok(raw("GetItem", {"TableName": "Literals", "Key": {"p": {"S": "x"}}}))["Item"]["s"] == {"NS": ["1", "2", "3"]}
    for number in ("1..2", "1e", "-", "1e999"):
        raw.refused("ExecuteStatement", {"Statement": f"INSERT INTO \"Literals\" VALUE {{'p':'x','s':{number}}}"})
    raw.refused("ExecuteStatement", {"Statement": "SELECT * FROM \"Literals\"", "NextToken": base64.b64encode(b"null").decode()})
    assert raw.refused("PutItem", {"TableName": "Literals", "Item": {"p": {"S": "x"}, "s": {"SS": ["", ""]}}}).endswith("Input collection [, ] contains duplicates.")


def test_what_is_looked_for_backwards_is_what_is_found_forwards(raw):
    ok(raw("CreateTable", dict(TableName="Backwards", KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
                               AttributeDefinitions=[{"AttributeName": name, "AttributeType": "B" if name in "sz" else "S"} for name in "psz"], **ON_DEMAND,
                               GlobalSecondaryIndexes=[{"IndexName": "wide", "Projection": {"ProjectionType": "ALL"}, "KeySchema": [
                                   {"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}, {"AttributeName": "z", "KeyType": "RANGE"}]}])))
    code = lambda value: base64.b64encode(value).decode()
    parts = [b"\0", b"\0\0", b"\0\1", b"\0\xff", b"\1", b"a", b"a\0", b"a\0\xff", b"a\xff", b"a\xff\xff", b"a\xff\xff\xff", b"b", b"\xfe", b"\xff", b"\xff\0", b"\xff\xff"]
    for part in parts:
        ok(raw("PutItem", {"TableName": "Backwards", "Item": {"p": {"S": "x"}, "s": {"B": code(part)}, "z": {"B": code(part[::-1])}}}))
    for index in ({}, {"IndexName": "wide"}):
        for part in parts:
            for condition in ("begins_with(s, :s)", "s = :s", "s < :s", "s <= :s", "s > :s", "s >= :s", "s BETWEEN :s AND :s"):
                ask = {"TableName": "Backwards", "KeyConditionExpression": f"p = :p AND {condition}", "ExpressionAttributeValues": {":p": {"S": "x"}, ":s": {"B": code(part)}}, **index}
                found = [ok(raw("Query", {**ask, "ScanIndexForward": forward}))["Items"] for forward in (True, False)]
                expected = [each for each in sorted(parts) if {"b": each.startswith(part), "=": each == part, "<": each < part, "<=": each <= part, ">": each > part,
                                                               ">=": each >= part, "BETWEEN": each == part}["b" if condition[0] == "b" else condition.split()[1]]]
                assert [base64.b64decode(item["s"]["B"]) for item in found[0]] == expected, (condition, part)
                assert found[1] == found[0][::-1], (condition, part, index)


def test_the_key_stands_first(raw):
    made(raw, "First")
    values = {":p": {"S": "a"}, ":a": {"S": "a"}, ":z": {"S": "z"}}
    for condition, operator in ((":a BETWEEN p AND :z", "BETWEEN"), (":a BETWEEN :z AND p", "BETWEEN"), ("begins_with(:a, p)", "begins_with")):
        used = {name: value for name, value in values.items() if name in condition}
        assert raw.refused("Query", {"TableName": "First", "KeyConditionExpression": condition, "ExpressionAttributeValues": used}) == (
            f"Invalid condition in KeyConditionExpression: {operator} operator must have the key attribute as its first operand")
    raw.refused("Query", {"TableName": "First", "KeyConditions": {"p": {"ComparisonOperator": "BEGINS_WITH", "AttributeValueList": [{"N": "1"}]}}})



def test_what_only_takes_away_makes_no_item_and_no_record(raw, local):
    made(raw, "Away", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    for key, more in {"1": {"UpdateExpression": "REMOVE x"}, "2": {"UpdateExpression": "DELETE x :s", "ExpressionAttributeValues": {":s": {"SS": ["a"]}}},
                      "3": {"AttributeUpdates": {"x": {"Action": "DELETE"}}}}.items():
        assert ok(raw("UpdateItem", {"TableName": "Away", "Key": {"p": {"S": key}}, "ReturnValues": "ALL_NEW", **more})) == {}
    ok(raw("TransactWriteItems", {"TransactItems": [{"Update": {"TableName": "Away", "Key": {"p": {"S": "4"}}, "UpdateExpression": "REMOVE x"}}]}))
    assert ok(raw("Scan", {"TableName": "Away"}))["Count"] == 0
    ok(raw("UpdateItem", {"TableName": "Away", "Key": {"p": {"S": "5"}}}))
    ok(raw("UpdateItem", {"TableName": "Away", "Key": {"p": {"S": "5"}}, "UpdateExpression": "REMOVE x"}))
    assert ok(raw("Scan", {"TableName": "Away"}))["Count"] == 1
    arn = ok(raw("DescribeTable", {"TableName": "Away"}))["Table"]["LatestStreamArn"]
    shard = local.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = local.streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    assert [record["eventName"] for record in local.streams.get_records(ShardIterator=iterator)["Records"]] == ["INSERT"]


def test_what_is_null_was_not_said(raw):
    made(raw, "Null")
    ok(raw("BatchWriteItem", {"RequestItems": {"Null": [{"PutRequest": {"Item": {"p": {"S": "a", "N": None}}}, "DeleteRequest": None}]}, "ReturnConsumedCapacity": None}))
    assert raw.refused("BatchWriteItem", {"RequestItems": {"Null": [{"PutRequest": None}]}}).startswith("Supplied AttributeValue ")
    ok(raw("UpdateItem", {"TableName": "Null", "Key": {"p": {"S": "a"}}, "AttributeUpdates": {"x": {"Action": None, "Value": {"SS": ["v"]}}}, "Expected": None}))
    assert ok(raw("GetItem", {"TableName": "Null", "Key": {"p": {"S": "a"}}, "ProjectionExpression": None})) == {"Item": {"p": {"S": "a"}, "x": {"SS": ["v"]}}}


def test_sets_come_back_in_the_services_order(raw):
    made(raw, "Sets")
    ok(raw("PutItem", {"TableName": "Sets", "Item": {"p": {"S": "a"}, "s": {"SS": ["b", "", "a", "é", "z"]}, "n": {"NS": ["10", "9", "-1", "2.50"]},
                                                     "b": {"BS": ["/w==", "AA==", ""]}}}))
    update = {"TableName": "Sets", "Key": {"p": {"S": "a"}}, "UpdateExpression": "ADD s :s, n :n", "ExpressionAttributeValues": {":s": {"SS": ["aa", "b"]}, ":n": {"NS": ["3", "-7"]}}}
    item = ok(raw("UpdateItem", {**update, "ReturnValues": "ALL_NEW"}))["Attributes"]
    assert item == {"p": {"S": "a"}, "s": {"SS": ["", "a", "aa", "b", "z", "é"]}, "n": {"NS": ["-7", "-1", "2.5", "3", "9", "10"]}, "b": {"BS": ["", "AA==", "/w=="]}}
    assert ok(raw("GetItem", {"TableName": "Sets", "Key": {"p": {"S": "a"}}}))["Item"] == item


def test_transactions_have_limits(raw):
    made(raw, "Deal")
    get = lambda key: {"Get": {"TableName": "Deal", "Key": {"p": {"S": key}}}}
    put = lambda key, size=1: {"Put": {"TableName": "Deal", "Item": {"p": {"S": key}, "b": {"S": "x" * size}}}}
    twice = "Transaction request cannot include multiple operations on one item"
    assert raw.refused("TransactGetItems", {"TransactItems": [get("a"), get("a")]}) == twice
    assert raw.refused("TransactWriteItems", {"TransactItems": [put("a"), put("a")]}) == twice
    assert raw.refused("TransactWriteItems", {"TransactItems": [put(str(n), 380000) for n in range(12)]}).startswith("Transaction payload size cannot exceed 4MB.")
    assert ok(raw("Scan", {"TableName": "Deal"}))["Count"] == 0
    got = ok(raw("TransactGetItems", {"TransactItems": [get("a"), get("b")], "ReturnConsumedCapacity": "TOTAL"}))
    assert got == {"Responses": [{}, {}], "ConsumedCapacity": [{"TableName": "Deal", "CapacityUnits": 4.0}]}
    status, answer = raw("TransactGetItems", {"TransactItems": [get("a"), {"Get": {"TableName": "Deal", "Key": {"q": {"S": "a"}}}}]})
    assert status == 400 and [reason["Code"] for reason in answer["CancellationReasons"]] == ["None", "ValidationError"], answer
    empty = "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: p"
    assert raw.refused("TransactGetItems", {"TransactItems": [get("")]}) == empty and raw.refused("TransactWriteItems", {"TransactItems": [put("")]}) == empty
    # What does not parse is told before a table is looked for, in whichever action it is.
    check = {"ConditionCheck": {"TableName": "Deal", "Key": {"p": {"S": "a"}}, "ConditionExpression": "attribute_not_exists("}}
    absent = {"Put": {"TableName": "Absent", "Item": {"p": {"S": "a"}}}}
    assert raw.refused("TransactWriteItems", {"TransactItems": [absent, check]}).startswith("Invalid ConditionExpression: Syntax error")


@pytest.mark.parametrize("index, more, problem", [
    ("keys", {"ProjectionExpression": "zz.a, yy, p"}, "Global secondary index keys does not project [yy, zz]"),
    ("keys", {"AttributesToGet": ["zz"]}, "Global secondary index keys does not project [zz]"),
    ("keys", {"FilterExpression": "attribute_exists(zz) AND yy = :g"}, "Secondary index keys does not project one or more filter attributes: [yy, zz]"),
])
def test_a_global_index_gives_what_it_holds(index, more, problem, raw):
    if raw("DescribeTable", {"TableName": "Partly"})[0] == 400:
        made(raw, "Partly", "pg", GlobalSecondaryIndexes=[{"IndexName": "keys", "KeySchema": schema("g"), "Projection": {"ProjectionType": "KEYS_ONLY"}}])
    condition = {"KeyConditions": {"g": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "x"}]}}} if "AttributesToGet" in more else \
        {"KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"S": "x"}}}
    assert raw.refused("Query", {"TableName": "Partly", "IndexName": index, **condition, **more}) == f"One or more parameter values were invalid: {problem}"


@pytest.mark.parametrize("item, problem", [
    ({"": {"S": "x"}}, "Empty attribute name"), ({"m": {"M": {"": {"S": "x"}}}}, "Empty attribute name"),
    ({"n": {"N": "1e99999999999"}}, "Number overflow. Attempting to store a number with magnitude larger than supported range"),
    ({"n": {"N": "-1e-99999999999"}}, "Number underflow. Attempting to store a number with magnitude smaller than supported range"),
    ({"n": {"N": "1.2.3"}}, "The parameter cannot be converted to a numeric value: 1.2.3"), ({"n": {"N": "1e"}}, "The parameter cannot be converted to a numeric value: 1e"),
    ({"n": {"N": "1" * 39}}, "Attempting to store more than 38 significant digits in a Number"),
    ({"g": {"S": "x" * 2049}}, "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"),
    ({"d": functools.reduce(lambda value, _: {"M": {"n": value}}, range(32), {"S": "x"})},
     "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"),
])
def test_items_that_are_refused(item, problem, raw):
    if raw("DescribeTable", {"TableName": "Strict"})[0] == 400:
        made(raw, "Strict", "pg", GlobalSecondaryIndexes=[{"IndexName": "index", "KeySchema": schema("g"), "Projection": ALL}])
    assert raw.refused("PutItem", {"TableName": "Strict", "Item": {"p": {"S": "a"}, **item}}) == problem


def test_a_scan_goes_on_only_where_it_was(raw):
    made(raw, "Parts")
    for n in range(40):
        ok(raw("PutItem", {"TableName": "Parts", "Item": {"p": {"S": str(n)}}}))
    seen = []
    for segment in range(3):
        start = None
        while True:
            page = ok(raw("Scan", {"TableName": "Parts", "Segment": segment, "TotalSegments": 3, "Limit": 4, **({"ExclusiveStartKey": start} if start else {})}))
            seen += [item["p"]["S"] for item in page["Items"]]
            start = page.get("LastEvaluatedKey")
            if not start:
                break
            other = {"TableName": "Parts", "Segment": (segment + 1) % 3, "TotalSegments": 3, "ExclusiveStartKey": start}
            assert raw.refused("Scan", other).startswith("The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment.")
    assert sorted(seen) == sorted(str(n) for n in range(40))


def test_consumed_capacity_names_a_table_as_the_request_does(raw):
    made(raw, "Named")
    item = {"p": {"S": "1"}}
    for name in ("Named", S + "Named"):
        asked = {"TableName": name, "ReturnConsumedCapacity": "TOTAL"}
        ways = [raw("PutItem", {**asked, "Item": item}), raw("GetItem", {**asked, "Key": item}), raw("Scan", asked)]
        assert [ok(answer)["ConsumedCapacity"]["TableName"] for answer in ways] == [name] * 3
        lists = [raw("BatchGetItem", {"RequestItems": {name: {"Keys": [item]}}, "ReturnConsumedCapacity": "TOTAL"}),
                 raw("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": name, "Item": item}}], "ReturnConsumedCapacity": "TOTAL"})]
        assert [[used["TableName"] for used in ok(answer)["ConsumedCapacity"]] for answer in lists] == [[name]] * 2
