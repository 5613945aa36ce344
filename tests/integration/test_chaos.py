"""Twenty thousand changes through a host to which everything happens at once: kill -9, SIGSTOP, expired credentials, a
service whose clock is off, an endpoint that is down, slow, broken or cuts connections, targets and failure targets that
refuse, reloads that move a target, a locked state, a full disk, edits. Nothing is lost, every item's changes arrive in
order, what failed is where on_failure says, and `status` shows each trouble while it lasts.

One seed makes one order of events: TIDEMILL_CHAOS_SEED=n."""
import email.utils
import http.client
import http.server
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest
from conftest import BINARY, wait_until
from test_trials import status_of

CHANGES = 20000
ITEMS = 500
EVERY = 97  # each such change is one that the handler gives up
SEED = int(os.environ.get("TIDEMILL_CHAOS_SEED", "1"))

HANDLER = """-- %s
local emit = require "tidemill.emit"
return { stream = "s", targets = { "sink" }, retries = 20, backoff = "50ms..500ms", on_failure = "failed",
  on_record = function(record)
    local new = record.new
    if new.n %% %d == 0 then error(tidemill.permanent("this one never")) end
    emit("sink", { id = new.id, v = new.v, n = new.n })
  end }
"""


class Relay(http.server.ThreadingHTTPServer):
    """Stands before DynamoDB. `mode` says what happens to requests."""
    daemon_threads = True

    def __init__(self, port):
        self.target, self.mode, self.seen = port, "well", {}
        self.before = lambda operation, body: None  # a request is passed on
        super().__init__(("127.0.0.1", 0), RelayHandler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass


class RelayHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def say(self, status, body, **headers):
        self.send_response_only(status)
        self.send_header("Date", headers.pop("date", None) or email.utils.formatdate(usegmt=True))
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code, status=400, **headers):
        self.say(status, json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": code}).encode(), **headers)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        mode = self.server.mode
        self.server.seen[mode] = self.server.seen.get(mode, 0) + 1
        if mode == "down":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if mode == "expired":
            self.refuse("ExpiredTokenException")
            return
        if mode == "skewed":
            self.refuse("InvalidSignatureException", date=email.utils.formatdate(time.time() + 3600, usegmt=True))
            return
        if mode == "broken":
            self.refuse("InternalServerError", 500)
            return
        if mode == "slow":
            time.sleep(1)
        if mode == "throttled" and random.random() < 0.7:
            self.refuse("ProvisionedThroughputExceededException")
            return
        self.server.before(self.headers["X-Amz-Target"].rpartition(".")[2], body)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target)
        connection.request("POST", self.path, body, {name: value for name, value in self.headers.items() if name != "Host"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if mode == "cut" and random.random() < 0.5:  # it was done, and nobody hears of it
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.say(answer.status, text)


class Sink(http.server.ThreadingHTTPServer):
    """What a target delivers to. Keeps what it has accepted, in order."""
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        self.mode, self.accepted, self.lock = "well", [], threading.Lock()
        super().__init__(("127.0.0.1", 0), SinkHandler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request, client_address):
        pass


class SinkHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        mode = self.server.mode
        if mode == "down" or (mode == "cut" and random.random() < 0.3):
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        status = 503 if mode == "refuses" and random.random() < 0.8 else 200
        if status == 200:
            with self.server.lock:
                self.server.accepted.append(json.loads(body))
        if mode == "late":
            time.sleep(random.random())
        self.send_response_only(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


class Chaos:
    def __init__(self, deployment, dynamodb, table, directory):
        self.chance = random.Random(SEED)
        self.deployment, self.dynamodb, self.table = deployment, dynamodb, table
        self.relay, self.sink, self.failed = Relay(dynamodb.port), Sink(), Sink()
        self.other = Sink()  # where a reload moves the target to
        self.other.accepted, self.other.lock = self.sink.accepted, self.sink.lock
        self.state = directory
        self.edits = 0
        self.host = None
        self.shown, self.done = set(), {}
        self.target_url = self.sink.url
        self.write_script()
        self.configure()

    def write_script(self, text=None):
        self.edits += 1
        self.deployment.script("h", text or HANDLER % (self.edits, EVERY))

    def configure(self):
        self.deployment.configure(
            f"[stream s]\ntable = {self.table}\npoll_min = 20ms\npoll_max = 200ms\ndiscovery = 1s\nbatch_size = 500\n"
            f"[target sink]\ntype = http\nurl = {self.target_url}\nin_flight = 16\nbackoff = 50ms..500ms\ntimeout = 3s\n"
            f"[target failed]\ntype = http\nurl = {self.failed.url}\nbackoff = 50ms..500ms\ntimeout = 3s\n",
            state=f"sqlite:{self.state}/state.db", shutdown_timeout="5s", log_level="info")
        text = self.deployment.ini.read_text().replace(f"endpoint = {self.dynamodb.url}", f"endpoint = {self.relay.url}")
        self.deployment.ini.write_text(text)

    def start(self):
        self.host = self.deployment.start()

    # -- what happens: each is begun, lasts a while, and is over --

    def shows(self, subject):
        """Until status says that the subject has a trouble."""
        wait_until(lambda: any(each["subject"].startswith(subject) for each in status_of(self.deployment)["troubles"]),
                   lambda: f"the trouble of {subject} is shown; shown are {status_of(self.deployment)['troubles']}", 60)
        self.shown.add(subject)

    def relay_is(self, mode, subject=None):
        self.relay.mode = mode
        try:
            if subject:
                self.shows(subject)
            else:
                time.sleep(self.chance.uniform(0.3, 2))  # it lasts
        finally:
            self.relay.mode = "well"

    def sinks_are(self, sinks, mode, subject=None):
        for sink in sinks:
            sink.mode = mode
        try:
            if subject:
                self.shows(subject)
            else:
                time.sleep(self.chance.uniform(0.3, 2))
        finally:
            for sink in sinks:
                sink.mode = "well"

    def kill(self):
        self.host.kill()
        self.start()

    def restart(self):
        self.host.process.send_signal(signal.SIGTERM)
        self.host.end()
        self.start()

    def freeze(self):
        self.host.process.send_signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.5, 3))
        self.host.process.send_signal(signal.SIGCONT)

    def move_target(self):
        self.target_url = self.other.url if self.target_url == self.sink.url else self.sink.url
        self.configure()
        self.host.process.send_signal(signal.SIGHUP)

    def edit(self):
        self.write_script()

    def break_script(self):
        self.write_script("return {")
        self.shows("handler h")
        self.write_script()

    def lock_state(self):
        state = sqlite3.connect(f"{self.state}/state.db", isolation_level=None, timeout=30)
        state.execute("BEGIN IMMEDIATE")
        time.sleep(self.chance.uniform(0.5, 3))
        state.execute("ROLLBACK")
        state.close()

    def fill_disk(self):
        ballast = self.state / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 65536):
                    pass
            except OSError:
                pass
        time.sleep(self.chance.uniform(0.5, 2))
        ballast.unlink()

    def events(self, disk):
        sinks = [self.sink, self.other]
        all_of_them = {
            "kill": self.kill, "restart": self.restart, "freeze": self.freeze, "move target": self.move_target, "edit": self.edit,
            "break script": self.break_script, "lock state": self.lock_state,
            "endpoint down": lambda: self.relay_is("down", "stream s"), "credentials expired": lambda: self.relay_is("expired", "stream s"),
            "clock off": lambda: self.relay_is("skewed"), "500s": lambda: self.relay_is("broken", "stream s"),
            "slow": lambda: self.relay_is("slow"), "throttled": lambda: self.relay_is("throttled"), "cut": lambda: self.relay_is("cut"),
            "target down": lambda: self.sinks_are(sinks, "down"), "target refuses": lambda: self.sinks_are(sinks, "refuses"),
            "target late": lambda: self.sinks_are(sinks, "late"), "target cuts": lambda: self.sinks_are(sinks, "cut"),
            "failure target down": lambda: self.sinks_are([self.failed], "down"),
            "failure target refuses": lambda: self.sinks_are([self.failed], "refuses"),
        }
        if disk:
            all_of_them["disk full"] = self.fill_disk
        return all_of_them


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, which can be full; an ordinary directory where none may be mounted."""
    place = tmp_path / "state"
    place.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place],
                                                   capture_output=True).returncode == 0
    yield place, mounted
    if mounted:
        subprocess.run(["umount", "-l", place], check=True)


def write_changes(client, table, over):
    """Every item's versions rise. Slow enough to last, and then for a while."""
    versions = [0] * ITEMS
    chance = random.Random(SEED + 1)
    n = 0
    while n < CHANGES:
        items = chance.sample(range(ITEMS), 25)
        puts = []
        for item in items:
            versions[item] += 1
            n += 1
            puts.append({"PutRequest": {"Item": {"id": {"S": f"i{item}"}, "v": {"N": str(versions[item])}, "n": {"N": str(n)}}}})
        left = {table: puts}
        while left:
            left = client.batch_write_item(RequestItems=left).get("UnprocessedItems")
        if not over.is_set():
            time.sleep(0.05)
    return versions


@pytest.mark.parametrize("service", ["deployment", "beside_local"], ids=["DynamoDB Local", "embedded"])
def test_everything_at_once(request, name, small_disk, service, capsys):
    if service == "deployment" and any(f"/{build}/" in str(BINARY) for build in ("asan", "tsan")):
        pytest.skip("under sanitizers one of them is enough")
    deployment = request.getfixturevalue(service)
    dynamodb = deployment.dynamodb
    table = dynamodb.table(name())
    chaos = Chaos(deployment, dynamodb, table, small_disk[0])
    over, result = threading.Event(), []
    writer = threading.Thread(target=lambda: result.append(write_changes(dynamodb.client, table, over)))
    chaos.start()
    writer.start()
    try:
        events = chaos.events(small_disk[1])
        order = list(events) + chaos.chance.choices(list(events), k=8)  # each once, and some again
        chaos.chance.shuffle(order)
        for what in order:
            events[what]()
            chaos.done[what] = chaos.done.get(what, 0) + 1
    finally:
        over.set()
        writer.join()
    versions = result[0]
    poisoned = {n for n in range(EVERY, sum(versions) + 1, EVERY)}

    def missing():
        with chaos.sink.lock:
            accepted = {each["n"] for each in chaos.sink.accepted}
        return sum(versions) - len(accepted) - len(poisoned)
    wait_until(lambda: missing() == 0, lambda: f"all arrived; {missing()} are missing", 120)
    wait_until(lambda: deployment.run("dead", "list", "--json").stdout.strip() == "[]", "what failed was forwarded")
    wait_until(lambda: not status_of(deployment)["troubles"],
               lambda: f"no trouble is left; there are {status_of(deployment)['troubles']}")
    with chaos.failed.lock:
        failed = {int(re.search(r'"n":\s*{"N":\s*"(\d+)"}', json.dumps(each).replace("\\", ""))[1]) for each in chaos.failed.accepted}
    assert failed == poisoned
    first = {}
    for each in chaos.sink.accepted:
        first.setdefault(each["id"], []).append(int(each["v"]))
    for item, seen in first.items():
        order = list(dict.fromkeys(seen))  # each version where it came first
        assert order == sorted(order), (item, order)
    assert not status_of(deployment)["events"]
    assert chaos.host.stop() == 0
    with capsys.disabled():
        print(f"\n{sum(versions)} changes, {sum(chaos.done.values())} troubles of {len(chaos.done)} kinds, "
              f"{len(chaos.sink.accepted) - sum(versions) + len(poisoned)} deliveries more than once")
