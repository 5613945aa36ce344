"""One [stream] for many tables, found by name or tag: those that come are followed from their first record, those that go are ended."""
import json

import pytest
from conftest import wait_until

SEEN = """
local dynamodb, config = require "tidemill.dynamodb", require "tidemill.config"
return { stream = "s", on_record = function(record)
  if record.new then dynamodb.put(config.seen, { id = record.table .. "/" .. record.new.id, event = record.event }) end
end }
"""


def seen(local, table):
    return {item["id"]["S"] for page in local.client.get_paginator("scan").paginate(TableName=table) for item in page["Items"]}


def configure(deployment, local, name, which, more="", **host):
    into = local.table(name("Seen"), stream=False)
    deployment.script("h", SEEN)
    deployment.configure(f"[stream s]\n{which}\npoll_min = 20ms\npoll_max = 100ms\ndiscovery = 500ms\n{more}\n[handler h]\nseen = {into}\n", **host)
    return into


def put(local, table, item):
    local.client.put_item(TableName=table, Item={"id": {"S": item}})


def test_tables_come_and_go(beside_local, local, name):
    deployment = beside_local
    prefix = name("Orders-")
    into = configure(deployment, local, name, f"tables = {prefix}-*, {prefix}.main\nstart = latest")
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    one, other = local.table(f"{prefix}-1"), local.table(name("Other"))
    put(local, one, "before")
    host = deployment.start()
    wait_until(lambda: deployment.settled(), "the first table is followed")
    put(local, one, "a")
    put(local, other, "a")
    wait_until(lambda: f"{one}/a" in seen(local, into), "its record is handled")
    # One that comes later is followed from its first record, though `start` is the latest one.
    two, main = local.table(f"{prefix}-2"), local.table(f"{prefix}.main")
    put(local, two, "first")
    put(local, main, "first")
    wait_until(lambda: {f"{two}/first", f"{main}/first"} <= seen(local, into), "the new ones are followed")
    assert seen(local, into) == {f"{one}/a", f"{two}/first", f"{main}/first"}
    tables = lambda: {row["stream_arn"].split("/")[1] for row in deployment.status()["checkpoints"]}
    wait_until(lambda: tables() == {one, two, main}, "each has its place")
    shown = deployment.run("status").stdout
    assert "TABLE" in shown and all(f" {table} " in shown for table in (one, two, main)), shown
    # A restart goes on where each stands.
    assert host.stop() == 0
    put(local, one, "meanwhile")
    put(local, two, "meanwhile")
    host = deployment.start()
    wait_until(lambda: {f"{one}/meanwhile", f"{two}/meanwhile"} <= seen(local, into), "it goes on")
    # One that goes is read to its end, and ended.
    put(local, two, "last")
    local.client.delete_table(TableName=two)
    host.wait_for(f"table {two} is gone")
    host.wait_for(f"table {two} is ended")
    assert f"{two}/last" in seen(local, into) or deployment.status()["events"], "it was lost without a word"
    wait_until(lambda: tables() == {one, main}, "nothing of it is kept")
    put(local, one, "still")
    wait_until(lambda: f"{one}/still" in seen(local, into), "the others go on")
    # And one of its name that comes again is a new one.
    local.table(two)
    put(local, two, "anew")
    wait_until(lambda: f"{two}/anew" in seen(local, into), "it is followed anew")
    assert host.stop() == 0
    assert host.errors() == []


def tag(local, table, **tags):
    arn = local.client.describe_table(TableName=table)["Table"]["TableArn"]
    local.client.tag_resource(ResourceArn=arn, Tags=[dict(Key=key, Value=value) for key, value in tags.items()])
    return arn


def test_by_a_tag(beside_local, local, name):
    deployment = beside_local
    into = configure(deployment, local, name, "tag = cdc:on")
    yes, no, later = local.table(name("Yes")), local.table(name("No")), local.table(name("Later"))
    arn = tag(local, yes, cdc="on", other="x")
    tag(local, no, cdc="off")
    for table in (yes, no, later):
        put(local, table, "a")
    host = deployment.start()
    wait_until(lambda: f"{yes}/a" in seen(local, into), "the one with the tag is followed")
    tag(local, later, cdc="on")
    wait_until(lambda: f"{later}/a" in seen(local, into), "one that gets the tag, from its first record")
    assert seen(local, into) == {f"{yes}/a", f"{later}/a"}
    local.client.untag_resource(ResourceArn=arn, TagKeys=["cdc"])
    host.wait_for(f"table {yes} is not followed any more")
    put(local, later, "b")
    wait_until(lambda: f"{later}/b" in seen(local, into), "the other one goes on")
    put(local, yes, "b")
    tag(local, yes, cdc="on")
    wait_until(lambda: f"{yes}/b" in seen(local, into), "with the tag again it goes on where it stood")
    assert host.stop() == 0


def test_rights_and_mistakes(beside_local, local, name):
    deployment = beside_local
    configure(deployment, local, name, "tables = orders-*, users\ntag = cdc\nsnapshot = yes")
    policy = json.loads(deployment.run("policy").stdout)
    granted = {}
    for statement in policy["Statement"]:
        for resource in [statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"]:
            granted.setdefault(resource.split("table/")[-1], set()).update([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    assert {"dynamodb:DescribeTable", "dynamodb:ListTagsOfResource", "dynamodb:Scan"} <= granted["orders-*"] & granted["users"], granted
    assert {"dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream"} <= granted["orders-*/stream/*"], granted
    assert {"dynamodb:ListTables", "dynamodb:ListStreams"} <= granted["*"], granted
    good = deployment.ini.read_text()
    for more, told in (("table = T", "one of these"), ("tables = a,,b", "tables"), ("arn = arn:aws:dynamodb:eu-west-1:1:table/T/stream/1", "one of these")):
        deployment.ini.write_text(good.replace("tables = orders-*, users\n", more + "\n") if "tables" in more else good.replace("tables = ", more + "\ntables = "))
        done = deployment.run("check")
        assert done.returncode == 2 and told in done.stderr, (more, done.stderr)


@pytest.mark.parametrize("away", ["host", "paused"])
def test_a_table_that_goes_while_nobody_looks(beside_local, local, name, away):
    deployment = beside_local
    prefix = name("T-")
    into = configure(deployment, local, name, f"tables = {prefix}-*")
    one, two = local.table(f"{prefix}-1"), local.table(f"{prefix}-2")
    host = deployment.start()
    put(local, one, "a")
    wait_until(lambda: f"{one}/a" in seen(local, into), "it is followed")
    if away == "host":
        assert host.stop() == 0
    else:
        assert deployment.run("pause", "h").returncode == 0
        wait_until(lambda: any("has stopped" in message for message in host.messages()), "it is paused")
    put(local, one, "pending")
    local.client.delete_table(TableName=one)
    if away == "host":
        host = deployment.start()
    else:
        host.wait_for(f"table {one} is ended")
        assert deployment.run("resume", "h").returncode == 0
    # The embedded DynamoDB keeps no stream of a table that is gone; the service does, for a day.
    wait_until(lambda: f"{one}/pending" in seen(local, into) or deployment.status()["events"], "the rest is read, or said to be lost", 60)
    put(local, two, "b")
    wait_until(lambda: f"{two}/b" in seen(local, into), "the others go on")
    assert host.stop() == 0
