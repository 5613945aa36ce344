"""Nobody gets in: what other users, web pages, endpoints and files of odd kinds may not do."""
import http.client
import http.server
import json
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
from conftest import BINARY, Local, wait_until
from test_metrics import port_of
from test_trials import put

ECHO = 'return { stream = "s", on_record = function(record) require("tidemill.log").info("did", { id = record.keys.id }) end }'


# ---- web pages ----

def status_of(port, path="/", method="GET", body=b"", **headers):
    """The status of a request with exactly these headers."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
             f"Content-Length: {len(body)}", "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall("\r\n".join(lines).encode() + body)
        answer = b""
        while got := sock.recv(65536):
            answer += got
    return int(answer.split()[1])


PAGES = [dict(Host="evil.example:8000"), dict(Host="127.0.0.1.evil.example"), dict(Host="localhost.evil.example:8000"),
         dict(Host="127.0.0.1", Origin="http://evil.example"), dict(Host="localhost", Origin="null"),
         dict(Host="localhost", Origin="http://127.0.0.1.evil.example:80")]
PROGRAMS = [dict(Host="127.0.0.1:8000"), dict(Host="localhost:8000"), dict(Host="LOCALHOST"), dict(Host="[::1]:8000"),
            dict(Host="table.localhost:1"), dict(Host="localhost", Origin="http://localhost:3000")]


@pytest.mark.parametrize("headers", PAGES)
def test_a_web_page_gets_nothing_from_the_embedded_dynamodb(local, headers):
    assert status_of(local.port, **headers) == 403
    assert status_of(local.port, method="POST", body=b"{}", Authorization="x Credential=a/b/c/d",
                     X_Amz_Target="DynamoDB_20120810.ListTables", **headers) == 403
    assert status_of(local.port, "/inbox/x", method="POST", body=b"{}", **headers) == 403


def ask_as_page(port, method="POST", body=b"{}", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, "/", body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    return answer


LIST = dict(Authorization="x Credential=a/b/c/d", X_Amz_Target="DynamoDB_20120810.ListTables")


def test_a_page_of_this_machine_may_call(local):
    asked = ask_as_page(local.port, "OPTIONS", b"", Origin="http://localhost:3000", Access_Control_Request_Method="POST",
                  Access_Control_Request_Headers="authorization,x-amz-target")
    assert (asked.status, asked.headers["Access-Control-Allow-Origin"], asked.headers["Access-Control-Allow-Methods"],
            asked.headers["Access-Control-Allow-Headers"], asked.headers["Access-Control-Max-Age"]) == (200, "*", "POST", "authorization,x-amz-target", "172800")
    for status, headers in ((200, LIST), (400, {**LIST, "X_Amz_Target": "DynamoDB_20120810.Nothing"}), (400, {})):
        answer = ask_as_page(local.port, Origin="http://localhost:3000", **headers)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")
        assert "x-amzn-RequestId" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in ask_as_page(local.port, **LIST).headers


def test_pages_that_are_named_may_call(tmp_path):
    service = Local(tmp_path, "--cors", "https://app.example,http://b.example:3000")
    for origin, status in (("https://app.example", 200), ("http://b.example:3000", 200), ("https://APP.example", 200), ("http://localhost:1", 200),
                           ("http://b.example", 403), ("https://app.example.evil", 403), ("null", 403), ("https://app.exampl", 403)):
        assert ask_as_page(service.port, Origin=origin, **LIST).status == status, origin
    assert ask_as_page(service.port, Origin="https://app.example", Host="app.example", **LIST).status == 403, "a name that was made to lead here"
    service.stop()
    service = Local(tmp_path, "--cors", "*")
    assert [ask_as_page(service.port, Origin=origin, **LIST).status for origin in ("https://a.example", "null")] == [200, 200]
    service.stop()
    for origins in ("app.example", "https://", "https://a.example/", "", "*,https://a.example", "https://a.example,", "https://*.example"):
        done = subprocess.run([BINARY, "local", "--port", "0", "--cors", origins], capture_output=True, text=True)
        assert (done.returncode, "--cors" in done.stderr) == (2, True), (origins, done)


@pytest.mark.parametrize("headers", PROGRAMS)
def test_programs_do(local, headers):
    assert status_of(local.port, **headers) == 200
    assert status_of(local.port, method="POST", body=b"{}", Authorization="x Credential=a/b/c/d",
                     X_Amz_Target="DynamoDB_20120810.ListTables", **headers) == 200


def test_a_web_page_sees_no_metrics(beside_local, local, name):
    deployment = beside_local
    deployment.script("echo", ECHO)
    deployment.stream(local.table(name()), threads=1, listen="127.0.0.1:0")
    host = deployment.start()
    port = port_of(host)
    for headers in PAGES:
        assert status_of(port, "/metrics", **headers) == 403
    for headers in PROGRAMS:
        assert status_of(port, "/metrics", **headers) == 200
    assert host.stop() == 0


def answer_to(port, text):
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(text)
        answer = b""
        try:
            while got := sock.recv(65536):
                answer += got
        except ConnectionResetError:
            pass
        return answer


@pytest.mark.parametrize("lengths", ["Content-Length: 2\r\nContent-Length: 3", "Content-Length: 2\r\nTransfer-Encoding: chunked",
                                     "Content-Length: +2", "Content-Length: 0x2", "Content-Length: -1"])
def test_a_request_of_two_lengths_is_refused(local, lengths):
    answer = answer_to(local.port, f"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lengths}\r\n\r\n{{}}".encode())
    assert answer.split()[1:2] in ([b"400"], []), answer


def test_no_body_is_kept_of_who_says_not_who_they_are(local):
    """The answer comes before the body."""
    with socket.create_connection(("127.0.0.1", local.port), 10) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15000000\r\n\r\n")
        assert b"MissingAuthenticationToken" in sock.recv(65536)


def test_who_asks_nothing_holds_no_connection_for_long(local):
    """All connections that there are, and no request on them: others are served again before a client gives up."""
    idle = [socket.create_connection(("127.0.0.1", local.port), 10) for _ in range(1000)]
    wait_until(lambda: served(local.port), "somebody is served again")
    for sock in idle:
        sock.close()


@pytest.mark.parametrize("begun", [b"POST / HTTP/1.1\r\nX-", b"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: x Credential=a/b/c/d/e\r\n"
                                   b"X-Amz-Target: DynamoDB_20120810.ListTables\r\nContent-Length: 1000000\r\n\r\n"], ids=["heads", "bodies"])
def test_bytes_that_come_one_by_one_hold_no_connection_either(local, begun):
    """Slow requests on all connections, each with another byte whenever it would be given up for its silence."""
    slow = [socket.create_connection(("127.0.0.1", local.port), 10) for _ in range(1000)]
    for sock in slow:
        sock.sendall(begun)

    def drip():
        for sock in slow:
            try:
                sock.send(b"a")
            except OSError:
                pass
        return served(local.port)
    wait_until(drip, "somebody is served again", 100)
    for sock in slow:
        sock.close()


def served(port):
    try:
        return status_of(port, Host="localhost") == 200
    except (OSError, IndexError):
        return False


def test_a_large_set_costs_no_more_than_its_size(local, name):
    """A request near the limit is refused for its size, not worked on for minutes; sets of an item's size are quick."""
    table = local.table(name(), stream=False)
    with pytest.raises(local.client.exceptions.ClientError) as refused:
        local.client.put_item(TableName=table, Item={"id": {"S": "a"}, "s": {"SS": [f"{n:x}" for n in range(1_000_000)]}})
    assert "size" in str(refused.value)
    many = [f"{n:x}" for n in range(50_000)]
    local.client.put_item(TableName=table, Item={"id": {"S": "a"}, "s": {"SS": many}})
    for action in ("ADD", "DELETE"):
        local.client.update_item(TableName=table, Key={"id": {"S": "a"}}, UpdateExpression=f"{action} s :s",
                                 ExpressionAttributeValues={":s": {"SS": many[1:] if action == "DELETE" else many}})
    assert local.client.get_item(TableName=table, Key={"id": {"S": "a"}})["Item"]["s"] == {"SS": ["0"]}


# ---- other users of the machine ----

def others_may(path):
    return stat.S_IMODE(os.stat(path).st_mode) & 0o077


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_state_and_lake_are_the_owners_alone(beside_local, local, name, mode):
    deployment = beside_local
    table = local.table(name())
    deployment.script("echo", ECHO)
    text = "[target lake]\ntype = file\npath = lake\nlinger = 100ms\n[route r]\nstream = s\ntarget = lake\n"
    deployment.stream(table, text, threads=2)
    for known in ("state.db", "state.db.lock"):  # an earlier version left them readable
        (deployment.directory / known).touch()
        os.chmod(deployment.directory / known, mode)
    host = deployment.start()
    put(local.client, table, "a")
    files = wait_until(lambda: [path for path in (deployment.directory / "lake").rglob("*.jsonl*") if path.suffix != ".part"], "a file of the lake")
    for path in [*deployment.directory.glob("state.db*"), *files, *files[0].parents]:
        if path.is_relative_to(deployment.directory) and path != deployment.directory:
            # Its group may go on reading the state where somebody has said so, and only that.
            assert others_may(path) in ((0, 0o040) if mode == 0o640 and path.name.startswith("state.db") else (0,)), path
    assert len(list(deployment.directory.glob("state.db*"))) >= 3
    assert host.stop() == 0


def test_the_embedded_dynamodbs_data_are_the_owners_alone(tmp_path):
    process = subprocess.Popen([BINARY, "local", "--port", "0", "--data", tmp_path / "data"], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    found = list((tmp_path / "data").iterdir())
    assert found
    for path in [tmp_path / "data", *found]:
        assert not others_may(path), path
    process.terminate()
    assert process.wait() == 0


# ---- files that are none ----

@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_a_script_that_is_no_file_stops_nobody(beside_local, local, name, kind):
    deployment = beside_local
    table = local.table(name())
    deployment.script("echo", ECHO)
    odd = deployment.directory / "scripts" / "odd.lua"
    if kind == "fifo":
        os.mkfifo(odd)
    elif kind == "directory":
        odd.mkdir()
    else:
        odd.symlink_to("/dev/zero")
    deployment.stream(table, threads=1)
    done = deployment.run("check")
    assert done.returncode == 2
    assert "odd.lua: it is no regular file" in done.stderr, done.stderr
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: host.fields("did"), "the other handler works")
    assert host.stop() == 0


def test_an_ini_or_a_secret_that_is_no_file_is_refused(deployment):
    os.mkfifo(deployment.directory / "pipe")
    done = deployment.run("check", "-c", "pipe")
    assert done.returncode == 2 and "pipe: it is no regular file" in done.stderr
    deployment.configure("[stream s]\ntable = ${file:pipe}\n")
    done = deployment.run("check")
    assert done.returncode == 2 and "pipe: it is no regular file" in done.stderr


# ---- redirects ----

class Redirecting:
    """Answers each path with the Location that it was given, else with 200; remembers the headers."""

    def __init__(self):
        outer = self
        self.locations, self.seen = {}, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_GET(self):
                outer.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                location = outer.locations.get(self.path)
                self.send_response(302 if location is not None else 200)
                if location is not None:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()
            do_POST = do_GET
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"


def fetch(deployment, url):
    deployment.script("h", 'local http = require "tidemill.http"\nreturn { stream = "s", on_record = function(record)\n'
                           f'  local answer = http.get("{url}", {{ redirects = 5, headers = {{ Authorization = "Bearer SECRET",\n'
                           '    Cookie = "c=SECRET", ["X-Api-Key"] = "SECRET", Accept = "text/plain" } })\n'
                           '  print(answer.status)\nend }')
    (deployment.directory / "event.json").write_text(json.dumps({"Records": [
        {"eventID": "1", "eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "a"}}, "SequenceNumber": "1"}}]}))
    deployment.environment["AWS_REGION"] = "eu-west-1"
    return deployment.run("invoke", "scripts/h.lua", "event.json")


def test_a_redirect_elsewhere_tells_no_secret(deployment):
    here, there = Redirecting(), Redirecting()
    here.locations["/a"] = f"{there.url}/b"
    done = fetch(deployment, here.url + "/a")
    assert done.returncode == 0, done.stderr
    assert here.seen[0][1]["authorization"] == "Bearer SECRET"
    path, headers = there.seen[0]
    assert path == "/b" and headers["accept"] == "text/plain"
    assert "SECRET" not in json.dumps(headers)


@pytest.mark.parametrize("location, path", [
    ("/c", "/c"), ("next?x=1", "/dir/next?x=1"), ("?y=2", "/dir/a?y=2"), ("//127.0.0.1:{port}/p", "/p"),
    ("HTTP://127.0.0.1:{port}/q", "/q"), ("../up", "/up")])
def test_a_redirect_here_keeps_the_headers(deployment, location, path):
    here = Redirecting()
    here.locations["/dir/a"] = location.format(port=here.port)
    done = fetch(deployment, here.url + "/dir/a")
    assert done.returncode == 0, done.stderr
    assert here.seen[1][0] in (path, "/dir/../up")
    assert here.seen[1][1]["authorization"] == "Bearer SECRET"


@pytest.mark.parametrize("location", ["", "#x", "ftp://127.0.0.1/x", "javascript:alert(1)", "http://", "https:///x"])
def test_other_redirects_are_errors(deployment, location):
    here = Redirecting()
    here.locations["/a"] = location
    done = fetch(deployment, here.url + "/a")
    assert done.returncode == 1
    assert "leads to no http or https URL" in done.stderr, done.stderr
    assert "/a" not in done.stderr.split("traceback")[0]
    assert len(here.seen) == 1


# ---- terminals ----

EVIL = "a\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202e\u2066b"


def tame(text):
    return not any(ord(c) < 0x20 and c not in "\n\t" or 0x7f <= ord(c) <= 0x9f or c in "\u202e\u2066" for c in text)


def test_what_is_in_a_record_drives_no_terminal(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("h", 'return { stream = "s", retries = 0, on_record = function(record) error(record.new.text) end }')
    deployment.stream(table, threads=1, log_format="text")
    host = deployment.start()
    put(local.client, table, EVIL.replace("\x07", ""), text={"S": EVIL})
    wait_until(lambda: (deployment.status() or {}).get("dead_letters") == {"h": 1}, "it is a dead letter")
    for command in (["dead", "list"], ["dead", "show", "1"], ["status"]):
        done = deployment.run(*command)
        assert done.returncode == 0
        assert tame(done.stdout) and tame(done.stderr), (command, done.stdout)
    assert tame(host.log_path.read_text())
    assert json.loads(deployment.run("dead", "show", "1", "--json").stdout)[0]["error"].count("\x1b") == 2
    assert host.stop() == 0


# ---- the build ----

def test_the_binary_is_hardened():
    header = subprocess.run(["readelf", "-hlWd", BINARY], capture_output=True, text=True, check=True).stdout
    if "sanitize" in str(BINARY) or "__asan" in subprocess.run(["nm", "-D", BINARY], capture_output=True, text=True).stdout \
            or "__tsan" in subprocess.run(["nm", "-D", BINARY], capture_output=True, text=True).stdout:
        return
    assert "DYN (Position-Independent Executable file)" in header
    assert "GNU_RELRO" in header and "BIND_NOW" in header
    stack = next(line for line in header.splitlines() if "GNU_STACK" in line)
    assert "RWE" not in stack
    symbols = subprocess.run(["nm", "-D", BINARY], capture_output=True, text=True, check=True).stdout
    assert "__stack_chk_fail" in symbols and "_chk@" in symbols


# ---- least rights ----

def status_line(process, name):
    return re.search(rf"^{name}:\s*(\S+)", open(f"/proc/{process.pid}/status").read(), re.M)[1]


def is_confined(host):
    host.wait_for("this process")
    return any("writes below" in message for message in host.messages())


def lake(deployment, table, path, **host):
    deployment.stream(table, f"[target t]\ntype = file\npath = {path}\nlinger = 0s\ncompression = none\n", **host)


LAKE_HANDLER = 'return { stream = "s", targets = { "t" }, retries = 1000, backoff = "20ms..50ms", on_record = function(record) require "tidemill.emit"("t", record.new) end }'


def lines_below(path):
    return sorted(json.loads(line)["id"] for file in path.rglob("*.jsonl") for line in file.read_text().splitlines())


def test_a_host_gives_up_what_it_does_not_need(beside_local, local, name, tmp_path_factory):
    """No core files; files are written below the state's directory and the lake's only, whatever the INI says later."""
    deployment, table = beside_local, local.table(name())
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    deployment.script("h", LAKE_HANDLER)
    lake(deployment, table, deployment.directory / "lake")
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: lines_below(deployment.directory / "lake") == ["a"], "it is written")
    assert re.search(r"Max core file size\s+0\s+0", open(f"/proc/{host.process.pid}/limits").read())
    if not is_confined(host):
        pytest.skip("this kernel has no Landlock")
    assert status_line(host.process, "NoNewPrivs") == "1"
    lake(deployment, table, elsewhere / "lake")
    host.process.send_signal(signal.SIGHUP)
    host.wait_for("not below what this process may write")
    host.wait_for("not taken over")
    put(local.client, table, "b")
    wait_until(lambda: lines_below(deployment.directory / "lake") == ["a", "b"], "it goes on as before")
    lake(deployment, table, deployment.directory / "deeper" / "lake")  # below the state's directory
    host.process.send_signal(signal.SIGHUP)
    host.wait_for("was read again")
    put(local.client, table, "c")
    wait_until(lambda: lines_below(deployment.directory / "deeper") == ["c"], "that may be")
    assert host.stop() == 0 and not any(elsewhere.iterdir())


def test_a_link_that_leads_elsewhere_is_not_followed_by_writes(beside_local, local, name, tmp_path_factory):
    deployment, table = beside_local, local.table(name())
    elsewhere, place = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("place")
    deployment.script("h", LAKE_HANDLER)
    lake(deployment, table, place / "lake")
    host = deployment.start()
    if not is_confined(host):
        pytest.skip("this kernel has no Landlock")
    wait_until((place / "lake").exists, "it is made")
    (place / "lake").rmdir()
    (place / "lake").symlink_to(elsewhere)
    put(local.client, table, "a")
    host.wait_for("Permission denied")
    assert not any(elsewhere.iterdir())
    host.kill()
    lake(deployment, table, place / "lake", landlock="off", core_dumps="on")
    host = deployment.start()
    wait_until(lambda: lines_below(elsewhere) == ["a"], "without it, links are followed")
    assert status_line(host.process, "NoNewPrivs") == "0" and host.stop() == 0


# ---- answers that are none ----

ARN = "arn:aws:dynamodb:eu-west-1:0:table/T/stream/2026-01-01T00:00:00.000"


@pytest.fixture
def streams():
    """A service of one shard. `pages`: what GetRecords answers, in turn; behind them an empty page."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers["X-Amz-Target"].split(".")[1]
            answer = {"DescribeTable": {"Table": {"TableName": "T", "LatestStreamArn": ARN, "StreamSpecification": {"StreamEnabled": True}}},
                      "DescribeStream": {"StreamDescription": {"StreamArn": ARN, "StreamStatus": "ENABLED", "StreamViewType": "NEW_AND_OLD_IMAGES",
                                                               "Shards": [{"ShardId": "shardId-0001", "SequenceNumberRange": {"StartingSequenceNumber": "1"}}]}},
                      "ListStreams": {"Streams": [{"StreamArn": ARN, "TableName": "T", "StreamLabel": "2026-01-01T00:00:00.000"}]},
                      "GetShardIterator": {"ShardIterator": "i"},
                      "GetRecords": {"Records": [], "NextShardIterator": "i"}}[operation]
            if operation == "GetRecords" and pages:
                answer = pages.pop(0)
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass
    pages = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url, server.pages = f"http://127.0.0.1:{server.server_port}", pages
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def record_of(number, time):
    return {"eventID": str(number), "eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": str(number)}}, "NewImage": {"id": {"S": str(number)}},
                                                                       "SequenceNumber": str(number), "ApproximateCreationDateTime": time}}


@pytest.mark.parametrize("wrong", [5, {}, [], "", True], ids=str)
def test_a_mistake_is_not_the_end_of_a_shard(deployment, streams, wrong):
    """Without a next page a shard is finished, for ever: that must be said, and not be a fault of somebody's."""
    streams.pages += [{"Records": [record_of(1, 1700000000)], "NextShardIterator": wrong}] * 2 + [{"Records": [record_of(1, 1700000000)], "NextShardIterator": "i"}]
    deployment.dynamodb = streams
    deployment.script("h", 'return { stream = "s", on_record = function(record) require("tidemill.log").info("did", { id = record.new.id }) end }')
    deployment.stream("T")
    host = deployment.start()
    host.wait_for("NextShardIterator is neither a text nor null")
    wait_until(lambda: host.fields("did") == [{"id": "1"}], "it is read again")
    streams.pages.append({"Records": [record_of(2, 1700000000)], "NextShardIterator": "i"})
    wait_until(lambda: len(host.fields("did")) == 2, "and goes on")
    assert host.stop() == 0


def test_a_time_that_is_none_is_none(deployment, streams):
    times = [999999999999999999999999999999, 9223372036854775807, 100000000000000000, 1e300, -5, -1e300, "soon", None, 1700000000]
    streams.pages.append({"Records": [record_of(n + 1, time) for n, time in enumerate(times)], "NextShardIterator": "i"})
    deployment.dynamodb = streams
    deployment.script("h", 'return { stream = "s", ordering = "shard", on_record = function(record) require("tidemill.log").info("did", { time = record.time }) end }')
    deployment.stream("T")
    host = deployment.start()
    wait_until(lambda: len(host.fields("did")) == len(times), "all are handled")
    assert [fields["time"] for fields in host.fields("did")] == [0] * 8 + [1700000000]
    assert host.stop() == 0


def test_what_is_no_utf_8_spoils_no_page_of_numbers(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    script = 'return { stream = "s", retries = 0, on_record = function(record) error("odd \\0 rest") end }'
    path = os.fsencode(deployment.directory / "scripts") + b"/d\xe9ad.lua"
    with open(path, "w") as file:
        file.write(script)
    deployment.stream(table, listen="127.0.0.1:0", checkpoint_interval="50ms")
    host = deployment.start()
    put(local.client, table, "a")

    def letters():
        done = subprocess.run([BINARY, "dead", "list", "--json"], cwd=deployment.directory, env=deployment.environment, capture_output=True, timeout=60)
        return done.returncode == 0 and json.loads(done.stdout.decode())
    letter, = wait_until(letters, "it is a letter")
    assert letter["handler"] == "d\ufffdad" and letter["error"].endswith("odd ? rest")

    def shown():
        with urllib.request.urlopen(f"http://127.0.0.1:{port_of(host)}/metrics", timeout=10) as answer:
            return 'handler="d\ufffdad"' in answer.read().decode()
    wait_until(shown, "its numbers are there")
    done = subprocess.run([BINARY, "status", "--json"], cwd=deployment.directory, env=deployment.environment, capture_output=True, timeout=60)
    assert json.loads(done.stdout.decode())["dead_letters"] == {"d\ufffdad": 1}
    assert host.stop() == 0


def test_numbers_are_there_before_the_first_checkpoint(beside_local, local, name):
    deployment = beside_local
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    deployment.stream(local.table(name()), listen="127.0.0.1:0", checkpoint_interval="60s")
    host = deployment.start()
    port = port_of(host)

    def build():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return "tidemill_longest_step_seconds" in answer.read().decode()
    wait_until(build, "there are numbers")
    host.kill()


@pytest.mark.parametrize("state", ["sqlite::memory:", "sqlite:file:x?mode=memory"])
def test_a_state_is_a_file_whatever_its_name(beside_local, local, name, state):
    deployment = beside_local
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    deployment.stream(local.table(name()), state=state)
    host = deployment.start()
    host.wait_for("begins at the oldest record")
    assert host.stop() == 0
    assert (deployment.directory / state.split(":", 1)[1]).exists()


@pytest.mark.parametrize("operation, body", [
    ("ExecuteStatement", {"Statement": "SELECT * FROM T WHERE " + "size(" * 200_000 + "x" + ")" * 200_000 + " = 1"}),
    ("ExecuteStatement", {"Statement": "SELECT * FROM T WHERE x=1" + " AND x=1" * 200_000}),
    ("ExecuteStatement", {"Statement": "SELECT * FROM T WHERE x" + ".x" * 40_000 + " = 1"}),
    ("ExecuteStatement", {"Statement": "SELECT * FROM T WHERE " + "size(" * 1300 + "x" + ")" * 1300 + " = 1"}),
    ("BatchExecuteStatement", {"Statements": [{"Statement": "UPDATE T SET x=" + "list_append(" * 200_000 + "x" + ",x)" * 200_000 + " WHERE id='a'"}]}),
    ("Scan", {"TableName": "TABLE", "FilterExpression": "size(" * 200_000 + "x" + ")" * 200_000 + " = :a", "ExpressionAttributeValues": {":a": {"N": "1"}}}),
    ("Scan", {"TableName": "TABLE", "FilterExpression": "x = :a" + " AND x = :a" * 200_000, "ExpressionAttributeValues": {":a": {"N": "1"}}}),
    ("UpdateItem", {"TableName": "TABLE", "Key": {"id": {"S": "a"}}, "UpdateExpression": "SET x = " + "if_not_exists(x, " * 200_000 + "x" + ")" * 200_000}),
    ("Scan", {"TableName": "TABLE", "ProjectionExpression": "a" + ".a" * 400_000})], ids=lambda value: value if isinstance(value, str) else "")
def test_no_expression_ends_the_embedded_dynamodb(local, name, operation, body):
    """Deep or long ones are refused, as the service does: 4 KB of an expression, 8 KB of a statement."""
    table = local.table(name(), stream=False)
    request = urllib.request.Request(local.url, json.dumps(body).replace('"TABLE"', json.dumps(table)).encode(), {
        "X-Amz-Target": f"DynamoDB_20120810.{operation}", "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request"})
    try:
        answer = urllib.request.urlopen(request, timeout=60).read()
    except urllib.error.HTTPError as error:
        assert error.code == 400
        answer = error.read()
    assert b"ValidationException" in answer or b"ValidationError" in answer, answer[:300]
    assert status_of(local.port, Host="localhost") == 200


def test_a_state_directory_that_is_missing_is_not_made(deployment):
    """It may be a mistake; and what a typing error has made would be looked for elsewhere."""
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    deployment.stream("T", state="sqlite:missing/state.db")
    done = deployment.run("run")
    assert done.returncode == 1 and "missing/state.db" in done.stderr and not (deployment.directory / "missing").exists()
