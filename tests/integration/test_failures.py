"""Failures stay where they happen: dead letters, redriving, seeking, batches, windows, and who is held back by whom."""
import datetime
import json
import statistics
import time
import urllib.request

import pytest
from conftest import Local, wait_until

HEAD = """
local log = require "tidemill.log"
local tidemill = require "tidemill"
local function saw(record)
  log.info("saw", { id = record.new.id, version = record.new.version, attempt = record.attempt,
    redriven = record.redriven or false, age = record.age, shard = record.shard })
end
"""


def put(dynamodb, table, item, version=1):
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": item}, "version": {"N": str(version)}})


def seen(host, **fields):
    return [line for line in host.fields("saw") if all(line[name] == value for name, value in fields.items())]


def dead(deployment, verb, *arguments, status=0):
    done = deployment.run("dead", verb, "-c", deployment.ini, *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


# ---- who is held back ----

STUBBORN = HEAD + """
return { stream = "s", retries = -1, backoff = "100ms..300ms", on_record = function(record)
  if record.new.id == "poisoned" then error("it is poisoned") end
  saw(record)
end }
"""


def latencies(host, written):
    """Milliseconds from the write to the log's line, for the items of `written`."""
    times = {line["fields"]["id"]: datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()
             for line in host.lines() if line["message"] == "saw"}
    return [1000 * (times[item] - at) for item, at in written.items()]


def test_a_poisoned_item_among_a_thousand_holds_back_nobody(deployment, dynamodb, name, capsys):
    table = dynamodb.table(name())
    deployment.script("h", STUBBORN)
    deployment.stream(table)
    host = deployment.start()
    host.wait_for("begins")

    def write_all(prefix):
        written = {}
        for number in range(1000):
            written[f"{prefix}{number}"] = time.time()
            put(dynamodb, table, f"{prefix}{number}")
        wait_until(lambda: len({line["id"] for line in seen(host)} & written.keys()) == 1000, f"all of {prefix} are seen")
        return written

    before = statistics.median(latencies(host, write_all("alone")))
    put(dynamodb, table, "poisoned", 1)
    put(dynamodb, table, "poisoned", 2)
    host.wait_for("it is poisoned")
    beside = statistics.median(latencies(host, write_all("beside")))
    row, = deployment.status()["checkpoints"]
    assert row["retrying"] == 1 and row["waiting"] == 1, row  # the item's second version waits for the first
    assert row["lag_ms"] > 0 and row["trimmed_in_ms"] > 0 and row["dead"] == 0 and len(row["version"]) == 12, row
    assert not seen(host, id="poisoned")
    with capsys.disabled():
        print(f"\nmedian latency {before:.0f} ms; beside a poisoned item {beside:.0f} ms ({beside / before:.2f} times)")
    # Restarted while it fails, it is only the poisoned item that comes again; its attempts go on counting.
    assert host.stop() == 0
    deployment.script("h", STUBBORN.replace('error("it is poisoned")', "log.info('mended')"))
    host = deployment.start()
    wait_until(lambda: len(seen(host, id="poisoned")) == 2, "the mended script handles it")
    assert [line["version"] for line in seen(host)] == [1, 2]
    assert seen(host)[0]["attempt"] > 2 and seen(host)[1]["attempt"] == 1
    wait_until(deployment.settled, "all is settled")
    assert host.stop() == 0


def test_nothing_is_repeated_after_a_clean_stop(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.script("h", HEAD + """
local time = require "tidemill.time"
return { stream = "s", concurrency = 20, on_record = function(record)
  time.sleep(#record.new.id % 5 / 20)  -- so that they settle out of order
  saw(record)
end }
""")
    deployment.stream(table)
    hosts = []
    for run in range(4):
        hosts.append(deployment.start())
        for number in range(60):
            put(dynamodb, table, f"{run}-" + "x" * (number % 7) + str(number))
        wait_until(lambda: len(seen(hosts[-1])) >= 15, "it is in the middle of it")
        assert hosts[-1].stop() == 0
    hosts.append(deployment.start())
    wait_until(lambda: sum(len(seen(host)) for host in hosts) >= 240, "everything is handled")
    wait_until(deployment.settled, "all is settled")
    assert hosts[-1].stop() == 0
    everything = [line["id"] for host in hosts for line in seen(host)]
    assert len(everything) == len(set(everything)) == 240


def test_a_handler_that_comes_late_reads_everything_by_itself(deployment, dynamodb, name):
    table = dynamodb.table(name())
    script = HEAD + 'return { stream = "s", on_record = saw }\n'
    deployment.script("early", script)
    deployment.stream(table)
    host = deployment.start()
    for version in range(1, 301):
        put(dynamodb, table, f"i{version % 20}", version)
    wait_until(lambda: len(seen(host)) == 300, "the early handler has seen them")
    deployment.script("late", script.replace('"saw"', '"late saw"'))
    for version in range(301, 401):
        put(dynamodb, table, f"i{version % 20}", version)
    wait_until(lambda: len(host.fields("late saw")) >= 400 and len(seen(host)) >= 400, "both have seen everything")
    wait_until(deployment.settled, "all is settled")
    for lines in (seen(host), host.fields("late saw")):
        for item in range(20):
            versions = [line["version"] for line in lines if line["id"] == f"i{item}"]
            assert versions == sorted(versions) and len(versions) == len(set(versions)) == 20
    assert any("with a reader of its own" in message for message in host.messages())
    assert any("has caught up" in message for message in host.messages())
    assert host.stop() == 0


# ---- dead letters ----

FUSSY = HEAD + """
return { stream = "s", retries = 1, backoff = "10ms..20ms", on_record = function(record)
  if record.new.id:find("^bad") then error("cannot digest " .. record.new.id) end
  if record.new.id:find("^worse") then error(tidemill.permanent("refuses " .. record.new.id)) end
  saw(record)
end }
"""


def test_dead_letters_are_listed_shown_redriven_and_dropped(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.script("h", FUSSY)
    deployment.stream(table)
    assert deployment.run("dead", "list", "-c", deployment.ini).returncode == 1  # there is no state yet
    host = deployment.start()
    host.wait_for("begins")
    assert dead(deployment, "list") == "no dead letters\n"
    for item in ("good", "bad1", "bad2", "worse"):
        put(dynamodb, table, item)
    letters = wait_until(lambda: len(found := dead(deployment, "list", "--json")) == 3 and found, "they are dead")
    assert {(json.dumps(letter["keys"]), letter["attempts"]) for letter in letters} == {
        ('{"id": {"S": "bad1"}}', 2), ('{"id": {"S": "bad2"}}', 2), ('{"id": {"S": "worse"}}', 1)}
    first = next(letter for letter in letters if letter["keys"]["id"]["S"] == "bad1")
    assert first["record"]["dynamodb"]["NewImage"]["version"] == {"N": "1"} and first["record"]["eventName"] == "INSERT"
    assert "h.lua" in first["error"] and "h.lua" in first["traceback"] and len(first["version"]) == 12
    assert first["table"] == table and first["record_time_ms"] <= first["failed_ms"] and not first["marked"]

    # the filters
    assert len(dead(deployment, "list", "--json", "--error", "digest")) == 2
    assert len(dead(deployment, "list", "--json", "--handler", "nobody")) == 0
    assert len(dead(deployment, "list", "--json", "--older-than", "1h")) == 0
    assert len(dead(deployment, "list", "--json", "--newer-than", "1h")) == 3
    assert [letter["id"] for letter in dead(deployment, "show", "--json", str(first["id"]))] == [first["id"]]
    text = dead(deployment, "show", str(first["id"]))
    assert "cannot digest bad1" in text and "attempt 2" in text and '"NewImage"' in text
    assert dead(deployment, "show", "999999", status=1).startswith("no such dead letter\n")
    assert "worse" in dead(deployment, "list") and deployment.status()["checkpoints"][0]["dead"] == 3

    # in vain: nothing was mended
    done = deployment.run("dead", "redrive", "-c", deployment.ini, str(first["id"]))
    assert done.returncode == 1 and done.stdout == "0 handled, 1 failed again\n", done.stdout + done.stderr
    assert len(dead(deployment, "list", "--json")) == 3 and not seen(host, id="bad1")

    # mended, beside the running host
    deployment.script("h", FUSSY.replace("^bad", "^nothing"))
    host.wait_for("takes the place of")
    assert dead(deployment, "redrive", "--error", "digest") == "2 handled, 0 failed again\n"
    for item in ("bad1", "bad2"):
        line, = seen(host, id=item)
        assert line["redriven"] and line["attempt"] == 1 and line["age"] >= 0
    assert [line["redriven"] for line in seen(host, id="good")] == [False]
    left, = dead(deployment, "list", "--json")
    assert left["keys"]["id"]["S"] == "worse"

    # without a host it is marked, and done at the next start
    assert host.stop() == 0
    deployment.script("h", FUSSY.replace("^worse", "^nothing"))
    assert "1 marked: they are redriven when the host next runs" in dead(deployment, "redrive", "--all")
    assert dead(deployment, "list", "--json")[0]["marked"]
    host = deployment.start()
    wait_until(lambda: seen(host, id="worse"), "it is redriven")
    wait_until(lambda: not dead(deployment, "list", "--json"), "the letter is gone")
    put(dynamodb, table, "bad3")
    wait_until(lambda: dead(deployment, "list", "--json"), "it is dead")
    assert dead(deployment, "drop", "--handler", "h") == "1 dropped\n"
    assert dead(deployment, "list") == "no dead letters\n"
    assert host.stop() == 0


def test_dead_says_what_it_needs(deployment, dynamodb, name):
    deployment.stream(dynamodb.table(name()))
    for arguments, message in (((), "list, show, redrive or drop"), (("drop",), "which ones?"),
                               (("list", "--older-than", "soon"), "needs a duration"), (("show", "x"), "not the number"),
                               (("list", "--handler"), "needs a value")):
        done = deployment.run("dead", *arguments)
        assert done.returncode == 2 and message in done.stderr, done.stderr


def test_a_redriven_record_does_not_run_beside_a_newer_one_of_its_item(deployment, dynamodb, name):
    table = dynamodb.table(name())
    script = HEAD + """
local time = require "tidemill.time"
local running = {}
return { stream = "s", retries = 0, on_record = function(record)
  if record.new.version == FAILS then error("not yet") end
  if running[record.new.id] then error(tidemill.permanent("together")) end
  running[record.new.id] = true
  time.sleep(0.3)
  running[record.new.id] = nil
  saw(record)
end }
"""
    deployment.script("h", script.replace("FAILS", "1"))
    deployment.stream(table)
    host = deployment.start()
    put(dynamodb, table, "a", 1)
    wait_until(lambda: deployment.status() and dead(deployment, "list", "--json"), "version 1 is dead")
    deployment.script("h", script.replace("FAILS", "0"))
    host.wait_for("takes the place of")
    for version in range(2, 6):
        put(dynamodb, table, "a", version)
    assert dead(deployment, "redrive", "--all") == "1 handled, 0 failed again\n"
    wait_until(lambda: len(seen(host)) == 5, "all are handled")
    assert not dead(deployment, "list", "--json")
    redriven, = seen(host, redriven=True)
    assert redriven["version"] == 1 and [line["version"] for line in seen(host, redriven=False)] == [2, 3, 4, 5]
    assert host.stop() == 0


# ---- seek ----

def test_seek_moves_a_checkpoint(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.script("h", HEAD + 'return { stream = "s", on_record = saw }\n')
    deployment.stream(table)
    host = deployment.start()
    for version in range(1, 11):
        put(dynamodb, table, "a", version)
    wait_until(lambda: len(seen(host)) == 10, "ten records")
    wait_until(deployment.settled, "all is settled")
    done = deployment.run("seek", "h", "trim_horizon")
    assert done.returncode == 1 and "--running" in done.stderr, done.stderr
    done = deployment.run("seek", "h", "trim_horizon", "--running")
    assert done.returncode == 0 and "oldest record" in done.stdout, done.stdout + done.stderr
    wait_until(lambda: len(seen(host)) == 20, "they come once more")
    done = deployment.run("seek", "nobody", "latest", "--running")
    assert done.returncode == 1 and "no handler nobody" in done.stderr
    wait_until(deployment.settled, "all is settled")
    assert host.stop() == 0

    # without a host: behind the fourth record
    text = dynamodb.streams.describe_stream(StreamArn=deployment.status()["checkpoints"][0]["stream_arn"])
    shard = text["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = dynamodb.streams.get_shard_iterator(StreamArn=text["StreamDescription"]["StreamArn"], ShardId=shard,
                                                   ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    fourth = dynamodb.streams.get_records(ShardIterator=iterator)["Records"][3]["dynamodb"]["SequenceNumber"]
    assert deployment.run("seek", "h", fourth, "--shard", shard).returncode == 0
    host = deployment.start()
    wait_until(lambda: len(seen(host)) == 6, "those behind it")
    wait_until(deployment.settled, "all is settled")
    assert [line["version"] for line in seen(host)] == [5, 6, 7, 8, 9, 10]
    assert host.stop() == 0

    # latest: what is written from the next start on
    assert deployment.run("seek", "h", "latest").returncode == 0
    host = deployment.start()
    host.wait_for("begins")
    put(dynamodb, table, "b", 1)
    wait_until(lambda: seen(host), "the new one")
    assert [line["id"] for line in seen(host)] == ["b"] or {line["id"] for line in seen(host)} == {"a", "b"}
    assert host.stop() == 0
    for arguments in ((), ("h",), ("h", "latest", "more")):
        assert deployment.run("seek", *arguments).returncode == 2
    for arguments in (("h", "somewhere"), ("h", "latest", "--shard", shard), ("h", "trim_horizon", "--shard", "no")):
        done = deployment.run("seek", *arguments)
        assert done.returncode == 1 and "seek: " in done.stderr, done.stderr


# ---- batches and windows ----

def test_on_batch_gets_batches_and_its_failures_are_isolated(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.script("h", HEAD + """
return { stream = "s", retries = 2, backoff = "10ms..20ms", batch_size = 40, batch_window = "300ms",
  on_batch = function(records)
    log.info("batch", { size = #records })
    local failed = {}
    for _, record in ipairs(records) do
      if record.new.id == "raises" then error("raised for it") end
      if record.new.id == "returned" then failed[#failed + 1] = record end
    end
    for _, record in ipairs(records) do
      if record.new.id ~= "returned" then saw(record) end
    end
    return failed
  end }
""")
    deployment.stream(table)
    for number in range(200):
        put(dynamodb, table, "raises" if number == 70 else "returned" if number == 140 else f"i{number % 90}", number)
    host = deployment.start()
    letters = wait_until(lambda: deployment.status() and len(found := dead(deployment, "list", "--json")) == 2 and found,
                         "two are dead")
    wait_until(deployment.settled, "all is settled")
    assert {letter["keys"]["id"]["S"]: letter["attempts"] for letter in letters} == {"raises": 3, "returned": 3}
    versions = [line["version"] for line in seen(host)]
    assert sorted(versions) == [number for number in range(200) if number not in (70, 140)]
    assert all(line["attempt"] == 1 for line in seen(host))  # isolating cost the others no attempt
    for item in range(90):
        own = [line["version"] for line in seen(host, id=f"i{item}")]
        assert own == sorted(own)
    sizes = [line["size"] for line in host.fields("batch")]
    assert max(sizes) == 40 and len(sizes) < 60, sizes
    assert host.stop() == 0


WINDOWED = """
local dynamodb = require "tidemill.dynamodb"
local config = require "tidemill.config"
return { stream = "s", tumbling_window = "2s", batch_size = 10, on_window = function(state, records, final, window)
  state = state or { versions = {} }
  for _, record in ipairs(records) do state.versions[#state.versions + 1] = record.new.version end
  if final then
    dynamodb.put(config.side_table, { id = window.shard .. "/" .. window.start, versions = state.versions,
      finish = window.finish })
  end
  return state
end }
"""


@pytest.fixture
def engine(tmp_path):
    local = Local(tmp_path)
    yield local
    local.stop()


def test_tumbling_windows_are_exact_though_the_host_is_killed_and_shards_roll_over(deployment, engine):
    client, _ = engine.clients()
    deployment.dynamodb = engine
    for table, more in (("Events", dict(StreamSpecification=dict(StreamEnabled=True, StreamViewType="NEW_IMAGE"))), ("Side", {})):
        client.create_table(TableName=table, KeySchema=[dict(AttributeName="id", KeyType="HASH")],
                            AttributeDefinitions=[dict(AttributeName="id", AttributeType="S")],
                            BillingMode="PAY_PER_REQUEST", **more)
    deployment.script("sums", WINDOWED)
    deployment.stream("Events", "[handler sums]\nside_table = Side")

    def split():
        request = urllib.request.Request(engine.url, b"{}", {"X-Amz-Target": "TidemillLocal.SplitShards", "Authorization": "x",
                                                             "Content-Type": "application/x-amz-json-1.0"})
        assert urllib.request.urlopen(request).status == 200

    def windows():
        return client.scan(TableName="Side")["Items"]

    host = deployment.start()
    for version in range(600):
        client.put_item(TableName="Events", Item={"id": {"S": f"i{version % 17}"}, "version": {"N": str(version)}})
        if version % 100 == 60:
            host.kill()
            host = deployment.start()
        if version % 150 == 100:
            split()
        time.sleep(0.01)  # the writes are to span several windows
    wait_until(lambda: sum(len(row["versions"]["L"]) for row in windows()) >= 600, "the last window is closed")
    assert sorted(int(each["N"]) for row in windows() for each in row["versions"]["L"]) == list(range(600))
    assert len(windows()) >= 3
    assert host.stop() == 0
