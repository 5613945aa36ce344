"""Secrets are planted wherever one may stand, every error that can be reached is reached, and then all that the host and its
commands have written is searched for them."""
import json
import os
import pathlib
import signal
import socket
import urllib.request

import pytest

from conftest import wait_until
from test_metrics import port_of
from test_trials import put

MARKS = {place: f"s3cr3t-{place}-7f3a" for place in
         ("env", "file", "path", "query", "password", "header", "authorization", "hmac", "key", "access", "token", "setting", "script")}

SCRIPT = """
local config, http, emit, json = require "tidemill.config", require "tidemill.http", require "tidemill.emit", require "tidemill.json"
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", targets = { "t", "u" }, retries = 1, backoff = "1ms..2ms", on_record = function(record)
  local how = record.new.id
  local base = config.base
  if how == "refused" then
    http.post("http://user:" .. config.password .. "@127.0.0.1:1/hooks/" .. config.path .. "?k=" .. config.query, { headers = { ["X-Key"] = config.header } })
  elseif how == "status" then
    local answer = http.get(base .. "/hooks/" .. config.path .. "?k=" .. config.query, { headers = { Authorization = config.authorization } })
    error("the answer was " .. answer.status)
  elseif how == "broken" then
    http.get(base .. "/broken/" .. config.path, { headers = { Cookie = config.header } })
  elseif how == "redirect" then
    http.get(base .. "/redirect/" .. config.path, { redirects = 3, headers = { Authorization = config.authorization } })
  elseif how == "slow" then
    http.get(base .. "/slow/" .. config.path, { timeout = 0.2 })
  elseif how == "url" then
    http.get("ht tp://" .. config.path)
  elseif how == "header" then
    http.get(base .. "/", { headers = { ["X-A"] = config.header .. "\\n" } })
  elseif how == "index" then
    local _ = config.nothing.here
  elseif how == "type" then
    local _ = config.setting + 1
  elseif how == "emit" then
    emit("t", record.new)
  elseif how == "emit slow" then
    emit("u", record.new)
  elseif how == "table" then
    dynamodb.get("Nowhere", { id = "a" })
  end
end }
"""
HOWS = ("refused", "status", "broken", "redirect", "slow", "url", "header", "index", "type", "emit", "emit slow", "table")


@pytest.fixture
def service():
    """Answers 500, cuts, redirects to where nobody is, and is silent."""
    import threading
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve():
        kept = []
        while not stop.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(5)
            try:
                head = sock.recv(65536)
            except OSError:
                continue
            if b"/slow" in head:
                kept.append(sock)
                continue
            sock.sendall(b"HTTP/1.1 2xx what\r\n\r\n" if b"/broken" in head else
                         b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" if b"/redirect" in head else
                         b"HTTP/1.1 500 no\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            sock.close()
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop.set()
    listener.close()


def search(text, where):
    for place, mark in MARKS.items():
        for form in (mark, mark.encode().hex(), urllib.request.quote(mark, safe="")):
            assert form not in text, f"the secret of {place} stands in {where}"


def test_no_secret_is_written_anywhere(beside_local, local, name, service):
    deployment, table = beside_local, local.table(name())
    directory = deployment.directory
    (directory / "secret").write_text(MARKS["file"] + "\n")
    deployment.environment.update(AWS_ACCESS_KEY_ID=MARKS["access"], AWS_SECRET_ACCESS_KEY=MARKS["key"], AWS_SESSION_TOKEN=MARKS["token"],
                                  **{f"MARK_{place.upper()}": mark for place, mark in MARKS.items()})
    settings = "".join(f"{place} = ${{env:MARK_{place.upper()}}}\n" for place in ("path", "query", "password", "header", "authorization", "setting"))
    targets = f"""[target t]
type = http
url = http://user:${{env:MARK_PASSWORD}}@127.0.0.1:1/${{env:MARK_PATH}}?a=${{env:MARK_QUERY}}
authorization = Bearer ${{env:MARK_AUTHORIZATION}}
retries = 1
backoff = 1ms..2ms
[target u]
type = http
url = {service}/slow/${{env:MARK_PATH}}
authorization = ${{file:secret}}
timeout = 200ms
retries = 0
[handler h]
base = {service}
file = ${{file:secret}}
{settings}"""
    deployment.script("h", SCRIPT)
    deployment.stream(table, targets, listen="127.0.0.1:0")
    host = deployment.start()
    port = port_of(host)
    for how in HOWS:
        put(local.client, table, how)
    wait_until(lambda: len(json.loads("[" + ",".join(deployment.run("dead", "list", "--json").stdout.split("\n")).strip(",") + "]") or []) >= 1 and
               sum("attempt" in message or "dead letter" in message for message in host.messages()) and
               deployment.run("dead", "list", "--json").stdout.count('"id":') >= len(HOWS), "all have failed")
    texts = {"metrics": urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode(),
             "the process' arguments": pathlib.Path(f"/proc/{host.process.pid}/cmdline").read_bytes().decode()}

    # What the INI gets wrong is told with its own text, not with what that stands for.
    sound = deployment.ini.read_text()
    for wrong in ("[stream x]\ntable = T\nbatch_size = ${env:MARK_ENV}\n", "[target x]\ntype = ${env:MARK_ENV}\n", "[host]\nlog_level = ${env:MARK_ENV}\n",
                  "[target y]\ntype = http\nurl = ${env:MARK_ENV}\n", "[handler h]\nretries = ${file:secret}\n", "[route z]\nstream = s\ntarget = ${env:MARK_ENV}\n", "[route z]\nstream = ${env:MARK_ENV}\ntarget = t\n",
                  "[handler z]\nstream = ${env:MARK_ENV}\n", "[handler z]\non_failure = ${env:MARK_ENV}\n", "[route z]\nstream = s\ntarget = t\non_failure = ${env:MARK_ENV}\n",
                  "[target x]\ntype = sqs\nqueue = q\nspill = ${env:MARK_ENV}\n", "[table X]\nkey = ${env:MARK_ENV}:Z\n", "[route z]\nstream = s\ntarget = t\npattern = ${env:MARK_ENV}\n",
                  "[route z]\nstream = s\ntarget = t\ninput_template = ${env:MARK_ENV}\n", "[stream x]\narn = ${env:MARK_ENV}\n", "[host]\nstate = ${env:MARK_ENV}:x\n",
                  "[host]\nlisten = ${env:MARK_ENV}\n", "[aws]\nendpoint_s3 = ${env:MARK_ENV}\n", "[aws]\nca_bundle = ${env:MARK_ENV}\n", "[route z]\nstream = s\ntarget = t\ninput_path = ${env:MARK_ENV}\n",
                  "[target w]\ntype = sqs\nqueue = ${env:MARK_ENV}\ntimeout = ${env:MARK_ENV}\n", "${env:MARK_ENV} = 1\n", "[${env:MARK_ENV}]\na = b\n"):
        deployment.ini.write_text(sound + wrong)
        before = len(host.messages())
        host.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("not taken over" in message or "read again" in message for message in host.messages()[before:]), "it is read")
        done = deployment.run("check")
        texts[f"check of {wrong}"] = done.stdout + done.stderr
    deployment.ini.write_text(sound)
    for command in (["check"], ["status"], ["status", "--json"], ["dead", "list"], ["dead", "list", "--json"], ["dead", "show", "1"], ["policy"],
                    ["dead", "redrive", "1"]):
        done = deployment.run(*command)
        texts[" ".join(command)] = done.stdout + done.stderr
    deployment.script("h", f'local x = "{MARKS["script"]}" return {{ stream = "s", on_record = 1 }}')  # a wrong script is told without its text
    host.wait_for("on_record is not a function")
    host.stop()

    texts["the log"] = host.log_path.read_text()
    planted = {directory / "secret", directory / "scripts" / "h.lua"}
    for path in directory.rglob("*"):
        if path.is_file() and path not in planted:
            texts[str(path.relative_to(directory))] = path.read_bytes().decode("latin-1")
    assert len(texts["the log"]) > 1000 and any(where.startswith("state.db") for where in texts)
    for where, text in texts.items():
        search(text, where)


GOOD = {"AccessKeyId": "AKIA" + MARKS["access"], "SecretAccessKey": MARKS["key"], "Token": MARKS["token"], "SessionToken": MARKS["token"], "Version": 1}


@pytest.mark.parametrize("way", ["container", "process"])
@pytest.mark.parametrize("body", [json.dumps(GOOD)[:-3], json.dumps({**GOOD, "AccessKeyId": None}), json.dumps({**GOOD, "SecretAccessKey": [MARKS["key"]]}), json.dumps([GOOD]),
                                  json.dumps({**GOOD, "Expiration": "tomorrow"}), json.dumps({**GOOD, "Token": MARKS["token"] + "\n", "SessionToken": MARKS["token"] + "\r\nX: y"}),
                                  "\x00" + json.dumps(GOOD), MARKS["key"]])
def test_answers_that_hold_credentials_and_are_no_good_are_told_without_them(beside_local, local, name, tmp_path, way, body):
    import http.server
    import threading

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass
    deployment, environment = beside_local, beside_local.environment
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    del environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    if way == "container":
        environment.update(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{server.server_port}/x", AWS_CONTAINER_AUTHORIZATION_TOKEN=MARKS["header"])
    else:
        (tmp_path / "body").write_text(body)
        (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path}/body\n")
        environment.update(AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_SHARED_CREDENTIALS_FILE="/dev/null", AWS_EC2_METADATA_DISABLED="true")
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    deployment.stream(local.table(name()))
    host = deployment.start()
    wait_until(lambda: host.process.poll() is not None or any(line["level"] in ("warn", "error") for line in host.lines()) or "begins at" in " ".join(host.messages()), "it says what is wrong, or begins")
    if host.process.poll() is None:
        host.stop()
    status = deployment.run("status")
    for where, text in {"the log": host.log_path.read_text(), "its output": host.output_path.read_text(), "status": status.stdout + status.stderr}.items():
        search(text, where)
    server.shutdown()


@pytest.mark.parametrize("variable, value", [("AWS_SESSION_TOKEN", "a\r\nX-Other: b"), ("AWS_ACCESS_KEY_ID", "a b"), ("AWS_SECRET_ACCESS_KEY", "k\n")])
def test_credentials_that_would_break_a_requests_head_are_refused(beside_local, local, name, variable, value):
    deployment = beside_local
    deployment.environment[variable] = value
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    deployment.stream(local.table(name()))
    host = deployment.start()
    host.wait_for("another character that none has")
    assert not any("begins at" in message for message in host.messages())
    host.stop()
