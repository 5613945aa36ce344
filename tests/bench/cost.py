"""make bench-cost: what a record and a call cost of the processor, by the scheduler's count of the host's threads.

BEFORE=BINARY measures another tidemill in the same run, turn by turn: medians of the ratios of such pairs. ROUNDS=n (5),
CASES=name,name (all). What was measured is kept as JSON in COST_JSON (cost.json beside the binary)."""
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import boto3

from common import BINARY, ENVIRONMENT, HERE, RECORDS_PER_PAGE, Server, beside, cpu_ns, measured, memory, progress, time_of

ARN = "arn:aws:dynamodb:eu-west-1:1:table/Products/stream/2026-01-01T00:00:00.000"  # of what bench_server plays
BEFORE = os.environ.get("BEFORE") and pathlib.Path(os.environ["BEFORE"]).resolve()
ROUNDS = int(os.environ.get("ROUNDS", "5"))

STOCK = """
  local old, new = record.old, record.new
  if new.stock < new.reorderThreshold and old.stock >= old.reorderThreshold then below = below + 1 end
"""


def handler(body, top="", settings="concurrency = 64, "):
    return (f"local below, count = 0, 0\n{top}\nreturn {{ stream = 's', {settings}on_record = function(record)\n{body}\n"
            "count = count + 1 if count == TOTAL then require('tidemill.log').info('done') end\nend }\n")


def case(what, body="", shards=1, pages=60, attributes=9, handlers=1, **more):
    return dict(what=what, script=handler(body, **more), shards=shards, pages=pages, attributes=attributes, handlers=handlers)


CASES = {
    "stock": case("the stock handler: 4 of 2 x 9 attributes", STOCK),
    "shards2": case("the same, 2 busy shards", STOCK, shards=2, pages=30),
    "shards8": case("the same, 8 busy shards", STOCK, shards=8, pages=10),
    "empty": case("a handler that does nothing"),
    "filtered": case("a filter that leaves all out", settings="filter = { eventName = { 'REMOVE' } }, "),
    "wide": case("2 of 2 x 50 attributes", "if record.new.stock == record.old.stock then below = below + 1 end", attributes=50, pages=20),
    "whole": case("all of 2 x 9 attributes", "for _ in pairs(record.new) do below = below + 1 end for _ in pairs(record.old) do below = below + 1 end", pages=30),
    "widewhole": case("all of 2 x 50 attributes", "for _ in pairs(record.new) do below = below + 1 end for _ in pairs(record.old) do below = below + 1 end", attributes=50, pages=20),
    "compute": case("a loop of 1,000 turns", "for i = 1, 1000 do below = below + i end"),
    "handlers10": case("10 stock handlers", STOCK, pages=10, handlers=10),
    "handlers50": case("50 stock handlers", STOCK, pages=4, handlers=50),
    "put": case("one PutItem", "dynamodb.put('T', { id = record.sequence, n = 1 })", top="local dynamodb = require 'tidemill.dynamodb'", pages=4),
    "puttls": dict(case("one PutItem, over TLS", "dynamodb.put('T', { id = record.sequence, n = 1 })", top="local dynamodb = require 'tidemill.dynamodb'", pages=12), tls=True),
    "get": case("one GetItem", "dynamodb.get('T', { id = record.sequence })", top="local dynamodb = require 'tidemill.dynamodb'", pages=4),
    "update": case("one UpdateItem", "dynamodb.update('T', { id = record.sequence }, 'ADD n :one', { values = { [':one'] = 1 } })",
                   top="local dynamodb = require 'tidemill.dynamodb'", pages=4),
    "transact": case("one TransactWriteItems of two", "dynamodb.transact { { put = { 'T', { id = record.sequence } } }, { put = { 'T', { id = 'b' .. record.sequence } } } }",
                     top="local dynamodb = require 'tidemill.dynamodb'", pages=4),
    "http": case("one HTTP POST", "http.post(URL, { json = { id = record.sequence } })", top="local http = require 'tidemill.http'", pages=4),
}


@contextlib.contextmanager
def answerer(case, directory):
    """With `tls` DynamoDB itself, not its streams, is a server of its own; what the INI says of it."""
    if not case.get("tls"):
        yield ""
        return
    process = subprocess.Popen([*beside(), sys.executable, HERE / "answerer.py", directory], stdout=subprocess.PIPE, text=True)
    try:
        yield f"endpoint_dynamodb = https://localhost:{process.stdout.readline().strip()}\nca_bundle = {directory}/certificate.pem\n"
    finally:
        process.kill()
        process.wait()


def measure(binary, case):
    """Processor time a record in ns, seconds, and the memory at its height in MiB, from the first GetRecords until all is done: read to its end,
    handled, or (with `delivers`) accepted by the target."""
    total = case["shards"] * case["pages"] * RECORDS_PER_PAGE
    done, times = ("read to its end", case["shards"]) if "filter" in case["script"] or not case["handlers"] or case.get("threads", 1) > 1 else ('"message":"done"', case["handlers"])
    with tempfile.TemporaryDirectory() as directory, Server(case["shards"], case["pages"], case["attributes"], anywhere="threads" in case) as server, answerer(case, directory) as more:
        root = pathlib.Path(directory)
        where = f"arn = {ARN}" if more else "table = Products"
        (root / "scripts").mkdir()
        for number in range(case["handlers"]):
            (root / "scripts" / f"h{number}.lua").write_text(case["script"].replace("URL", f"'{server.url}/x'").replace("TOTAL", str(total)))
        (root / "tidemill.ini").write_text(
            f"[host]\nthreads = {case.get('threads', 1)}\nlisten = off\nlog_format = json\nshutdown_timeout = 1s\nstate = sqlite:state.db\n"
            f"[aws]\nregion = eu-west-1\nendpoint = {server.url}\n{more}[stream s]\n{where}\n{case.get('ini', '')}")
        log = root / "log"
        host = subprocess.Popen([*([] if "threads" in case else measured()), binary, "run", "-c", root / "tidemill.ini"], stderr=open(log, "w"),
                                env=ENVIRONMENT)
        try:
            began = server.first()
            before = cpu_ns(host)
            limit = time.time() + 120
            while server.ask()[1] < total if case.get("delivers") else log.read_text().count(done) < times:
                assert host.poll() is None and time.time() < limit, log.read_text()[-3000:]
                time.sleep(0.005)
            return (cpu_ns(host) - before) / total, time.time() - began, memory(host, "VmHWM")
        finally:
            host.kill()
            host.wait()


def run(binary, case):
    """Processor time a record, in ns."""
    return measure(binary, case)[0]


WRITES, WRITES_PER_SECOND = 1000, 50
LATENCY = """
local log = require "tidemill.log"
return { stream = "s", on_insert = function(record) log.info("handled", { id = record.keys.id }) end }
"""


def latency(binary):
    """From a write on the embedded DynamoDB until a handler has it, in ms: median, and what 99 of 100 are below."""
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        (root / "scripts").mkdir()
        (root / "scripts" / "h.lua").write_text(LATENCY)
        local = subprocess.Popen([binary, "local", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        url = "http://127.0.0.1:" + local.stdout.readline().split("http://127.0.0.1:")[1].split(",")[0]
        client = boto3.client("dynamodb", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
        client.create_table(TableName="Bench", BillingMode="PAY_PER_REQUEST", KeySchema=[dict(AttributeName="id", KeyType="HASH")],
                            AttributeDefinitions=[dict(AttributeName="id", AttributeType="S")],
                            StreamSpecification=dict(StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES"))
        (root / "tidemill.ini").write_text(f"[host]\nlisten = off\nlog_format = json\n[aws]\nregion = eu-west-1\nendpoint = {url}\n[stream s]\ntable = Bench\n")
        log = root / "log"
        host = subprocess.Popen([binary, "run", "-c", root / "tidemill.ini"], stderr=open(log, "w"),
                                env=ENVIRONMENT)
        try:
            while "reading arn" not in log.read_text():
                assert host.poll() is None, log.read_text()
                time.sleep(0.01)
            written, begun = {}, time.time()
            for number in range(WRITES):
                time.sleep(max(0, begun + number / WRITES_PER_SECOND - time.time()))
                client.put_item(TableName="Bench", Item={"id": {"S": str(number)}})
                written[str(number)] = time.time()
            while log.read_text().count('"message":"handled"') < WRITES:
                assert host.poll() is None, log.read_text()
                time.sleep(0.05)
            lines = [json.loads(line) for line in log.read_text().splitlines() if '"message":"handled"' in line]
            waited = sorted(1000 * (time_of(line["time"]) - written[line["fields"]["id"]]) for line in lines)
            return statistics.median(waited), waited[len(waited) * 99 // 100]
        finally:
            for process in (host, local):
                process.kill()
                process.wait()


def main():
    names = os.environ.get("CASES", "").split(",") if os.environ.get("CASES") else list(CASES)
    found = {}
    print(f"{'ns of the processor a record':<44} {'now':>10}" + (f" {'before':>10} {'ratio':>7}" if BEFORE else ""))
    for name in names:
        if name == "latency":
            continue
        now, before = [], []
        for round in range(ROUNDS):
            progress(f"{name}, round {round + 1} of {ROUNDS}")
            if BEFORE:
                before.append(run(BEFORE, CASES[name]))
            now.append(run(BINARY, CASES[name]))
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        found[name] = dict(what=CASES[name]["what"], ns=statistics.median(now), rounds=now)
        line = f"{CASES[name]['what']:<44} {statistics.median(now):>10,.0f}"
        if BEFORE:
            ratio = statistics.median(a / b for a, b in zip(now, before))
            found[name].update(before_ns=statistics.median(before), before_rounds=before, ratio=ratio)
            line += f" {statistics.median(before):>10,.0f} {ratio:>7.2f}"
        print(line, flush=True)
    if not os.environ.get("CASES") or "latency" in names:
        median, most = latency(BINARY)
        found["latency"] = dict(median_ms=median, p99_ms=most)
        print(f"{'a write on the embedded store to its handler':<44} {median:>7.0f} ms, 99 of 100 within {most:.0f} ms (poll_min is 100 ms)")
    path = pathlib.Path(os.environ.get("COST_JSON", BINARY.parent / "cost.json"))
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
