"""What trials found: each fault with some of its relatives, as an operator or an author would meet it."""
import fcntl
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading

import boto3
import botocore
import pytest
from conftest import BINARY, PATIENCE_S, free_port, wait_until
from services import Http
from test_replay import archive, event, replay  # noqa: F401  (a fixture)

ECHO = """
local log = require "tidemill.log"
return { stream = "s", backoff = "20ms..50ms", on_record = function(record) log.info("did", { id = record.new.id }) end }
"""


REGION = {**os.environ, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}


def put(client, table, item, **more):
    client.put_item(TableName=table, Item={"id": {"S": item}, **more})


def status_of(deployment):
    done = deployment.run("status", "--json")
    if "there is no state yet" in done.stderr or "the host has not run" in done.stderr:
        return {"troubles": [], "checkpoints": [], "events": []}
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def troubles(deployment):
    return {(each["subject"], each["kind"]): each for each in status_of(deployment)["troubles"]}


def has_run(deployment):
    """Once, so that there is a state."""
    host = deployment.start()
    wait_until(lambda: status_of(deployment).get("host"), "it beats")
    assert host.stop() == 0


# ---- listeners: a port in use ----

@pytest.mark.parametrize("command", [["local"], ["dev", "--data", "data"]], ids=lambda command: command[0])
@pytest.mark.parametrize("reuse", [False, True], ids=["plain", "SO_REUSEPORT"])
def test_a_port_in_use_is_said_with_who_has_it(command, reuse, tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "tidemill.ini").write_text("[stream s]\ntable = Things\n[table Things]\nkey = id\n")
    with socket.socket() as other:
        if reuse:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run([BINARY, *command, "--port", str(port)], cwd=tmp_path, capture_output=True, text=True,
                              timeout=PATIENCE_S)
    assert done.returncode == 1, done.stderr
    assert f"127.0.0.1:{port} is in use: process {os.getpid()} (" in done.stderr and "--port N" in done.stderr, done.stderr


# ---- status ----

def test_status_says_what_does_not_work_and_since_when(beside_local, local, name):
    table = local.table(name())
    deployment = beside_local
    deployment.script("h", ECHO)
    deployment.stream(table)
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: host.fields("did"), "it runs")
    wait_until(lambda: status_of(deployment)["checkpoints"], "a checkpoint")
    assert not troubles(deployment)
    now = status_of(deployment)
    assert now["running"] and now["schema"] == 1 and now["host"]["stopped_ms"] == 0
    wait_until(lambda: all(row["lag_ms"] == 0 for row in status_of(deployment)["checkpoints"]), "it has caught up")
    local.process.send_signal(signal.SIGSTOP)  # whoever is asked does not answer any more
    try:
        trouble = wait_until(lambda: [each for each in status_of(deployment)["troubles"] if each["subject"] == "stream s"],
                             "the trouble is shown", 90)[0]
        assert trouble["count"] >= 1 and trouble["since_ms"] <= trouble["last_ms"] and trouble["text"]
        text = deployment.run("status").stdout
        assert "stream s: for" in text, text
    finally:
        local.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not troubles(deployment), "the trouble is over")
    assert host.stop() == 0
    assert status_of(deployment)["host"]["stopped_ms"] > 0


def test_lag_is_not_zero_while_nothing_can_be_read(beside_local, local, name):
    """Its row is as old as the last look at the end of the shard."""
    table = local.table(name())
    deployment = beside_local
    deployment.script("h", ECHO)
    deployment.stream(table)
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: [row for row in status_of(deployment)["checkpoints"] if row.get("lag_ms") == 0], "it has caught up")
    assert host.stop() == 0
    with sqlite3.connect(deployment.directory / "state.db") as state:
        state.execute("UPDATE shards SET caught_up_ms = caught_up_ms - 3600000, read_ms = read_ms - 3600000")
        state.execute("UPDATE checkpoints SET record_time_ms = record_time_ms - 3700000")
    lags = [row["lag_ms"] for row in status_of(deployment)["checkpoints"] if row["position"] != "finished"]
    assert lags and all(3600000 <= lag < 3660000 for lag in lags), lags


@pytest.mark.parametrize("what", ["raises", "target", "script", "missing table"])
def test_each_trouble_has_a_line_and_ends(beside_local, local, name, what):
    table = local.table(name())
    deployment = beside_local
    port = free_port()
    send = f"[target t]\ntype = http\nurl = http://127.0.0.1:{port}/\n"
    if what == "raises":
        deployment.script("h", 'return { stream = "s", retries = 100, backoff = "200ms..300ms", on_record = function(record)\n'
                               '  if record.new.id == "bad" and record.attempt < 15 then error("no good") end end }')
    elif what == "target":
        deployment.script("h", 'local emit = require "tidemill.emit"\nreturn { stream = "s", targets = { "t" }, '
                               'on_record = function(record) emit("t", record.new) end }')
    elif what == "script":
        deployment.script("h", "return {")
    else:
        deployment.script("h", ECHO)
    deployment.stream(table if what != "missing table" else table + "2", send)
    host = deployment.start()
    put(local.client, table, "bad")
    subject, part = {"raises": ("handler h", "no good"), "target": ("target t", "connect"),
                     "script": ("handler h", "h.lua"), "missing table": ("stream s", table + "2")}[what]
    shown = wait_until(lambda: [each for each in status_of(deployment)["troubles"] if each["subject"] == subject], "it is shown")
    assert part in shown[0]["text"].lower() or part in shown[0]["text"], shown
    if what == "target":
        with socket.create_server(("127.0.0.1", port)) as server:
            def serve():
                while True:
                    try:
                        connection, _ = server.accept()
                    except OSError:
                        return
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    connection.close()
            threading.Thread(target=serve, daemon=True).start()
            wait_until(lambda: not troubles(deployment), "it is over")
    else:
        if what == "script":
            deployment.script("h", ECHO)
        elif what == "missing table":
            local.table(table + "2")
        wait_until(lambda: not troubles(deployment), "it is over")
    assert host.stop() == 0


def test_a_broken_script_that_is_taken_away_is_no_trouble_any_more(beside_local, local, name):
    deployment = beside_local
    deployment.script("h", ECHO)
    deployment.script("broken", "return {")
    deployment.stream(local.table(name()))
    host = deployment.start()
    wait_until(lambda: ("handler broken", "loading") in troubles(deployment), "it is shown")
    (deployment.directory / "scripts" / "broken.lua").unlink()
    wait_until(lambda: not troubles(deployment), "it is over")
    assert host.stop() == 0


def test_a_host_that_stands_still_is_told(beside_local, local, name):
    deployment = beside_local
    deployment.script("h", ECHO)
    deployment.stream(local.table(name()))
    host = deployment.start()
    wait_until(lambda: status_of(deployment).get("host"), "it beats")

    def stopped_outside_of_a_write():
        host.process.send_signal(signal.SIGSTOP)
        try:
            with sqlite3.connect(deployment.directory / "state.db", timeout=0.2) as state:
                state.execute("UPDATE hosts SET beat_ms = beat_ms - 60000")
                return True
        except sqlite3.OperationalError:  # it stands in the middle of one
            host.process.send_signal(signal.SIGCONT)
            return False
    wait_until(stopped_outside_of_a_write, "it stands still")
    assert ("host", "beat") in troubles(deployment)
    assert re.search(r"host: for (6\ds|[7-9]\ds|\d+m)", deployment.run("status").stdout)  # a minute, and as long as asking took
    host.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not troubles(deployment), "it goes on")
    assert host.stop() == 0


def test_status_answers_with_a_thousand_shards_and_fifty_handlers(beside_local, local, name):
    deployment = beside_local
    deployment.script("h", ECHO)
    deployment.stream(local.table(name()))
    has_run(deployment)
    with sqlite3.connect(deployment.directory / "state.db") as state:
        for shard in range(1000):
            state.execute("INSERT INTO shards VALUES ('tidemill', 'arn', ?, 1, 1, 1, 1)", (f"s{shard}",))
        rows = [(f"h{handler}", f"s{shard}") for handler in range(50) for shard in range(1000)]
        state.executemany("INSERT INTO checkpoints VALUES ('tidemill', ?, 'arn', ?, 2, '5', 0, 1, '')", rows)
        state.executemany("INSERT INTO subscriptions VALUES ('tidemill', ?, 'arn', ?, 0, 0, 0, 0, 0, 1)", rows)
        state.executemany("INSERT INTO dead_letters (grp, handler, stream_arn, shard, sequence, event_id, keys, record, error,"
                          " traceback, attempts, record_time_ms, failed_ms) VALUES ('tidemill', ?, 'arn', ?, '1', '', '{}', '{}',"
                          " '', '', 1, 1, 1)", rows[:5000])
    now = status_of(deployment)  # run has a patience of its own
    assert len([row for row in now["checkpoints"] if row["handler"].startswith("h") and row["stream_arn"] == "arn"]) == 50000
    assert sum(row["dead"] for row in now["checkpoints"]) == 5000


# ---- gaps ----

def add_gap(deployment, handler, after="100"):
    with sqlite3.connect(deployment.directory / "state.db") as state:
        state.execute("INSERT INTO events VALUES (NULL, 'tidemill', 'gap', ?, 'arn', 'shard', ?, '', 'trimmed', 1)", (handler, after))


@pytest.mark.parametrize("running", [False, True], ids=["without a host", "beside a host"])
def test_gaps_are_kept_until_they_are_dropped(beside_local, local, name, running):
    deployment = beside_local
    deployment.script("h", ECHO)
    deployment.stream(local.table(name()))
    has_run(deployment)
    for after in ("100", "200"):
        add_gap(deployment, "h", after)
    add_gap(deployment, "other")
    host = deployment.start() if running else None
    assert len(status_of(deployment)["events"]) == 3
    assert "dead drop --gaps" in deployment.run("status").stdout
    assert deployment.run("dead", "drop", "--gaps", "--all", "--json").returncode == 2
    assert deployment.run("dead", "list", "--gaps").returncode == 2
    done = deployment.run("dead", "drop", "--gaps", "--handler", "h")
    assert done.returncode == 0 and "2 gaps dropped" in done.stdout, done.stdout + done.stderr
    assert [each["handler"] for each in status_of(deployment)["events"]] == ["other"]
    done = deployment.run("dead", "drop", "--gaps")
    assert done.returncode == 0 and not status_of(deployment)["events"], done.stdout + done.stderr
    if host:
        assert host.stop() == 0


# ---- logs and pipes ----

def test_a_log_pipe_that_nobody_empties_stops_nothing(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("h", """
local dynamodb, log = require "tidemill.dynamodb", require "tidemill.log"
return { stream = "s", concurrency = 4, on_record = function(record)
  if record.new.seen then return end
  log.info(("x"):rep(2000))
  dynamodb.put(record.table, { id = record.new.id, seen = true })
end }""")
    deployment.stream(table)
    read_end, write_end = os.pipe()
    fcntl.fcntl(read_end, 1031, 4096)  # F_SETPIPE_SZ
    process = subprocess.Popen([BINARY, "run", "-c", deployment.ini], stderr=write_end, cwd=deployment.directory,
                               env=deployment.environment)
    os.close(write_end)
    for i in range(1000):
        put(local.client, table, f"i{i}")
    wait_until(lambda: local.client.scan(TableName=table, Select="COUNT", FilterExpression="attribute_exists(seen)")["Count"] == 1000,
               "all are seen")
    text = []

    def read():
        while data := os.read(read_end, 65536):
            text.append(data)
    reader = threading.Thread(target=read)
    reader.start()  # now it is read: what was kept comes, and how much was left out
    wait_until(lambda: b"log lines were left out here" in b"".join(text), "it is said")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    reader.join()
    os.close(read_end)
    for line in b"".join(text).splitlines():
        json.loads(line)


def test_a_log_pipe_that_was_closed_ends_nothing(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("h", """
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", on_record = function(record)
  print("hello")
  if not record.new.seen then dynamodb.put(record.table, { id = record.new.id, seen = true }) end
end }""")
    deployment.stream(table)
    read_end, write_end = os.pipe()
    process = subprocess.Popen([BINARY, "run", "-c", deployment.ini], stderr=write_end, cwd=deployment.directory,
                               env=deployment.environment)
    os.close(write_end)
    os.close(read_end)
    put(local.client, table, "a")
    wait_until(lambda: "seen" in local.client.get_item(TableName=table, Key={"id": {"S": "a"}})["Item"], "it is seen")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


# ---- replay ----

def test_what_came_to_the_archive_meanwhile_is_replayed_too(beside_local, archive):  # noqa: F811
    archive([event(100, "a", 1)], hour=10)
    archive([event(200, "b", 2)], hour=12)
    late = archive([event(300, "bad", 3)], hour=13)
    late.write_bytes(b"no gzip")
    said, text = replay(beside_local, "--handler", "h", status=1)
    assert [version for _, version in said] == [1, 2], text
    archive([event(150, "c", 15)], hour=11)  # an hour that is written late sorts before what was done
    archive([event(90, "d", 9)], hour=9)
    late.unlink()
    archive([event(300, "e", 3)], hour=13)
    said, text = replay(beside_local, "--handler", "h")
    assert [version for _, version in said] == [9, 15, 3], text
    said, _ = replay(beside_local, "--handler", "h")  # it had come to its end: another time it begins anew
    assert sorted(version for _, version in said) == [1, 2, 3, 9, 15]


def test_alternators_archives_and_byte_order_marks_are_read(beside_local):
    import gzip
    beside_local.script("h", """return { stream = "s", on_record = function(record) print(record.id .. " " .. record.new.v) end }""")
    beside_local.stream("Orders")
    shard = "H 19b76daabe8:11f59781969552ab66d0acdf09c8ddd7"
    directory = beside_local.directory / "lake" / "table=Orders/year=2026/month=01/day=31/hour=10"
    directory.mkdir(parents=True)

    def line(sequence, item, v):
        return {"eventID": "E1", "eventName": "MODIFY", "eventSource": "scylladb:alternator", "eventSourceARN": "arn:x",
                "dynamodb": {"ApproximateCreationDateTime": 1769853600, "Keys": {"id": {"S": item}}, "SequenceNumber": str(sequence),
                             "NewImage": {"id": {"S": item}, "v": {"N": str(v)}}}}

    def write(name, lines):
        text = "".join(json.dumps(each) + "\n" for each in lines)
        (directory / name).write_bytes(gzip.compress(("\ufeff" + text).encode()))
    write(f"{shard}-3001.jsonl.gz", [line(3001, "a", 1), line(3001, "b", 2), line(3001, "c", 3), line(3005, "a", 4)])
    write(f"{shard}-3003.jsonl.gz", [line(3003, "a", 10), line(3001, "b", 2)])
    done = beside_local.run("replay", "--from", "lake", "--handler", "h")
    said = [json.loads(text)["message"] for text in done.stderr.splitlines() if text.startswith("{")]
    ids = [text.split()[0] for text in said if text[0] == "3"]
    assert done.returncode == 0 and sorted(int(text.split()[1]) for text in said if text[0] == "3") == [1, 2, 3, 4, 10], done.stderr
    assert len(set(ids)) == 5, ids


# ---- the embedded DynamoDB ----

def raw(local, operation, body, region="us-east-1"):
    """As it stands: no SDK mends it."""
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", local.port)
    connection.request("POST", "/", body, {
        "X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=k/20260101/{region}/dynamodb/aws4_request, SignedHeaders=host, Signature=0"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_a_token_is_good_whatever_the_order_of_members(local, name):
    table = local.table(name())
    one = '{"TransactItems":[{"Put":{"TableName":"%s","Item":{"id":{"S":"a"},"n":{"M":{"x":{"N":"1"},"y":{"N":"2"}}}}}}],"ClientRequestToken":"t1"}'
    other = '{"ClientRequestToken":"t1","TransactItems":[{"Put":{"Item":{"n":{"M":{"y":{"N":"2"},"x":{"N":"1"}}},"id":{"S":"a"}},"TableName":"%s"}}]}'
    different = other.replace('"N":"2"', '"N":"3"')
    assert raw(local, "TransactWriteItems", one % table)[0] == 200
    assert raw(local, "TransactWriteItems", other % table)[0] == 200
    status, answer = raw(local, "TransactWriteItems", different % table)
    assert status == 400 and "IdempotentParameterMismatch" in answer["__type"]
    two = '{"TransactItems":[{"Put":{"TableName":"%(t)s","Item":{"id":{"S":"a"}}}},{"Put":{"TableName":"%(t)s","Item":{"id":{"S":"b"}}}}],"ClientRequestToken":"t2"}'
    turned = '{"TransactItems":[{"Put":{"TableName":"%(t)s","Item":{"id":{"S":"b"}}}},{"Put":{"TableName":"%(t)s","Item":{"id":{"S":"a"}}}}],"ClientRequestToken":"t2"}'
    assert raw(local, "TransactWriteItems", two % {"t": table})[0] == 200
    assert raw(local, "TransactWriteItems", turned % {"t": table})[0] == 400  # another request


@pytest.mark.parametrize("item", [
    b'{"id":{"S":"caf\xc3"}}', b'{"id":{"S":"a"},"b":{"S":"\xff"}}', b'{"id":{"S":"a"},"\xc3\x28":{"S":"x"}}',
    b'{"id":{"S":"a"},"b":{"S":"\\ud83d"}}', b'{"id":{"S":"a"},"b":{"S":"\\ude00\\ud83d"}}', b'{"id":{"S":"\xed\xa0\xbd"}}',
    b'{"id":{"S":"a"},"id":{"S":"b"}}', b'{"id":{"S":"a"},"m":{"M":{"x":{"N":"1"},"x":{"N":"2"}}}}',
])
def test_what_is_no_text_is_refused(local, name, item):
    table = local.table(name()).encode()
    status, answer = raw(local, "PutItem", b'{"TableName":"%s","Item":%s}' % (table, item))
    assert status == 400 and "SerializationException" in answer["__type"], answer
    status, _ = raw(local, "PutItem", b'{"TableName":"%s","Item":{"id":{"S":"\\ud83d\\ude00"},"b":{"S":"caf\xc3\xa9"}}}' % table)
    assert status == 200


def test_streams_refuse_what_was_never_there(local, name):
    table = local.table(name())
    arn = local.client.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    for item in "abc":
        put(local.client, table, item)
    shard = local.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]
    first = int(local.streams.get_records(ShardIterator=local.streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"])["Records"][0]["dynamodb"]["SequenceNumber"])

    def ask(kind, number):
        iterator = local.streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType=kind,
                                                    SequenceNumber=str(number))["ShardIterator"]
        return len(local.streams.get_records(ShardIterator=iterator)["Records"])
    assert ask("AT_SEQUENCE_NUMBER", first) == 3 and ask("AFTER_SEQUENCE_NUMBER", first) == 2
    assert ask("AT_SEQUENCE_NUMBER", shard["SequenceNumberRange"]["StartingSequenceNumber"]) == 3
    for number in (first - 1, int(shard["SequenceNumberRange"]["StartingSequenceNumber"]) - 1):
        with pytest.raises(local.streams.exceptions.TrimmedDataAccessException):
            ask("AT_SEQUENCE_NUMBER", number)
    with pytest.raises(local.streams.exceptions.ResourceNotFoundException):
        local.streams.describe_stream(StreamArn=arn, ExclusiveStartShardId="shardId-00000001000000000000-00000000")
    assert not local.streams.describe_stream(StreamArn=arn, ExclusiveStartShardId=shard["ShardId"])["StreamDescription"]["Shards"]


def test_arns_are_of_the_region_that_signs(local, name):
    table = name()
    there = boto3.client("dynamodb", endpoint_url=local.url, region_name="ap-south-2", aws_access_key_id="k",
                         aws_secret_access_key="s", config=botocore.config.Config(retries=dict(total_max_attempts=1)))
    made = there.create_table(TableName=table, KeySchema=[dict(AttributeName="id", KeyType="HASH")],
                              AttributeDefinitions=[dict(AttributeName="id", AttributeType="S")], BillingMode="PAY_PER_REQUEST",
                              StreamSpecification=dict(StreamEnabled=True, StreamViewType="KEYS_ONLY"))["TableDescription"]
    assert made["TableArn"].startswith("arn:aws:dynamodb:ap-south-2:") and made["LatestStreamArn"].startswith(made["TableArn"])
    assert there.describe_table(TableName=table)["Table"]["TableArn"] == made["TableArn"]
    put(there, table, "a")
    shard = local.streams.describe_stream(StreamArn=made["LatestStreamArn"])["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = local.streams.get_shard_iterator(StreamArn=made["LatestStreamArn"], ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    assert local.streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"][0]["awsRegion"] == "ap-south-2"


# ---- policy ----

@pytest.mark.parametrize("tables, indexes", [
    ('{ "Jobs", "Query" }', {"Jobs/index/*": ["dynamodb:Query"]}),
    ('{ "Jobs", "Query", "Scan", "GetItem" }', {"Jobs/index/*": ["dynamodb:Query", "dynamodb:Scan"]}),
    ('{ "Jobs", "GetItem" }', {}),
    ('{ "Jobs", "Query" }, { "Jobs/index/by_state", "Query" }', {"Jobs/index/by_state": ["dynamodb:Query"]}),
])
def test_policy_lets_a_handler_query_through_indexes(deployment, tables, indexes):
    deployment.configure("[stream s]\ntable = Things")
    deployment.script("h", f'local d = require "tidemill.dynamodb"\nreturn {{ stream = "s", tables = {{ {tables} }}, on_record = function() end }}')
    done = deployment.run("policy")
    assert done.returncode == 0, done.stderr
    prefix = "arn:aws:dynamodb:eu-west-1:*:table/"
    granted = {each["Resource"].removeprefix(prefix): each["Action"] for each in json.loads(done.stdout)["Statement"]}
    assert {resource: actions for resource, actions in granted.items() if "/index/" in resource} == indexes


# ---- stopping ----

def test_two_signals_of_one_stop_are_one(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("h", """
local time, log = require "tidemill.time", require "tidemill.log"
return { stream = "s", on_record = function(record) log.info("began") time.sleep(2) log.info("ended") end }""")
    deployment.stream(table)
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: "began" in host.messages(), "it works")
    host.process.send_signal(signal.SIGTERM)
    host.process.send_signal(signal.SIGTERM)
    host.process.send_signal(signal.SIGINT)
    assert host.end() == 0 and "ended" in host.messages()


def test_a_lock_on_the_state_stops_no_work_and_no_stop(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("h", ECHO)
    deployment.stream(table, shutdown_timeout="3s")
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: len(host.fields("did")) == 1, "it works")
    state = sqlite3.connect(deployment.directory / "state.db", isolation_level=None)
    state.execute("BEGIN IMMEDIATE")
    put(local.client, table, "b")
    wait_until(lambda: len(host.fields("did")) == 2, "it goes on to work")
    host.process.send_signal(signal.SIGTERM)
    host.end()
    assert "the state could not be written before the end" in " ".join(host.errors())
    state.execute("ROLLBACK")
    state.close()
    host = deployment.start()
    wait_until(lambda: host.fields("did"), "what was not kept comes again")
    assert host.stop() == 0


# ---- scripts ----

@pytest.mark.parametrize("body, said", [
    ("user = record.new", "user"),
    ("local function f() count = (count or 0) + 1 end f()", "count"),
    ("_G.last = record.id", "last"),
    ("rawset(_G, 'sneaky', 1)", "sneaky"),
    ("for i = 1, 2 do total = i end", "total"),
    ("print(misspelt)", "misspelt"),
])
def test_a_forgotten_local_is_an_error_with_its_line(tmp_path, body, said):
    (tmp_path / "h.lua").write_text("limit = 5 rawset(_G, 'other', 6) -- constants\nreturn { stream = 's', on_record = function(record)\n"
                                    f"  assert(limit == 5 and other == 6)\n  {body}\nend }}\n")
    (tmp_path / "event.json").write_text(json.dumps({"Records": [event(100, "a", 1)]}))
    done = subprocess.run([BINARY, "invoke", "h.lua", "event.json"], cwd=tmp_path, capture_output=True, text=True, env=REGION)
    assert done.returncode == 1 and f"h.lua:4: " in done.stdout + done.stderr and said in done.stderr + done.stdout, done.stderr


def test_text_cut_in_the_middle_of_a_character_is_named(tmp_path):
    for what, path in (('d.put("Things", { id = ("caf\\u{e9}"):sub(1, 4) })', "id"),
                       ('d.put("Things", { id = "a", deep = { { ("\\u{1f600}"):sub(2) } } })', "deep"),
                       ('d.put("Things", { id = "a", [("\\u{e9}"):sub(1, 1)] = 1 })', "")):
        (tmp_path / "h.lua").write_text('local d = require "tidemill.dynamodb"\nreturn { stream = "s", on_record = function()\n'
                                        f"  {what}\nend }}\n")
        (tmp_path / "event.json").write_text(json.dumps({"Records": [event(100, "a", 1)]}))
        done = subprocess.run([BINARY, "invoke", "h.lua", "event.json", "--dry-run"], cwd=tmp_path, capture_output=True, text=True, env=REGION)
        assert done.returncode == 1 and "UTF-8" in done.stderr + done.stdout and path in done.stderr + done.stdout, done.stderr


class Server:
    """Reads requests off sockets and answers as `plan` says, one after the other: a status, or None: close instead."""

    def __init__(self, plan):
        self.plan, self.seen = list(plan), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        file = connection.makefile("rb")
        while line := file.readline():
            size = 0
            while (header := file.readline()) not in (b"\r\n", b""):
                if header.lower().startswith(b"content-length:"):
                    size = int(header.split(b":")[1])
            file.read(size)
            self.seen.append(line.split()[0].decode())
            status = self.plan.pop(0) if self.plan else 200
            if status is None:
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()
                return
            connection.sendall(b"HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n" % status)


@pytest.mark.parametrize("method, times", [("post", 2), ("patch", 2), ("get", 3)])
def test_what_is_not_idempotent_is_not_sent_twice_in_one_call(beside_local, local, name, method, times):
    deployment = beside_local
    table = local.table(name())
    server = Server([200, None, 200])  # the second request on the kept connection is read, and never answered
    deployment.script("h", f"""
local http, log = require "tidemill.http", require "tidemill.log"
return {{ stream = "s", retries = 0, on_record = function(record)
  local url = "http://127.0.0.1:{server.port}/"
  http.request {{ method = "GET", url = url }}
  local ok, err = pcall(http.request, {{ method = "{method.upper()}", url = url, body = "{'x' if method != 'get' else ''}" }})
  log.info("was", {{ ok = ok }})
end }}""")
    deployment.stream(table)
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: host.fields("was"), "it was told")
    assert len(server.seen) == times and host.fields("was")[0]["ok"] == (times == 3), server.seen
    assert host.stop() == 0


@pytest.mark.parametrize("message", ['"plain text"', '""', '"{"', '"1 2"', '"{}\\n{}"'])
def test_the_lake_takes_nothing_that_is_not_json(beside_local, local, name, message):
    deployment = beside_local
    table = local.table(name())
    deployment.script("h", f"""
local emit = require "tidemill.emit"
return {{ stream = "s", retries = 0, targets = {{ "lake" }}, on_record = function(record)
  emit("lake", record.new.id == "bad" and {message} or record.new)
end }}""")
    deployment.stream(table, "[target lake]\ntype = file\npath = lake\nlinger = 10ms\ncompression = none\n")
    host = deployment.start()
    put(local.client, table, "bad")
    put(local.client, table, "good")
    wait_until(lambda: any("JSON" in text for text in host.errors()), lambda: f"it is refused: {host.errors()}")
    wait_until(lambda: list((deployment.directory / "lake").rglob("*.jsonl")), "the other is written")
    assert host.stop() == 0
    lines = [json.loads(line) for path in (deployment.directory / "lake").rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["good"]


def test_an_event_stands_in_one_file_of_the_lake_though_the_host_is_killed(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.configure(f"[stream s]\ntable = {table}\npoll_min = 10ms\npoll_max = 20ms\n"
                         "[target lake]\ntype = file\npath = lake\nlinger = 100ms\ncompression = none\n"
                         "[route r]\nstream = s\ntarget = lake\n", checkpoint_interval="300ms")
    host = deployment.start()
    for i in range(600):
        put(local.client, table, f"i{i % 50}", n={"N": str(i)})
        if i % 150 == 149:
            host.kill()
            host = deployment.start()

    def events():
        return [json.loads(line)["eventID"] for path in (deployment.directory / "lake").rglob("*.jsonl")
                for line in path.read_text().splitlines()]
    wait_until(lambda: len(set(events())) == 600, lambda: f"all are there: {len(set(events()))}")
    assert host.stop() == 0
    assert len(events()) == 600, len(events())


@pytest.mark.parametrize("items", [("bad", *"abcdef"), (*"abcdef", "bad")], ids=["first", "last"])
@pytest.mark.parametrize("killed", [False, True])
def test_an_event_stands_in_one_file_though_the_rest_of_its_call_is_refused(beside_local, local, name, killed, items):
    """What was written is not written again when its record is tried again, nor over what else stands in its file."""
    deployment, table, other = beside_local, local.table(name()), Http(status=503)
    deployment.script("h", """
local emit = require "tidemill.emit"
return { stream = "s", backoff = "20ms..50ms", retries = -1, on_record = function(record)
  emit("lake", { id = record.new.id, line = 1 })
  emit("lake", { id = record.new.id, line = 2 })
  if record.new.id == "bad" then emit("other", record.new) end
end }""")
    deployment.configure(f"[stream s]\ntable = {table}\npoll_min = 10ms\npoll_max = 20ms\n"
                         f"[target other]\ntype = http\nurl = {other.url}\nretries = 0\n"
                         "[target lake]\ntype = file\npath = lake\nlinger = 200ms\ncompression = none\n", checkpoint_interval="100ms")
    host = deployment.start()
    for item in items:
        put(local.client, table, item)

    def lines():
        return sorted((line["id"], line["line"]) for path in (deployment.directory / "lake").rglob("*.jsonl")
                      for line in map(json.loads, path.read_text().splitlines()))
    expected = sorted((item, line) for item in items for line in (1, 2))
    wait_until(lambda: len(other.seen) > 5 and len(lines()) >= len(expected), lambda: f"it is refused often: {lines()}")
    if killed:
        host.kill()
        host = deployment.start()
        before = len(other.seen)
        wait_until(lambda: len(other.seen) > before + 5, "it is refused again")
    assert lines() == expected
    other.status, before = 200, len(other.seen)
    wait_until(lambda: len(other.seen) > before, "it is taken")
    assert host.stop() == 0 and lines() == expected


# ---- endpoints that misbehave ----

@pytest.mark.parametrize("how", ["reload moves the target", "stream section changes", "seek --running"])
def test_what_waits_for_a_target_stops_nobody(beside_local, local, name, how):
    """One message is refused again and again; then the operator changes something."""
    deployment = beside_local
    table = local.table(name())
    bad, good = Http(status=503), Http()

    def configure(url, poll):
        deployment.configure(f"[stream s]\ntable = {table}\npoll_min = 20ms\npoll_max = {poll}\n"
                             f"[target t]\ntype = http\nurl = {url}\nbackoff = 50ms..200ms\n")
    deployment.script("h", 'local emit, log = require "tidemill.emit", require "tidemill.log"\n'
                           'return { stream = "s", targets = { "t" }, on_record = function(record)\n'
                           '  if record.new.id == "bad" then emit("t", record.new) else log.info("did", { id = record.new.id }) end end }')
    configure(bad.url, "100ms")
    host = deployment.start()
    put(local.client, table, "bad")
    wait_until(lambda: len(bad.seen) >= 2, "it is refused")
    if how == "reload moves the target":
        configure(good.url, "100ms")
        host.process.send_signal(signal.SIGHUP)
        wait_until(lambda: good.seen, "it goes to the new place")
    elif how == "stream section changes":
        configure(bad.url, "90ms")
        host.process.send_signal(signal.SIGHUP)
        wait_until(lambda: sum("stream s" in message for message in host.messages()) > 1, "the handler is on it again")
    else:
        done = deployment.run("seek", "h", "trim_horizon", "--running")
        assert done.returncode == 0, done.stderr
    for item in "abcde":
        put(local.client, table, item)
    wait_until(lambda: {each["id"] for each in host.fields("did")} == set("abcde"), "the others are handled")
    bad.status = 200
    wait_until(lambda: not troubles(deployment), "nothing is wrong any more")
    assert host.stop() == 0


@pytest.mark.parametrize("body", [b"x" * (3 << 20), b"\x00\xff" * 1000, b""], ids=["3 MiB", "bytes", "nothing"])
def test_the_status_decides_whether_it_was_delivered(beside_local, local, name, body):
    deployment = beside_local
    table = local.table(name())
    target = Http(body=body)
    deployment.script("h", 'local emit = require "tidemill.emit"\n'
                           'return { stream = "s", targets = { "t" }, retries = 0, on_record = function(record) emit("t", record.new) end }')
    deployment.stream(table, f"[target t]\ntype = http\nurl = {target.url}\n")
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: target.seen and [row for row in status_of(deployment)["checkpoints"] if row["position"] == "after"], "it is settled")
    assert host.stop() == 0
    assert len(target.seen) == 1 and deployment.run("dead", "list", "--json").stdout.strip() == "[]"


def test_an_endpoint_that_hangs_takes_only_its_own_connections(beside_local, local, name):
    deployment = beside_local
    slow, quick = local.table(name()), local.table(name())
    hanging, target = Http(hangs=True), Http()
    deployment.script("hangs", f'local http = require "tidemill.http"\nreturn {{ stream = "slow", concurrency = 64, on_record = function(record)\n'
                               f'  http.post("{hanging.url}", {{ body = "x" }}) end }}')
    deployment.configure(f"[stream slow]\ntable = {slow}\npoll_min = 20ms\npoll_max = 50ms\n"
                         f"[stream quick]\ntable = {quick}\npoll_min = 20ms\npoll_max = 50ms\n"
                         f"[target t]\ntype = http\nurl = {target.url}\n[route r]\nstream = quick\ntarget = t\n", shutdown_timeout="1s")
    host = deployment.start()
    for i in range(200):
        put(local.client, slow, f"i{i}")
    wait_until(lambda: hanging.open >= 60, lambda: f"the connections hang: {hanging.open}")
    for i in range(100):
        put(local.client, quick, f"i{i}")
    wait_until(lambda: len(target.seen) >= 100, "the other stream goes on", 20)
    assert hanging.open >= 60
    hanging.hangs = False
    assert host.stop() == 0


def test_out_of_descriptors_is_nobodys_failure(beside_local, local, name):
    """A hard limit of 64 descriptors, hundreds of calls at once: all are made, none fails."""
    deployment = beside_local
    table = local.table(name())
    target = Http()
    deployment.script("h", f'local http = require "tidemill.http"\nreturn {{ stream = "s", retries = 0, concurrency = 500, on_record = function(record)\n'
                           f'  http.post("{target.url}" .. record.new.id, {{ body = record.new.id }}) end }}')
    deployment.configure(f"[stream s]\ntable = {table}\npoll_min = 20ms\npoll_max = 50ms\n", threads=1)
    for i in range(300):
        put(local.client, table, f"i{i}")
    log = deployment.directory / "log.jsonl"
    process = subprocess.Popen(["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", BINARY, "run", "-c", deployment.ini], stderr=open(log, "wb"),
                               cwd=deployment.directory, env=deployment.environment)
    wait_until(lambda: len(set(target.seen)) == 300, lambda: f"all are made: {len(set(target.seen))}")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert "this process may have 64 files and sockets open" in log.read_text()
    assert deployment.run("dead", "list", "--json").stdout.strip() == "[]"


def test_credentials_that_stay_refused_lead_to_a_complaint_and_a_pause(deployment, tmp_path):
    refusing = Http(status=400, body=b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}')
    deployment.script("h", ECHO)
    deployment.configure("[stream s]\ntable = Things\n")
    deployment.ini.write_text(deployment.ini.read_text().replace(deployment.dynamodb.url, refusing.url))
    host = deployment.start()
    trouble = wait_until(lambda: status_of(deployment)["troubles"], "it is told")[0]
    assert "xpired" in trouble["text"], trouble
    before = len(refusing.seen)
    threading.Event().wait(3)  # a while in which a loop would send thousands
    assert len(refusing.seen) - before < 30, len(refusing.seen) - before
    assert host.stop() == 0


@pytest.mark.parametrize("answer", ['{"batchItemFailures": {"itemIdentifier": "x"}}', '{"batchItemFailures": "x"}', "no JSON",
                                    '{"BatchItemFailures": [{"itemIdentifier": "x"}]}', '{"batchItemFailures": [{"itemIdentifier": ""}]}'])
def test_a_lambda_whose_answer_says_nothing_has_settled_nothing(beside_local, local, name, answer):
    deployment = beside_local
    table = local.table(name())
    function = Http(body=answer.encode())
    deployment.aws = f"endpoint_lambda = {function.url}"
    deployment.stream(table, "[target f]\ntype = lambda\nfunction = my-function\n[route r]\nstream = s\ntarget = f\nretries = 0\n")
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: deployment.run("dead", "list", "--json").stdout.strip() not in ("[]", ""), "it is a dead letter")
    assert host.stop() == 0


@pytest.mark.parametrize("code, path", [
    ('local v = json.decode("[1]") v.total = 5 d.put("Things", { id = "a", v = v })', "v"),
    ('local v = d.list { 1 } v.x = 1 d.put("Things", { id = "a", deep = { v } })', "deep"),
    ('local v = json.decode("[1,2]") v.total = 5 json.encode(v)', "json.encode: a list"),
    ('json.encode { 1, 2, x = 3 }', "either a list"),
])
def test_a_list_with_further_keys_is_named(tmp_path, code, path):
    (tmp_path / "h.lua").write_text('local d, json = require "tidemill.dynamodb", require "tidemill.json"\n'
                                    f'return {{ stream = "s", on_record = function()\n  {code}\nend }}\n')
    (tmp_path / "event.json").write_text(json.dumps({"Records": [event(100, "a", 1)]}))
    done = subprocess.run([BINARY, "invoke", "h.lua", "event.json", "--dry-run"], cwd=tmp_path, capture_output=True, text=True, env=REGION)
    assert done.returncode == 1 and "h.lua:3" in done.stderr and path in done.stderr, done.stderr + done.stdout


def test_a_pattern_without_end_holds_nobody_else(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("heavy", 'local n = 0\nreturn { stream = "s", retries = 0, cpu_limit = "5s", concurrency = 1, on_record = function(record)\n'
                               '  local t = 0 for i = 1, 60000000 do t = t + i end end }')
    deployment.script("light", ECHO)
    deployment.stream(table, threads=1)
    host = deployment.start()
    for i in range(20):
        put(local.client, table, f"i{i}")
    wait_until(lambda: len(host.fields("did")) == 20, "the light one is done")
    heavy = wait_until(lambda: next((row for row in status_of(deployment)["checkpoints"] if row["handler"] == "heavy"), None),
                       "its place is told")
    assert heavy["in_flight"] + heavy["waiting"] > 0 or heavy["position"] != "after", heavy  # it still computes
    host.process.send_signal(signal.SIGKILL)
