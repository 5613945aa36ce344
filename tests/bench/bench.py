"""make bench: throughput against the floor and against boto3, memory, start-up."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BINARY = pathlib.Path(os.environ["TIDEMILL"]).resolve()
TOOLS = pathlib.Path(os.environ["TIDEMILL_TESTS"]).resolve()
HERE = pathlib.Path(__file__).resolve().parent
PAGES, RECORDS_PER_PAGE, ROUNDS, LAGGARD_ROUNDS, ROUTE_PAGES = 200, 1000, 3, 7, 100

HANDLER = """
local log = require "tidemill.log"
local below, count, total = 0, 0, tonumber(require("tidemill.config").total)
return {
  stream = "s", concurrency = 64, filter = { eventName = { "MODIFY" } },
  on_modify = function(record)
    local old, new = record.old, record.new
    if new.stock < new.reorderThreshold and old.stock >= old.reorderThreshold then
      below = below + 1
    end
    count = count + 1
    if count == total then log.info("done", { below = below }) end
  end,
}
"""


# They cannot keep up: one has only just been added and has all to read, the other waits with each record.
NEWCOMER = HANDLER.replace("total)", "nothing or 0)").replace("concurrency = 64, ", "")
STUCK = """
local time = require "tidemill.time"
return { stream = "s", concurrency = 4, timeout = "1h", on_record = function() time.sleep(3000) end }
"""
LEAD_PAGES = 40  # that h has read already


class Server:
    def __init__(self, *numbers):
        """Shards, pages, and attributes of an image where they are not 9."""
        self.process = subprocess.Popen([TOOLS / "bench_server", *map(str, numbers)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        self.page_bytes = int(self.process.stdout.readline().split()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def first(self):
        return int(self.process.stdout.readline().split()[1]) / 1e6

    def calls(self):
        return self.ask()[0]

    def ask(self):
        """GetRecords calls, and messages delivered."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        while True:
            words = self.process.stdout.readline().split()
            if words[0] == "calls":
                return int(words[1]), int(words[2])
            self.begun = int(words[1]) / 1e6

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


class Deployment:
    """A directory with the handler h, which logs when it has seen `total` records, and others beside it."""

    def __init__(self, **others):
        self.more = ""  # in place of h's section
        self.directory = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.directory.name)
        (self.root / "scripts").mkdir()
        for name, text in dict(others, h=HANDLER).items():
            (self.root / "scripts" / f"{name}.lua").write_text(text)

    def configure(self, server, total):
        (self.root / "tidemill.ini").write_text(
            f"[host]\nthreads = 1\nlog_format = json\nshutdown_timeout = 1s\nstate = sqlite:state.db\n"
            f"[aws]\nregion = eu-west-1\nendpoint = {server.url}\n"
            f"[stream s]\ntable = Products\n"
            + (self.more or f"[handler h]\ntotal = {total}\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.directory.cleanup()


class Host:
    def __init__(self, server, total=1, deployment=None):
        self.deployment = deployment or Deployment()
        self.owned = deployment is None
        self.deployment.configure(server, total)
        root = self.deployment.root
        environment = dict(os.environ, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
        self.log = root / "log"
        self.started = time.time()
        self.process = subprocess.Popen([BINARY, "run", "-c", root / "tidemill.ini"], env=environment,
                                        stderr=open(self.log, "w"))

    def memory(self, name):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith(name):
                return int(line.split()[1]) / 1024

    def done(self):
        """The wall clock when the handler had seen everything."""
        while True:
            for line in self.log.read_text().splitlines():
                if '"message":"done"' in line:
                    stamp = json.loads(line)["time"]
                    return time_of(stamp)
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.005)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        if self.owned:
            self.deployment.directory.cleanup()


def time_of(stamp):
    import datetime
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text} ...", end="", file=sys.stderr, flush=True)


def output(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def throughput():
    total = PAGES * RECORDS_PER_PAGE
    best_host = best_floor = peak = 0
    for round in range(ROUNDS):
        progress(f"throughput, round {round + 1} of {ROUNDS}")
        with Server(1, PAGES) as server:
            best_floor = max(best_floor, float(output(TOOLS / "bench_floor", server.port, 20, 10)))
        with Server(1, PAGES) as server, Host(server, total) as host:
            begun = server.first()
            best_host = max(best_host, total / (host.done() - begun))
            peak = max(peak, host.memory("VmHWM"))
            page_bytes = server.page_bytes
    progress("boto3")
    with Server(1, PAGES) as server:
        boto3 = float(output(sys.executable, HERE / "consumer.py", server.url, 10))
    return best_host, best_floor, boto3, peak, page_bytes


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
    newcomer, stuck = [], []
    for round in range(LAGGARD_ROUNDS):
        progress(f"laggards, round {round + 1} of {LAGGARD_ROUNDS}")
        alone = rate_beside()
        newcomer.append(rate_beside(newcomer=NEWCOMER) / alone)
        stuck.append(rate_beside(stuck=STUCK) / alone)
    return statistics.median(newcomer), statistics.median(stuck)


ROUTES = {
    "events": "[target t]\ntype = eventbridge\n",
    "s3": "[target t]\ntype = s3\nbucket = lake\nlinger = 500ms\n",
}


def route_rate(kind):
    """Records/s from the first GetRecords until all of them are delivered, and of a boto3 consumer that does the same."""
    total = ROUTE_PAGES * RECORDS_PER_PAGE
    best = 0
    for round in range(ROUNDS):
        progress(f"route to {kind}, round {round + 1} of {ROUNDS}")
        with Server(1, ROUTE_PAGES) as server, Deployment() as deployment:
            (deployment.root / "scripts" / "h.lua").unlink()
            deployment.more = f"{ROUTES[kind]}[route r]\nstream = s\ntarget = t\n"
            with Host(server, 1, deployment):
                while server.ask()[1] < total:
                    time.sleep(0.005)
                best = max(best, total / (time.time() - server.begun))
    progress("boto3")
    with Server(1, 10) as server:
        boto3 = float(output(sys.executable, HERE / "consumer.py", server.url, 5, kind))
    return best, boto3


def idle(shards):
    progress(f"memory with {shards} idle shards")
    with Server(shards, 0) as server, Host(server) as host:
        start = server.first() - host.started
        while server.calls() < shards * 10:
            time.sleep(0.05)
        return host.memory("VmRSS"), start


def start_up():
    return min(idle(1)[1] for _ in range(5))


def main():
    host, floor, boto3, peak, page_bytes = throughput()
    newcomer, stuck = laggards()
    routes = {kind: route_rate(kind) for kind in ROUTES}
    one, _ = idle(1)
    many, _ = idle(200)
    start = start_up()
    progress("")
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    rows = [
        ("pages of 1,000 records", f"{page_bytes / RECORDS_PER_PAGE:.0f} bytes a record", ""),
        ("whole path, one reactor", f"{host:,.0f} records/s", ""),
        ("floor: cJSON with an arena", f"{floor:,.0f} records/s", ""),
        ("share of the floor", f"{host / floor:.2f}", "at least 0.4"),
        ("boto3 with TypeDeserializer", f"{boto3:,.0f} records/s", ""),
        ("times boto3", f"{host / boto3:.0f}", "at least 20"),
        ("beside one that catches up", f"{newcomer:.2f} of alone", "at least 0.9"),
        ("beside one that is stuck", f"{stuck:.2f} of alone", "at least 0.9"),
        ("route to EventBridge", f"{routes['events'][0]:,.0f} records/s", ""),
        ("times boto3", f"{routes['events'][0] / routes['events'][1]:.0f}", ""),
        ("route to S3, gzip", f"{routes['s3'][0]:,.0f} records/s", ""),
        ("times boto3", f"{routes['s3'][0] / routes['s3'][1]:.0f}", ""),
        ("peak memory under load", f"{peak:.1f} MiB", ""),
        ("memory, 1 idle shard", f"{one:.1f} MiB", "at most 24"),
        ("memory, 200 idle shards", f"{many:.1f} MiB", "at most 48"),
        ("event pattern", f"{max(float(output(TOOLS / 'bench_filter')) for _ in range(ROUNDS)):,.0f} matches/s",
         "at least 5,000,000"),
        ("a suspended call, no network", f"{min(float(output(TOOLS / 'bench_suspend')) for _ in range(ROUNDS)):,.0f} ns",
         ""),
        ("exec to first GetRecords", f"{start * 1000:.0f} ms", "at most 50"),
    ]
    for name, value, goal in rows:
        print(f"{name:<30} {value:>20}   {goal}".rstrip())


if __name__ == "__main__":
    main()
