"""tidemill.postgres, on a real server: Debian's postgresql."""
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from conftest import free_port, wait_until

PROGRAMS = next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)), None)

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="postgresql is not installed")

OPTIONS = "fsync = off\nsynchronous_commit = on\nfull_page_writes = off\nshared_buffers = 16MB\nlisten_addresses = '127.0.0.1'\nmax_connections = 40\n"


class Postgres:
    """PostgreSQL runs under no root: as `postgres`, then."""

    def __init__(self, port=None):
        self.home = tempfile.mkdtemp(prefix="tm-pg-")  # a socket's path has 107 bytes
        self.data = os.path.join(self.home, "data")
        self.user = {}
        if os.getuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(self.home, entry.pw_uid, entry.pw_gid)
            self.user = dict(user="postgres", group=entry.pw_gid, extra_groups=[])
        self.port = port or free_port()
        self.run("initdb", "-D", self.data, "-U", "admin", "--auth=trust", "-E", "UTF8", "--no-sync")
        self.configure(OPTIONS)
        self.url = f"postgres://admin@127.0.0.1:{self.port}/postgres"
        self.start()

    def configure(self, text):
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            conf.write(text)

    def run(self, program, *arguments):
        done = subprocess.run([f"{PROGRAMS}/{program}", *arguments], capture_output=True, text=True, cwd=self.home, timeout=120, **self.user)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self):
        log = open(os.path.join(self.home, "log"), "ab")
        self.process = subprocess.Popen([f"{PROGRAMS}/postgres", "-D", self.data, "-p", str(self.port), "-k", self.home], cwd=self.home, stdout=log, stderr=log,
                                        **self.user)
        wait_until(lambda: self.answers(), lambda: "it is up; " + open(os.path.join(self.home, "log")).read()[-2000:])

    def answers(self):
        return self.process.poll() is None and subprocess.run(["psql", "-h", self.home, "-p", str(self.port), "-U", "admin", "postgres", "-c", "SELECT 1"],
                                                              capture_output=True).returncode == 0

    def ask(self, sql, database="postgres"):
        done = subprocess.run(["psql", "-h", self.home, "-p", str(self.port), "-U", "admin", database, "-v", "ON_ERROR_STOP=1", "-qAtc", sql],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def kill(self):
        """The server and its children, at once."""
        if self.process.poll() is None:
            self.pause(signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not self.answers(), "it is gone")

    def pause(self, how=signal.SIGSTOP):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in [self.process.pid, *map(int, children)]:  # each is in a session of its own
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass


@pytest.fixture(scope="module")
def shared():
    server = Postgres()
    yield server
    server.kill()
    shutil.rmtree(server.home, ignore_errors=True)


@pytest.fixture
def own():
    servers = []

    def start():
        servers.append(Postgres())
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
        shutil.rmtree(server.home, ignore_errors=True)


def begin(deployment, local, name, url, body, more="", head="", **settings):
    table = local.table(name())
    deployment.script("h", f"""
local postgres, log, json, dynamodb = require "tidemill.postgres", require "tidemill.log", require "tidemill.json", require "tidemill.dynamodb"
{head}
return {{ stream = "s", settings = {{ n = 1 }}, backoff = "10ms..50ms", on_record = function(record) local id = record.keys.id {body} end }}""")
    deployment.stream(table, f"[handler h]\npostgres_url = {url}\n{more}", **settings)
    host = deployment.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    return table, host


def test_values_go_and_come(beside_local, local, name, shared):
    table, host = begin(beside_local, local, name, shared.url, r"""
local function say(what, value) log.info(what .. " " .. (type(value) == "table" and json.encode(value) or math.type(value) or type(value)) .. " " .. tostring(value)) end
postgres.query("DROP TABLE IF EXISTS kinds")
local rows, count = postgres.query("CREATE TABLE kinds (t text, i bigint, f float8, n numeric, b boolean, y bytea, j jsonb, a text[], k int[], d timestamptz, none text)")
log.info("created " .. #rows .. " " .. count)
rows, count = postgres.query("INSERT INTO kinds VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11) RETURNING i",
  "a'\"\\ä€\n", 9007199254740993, 0.1, dynamodb.decimal("123456789012345678901234567890.12345678"), true, dynamodb.binary("\0\255x"),
  { list = dynamodb.list {}, x = { 1, "two" } }, postgres.array { 'q"\\uote', "b,{}", "NULL", "" }, postgres.array { 3, 1, 2 }, "2026-11-29T05:00:00Z", nil)
log.info("inserted " .. rows[1].i .. " " .. count)
local row = postgres.row("SELECT *, d = '2026-11-29 05:00:00+00' AS same FROM kinds")
say("t", row.t == "a'\"\\ä€\n") say("i", row.i == 9007199254740993) say("f", row.f == 0.1) say("n", row.n) say("b", row.b) say("y", row.y == "\0\255x")
say("j", row.j) say("a", row.a) say("k", row.k) say("same", row.same) say("none", row.none)
say("again", postgres.row("SELECT count(*) AS c FROM kinds WHERE n = $1 AND k = $2 AND t = ANY($3)", row.n, postgres.array(row.k), postgres.array { row.t }).c)
say("numbers", postgres.row("SELECT 1::int2 a, 2::int4 b, 3.50::numeric c, 1e300::float8 f"))
local odd = postgres.row("SELECT 'NaN'::float8 d, '-Infinity'::float4 e, $1::float8 f", 1 / 0)
log.info("odd " .. tostring(odd.d ~= odd.d) .. " " .. odd.e .. " " .. odd.f)
say("nested", postgres.row("SELECT ARRAY[[1,2],[3,NULL]] AS a, '[0:1]={x,y}'::text[] AS b, '{}'::int[] AS c, 'null'::json AS d, ARRAY['t','f']::boolean[] AS e"))
say("no row", postgres.row("SELECT 1 WHERE false"))
rows, count = postgres.query("SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 3000) AS i")
log.info("many " .. #rows .. " " .. count .. " " .. rows[3000].i)
rows, count = postgres.query("UPDATE kinds SET none = $1", "x") log.info("changed " .. #rows .. " " .. count)
rows = postgres.transaction { { "INSERT INTO kinds (i) VALUES ($1), ($1)", 7 }, { "SELECT count(*) AS c FROM kinds" }, { "DELETE FROM kinds WHERE i = 7" } }
log.info(("transaction %%d %%d %%d"):format(rows[1].count, rows[2][1].c, rows[3].count))
say("jsons", postgres.row("SELECT to_json($1::jsonb[]) AS a", postgres.array { { a = 1 }, "[]", json.null }).a)
local time = require "tidemill.time"
local moments = postgres.row("SELECT $1::timestamptz AS a, '2026-01-31 12:00:00.5+05:30'::timestamptz AS b", time.iso8601(1767225600.25))
log.info(("moment %%s %%s"):format(time.parse(moments.a) == 1767225600.25, time.parse(moments.b) == 1769841000.5))
local function pid(tx) return tx.row("SELECT pg_backend_pid() AS pid").pid end
log.info("as before " .. tostring(postgres.transaction(pid) == postgres.transaction(pid) and pid(postgres) == postgres.transaction(pid)))
postgres.query("SELECT set_config('search_path', 'elsewhere', false)")
postgres.query("CREATE TEMP TABLE own_temp (a int)") postgres.query("SELECT pg_advisory_lock(77)")
local left = postgres.row("SELECT replace(current_setting('search_path'), '\"$user\", ', 'path ') AS a, (SELECT count(*) FROM pg_class WHERE relname = 'own_temp') AS b, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS c, $1::bigint AS d", 1e15)
log.info(("left %%s, %%d %%d %%d"):format(left.a, left.b, left.c, left.d))
postgres.transaction { { "SAVEPOINT a" }, { "LOCK TABLE kinds" }, { "ROLLBACK TO a" } }
log.info("locks " .. postgres.row("SELECT $1::int[] AS a", postgres.array { 1.0, 2.0 }).a[1])
say("bytes", postgres.row("SELECT $1::bytea[] AS a", postgres.array { dynamodb.binary("\0\255") }).a[1] == "\0\255")
log.info("socket " .. postgres.at("postgresql://admin@%s:%d/postgres").row("SELECT 5 AS five").five)
log.info("all is said")""" % (shared.home.replace("/", "%2F"), shared.port))
    host.wait_for("all is said")
    lines = host.messages()
    for line in ("created 0 0", "inserted 9007199254740993 1", "t boolean true", "i boolean true", "f boolean true", "b boolean true", "y boolean true", "same boolean true", "none nil nil", "again integer 1", "many 3000 3000 3000", "changed 0 1", "transaction 2 3 2", "socket 5", "no row nil nil", "odd true -inf inf", "moment true true", "as before true", "left path public, 0 0 1000000000000000", "locks 1"):
        assert line in lines, (line, lines)
    said = {line.split(" ")[0]: line for line in lines}
    assert said["n"].endswith("123456789012345678901234567890.12345678"), said["n"]
    assert said["jsons"].startswith('jsons [{"a":1},[],null]') and said["bytes"] == "bytes boolean true"
    assert json.loads(said["j"].split(" ", 1)[1].split(" table")[0]) == {"list": [], "x": [1, "two"]} and json.loads(said["a"].split(" ", 1)[1].rsplit(" list", 1)[0]) == ['q"\\uote', "b,{}", "NULL", ""] and "[3,1,2]" in said["k"]
    assert host.stop() == 0


def test_what_is_wrong_is_told(beside_local, local, name, shared):
    shared.ask("DROP TABLE IF EXISTS wrong; CREATE TABLE wrong (id int PRIMARY KEY, positive int NOT NULL CHECK (positive > 0)); INSERT INTO wrong VALUES (1, 1)")
    cases = [
        ('postgres.query("SELEC 1")', "syntax error", "42601"), ('postgres.query("SELECT 1; SELECT 2")', "multiple commands", "42601"), ('postgres.query(nil)', "SQL expected", None),
        ('postgres.query("BEGIN")', "postgres.transaction begins", None), ('postgres.query(" commit")', "postgres.transaction begins", None), ('postgres.query("SELECT $1::int", "x")', "invalid input syntax", "22P02"),
        ('postgres.query("INSERT INTO wrong VALUES (1, 1)")', "already exists", "23505"), ('postgres.query("INSERT INTO wrong VALUES (2, NULL)")', "null value", "23502"), ('postgres.query("INSERT INTO wrong VALUES (2, -1)")', "violates check", "23514"),
        ('postgres.query("SELECT $1", "\\255")', "$1: no UTF-8 text", None), ('postgres.query("SELECT $1", "a\\0b")', "a byte 0", None), ('postgres.query("SELECT $1", print)', "$1:", None),
        ('postgres.query("SELECT $2::int", 1)', "", "42P18"), ('postgres.query("SELECT 1", 2)', "", "08P01"), ('postgres.transaction { { "SELECT $1::int, $2::int", 1, nil } }', "a nil at the end of a list is not in it", "08P01"), ('postgres.transaction {}', "a list of statements expected", None), ('postgres.transaction { "SELECT 1" }', "statement 1: a list expected", None),
        ('postgres.transaction { { "INSERT INTO wrong VALUES (9, 9)" }, { "INSERT INTO wrong VALUES (1, 1)" } }', "statement 2:", "23505"), ('postgres.transaction(function() end, { isolation = "none" })', "repeatable read", None),
        ('postgres.transaction(function() end, { read = true })', "unknown option 'read'", None), ('postgres.once("", { { "SELECT 1" } })', "an empty text", None), ('postgres.once("k", { { "SELECT 1" } }, { ttl = 0 })', "ttl", None),
        ('postgres.at("http://localhost")', "postgres://[USER", None), ('postgres.at("postgres:///x")', "postgres://[USER", None), ('postgres.at("postgres://a:secret@localhost/x?passfile=/etc/shadow")', "passfile is none", None), ('postgres.at("postgres://localhost/x?sslkey=/tmp/evil.so:x&sslcert=/tmp/y")', "is none of the options", None),
        ('postgres.at("postgres://a:secret@elsewhere.example/x").query("SELECT 1")', "is not in allow_hosts", None), ('postgres.at("postgres://%2Ftmp/x").query("SELECT 1")', "a socket of this machine is not in", None), ('postgres.at(3)', "a URL expected", None),
        ('postgres.at("postgres://,127.0.0.1/x")', "postgres://[USER", None), ('postgres.at("postgres://a:p@secret@127.0.0.1/x")', "postgres://[USER", None), ('postgres.at("postgres://a:secret/x")', "postgres://[USER", None),
        ('postgres.at("postgres://127.0.0.1,elsewhere.example/x").query("SELECT 1")', "elsewhere.example is not in allow_hosts", None), ('postgres.at("postgres://127.0.0.1/x?hostaddr=10.1.2.3").query("SELECT 1")', "10.1.2.3 is not in allow_hosts", None),
        ('postgres.transaction(function(tx) tx.query("/* x */ COMMIT") end)', "postgres.transaction begins", None), ('postgres.query("-- x\\n/* y */ BEGIN")', "postgres.transaction begins", None),
        ('postgres.transaction { { "CREATE TABLE IF NOT EXISTS late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)" }, { "INSERT INTO late VALUES (1), (1)" } }', "postgres: duplicate key value", "23505"),
        ('postgres.once("z", { { "SELECT 1" }, { "SELECT $1", "\\255" } })', "statement 2: $1:", None), ('postgres.transaction { { "SELECT 1" }, { "SELECT $1", "\\255" } }', "statement 2: $1:", None),
        ('postgres.at(require "tidemill.config".postgres_url, { timeout = "30s" }).query("SELECT repeat(\'x\', 1000000) FROM generate_series(1, 100000)")', "more than", "TooLarge"),
        ('postgres.quer("x")', "has no 'quer'", None), ('postgres.query("COPY wrong FROM STDIN")', "COPY is not for handlers", "NetworkError"), ('postgres.query("COPY wrong TO STDOUT")', "COPY is not for handlers", "NetworkError"),
        ('postgres.query("SELECT 1,\\n\\n  nothing FROM wrong")', "line 3 of SELECT 1, nothing FROM wrong", "42703"), ('postgres.query("SELECT lenght(\'x\')")', "No function matches", "42883"),
        ('postgres.query("SELECT $1::int[]", { 1, 2 })', "postgres.array(list) makes an array", "22P02"), ('postgres.query("SELECT $1::jsonb", "bare")', "json.encode makes JSON of it", "22P02"),
        ('postgres.array { 1, nil, 3 }', "element 2 is nil: NULL is json.null", None), ('postgres.array { a = 1 }', "a table with names", None), ('postgres.transaction(function(tx) tx.row("SELECT 1/0") end)', "division by zero (22012); in SELECT 1/0", "22012"), ('postgres.array(3)', "a list expected", None),
        ('postgres.at("postgres://admin:secret@localhost:1/x").query("SELECT 1")', "refused", "NetworkError"), ('postgres.at("postgres://admin@localhost:%d/missing").query("SELECT 1")' % shared.port, "does not exist", "NetworkError"),
        ('postgres.query("DO $$ BEGIN RAISE EXCEPTION \'own\' USING ERRCODE = \'TM001\', DETAIL = \'more\'; END $$")', "own (TM001); more; in DO $$ BEGIN", "TM001"),
        ('postgres.transaction(function(tx) tx.query("COMMIT") end)', "postgres.transaction begins", None), ('postgres.transaction(function(tx) pcall(tx.query, "SELECT 1/0") end)', "was rolled back", "25P02"),
        ('local kept postgres.transaction(function(tx) kept = tx end) kept.query("SELECT 1")', "the transaction is over", None),
    ]
    body = "\n".join(f"""do local ok, problem = pcall(function() {call} end) log.info("{i}: " .. tostring(ok) .. " " .. tostring(problem), {{ code = type(problem) == "table" and problem.code or "none" }}) end""" for i, (call, _, _) in enumerate(cases))
    body += """ local _, problem = pcall(postgres.query, "INSERT INTO wrong VALUES (1, 1)") log.info(("fields %s %s %s"):format(problem.constraint, problem.table, problem.permanent))
    _, problem = pcall(postgres.query, "INSERT INTO wrong VALUES (3, NULL)") log.info(("fields %s %s"):format(problem.column, problem.permanent)) log.info("all is said")"""
    table, host = begin(beside_local, local, name, shared.url, body, "allow_hosts = 127.0.0.1 localhost\n")
    host.wait_for("all is said")
    lines = host.lines()
    for i, (call, part, code) in enumerate(cases):
        line = next(line for line in lines if line["message"].startswith(f"{i}: "))
        assert line["message"].startswith(f"{i}: false ") and part in line["message"] and "secret" not in line["message"], (call, line)
        assert line["fields"]["code"] == (code or "none"), (call, line)
        assert "h.lua:" in line["message"] or "postgres: " in line["message"], line
    assert "fields wrong_pkey wrong false" in host.messages() and "fields positive true" in host.messages()
    assert shared.ask("SELECT count(*) FROM wrong") == "1"
    assert "secret" not in host.log_path.read_text()
    assert host.stop() == 0


def test_a_counter_counts_each_record_once(beside_local, local, name, own):
    """Though the host is killed in the midst of it, and the server is. Both ways of it."""
    server = own()
    server.ask("CREATE TABLE counts (id text PRIMARY KEY, n int NOT NULL)")
    table, host = begin(beside_local, local, name, server.url, """
postgres.once(record.id, { { "INSERT INTO counts VALUES ('list', 1) ON CONFLICT (id) DO UPDATE SET n = counts.n + 1" } })
postgres.once(record.id .. "f", function(tx)
  local row = tx.row("SELECT n FROM counts WHERE id = 'read' FOR UPDATE")
  if row then tx.query("UPDATE counts SET n = $1 WHERE id = 'read'", row.n + 1)
  else tx.query("INSERT INTO counts VALUES ('read', 1)") end
end)""", "retries = -1\n")
    for i in range(150):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i % 7}"}, "n": {"N": str(i)}})
        if i % 50 == 20:
            host.kill()
            host = beside_local.start()
        if i % 50 == 40:
            server.kill()
            server.start()
    wait_until(lambda: beside_local.settled() and server.ask("SELECT count(*) FROM tidemill_once") == "302", "all is settled")
    assert server.ask("SELECT string_agg(id || n, ' ' ORDER BY id) FROM counts") == "list151 read151"
    assert beside_local.run("dead", "list").stdout == "no dead letters\n"
    assert host.stop() == 0


def idle(server):
    return server.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidemill' AND state = 'idle in transaction'") == "0"


def test_transactions_end_with_what_began_them(beside_local, local, name, shared):
    shared.ask("DROP TABLE IF EXISTS ends; CREATE TABLE ends (id text, n int)")
    table, host = begin(beside_local, local, name, shared.url, """
local http = require "tidemill.http"
log.info("result " .. table.concat({ postgres.transaction(function(tx) tx.query("INSERT INTO ends VALUES ('kept', 1)") return "a", "b" end) }, ","))
pcall(postgres.transaction, function(tx) tx.query("INSERT INTO ends VALUES ('raised', 1)") error("no") end)
local ok, problem = pcall(postgres.transaction, function(tx) tx.query("SELECT 1/0") end)
log.info("failed " .. problem.code)
log.info("levels " .. postgres.transaction(function(tx) return tx.row("SHOW transaction_isolation").transaction_isolation .. tx.row("SHOW transaction_read_only").transaction_read_only end, { isolation = "serializable", read_only = true })
  .. " " .. postgres.transaction({ { "SHOW transaction_isolation" } }, { isolation = "repeatable read" })[1][1].transaction_isolation)
log.info("once " .. tostring(postgres.once("k", function(tx) tx.query("INSERT INTO ends VALUES ('once', 1)") return 5 end)) .. " " .. tostring(postgres.once("k", function() error("never") end)))
postgres.query("SET search_path = nowhere")
log.info("session " .. postgres.row("SHOW search_path").search_path)
local tidemill = require "tidemill"
log.info("together " .. #tidemill.all({ 1, 2, 3, 4, 5, 6, 7, 8, 9 }, function(i) return postgres.transaction(function(tx) tx.query("SELECT pg_sleep(0.01)") return i end) end))
if record.attempt == 1 then postgres.transaction(function(tx) tx.query("INSERT INTO ends VALUES ('late', 1)") log.info("in it") tx.query("SELECT pg_sleep(60)") end) end
log.info("all is said")""", "timeout = 3s\nretries = 3\n")
    host.wait_for("in it")
    host.wait_for("all is said")
    lines = host.messages()
    for line in ("result a,b", "failed 22012", "levels serializableon repeatable read", "once true false", 'session "$user", public', "together 9"):
        assert line in lines, (line, lines)
    assert sorted(set(shared.ask("SELECT id FROM ends").split())) == ["kept", "once"]
    wait_until(lambda: shared.ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state <> 'idle' AND pid <> pg_backend_pid()") == "0", "what nobody waits for is cancelled there")
    wait_until(lambda: idle(shared), "and no transaction is open")
    assert host.stop() == 0


def test_a_server_that_is_silent_or_full(beside_local, local, name, own):
    server = own()
    table, host = begin(beside_local, local, name, server.url, """
local ok, problem = pcall(postgres.at(require "tidemill.config".postgres_url, { timeout = 1 }).query, "SELECT 1")
log.info(ok and "well " .. id or "ill " .. problem.code .. " " .. problem.message) if not ok then error("again") end""", "retries = -1\n")
    host.wait_for("well a")
    server.pause()
    local.client.put_item(TableName=table, Item={"id": {"S": "b"}})
    host.wait_for("ill Timeout")
    server.pause(signal.SIGCONT)
    host.wait_for("well b")
    server.kill()
    local.client.put_item(TableName=table, Item={"id": {"S": "c"}})
    host.wait_for("ill NetworkError")
    server.configure("max_connections = 4\nsuperuser_reserved_connections = 3\n")
    server.start()
    host.wait_for("well c")
    assert host.stop() == 0


def own_address():
    """Of this machine, as others see it; None: it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))  # nothing is sent
            return None if way.getsockname()[0].startswith("127.") else way.getsockname()[0]
        except OSError:
            return None


def test_who_asks_is_known_and_knows_whom(beside_local, local, name, own, tmp_path):
    server = own()
    server.ask("CREATE ROLE shop LOGIN PASSWORD 'pa:s/s'")
    for command in (["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=own ca"],
                    ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"],
                    ["openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.crt", "-days", "2"]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    for each in ("server.key", "server.crt"):
        shutil.copy(tmp_path / each, server.data)
        shutil.chown(os.path.join(server.data, each), **({"user": "postgres"} if os.getuid() == 0 else {"user": os.getuid()}))
        os.chmod(os.path.join(server.data, each), 0o600)
    server.kill()
    server.configure("ssl = on\nlisten_addresses = '*'\n")
    with open(os.path.join(server.data, "pg_hba.conf"), "w") as rules:
        rules.write("local all admin trust\nhostssl all shop all scram-sha-256\n")
    server.start()
    where = f"localhost:{server.port}/postgres"
    beside_local.aws = f"ca_bundle = {tmp_path / 'ca.pem'}"
    known = f"postgres://shop:pa%3As%2Fs@{where}"
    urls = [f"postgres://shop:wrongpw@{where}?sslmode=verify-full", f"postgres://shop:pa%3As%2Fs@127.0.0.1:{server.port}/postgres?sslmode=verify-full",
            f"{known}?sslmode=disable", f"{known}?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"]
    elsewhere = own_address()  # not loopback: verified though nobody says so, and its certificate has another name
    if elsewhere:
        urls.append(f"postgres://shop:pa%3As%2Fs@{elsewhere}:{server.port}/postgres")
    table, host = begin(beside_local, local, name, f"{known}?sslmode=verify-full", """
local row = postgres.row("SELECT current_user AS me, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
log.info("as " .. row.me .. " " .. tostring(row.ssl))
for i, url in ipairs { %s } do
  local ok, problem = pcall(postgres.at(url).query, "SELECT 1")
  log.info(i .. " " .. tostring(ok) .. " " .. tostring(problem))
end log.info("all is said")""" % ", ".join(f'"{url}"' for url in urls))
    host.wait_for("all is said")
    lines = host.messages()
    assert "as shop true" in lines
    assert any(line.startswith("1 false") and "password authentication failed" in line for line in lines), lines
    assert any(line.startswith("2 false") and "does not match host name" in line for line in lines), lines
    assert any(line.startswith("3 false") and "no encryption" in line for line in lines), lines
    assert any(line.startswith("4 false") and "certificate verify failed" in line for line in lines), lines
    assert not elsewhere or any(line.startswith("5 false") and "does not match host name" in line for line in lines), lines
    text = host.log_path.read_text()
    assert "wrongpw" not in text and "pa:s/s" not in text and "pa%3A" not in text
    assert host.stop() == 0


@pytest.mark.parametrize("line, told", [("postgres_url = postgres://127.0.0.1/x?foo=bar", 'invalid URI query parameter: "foo"'), ("postgres_url = mysql://127.0.0.1/x", "postgres://[USER"),
                                        ("postgres_url = postgres://a:secret@x@127.0.0.1/x", "written as %40"), ("postgres_urI = x", "no setting postgres_urI")])
def test_check_reads_the_url(beside_local, local, name, line, told):
    beside_local.script("h", 'local postgres = require "tidemill.postgres" return { stream = "s", settings = { n = 1 }, on_record = function() postgres.query("SELECT 1") end }')
    beside_local.stream("T", f"[handler h]\n{line}\n")
    done = beside_local.run("check")
    assert done.returncode == 2 and told in done.stderr and "secret" not in done.stderr, done.stderr


def test_markers_go_when_they_are_old(beside_local, local, name, own):
    server = own()
    table, host = begin(beside_local, local, name, server.url, """
if id == "a" then postgres.once("first", { { "SELECT 1" } }) else
  for i = 1, 1000 do postgres.once("n" .. i, { { "SELECT 1" } }, { ttl = "1h" }) end
end log.info("did " .. id)""", "cpu_limit = 60s\ntimeout = 5m\n", threads=1)
    host.wait_for("did a")
    assert server.ask("SELECT round(extract(epoch FROM expires - now()) / 86400) FROM tidemill_once") == "7"
    server.ask("UPDATE tidemill_once SET expires = now() - interval '1 second'; INSERT INTO tidemill_once VALUES ('tidemill:h', 'young', now() + interval '1 day')")
    local.client.put_item(TableName=table, Item={"id": {"S": "b"}})
    host.wait_for("did b")
    assert server.ask("SELECT string_agg(scope || key, ' ' ORDER BY scope, key) FROM tidemill_once WHERE key !~ '^n[0-9]'") == "tidemill:hyoung"
    assert host.stop() == 0


def test_the_ported_example_keeps_rows_and_sums(beside_local, local, name, own):
    server = own()
    example = pathlib.Path(__file__).resolve().parents[2] / "examples" / "ported" / "copy_to_postgres"
    script = (example / "scripts" / "copy_to_postgres.lua").read_text()
    for line in script.splitlines():
        if line.startswith("--- CREATE"):
            server.ask(line[4:])
    table = local.table(name(), key="orderId")
    beside_local.script("copy_to_postgres", script)
    beside_local.configure(f"[stream orders]\ntable = {table}\npoll_min = 20ms\npoll_max = 100ms\n[handler copy_to_postgres]\npostgres_url = {server.url}\n")
    host = beside_local.start()
    for step in range(40):
        local.client.put_item(TableName=table, Item={"orderId": {"S": f"o{step % 5}"}, "customer": {"S": f"c{step % 5 % 2}"}, "total": {"N": f"{step}.10"}})
    local.client.delete_item(TableName=table, Key={"orderId": {"S": "o4"}})
    wait_until(lambda: beside_local.settled() and server.ask("SELECT count(*) FROM tidemill_once") == "41", "all of it is there")
    assert server.ask("SELECT string_agg(id || '=' || (data->>'total'), ' ' ORDER BY id) FROM orders") == "o0=35.1 o1=36.1 o2=37.1 o3=38.1"
    assert server.ask("SELECT string_agg(customer || '=' || total, ' ' ORDER BY customer) FROM spent") == "c0=72.2 c1=74.2"
    assert host.stop() == 0


def test_a_dry_run_shows_what_would_be_sent(beside_local, local, name):
    table = local.table(name())
    beside_local.script("h", """local postgres = require "tidemill.postgres"
return { stream = "s", on_record = function(record)
  local rows, count = postgres.query("SELECT $1::text, $2::text", record.keys.id, nil)
  assert(#rows == 0 and count == 0)
  postgres.once(record.id, function(tx) tx.query("DELETE FROM a WHERE id = $1", record.keys.id) end)
end }""")
    beside_local.stream(table, "[handler h]\npostgres_url = postgres://a:hidden@127.0.0.1:1/x\n")
    (beside_local.directory / "event.json").write_text(json.dumps({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "k1"}}, "NewImage": {"id": {"S": "k1"}}}}))
    done = beside_local.run("invoke", "h", "event.json", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip() for line in done.stdout.splitlines() if "would send" in line]
    assert lines[0] == "would send postgres://127.0.0.1:1 SELECT $1::text, $2::text [1: k1, 2: NULL]", done.stdout
    assert any(line.endswith("DELETE FROM a WHERE id = $1 [1: k1]") for line in lines) and lines[-1].endswith("COMMIT") and "hidden" not in done.stdout


def test_a_handlers_test_says_what_the_server_says(beside_local):
    beside_local.stream("Users", "[handler h]\npostgres_url = postgres://127.0.0.1/x\n[table Users]\nkey = id\n")
    (beside_local.directory / "scripts" / "h.lua").write_text("""local postgres = require "tidemill.postgres"
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", on_record = function(record)
  postgres.once(record.id, function(tx)
    local row = tx.row("SELECT name, tags FROM users WHERE id = $1", record.keys.id)
    if row then tx.query("UPDATE users SET seen = seen + $1", 1) end
  end)
  postgres.once(record.id .. "x", { { "INSERT INTO log VALUES ($1, $2)", record.keys.id, dynamodb.null } })
end }""")
    (beside_local.directory / "scripts" / "h_test.lua").write_text("""local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"
local said = {}
test.postgres(function(sql, params)
  said[#said + 1] = sql:match("^%u+") .. " " .. tostring(params[1]) .. " " .. params.n
  if sql:find("^SELECT") then return { { name = "ada", tags = { "a" } } } end
  return 1
end)
test("asks once", function()
  dynamodb.put("Users", { id = "u1" })
  test.settle()
  test.equal(table.concat(said, ","), "SELECT u1 1,UPDATE 1 1,INSERT u1 2")
end)
""")
    done = beside_local.run("test", "scripts")
    assert done.returncode == 0, done.stdout + done.stderr
