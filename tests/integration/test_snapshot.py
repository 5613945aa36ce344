"""A snapshot, then the stream: what a table holds reaches the handler, every change after it too, and nothing older than it has had."""
import json
import random
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.request

import pytest
from conftest import BINARY, Local, free_port, wait_until
from test_many_hosts import LEASE, Receiver, Writer, beside, own, rows  # noqa: F401 (fixtures)

COPY = """
local dynamodb, http, config = require "tidemill.dynamodb", require "tidemill.http", require "tidemill.config"
return { stream = "s", concurrency = 32, retries = -1, on_record = function(record)
  local image = record.new or record.old
  if config.url then
    assert(http.post(config.url, { json = { id = image.id, version = image.version, epoch = record.snapshot and 1 or 0 } }).status == 200)
  end
  if record.new then dynamodb.put(config.copy, record.new) else dynamodb.delete(config.copy, record.keys) end
end }
"""


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def fill(local, table, count, first=0, version=1):
    """Items without a record in the stream: it is enabled afterwards."""
    for at in range(first, first + count, 25):
        local.client.batch_write_item(RequestItems={table: [
            dict(PutRequest=dict(Item={"id": {"S": f"i{i}"}, "version": {"N": str(version)}, "text": {"S": "x" * 100}}))
            for i in range(at, min(at + 25, first + count))]})


def contents(local, table):
    return {item["id"]["S"]: item for page in local.client.get_paginator("scan").paginate(TableName=table) for item in page["Items"]}


def differs(left, right):
    return [(key, left.get(key), right.get(key)) for key in {**left, **right} if left.get(key) != right.get(key)][:4]


def same(local, table, copy):
    return lambda: contents(local, table) == contents(local, copy)


class Changes(threading.Thread):
    """Writes, removes and makes items until it is stopped; no version of an item comes twice."""

    def __init__(self, local, table, items, seed):
        super().__init__()
        self.local, self.table, self.items, self.dice = local, table, items, random.Random(seed)
        self.over = threading.Event()
        self.made = 0

    def run(self):
        while not self.over.is_set():
            item = {"id": {"S": f"i{self.dice.randrange(self.items)}"}}
            self.made += 1
            if self.dice.random() < 0.2:
                self.local.client.delete_item(TableName=self.table, Key=item)
            else:
                self.local.client.put_item(TableName=self.table, Item={**item, "version": {"N": str(self.made + 10)}})
            time.sleep(0.001)

    def stop(self):
        self.over.set()
        self.join()


def prepare(deployment, local, name, items, more="", settings="", receiver=None, script=COPY, **host):
    """The table with its items, then its stream; and a handler that copies."""
    table, copy = local.table(name(), stream=False), local.table(name("Copy"), stream=False)
    fill(local, table, items)
    local.enable_stream(table, True)
    deployment.script("h", script)
    deployment.stream(table, f"{more}\n[handler h]\ncopy = {copy}\n" + (f"url = {receiver.url}\n" if receiver else "") + settings, **host)
    return table, copy


def snapshots(deployment):
    status = deployment.status()
    return status["snapshots"] if status else []


def at_rest(read):
    """What it says once all that was on its way is written: the same twice."""
    seen = [read()]
    wait_until(lambda: seen.append(read()) or seen[-1] == seen[-2], "it is at rest")
    return seen[-1]


def far(deployment, handler):
    """How far its snapshot is."""
    return lambda: next((one | {"left_ms": 0} for one in snapshots(deployment) if one["handler"] == handler), None)


def test_what_there_was_and_every_change_after_it(beside_local, local, name, receiver):
    deployment = beside_local
    table, copy = prepare(deployment, local, name, 3000, "snapshot = yes", receiver=receiver)
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    changes = Changes(local, table, 3200, 1)
    changes.start()
    host = deployment.start()
    host.wait_for("goes on with the stream")
    changes.stop()
    wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0
    seen, latest = receiver.by_item(), {}
    assert {f"i{i}" for i in range(3000)} <= set(seen), "an item did not come"
    for item, version, of_snapshot in receiver.seen:
        assert version >= latest.get(item, 0), f"{item}: {seen[item]} went back"
        latest[item] = version
    # As it was: an item that changed while the table was read comes as it was before.
    firsts = {item: version for item, version, of_snapshot in reversed(receiver.seen) if of_snapshot}
    assert set(firsts.values()) == {1}
    # What was removed before the table was read there comes as its removal, with what it was.
    gone = {f"i{i}" for i in range(3000)} - set(firsts)
    assert len(gone) < 300 and all(seen[item][0] == 1 for item in gone), gone
    assert [epoch for _, _, epoch in receiver.seen] == sorted((epoch for _, _, epoch in receiver.seen), reverse=True), "the stream did not wait"


def test_it_goes_on_where_it_was_killed(beside_local, local, name):
    deployment = beside_local
    script = COPY.replace("local image", "tidemill.time.sleep(0.02)\n  local image").replace("return {", "local tidemill = { time = require 'tidemill.time' }\nreturn {")
    table, copy = prepare(deployment, local, name, 6000, "snapshot = yes\nsnapshot_segments = 3\nbatch_size = 100", script=script)
    changes = Changes(local, table, 6200, 2)
    changes.start()
    progress = []
    for kill in range(4):
        host = deployment.start()
        wait_until(lambda: (found := snapshots(deployment)) and found[0]["items"] > (progress[-1] if progress else 0), "it gets on")
        host.kill()
        progress.append(snapshots(deployment)[0]["items"])
    assert progress == sorted(progress) and progress[0] < progress[-1]
    host = deployment.start()
    assert deployment.run("status").stdout.count("snapshot of") == 1
    host.wait_for("goes on with the stream")
    changes.stop()
    wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0
    status = deployment.status()
    assert not status["snapshots"] and all("segment" not in row["shard"] for row in status["checkpoints"] + status["shards"]), status


def test_backfill_beside_a_running_host(beside_local, local, name, receiver):
    deployment = beside_local
    table, copy = prepare(deployment, local, name, 2000)
    host = deployment.start()
    wait_until(deployment.settled, "it follows the stream")
    assert not contents(local, copy)
    changes = Changes(local, table, 2100, 3)
    changes.start()
    done = deployment.run("backfill", "h")
    assert done.returncode == 0 and "has had every item, and goes on with the stream" in done.stdout, (done.stdout, done.stderr)
    changes.stop()
    wait_until(same(local, table, copy), "the copy is as its table")
    # Once more, of a copy that was lost.
    for item in contents(local, copy):
        local.client.delete_item(TableName=copy, Key={"id": {"S": item}})
    assert deployment.run("backfill", "h", "--segments", "7").returncode == 0
    wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0
    # Without a host: the next one does it.
    for item in contents(local, copy):
        local.client.delete_item(TableName=copy, Key={"id": {"S": item}})
    done = deployment.run("backfill", "h")
    assert done.returncode == 0 and "once a host runs" in done.stdout, done
    assert "already" in deployment.run("backfill", "h").stdout
    host = deployment.start()
    wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0


def test_backfill_says_what_it_cannot_do(beside_local, local, name):
    deployment = beside_local
    table, copy = prepare(deployment, local, name, 25)
    for arguments, status, told in ((["h"], 1, "there is no state yet"), ([], 2, "a handler is needed"), (["nobody"], 1, "no state")):
        done = deployment.run("backfill", *arguments)
        assert done.returncode == status and told in done.stderr, done
    host = deployment.start()
    wait_until(deployment.settled, "it follows the stream")
    done = deployment.run("backfill", "h", "--stream", "other")
    assert done.returncode == 2 and "[stream other]" in done.stderr, done
    assert host.stop() == 0


def test_read_units_are_bounded_and_throttling_slows_down(beside_local, local, name):
    deployment = beside_local
    table, copy = prepare(deployment, local, name, 2000, "snapshot = yes\nsnapshot_units = 20\nsnapshot_segments = 2\nbatch_size = 100")
    units = 2000 * 120 / 4096 / 2
    begun = time.monotonic()
    host = deployment.start()
    host.wait_for("goes on with the stream")
    took = time.monotonic() - begun
    assert took > units / 20 * 0.8, f"{units} units in {took} s"
    assert same(local, table, copy)() or wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0


def test_a_pause_holds_it_and_seek_ends_it(beside_local, local, name):
    deployment = beside_local
    script = COPY.replace("local image", "require('tidemill.time').sleep(0.05)\n  local image")
    table, copy = prepare(deployment, local, name, 4000, "snapshot = yes\nsnapshot_segments = 2\nbatch_size = 50", script=script)
    host = deployment.start()
    wait_until(lambda: (found := snapshots(deployment)) and found[0]["items"], "it is under way")
    assert deployment.run("pause", "h").returncode == 0
    wait_until(lambda: any("has stopped" in message for message in host.messages()), "it is paused")
    held = at_rest(far(deployment, "h"))
    wait_until(lambda: "paused" in deployment.run("status").stdout, "status says so")
    assert at_rest(far(deployment, "h")) == held
    assert deployment.run("resume", "h").returncode == 0
    wait_until(lambda: snapshots(deployment)[0]["items"] > held["items"], "it goes on")
    assert deployment.run("seek", "h", "latest", "--running").returncode == 0
    wait_until(lambda: not snapshots(deployment), "it is over")
    fill(local, table, 25, first=9000)
    wait_until(lambda: {f"i{i}" for i in range(9000, 9025)} <= set(contents(local, copy)), "it is on the stream")
    assert len(contents(local, copy)) < 4000
    assert host.stop() == 0


def test_a_pause_keeps_its_place_however_long(beside_local, local, name):
    """While nobody is on the snapshot its stream is looked for again and again, and another takes its place: nothing of it is forgotten."""
    deployment = beside_local
    script = COPY.replace("local image", "require('tidemill.time').sleep(0.1)\n  local image")
    table, copy = prepare(deployment, local, name, 2000, "snapshot = yes\nsnapshot_segments = 2\nbatch_size = 50\n[handler other]", script=script,
                          discovery="1700ms")  # not while it stops: its last commit would hide what was forgotten
    deployment.script("other", "return { stream = 's', on_record = function() end }")
    host = deployment.start()
    wait_until(lambda: any(one["items"] for one in snapshots(deployment) if one["handler"] == "h"), "it is under way")
    assert deployment.run("pause", "h").returncode == 0
    wait_until(lambda: any("h has stopped" in message for message in host.messages()), "it is paused")
    held = at_rest(far(deployment, "h"))
    assert held
    local.enable_stream(table, False)
    local.enable_stream(table, True)
    looked = lambda: len([message for message in host.messages() if message.startswith("reading ")])
    wait_until(lambda: looked() == 2, "it was looked for streams, twice at least")
    assert at_rest(far(deployment, "h")) == held
    assert deployment.run("resume", "h").returncode == 0
    host.wait_for("handler h has had every item of the table")
    assert same(local, table, copy)() or wait_until(same(local, table, copy), "the copy is as its table")
    assert sum("h first has every item" in message for message in host.messages()) == 1
    assert host.stop() == 0


def test_an_heir_that_pauses_keeps_its_place_when_another_comes_to_the_end(beside_local, local, name):
    """A handler is split in its snapshot: what is forgotten of one part's segments is not the other's."""
    deployment = beside_local
    script = COPY.replace("local image", "require('tidemill.time').sleep(0.1)\n  local image")
    table, copy = prepare(deployment, local, name, 2000, "snapshot = yes\nsnapshot_segments = 2\nbatch_size = 50", script=script)
    host = deployment.start()
    wait_until(lambda: (found := snapshots(deployment)) and found[0]["items"], "it is under way")
    assert host.stop() == 0
    (deployment.directory / "scripts" / "h.lua").unlink()
    for heir in ("h2", "h3"):
        deployment.script(heir, script.replace("stream =", 'formerly = "h", stream ='))
    deployment.stream(table, f"snapshot = yes\nsnapshot_segments = 2\nbatch_size = 50\n[handler h2]\ncopy = {copy}\n[handler h3]\ncopy = {copy}\n")
    host = deployment.start()
    state = sqlite3.connect(deployment.directory / "state.db")
    read = lambda: state.execute("SELECT shard, sequence FROM checkpoints WHERE handler = 'h3' AND stream_arn LIKE '%/snapshot/%'").fetchall()
    wait_until(read, "it has inherited its place")
    assert deployment.run("pause", "h3").returncode == 0
    host.wait_for("handler h3 is paused")
    held = at_rest(lambda: deployment.status() and read())
    assert held
    host.wait_for("handler h2 has had every item of the table")
    looked = lambda: len([message for message in host.messages() if message.startswith("reading ")])
    local.enable_stream(table, False)
    local.enable_stream(table, True)
    wait_until(lambda: looked() == 2, "it was looked for streams once more")
    assert read() == held
    state.close()
    assert deployment.run("resume", "h3").returncode == 0
    host.wait_for("handler h3 has had every item of the table")
    assert same(local, table, copy)() or wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0


def test_nothing_is_kept_of_a_snapshot_that_nobody_comes_back_to(beside_local, local, name):
    """Its handler was sent elsewhere while it was not on it: what was told of its segments goes when handlers next begin."""
    deployment = beside_local
    prepare(deployment, local, name, 25)
    host = deployment.start()
    wait_until(deployment.settled, "it follows the stream")
    assert host.stop() == 0
    state = sqlite3.connect(deployment.directory / "state.db")
    group, stream = state.execute("SELECT grp, stream_arn FROM follows").fetchone()
    state.execute("INSERT INTO shards VALUES (?, ?, 'segment-00000', 1, 1, 1, 1)", (group, stream + "/snapshot/h/T/1796055214001.2.4000.622890.1796055213849"))
    state.commit()
    host = deployment.start()
    wait_until(lambda: not state.execute("SELECT * FROM shards WHERE stream_arn LIKE '%/snapshot/%'").fetchall(), "it is forgotten")
    assert state.execute("SELECT * FROM shards").fetchall()
    state.close()
    assert host.stop() == 0


def test_how_far_it_is(beside_local, local, name):
    deployment = beside_local
    slow = COPY.replace("local image", "require('tidemill.time').sleep(1)\n  local image")
    port = free_port()
    prepare(deployment, local, name, 2000, "snapshot = yes\nbatch_size = 20", "batch_size = 20\n", script=slow, listen=f"127.0.0.1:{port}")
    read = lambda path: urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).read().decode()
    host = deployment.start()
    values = lambda: {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in read("/metrics").splitlines() if line.startswith("tidemill_snapshot_")}
    host.wait_for("first has every item")
    wait_until(lambda: values().get("tidemill_snapshot_items", 0) > 0, "metrics say how far it is")
    assert values()["tidemill_snapshot_items_expected"] == 2000, values()
    wait_until(lambda: 0 < values().get("tidemill_snapshot_left_seconds", 0) < 200, "and how long it takes")
    shown = json.loads(read("/api/overview"))["snapshots"]
    assert shown and shown[0]["handler"] == "h" and shown[0]["items"] > 0, shown
    host.wait_for("goes on with the stream")
    wait_until(lambda: not values(), "it is over")
    assert host.stop() == 0


@pytest.mark.one_thread
def test_one_that_cannot_end_in_time_says_so(beside_local, local, name):
    deployment = beside_local
    slow = COPY.replace("concurrency = 32", "concurrency = 1").replace("local image", "require('tidemill.time').sleep(10)\n  local image")
    prepare(deployment, local, name, 12000, "snapshot = yes\nsnapshot_segments = 1\nbatch_size = 1", script=slow)
    host = deployment.start()
    wait_until(lambda: any("takes about 3" in trouble["text"] and "keeps what is written meanwhile for 24" in trouble["text"] for trouble in (deployment.status() or {}).get("troubles", [])), "it says so", 120)
    assert deployment.run("seek", "h", "latest", "--running").returncode == 0  # which ends it
    wait_until(lambda: not [trouble for trouble in deployment.status()["troubles"] if "takes about" in trouble["text"]], "it is over")
    host.kill()


def test_a_letter_of_a_snapshot_is_redriven(beside_local, local, name):
    deployment = beside_local
    broken = COPY.replace("local image", "assert(record.keys.id ~= 'i7', 'not this one')\n  assert(record.snapshot)\n  local image").replace("retries = -1", "retries = 0")
    table, copy = prepare(deployment, local, name, 50, "snapshot = yes", script=broken)
    host = deployment.start()
    host.wait_for("goes on with the stream")
    letters = json.loads(deployment.run("dead", "list", "--json").stdout)
    assert len(letters) == 1 and "not this one" in letters[0]["error"], letters
    deployment.script("h", COPY.replace("local image", "assert(record.snapshot and record.redriven)\n  local image"))
    assert deployment.run("dead", "redrive", "--all").returncode == 0
    wait_until(same(local, table, copy), "it has been redriven")
    assert host.stop() == 0


@pytest.mark.one_thread  # thousands of suspended calls: ThreadSanitizer keeps their stacks, by the gigabyte
def test_hosts_share_the_segments(deployment, beside, own, name, receiver):  # noqa: F811
    table, copy = "Table", "Copy"
    for made in (table, copy):
        own.table(made, stream=False)
    fill(own, table, 4000)
    own.enable_stream(table, True)
    script = COPY.replace("local image", "if record.snapshot then require('tidemill.time').sleep(0.5) end\n  local image")
    for each in (deployment, beside):
        each.dynamodb = own
        each.script("h", script)
        each.stream(table, f"snapshot = yes\nsnapshot_segments = 8\nbatch_size = 50\n[handler h]\ncopy = {copy}\n",
                    state="dynamodb:State", lease=LEASE, log_level="info", checkpoint_interval="200ms", threads=1)
    changes = Changes(own, table, 4200, 5)
    changes.start()
    first, second = deployment.start(), beside.start()
    wait_until(lambda: len({owner for shard, owner in rows(own).items() if shard.startswith("segment")}) == 2, "both have segments")
    wait_until(lambda: (found := snapshots(deployment)) and found[0]["items"] > 300, "it is under way")
    second.kill()
    wait_until(lambda: (found := snapshots(deployment)) and len({owner for shard, owner in rows(own).items() if shard.startswith("segment")}) == 1, "the other one took over", 120)
    second = beside.start()
    wait_until(lambda: not snapshots(deployment), "the snapshot is over", 240)
    changes.stop()
    wait_until(same(own, table, copy), "the copy is as its table")
    assert beside.run("backfill", "h", "--no-wait").returncode == 0
    wait_until(lambda: snapshots(deployment), "another one has begun")
    wait_until(lambda: not snapshots(deployment), "and is over", 240)
    wait_until(same(own, table, copy), "the copy is as its table")
    wait_until(lambda: not [shard for shard in rows(own) if shard.startswith("segment")], "nothing of it is left")
    assert first.stop() == 0 and second.stop() == 0


def test_beside_dynamodb_local(deployment, dynamodb, name):
    table, copy = prepare(deployment, dynamodb, name, 1000, "snapshot = yes\nsnapshot_consistent = yes")
    changes = Changes(dynamodb, table, 1100, 6)
    changes.start()
    host = deployment.start()
    host.wait_for("goes on with the stream")
    changes.stop()
    wait_until(same(dynamodb, table, copy), "the copy is as its table")
    assert host.stop() == 0


def test_a_new_store_is_filled_beside_the_old(beside_local, local, name):
    deployment = beside_local
    table, copy = prepare(deployment, local, name, 300)
    other, third = local.table(name("Other"), stream=False), local.table(name("Third"), stream=False)
    host = deployment.start()
    wait_until(deployment.settled, "it follows the stream")
    changes = Changes(local, table, 320, 8)
    changes.start()
    for arguments, told in ((["h", "--as", "h"], "is the handler itself"), (["h", "--as", "second"], "there is no [handler second]")):
        done = deployment.run("backfill", *arguments)
        assert done.returncode == 2 and told in done.stderr, done
    before = deployment.ini.read_text()
    deployment.ini.write_text(before + f"[handler second]\nscript = h\ncopy = {other}\n")  # the host has not read it yet
    assert deployment.run("backfill", "h", "--as", "second", "--no-wait").returncode == 0
    host.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(contents(local, other)) > 250, "the new store fills")
    wait_until(lambda: not snapshots(deployment), "it is full")
    # One that runs already, and is told when it has met the stream.
    deployment.ini.write_text(before + f"[handler second]\nscript = h\ncopy = {other}\n[handler third]\nscript = h\ncopy = {third}\n")
    host.process.send_signal(signal.SIGHUP)
    wait_until(lambda: any("third" in row["handler"] for row in deployment.status()["checkpoints"]), "the third one runs")
    watched = subprocess.Popen([BINARY, "backfill", "h", "--as", "third"], cwd=deployment.directory, env=deployment.environment, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: len(contents(local, third)) > 250, "the third store fills")
    changes.stop()
    assert "has met the live stream" in watched.communicate(timeout=120)[0]
    for each in (other, third):
        wait_until(same(local, table, each), lambda: f"{each} is as its table, not {differs(contents(local, table), contents(local, each))}")
    assert len(contents(local, copy)) < 321
    assert host.stop() == 0


def test_an_archive_seeds_a_new_store(beside_local, local, name):
    deployment = beside_local
    table, copy, other = local.table(name()), local.table(name("Copy"), stream=False), local.table(name("Other"), stream=False)
    deployment.script("h", COPY)
    more = f"[target lake]\ntype = file\npath = {deployment.directory}/lake\nlinger = 50ms\n[route archive]\nstream = s\ntarget = lake\n"
    deployment.stream(table, f"{more}[handler h]\ncopy = {copy}\n")
    host = deployment.start()
    fill(local, table, 200)
    wait_until(lambda: deployment.settled() and same(local, table, copy)(), "all is archived")
    deployment.stream(table, f"{more}[handler h]\ncopy = {copy}\n[handler second]\nscript = h\ncopy = {other}\n")
    done = deployment.run("replay", "--from", f"{deployment.directory}/lake", "--as", "second")
    assert done.returncode == 2 and "--as needs --handler" in done.stderr, done
    watched = subprocess.Popen([BINARY, "replay", "--from", f"{deployment.directory}/lake", "--handler", "h", "--as", "second", "--rate", "200"], cwd=deployment.directory,
                               env=deployment.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: "second is paused" in deployment.run("status").stdout, "it is held meanwhile")
    host.process.send_signal(signal.SIGHUP)
    fill(local, table, 20, first=500)
    out, err = watched.communicate(timeout=120)
    assert watched.returncode == 0 and "has met the live stream" in out and "200 events replayed" in err, (out, err)
    wait_until(same(local, table, other), "the new store is as the table")
    fill(local, table, 20, first=600)
    wait_until(same(local, table, other), "and follows")
    assert host.stop() == 0


@pytest.mark.parametrize("again", [False, True])
def test_a_table_that_goes_while_it_is_read(beside_local, local, name, again):
    deployment = beside_local
    slow = COPY.replace("local image", "if record.snapshot then require('tidemill.time').sleep(0.3) end\n  local image")
    table, copy = prepare(deployment, local, name, 600, "snapshot = yes\nsnapshot_segments = 2\nbatch_size = 10\nwindow = 2MiB", script=slow)
    host = deployment.start()
    wait_until(lambda: (found := snapshots(deployment)) and found[0]["items"], "it is under way")
    local.client.delete_table(TableName=table)
    if again:
        local.table(table)
        local.client.put_item(TableName=table, Item={"id": {"S": "new"}, "version": {"N": "1"}})
    wait_until(lambda: not snapshots(deployment), "the snapshot is over", 90)
    if again:
        wait_until(lambda: "new" in contents(local, copy), "the new table is followed", 90)
    assert not again or any("the table was deleted while it was read" in message for message in host.messages()) or len(contents(local, copy)) == 601
    assert host.stop() == 0


def test_numbers_of_segments_that_cannot_be(beside_local, local, name):
    deployment = beside_local
    prepare(deployment, local, name, 25)
    done = deployment.run("backfill", "h", "--segments", "1001")
    assert done.returncode == 2 and "1 to 1000" in done.stderr, done
