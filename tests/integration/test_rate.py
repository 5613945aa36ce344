"""rate: at most so many calls or messages a second."""
import time

from conftest import wait_until
from services import Http
from test_many_hosts import Receiver, Writer, check_order, create_table, everything_seen, group, own, receiver, rows  # noqa: F401 (fixtures)
from test_pause import HANDLER


def test_a_rate_holds_calls_back_and_nothing_is_lost(beside_local, local, name, receiver):
    """Over two reactors; the handler beside it does not notice."""
    deployment, table = beside_local, create_table(local, name())
    sink = Http()
    for handler in ("slow", "quick"):
        deployment.script(handler, HANDLER % handler)
    deployment.stream(table, f"[handler slow]\nurl = {receiver.url}\nrate = 20/s\n[handler quick]\nurl = {sink.url}\n", threads=2,
                      checkpoint_interval="50ms")
    writer = Writer(local, table, 30, 3)
    writer.split(3)
    host = deployment.start()
    begun = time.monotonic()
    writer.write(60)
    wait_until(lambda: len(sink.seen) == 60, "the one without a rate has all")
    wait_until(lambda: len(receiver.seen) == 60, "so has the one with it, in the end")
    assert time.monotonic() - begun >= (60 - 1 - 20 / 10) / 20
    assert not deployment.status()["troubles"]
    assert host.stop() == 0


def test_a_targets_rate_counts_messages(beside_local, local, name):
    deployment, table, sink = beside_local, create_table(local, name()), Http()
    deployment.stream(table, f"[target t]\ntype = http\nurl = {sink.url}\nrate = 20/s\nbatch_count = 4\nlinger = 50ms\n"
                             "[route all]\nstream = s\ntarget = t\n", threads=2, checkpoint_interval="50ms")
    host = deployment.start()
    begun = time.monotonic()
    Writer(local, table, 50, 3).write(50)
    wait_until(lambda: deployment.status() and deployment.settled(), "all is delivered")
    assert time.monotonic() - begun >= (50 - 4 - 20 / 10) / 20
    assert host.stop() == 0


def test_check_looks_at_rates(deployment):
    deployment.script("one", HANDLER % "one")
    deployment.stream("T", "[handler one]\nurl = x\nrate = fast\n[target f]\ntype = file\npath = out\nrate = 5/s\n"
                           "[target h]\ntype = http\nurl = http://localhost:1/\nrate = 0/s\n", threads=1)
    done = deployment.run("check", "-c", deployment.ini)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert '"fast" is not a rate' in said and '"0/s" is not a rate' in said and "rate: a target of files" in said


def test_hosts_share_a_rate(deployment, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    deployment.ini.write_text(deployment.ini.read_text() + "\nrate = 20/s\n")
    writer = Writer(own, table, 60, 9)
    writer.split(4)
    hosts = [deployment.start() for _ in range(2)]
    wait_until(lambda: len(set(rows(own).values())) == 2, "both have shards")
    begun = time.monotonic()
    writer.write(80)
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert time.monotonic() - begun >= 80 / 20 / 2  # each keeps to its part; while that moves they are not exact
    for host in hosts:
        assert host.stop() == 0
    check_order(receiver, writer, once=True)
