"""The main promise: every change reaches every handler, per item in order, whatever happens to the host."""
import random
import resource
import threading
import time

from conftest import wait_until

SEEN = """
local log = require "tidemill.log"
local dynamodb = require "tidemill.dynamodb"
local config = require "tidemill.config"
return {
  stream = "s",
  on_record = function(record)
    local image = record.new or record.old
    -- a call that waits, so that records of different items overlap
    dynamodb.get(config.side_table, { id = image.id })
    log.info("saw", { id = image.id, version = image.version, event = record.event, attempt = record.attempt })
  end,
}
"""


def put(dynamodb, table, item, version):
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": item}, "version": {"N": str(version)}})


def seen_by_item(hosts):
    items = {}
    for host in hosts:
        for fields in host.fields("saw"):
            items.setdefault(fields["id"], []).append(fields["version"])
    return items


def check_order(versions, last):
    """Repetitions may go back; nothing may be skipped on the way up."""
    highest = 0
    for version in versions:
        assert version <= highest + 1, f"version {version} came after {highest}: {versions}"
        highest = max(highest, version)
    assert highest == last, f"ended at {highest} of {last}"


def test_every_change_reaches_the_handler_in_order_though_the_host_is_killed(deployment, dynamodb, name, capsys):
    items, writes, kills = 300, 4000, 6
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    deployment.script("watcher", SEEN)
    deployment.stream(table, f"batch_size = 100\n[handler watcher]\nside_table = {side}")
    chance = random.Random(4711)
    versions = {}
    lock = threading.Lock()

    def write(mine):
        own = random.Random(mine)
        for _ in range(writes // 4):
            item = f"i{mine}-{own.randrange(items // 4)}"
            version = versions.get(item, 0) + 1
            put(dynamodb, table, item, version)
            with lock:
                versions[item] = version

    writers = [threading.Thread(target=write, args=(mine,)) for mine in range(4)]
    for writer in writers:
        writer.start()
    for _ in range(kills):
        host = deployment.start()
        host.wait_for("saw")
        time.sleep(chance.uniform(0.05, 0.8))  # a random instant is the point here
        host.kill()
    for writer in writers:
        writer.join()
    host = deployment.start()
    wait_until(lambda: sum(max(seen, default=0) == versions[item]
                           for item, seen in seen_by_item(deployment.hosts).items()) == len(versions),
               "the last version of every item was seen")
    assert host.stop() == 0
    seen = seen_by_item(deployment.hosts)
    for item, last in versions.items():
        check_order(seen[item], last)
    total = sum(len(each) for each in seen.values())
    with capsys.disabled():
        print(f"\n{writes} writes to {len(versions)} items, {kills} kills: {total - writes} repetitions")


def test_nothing_is_repeated_after_a_clean_stop(deployment, dynamodb, name):
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    deployment.script("watcher", SEEN)
    deployment.stream(table, f"batch_size = 50\n[handler watcher]\nside_table = {side}\nconcurrency = 8")
    for i in range(600):
        put(dynamodb, table, f"i{i % 40}", i // 40 + 1)
    for _ in range(4):
        host = deployment.start()
        host.wait_for("saw")
        assert host.stop() == 0
    deployment.start()
    wait_until(lambda: sum(len(each) for each in seen_by_item(deployment.hosts).values()) >= 600, "all was seen")
    seen = seen_by_item(deployment.hosts)
    assert all(versions == list(range(1, 16)) for versions in seen.values()), seen


def test_latest_skips_what_was_there_and_nothing_after(deployment, dynamodb, name):
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    put(dynamodb, table, "old", 1)
    deployment.script("watcher", SEEN)
    deployment.stream(table, f"start = latest\n[handler watcher]\nside_table = {side}", checkpoint_interval="1h")
    host = deployment.start()
    host.wait_for("begins at the latest record")
    put(dynamodb, table, "new", 1)
    host.wait_for("saw")
    assert not [fields for fields in host.fields("saw") if fields["id"] == "old"]
    host.kill()  # it had its first place alone, or that and the one behind "new": `latest` must not apply again
    put(dynamodb, table, "between", 1)
    host = deployment.start()
    wait_until(lambda: "between" in {fields["id"] for fields in host.fields("saw")}, "what came between was seen")


def test_a_stream_enabled_again_is_followed_after_the_old_one(deployment, dynamodb, name):
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    deployment.script("watcher", SEEN)
    deployment.stream(table, f"[handler watcher]\nside_table = {side}")
    for version in range(1, 4):
        put(dynamodb, table, "a", version)
    host = deployment.start()
    wait_until(lambda: len(host.fields("saw")) == 3, "the first stream was read")
    dynamodb.enable_stream(table, False)
    host.wait_for("waiting for it to be enabled again")
    put(dynamodb, table, "unseen", 1)
    dynamodb.enable_stream(table, True)
    for version in range(4, 7):
        put(dynamodb, table, "a", version)
    wait_until(lambda: len(host.fields("saw")) >= 6, "the second stream was read")
    assert [fields["version"] for fields in host.fields("saw")] == [1, 2, 3, 4, 5, 6]
    assert host.stop() == 0


def test_streams_enabled_while_the_host_was_down_are_read_one_after_the_other(deployment, dynamodb, name):
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    deployment.script("watcher", SEEN)
    deployment.stream(table, f"[handler watcher]\nside_table = {side}")
    put(dynamodb, table, "a", 1)
    host = deployment.start()
    host.wait_for("saw")
    assert host.stop() == 0
    for version in (2, 3, 4):
        put(dynamodb, table, "a", version)
        dynamodb.enable_stream(table, False)
        dynamodb.enable_stream(table, True)
    put(dynamodb, table, "a", 5)
    host = deployment.start()
    wait_until(lambda: len(host.fields("saw")) >= 4, "all streams were read")
    assert [fields["version"] for fields in host.fields("saw")] == [2, 3, 4, 5]
    assert host.stop() == 0


def test_a_missing_table_and_a_missing_stream_are_waited_for(deployment, dynamodb, name):
    table, side = name(), dynamodb.table(name(), stream=False)
    deployment.script("watcher", SEEN)
    deployment.stream(table, f"[handler watcher]\nside_table = {side}")
    host = deployment.start()
    host.wait_for("cannot look at table")
    dynamodb.table(table, stream=False)
    host.wait_for("has no stream")
    dynamodb.enable_stream(table, True)
    put(dynamodb, table, "a", 1)
    host.wait_for("saw")
    assert host.stop() == 0


def test_handlers_are_independent(deployment, dynamodb, name):
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    deployment.script("watcher", SEEN)
    deployment.script("broken", 'return { stream = "s", retries = -1, on_record = function() error("broken") end }')
    deployment.stream(table, f"[handler watcher]\nside_table = {side}")
    host = deployment.start()
    for i in range(50):
        put(dynamodb, table, f"i{i}", 1)
    wait_until(lambda: len(host.fields("saw")) == 50, "the sound handler saw everything")
    wait_until(lambda: [row["position"] for row in deployment.status()["checkpoints"] if row["handler"] == "watcher"] ==
               ["after"], "the sound handler has a checkpoint")
    assert {row["position"] for row in deployment.status()["checkpoints"] if row["handler"] == "broken"} <= \
        {"trim_horizon"}
    assert host.stop() == 0


def test_a_second_host_on_the_same_state_is_refused(deployment, dynamodb, name):
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    deployment.script("watcher", SEEN)
    deployment.stream(table, f"[handler watcher]\nside_table = {side}")
    host = deployment.start()
    host.wait_for("reading")
    second = deployment.run("run")
    assert second.returncode == 1
    assert f"in use by another tidemill (process {host.process.pid})" in second.stderr
    host.kill()
    third = deployment.start()
    third.wait_for("reading")
    assert third.stop() == 0


def test_idle_shards_are_polled_rarely_and_calls_are_counted(deployment, dynamodb, name):
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    deployment.script("watcher", SEEN)
    deployment.configure(f"[stream s]\ntable = {table}\npoll_min = 10ms\npoll_max = 1h\n"
                         f"[handler watcher]\nside_table = {side}")
    host = deployment.start()
    status = wait_until(lambda: (deployment.status() or {}).get("shards"), "the calls were counted")
    # 10 ms doubling: after n calls 10 * 2^n ms have passed; far fewer than at a constant pace
    assert 1 <= status[0]["get_records_calls"] < 20
    assert host.stop() == 0


def test_a_full_disk_loses_nothing(deployment, dynamodb, name):
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    deployment.script("watcher", SEEN)
    deployment.stream(table, f"[handler watcher]\nside_table = {side}", log_level="info")
    host = deployment.start()
    host.wait_for("begins at the oldest record")
    state = deployment.directory / "state.db-wal"
    full = max(state.stat().st_size, host.log_path.stat().st_size + 20000)
    resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    version = 0

    def refused():
        nonlocal version
        version += 1
        put(dynamodb, table, "a", version)
        return any("nothing is lost, trying again" in message for message in host.messages())
    wait_until(refused, "the state file can grow no further")
    before = deployment.status()["checkpoints"][0]["sequence"] if deployment.status()["checkpoints"] else ""
    resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    host.wait_for("can be written again")
    wait_until(lambda: len(host.fields("saw")) == version, "every change was seen")
    assert host.stop() == 0
    check_order([fields["version"] for fields in host.fields("saw")], version)
    assert deployment.status()["checkpoints"][0]["sequence"] > before
