"""Requests from outside: who may send them, what they are answered with, and that what they ask for happens once."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time

import boto3
import pytest
from conftest import BINARY, free_port, wait_until
from test_recipes import run

pytestmark = pytest.mark.one_thread

SECRET, OTHER = "0123456789abcdef", "fedcba9876543210"

SCRIPT = """
local dynamodb, emit, http = require "tidemill.dynamodb", require "tidemill.emit", require "tidemill.http"
return { intake = "hooks", timeout = "2s", on_request = function(request)
  if request.path == "/bad" then error("no good, and nobody's business") end
  if request.path == "/slow" then http.get("SLOW/" .. request.id, { timeout = 60 }) end
  if request.path == "/odd" then return { stauts = 200 } end
  if request.path == "/text" then return "plain" end
  if request.path == "/nothing" then return end
  if request.path == "/away" then return { status = 303, headers = { Location = "/text" }, body = "" } end
  if request.path == "/split" then return { headers = { ["X-A"] = "1\\r\\nX-B: 2" } } end
  local created = dynamodb.create("Jobs", { id = request.id, body = request.body })
  return { status = created and 201 or 200, json = { id = request.id, q = request.query, event = request.headers["x-event"] or "", remote = request.remote, created = created ~= false } }
end }
"""


class Host:
    def __init__(self, directory, section, command=("dev", "--port", "0"), script=SCRIPT, more=""):
        self.directory, self.port = directory, free_port()
        (directory / "scripts").mkdir(exist_ok=True)
        (directory / "scripts" / "hook.lua").write_text(script)
        self.configure(section, more)
        self.path, self.command = directory / "said", command
        self.start()

    def configure(self, section, more=""):
        (self.directory / "tidemill.ini").write_text(f"[aws]\nregion = eu-west-1\n[host]\nlisten = off\nlog_format = text\n[intake hooks]\nlisten = 127.0.0.1:{self.port}\n{section}\n"
                                                     f"[table Jobs]\nkey = id\n[stream jobs]\ntable = Jobs\n{more}")

    def start(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        with open(self.path, "ab") as said:
            self.process = subprocess.Popen([BINARY, *self.command], cwd=self.directory, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        wait_until(lambda: self.process.poll() is not None or self.connects(), lambda: f"it listens: {self.said()}")

    def connects(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        except OSError:
            return False

    def said(self):
        return self.path.read_text()

    def send(self, body="{}", headers=None, path="/", method="POST", context=None):
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=context) if context else http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            try:
                connection.request(method, path, body, headers or {}, encode_chunked="Transfer-Encoding" in (headers or {}))
            except BrokenPipeError:
                pass  # what is refused early is not read to its end: the answer is there all the same
            response = connection.getresponse()
            return response.status, response.read().decode(), dict(response.headers)
        finally:
            connection.close()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, self.said()
        assert "Sanitizer" not in self.said() and "runtime error" not in self.said(), self.said()

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def host(tmp_path):
    started = []

    def start(*arguments, **more):
        started.append(Host(tmp_path, *arguments, **more))
        return started[-1]
    yield start
    for each in started:
        each.kill()


def digest(text, secret=SECRET):
    return hmac.new(secret if isinstance(secret, bytes) else secret.encode(), text.encode(), hashlib.sha256)


def github(body, secret=SECRET, now=0):
    return {"X-Hub-Signature-256": "sha256=" + digest(body, secret).hexdigest()}


def stripe(body, secret=SECRET, now=0, name="Stripe-Signature"):
    t = int(time.time()) + now
    return {name: f"t={t},v0=x,v1={'00' * 32},v1={digest(f'{t}.{body}', secret).hexdigest()}"}


def slack(body, secret=SECRET, now=0):
    t = int(time.time()) + now
    return {"X-Slack-Request-Timestamp": str(t), "X-Slack-Signature": "v0=" + digest(f"v0:{t}:{body}", secret).hexdigest()}


def standard(body, secret=SECRET, now=0):
    t = int(time.time()) + now
    return {"webhook-id": "msg_1", "webhook-timestamp": str(t), "webhook-signature": "v1a,x v1," + base64.b64encode(digest(f"msg_1.{t}.{body}", base64.b64decode(secret)).digest()).decode()}


def plain(body, secret=SECRET, now=0):
    return {"X-Signature": base64.b64encode(digest(body, secret).digest()).decode()}


def bearer(body, secret=SECRET, now=0):
    return {"Authorization": "Bearer " + secret}


SENDERS = {"github": github, "stripe": stripe, "slack": slack, "standard": standard, "tidemill": lambda body, secret=SECRET, now=0: stripe(body, secret, now, "Tidemill-Signature"),
           "hmac": plain, "bearer": bearer}
TIMED = ("stripe", "slack", "standard", "tidemill")


@pytest.mark.parametrize("verify", SENDERS)
def test_who_signs_as_its_sender_does_is_let_in_and_nobody_else(host, verify):
    sign = SENDERS[verify]
    secret, other = (base64.b64encode(b"one secret of many").decode(), base64.b64encode(b"another secret here").decode()) if verify == "standard" else (SECRET, OTHER)
    shown = f"whsec_{secret} whsec_{other}" if verify == "standard" else f"{secret} {other}"
    running = host(f"verify = {verify}\nsecret = {shown}\n" + ("signature = X-Signature\n" if verify == "hmac" else ""))
    body = '{"id": "evt_1", "event_id": "Ev1"}'
    for used in (secret, other):  # while it rotates both are good
        status, said, _ = running.send(body, sign(body, used))
        assert status in (200, 201), (said, running.said())
    expected = {"stripe": "evt_1", "slack": "Ev1", "standard": "msg_1"}.get(verify, hashlib.sha256(body.encode()).hexdigest())
    assert json.loads(said)["id"] == expected and not json.loads(said)["created"]
    wrong = base64.b64encode(b"nobody's secret").decode()
    refused = [running.send(body, sign(body, wrong)), running.send(body, {})]
    if verify != "bearer":
        refused.append(running.send(body + " ", sign(body, secret)))
    if verify in TIMED:
        refused += [running.send(body, sign(body, secret, now)) for now in (-400, 400)]
        assert running.send(body, sign(body, secret, -200))[0] == 200
    assert all(status == 401 and "secret" not in said for status, said, _ in refused), refused
    for name, value in sign(body, secret).items():  # cut, or something else
        other = value[:-3] + ("a" if value[-3] != "a" else "b") + value[-2:]
        for text in (value[:-3], other, "x", "", "t=1", "v1=", "sha256=", "v1,", "Bearer "):
            assert running.send(body, {**sign(body, secret), name: text})[0] == 401, (name, text)
    log = running.said()
    assert "is refused: " in log and secret not in log and other not in log and wrong not in log
    running.stop()


def test_what_the_handler_returns_is_the_answer(host):
    running = host("verify = none")
    status, said, headers = running.send("hello", {"X-Event": "push", "Content-Type": "text/plain"}, "/x?a=1&b=%41+c&a=2&d")
    answer = json.loads(said)
    assert status == 201 and answer["q"] == {"a": "1", "b": "A c", "d": ""} and answer["event"] == "push" and answer["remote"] == "127.0.0.1"
    assert headers["Content-Type"] == "application/json"
    assert running.send(path="/text")[:2] == (200, "plain") and running.send(path="/nothing", method="GET", body=None)[:2] == (200, "")
    status, said, headers = running.send(path="/away")
    assert (status, headers["Location"]) == (303, "/text")
    for path in ("/bad", "/odd", "/split"):
        status, said, headers = running.send(path=path)
        assert status == 500 and "business" not in said and "X-B" not in headers, said
    assert "no good, and nobody's business" in running.said() and "stauts" in running.said() and "line's end" in running.said()
    running.stop()


def test_limits_and_their_answers(host):
    running = host("verify = none\nbody = 1KiB\npath = /hooks\nrate = 20/s\nconcurrency = 2")
    assert running.send("x" * 1025, path="/hooks")[0] == 413
    status = running.send(iter([b"x" * 600, b"y" * 600]), {"Transfer-Encoding": "chunked"}, "/hooks")[0]
    assert status == 413
    for path in ("/", "/hook", "/hooks2", "/hooks/../x", "/hooks/%2e%2e/x", "/hooks/%00x", "/hooks/a%5cb", "/hooks/%0d%0aX", "/hooks/./x"):
        assert running.send(path=path)[0] in (400, 404), path
    assert running.send(path="/hooks/" + "a" * 9000)[0] in (404, 414, 431)
    assert running.send(headers={f"X-{i}": "x" for i in range(150)}, path="/hooks")[0] == 431
    assert running.send(headers={"X-Long": "x" * 100_000}, path="/hooks")[0] in (413, 431)
    answers = [running.send(path="/hooks") for _ in range(60)]
    late = [headers for status, _, headers in answers if status == 429]
    assert late and all(int(headers["Retry-After"]) >= 1 for headers in late)
    wait_until(lambda: running.send(path="/hooks")[0] in (200, 201), "and then it goes on")
    with socket.create_connection(("127.0.0.1", running.port)) as smuggler:  # two lengths are two requests to two readers
        smuggler.sendall(b"POST /hooks HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hooks HTTP/1.1\r\nHost: x\r\n\r\n")
        assert smuggler.recv(100).startswith(b"HTTP/1.1 400")
    running.stop()


def test_who_is_slow_is_told_and_cut(host):
    running = host("verify = none")
    with socket.create_connection(("127.0.0.1", running.port)) as slow, socket.create_connection(("127.0.0.1", running.port)) as slower:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        slower.sendall(b"POST / HTTP/1.1\r\nHo")
        slow.settimeout(60)
        slower.settimeout(60)
        assert slow.recv(100).startswith(b"HTTP/1.1 408") and slow.recv(100) == b""
        assert slower.recv(100) == b""
    assert running.send()[0] == 201
    running.stop()


class Hanging(threading.Thread):
    """Takes connections and answers nothing until it is told to."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url, self.held = f"http://127.0.0.1:{self.socket.getsockname()[1]}", []
        self.start()

    def run(self):
        while True:
            try:
                self.held.append(self.socket.accept()[0])
            except OSError:
                return

    def answer(self):
        for held in self.held:
            held.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_a_timeout_is_504_and_too_many_at_once_are_429(host):
    service = Hanging()
    running = host("verify = none\nconcurrency = 1", script=SCRIPT.replace("SLOW", service.url))
    slow = []
    thread = threading.Thread(target=lambda: slow.append(running.send(path="/slow")))
    thread.start()
    wait_until(lambda: service.held, "the handler waits")
    assert running.send()[0] == 429
    thread.join()
    assert slow[0][0] == 504 and "longer than its timeout" in running.said()
    assert running.send()[0] == 201
    running.stop()


def test_a_stop_answers_what_was_begun_and_lets_nobody_in(host):
    service = Hanging()
    running = host("verify = none", script=SCRIPT.replace("SLOW", service.url).replace('timeout = "2s"', 'timeout = "50s"'))
    slow = []
    thread = threading.Thread(target=lambda: slow.append(running.send(path="/slow")))
    thread.start()
    wait_until(lambda: service.held, "the handler waits")
    running.process.terminate()

    def turned_away():
        try:
            return running.send()[0] == 503
        except OSError:
            return True
    wait_until(turned_away, "nobody is let in")
    service.answer()
    thread.join()
    assert slow[0][0] in (200, 201), slow  # the same body may have come in between
    assert running.process.wait(timeout=60) == 0


def test_a_script_that_is_missing_or_paused_is_503_and_a_new_one_is_taken(host, tmp_path):
    running = host("verify = none")
    assert running.send()[0] == 201
    (tmp_path / "scripts" / "hook.lua").write_text('return { intake = "hooks", on_request = function(request) return "new" end }')
    wait_until(lambda: running.send()[1] == "new", lambda: running.said())
    run(tmp_path, "pause", "hook")
    wait_until(lambda: running.send()[0] == 503, lambda: running.said())
    run(tmp_path, "resume", "hook")
    wait_until(lambda: running.send()[1] == "new", lambda: running.said())
    os.unlink(tmp_path / "scripts" / "hook.lua")
    def is_away():
        status, _, headers = running.send()
        return status == 503 and int(headers["Retry-After"]) >= 1
    wait_until(is_away, lambda: running.said())
    running.stop()


def test_an_intake_comes_goes_and_moves_with_the_ini(host, tmp_path):
    running = host("verify = none")
    assert running.send()[0] == 201
    running.configure(f"verify = bearer\nsecret = {SECRET}")

    def refuses():
        try:
            return running.send()[0] == 401
        except ConnectionError:
            return False  # not taken yet when the old listener closed: its sender comes again

    wait_until(refuses, lambda: running.said())
    assert running.send(headers=bearer(""))[0] == 200  # the same body, the same id
    old, running.port = running.port, free_port()
    running.configure("verify = none")
    wait_until(running.connects, lambda: running.said())
    assert running.send()[0] == 200
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", old), timeout=5)
    running.stop()


def certificate(directory, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", directory / "new.key", "-out", directory / "new.pem"], check=True, capture_output=True)
    os.rename(directory / "new.key", directory / "tls.key")
    os.rename(directory / "new.pem", directory / "tls.pem")
    context = ssl.create_default_context(cafile=directory / "tls.pem")
    return context


def test_tls_and_a_certificate_that_is_renewed(host, tmp_path):
    first = certificate(tmp_path, "first")
    running = host("verify = none\ncertificate = tls.pem\nkey = tls.key")
    assert running.send(context=first)[0] == 201
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    try:
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError):
            running.send(context=old)
    except ValueError:
        pass  # this Python has none so old
    kept = http.client.HTTPSConnection("localhost", running.port, context=first, timeout=60)
    kept.request("POST", "/text", "x")
    assert kept.getresponse().read() == b"plain"
    second = certificate(tmp_path, "second")

    def renewed():
        try:
            return running.send(path="/text", context=second)[0] == 200
        except ssl.SSLError:
            return False
    wait_until(renewed, lambda: running.said())
    kept.request("POST", "/text", "x")  # a connection that was there goes on
    assert kept.getresponse().read() == b"plain"
    kept.close()
    (tmp_path / "tls.pem").write_text("no certificate")
    wait_until(lambda: "the one before stays" in running.said(), lambda: running.said())
    assert running.send(path="/text", context=second)[0] == 200
    running.stop()


def test_a_delivery_counts_once_though_the_host_is_killed_in_between(host, tmp_path):
    """Twice delivered, SIGKILL at any moment between: one item, and one reaction to it."""
    running = host(f"verify = github\nsecret = {SECRET}", command=("dev", "--port", "0", "--data", "data"))
    (tmp_path / "scripts" / "jobs.lua").write_text('local log = require "tidemill.log" return { stream = "jobs", on_insert = function(record) log.info("job " .. record.new.id) end }')
    body = '{"ref": "main"}'
    delivered = []
    for number in range(6):
        headers = {**github(body), "X-GitHub-Delivery": f"d{number}"}

        def deliver():
            try:
                delivered.append(running.send(body, headers)[0])
            except OSError:
                delivered.append(0)
        thread = threading.Thread(target=deliver)
        thread.start()
        running.kill()
        thread.join()
        running.start()
        assert running.send(body, headers)[0] in (200, 201)
    assert sorted(json.loads(line)["id"] for line in run(tmp_path, "dev", "scan", "Jobs").stdout.splitlines()) == [f"d{number}" for number in range(6)]
    wait_until(lambda: all(f"job d{number}" in running.said() for number in range(6)), lambda: running.said())
    running.stop()


def test_metrics_and_troubles_of_an_intake(host, tmp_path):
    port = free_port()
    running = host(f"verify = github\nsecret = {SECRET}", more="")
    running.stop()
    (tmp_path / "tidemill.ini").write_text((tmp_path / "tidemill.ini").read_text().replace("listen = off", f"listen = 127.0.0.1:{port}"))
    running.start()
    running.send("{}", github("{}"))
    running.send("{}")

    def shown():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return 'tidemill_intake_requests_total{intake="hooks",status="201"} 1' in text and 'status="401"} 1' in text and 'tidemill_intake_seconds_count{intake="hooks"} 1' in text
    wait_until(shown, "the numbers are there")
    running.stop()


@pytest.mark.parametrize("text, words", [
    ("[intake x]\n", "needs listen"), ("[intake x]\nlisten = 127.0.0.1:1\n", "needs verify"), ("[intake x]\nlisten = nowhere\nverify = none\n", "listen: "),
    ("[intake x]\nlisten = 127.0.0.1:1\nverify = github\n", "needs secret"), ("[intake x]\nlisten = 127.0.0.1:1\nverify = github\nsecret = short\n", "at least 8"),
    ("[intake x]\nlisten = 127.0.0.1:1\nverify = none\nsecret = 0123456789\n", "needs no secret"), ("[intake x]\nlisten = 127.0.0.1:1\nverify = hmac\nsecret = 0123456789\n", "needs signature"),
    ("[intake x]\nlisten = 127.0.0.1:1\nverify = none\npath = x\n", "begins with /"), ("[intake x]\nlisten = 127.0.0.1:1\nverify = none\ncertificate = x\n", "go together"),
    ("[intake x]\nlisten = 127.0.0.1:1\nverify = gihtub\n", "verify"), ("[intake]\n", "needs a name"), ("[intake x]\nlisten = 127.0.0.1:1\nverify = none\n[intake hooks]\nlisten = 127.0.0.1:2\nverify = none\nbody = 1GiB\n", "body"),
])
def test_an_intake_that_is_wrong_is_told(tmp_path, text, words):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "tidemill.ini").write_text(text)
    done = run(tmp_path, "check", check=False)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_handlers_of_intakes_that_are_wrong_are_told(tmp_path):
    (tmp_path / "scripts").mkdir()
    intake = "[aws]\nregion = eu-west-1\n[intake hooks]\nlisten = 127.0.0.1:1\nverify = none\n"
    for script, words in (('return { on_request = function() end }', "needs intake"), ('return { intake = "hook", on_request = function() end }', "there is no [intake hook]"),
                          ('return { intake = "hooks", stream = "s", on_request = function() end }', "reads no stream"), ('return { intake = "hooks", on_insert = function() end }', "no on_request"),
                          ('return { intake = "hooks", on_request = function() end, on_insert = function() end }', "more than one of these")):
        (tmp_path / "tidemill.ini").write_text(intake + "[stream s]\ntable = Things\n")
        (tmp_path / "scripts" / "h.lua").write_text(script)
        done = run(tmp_path, "check", check=False)
        assert done.returncode == 2 and words in done.stderr, (script, done.stderr)
    for name in ("h", "i"):
        (tmp_path / "scripts" / f"{name}.lua").write_text('return { intake = "hooks", on_request = function() end }')
    assert "has two handlers: h and i" in run(tmp_path, "check", check=False).stderr
    os.unlink(tmp_path / "scripts" / "i.lua")
    (tmp_path / "tidemill.ini").write_text(intake + "[" + intake.partition("\n[")[2].replace("hooks", "more").replace(":1", ":2"))
    done = run(tmp_path, "check")
    assert "[intake more] has no handler" in done.stderr and "0 streams, 1 handler" in done.stdout
    (tmp_path / "e.json").write_text("{}")
    for command in (["invoke", "h", "e.json"], ["replay", "--from", "e.json", "--handler", "h"]):
        assert "has requests, not records" in run(tmp_path, *command, check=False).stderr, command


def test_once_and_emit_in_a_request(tmp_path):
    (tmp_path / "h.lua").write_text("""
local once, emit, http = require "tidemill.once", require "tidemill.emit", require "tidemill.http"
return { intake = "x", on_request = function(request)
  local first = false
  local result = once("hook " .. request.id, function() first = true http.post("http://service.test/", { json = request:json() }) return { n = 7 } end)
  emit("bus", { id = request.id }, { detail_type = "Hook" })
  return { json = { first = first, n = result.n } }
end }""")
    (tmp_path / "h_test.lua").write_text("""
local test = require "tidemill.test"
test.deployment [[
[intake x]
listen = 127.0.0.1:1
verify = stripe
secret = 0123456789abcdef
[target bus]
type = eventbridge
[handler h]
]]
test("once", function()
  test.equal(test.request("x", { json = { id = "evt_1" } }):json(), { first = true, n = 7 })
  test.equal(test.request("x", { json = { id = "evt_1" } }):json(), { first = false, n = 7 })
  test.equal(#test.requests(), 1)
  test.equal(#test.emitted("bus"), 2)
  test.equal(test.emitted("bus")[1].id, test.emitted("bus")[2].id) -- a repetition has the same id
end)
test("wrong", function() test.request("y") end)
test("odd", function() test.request("x", { jsno = {} }) end)
""")
    done = run(tmp_path, "test", check=False)
    assert "✓ once" in done.stdout and "no [intake y]" in done.stdout and "jsno: id, method" in done.stdout and "1 passed, 2 failed" in done.stdout, done.stdout
