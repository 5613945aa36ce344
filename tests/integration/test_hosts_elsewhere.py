"""Hosts that share a group's shards, on other tables than the embedded one's, beside another group, with a wrong clock, in a deploy."""
import glob
import http.client
import http.server
import json
import re
import threading
import time

import pytest
from conftest import PATIENCE_S, wait_until
from test_many_hosts import (  # noqa: F401 (fixtures)
    HANDLER, Writer, beside, check_order, create_table, everything_seen, group, live_through, own, receiver, rows)


class AlternatorLike:
    """In front of the embedded DynamoDB: refuses what ScyllaDB Alternator has not, and names streams and records as it does."""

    def __init__(self, port):
        self.refused = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                target = self.headers["X-Amz-Target"]
                operation = target.split(".")[1]
                if operation in ("TransactWriteItems", "TransactGetItems", "DescribeContinuousBackups", "ExecuteStatement"):
                    outer.refused.append(operation)
                    self.answer(400, json.dumps({"__type": "com.amazonaws.dynamodb.v20120810#UnknownOperationException",
                                                 "message": f"Unsupported operation {operation}"}).encode())
                    return
                body = re.sub(rb"table/alternator_(\w+)@\1_scylla_cdc_log/stream/", rb"table/\1/stream/", body)
                if not getattr(self, "behind", None):
                    self.behind = http.client.HTTPConnection("127.0.0.1", port)
                self.behind.request("POST", "/", body, {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0",
                                                        "Authorization": self.headers["Authorization"]})
                answer = self.behind.getresponse()
                text = answer.read()
                if operation == "GetRecords" and answer.status == 200:
                    page = json.loads(text)
                    for record in page["Records"]:
                        record["eventSource"], record["awsRegion"], record["eventVersion"] = "scylladb:alternator", "datacenter1", "1.1"
                        record["dynamodb"].pop("SizeBytes")
                        record["dynamodb"]["ApproximateCreationDateTime"] //= 1
                    text = json.dumps(page).encode()
                self.answer(answer.status, re.sub(rb"table/(\w+)/stream/", rb"table/alternator_\1@\1_scylla_cdc_log/stream/", text))

            def answer(self, status, text):
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256

            def handle_error(self, request, address):
                pass  # a host that ends resets what it has open

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def test_nothing_is_lost_beside_alternator(deployment, own, name, receiver):
    table = create_table(own, name())
    alternator = AlternatorLike(own.port)
    group(deployment, own, table, receiver)
    deployment.ini.write_text(deployment.ini.read_text().replace(own.url, alternator.url))
    writer = Writer(own, table, 80, 21)
    writer.split(6)
    writer.split(7)
    live_through(deployment, receiver, [writer], rounds=3)
    assert not alternator.refused, alternator.refused
    assert any("scylla_cdc_log" in each["stream_arn"] for each in json.loads(deployment.run("status", "--json").stdout)["owners"])
    alternator.close()


def test_nothing_is_lost_on_dynamodb_local(deployment, dynamodb, name, receiver):
    """Which has few shards a stream: hosts share those of four tables."""
    tables, state = [create_table(dynamodb, name()) for _ in range(4)], name("State")
    group(deployment, dynamodb, tables[0], receiver, state=f"dynamodb:{state}")
    lines = deployment.ini.read_text().split("[handler watcher]")[0]
    for number, table in enumerate(tables[1:], 1):
        lines += f"[stream s{number}]\ntable = {table}\npoll_min = 20ms\npoll_max = 100ms\ndiscovery = 500ms\n"
        deployment.script(f"watcher{number}", HANDLER.replace('"s"', f'"s{number}"'))
    for each in ("watcher", "watcher1", "watcher2", "watcher3"):
        lines += f"[handler {each}]\nurl = {receiver.url}\nconcurrency = 16\n"
    deployment.ini.write_text(lines)
    writers = [Writer(dynamodb, table, 20, 22 + number, "abcd"[number]) for number, table in enumerate(tables)]
    live_through(deployment, receiver, writers, splits=False, rounds=3)
    assert len(rows(dynamodb, state)) >= 4


def test_two_groups_in_a_table_do_not_meet(deployment, beside, own, name, receiver):
    table = create_table(own, name())
    group(deployment, own, table, receiver, group="one")
    group(beside, own, table, receiver, group="two", name="other")
    deployment.script("watcher", HANDLER.replace("image.id", '"one-" .. image.id'))
    beside.script("watcher", HANDLER.replace("image.id", '"two-" .. image.id'))
    writer = Writer(own, table, 40, 23)
    writer.split(5)
    hosts = [each.start() for each in (deployment, beside, deployment, beside)]

    def seen():
        items = receiver.by_item()
        return all(items.get(f"{kind}-{item}", [0])[-1] == version for kind in ("one", "two") for item, version in writer.versions.items())

    writer.write(100)
    wait_until(seen, "both have seen everything")
    for each, kind in ((deployment, "tidemill"), (beside, "other")):
        shown = json.loads(each.run("status", "--json").stdout)
        assert len(shown["hosts"]) == 2, shown["hosts"]
        if kind == "other":
            assert {host["name"] for host in shown["hosts"]} == {"other"}
    hosts[1].kill()
    hosts[0].kill()
    writer.split(3)
    writer.write(100)
    wait_until(seen, "those that are left have, too")
    assert hosts[2].stop() == 0
    shown = json.loads(beside.run("status", "--json").stdout)
    assert shown["running"] and not json.loads(deployment.run("status", "--json").stdout)["running"]
    assert {each["handler"] for each in shown["checkpoints"]} == {"watcher"}
    assert hosts[3].stop() == 0
    for kind in ("one", "two"):
        for item, last in writer.versions.items():
            assert set(receiver.by_item()[f"{kind}-{item}"]) == set(range(1, last + 1))


@pytest.mark.skipif(PATIENCE_S > 120, reason="libfaketime and sanitizers do not go together")
def test_a_wrong_clock_changes_nothing(deployment, beside, own, name, receiver):
    [library] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    table = create_table(own, name())
    group(deployment, own, table, receiver)
    group(beside, own, table, receiver, name="hours-off")
    beside.environment.update(LD_PRELOAD=library, FAKETIME="+3h", FAKETIME_DONT_FAKE_MONOTONIC="1")
    writer = Writer(own, table, 60, 24)
    writer.split(6)
    hosts = [deployment.start(), deployment.start(), beside.start()]
    wait_until(lambda: len(set(rows(own).values())) == 3, "all three have shards")
    shown = json.loads(deployment.run("status", "--json").stdout)
    since = {each["name"]: each["since_ms"] / 1000 for each in shown["hosts"]}
    assert since["hours-off"] > time.time() + 2 * 3600, "its clock is wrong"
    for _ in range(3):
        writer.write(100, 0.002)
        writer.split(2)
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert hosts[2].stop() == 0
    writer.write(100, 0.002)
    hosts[2] = beside.start()
    wait_until(lambda: len(set(rows(own).values())) == 3, "it has shards again")
    writer.write(100, 0.002)
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert not any(each["state"] == "dead" for each in json.loads(deployment.run("status", "--json").stdout)["hosts"])
    assert [host.stop() for host in hosts] == [0, 0, 0]
    check_order(receiver, writer, once=True)


def test_a_deploy_of_half_of_the_hosts_works(deployment, beside, own, name, receiver):
    """Each record meets one of the two scripts, once; status says so until all have the same."""
    table = create_table(own, name())
    for each in (deployment, beside):
        group(each, own, table, receiver)
    beside.script("watcher", HANDLER + "-- the next version\n")
    writer = Writer(own, table, 60, 25)
    writer.split(8)
    hosts = [deployment.start() for _ in range(4)]
    writer.write(100)
    wait_until(lambda: len(set(rows(own).values())) == 4, "all have shards")
    differs = "not the same scripts or INI"
    assert differs not in deployment.run("status").stdout
    stop = threading.Event()

    def load():
        while not stop.is_set():
            writer.write(10, 0.005)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for at in range(4):
            assert hosts[at].stop() == 0
            hosts[at] = beside.start()
            wait_until(lambda: len(set(rows(own).values())) == 4, "the new one has shards, too")
            if at < 3:
                assert differs in deployment.run("status").stdout
        wait_until(lambda: differs not in beside.run("status").stdout, "all have the same")
    finally:
        stop.set()
        thread.join()
    wait_until(lambda: everything_seen(receiver, writer), "every change was seen")
    assert [host.stop() for host in hosts] == [0] * 4
    check_order(receiver, writer, once=True)
