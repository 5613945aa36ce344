"""tidemill pause and resume: a handler that is fed nothing, and keeps its place."""
import json

from conftest import wait_until
from test_many_hosts import Receiver, Writer, check_order, create_table, everything_seen, group, own, receiver, rows  # noqa: F401 (fixtures)
from services import Http
from test_metrics import get, port_of, series
from test_trials import put

HANDLER = """
local http, config = require "tidemill.http", require "tidemill.config"
return { stream = "s", on_record = function(record)
  assert(http.post(config.url, { json = { id = "%s", version = record.new.version or 0, epoch = 1 } }).status == 200)
end }"""


def seen(receiver, who):
    return receiver.by_item().get(who, [])


def write(local, table, version):
    local.client.put_item(TableName=table, Item={"id": {"S": "i"}, "version": {"N": str(version)}})


def paused_row(deployment, handler):
    return next((row for row in deployment.status()["checkpoints"] if row["handler"] == handler and row["paused"]), None)


def test_a_paused_handler_keeps_its_place_and_others_do_not_notice(beside_local, local, name, receiver):
    deployment, table = beside_local, local.table(name())
    for handler in ("one", "two"):
        deployment.script(handler, HANDLER % handler)
    deployment.stream(table, f"[handler one]\nurl = {receiver.url}\n[handler two]\nurl = {receiver.url}\n", threads=2,
                      listen="127.0.0.1:0", checkpoint_interval="50ms")
    host = deployment.start()
    port = port_of(host)
    write(local, table, 1)
    wait_until(lambda: seen(receiver, "one") == [1] and seen(receiver, "two") == [1], "both have the first")
    done = deployment.run("pause", "one", "--reason", "the CRM is down")
    assert done.returncode == 0 and "handler one is paused" in done.stdout and "within a second" in done.stdout, done.stderr
    host.wait_for("handler one has stopped")
    write(local, table, 2)
    wait_until(lambda: seen(receiver, "two") == [1, 2], "the other goes on")
    wait_until(lambda: paused_row(deployment, "one"), "status shows it")
    status = deployment.status()
    assert status["ready"] and [each["handler"] for each in status["paused"]] == ["one"]
    assert status["paused"][0]["reason"] == "the CRM is down" and not status["troubles"]
    text = deployment.run("status").stdout
    assert "  paused\n" in text and "handler one is paused since" in text and "the CRM is down" in text
    assert deployment.run("status", "--check").stdout == "well\n"
    wait_until(lambda: series(get(port, "/metrics")[2]).get('tidemill_paused_seconds{handler="one"}', -1) >= 0, "a metric says so")
    done = deployment.run("pause", "one")
    assert done.returncode == 0 and "is paused since" in done.stdout
    # a restart, another version of the script and a SIGHUP change nothing
    deployment.script("one", HANDLER % "one" + "\n-- another version")
    assert host.stop() == 0
    host = deployment.start()
    host.wait_for("handler one is paused: the CRM is down")
    write(local, table, 3)
    wait_until(lambda: seen(receiver, "two") == [1, 2, 3], "the other goes on")
    assert seen(receiver, "one") == [1]
    done = deployment.run("resume", "one")
    assert done.returncode == 0 and "goes on where it stands" in done.stdout
    wait_until(lambda: seen(receiver, "one") == [1, 2, 3], "it has all that was written meanwhile, in order")
    assert not deployment.status()["paused"]
    assert deployment.run("resume", "one").stdout == "handler one is not paused\n"
    assert host.stop() == 0
    assert seen(receiver, "one") == [1, 2, 3] and seen(receiver, "two") == [1, 2, 3]


def test_without_a_host_a_pause_counts_from_the_next_start(beside_local, local, name, receiver):
    deployment, table, sink = beside_local, local.table(name()), Http()
    deployment.script("one", HANDLER % "one")
    deployment.stream(table, f"[handler one]\nurl = {receiver.url}\n[target t]\ntype = http\nurl = {sink.url}\n"
                             "[route all]\nstream = s\ntarget = t\n", threads=1, checkpoint_interval="50ms")
    host = deployment.start()
    write(local, table, 1)
    wait_until(lambda: seen(receiver, "one") == [1] and len(sink.seen) == 1, "the first is handled")
    assert host.stop() == 0
    assert "when a host runs" in deployment.run("pause", "one").stdout
    assert "when a host runs" in deployment.run("pause", "all").stdout
    done = deployment.run("pause", "onw")
    assert done.returncode == 1 and "there is no handler onw" in done.stderr and "is it one?" in done.stderr
    assert deployment.run("pause").returncode == 2
    host = deployment.start()
    host.wait_for("handler all is paused")
    wait_until(lambda: deployment.status()["ready"], "it is ready, though nothing runs")
    write(local, table, 2)
    deployment.run("resume", "one")
    wait_until(lambda: seen(receiver, "one") == [1, 2], "it goes on")
    assert len(sink.seen) == 1
    deployment.run("resume", "all")
    wait_until(lambda: len(sink.seen) == 2, "the route goes on")
    assert host.stop() == 0


def test_letters_of_a_paused_handler_wait_for_it(beside_local, local, name, receiver):
    deployment, table = beside_local, local.table(name())
    deployment.script("one", 'return { stream = "s", retries = 0, on_record = function() error("no") end }')
    deployment.stream(table, f"[handler one]\nurl = {receiver.url}\n", threads=1, checkpoint_interval="50ms")
    host = deployment.start()
    host.wait_for("reading ")
    put(local.client, table, "bad")
    wait_until(lambda: deployment.status()["dead_letters"].get("one") == 1, "it has a letter")
    deployment.run("pause", "one")
    host.wait_for("handler one has stopped")
    deployment.script("one", HANDLER % "one")
    letter = json.loads(deployment.run("dead", "list", "--json").stdout)
    assert letter
    assert host.stop() == 0
    host = deployment.start()
    host.wait_for("handler one is paused")
    deployment.run("resume", "one")
    done = deployment.run("dead", "redrive", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: seen(receiver, "one") == [0], "it is handled")
    assert host.stop() == 0


def test_hosts_that_share_a_state_pause_together(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    writer = Writer(own, table, 40, 7)
    writer.split(4)
    hosts = [deployment.start() for _ in range(2)]
    writer.write(50)
    wait_until(lambda: len(set(rows(own).values())) == 2 and everything_seen(receiver, writer), "both have shards")
    assert "within a third of its lease" in deployment.run("pause", "watcher").stdout
    for host in hosts:
        host.wait_for("handler watcher has stopped")
    before = len(receiver.seen)
    writer.write(50)
    third = deployment.start()
    third.wait_for("handler watcher is paused")
    wait_until(lambda: paused_row(deployment, "watcher"), "status shows it")
    assert len(receiver.seen) == before
    deployment.run("resume", "watcher")
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    for host in hosts + [third]:
        assert host.stop() == 0
    check_order(receiver, writer, once=True)
