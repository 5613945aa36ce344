"""Messages for JetStream, on Debian's own nats-server."""
import base64
import collections
import json
import pathlib
import shutil
import socket
import subprocess

import pytest
from conftest import free_port, wait_until
from test_trials import put, status_of, troubles


class Nats:
    """A nats-server with JetStream on disk, and a connection to it that speaks as much of the protocol as these tests need."""

    def __init__(self, directory, settings=""):
        self.port, self.directory = free_port(), pathlib.Path(directory)
        self.url = f"nats://127.0.0.1:{self.port}"
        (self.directory / "nats.conf").write_text(
            f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{self.directory / "js"}" }}\n{settings}\n')
        self.process = None

    def start(self):
        server = shutil.which("nats-server", path="/usr/sbin:/usr/bin")
        assert server, "nats-server is not there: make test installs it"
        with open(self.directory / "nats.log", "a") as log:
            self.process = subprocess.Popen([server, "-c", self.directory / "nats.conf"], stderr=log, stdout=log)
        wait_until(self.answers, lambda: f"it listens: {(self.directory / 'nats.log').read_text()}")
        return self

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, subject, body="", connect="{}"):
        """A request and its answer."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection, connection.makefile("rwb") as stream:
            stream.readline()  # INFO
            body = body.encode()
            stream.write(f"CONNECT {connect}\r\nSUB back 1\r\nPUB {subject} back {len(body)}\r\n".encode() + body + b"\r\n")
            stream.flush()
            while True:
                line = stream.readline().split()
                if line and line[0] == b"PING":
                    stream.write(b"PONG\r\n")
                    stream.flush()
                if line and line[0] == b"MSG":
                    return json.loads(stream.read(int(line[-1])))

    def stream(self, name="S", subjects=("orders.>",), **settings):
        answer = self.ask(f"$JS.API.STREAM.CREATE.{name}", json.dumps({
            "name": name, "subjects": list(subjects), "storage": "file", "retention": "limits", "num_replicas": 1,
            "duplicate_window": 120_000_000_000, **settings}))
        assert "error" not in answer, answer

    def messages(self, name="S"):
        """(subject, body) of all, in the stream's order."""
        state = self.ask(f"$JS.API.STREAM.INFO.{name}")["state"]
        found = [self.ask(f"$JS.API.STREAM.MSG.GET.{name}", json.dumps({"seq": seq}))["message"]
                 for seq in range(max(state["first_seq"], 1), state["last_seq"] + 1)]
        return [(each["subject"], base64.b64decode(each["data"]).decode()) for each in found]


@pytest.fixture
def nats(tmp_path):
    server = Nats(tmp_path).start()
    yield server
    server.process.kill()
    server.process.wait()


HANDLER = """
local emit = require "tidemill.emit"
return { stream = "s", targets = { "n" }, backoff = "20ms..200ms", on_record = function(record)
  emit("n", { id = record.new.id, n = record.new.n, part = 1 }, { subject = "orders." .. record.new.id })
  emit("n", { id = record.new.id, n = record.new.n, part = 2 }, { subject = "orders." .. record.new.id })
end }
"""


def set_up(deployment, table, url, more="", handler=HANDLER):
    deployment.script("h", handler)
    deployment.stream(table, f"[target n]\ntype = nats\nurl = {url}\nsubject = orders.none\nbackoff = 50ms..200ms\n{more}\n")


def test_items_keep_their_order_while_the_server_is_killed(beside_local, local, name, nats):
    deployment, table, items, rounds = beside_local, local.table(name()), "abcdefgh", 30
    nats.stream()
    set_up(deployment, table, nats.url)
    host = deployment.start()
    for n in range(rounds):
        for item in items:
            put(local.client, table, item, n={"N": str(n)})
        if n % 10 == 5:
            nats.kill()
            nats.start()
        if n == 17:
            host.kill()
            host = deployment.start()
    wait_until(lambda: len({body for _, body in nats.messages()}) == len(items) * rounds * 2, "all are there")
    assert host.stop() == 0
    seen = collections.defaultdict(list)
    for subject, body in nats.messages():
        message = json.loads(body)
        assert subject == f"orders.{message['id']}"
        seen[message["id"]].append((message["n"], message["part"]))
    for item in items:  # the stream knows by their ids what was sent again: each stands in it once
        assert seen[item] == [(n, part) for n in range(rounds) for part in (1, 2)], seen[item]


def test_a_route_needs_no_script(beside_local, local, name, nats):
    deployment, table = beside_local, local.table(name())
    nats.stream()
    deployment.stream(table, f"[target n]\ntype = nats\nurl = {nats.url}\nsubject = orders.all\n"
                             "[route r]\nstream = s\ntarget = n\nimage = new\nunmarshalled = yes\n")
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(nats.messages, "it is there")
    [(subject, body)] = nats.messages()
    assert subject == "orders.all" and json.loads(body)["id"] == "a"
    assert host.stop() == 0


def test_what_no_stream_takes_waits_and_is_told(beside_local, local, name, nats):
    deployment, table = beside_local, local.table(name())
    set_up(deployment, table, nats.url)
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: any("no stream" in each["text"] for each in troubles(deployment).values()), "status tells of it")
    nats.stream()
    wait_until(lambda: len(nats.messages()) == 2, "it goes when there is one")
    wait_until(lambda: not troubles(deployment), "and the trouble is gone")
    assert host.stop() == 0


@pytest.mark.parametrize("settings,more,expected", [
    ({}, "stream = T\n", "expected stream does not match"),
    ({"max_msg_size": 10}, "", "message size exceeds maximum allowed"),
])
def test_what_the_stream_refuses_for_good_becomes_a_letter(beside_local, local, name, nats, settings, more, expected):
    deployment, table = beside_local, local.table(name())
    nats.stream(**settings)
    set_up(deployment, table, nats.url, more, HANDLER.replace("stream = \"s\",", "stream = \"s\", retries = 1,"))
    host = deployment.start()
    put(local.client, table, "a")
    letter, = wait_until(lambda: json.loads(deployment.run("dead", "list", "--json").stdout or "[]"), "it is kept")
    assert expected in letter["error"], letter
    assert host.stop() == 0 and not nats.messages()


def test_a_failure_that_is_too_large_for_the_server_goes_where_spill_says(beside_local, local, name, tmp_path):
    server = Nats(tmp_path, "max_payload: 2000").start()
    try:
        server.stream()
        deployment, table = beside_local, local.table(name())
        set_up(deployment, table, server.url, "spill = lake\n[target lake]\ntype = file\npath = lake\n",
               "return { stream = 's', retries = 0, on_failure = 'n', on_record = function() error('no') end }")
        host = deployment.start()
        put(local.client, table, "a", text={"S": "x" * 3000})
        wait_until(lambda: server.messages(), "a reference to it is there")
        [(subject, body)] = server.messages()
        assert subject == "orders.none" and "file://" in body and "xxx" not in body
        assert any("xxx" in path.read_text() for path in (deployment.directory / "lake").rglob("*") if path.is_file())
        assert host.stop() == 0
    finally:
        server.kill()


@pytest.mark.parametrize("right", [True, False])
def test_a_token_is_sent_and_never_told(beside_local, local, name, tmp_path, right):
    server = Nats(tmp_path, 'authorization { token: "sesame-sesame" }').start()
    try:
        deployment, table = beside_local, local.table(name())
        server.ask("$JS.API.STREAM.CREATE.S", json.dumps({"name": "S", "subjects": ["orders.>"], "storage": "file", "num_replicas": 1}),
                   '{"auth_token":"sesame-sesame"}')
        token = "sesame-sesame" if right else "sesame-wrong"
        set_up(deployment, table, server.url, f"token = {token}\n")
        host = deployment.start()
        put(local.client, table, "a")
        if right:
            wait_until(lambda: server.ask("$JS.API.STREAM.INFO.S", "", '{"auth_token":"sesame-sesame"}')["state"]["messages"] == 2, "they are there")
        else:
            wait_until(lambda: any("uthori" in each["text"] for each in troubles(deployment).values()), lambda: f"it is told: {troubles(deployment)}")
        assert host.stop() == 0
        assert token not in json.dumps(host.lines()) and token not in json.dumps(status_of(deployment))
    finally:
        server.kill()


@pytest.mark.parametrize("trusted", ["ours", "others", "another host"])
def test_tls_is_verified(beside_local, local, name, tmp_path, trusted):
    for who, names in (("ours", "DNS:localhost"), ("others", "DNS:localhost"), ("another host", "DNS:elsewhere.test")):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x", "-addext", f"subjectAltName={names}",
                        "-keyout", tmp_path / f"{who}.key", "-out", tmp_path / f"{who}.pem"], check=True, capture_output=True)
    shown = "another host" if trusted == "another host" else "ours"
    server = Nats(tmp_path, f'tls {{ cert_file: "{tmp_path / shown}.pem", key_file: "{tmp_path / shown}.key" }}').start()
    try:
        deployment, table = beside_local, local.table(name())
        set_up(deployment, table, f"tls://localhost:{server.port}", f"ca = {tmp_path / trusted}.pem\n")
        host = deployment.start()
        put(local.client, table, "a")
        if trusted == "ours":  # there is no stream: so says the server, over a connection that stands
            wait_until(lambda: any("no stream" in each["text"] for each in troubles(deployment).values()), lambda: f"{troubles(deployment)}")
        else:
            wait_until(lambda: any("SSL" in each["text"] for each in troubles(deployment).values()), lambda: f"{troubles(deployment)}")
        assert host.stop() == 0
    finally:
        server.kill()


def test_a_server_that_is_not_there_stops_nobody(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    set_up(deployment, table, f"nats://127.0.0.1:{free_port()}")
    host = deployment.start()
    for item in "abc":
        put(local.client, table, item)
    wait_until(lambda: troubles(deployment), "it is told")
    assert host.stop() == 0


@pytest.mark.parametrize("text,message", [
    ("url = http://x\nsubject = a", "url: nats://HOST:PORT or tls://HOST:PORT expected"),
    ("url = nats://x", "type = nats needs subject"),
    ("url = nats://x\nsubject = a..b", "subject: words between dots expected"),
    ("url = nats://x\nsubject = a.>", "subject: words between dots expected"),
    ("url = nats://x\nsubject = a\ntoken = t\ncredentials = c", "credentials or token, not both"),
    ("url = nats://x\nsubject = a\nregion = eu-west-1", "region is not for type = nats"),
])
def test_mistakes_are_found_by_check(beside_local, text, message):
    beside_local.script("h", "return { stream = 's', on_record = function() end }")
    beside_local.stream("T", f"[target n]\ntype = nats\n{text}\n")
    done = beside_local.run("check")
    assert done.returncode == 2 and message in done.stderr, done.stderr
