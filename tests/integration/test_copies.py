"""A table that is kept as another one is: type = dynamodb."""
import json
import random

import pytest

from conftest import wait_until

EMIT = """
local emit, json, http = require "tidemill.emit", require "tidemill.json"
local kept = {}
return { stream = "s", targets = { "copy" }, retries = 0, concurrency = 1, on_record = function(record)
  %s
end }
"""


def configure(deployment, table, copy, more="", target="", **host):
    deployment.stream(table, f"[target copy]\ntype = dynamodb\ntable = {copy}\nbackoff = 10ms..50ms\n{target}{more}", **host)


def items(local, table):
    found = {item["id"]["S"]: item for page in local.client.get_paginator("scan").paginate(TableName=table) for item in page["Items"]}
    versions = {key: item.pop("tidemill_sequence", {"S": ""})["S"] for key, item in found.items()}
    return found, versions


@pytest.mark.parametrize("keep", ["0", "30d"])
def test_a_copy_ends_as_its_table(beside_local, local, name, keep):
    deployment, table, copy = beside_local, local.table(name()), local.table(name("Copy"), stream=False)
    deployment.script("h", "return { stream = 's', on_record = function() end }")
    configure(deployment, table, copy, "[route all]\nstream = s\ntarget = copy\n", f"keep_removed = {keep}\n")
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    dice = random.Random(7)
    host = deployment.start()
    for step in range(120):
        item = f"i{dice.randrange(12)}"
        if dice.random() < 0.3:
            local.client.delete_item(TableName=table, Key={"id": {"S": item}})
        else:
            local.client.put_item(TableName=table, Item={"id": {"S": item}, "n": {"N": str(10**37 + step)}, "b": {"B": bytes([step, 255])}, "s": {"SS": ["x", "y" * dice.randrange(1, 9)]},
                                                         "m": {"M": {"ü\n": {"L": [{"NULL": True}, {"BOOL": False}, {"S": 'a"b\x00'}]}}}, "tidemill_sequence": {"S": "its own"}})
        if step % 40 == 20:
            host.kill()
            host = deployment.start()
    original, _ = items(local, table)
    live = lambda: {key: item for key, item in items(local, copy)[0].items() if "tidemill_expires" not in item}
    wait_until(lambda: live() == original and deployment.settled(), "the copy is as its table")
    assert host.stop() == 0
    copied, versions = items(local, copy)
    traces = {key for key, item in copied.items() if "tidemill_expires" in item}
    assert bool(traces) == (keep != "0") and not traces & set(original)
    assert all(set(copied[key]) == {"id", "tidemill_expires"} for key in traces)
    assert {key: item for key, item in copied.items() if key not in traces} == original and original
    assert all(len(version) == 40 and version.isdigit() for version in versions.values())


@pytest.mark.parametrize("keep", ["0", "1d"])
def test_an_older_record_changes_nothing(beside_local, local, name, keep):
    """As a dead letter that is redriven: the first version once more, after the second; and after the removal."""
    deployment, table, copy = beside_local, local.table(name()), local.table(name("Copy"), stream=False)
    deployment.script("h", EMIT % """kept[#kept + 1] = record.raw
  emit("copy", record.raw)
  if #kept > 1 then emit("copy", kept[1], { key = "another" }) emit("copy", record.raw, { key = "third" }) end""")
    configure(deployment, table, copy, target=f"keep_removed = {keep}\n")
    host = deployment.start()
    for version in ("1", "2"):
        local.client.put_item(TableName=table, Item={"id": {"S": "a"}, "n": {"N": version}})
    wait_until(lambda: deployment.settled() and items(local, copy)[0].get("a", {}).get("n") == {"N": "2"}, "the newer one is there")
    local.client.delete_item(TableName=table, Key={"id": {"S": "a"}})
    wait_until(lambda: items(local, copy)[0].get("a", {}).get("n") != {"N": "2"}, "it is gone")
    wait_until(deployment.settled, "all is settled")
    left = items(local, copy)[0]
    if keep != "0":
        assert set(left["a"]) == {"id", "tidemill_expires"}
    assert deployment.run("dead", "list").stdout == "no dead letters\n"
    assert host.stop() == 0


def test_what_is_no_record_and_what_would_never_end_is_told(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", EMIT % """if record.keys.id == "own" then emit("copy", record.raw)
  elseif record.keys.id == "bare" then emit("copy", { id = "x" })
  elseif record.keys.id == "text" then emit("copy", "no JSON")
  else local raw = record.raw raw.dynamodb.NewImage = nil emit("copy", raw) end""")
    configure(deployment, table, table)
    host = deployment.start()
    for item in ("own", "bare", "text", "keys"):
        local.client.put_item(TableName=table, Item={"id": {"S": item}})
    letters = wait_until(lambda: len(found := json.loads(deployment.run("dead", "list", "--json").stdout or "[]")) == 4 and found, "all are letters")
    told = {json.loads(letter["keys"])["id"]["S"] if isinstance(letter["keys"], str) else letter["keys"]["id"]["S"]: letter["error"] for letter in letters}
    assert "would be copied into itself" in told["own"] and "the record has no NewImage" in told["keys"]
    assert "a stream's record expected" in told["bare"] and "a stream's record expected" in told["text"]
    assert host.stop() == 0


def test_a_key_gives_the_order_and_is_none_of_the_versions(beside_local, local, name):
    deployment, table, copy = beside_local, local.table(name()), local.table(name("Copy"), stream=False)
    deployment.script("h", """
local emit = require "tidemill.emit"
return { stream = "s", targets = { "copy" }, retries = 0, on_batch = function(records)
  for _, record in ipairs(records) do emit("copy", record.raw, { key = record.keys.id ~= "bare" and record.keys.id or nil }) end
end }""")
    configure(deployment, table, copy)
    host = deployment.start()
    for item in ("a", "bare"):
        local.client.put_item(TableName=table, Item={"id": {"S": item}})
    # Without one nothing says which of a batch's records come after each other; alone a record has its item's.
    wait_until(lambda: set(items(local, copy)[0]) == {"a", "bare"}, "both are copied")
    assert host.stop() == 0
    deployment.ini.write_text(deployment.ini.read_text().replace("type = dynamodb\n", "type = dynamodb\nversion = id\n"))
    host = deployment.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "b"}})
    wait_until(lambda: any("it is a part of the key" in letter["error"] for letter in json.loads(deployment.run("dead", "list", "--json").stdout or "[]")), "that is told")
    assert host.stop() == 0


def test_what_does_not_go_with_it_is_told(deployment):
    deployment.dynamodb = type("D", (), {"url": "http://127.0.0.1:1"})
    deployment.script("h", "return { stream = 's', on_record = function() end }")
    configure(deployment, "Orders", "arn:aws:dynamodb:eu-west-1:210987654321:table/Copy", "[stream other]\ntable = Users\n[route all]\nstream = s\ntarget = copy\n")
    good = deployment.ini.read_text()
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    policy = deployment.run("policy")
    granted = {statement["Resource"]: statement["Action"] for statement in json.loads(policy.stdout)["Statement"] if isinstance(statement["Resource"], str)}
    assert granted["arn:aws:dynamodb:eu-west-1:210987654321:table/Copy"] == ["dynamodb:DeleteItem", "dynamodb:PutItem"]
    for old, new, told in (("target = copy\n", "target = copy\nimage = new\n", "takes whole records"), ("target = copy\n", "target = copy\ninput_path = $.dynamodb\n", "takes whole records"),
                           ("table = arn:", "tabel = arn:", "tabel"), (":table/Copy", "", "table: a table's name or ARN expected"), ("backoff", "version = tidemill_expires\nbackoff", "is the time to live"),
                           ("backoff", "keep_removed = -1s\nbackoff", "keep_removed"), ("stream = s\ntarget = copy", "stream = s, other\ntarget = copy", "no common order")):
        deployment.ini.write_text(good.replace(old, new))
        done = deployment.run("check")
        assert done.returncode == 2 and told in done.stderr, (new, done.stderr)
