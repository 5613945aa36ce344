"""A table's changes by way of Kinesis Data Streams: kinesalite, and a writer that does as DynamoDB does: repeats, and comes out of order."""
import base64
import json
import random
import time

import pytest
from conftest import wait_until
from services import Emulators

SEEN = """
local dynamodb, config = require "tidemill.dynamodb", require "tidemill.config"
return { stream = "s", retries = 1, backoff = "10ms..50ms", on_record = function(record)
  local image = record.new or record.old
  if config.fails and image.version == tonumber(config.fails) then error("not this one") end
  dynamodb.transact({ { update = { config.seen, { id = image.id }, "SET versions = list_append(if_not_exists(versions, :none), :v)",
    { values = { [":v"] = dynamodb.list{ image.version }, [":none"] = dynamodb.list{} } } } }, once = record.id, once_table = config.seen })
end }
"""


@pytest.fixture
def emulators(tmp_path):
    started = Emulators(tmp_path)
    yield started
    started.stop()


class Changes:
    """As DynamoDB writes them."""

    def __init__(self, emulators, stream, table, shards=1):
        self.kinesis, self.stream, self.table = emulators.kinesis, stream, table
        self.kinesis.create_stream(StreamName=stream, ShardCount=shards)
        self.kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig=dict(Delay=1, MaxAttempts=60))
        self.at_us = int(time.time() * 1e6)
        self.made = 0

    def change(self, item, version, **more):
        self.made += 1
        self.at_us += 1000
        image = {"id": {"S": item}, "version": {"N": str(version)}}
        return item, dict(awsRegion="eu-west-1", eventID=f"{self.at_us}-{self.made}", eventName="MODIFY", userIdentity=None, recordFormat="application/json",
                          tableName=self.table, eventSource="aws:dynamodb",
                          dynamodb=dict(ApproximateCreationDateTime=self.at_us, ApproximateCreationDateTimePrecision="MICROSECOND", Keys={"id": image["id"]},
                                        NewImage=image, OldImage=image, SizeBytes=40) | more)

    def put(self, changes):
        records = [dict(PartitionKey=item, Data=json.dumps(change).encode()) for item, change in changes]
        for at in range(0, len(records), 100):
            assert self.kinesis.put_records(StreamName=self.stream, Records=records[at:at + 100])["FailedRecordCount"] == 0

    def open_shards(self):
        return [s for s in self.kinesis.describe_stream(StreamName=self.stream)["StreamDescription"]["Shards"] if "EndingSequenceNumber" not in s["SequenceNumberRange"]]

    def settle(self):
        wait_until(lambda: self.kinesis.describe_stream(StreamName=self.stream)["StreamDescription"]["StreamStatus"] == "ACTIVE", "the stream is active")

    def split(self):
        shard = max(self.open_shards(), key=lambda s: int(s["HashKeyRange"]["EndingHashKey"]) - int(s["HashKeyRange"]["StartingHashKey"]))
        low, high = int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"])
        self.kinesis.split_shard(StreamName=self.stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((low + high) // 2))
        self.settle()

    def merge(self):
        shards = sorted(self.open_shards(), key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))
        self.kinesis.merge_shards(StreamName=self.stream, ShardToMerge=shards[0]["ShardId"], AdjacentShardToMerge=shards[1]["ShardId"])
        self.settle()


def configure(deployment, local, name, emulators, more="", script=SEEN, settings=""):
    seen = local.table(name("Seen"), stream=False)
    deployment.script("h", script)
    deployment.aws = f"endpoint_kinesis = http://127.0.0.1:{emulators.kinesis_port}"
    deployment.configure(f"[stream s]\n{more}\npoll_min = 200ms\npoll_max = 400ms\ndiscovery = 1s\n[handler h]\nseen = {seen}\n{settings}")
    return seen


def versions(local, seen):
    return {item["id"]["S"]: [int(v["N"]) for v in item["versions"]["L"]] for page in local.client.get_paginator("scan").paginate(TableName=seen)
            for item in page["Items"] if "versions" in item}


def test_changes_with_reshards_kills_repetitions_and_disorder(beside_local, local, name, emulators):
    deployment = beside_local
    changes = Changes(emulators, name("stream"), "Orders", shards=2)
    seen = configure(deployment, local, name, emulators, f"kinesis = {changes.stream}\ntable = Orders")
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    granted = [statement for statement in json.loads(deployment.run("policy").stdout)["Statement"] if "kinesis:" in json.dumps(statement["Action"])]
    assert [(statement["Resource"], statement["Action"]) for statement in granted] == [
        (f"arn:aws:kinesis:eu-west-1:*:stream/{changes.stream}", ["kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"])], granted
    dice = random.Random(3)
    latest = {}
    host = deployment.start()
    for round in range(12):
        batch = []
        for _ in range(60):
            item = f"i{dice.randrange(15)}"
            latest[item] = latest.get(item, 0) + 1
            batch.append(changes.change(item, latest[item]))
        swapped = batch[:]
        for at in range(0, len(swapped) - 1, 2):  # neighbours change places, and some come twice
            if dice.random() < 0.5:
                swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
        for _ in range(5):
            at = dice.randrange(len(swapped))
            swapped.insert(at + 1 + dice.randrange(3), swapped[at])
        changes.put(swapped)
        if round in (2, 5):
            changes.split()
        if round == 8:
            changes.merge()
        if round in (3, 7, 9):
            host.kill()
            host = deployment.start()
    wait_until(lambda: {item: max(found) for item, found in versions(local, seen).items()} == latest, "the last version of each item came", 120)
    for item, found in versions(local, seen).items():
        assert sorted(set(found)) == list(range(1, latest[item] + 1)), f"{item}: {found}"
        assert len(found) == len(set(found)), f"{item} came twice: {found}"
    assert {row["stream_arn"].split("/created/")[0] for row in deployment.status()["checkpoints"]} == {f"arn:aws:kinesis:us-east-1:000000000000:stream/{changes.stream}"}
    assert host.stop() == 0


def test_order_of_an_item_within_a_page(beside_local, local, name, emulators):
    deployment = beside_local
    changes = Changes(emulators, name("stream"), "Orders")
    seen = configure(deployment, local, name, emulators, f"kinesis = {changes.stream}\ntable = Orders")
    batch = [changes.change("a", version) for version in range(1, 31)]
    random.Random(5).shuffle(batch)
    changes.put(batch + batch[:10])
    host = deployment.start()
    wait_until(lambda: len(versions(local, seen).get("a", [])) >= 30, "all came")
    assert versions(local, seen)["a"] == list(range(1, 31))
    assert host.stop() == 0


def test_what_is_no_change_is_a_dead_letter(beside_local, local, name, emulators):
    deployment = beside_local
    changes = Changes(emulators, name("stream"), "Orders")
    arn = emulators.kinesis.describe_stream(StreamName=changes.stream)["StreamDescription"]["StreamARN"]
    seen = configure(deployment, local, name, emulators, f"kinesis = {arn}\ntable = Orders", settings="fails = 2")
    deep = json.dumps(changes.change("x", 1)[1]).replace('"userIdentity": null', '"userIdentity": {"a": ' + "[" * 124 + "]" * 124 + "}")
    late = json.dumps(changes.change("x", 1, ApproximateCreationDateTime=10**16, ApproximateCreationDateTimePrecision="MILLISECOND")[1])
    for data in (b"not JSON", b'{"hello": 1}', deep.encode(), late.encode(), json.dumps(changes.change("x", 1)[1] | {"eventName": "OTHER"}).encode()):
        emulators.kinesis.put_record(StreamName=changes.stream, PartitionKey="odd", Data=data)
    changes.put([changes.change("a", 1), changes.change("b", 2), changes.change("c", 3)])
    host = deployment.start()
    letters = wait_until(lambda: len(found := json.loads(deployment.run("dead", "list", "--json").stdout or "[]")) == 6 and found, "all are letters")
    errors = sorted(letter["error"] for letter in letters)
    assert sum("no change of a table" in error for error in errors) == 5 and any("no time" in error for error in errors) and any("too deep" in error for error in errors) and any("is no JSON" in error for error in errors) and any("not this one" in error for error in errors), errors
    wait_until(lambda: versions(local, seen) == {"a": [1], "c": [3]}, "the others were handled")
    assert host.stop() == 0


@pytest.mark.parametrize("stream", ["snapshot", "created"])
def test_odd_names(beside_local, local, name, emulators, stream):
    deployment = beside_local
    table = local.table(name("Orders"), stream=False)
    changes = Changes(emulators, stream, table)
    seen = configure(deployment, local, name, emulators, f"kinesis = {stream}\ntable = {table}")
    number = changes.change("n", 1)
    number[1]["dynamodb"]["NewImage"]["version"]["N"] = '1,"level":"x"'
    changes.put([changes.change("a", 1), number])
    local.client.put_item(TableName=table, Item={"id": {"S": "b"}, "version": {"N": "7"}})
    host = deployment.start()
    wait_until(lambda: versions(local, seen) == {"a": [1]}, "the stream is read")
    wait_until(lambda: "it has a number that is none" in deployment.run("dead", "list", "--json").stdout, "what is no number is told")
    assert deployment.run("backfill", "h").returncode == 0
    assert versions(local, seen) == {"a": [1], "b": [7]}
    assert host.stop() == 0


def test_where_it_begins(beside_local, local, name, emulators):
    deployment = beside_local
    changes = Changes(emulators, name("stream"), "Orders")
    changes.at_us -= int(3600e6)
    changes.put([changes.change("old", 1)])
    middle = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600))
    seen = configure(deployment, local, name, emulators, f"kinesis = {changes.stream}\ntable = Orders\nstart = at {middle}")
    changes.at_us += int(3600e6)
    changes.put([changes.change("new", 1)])
    host = deployment.start()
    wait_until(lambda: "new" in versions(local, seen), "what was written since came")
    assert set(versions(local, seen)) == {"new"}
    assert host.stop() == 0
    good = deployment.ini.read_text()
    for old, new, told in (("start = at ", "start = soon ", "soon"), (f"start = at {middle}", "start = at", "a time that is over"), ("start = at 2", "start = at 9", "a time that is over"),
                           (f"kinesis = {changes.stream}", "kinesis = a b", "a Kinesis stream's name or ARN"), (f"kinesis = {changes.stream}", "kinesis = arn:aws:sqs:eu-west-1:1:x", "name or ARN"),
                           ("table = Orders", "tables = a, b", "kinesis stands beside table"), (f"kinesis = {changes.stream}\ntable = Orders", "tag = a=b", "KEY:VALUE")):
        deployment.ini.write_text(good.replace(old, new))
        done = deployment.run("check")
        assert done.returncode == 2 and told in done.stderr, (new, done.stderr)


def test_another_tables_changes_and_another_accounts_stream(beside_local, local, name, emulators):
    deployment = beside_local
    changes = Changes(emulators, stream := name("stream"), "Orders")
    seen = configure(deployment, local, name, emulators, f"kinesis = {stream}\ntable = Orders")
    others = changes.change("other", 1)
    others[1]["tableName"] = "Other"
    changes.put([changes.change("a", 1), others, changes.change("b", 1)])
    host = deployment.start()
    wait_until(lambda: versions(local, seen) == {"a": [1], "b": [1]}, "its table's changes come")
    assert host.stop() == 0
    deployment.ini.write_text(deployment.ini.read_text().replace(f"kinesis = {stream}", f"kinesis = arn:aws:kinesis:us-west-2:999999999999:stream/{stream}"))
    host = deployment.start()
    wait_until(lambda: any("another account's or region's" in trouble["text"] for trouble in (deployment.status() or {}).get("troubles", [])), "that is told")
    host.stop()


def test_a_snapshot_before_it(beside_local, local, name, emulators):
    deployment = beside_local
    table = local.table(name("Orders"), stream=False)
    for at in range(40):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{at}"}, "version": {"N": "1"}})
    changes = Changes(emulators, name("stream"), table)
    seen = configure(deployment, local, name, emulators, f"kinesis = {changes.stream}\ntable = {table}\nsnapshot = yes")
    host = deployment.start()
    host.wait_for("goes on with the stream")
    changes.put([changes.change("i3", 2)])
    wait_until(lambda: versions(local, seen).get("i3") == [1, 2], "the stream follows")
    assert versions(local, seen) == {f"i{at}": [1, 2] if at == 3 else [1] for at in range(40)}
    assert host.stop() == 0


def test_a_stream_that_is_made_anew(beside_local, local, name, emulators):
    deployment = beside_local
    changes = Changes(emulators, stream := name("stream"), "Orders")
    seen = configure(deployment, local, name, emulators, f"kinesis = {stream}\ntable = Orders")
    changes.put([changes.change("a", 1)])
    host = deployment.start()
    wait_until(lambda: versions(local, seen) == {"a": [1]}, "the first one is read")
    emulators.kinesis.delete_stream(StreamName=stream)
    emulators.kinesis.get_waiter("stream_not_exists").wait(StreamName=stream, WaiterConfig=dict(Delay=1, MaxAttempts=60))
    time.sleep(1.1)  # the time of a stream's making has seconds
    changes = Changes(emulators, stream, "Orders")
    changes.put([changes.change("b", 1)])
    wait_until(lambda: "b" in versions(local, seen), "the new one is read from its beginning", 90)
    assert host.stop() == 0


def test_a_test_plays_it_by_the_tables_own_stream(deployment):
    deployment.dynamodb = type("D", (), {"url": "http://127.0.0.1:1"})
    deployment.script("h", "return { stream = 's', on_record = function(record) require('tidemill.dynamodb').put('Seen', record.keys) end }")
    deployment.script("h_test", """local test, dynamodb = require 'tidemill.test', require 'tidemill.dynamodb'
test.deployment '../tidemill.ini'
test("it comes", function() dynamodb.put('Orders', { id = 'a' }) test.settle() test.equal(#dynamodb.scan('Seen'), 1) end)""")
    tables = "[table Orders]\nkey = id\n[table Seen]\nkey = id\nstream = none\n"
    deployment.configure(f"[stream s]\nkinesis = changes\ntable = Orders\nexport = s3://exports/orders\n{tables}")
    done = deployment.run("test", "scripts")
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
    deployment.configure(f"[stream s]\nkinesis = changes\n{tables}")
    done = deployment.run("test", "scripts")
    assert done.returncode != 0 and "needs a table beside kinesis" in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("merge", [False, True])
def test_what_comes_late_over_a_split_or_merge(beside_local, local, name, emulators, merge):
    deployment = beside_local
    changes = Changes(emulators, name("stream"), "Orders", shards=2 if merge else 1)
    script = SEEN.replace("{ image.version }", "{ record.late and -image.version or image.version }")
    seen = configure(deployment, local, name, emulators, f"kinesis = {changes.stream}\ntable = Orders", script=script)
    one, two, three, four, five = [changes.change("a", version) for version in range(1, 6)]
    changes.put([one, two, three, five])
    host = deployment.start()
    wait_until(lambda: versions(local, seen).get("a") == [1, 2, 3, 5], "what there is came")
    changes.merge() if merge else changes.split()
    changes.put([two, four, changes.change("a", 6)])
    wait_until(lambda: versions(local, seen)["a"][-1] == 6, "what came behind it, too")
    assert versions(local, seen)["a"] == [1, 2, 3, 5, -4, 6]  # the repetition is left out, the late one is marked
    assert host.stop() == 0
