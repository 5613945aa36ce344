"""Hosts that share a group's shards by a table: real processes, a real table, SIGKILL and SIGSTOP."""
import base64
import ctypes
import http.server
import importlib.util
import json
import os
import pathlib
import random
import signal
import subprocess
import threading
import time
import urllib.request

import pytest
from conftest import BINARY, PATIENCE_S, Deployment, Local, wait_until
from services import Emulators
from test_chaos import Relay
from test_nats import nats  # noqa: F401 (a fixture)

spec = importlib.util.spec_from_file_location("hosts", pathlib.Path(__file__).resolve().parents[1] / "bench" / "hosts.py")
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)

# What is many times as slow must not lose its leases to that.
LEASE = "4s" if PATIENCE_S <= 120 else "12s"

# How many of them the tests of hosts that come and go write.
CHANGES = int(os.environ.get("TIDEMILL_CHANGES", "1000"))

HANDLER = """
local http = require "tidemill.http"
local config = require "tidemill.config"
return {
  stream = "s",
  on_record = function(record)
    local image = record.new or record.old
    assert(http.post(config.url, { json = { id = image.id, version = image.version, epoch = record.epoch } }).status == 200)
  end,
}
"""


class Receiver:
    """What reached the outside, in its order."""

    def __init__(self):
        self.seen = []
        self.lock = threading.Lock()
        self.gate = threading.Event()  # closed, nobody is answered
        self.gate.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.seen.append((body["id"], body["version"], body["epoch"]))
                outer.gate.wait()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256  # nobody is turned away: what is not acknowledged soon counts as lost

            def handle_error(self, request, address):
                pass  # a host resets what it gives up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def by_item(self):
        items = {}
        with self.lock:
            for item, version, _ in self.seen:
                items.setdefault(item, []).append(version)
        return items

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Writer:
    """Changes items one after the other, each counted up; and splits shards."""

    def __init__(self, local, table, items, seed, prefix="i"):
        self.local, self.table, self.prefix, self.versions = local, table, prefix, {}
        self.items, self.chance = items, random.Random(seed)
        self.arn = local.client.describe_table(TableName=table)["Table"]["LatestStreamArn"]

    def write(self, count, pause=0.0):
        for _ in range(count):
            item = f"{self.prefix}{self.chance.randrange(self.items)}"
            version = self.versions.get(item, 0) + 1
            self.local.client.put_item(TableName=self.table, Item={"id": {"S": item}, "version": {"N": str(version)}})
            self.versions[item] = version
            if pause:
                time.sleep(pause)  # the load of a while, not of an instant

    def shards(self):
        return self.local.streams.describe_stream(StreamArn=self.arn)["StreamDescription"]["Shards"]

    def open_shards(self):
        return [s["ShardId"] for s in self.shards() if "EndingSequenceNumber" not in s["SequenceNumberRange"]]

    def split(self, children=2):
        request = urllib.request.Request(
            self.local.url,
            json.dumps(dict(StreamArn=self.arn, ShardId=self.chance.choice(self.open_shards()), Children=children)).encode(),
            {"X-Amz-Target": "TidemillLocal.SplitShards", "Authorization": "x", "Content-Type": "application/x-amz-json-1.0"})
        assert urllib.request.urlopen(request).status == 200


@pytest.fixture
def emulators(tmp_path):
    started = Emulators(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def beside(tmp_path_factory, own):
    """Another deployment on the same tables: another machine's scripts and INI."""
    made = Deployment(tmp_path_factory.mktemp("beside"), own)
    yield made
    for host in made.hosts:
        if host.process.poll() is None:
            host.kill()


@pytest.fixture
def own(tmp_path):
    """A table's service of its own: another test's splits are none of ours."""
    started = Local(tmp_path)
    yield started
    started.stop()


def group(deployment, own, table, receiver, **host):
    deployment.dynamodb = own
    deployment.script("watcher", HANDLER)
    settings = dict(state="dynamodb:State", lease=LEASE, log_level="info", checkpoint_interval="200ms", threads=2)
    settings.update(host)
    deployment.stream(table, f"[handler watcher]\nurl = {receiver.url}\nconcurrency = 16", **settings)


def create_table(own, name):
    own.client.create_table(TableName=name, KeySchema=[dict(AttributeName="id", KeyType="HASH")],
                            AttributeDefinitions=[dict(AttributeName="id", AttributeType="S")], BillingMode="PAY_PER_REQUEST",
                            StreamSpecification=dict(StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES"))
    return name


def rows(own, state="State"):
    """Of shards: their owners."""
    found, start = {}, {}
    while True:
        try:
            page = own.client.scan(TableName=state, **start)
        except own.client.exceptions.ResourceNotFoundException:
            return {}  # no host has made it yet
        for item in page["Items"]:
            if "/s/" in item["pk"]["S"] and item["sk"]["S"] != "~stream":
                found[item["sk"]["S"]] = item["own"]["S"]
        if "LastEvaluatedKey" not in page:
            return found
        start = dict(ExclusiveStartKey=page["LastEvaluatedKey"])


def everything_seen(receiver, writer):
    seen = receiver.by_item()
    return all(max(seen.get(item, [0])) == version for item, version in writer.versions.items())


def check_order(receiver, *writers, once=False):
    """Repetitions may go back; nothing may be skipped on the way up, and no owner acts after a later one."""
    seen = receiver.by_item()
    epochs = {}
    for item, version, epoch in receiver.seen:
        assert epoch > 0 and epoch >= epochs.get(item, 0), f"{item}: version {version} of epoch {epoch} after {epochs[item]}"
        epochs[item] = epoch
    for item, last in (each for writer in writers for each in writer.versions.items()):
        highest = 0
        for version in seen[item]:
            assert version <= highest + 1, f"{item}: version {version} came after {highest}: {seen[item]}"
            highest = max(highest, version)
        assert highest == last, f"{item} ended at {highest} of {last}"
        assert not once or seen[item] == list(range(1, last + 1)), f"{item}: {seen[item]}"


def test_hosts_share_hand_over_and_repeat_nothing_in_a_rolling_restart(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 60, 1)
    writer.split(4)
    writer.split(4)
    hosts = [deployment.start() for _ in range(3)]
    writer.write(300)
    wait_until(lambda: everything_seen(receiver, writer), "the first changes were seen")
    wait_until(lambda: len(set(rows(own).values())) == 3, "all three have shards")
    stop = threading.Event()

    def load():
        while not stop.is_set():
            writer.write(10, 0.005)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for at in range(3):
            assert hosts[at].stop() == 0
            writer.split()
            hosts[at] = deployment.start()
            wait_until(lambda: len(set(rows(own).values())) >= 3, "the new one has shards, too")
    finally:
        stop.set()
        thread.join()
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    for host in hosts:
        assert host.stop() == 0
    check_order(receiver, writer, once=True)


def live_through(deployment, receiver, writers, splits=True, rounds=6):
    """Three hosts are killed, stopped for longer than a lease, restarted while they work: nothing is lost, nobody is late."""
    chance, some = random.Random(3), CHANGES // (rounds + 1) // len(writers)

    def seen():
        return all(everything_seen(receiver, writer) for writer in writers)

    def write(count):
        for writer in writers:
            writer.write(count, 0.002)

    hosts = [deployment.start() for _ in range(3)]
    write(some)
    wait_until(seen, "the first changes were seen", 3 * PATIENCE_S)
    for round_ in range(rounds):
        at = chance.randrange(3)
        what = ("kill", "freeze", "stop")[round_ % 3]
        if what == "kill":
            hosts[at].kill()
        elif what == "freeze":
            hosts[at].process.send_signal(signal.SIGSTOP)
        else:
            assert hosts[at].stop() == 0
        write(some * 3 // 4)
        if splits:
            writers[0].split()
        write(some - some * 3 // 4)
        if what == "freeze":
            # longer than the lease: others have its shards by now, and it does not know
            wait_until(seen, "the others have handled what it had", 3 * PATIENCE_S)
            hosts[at].process.send_signal(signal.SIGCONT)
        else:
            hosts[at] = deployment.start()
    wait_until(seen, "every change was seen", 3 * PATIENCE_S)
    for host in hosts:
        assert host.stop() == 0
    check_order(receiver, *writers)


def test_nothing_is_lost_though_hosts_are_killed_frozen_and_joined(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 80, 2)
    writer.split(6)
    writer.split(7)
    live_through(deployment, receiver, [writer])


FAILING = """
local dynamodb = require "tidemill.dynamodb"
local once = require "tidemill.once"
local http = require "tidemill.http"
local config = require "tidemill.config"
return {
  stream = "s",
  retries = 1,
  backoff = "10ms..20ms",
  on_record = function(record)
    if record.keys.id:match("^bad") and not dynamodb.get("Side", { id = "mended" }) then
      error("not yet")
    end
    once("all/" .. record.keys.id, function()
      assert(http.post(config.url, { json = { id = record.keys.id, version = 1, epoch = record.epoch } }).status == 200)
    end)
  end,
}
"""


def failing_group(deployment, own, name, receiver):
    """Whose handler fails for bad items until `Side` says that it is mended."""
    table = create_table(own, name())
    own.client.create_table(TableName="Side", KeySchema=[dict(AttributeName="id", KeyType="HASH")],
                            AttributeDefinitions=[dict(AttributeName="id", AttributeType="S")], BillingMode="PAY_PER_REQUEST")
    group(deployment, own, table, receiver)
    deployment.script("watcher", FAILING)
    return table, Writer(own, table, 1, 4)


def test_commands_work_from_beside_whichever_host_has_the_shard(deployment, own, name, receiver):
    table, writer = failing_group(deployment, own, name, receiver)
    writer.split(6)
    hosts = [deployment.start() for _ in range(2)]
    wait_until(lambda: len(set(rows(own).values())) == 2, "both have shards")
    shown = json.loads(deployment.run("status", "--json").stdout)
    assert [each["state"] for each in shown["hosts"]] == ["runs", "runs"] and shown["running"]
    assert all(each["version"] and each["beat_ms"] and each["reactors"] == 2 for each in shown["hosts"])
    assert all(each["epoch"] for each in shown["owners"])
    wait_until(lambda: {each["shard"]: each["session"] for each in json.loads(deployment.run("status", "--json").stdout)["owners"]}
               == rows(own), "whose each shard is, when none moves")
    assert not shown["troubles"], shown["troubles"]
    assert [each["handler"] for each in shown["handlers"]] == ["watcher", "watcher"] and shown["handlers"][0]["version"]
    wait_until(lambda: {each["shard"] for each in json.loads(deployment.run("status", "--json").stdout)["shards"]} >= set(writer.open_shards()),
               "what they read")
    assert "RECORDS/S" in deployment.run("status").stdout
    ids = [f"{kind}{number}" for kind in ("good", "bad") for number in range(12)]
    for item in ids:
        own.client.put_item(TableName=table, Item={"id": {"S": item}, "big": {"S": item * 4000}})

    def letters():
        done = deployment.run("dead", "list", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    wait_until(lambda: len(letters()) == 12, "what failed is kept")
    wait_until(lambda: sorted(item for item, _, _ in receiver.seen) == sorted(item for item in ids if item.startswith("good")),
               "all that can be handled was")
    status = json.loads(deployment.run("status", "--json").stdout)
    assert not any(each["idle"] for each in status["checkpoints"]), status["checkpoints"]
    assert sum(each["dead"] for each in status["checkpoints"]) == 12
    one = letters()[0]
    shown = deployment.run("dead", "show", str(one["id"]))
    assert shown.returncode == 0 and "not yet" in shown.stdout
    status = deployment.run("status", "--json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["dead_letters"] == {"watcher": 12}
    assert deployment.run("dead", "drop", str(one["id"])).returncode == 0
    refused = deployment.run("seek", "watcher", "trim_horizon")
    assert refused.returncode != 0 and "running" in refused.stderr
    own.client.put_item(TableName="Side", Item={"id": {"S": "mended"}})
    assert hosts[0].stop() == 0  # the other one has all shards now
    shown = deployment.status()
    assert len(shown["handlers"]) == 1 and len(shown["shards"]) == len({each["shard"] for each in shown["shards"]}), shown
    done = deployment.run("dead", "redrive", "--all")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not letters(), "all were redriven")
    assert hosts[1].stop() == 0
    seen = [item for item, _, _ in receiver.seen]
    assert len(seen) == len(set(seen)) == 23  # once, and one was dropped
    after = json.loads(deployment.run("status", "--json").stdout)
    assert [each["state"] for each in after["hosts"]] == ["left", "left"] and not after["running"]


def test_letters_of_a_split_shard_are_redriven_though_its_children_are_on_two_hosts(deployment, own, name, receiver):
    table, writer = failing_group(deployment, own, name, receiver)
    hosts = [deployment.start()]
    wait_until(lambda: rows(own), "it has the shard: before, there is no state that a command could read")
    ids = [f"bad{number}" for number in range(20)]
    for item in ids:
        own.client.put_item(TableName=table, Item={"id": {"S": item}})

    def letters():
        return json.loads(deployment.run("dead", "list", "--json").stdout)

    wait_until(lambda: len(letters()) == 20, "what failed is kept")
    writer.split(4)
    for _ in range(2):
        writer.split(2)
    wait_until(lambda: set(rows(own)) >= set(writer.open_shards()), "its children have rows")
    hosts.append(deployment.start())
    wait_until(lambda: len({owner for shard, owner in rows(own).items() if shard in writer.open_shards()}) == 2,
               "they are on two hosts")
    own.client.put_item(TableName="Side", Item={"id": {"S": "mended"}})
    done = deployment.run("dead", "redrive", "--all")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not letters(), lambda: f"all were redriven: {len(letters())} are left")
    for host in hosts:
        assert host.stop() == 0
    assert sorted(item for item, _, _ in receiver.seen) == sorted(ids)


def test_a_handler_that_comes_later_has_every_change_too(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 40, 7)
    hosts = [deployment.start() for _ in range(2)]
    for _ in range(3):
        writer.split(4)
        writer.write(60)
    wait_until(lambda: everything_seen(receiver, writer), "the first one has seen every change")
    wait_until(lambda: len(set(rows(own).values())) == 2, "both have shards")
    second = Receiver()
    # a release in a directory of its own, which the INI names: only who is told takes it
    release = deployment.directory / "release"
    release.mkdir()
    (release / "watcher.lua").write_text(HANDLER)
    (release / "later.lua").write_text(HANDLER.replace("config.url", "config.second"))
    ini = deployment.ini.read_text()
    assert ini.count("scripts = scripts\n") == 1
    deployment.ini.write_text(ini.replace("scripts = scripts\n", "scripts = release\n")
                              + f"\n[handler later]\nsecond = {second.url}\nconcurrency = 16\n")
    differs = "not the same scripts or INI"
    hosts[0].process.send_signal(signal.SIGHUP)
    wait_until(lambda: differs in deployment.run("status").stdout, "status says that one has the new INI and one the old")
    hosts[1].process.send_signal(signal.SIGHUP)
    writer.write(60)
    wait_until(lambda: everything_seen(second, writer), lambda: f"the second one has, too: {second.by_item()} of {writer.versions}")
    wait_until(lambda: differs not in deployment.run("status").stdout, "and not when both have it")
    for host in hosts:
        assert host.stop() == 0
    second.close()
    check_order(second, writer, once=True)


def twice(receiver, writer):
    seen = receiver.by_item()
    return all(seen.get(item) == 2 * list(range(1, last + 1)) for item, last in writer.versions.items())


@pytest.mark.parametrize("beside", [True, False])
def test_a_seek_moves_the_handler_whoever_has_its_shards(deployment, own, name, receiver, beside):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 30, 8)
    hosts = [deployment.start() for _ in range(2)]
    for _ in range(2):
        writer.split(4)
        writer.write(60)
    wait_until(lambda: everything_seen(receiver, writer) and len(set(rows(own).values())) == 2, "every change was seen, by both")
    if beside:
        refused = deployment.run("seek", "watcher", "trim_horizon")
        assert refused.returncode == 1 and "--running" in refused.stderr
        done = deployment.run("seek", "watcher", "trim_horizon", "--running")
    else:
        assert [host.stop() for host in hosts] == [0, 0]
        done = deployment.run("seek", "watcher", "trim_horizon")
        hosts = [deployment.start() for _ in range(2)]
    assert done.returncode == 0 and "oldest record" in done.stdout, done.stderr
    wait_until(lambda: twice(receiver, writer), lambda: f"every change was seen once more, in order: {receiver.by_item()}")
    writer.split(2)
    writer.write(40)
    before = len(receiver.seen)
    wait_until(lambda: everything_seen(receiver, writer), "it goes on")
    assert [host.stop() for host in hosts] == [0, 0]
    count = len(receiver.seen)
    hosts = [deployment.start() for _ in range(2)]  # what was sought is not sought again
    writer.write(20)
    wait_until(lambda: everything_seen(receiver, writer), "they go on where they stood")
    assert [host.stop() for host in hosts] == [0, 0] and len(receiver.seen) == count + 20 and before <= count


def test_a_seek_to_the_latest_and_to_a_number(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 30, 9)
    writer.split(3)
    host = deployment.start()
    writer.write(60)
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert host.stop() == 0
    shown = json.loads(deployment.run("status", "--json").stdout)["checkpoints"]
    place = next(each for each in shown if each["position"] == "after")
    iterator = own.streams.get_shard_iterator(StreamArn=writer.arn, ShardId=place["shard"], ShardIteratorType="TRIM_HORIZON")
    records = own.streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    middle = len(records) // 2
    done = deployment.run("seek", "watcher", records[middle]["dynamodb"]["SequenceNumber"], "--shard", place["shard"])
    assert done.returncode == 0, done.stderr
    now = {each["shard"]: each["sequence"] for each in json.loads(deployment.run("status", "--json").stdout)["checkpoints"]}
    assert now == {**{each["shard"]: each["sequence"] for each in shown}, place["shard"]: records[middle]["dynamodb"]["SequenceNumber"]}
    count, again = len(receiver.seen), records[middle + 1:]
    hosts = [deployment.start() for _ in range(2)]
    wait_until(lambda: len(receiver.seen) == count + len(again), lambda: f"{len(again)} are seen again: {len(receiver.seen) - count}")
    assert sorted((item, version) for item, version, _ in receiver.seen[count:]) == \
        sorted((r["dynamodb"]["NewImage"]["id"]["S"], int(r["dynamodb"]["NewImage"]["version"]["N"])) for r in again)
    assert [host.stop() for host in hosts] == [0, 0]
    assert deployment.run("seek", "watcher", "latest").returncode == 0
    then = time.time()
    hosts = [deployment.start() for _ in range(2)]
    wait_until(lambda: any("begins at the latest" in said for host in hosts for said in host.messages()), "one of them begins there")
    wait_until(lambda: len(set(rows(own).values())) == 2, "both have shards")
    writer.write(30, 0.01)
    wait_until(lambda: everything_seen(receiver, writer), "what came later was seen")
    [follow] = own.client.query(TableName="State", KeyConditionExpression="pk = :f", ConsistentRead=True,
                                ExpressionAttributeValues={":f": {"S": "g/tidemill/f"}})["Items"]
    assert int(follow["since"]["N"]) / 1000 > then - 5, "a minute before that may be seen again (clocks), and no more"
    assert [host.stop() for host in hosts] == [0, 0]


def test_a_seek_to_a_time(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 20, 11)
    hosts = [deployment.start() for _ in range(2)]
    writer.split(3)
    writer.write(40)
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert "--running" in deployment.run("seek", "watcher", "1h").stderr
    done = deployment.run("seek", "watcher", "1h", "--running")
    assert done.returncode == 0 and "what was written since 20" in done.stdout, done.stderr
    wait_until(lambda: twice(receiver, writer), lambda: f"every change of the hour was seen once more, in order: {receiver.by_item()}")
    [follow] = own.client.query(TableName="State", KeyConditionExpression="pk = :f", ConsistentRead=True,
                                ExpressionAttributeValues={":f": {"S": "g/tidemill/f"}})["Items"]
    assert abs(time.time() - 3600 - int(follow["since"]["N"]) / 1000) < 600, "and none before it would be"
    assert [host.stop() for host in hosts] == [0, 0]


def test_a_gap_is_dropped_beside_the_hosts(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    text = deployment.ini.read_text()
    deployment.ini.write_text(text.replace("[handler watcher]", "on_gap = stop\n[handler watcher]"))
    writer = Writer(own, table, 20, 10)
    hosts = [deployment.start() for _ in range(2)]
    writer.write(40)
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert [host.stop() for host in hosts] == [0, 0]
    [place] = json.loads(deployment.run("status", "--json").stdout)["checkpoints"]
    own.client.put_item(TableName="State", Item={  # as a host would have told it
        "pk": {"S": "g/tidemill/e"}, "sk": {"S": "x"}, "kind": {"S": "gap"}, "handler": {"S": "watcher"}, "stream": {"S": writer.arn},
        "shard": {"S": place["shard"]}, "from": {"S": place["sequence"]}, "to": {"S": ""}, "text": {"S": "trimmed"}, "time": {"N": "1"}})
    hosts = [deployment.start() for _ in range(2)]
    writer.write(20)
    hosts[0].wait_for("it stands still at a gap")
    assert len(receiver.seen) == 40
    done = deployment.run("dead", "drop", "--gaps")
    assert done.returncode == 0 and "1 gap dropped" in done.stdout and "oldest record in 1 shard" in done.stdout, done
    wait_until(lambda: everything_seen(receiver, writer) and len(receiver.seen) == 100, "it goes on at the oldest record")
    assert not json.loads(deployment.run("status", "--json").stdout)["events"]
    assert [host.stop() for host in hosts] == [0, 0]


def test_status_tells_what_a_host_is_in_trouble_with(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 30, 11)
    writer.split(4)
    hosts = [deployment.start() for _ in range(2)]
    wait_until(lambda: len(set(rows(own).values())) == 2, "both have shards")
    receiver.close()
    writer.write(20)

    def status():
        done = deployment.run("status", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    wait_until(lambda: any(each["subject"] == "handler watcher" for each in status()["troubles"]), lambda: f"it tells of the receiver: {status()}")
    wait_until(lambda: sum(each["retrying"] for each in status()["checkpoints"]) > 0, "and that records are retried")
    again = Receiver()
    deployment.ini.write_text(deployment.ini.read_text().replace(receiver.url, again.url))
    deployment.script("watcher", HANDLER)
    for host in hosts:
        host.process.send_signal(signal.SIGHUP)
    wait_until(lambda: everything_seen(again, writer), "it is mended")
    wait_until(lambda: not status()["troubles"], lambda: f"and is no trouble any more: {status()['troubles']}")
    again.close()
    hosts[0].process.send_signal(signal.SIGSTOP)
    wait_until(lambda: any(each["subject"].startswith("host ") or each["subject"] == "hosts" for each in status()["troubles"]),
               "it tells that one does not answer")
    for host in hosts:
        host.kill()


def test_status_shows_hand_overs_under_way(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver, shutdown_timeout="4s")
    writer = Writer(own, table, 60, 13)
    writer.split(8)
    hosts = [deployment.start()]
    wait_until(lambda: set(rows(own)) >= set(writer.open_shards()), "it has all shards")
    receiver.gate.clear()
    writer.write(100)
    hosts.append(deployment.start())

    def hand_overs():
        status = deployment.status()
        return status and status["hand_overs"]

    shown = wait_until(hand_overs, "some wait for what they have called")
    names = {each["session"]: each for each in deployment.status()["hosts"]}
    assert all(each["from"] in names and each["to"] in names and each["from"] != each["to"] for each in shown), shown
    assert all(each["shard"] in rows(own) and each["since_ms"] for each in shown)
    assert "gives it to" in deployment.run("status").stdout
    wait_until(lambda: not {(each["shard"], each["since_ms"]) for each in shown} & {(each["shard"], each["since_ms"]) for each in hand_overs()},
               "those are not given while their calls do not end: they go on where they were")
    hosts[1].process.send_signal(signal.SIGTERM)  # nobody is left to give anything to
    receiver.gate.set()
    assert hosts[1].end() == 0
    wait_until(lambda: everything_seen(receiver, writer), "and are handled there")
    assert hand_overs() == [] and hosts[0].stop() == 0
    check_order(receiver, writer)  # what a hand-over was given up with is repeated


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


def stop_thread(tid):
    """That one alone stands still, until the answer is called."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes, libc.ptrace.restype = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p], ctypes.c_long
    if libc.ptrace(PTRACE_SEIZE, tid, None, None) != 0:
        pytest.skip(f"a thread cannot be stopped here: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(PTRACE_INTERRUPT, tid, None, None) == 0
    os.waitpid(tid, 0x40000000)  # __WALL
    return lambda: libc.ptrace(PTRACE_DETACH, tid, None, None)


def test_a_host_with_a_thread_that_stands_still_is_sick_and_then_dead(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver, threads=2)
    writer = Writer(own, table, 60, 14)
    writer.split(8)
    hosts = [deployment.start()]
    wait_until(lambda: rows(own), "the first one has its shards")
    between = time.time()
    hosts.append(deployment.start())
    wait_until(lambda: len(set(rows(own).values())) == 2, "both have shards")
    mine = wait_until(lambda: [each for each in deployment.status()["hosts"] if each["since_ms"] / 1000 < between], "who is who")[0]["session"]
    tid = int(os.listdir(f"/proc/{hosts[0].process.pid}/task")[-1])  # in the order in which they began: numbers start again some time
    go_on = stop_thread(tid)
    try:
        states = []

        def is_dead():
            row = own.client.get_item(TableName="State", Key={"pk": {"S": "g/tidemill/h"}, "sk": {"S": mine}})["Item"]
            states.append("dead" if "dead" in row else row["s"]["S"])
            return states[-1] == "dead"

        wait_until(is_dead, lambda: f"its lease ran out: {states}")
        assert "sick" in states, states
        writer.write(60)
        wait_until(lambda: everything_seen(receiver, writer), "the other one has all of it")
    finally:
        go_on()
    wait_until(lambda: len(set(rows(own).values())) == 2, "it turns again, and has shards again")
    assert [host.stop() for host in hosts] == [0, 0]
    check_order(receiver, writer)


def test_a_stream_that_one_host_reads_is_read_by_that_one(deployment, beside, own, name, receiver):
    """Of two, in a deploy that adds it; and nobody else takes its shards when that one dies."""
    table, other = create_table(own, name()), create_table(own, name())
    for each in (deployment, beside):
        group(each, own, table, receiver)
    deployment.ini.write_text(deployment.ini.read_text() +
                              f"\n[stream more]\ntable = {other}\npoll_min = 20ms\npoll_max = 100ms\ndiscovery = 500ms\n[handler more]\nurl = {receiver.url}\n")
    deployment.script("more", HANDLER.replace('"s"', '"more"'))
    writer, more = Writer(own, table, 40, 16), Writer(own, other, 40, 17, "m")
    writer.split(5)
    more.split(5)
    hosts = [beside.start(), deployment.start()]
    for _ in range(3):
        writer.write(40)
        more.write(40)
        more.split(3)
    wait_until(lambda: everything_seen(receiver, writer) and everything_seen(receiver, more), "both streams are read")
    owners = rows(own)
    assert len({owners[shard] for shard in more.open_shards()}) == 1
    beside.ini.write_text(deployment.ini.read_text())
    beside.script("more", HANDLER.replace('"s"', '"more"'))
    hosts[0].process.send_signal(signal.SIGHUP)
    wait_until(lambda: len({rows(own)[shard] for shard in more.open_shards()}) == 2, "the next one takes a part of it")
    deployment.ini.write_text(deployment.ini.read_text().split("[stream more]")[0])
    (deployment.directory / "scripts" / "more.lua").unlink()
    hosts[1].process.send_signal(signal.SIGHUP)
    wait_until(lambda: len({rows(own)[shard] for shard in more.open_shards()}) == 1, "and all of it, when the first one reads it no more")
    more.write(40)
    wait_until(lambda: everything_seen(receiver, more), "it goes on")
    hosts[0].kill()
    wait_until(lambda: any("of a host that is gone" in each["text"] for each in deployment.status()["troubles"]), "nobody is left who reads it, and status says so")
    assert hosts[1].stop() == 0
    check_order(receiver, writer, more)


def test_reloads_repeat_nothing(deployment, own, name, receiver):
    """Two handlers of a stream that is changed again before the last change is done."""
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    second = Receiver()
    deployment.script("second", HANDLER)
    text = deployment.ini.read_text() + f"\n[handler second]\nurl = {second.url}\n"
    deployment.ini.write_text(text)
    writer = Writer(own, table, 40, 18)
    writer.split(5)
    host = deployment.start()
    writer.write(20)
    wait_until(lambda: everything_seen(receiver, writer) and everything_seen(second, writer), "both handle")
    stop = threading.Event()

    def load():
        while not stop.is_set():
            writer.write(5, 0.01)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for number in range(60):
            (deployment.directory / "next.ini").write_text(text.replace("poll_max = 100ms", f"poll_max = {101 + number}ms"))
            os.rename(deployment.directory / "next.ini", deployment.ini)
            host.process.send_signal(signal.SIGHUP)
            time.sleep(0.1)  # the pace of an impatient operator
    finally:
        stop.set()
        thread.join()
    wait_until(lambda: everything_seen(receiver, writer) and everything_seen(second, writer), "every change was seen")
    assert host.stop() == 0
    check_order(receiver, writer, once=True)
    check_order(second, writer, once=True)
    second.close()


def test_a_row_that_is_deleted_is_made_anew(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 40, 20)
    writer.split(4)
    hosts = [deployment.start() for _ in range(2)]
    writer.write(40)
    wait_until(lambda: everything_seen(receiver, writer) and len(set(rows(own).values())) == 2, "both have shards")
    items = own.client.scan(TableName="State")["Items"]
    for item in items:
        if "/s/" in item["pk"]["S"] and item["sk"]["S"] in writer.open_shards():
            own.client.delete_item(TableName="State", Key={"pk": item["pk"], "sk": item["sk"]})
    writer.write(60)
    wait_until(lambda: everything_seen(receiver, writer), "what came in each shard is seen")
    wait_until(lambda: any("somebody has deleted it" in error for host in hosts for error in host.errors()), "it is told")
    writer.write(60)
    wait_until(lambda: everything_seen(receiver, writer) and set(rows(own)) >= set(writer.open_shards()), "and goes on, with its rows")
    assert [host.stop() for host in hosts] == [0, 0]
    check_order(receiver, writer)


def test_two_handlers_end_a_shard_each_at_its_time(deployment, own, name, receiver):
    """What follows on another host waits for both."""
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    slow = Receiver()
    deployment.script("blocked", HANDLER)
    deployment.ini.write_text(deployment.ini.read_text() + f"\n[handler blocked]\nurl = {slow.url}\nconcurrency = 16\n")
    writer = Writer(own, table, 40, 26)
    hosts = [deployment.start()]
    writer.write(20)
    wait_until(lambda: everything_seen(receiver, writer) and everything_seen(slow, writer), "both handle")
    slow.gate.clear()
    writer.write(20)
    writer.split(6)
    writer.write(40)
    wait_until(lambda: everything_seen(receiver, writer), "one of them has gone on")
    hosts.append(deployment.start())
    wait_until(lambda: len({rows(own)[shard] for shard in writer.open_shards()}) == 2, "what follows is on both")
    writer.write(40)
    slow.gate.set()
    wait_until(lambda: everything_seen(receiver, writer) and everything_seen(slow, writer), "the other one goes on, too")
    assert [host.stop() for host in hosts] == [0, 0]
    check_order(receiver, writer)
    check_order(slow, writer)
    slow.close()


def test_an_outage_of_the_state_is_survived(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 40, 19)
    writer.split(4)
    hosts = [deployment.start() for _ in range(2)]
    writer.write(40)
    wait_until(lambda: everything_seen(receiver, writer) and len(set(rows(own).values())) == 2, "both have shards")
    faults(own, Throttle=1.0, Operations=["UpdateItem"])
    for host in hosts:
        host.wait_for("lease was not renewed in time (")
    faults(own)
    for host in hosts:
        host.wait_for("this host has a lease again")
    writer.write(60)
    wait_until(lambda: everything_seen(receiver, writer), "what came meanwhile and later is seen")
    assert [host.stop() for host in hosts] == [0, 0]
    check_order(receiver, writer)


def test_one_host_looks_for_new_shards(deployment, own, name, receiver):
    """And the others have what it finds at once."""
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    counter = bench.Counter(own.port)
    text = deployment.ini.read_text()
    deployment.ini.write_text(text.replace(f"endpoint = {own.url}", f"endpoint_dynamodb = {own.url}\nendpoint_streams = {counter.url}"))
    writer = Writer(own, table, 40, 15)
    writer.split(4)
    hosts = [deployment.start() for _ in range(3)]
    wait_until(lambda: len(set(rows(own).values())) == 3, "all three have shards")
    writer.write(50)
    wait_until(lambda: everything_seen(receiver, writer), "they read")
    counter.take()
    begin = time.monotonic()
    wait_until(lambda: counter.calls.get("DescribeStream", 0) >= 12, "it is looked at again and again")
    passed = time.monotonic() - begin
    assert counter.calls["DescribeStream"] <= 1.7 * passed / 0.5 + 4, f"{counter.calls} in {passed} s: each looks for itself"
    for _ in range(4):
        writer.split(3)
        writer.write(40)
    wait_until(lambda: everything_seen(receiver, writer), "what is in new shards is seen")
    assert [host.stop() for host in hosts] == [0, 0, 0]
    check_order(receiver, writer, once=True)


@pytest.mark.skipif(PATIENCE_S > 120, reason="a sanitizer sees nothing there, and it costs the same")
def test_idle_shards_cost_what_the_hosts_cost():
    """Also below shards that ended before the handlers began: nobody waits for them."""
    _, (calls, idle), _, owners = bench.measure(2, 45, 20, 1)
    assert len(owners) == 111 and len({owner["session"] for owner in owners}) == 3
    formula = bench.computed(100)
    assert idle["write"] <= 1.5 * formula["write"] + 0.2 and idle["read"] <= 2 * formula["read"] + 0.2, (calls, idle)


def test_a_table_that_is_deleted_stops_the_host_with_a_sentence(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    before = deployment.run("status")
    assert before.returncode == 1 and "no table State, which the first host that runs makes" in before.stderr, before.stderr
    group(deployment, own, table, receiver, create_state="no")
    for refused in (deployment.run("status"), deployment.run("run")):
        assert refused.returncode != 0 and "create_state = no" in refused.stderr, refused.stderr
    group(deployment, own, table, receiver)
    host = deployment.start()
    wait_until(lambda: rows(own), "it has its shard")
    own.client.delete_table(TableName="State")
    assert host.process.wait(60) == 1
    assert "the state's table State is not there any more" in host.errors()[0]


def test_messages_say_of_which_epoch_they_are(deployment, own, name, receiver, emulators, nats):
    table, queue = create_table(own, name()), emulators.queue(name("q"))
    listener, topic = emulators.queue(name("l")), emulators.sns.create_topic(Name=name("t"))["TopicArn"]
    emulators.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=emulators.queue_arn(listener),
                            Attributes={"RawMessageDelivery": "true"})
    nats.stream()
    url = f"http://127.0.0.1:{emulators.port}"
    deployment.aws = f"endpoint_sqs = {url}\nendpoint_sns = {url}"
    group(deployment, own, table, receiver)
    deployment.ini.write_text(deployment.ini.read_text() + "\n".join((
        "", "[target q]", "type = sqs", f"queue = {queue}", "[target t]", "type = sns", f"topic = {topic}",
        "[target n]", "type = nats", f"url = {nats.url}", "subject = orders.all",
        *(f"[route {each}]\nstream = s\ntarget = {each}" for each in "qtn"), "")))
    host = deployment.start()
    own.client.put_item(TableName=table, Item={"id": {"S": "a"}, "version": {"N": "1"}})
    wait_until(lambda: receiver.seen and nats.messages(), "it was handled")
    assert host.stop() == 0
    epoch = str(receiver.seen[0][2])
    for place in (queue, listener):
        [message] = emulators.messages(place)
        assert message["MessageAttributes"]["Tidemill-Epoch"] == {"DataType": "Number", "StringValue": epoch}, message
    head = nats.ask("$JS.API.STREAM.MSG.GET.S", json.dumps({"seq": 1}))["message"]["hdrs"]
    assert f"Tidemill-Epoch: {epoch}\r\n" in base64.b64decode(head).decode()


def test_hosts_go_on_together_when_the_stream_is_made_anew(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 40, 5)
    writer.split(4)
    hosts = [deployment.start() for _ in range(2)]
    writer.write(100)
    wait_until(lambda: len(set(rows(own).values())) == 2, "both have shards")
    own.client.update_table(TableName=table, StreamSpecification=dict(StreamEnabled=False))
    own.client.update_table(TableName=table, StreamSpecification=dict(StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES"))
    writer.write(100)
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert not deployment.status()["troubles"]
    for host in hosts:
        assert host.stop() == 0
    hosts = [deployment.start() for _ in range(2)]
    writer.write(50)
    wait_until(lambda: everything_seen(receiver, writer), "and after a restart")
    assert not deployment.status()["troubles"]
    wait_until(lambda: sum(each["shards"] for each in deployment.status()["hosts"] if each["state"] == "runs") == 1, "one has the shard")
    for host in hosts:
        assert host.stop() == 0
    seen = receiver.by_item()
    assert {item: versions for item, versions in seen.items() if versions != list(range(1, writer.versions[item] + 1))} == {}


def test_nothing_is_read_before_it_is_known_where_a_handler_stands(deployment, own, name, receiver):
    """The row of a shard that a host has got is read while the stream is listed again and again."""
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    relay = Relay(own.port)
    deployment.ini.write_text(deployment.ini.read_text().replace(own.url, relay.url))
    writer = Writer(own, table, 10, 6)
    writer.write(30)
    host = deployment.start()
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert host.stop() == 0
    [before] = rows(own).values()
    held, listed = threading.Event(), []

    def hold(operation, body):
        if operation == "DescribeStream" and held.is_set():
            listed.append(operation)
        if operation == "Query" and b'"g/tidemill/f"' in body and not held.is_set() and set(rows(own).values()) != {before}:
            held.set()
            wait_until(lambda: len(listed) >= 3, "the stream was listed again")

    relay.before = hold
    host = deployment.start()
    wait_until(held.is_set, "the handler's row is read")
    writer.write(10)
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert host.stop() == 0
    check_order(receiver, writer, once=True)
    relay.shutdown()


def test_a_handler_that_begins_at_the_latest_misses_nothing_behind_it(deployment, own, name, receiver):
    table = create_table(own, name())
    writer = Writer(own, table, 30, 6)
    writer.write(200)
    writer.split(5)
    writer.write(50)
    group(deployment, own, table, receiver)
    text = deployment.ini.read_text()
    deployment.ini.write_text(text.replace("[handler watcher]", "start = latest\n[handler watcher]"))
    before = dict(writer.versions)
    hosts = [deployment.start() for _ in range(2)]
    wait_until(lambda: len(set(rows(own).values())) == 2, "both have shards")
    writer.split()
    writer.write(200, 0.005)
    wait_until(lambda: everything_seen(receiver, writer), "every later change was seen")
    for host in hosts:
        host.kill()
    writer.write(50)
    hosts = [deployment.start() for _ in range(2)]
    wait_until(lambda: everything_seen(receiver, writer), "and what came while nobody ran")
    for host in hosts:
        assert host.stop() == 0
    seen = receiver.by_item()
    for item, last in writer.versions.items():
        first = before.get(item, 0) + 1
        assert first > last or set(range(first, last + 1)) <= set(seen[item]), f"{item}: {first} to {last}: {seen.get(item)}"


MOVED = """
local once = require "tidemill.once"
local http = require "tidemill.http"
local config = require "tidemill.config"
return {
  stream = "s",
  retries = 1,
  backoff = "10ms..20ms",
  on_record = function(record)
    local image = record.new or record.old
    if image.id:match("^bad") then error(image.id .. " " .. string.rep("long ", 4000)) end
    once("all/" .. image.id .. "/" .. image.version, function()
      assert(http.post(config.url, { json = { id = image.id, version = image.version, epoch = 1 } }).status == 200)
    end)
  end,
}
"""

def letters_of(deployment):
    return {(each["keys"]["id"]["S"], each["marked"]) for each in json.loads(deployment.run("dead", "list", "--json").stdout or "[]")}


def test_a_state_is_copied_to_a_table_and_back(deployment, own, name, receiver):
    table = create_table(own, name())
    writer = Writer(own, table, 40, 12)
    writer.split(4)

    def place(state):
        group(deployment, own, table, receiver, state=state)
        deployment.script("watcher", MOVED)

    def write(count):
        writer.write(count)
        for _ in range(5):
            own.client.put_item(TableName=table, Item={"id": {"S": f"bad{len(bad)}"}, "version": {"N": "1"}})
            bad.append(f"bad{len(bad)}")

    bad = []
    place("sqlite:first.db")
    host = deployment.start()
    write(200)
    wait_until(lambda: everything_seen(receiver, writer) and len(letters_of(deployment)) == len(bad), "the host handles")
    refused = deployment.run("state", "copy", "sqlite:first.db", "dynamodb:State")
    assert refused.returncode == 1 and "in use by another tidemill" in refused.stderr, refused.stderr
    assert host.stop() == 0
    writer.split()
    write(100)
    assert deployment.run("dead", "redrive", "--no-wait", "--all").returncode == 0
    before = letters_of(deployment)
    assert {marked for _, marked in before} == {True}
    done = deployment.run("state", "copy", "sqlite:first.db", "dynamodb:State")
    assert done.returncode == 0, done.stderr
    assert "1 handler at" in done.stdout and f"{len(before)} dead letters" in done.stdout, done.stdout
    again = deployment.run("state", "copy", "sqlite:first.db", "dynamodb:State")
    assert again.returncode == 1 and "has a state in table State already" in again.stderr, again.stderr
    place("dynamodb:State")
    assert letters_of(deployment) == before
    hosts = [deployment.start()]
    wait_until(lambda: {marked for _, marked in letters_of(deployment)} == {False}, "it redrives what was to be")
    hosts.append(deployment.start())
    writer.split()
    write(100)
    wait_until(lambda: everything_seen(receiver, writer) and {item for item, _ in letters_of(deployment)} == set(bad), "the hosts go on")
    refused = deployment.run("state", "copy", "dynamodb:State", "sqlite:second.db")
    assert refused.returncode == 1 and "hosts are running on dynamodb:State" in refused.stderr, refused.stderr
    assert [host.stop() for host in hosts] == [0, 0]
    write(50)
    done = deployment.run("state", "copy", "dynamodb:State", "sqlite:second.db")
    assert done.returncode == 0, done.stderr
    assert not (deployment.directory / "second.db.copying").exists()
    again = deployment.run("state", "copy", "dynamodb:State", "sqlite:second.db")
    assert again.returncode == 1 and "there is a file already" in again.stderr, again.stderr
    place("sqlite:second.db")
    host = deployment.start()
    write(50)
    wait_until(lambda: everything_seen(receiver, writer) and {item for item, _ in letters_of(deployment)} == set(bad), "it goes on there")
    assert host.stop() == 0
    check_order(receiver, writer, once=True)


def faults(own, **faults):
    request = urllib.request.Request(own.url, json.dumps(faults).encode(), {"X-Amz-Target": "TidemillLocal.SetFaults",
                                     "Authorization": "x", "Content-Type": "application/x-amz-json-1.0"})
    assert urllib.request.urlopen(request).status == 200


def test_a_copy_that_was_interrupted_keeps_hosts_away_and_goes_on(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver, state="sqlite:first.db")
    deployment.script("watcher", MOVED)
    host = deployment.start()
    for number in range(200):
        own.client.put_item(TableName=table, Item={"id": {"S": f"bad{number}"}, "version": {"N": "1"}})
    wait_until(lambda: len(letters_of(deployment)) == 200, "all fail")
    assert host.stop() == 0
    faults(own, Throttle=0.2, DelayMs=200, Operations=["PutItem"])  # it has a while to do
    command = subprocess.Popen([BINARY, "state", "copy", "sqlite:first.db", "dynamodb:State"], cwd=deployment.directory,
                               env=deployment.environment)

    def kept():
        try:
            return sum(1 for item in own.client.scan(TableName="State")["Items"] if "/l/" in item["pk"]["S"])
        except own.client.exceptions.ResourceNotFoundException:
            return 0

    wait_until(lambda: kept() > 0 or command.poll() is not None, "something is there")
    command.kill()
    assert command.wait() == -signal.SIGKILL and 0 < kept() < 200
    faults(own)
    # Meanwhile one of them is dropped.
    one = json.loads(deployment.run("dead", "list", "--json").stdout)[0]
    assert deployment.run("dead", "drop", str(one["id"])).returncode == 0
    group(deployment, own, table, receiver)
    deployment.script("watcher", MOVED)
    for refused in (deployment.run("run"), deployment.run("status")):
        assert refused.returncode != 0 and "has half a copy of sqlite:first.db" in refused.stderr, refused.stderr
    other = deployment.run("state", "copy", "sqlite:other.db", "dynamodb:State")
    assert other.returncode == 1 and "other.db" in other.stderr, other.stderr
    done = deployment.run("state", "copy", "sqlite:first.db", "dynamodb:State")
    assert done.returncode == 0, done.stderr
    assert {item for item, _ in letters_of(deployment)} == {f"bad{number}" for number in range(200)} - {one["keys"]["id"]["S"]}
    hosts = [deployment.start() for _ in range(2)]
    own.client.put_item(TableName=table, Item={"id": {"S": "good"}, "version": {"N": "1"}})
    wait_until(lambda: receiver.by_item().get("good") == [1], "hosts go on")
    assert [host.stop() for host in hosts] == [0, 0]
    assert len(letters_of(deployment)) == 199


def test_a_renamed_handler_goes_on_where_the_old_one_stood_on_all_hosts(deployment, own, name, receiver):
    """While nobody ran, changes came and shards were split; what was done once is done; the old name is forgotten."""
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    once = HANDLER.replace("on_record = function(record)\n", "on_record = function(record)\n    require('tidemill.once')('first', function() require('tidemill.log').info('did it once') end)\n")
    deployment.script("watcher", once)
    writer = Writer(own, table, 60, 21)
    writer.split(4)
    hosts = [deployment.start() for _ in range(2)]
    writer.write(100)
    wait_until(lambda: everything_seen(receiver, writer), "the old one has all")
    assert [host.stop() for host in hosts] == [0, 0]
    done = sum("did it once" in line for host in hosts for line in host.messages())
    writer.write(40)
    writer.split(3)
    writer.write(60)
    (deployment.directory / "scripts" / "watcher.lua").unlink()
    deployment.script("keeper", once.replace('stream = "s",', 'stream = "s", formerly = "watcher",'))
    deployment.ini.write_text(deployment.ini.read_text().replace("[handler watcher]", "[handler keeper]"))
    hosts = [deployment.start() for _ in range(2)]
    wait_until(lambda: everything_seen(receiver, writer), "the new one has the rest")
    assert done == 1 and not any("did it once" in line for host in hosts for line in host.messages())
    forgotten = deployment.run("state", "forget", "watcher")
    assert forgotten.returncode == 0, forgotten.stderr
    assert [host.stop() for host in hosts] == [0, 0]
    writer.write(40)
    hosts = [deployment.start()]
    wait_until(lambda: everything_seen(receiver, writer), "it goes on without the old one")
    assert hosts[0].stop() == 0
    check_order(receiver, writer, once=True)
    assert {row["handler"] for row in deployment.status()["checkpoints"]} == {"keeper"}
