"""make bench-local: the embedded DynamoDB against AWS's DynamoDB Local, the same client in the same run: in memory, and on disk with what each keeps
there; a scan against SQLite's own reading of the same rows. SCAN_ITEMS=n (200000)."""
import http.client
import json
import os
import pathlib
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

from common import BINARY, TOOLS, cpu_ns, measured, memory, processors, progress
from table import Table

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from conftest import DynamoDBLocal  # noqa: E402

CALLS, THREADS, ROUNDS = 20000, 4, 3
SCAN_ITEMS = int(os.environ.get("SCAN_ITEMS", "200000"))
BATCH = 25
TABLE = {"TableName": "Bench", "BillingMode": "PAY_PER_REQUEST",
         "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
         "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in "ps"]}


class OnDisk(DynamoDBLocal):
    def start(self):
        self.directory = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            ["java", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar", "-dbPath", self.directory.name, "-sharedDb",
             "-disableTelemetry", "-port", str(self.port)],
            cwd=self.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Caller:
    """One connection, kept."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def call(self, operation, request):
        self.connection.request("POST", "/", json.dumps(request), {
            "X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0", "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"})
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def create(port):
    status, body = Caller(port).call("CreateTable", TABLE)
    assert status == 200, body


def stream(port):
    status, body = Caller(port).call("UpdateTable", {"TableName": "Bench", "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}})
    assert status == 200, body


def start_local(*options, before=()):
    """Returns the process, its port, and seconds from exec to the first answered request; `before`: of its command line."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    begun = time.monotonic()
    process = subprocess.Popen([*before, BINARY, "local", "--port", str(port), *options], stdout=subprocess.DEVNULL)
    while True:
        try:
            if Caller(port).call("ListTables", {})[0] == 200:
                return process, port, time.monotonic() - begun
        except ConnectionError:
            time.sleep(0.0005)


def stop(process):
    process.terminate()
    process.wait()


def rate(port, kind, calls=CALLS, threads=THREADS):
    done = subprocess.run([TOOLS / "bench_client", str(port), kind, str(calls), str(threads)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def best(mine, peer, kind, calls=CALLS, threads=THREADS):
    ours = theirs = 0
    for round in range(ROUNDS):
        progress(f"{kind}, round {round + 1} of {ROUNDS}")
        ours, theirs = max(ours, rate(mine, kind, calls, threads)), max(theirs, rate(peer, kind, calls, threads))
    return ours, theirs


def in_memory(table):
    starts = []
    for _ in range(5):
        process, _, seconds = start_local()
        starts.append(seconds)
        empty = memory(process, "VmRSS")
        stop(process)
    process, port, _ = start_local()
    peer = DynamoDBLocal()
    try:
        create(port)
        create(peer.port)
        table.begin("the embedded store", "calls a second")
        for kind in ("put", "get", "update", "query"):
            ours, theirs = best(port, peer.port, kind)
            table.add(f"{kind}, in memory", ours, theirs, "DynamoDB Local", ">= 3")
    finally:
        stop(process)
        peer.stop()
    return min(starts), empty


def on_disk(table):
    with tempfile.TemporaryDirectory() as directory:
        process, port, _ = start_local("--data", directory)
        peer = OnDisk()
        try:
            create(port)
            create(peer.port)
            for threads in (4, 32):
                ours, theirs = best(port, peer.port, "put", 8000, threads)
                table.add(f"put, on disk, {threads} at once", ours, theirs, "DynamoDB Local with -dbPath", ">= 10")
        finally:
            stop(process)
            peer.stop()


def fill(port, items):
    caller = Caller(port)
    for at in range(0, items, BATCH):
        if at % 5000 == 0:
            progress(f"{at} of {items} items")
        puts = [{"PutRequest": {"Item": {"p": {"S": f"p{number // 100}"}, "s": {"S": f"s{number:08}"}, "n": {"N": str(number)},
                                         "name": {"S": "Ball bearing 6204-2RS"}, "price": {"N": "12.95"},
                                         "tags": {"L": [{"S": "steel"}, {"S": "sealed"}]}}}} for number in range(at, at + BATCH)]
        status, body = caller.call("BatchWriteItem", {"RequestItems": {"Bench": puts}})
        assert status == 200 and json.loads(body)["UnprocessedItems"] == {}, body


def pages(caller, operation, request):
    """Items, and pages."""
    count = pages = 0
    while True:
        status, body = caller.call(operation, request)
        assert status == 200, body
        answer = json.loads(body)
        count, pages = count + answer["Count"], pages + 1
        if "LastEvaluatedKey" not in answer:
            return count, pages
        request = dict(request, ExclusiveStartKey=answer["LastEvaluatedKey"])


def sqlite_reads(directory):
    """SQLite's own reading of all items in their order, ns of the processor each: columns fetched, nothing done with them."""
    path = next(path for path in pathlib.Path(directory).iterdir() if path.read_bytes()[:6] == b"SQLite" and path.stat().st_size > 1 << 20)
    database = sqlite3.connect(path)
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors()[0])
    begun, count = time.process_time(), 0
    rows = database.execute("SELECT * FROM items ORDER BY tbl, hash, range")
    while some := rows.fetchmany(1000):
        count += len(some)
    spent = time.process_time() - begun
    os.sched_setaffinity(0, everywhere)
    database.close()
    return 1e9 * spent / count


def scans(table):
    with tempfile.TemporaryDirectory() as directory:
        process, port, _ = start_local("--data", directory, before=measured())
        try:
            create(port)
            fill(port, SCAN_ITEMS)
            caller = Caller(port)
            progress("scanning")
            before = cpu_ns(process)
            count, _ = pages(caller, "Scan", {"TableName": "Bench"})
            scanned = (cpu_ns(process) - before) / count
            before, found = cpu_ns(process), 0
            for part in range(0, SCAN_ITEMS // 100, 10):
                found += pages(caller, "Query", {"TableName": "Bench", "KeyConditionExpression": "p = :p", "ExpressionAttributeValues": {":p": {"S": f"p{part}"}}})[0]
            queried = (cpu_ns(process) - before) / found
            assert count == SCAN_ITEMS and found == 100 * len(range(0, SCAN_ITEMS // 100, 10))
        finally:
            stop(process)
        floor = sqlite_reads(directory)
    table.begin(f"the embedded store, {SCAN_ITEMS:,} items", "ns of the processor an item")
    table.add("a scan, answered", scanned, floor, "SQLite's own reading, by Python", "<= 2")
    table.add("queries of 100, answered", queried, floor, "likewise", "<= 2")


def main(table=None):
    own = table is None
    table = table or Table()
    start, empty = in_memory(table)
    on_disk(table)
    scans(table)
    table.begin("the embedded store, idle", "ms, MiB")
    table.add("exec to first answer, ms", 1000 * start, 20, "asked", "<= 1")
    table.add("memory, empty, MiB", empty, 24, "asked", "<= 1")
    if own:
        table.keep(BINARY.parent / "bench-local.json")


if __name__ == "__main__":
    main()
