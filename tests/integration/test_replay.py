"""Archived events through a handler once more."""
import gzip
import json
import re
import signal
import subprocess
import time

import pytest
from conftest import BINARY, PATIENCE_S, wait_until
from services import Emulators

ARN = "arn:aws:dynamodb:eu-west-1:1:table/Orders/stream/2026-01-01T00:00:00.000"
LINES = """
local log = require "tidemill.log"
return { stream = "s", retries = 1, backoff = "1ms..2ms", on_record = function(record)
  if record.new.id == "bad" then error("no good") end
  print(string.format("%s %d %s %s", record.new.id, record.new.version, tostring(record.replayed), record.shard))
end }
"""


def event(sequence, item, version, hour=10, minute=0):
    seconds = int(time.mktime(time.strptime(f"2026-01-31 {hour}:{minute}", "%Y-%m-%d %H:%M"))) - time.timezone
    return {"eventID": f"e{sequence}", "eventName": "MODIFY", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1", "eventSourceARN": ARN,
            "dynamodb": {"ApproximateCreationDateTime": seconds, "Keys": {"id": {"S": item}},
                         "NewImage": {"id": {"S": item}, "version": {"N": str(version)}},
                         "SequenceNumber": str(sequence), "SizeBytes": 10, "StreamViewType": "NEW_AND_OLD_IMAGES"}}


def name_of(events, hour=10, shard="shardId-00000001000000000000-aaaaaaaa"):
    first = min(int(event["dynamodb"]["SequenceNumber"]) for event in events)
    return f"table=Orders/year=2026/month=01/day=31/hour={hour:02}/{shard}-{first}.jsonl.gz"


def pack(events):
    return gzip.compress("".join(json.dumps(event) + "\n" for event in events).encode())


@pytest.fixture
def archive(beside_local):
    """Writes events to files below `lake`."""
    beside_local.script("h", LINES)
    beside_local.stream("Orders")

    def write(events, hour=10, **more):
        path = beside_local.directory / "lake" / name_of(events, hour, **more)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(events))
        return path
    return write


def replay(deployment, *arguments, status=0):
    done = deployment.run("replay", "--from", "lake", *arguments)
    assert done.returncode == status, done.stderr
    printed = re.findall(r'"message":"(\S+) (-?\d+) true (shardId\S+)"', done.stderr)
    return [(item, int(version)) for item, version, _ in printed], done.stderr


def test_events_come_in_order_and_once(beside_local, archive):
    archive([event(100 + n, f"i{n % 3}", n) for n in range(9)])
    # These failed at first and were written later; 104 is in both.
    archive([event(200, "i0", 20), event(150, "i1", 15), event(104, "i1", 4)])
    archive([event(99, "i0", -1)])
    archive([event(1000, "i0", 100)], hour=11)
    archive([event(50, "i5", 1)], hour=11, shard="shardId-00000001000000000001-bbbbbbbb")
    said, text = replay(beside_local)
    versions = {item: [version for other, version in said if other == item] for item, _ in said}
    assert versions == {"i0": [-1, 0, 3, 6, 20, 100], "i1": [1, 4, 7, 15], "i2": [2, 5, 8], "i5": [1]}, text
    assert "14 events replayed through h, 0 left out, 0 failed" in text


def test_a_part_of_it(beside_local, archive):
    for hour in (9, 10, 11):
        archive([event(hour * 100 + n, f"i{n}", hour, hour, n) for n in range(5)], hour=hour)
    assert replay(beside_local, "--key", "id=i3")[0] == [("i3", 9), ("i3", 10), ("i3", 11)]
    said, text = replay(beside_local, "--after", "2026-01-31T10:02:00Z", "--before", "2026-01-31T11:01:00Z")
    assert said == [("i2", 10), ("i3", 10), ("i4", 10), ("i0", 11)], text
    assert replay(beside_local, "--after", "2026-02-01")[0] == []
    pattern = '{"dynamodb": {"NewImage": {"version": {"N": [{"numeric": [">", 10]}]}}}}'
    assert len(replay(beside_local, "--pattern", pattern)[0]) == 5


def test_what_fails_is_a_dead_letter_and_moves_no_checkpoint(beside_local, archive):
    archive([event(1, "good", 1), event(2, "bad", 2), event(3, "good", 3), event(4, "bad", 4)])
    said, text = replay(beside_local, status=1)
    assert said == [("good", 1), ("good", 3)] and "4 events replayed through h, 0 left out, 2 failed" in text
    letters = json.loads(beside_local.run("dead", "list", "--json").stdout)
    assert len(letters) == 2
    assert not beside_local.status()["checkpoints"]


def test_a_line_that_is_no_event_is_named_and_what_was_done_stays_done(beside_local, archive):
    archive([event(1, "a", 1)], hour=9)
    path = archive([event(2, "b", 1)], hour=10)
    path.write_bytes(pack([event(2, "b", 1)]) + gzip.compress(b"{\"not\": \"an event\"}\n"))
    said, text = replay(beside_local, status=1)
    assert said == [("a", 1)] and f"{name_of([event(2, 'b', 1)])}:2: this is no archived event" in text
    path.write_bytes(pack([event(2, "b", 1)])[:-9])
    assert "damaged gzip data" in replay(beside_local, status=1)[1] or "end too early" in replay(beside_local, status=1)[1]
    path.write_bytes(pack([event(2, "b", 1)]))
    said, text = replay(beside_local)
    assert said == [("b", 1)] and "1 were replayed before" in text
    assert replay(beside_local)[0] == [("a", 1), ("b", 1)]  # it was finished: this is another one


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_goes_on_where_it_was_stopped(beside_local, archive, number):
    for hour in range(10):
        archive([event(hour * 1000 + n, f"i{n % 7}", hour * 1000 + n, hour) for n in range(30)], hour=hour)
    log = beside_local.directory / "first.log"
    process = subprocess.Popen([BINARY, "replay", "--from", "lake", "--rate", "100"], stderr=open(log, "wb"),
                               cwd=beside_local.directory, env=beside_local.environment)
    wait_until(lambda: log.read_text(errors="replace").count(" true ") > 60, "some are replayed")
    process.send_signal(number)
    status = process.wait(timeout=PATIENCE_S)
    first = {(item, int(version)) for item, version in re.findall(r'"message":"(\S+) (\d+) true', log.read_text())}
    assert len(first) < 300
    if number == signal.SIGINT:
        assert status == 1 and "stopped: the same command goes on from here" in log.read_text()
    said, text = replay(beside_local)
    everything = {(f"i{n % 7}", hour * 1000 + n) for hour in range(10) for n in range(30)}
    assert first | set(said) == everything and "were replayed before" in text
    overlap = len(first & set(said))
    assert overlap <= (10 if number == signal.SIGKILL else 0), overlap  # a page, at most
    assert len(replay(beside_local, "--restart")[0]) == 300


def test_through_a_route_and_out_of_s3(beside_local, archive, tmp_path, name):
    emulators = Emulators(tmp_path)
    try:
        bucket = emulators.bucket(name("bucket").lower())
        for hour in range(3):
            events = [event(hour * 1000 + n, f"i{n}", hour) for n in range(10)]
            emulators.s3.put_object(Bucket=bucket, Key="raw/" + name_of(events, hour), Body=pack(events))
        emulators.s3.put_object(Bucket=bucket, Key="raw/readme.txt", Body=b"nothing to do with it")
        beside_local.aws = f"endpoint_s3 = http://127.0.0.1:{emulators.port}"
        beside_local.stream("Orders", "[target out]\ntype = stdout\n[route r]\nstream = s\ntarget = out\nimage = new\n"
                            "unmarshalled = yes\n")
        done = beside_local.run("replay", "--from", f"s3://{bucket}/raw/", "--handler", "r")
        assert done.returncode == 0, done.stderr
        items = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(item["id"], item["version"]) for item in items] == [(f"i{n}", hour) for hour in range(3) for n in range(10)]
        assert "there are no archived events" in beside_local.run("replay", "--from", f"s3://{bucket}/other", "--handler",
                                                                  "r").stderr
        assert "NoSuchBucket" in beside_local.run("replay", "--from", "s3://elsewhere", "--handler", "r").stderr
    finally:
        emulators.stop()


def test_beside_a_running_host_and_back_out_of_its_own_archive(beside_local, local, name):
    table = local.table(name())
    beside_local.script("h", LINES)
    beside_local.stream(table, "[target lake]\ntype = file\npath = lake\nlinger = 20ms\n[route archive]\nstream = s\n"
                        "target = lake\n")
    for number in range(20):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{number}"}, "version": {"N": str(number)}})
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    said, text = replay(beside_local, "--handler", "h")
    assert set(said) == {(f"i{number}", number) for number in range(20)}, text
    # An archived event is an event for invoke, too.
    path = next((beside_local.directory / "lake").rglob("*.gz"))
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    (beside_local.directory / "event.json").write_text('{"Records": [' + ",".join(lines) + "]}")
    done = beside_local.run("invoke", "scripts/h.lua", "event.json")
    assert done.returncode == 0 and f"{len(lines)} records, 0 failed" in done.stdout, done.stderr
    assert host.stop() == 0


def test_wrong_usage(beside_local, archive):
    for arguments, message in [(["--handler", "nobody"], "there is no handler or route nobody; there are: h"),
                               (["--after", "yesterday"], "--after needs a time"), (["--rate", "0"], "--rate needs a number"),
                               (["--key", "id"], "--key needs NAME=VALUE"), (["--pattern", "{"], "--pattern"),
                               (["--quick"], "unexpected argument --quick")]:
        archive([event(1, "a", 1)])
        assert message in replay(beside_local, *arguments, status=2)[1]
    beside_local.script("h", "return { stream = 's', tumbling_window = '10s', on_window = function() end }")
    assert "has on_window" in replay(beside_local, status=2)[1]
    beside_local.script("h", LINES)
    assert "nowhere: No such file" in beside_local.run("replay", "--from", "nowhere", "--handler", "h").stderr
