"""What the benches share: the server that answers as DynamoDB does, a deployment, a host that runs it."""
import contextlib
import datetime
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

BINARY = pathlib.Path(os.environ["TIDEMILL"]).resolve()
TOOLS = pathlib.Path(os.environ["TIDEMILL_TESTS"]).resolve()
HERE = pathlib.Path(__file__).resolve().parent
RECORDS_PER_PAGE = 1000
ENVIRONMENT = dict(os.environ, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")


def output(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


@functools.cache
def processors():
    """The one where bare Lua runs fastest, and the others: of a machine that is shared one may be half as fast as its neighbour, and what one
    compares must not be compared with that."""
    cost = {cpu: min(float(output("taskset", "-c", cpu, TOOLS / "bench_lua").split()[0]) for _ in range(2)) for cpu in os.sched_getaffinity(0)}
    best = min(cost, key=cost.get)
    return [best], sorted(set(cost) - {best}) or [best]


def beside():
    """To stand before a command that is not what is measured."""
    return ["taskset", "-c", ",".join(map(str, processors()[1]))]


def measured():
    """To stand before the command that is measured, where one thread does the work."""
    return ["taskset", "-c", str(processors()[0][0])]


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


class Server:
    def __init__(self, *numbers, anywhere=False):
        """Shards, pages, and attributes of an image where they are not 9. `anywhere`: on any processor."""
        self.process = subprocess.Popen([*([] if anywhere else beside()), TOOLS / "bench_server", *map(str, numbers)], stdin=subprocess.PIPE,
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
        self.log = root / "log"
        self.started = time.time()
        self.process = subprocess.Popen([*measured(), BINARY, "run", "-c", root / "tidemill.ini"], env=ENVIRONMENT,
                                        stderr=open(self.log, "w"))

    def memory(self, name):
        return memory(self.process, name)

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
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text} ...", end="", file=sys.stderr, flush=True)


def cpu_ns(process):
    """Of all threads, those that have ended are none of the host's."""
    spent = 0
    for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends
            spent += int((task / "schedstat").read_text().split()[0])
    return spent


def memory(process, name):
    """In MiB: VmRSS, VmHWM."""
    for line in open(f"/proc/{process.pid}/status"):
        if line.startswith(name):
            return int(line.split()[1]) / 1024
