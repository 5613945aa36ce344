"""make bench: what tidemill costs, each figure beside its floor or its peer, as one table; kept as bench.json beside the binary.

ROUNDS=n (3): medians of so many; SECTIONS=name,name (all): record path growth calls waiting routes again idle local; AGAINST=FILE: an earlier bench.json to stand
beside. Figures of two runs differ by the machine's mood; ratios are of one run."""
import gzip
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import cost
from common import BINARY, ENVIRONMENT, HANDLER, HERE, RECORDS_PER_PAGE, TOOLS, Deployment, Host, Server, cpu_ns, measured, output, progress
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
    loop, call, resume, coroutine = medians("bare Lua", lambda: map(float, output(*measured(), TOOLS / "bench_lua").split()))
    table.begin("a record, one reactor", "ns of the processor")
    ns = {name: cost_of(name)[0] for name in ("filtered", "empty", "stock", "wide", "whole", "widewhole", "compute")}
    for name in ns:
        if name != "compute":
            table.add(CASES[name]["what"], ns[name])
    table.add("a loop of 1,000 turns, alone", ns["compute"] - ns["empty"], loop, "bare Lua", "<= 1.15")
    entered, suspended = medians("entering and suspending", lambda: map(float, output(*measured(), TOOLS / "bench_calls").split()))
    table.add("entering a handler with a record, and leaving it", entered, coroutine, "bare Lua enters one with an object, on a coroutine", "<= 2.5")
    table.add("the same, and settling its record", ns["empty"] - ns["filtered"], call, "bare Lua enters a function")
    table.add("suspending and resuming, without network", suspended, resume, "bare Lua yields and resumes", "<= 2.5")
    matches = medians("patterns", lambda: [float(output(*measured(), TOOLS / "bench_filter"))])[0]
    table.add("matching a pattern", 1e9 / matches)


def by_the_clock(name, shards, pages):
    """Records a second of a case, with so many pages in each shard."""
    case = dict(CASES[name], shards=shards, pages=pages)
    return medians(case["what"], lambda: [shards * pages * RECORDS_PER_PAGE / measure(BINARY, case)[1]])[0]


def path(table):
    total = PAGES * RECORDS_PER_PAGE

    def one():
        with Server(1, PAGES) as server:
            floor = float(output(*measured(), TOOLS / "bench_floor", server.port, 20, 10))
        with Server(1, PAGES) as server, Host(server, total) as host:
            begun = server.first()
            rate = total / (host.done() - begun)
            return rate, floor, host.memory("VmHWM"), rate / floor

    rate, floor, peak, share = medians("the whole path", one)
    skipping = [by_the_clock("filtered", shards, pages) for shards, pages in ((1, 400), (8, 100))]
    progress("boto3")
    with Server(1, PAGES) as server:
        boto3 = float(output(*measured(), sys.executable, HERE / "consumer.py", server.url, 10))
    table.begin("the whole path, over the network, by the clock", "records a second")
    table.add("the stock handler", rate, floor, "cJSON in an arena, parsing only", ">= 1.1", share)
    table.add("a filter that leaves all out", skipping[0], floor, "likewise", ">= 3")
    table.add("the same, 8 busy shards", skipping[1], floor, "likewise")
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
    for shards, pages in ((1, 240), (2, 120), (8, 60), (100, 20), (1000, 6)):
        ns, _, peak = cost_of(f"{shards} shards", case("", STOCK, shards=shards, pages=pages))
        first = first or ns
        table.add(f"{shards:,} busy shards ({peak:.0f} MiB at most)", ns, first, "one shard", "<= 1.1")
    for handlers, pages in ((1, 60), (10, 10), (50, 4)):
        ns = cost_of(f"{handlers} handlers", case("", STOCK, handlers=handlers, pages=pages))[0]
        table.add(f"{handlers} handlers, each", ns / handlers)
    table.begin("growth, by the clock", "records a second")

    for handlers, pages in ((1, 60), (10, 15), (50, 5)):
        def one():
            rates = [pages * 2 * RECORDS_PER_PAGE / measure(BINARY, dict(case("", STOCK, shards=2, pages=pages, handlers=handlers), threads=threads))[1] for threads in (1, 2)]
            return *rates, rates[1] / rates[0]

        alone, both, ratio = medians("two reactors", one)
        beside = "one reactor, both shards" if handlers == 50 else "likewise; the server needs much of these processors itself"
        table.add(f"two reactors, a busy shard each, {handlers} handler{'s' * (handlers > 1)}", both, alone, beside, ">= 1.8" if handlers == 50 else "", ratio)


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
        ns = cost_of(what, dict(case("", handlers=0, pages=PAGES), **more))[0]
        table.add(what, 1e9 / ns, asked, "asked" if asked else "", ">= 1" if asked else "")
    for kind in ("events", "s3"):
        progress("boto3")
        with Server(1, 10) as server:
            table.add(f"boto3, to {kind}, by the clock", float(output(sys.executable, HERE / "consumer.py", server.url, 5, kind)))


def spent(command, **more):
    """Seconds of the processor that a command needs."""
    def now():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = now()
    subprocess.run([str(part) for part in command], check=True, capture_output=True, **more)
    return now() - before


ARCHIVE = "[target t]\ntype = file\npath = out\nlinger = 1s\n[route r]\nstream = s\ntarget = t\n"
AGAIN = "[target z]\ntype = s3\nbucket = lake\nlinger = 500ms\ncompression = zstd\n[route lake]\nstream = s\ntarget = z\n"
NOTHING = '{"dynamodb": {"NewImage": {"stock": {"N": ["-1"]}}}}'


def lines(directory):
    return sum(gzip.decompress(path.read_bytes()).count(b"\n") for path in directory.rglob("*.gz"))


def replays(server):
    """Events a second and core: a pattern that leaves all out, the stock handler, a route into the lake; out of what a route has written."""
    total = PAGES * RECORDS_PER_PAGE
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        ini, log = root / "tidemill.ini", root / "log"
        top = f"[host]\nthreads = 1\nlisten = off\nlog_format = json\nstate = sqlite:state.db\n[aws]\nregion = eu-west-1\nendpoint = {server.url}\n[stream s]\narn = {cost.ARN}\n"
        (root / "scripts").mkdir()
        ini.write_text(top + ARCHIVE)
        host = subprocess.Popen([BINARY, "run", "-c", ini], stderr=open(log, "w"), env=ENVIRONMENT)
        try:
            limit = time.time() + 60
            while "read to its end" not in log.read_text() or lines(root / "out") < total:
                assert host.poll() is None and time.time() < limit, log.read_text()
                time.sleep(0.5)
        finally:
            host.terminate()
            host.wait()
        (root / "scripts" / "h.lua").write_text(cost.handler(STOCK).replace("TOTAL", str(total)))
        ini.write_text(top + AGAIN)
        replay = [BINARY, "replay", "-c", ini, "--from", root / "out"]
        return [total / spent([*measured(), *replay, *more], env=ENVIRONMENT)
                for more in (["--handler", "h", "--pattern", NOTHING], ["--handler", "h", "--restart"], ["--handler", "lake"])]


BACKFILLED = """
local count = 0
return { stream = "s", concurrency = 64, on_insert = function(record)
  if record.new.n and record.snapshot then count = count + 1 end
  if count == TOTAL then require("tidemill.log").info("done") end
end }
"""


def backfilled(url, items):
    """Items a second and core of a host whose handler has every item of a table first."""
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        (root / "scripts").mkdir()
        (root / "scripts" / "h.lua").write_text(BACKFILLED.replace("TOTAL", str(items)))
        (root / "tidemill.ini").write_text("[host]\nthreads = 1\nlisten = off\nlog_format = json\nstate = sqlite:state.db\n"
                                           f"[aws]\nregion = eu-west-1\nendpoint = {url}\n[stream s]\ntable = Bench\nsnapshot = yes\nsnapshot_segments = 1\n")
        log = root / "log"
        host = subprocess.Popen([*measured(), BINARY, "run", "-c", root / "tidemill.ini"], stderr=open(log, "w"), env=ENVIRONMENT)
        try:
            limit = time.time() + 60
            while '"message":"done"' not in log.read_text():
                assert host.poll() is None and time.time() < limit, log.read_text()
                time.sleep(0.01)
            return items / (cpu_ns(host) / 1e9)
        finally:
            host.kill()
            host.wait()


def again(table):
    import local as embedded
    with Server(1, PAGES) as server:
        nothing, stock, lake = medians("replay", lambda: replays(server))
    process, port, _ = embedded.start_local()
    try:
        embedded.create(port)
        embedded.fill(port, embedded.SCAN_ITEMS)
        embedded.stream(port)  # only now: an item whose change is in the stream would come from there
        backfill = medians("backfill", lambda: [backfilled(f"http://127.0.0.1:{port}", embedded.SCAN_ITEMS)])[0]
    finally:
        embedded.stop(process)
    table.begin("what is read again", "records a second and core")
    table.add("replay, a pattern that leaves all out", nothing, 300000, "asked", ">= 1")
    table.add("replay, the stock handler", stock)
    table.add("replay to S3, lines, zstd", lake, 100000, "asked", ">= 1")
    table.add(f"a snapshot of {embedded.SCAN_ITEMS:,} items, one attribute looked at", backfill, 100000, "asked", ">= 1")


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


SECTIONS = dict(record=record, path=path, growth=growth, calls=calls, waiting=waiting, routes=routes, again=again, idle=idle, local=local)


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
