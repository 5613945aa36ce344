"""tidemill.redis, on a real server: Debian's redis-server."""
import json
import shutil
import signal
import socket
import subprocess

import pytest

from conftest import free_port, wait_until

pytestmark = pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")


class Redis:
    def __init__(self, directory, *more, port=None):
        self.directory, self.more = directory, more
        self.port = port or free_port()
        self.path = directory / "redis.sock"
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.path), "--dir", str(self.directory),
                                         "--appendonly", "yes", "--appendfsync", "always", "--save", "", *self.more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.path.exists() and "PONG" in self.ask("PING") or "NOAUTH" in self.ask("PING"), "it is up")

    def ask(self, *words, db="0"):
        return subprocess.run(["redis-cli", "-s", str(self.path), "-n", db, *words], capture_output=True, text=True, timeout=30).stdout.strip()

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path):
    servers = []

    def start(*more):
        servers.append(Redis(tmp_path, *more))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def begin(deployment, local, name, url, body, more="", head="", **settings):
    table = local.table(name())
    deployment.script("h", f"""
local redis, log, json = require "tidemill.redis", require "tidemill.log", require "tidemill.json"
{head}
return {{ stream = "s", backoff = "10ms..50ms", on_record = function(record) local id = record.keys.id {body} end }}""")
    deployment.stream(table, f"[handler h]\nredis_url = {url}\n{more}", **settings)
    host = deployment.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    return table, host


def test_replies_are_what_redis_says(beside_local, local, name, redis):
    server = redis()
    table, host = begin(beside_local, local, name, server.url, r"""
local function say(what, value) log.info(what .. " " .. (type(value) == "table" and json.encode(value) or math.type(value) or type(value)) .. " " .. tostring(value)) end
say("set", redis.call("SET", "k", "a\0\r\n\255"))
say("same", redis.call("GET", "k") == "a\0\r\n\255")
say("nil", redis.call("GET", "none"))
say("zadd", redis.call("ZADD", "board", 10, "ada", 2.5, "bob"))
local top = redis.call("ZREVRANGE", "board", 0, -1, "WITHSCORES")
log.info("top " .. table.concat(top, ","))
local got = redis.pipeline { { "SET", "n", 1 }, { "INCRBY", "n", 41 }, { "MGET", "n", "none" } }
log.info(("pipeline %%s %%d %%s %%s"):format(got[1], got[2], got[3][1], tostring(got[3][2])))
local done = redis.transaction { { "INCR", "n" }, { "LRANGE", "none", 0, -1 }, { "GET", "none" } }
log.info(("transaction %%d %%d %%s"):format(done[1], #done[2], tostring(done[3])))
log.info("socket " .. redis.at("unix://%s").call("GET", "n") .. " " .. tostring(redis.at("%s/3").call("GET", "n")))
log.info("ready")""" % (server.path, server.url))
    host.wait_for("ready")
    lines = host.messages()
    for line in ("set string OK", "same boolean true", "nil nil nil", "zadd integer 2", "top ada,10,bob,2.5", "pipeline OK 42 42 false", "transaction 43 0 false", "socket 43 nil"):
        assert line in lines, (line, lines)
    assert host.stop() == 0


def test_what_is_wrong_is_told(beside_local, local, name, redis):
    server = redis()
    calls = ['redis.call("LPUSH", "text", 1)', 'redis.call("MULTI")', 'redis.call("blpop", "l", 0)', 'redis.call("GET", nil)', 'redis.call("GET", {})', 'redis.call()', 'redis.pipeline {}', 'redis.pipeline { "GET" }',
             'redis.pipeline { { "GET", "a" }, {} }', 'redis.transaction { { "INCR", "text" }, { "SET", "t", "1" } }', 'redis.transaction { { "WATCH", "a" } }', 'redis.once("", { { "INCR", "n" } })', 'redis.once("k", { { "INCR", "n" } }, { tll = 1 })',
             'redis.once("k", { { "SUBSCRIBE", "n" } })', 'redis.at("http://localhost")', 'redis.at("redis://")', 'redis.at("redis://localhost/x")', 'redis.at("redis://:secret@elsewhere.example").call("PING")', 'redis.at(3)', 'redis.cal("GET")', 'redis.call("NONSENSE")', 'redis.call("XREAD", "block", 0, "STREAMS", "s", "$")', 'redis.call("replconf", "ACK", 1)', 'redis.at("redis://user@localhost")', 'redis.transaction { { "INCR", "n" }, false, { "INCR", "n" } }', 'redis.once("h", { { "HSET", "k", "name", nil, "x", 1 } })', 'local many = { "SADD", "k" } for i = 3, 4001 do many[i] = i end redis.once("m", { many })',
             'redis.call("SADD", "k", "a", nil)', 'redis.once("w", { { "SET", "once", "1" }, { "LPUSH", "text", 1 } })', 'error(select(2, redis.once("w", { { "SET", "once", "2" } }))[1])']
    told = ["WRONGTYPE", "use redis.transaction", "changes the connection, or waits", "argument 1 of GET: a string or a number expected, got nil", "argument 1 of GET: a string or a number expected, got table", "a command's name expected", "a list of commands expected", "command 1: a list expected",
            "command 2: 1 to", "not an integer", "changes the connection", "an empty text", "unknown option 'tll'", "changes the connection", "redis://[USER", "redis://[USER", "redis://[USER", "is not in allow_hosts", "a URL expected", "has no 'cal'", "unknown command", "waits, and others", "waits, and others", "redis://[USER", "command 3: a list expected", "argument 3 of HSET: a string or a number expected, got nil", "at most 4000 words", "argument 3 of SADD", "WRONGTYPE", "OK"]
    body = 'redis.call("SET", "text", "x")\n' + "\n".join(f'log.info("{i}: " .. tostring(select(2, pcall(function() {call} end))))' for i, call in enumerate(calls))
    table, host = begin(beside_local, local, name, server.url, body + ' log.info("code " .. select(2, pcall(redis.call, "INCR", "text")).code) log.info("ready")', "allow_hosts = 127.0.0.1 localhost\n")
    host.wait_for("ready")
    lines = host.messages()
    for i, part in enumerate(told):
        line = next(line for line in lines if line.startswith(f"{i}: "))
        assert part in line and "secret" not in line, line
        assert "h.lua:" in line or part in ("WRONGTYPE",) or "redis: " in line, line
    assert "code ERR" in lines
    assert server.ask("GET", "t") == "1"  # as Redis has it: the other command of the transaction is done
    assert host.stop() == 0


def test_a_counter_counts_each_record_once(beside_local, local, name, redis):
    """Though the host is killed in the midst of it, and Redis is."""
    server = redis()
    table, host = begin(beside_local, local, name, server.url, """redis.once(record.id, { { "INCR", "count" }, { "ZINCRBY", "by", 1, id } })""", "retries = -1\n")
    for i in range(150):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i % 7}"}, "n": {"N": str(i)}})
        if i % 50 == 20:
            host.kill()
            host = beside_local.start()
        if i % 50 == 40:
            server.kill()
            server.path.unlink(missing_ok=True)
            server.start()
    wait_until(lambda: int(server.ask("GET", "count") or 0) >= 151 and beside_local.settled(), "all is settled")
    assert server.ask("GET", "count") == "151"
    assert sum(int(score) for score in server.ask("ZRANGE", "by", "0", "-1", "WITHSCORES").splitlines()[1::2]) == 151
    assert beside_local.run("dead", "list").stdout == "no dead letters\n"
    assert host.stop() == 0


def test_a_once_that_fails_is_done_again(beside_local, local, name, redis):
    server = redis()
    server.ask("SET", "n", "text")
    table, host = begin(beside_local, local, name, server.url, """local ok, problem = pcall(redis.once, record.id, { { "INCR", "n" } }, { ttl = 100 })
if not ok then log.info("failed " .. problem.code) redis.call("DEL", "n") error("again") end
local done, replies = redis.once(record.id, { { "INCR", "n" } })
log.info("then " .. tostring(done) .. " " .. redis.call("GET", "n"))""")
    host.wait_for("then false 1")
    assert "failed ERR" in host.messages()
    assert 0 < int(server.ask("TTL", next(key for key in server.ask("KEYS", "tidemill:once:*").splitlines()))) <= 100
    assert host.stop() == 0


def test_who_asks_says_who_it_is(beside_local, local, name, redis):
    server = redis("--user", "default", "off", "--user", "shop", "on", ">pa:s/s", "~*", "+@all")
    table, host = begin(beside_local, local, name, f"redis://shop:pa%3As%2Fs@127.0.0.1:{server.port}/5", f"""
log.info("set " .. redis.call("SET", "k", id))
local ok, problem = pcall(redis.at("redis://shop:no@127.0.0.1:{server.port}").call, "PING")
log.info("refused " .. problem.code .. " " .. tostring(problem))
log.info("then " .. redis.call("GET", "k"))""")
    host.wait_for("then a")
    assert any(line == "refused Refused redis: Redis has refused AUTH or SELECT: WRONGPASS" for line in host.messages())
    assert "pa:s" not in host.log_path.read_text() and "pa%3A" not in host.log_path.read_text()
    assert host.stop() == 0


def certificates(directory):
    run = lambda *words: subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test")
    run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (directory / "extension").write_text("subjectAltName=DNS:localhost\n")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "extension")


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_verified(beside_local, local, name, redis, tmp_path, trusted):
    certificates(tmp_path)
    port = free_port()
    server = redis("--tls-port", str(port), "--tls-cert-file", str(tmp_path / "server.pem"), "--tls-key-file", str(tmp_path / "server.key"), "--tls-ca-cert-file", str(tmp_path / "ca.pem"), "--tls-auth-clients", "no")
    if trusted:
        beside_local.environment["AWS_CA_BUNDLE"] = str(tmp_path / "ca.pem")
    table, host = begin(beside_local, local, name, f"rediss://localhost:{port}", f"""
local big = ("x"):rep(300000)
local ok, said = pcall(function() redis.call("SET", "k", big) return redis.call("GET", "k") == big end)
log.info("said " .. tostring(said) .. tostring(said ~= true and said.code))
log.info("by name " .. tostring(pcall(redis.at("rediss://127.0.0.1:{port}").call, "PING")))""")
    host.wait_for("by name false")
    said = next(line for line in host.messages() if line.startswith("said"))
    assert said == "said truefalse" if trusted else "certificate" in said and "NetworkError" in said, said
    assert host.stop() == 0


def test_a_server_that_is_silent_or_away(beside_local, local, name, redis):
    server = redis()
    nowhere = free_port()
    table, host = begin(beside_local, local, name, server.url, f"""
local ok, problem = pcall(redis.at("redis://127.0.0.1:{nowhere}").call, "PING")
log.info("away " .. problem.code)
log.info("silent " .. select(2, pcall(redis.at("{server.url}/1", {{ timeout = 0.3 }}).call, "EVAL", "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 2 do end return 1", 0)).code)
log.info("then " .. redis.at("{server.url}/1", {{ timeout = 30 }}).call("PING"))""")
    host.wait_for("then PONG")
    assert {"away NetworkError", "silent Timeout"} <= set(host.messages())
    assert host.stop() == 0


def test_one_that_falls_silent_is_left_and_found_again(beside_local, local, name, redis):
    """A stopped process, whose kernel still takes what is sent; and one that never answers who one is."""
    server = redis()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(30)
        table, host = begin(beside_local, local, name, server.url, f"""
local quick = redis.at("{server.url}", {{ timeout = 0.3 }})
local mute = redis.at("redis://:secret@127.0.0.1:{mute.getsockname()[1]}", {{ timeout = 0.3 }})
local server = id:find("mute") and mute or id == "stopped" and quick or redis
local ok, said = pcall(server.call, "INCR", "n")
log.info(id .. " " .. tostring(ok and said or said.code))""", threads=1)
        say = lambda item: (local.client.put_item(TableName=table, Item={"id": {"S": item}}), host.wait_for(item + " "))
        host.wait_for("a 1")
        server.process.send_signal(signal.SIGSTOP)
        say("stopped")
        server.process.send_signal(signal.SIGCONT)
        say("goes on")
        say("mute1")
        say("mute2")
        mute.accept()
        mute.accept()  # the second call has made another connection
        lines = host.messages()
        assert {"stopped Timeout", "mute1 Timeout", "mute2 Timeout"} <= set(lines) and any(line.startswith("goes on ") and "Timeout" not in line for line in lines), lines
        assert host.stop() == 0


@pytest.mark.parametrize("kind", ["stream", "list", "channel"])
def test_a_target_gets_each_record_once_and_in_order(beside_local, local, name, redis, kind, tmp_path):
    server = redis()
    table = local.table(name())
    heard = tmp_path / "heard"
    listener = subprocess.Popen(["redis-cli", "-s", str(server.path), "SUBSCRIBE", "out"], stdout=heard.open("w")) if kind == "channel" else None
    if listener:
        wait_until(lambda: "subscribe" in heard.read_text(), "it listens")
    beside_local.script("h", "return { stream = 's', on_record = function() end }")
    beside_local.stream(table, f"[target out]\ntype = redis\nurl = {server.url}\n{kind} = out\nbackoff = 10ms..50ms\n[route all]\nstream = s\ntarget = out\nretries = -1\ninput_template = {{\"id\": <id>, \"n\": <n>}}\n"
                        "input_paths = {\"id\": \"$.dynamodb.Keys.id.S\", \"n\": \"$.dynamodb.NewImage.n.N\"}\n")
    assert beside_local.run("check").returncode == 0, beside_local.run("check").stderr
    host = beside_local.start()
    for i in range(90):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i % 5}"}, "n": {"N": str(i)}})
        if i % 40 == 20:
            host.kill()
            host = beside_local.start()
        if i % 40 == 30 and kind != "channel":
            server.kill()
            server.path.unlink(missing_ok=True)
            server.start()
    entries = {"stream": lambda: int(server.ask("XLEN", "out") or 0), "list": lambda: int(server.ask("LLEN", "out") or 0), "channel": lambda: 90}[kind]
    wait_until(lambda: entries() >= 90 and beside_local.settled(), "all is settled")
    if kind == "stream":
        had = [json.loads(line) for line in server.ask("XRANGE", "out", "-", "+").splitlines() if line.strip().startswith("{")]
    elif kind == "list":
        had = [json.loads(line) for line in server.ask("LRANGE", "out", "0", "-1").splitlines()]
    else:
        wait_until(lambda: heard.read_text().count("{") >= 90, "all are heard")
        listener.kill()
        had = [json.loads(line) for line in heard.read_text().splitlines() if line.startswith("{")]
    for item in range(5):
        assert [int(entry["n"]) for entry in had if entry["id"] == f"i{item}"] == list(range(item, 90, 5)), had
    assert host.stop() == 0


def test_a_target_that_is_refused(beside_local, local, name, redis):
    server = redis()
    server.ask("SET", "out", "text")
    table = local.table(name())
    beside_local.script("h", "return { stream = 's', on_record = function() end }")
    good = f"[target out]\ntype = redis\nurl = {server.url}\nstream = out\nmaxlen = 3\nbackoff = 10ms..50ms\n[route all]\nstream = s\ntarget = out\nretries = 0\n"
    beside_local.stream(table, good)
    text = beside_local.ini.read_text()
    for old, new, told in (("stream = out", "list = out", "maxlen is for stream"), ("maxlen = 3", "list = a", "needs one of stream, list and channel"), ("stream = out\n", "", "needs one of stream, list and channel"), (server.url, "http://localhost", "url: redis://[USER")):
        beside_local.ini.write_text(text.replace(old, new))
        done = beside_local.run("check")
        assert done.returncode == 2 and told in done.stderr, (told, done.stderr)
    beside_local.ini.write_text(text)
    host = beside_local.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    letter, = wait_until(lambda: json.loads(beside_local.run("dead", "list", "--json").stdout or "[]"), "it is a letter")
    assert "WRONGTYPE" in letter["error"]
    server.ask("DEL", "out")
    assert beside_local.run("dead", "redrive", "--all").returncode == 0
    wait_until(lambda: server.ask("XLEN", "out") == "1", "the marker was taken back")
    assert host.stop() == 0


def test_many_at_once_share_one_connection(beside_local, local, name, redis):
    server = redis()
    table, host = begin(beside_local, local, name, server.url, """
local all = require "tidemill.all"
local list = {} for i = 1, 500 do list[i] = i end
local got = all(list, function(i) return redis.call("INCRBY", "sum", i) and redis.call("GET", "key" .. i) == nil and redis.call("ECHO", "e" .. i) end, { limit = 100 })
for i = 1, 500 do assert(got[i] == "e" .. i) end
log.info("all " .. redis.call("GET", "sum"))""", "cpu_limit = 60s\ntimeout = 120s\n", threads=1)
    host.wait_for("all 125250")
    clients = [line for line in server.ask("CLIENT", "LIST").splitlines() if f":{server.port} " in line]
    assert len(clients) == 1, clients
    metrics = beside_local.run("status", "--json").stdout
    assert json.loads(metrics)
    assert host.stop() == 0


def test_a_dry_run_and_a_test_need_no_server(deployment):
    deployment.dynamodb = type("D", (), {"url": "http://127.0.0.1:1"})
    deployment.script("h", """
local redis, log = require "tidemill.redis", require "tidemill.log"
return { stream = "s", on_record = function(record)
  redis.call("ZADD", "board", 1, record.keys.id)
  redis.pipeline { { "GET", "a" }, { "GET", "b" } }
  redis.transaction { { "INCR", "n" } }
  local done, replies = redis.once(record.id, { { "INCR", "once" } })
  log.info("once " .. tostring(done) .. " " .. #replies)
end }""")
    deployment.stream("Things", "[table Things]\nkey = id\n[handler h]\nredis_url = redis://user:secret@127.0.0.1:1\n")
    event = deployment.directory / "event.json"
    event.write_text(json.dumps({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "i"}}, "SequenceNumber": "1"}}))
    done = deployment.run("invoke", "h", str(event), "--dry-run")
    assert done.returncode == 0 and "ZADD board 1 i" in done.stdout and "once true 0" in done.stderr and "secret" not in done.stdout + done.stderr, done.stdout + done.stderr
    (deployment.directory / "scripts" / "h_test.lua").write_text("""
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"
test("each is asked once", function()
  local asked = {}
  test.redis(function(command)
    asked[#asked + 1] = table.concat(command, " ")
    if command[1] == "INCR" then return 7 end
    if command[1] == "GET" then return nil end
    return 1
  end)
  dynamodb.put("Things", { id = "a" })
  test.settle()
  test.equal(asked, { "ZADD board 1 a", "GET a", "GET b", "INCR n", "INCR once" })
  test.equal(#test.requests(), 4)
end)
test("an error is one", function()
  test.redis(function(command) return { err = "WRONGTYPE no" } end)
  dynamodb.put("Things", { id = "a" })
  test.settle()
  test.contains(test.dead_letters()[1].error, "WRONGTYPE no")
end)
""")
    done = deployment.run("test", str(deployment.directory / "scripts"))
    assert done.returncode == 0, done.stdout + done.stderr
