"""make bench: what tidemill costs, each figure beside its floor or its peer, as one table; kept as bench.json beside the binary.

ROUNDS=n (3): medians of so many; SECTIONS=name,name (all): record path growth calls waiting routes idle local; AGAINST=FILE: an earlier bench.json to stand
beside. Figures of two runs differ by the machine's mood; ratios are of one run."""
import os
import statistics
import subprocess
import sys
import time

import cost
from common import BINARY, HANDLER, HERE, RECORDS_PER_PAGE, TOOLS, Deployment, Host, Server, cpu_ns, progress
from cost import CASES, STOCK, case, measure
from table import Table

ROUNDS = int(os.environ.get("ROUNDS", "3"))
PAGES = 200

# They cannot keep up: one has only just been added and has all to read, the other waits with each record.
NEWCOMER = HANDLER.replace("total)", "nothing or 0)").replace("concurrency = 64, ", "")
STUCK = """
local time = require "tidemill.time"
return { stream = "s", concurrency = 4, timeout = "1h", on_record = function() time.sleep(3000) end }
"""
LEAD_PAGES = 40  # that h has read already


def output(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def medians(what, one):
    """Medians, number by number, of what `one` returns each time."""
    found = []
    for round in range(ROUNDS):
        progress(f"{what}, round {round + 1} of {ROUNDS}")
        found.append(one())
    return [statistics.median(numbers) for numbers in zip(*found)]


def cost_of(name, one=None):
    return medians(name, lambda: measure(BINARY, one or CASES[name]))


# ---- sections ----

def record(table):
    loop, call, resume = medians("bare Lua", lambda: map(float, output(TOOLS / "bench_lua").split()))
    table.begin("a record, one reactor", "ns of the processor")
    ns = {name: cost_of(name)[0] for name in ("filtered", "empty", "stock", "wide", "whole", "widewhole", "compute")}
    for name in ns:
        if name != "compute":
            table.add(CASES[name]["what"], ns[name])
    table.add("a loop of 1,000 turns, alone", ns["compute"] - ns["empty"], loop, "bare Lua", "<= 1.15")
    table.add("entering a handler and settling its record", ns["empty"] - ns["filtered"], call, "bare Lua enters a function", "<= 2.5")
    suspended = medians("suspending", lambda: [float(output(TOOLS / "bench_suspend"))])[0]
    table.add("suspending and resuming, without network", suspended, resume, "bare Lua yields and resumes", "<= 2.5")
    matches = medians("patterns", lambda: [float(output(TOOLS / "bench_filter"))])[0]
    table.add("matching a pattern", 1e9 / matches)


def path(table):
    total = PAGES * RECORDS_PER_PAGE

    def one():
        with Server(1, PAGES) as server:
            floor = float(output(TOOLS / "bench_floor", server.port, 20, 10))
        with Server(1, PAGES) as server, Host(server, total) as host:
            begun = server.first()
            rate = total / (host.done() - begun)
            return rate, floor, host.memory("VmHWM"), rate / floor

    rate, floor, peak, share = medians("the whole path", one)
    skipping = measure(BINARY, dict(CASES["filtered"], pages=PAGES))
    progress("boto3")
    with Server(1, PAGES) as server:
        boto3 = float(output(sys.executable, HERE / "consumer.py", server.url, 10))
    table.begin("the whole path, over the network, by the clock", "records a second")
    table.add("the stock handler", rate, floor, "cJSON in an arena, parsing only", ">= 1.1", share)
    table.add("a filter that leaves all out", total / skipping[1], floor, "likewise", ">= 3")
    table.add("the stock handler, again", rate, boto3, "boto3 with TypeDeserializer", ">= 20")
    newcomer, stuck = laggards()
    table.add("beside a handler that catches up", newcomer * rate, rate, "alone", ">= 0.9", newcomer)
    table.add("beside a handler that is stuck", stuck * rate, rate, "alone", ">= 0.9", stuck)
    table.begin("memory under load", "MiB")
    table.add("at its height", peak)


def rate_beside(**others):
    """h begins LEAD_PAGES into the shard; records/s until its end, with the others at the shard's beginning."""
    total = (PAGES - LEAD_PAGES) * RECORDS_PER_PAGE
    with Deployment() as deployment:
        with Server(1, 1) as server, Host(server, RECORDS_PER_PAGE, deployment) as host:
            host.done()
        subprocess.run([BINARY, "seek", "-c", deployment.root / "tidemill.ini", "h",
                        str(100000000000 + LEAD_PAGES * RECORDS_PER_PAGE - 1), "--shard", "shardId-00000000-00000000"],
                       check=True, capture_output=True)
        for name, text in others.items():
            (deployment.root / "scripts" / f"{name}.lua").write_text(text)
        with Server(1, PAGES) as server, Host(server, total, deployment) as host:
            begun = server.first()
            return total / (host.done() - begun)


def laggards():
    """Medians of the shares that are left of the rate alone, each measured beside it."""
    def one():
        alone = rate_beside()
        return rate_beside(newcomer=NEWCOMER) / alone, rate_beside(stuck=STUCK) / alone

    return medians("laggards", one)


def growth(table):
    table.begin("growth, one reactor", "ns of the processor a record")
    first = None
    for shards, pages in ((1, 120), (2, 60), (8, 20), (100, 4), (1000, 2)):
        ns, _, peak = cost_of(f"{shards} shards", case("", STOCK, shards=shards, pages=pages))
        first = first or ns
        table.add(f"{shards:,} busy shards ({peak:.0f} MiB at most)", ns, first, "one shard", "<= 1.1")
    for handlers, pages in ((1, 60), (10, 10), (50, 4)):
        ns = cost_of(f"{handlers} handlers", case("", STOCK, handlers=handlers, pages=pages))[0]
        table.add(f"{handlers} handlers, each", ns / handlers)
    table.begin("growth, by the clock", "records a second")

    def one():
        rates = [60 * 2 * RECORDS_PER_PAGE / measure(BINARY, dict(case("", STOCK, shards=2, pages=60), threads=threads))[1] for threads in (1, 2)]
        return *rates, rates[1] / rates[0]

    alone, both, ratio = medians("two reactors", one)
    table.add("two reactors, a busy shard each", both, alone, "one reactor, both shards", ">= 1.8", ratio)


def calls(table):
    empty = cost_of("empty")[0]
    table.begin("a call", "ns of the processor, all but the record's own")
    for name in ("put", "puttls", "get", "update", "transact", "http"):
        table.add(CASES[name]["what"], cost_of(name)[0] - empty)


def waiting(table):
    progress("latency")
    median, most = cost.latency(BINARY)
    table.begin("from a write on the embedded store to its handler, 50 writes a second", "ms")
    table.add("median", median)
    table.add("99 of 100", most, 105, "poll_min and 5 ms", "<= 1")


def routes(table):
    file = "[target t]\ntype = file\npath = out\n[route r]\nstream = s\ntarget = t\n"
    s3 = "[target t]\ntype = s3\nbucket = lake\nlinger = 500ms\ncompression = {}\n[route r]\nstream = s\ntarget = t\n"
    kinds = [
        ("one that leaves all out", dict(ini=file + 'pattern = {"dynamodb": {"NewImage": {"stock": {"N": ["-1"]}}}}\n'), 300000),
        ("to EventBridge", dict(ini="[target t]\ntype = eventbridge\n[route r]\nstream = s\ntarget = t\n", delivers=True), None),
        ("to S3, lines, zstd", dict(ini=s3.format("zstd"), delivers=True), 100000),
        ("to S3, lines, gzip", dict(ini=s3.format("gzip"), delivers=True), None),
        ("to a file", dict(ini=file), None),
    ]
    table.begin("routes", "records a second and core")
    for what, more, asked in kinds:
        ns = cost_of(what, dict(case("", handlers=0), **more))[0]
        table.add(what, 1e9 / ns, asked, "asked" if asked else "", ">= 1" if asked else "")
    for kind in ("events", "s3"):
        progress("boto3")
        with Server(1, 10) as server:
            table.add(f"boto3, to {kind}, by the clock", float(output(sys.executable, HERE / "consumer.py", server.url, 5, kind)))


MANY = "return { stream = 's', on_record = function() end }\n"


def at_rest(shards, handlers=1):
    """Memory, seconds from exec to the first GetRecords, and how long `status` takes."""
    progress(f"{shards} idle shards, {handlers} handlers")
    with Server(shards, 0) as server, Deployment(**{f"more{n}": MANY for n in range(handlers - 1)}) as deployment:
        with Host(server, 1, deployment) as host:
            start = server.first() - host.started
            while server.calls() < shards * 3:
                time.sleep(0.05)
            begun = time.time()
            subprocess.run([BINARY, "status", "-c", deployment.root / "tidemill.ini"], check=True, capture_output=True)
            status, cpu = time.time() - begun, cpu_ns(host.process)
            time.sleep(2)
            return host.memory("VmRSS"), start, status, (cpu_ns(host.process) - cpu) / 2e9


def idle(table):
    table.begin("at rest", "")
    table.add("exec to first GetRecords, ms", 1000 * min(at_rest(1)[1] for _ in range(5)), 50, "asked", "<= 1")
    for shards, handlers, most in ((1, 1, 24), (200, 1, 48), (1000, 1, 64), (1000, 50, None)):
        memory, start, status, share = at_rest(shards, handlers)
        what = f"{shards:,} shards, {handlers} handler{'s' * (handlers > 1)}"
        table.add(f"{what}: MiB", memory, most, "asked" if most else "", "<= 1" if most else "")
        if shards == 1000:
            table.add(f"{what}: exec to first GetRecords, ms", 1000 * start, 2000, "asked", "<= 1")
            table.add(f"{what}: status, ms", 1000 * status, 200, "asked", "<= 1")
            table.add(f"{what}: share of a core", share)


def local(table):
    import local as embedded
    embedded.main(table)


SECTIONS = dict(record=record, path=path, growth=growth, calls=calls, waiting=waiting, routes=routes, idle=idle, local=local)


def main():
    table = Table()
    for name in os.environ["SECTIONS"].split(",") if os.environ.get("SECTIONS") else SECTIONS:
        SECTIONS[name](table)
    table.clear()
    path = BINARY.parent / "bench.json"
    table.keep(path)
    print(f"\nkept in {path}")


if __name__ == "__main__":
    main()
