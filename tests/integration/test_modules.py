"""The modules beside DynamoDB: http, time, crypto, pattern."""
import base64
import hmac
import http.server
import json
import shutil
import socket
import subprocess
import threading

import pytest
from test_handlers import dead_letters, run_once
from conftest import BINARY, ROOT, wait_until


class Service(http.server.BaseHTTPRequestHandler):
    """Answers as its path says."""
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        path = self.path.split("?")[0]
        if path == "/slow":
            self.server.release.wait(30)
            self.answer(200)
        elif path == "/cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif path == "/moved":
            self.answer(302, Location="/echo")
        elif path == "/loop":
            self.answer(302, Location="/loop")
        elif path == "/large":
            self.answer(200, b"x" * 100000)
        elif path.startswith("/status/"):
            status = int(path[8:])
            self.answer(status, b"" if status == 204 else b"as asked")
        elif self.path.startswith("/stumble/"):
            # The first call of each path is cut, the second answers 500, the third late; then all is well.
            count = sum((self.command, self.path) == call[:2] for call in self.server.seen)
            if count == 1:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            if count == 3:
                self.server.release.wait(0.3)
            self.answer(500 if count == 2 else 200, b"{}")
        else:
            shown = {"method": self.command, "path": self.path, "body": body.decode("latin-1"),
                     "headers": {name.lower(): value for name, value in self.headers.items()}}
            self.answer(200, json.dumps(shown).encode(), X_Twice="a", Content_Type="application/json")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_any

    def log_message(self, *arguments):
        pass


@pytest.fixture
def service():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.daemon_threads = True
    server.seen, server.release = [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.release.set()
    server.shutdown()


def test_http_requests(deployment, dynamodb, name, service):
    run_once(deployment, dynamodb, name, f"""
    local http, url = require "tidemill.http", {service.url!r}
    local answer = http.get(url .. "/a?b=c")
    same(answer.status, 200); same(answer.headers["x-twice"], "a"); assert(answer:ok())
    same(answer:json().method, "GET"); same(answer:json().path, "/a?b=c")
    same(answer:json().headers["user-agent"], "tidemill")
    answer = http.post(url, {{ json = {{ n = 1 }}, headers = {{ ["X-Key"] = "k" }}, idempotency_key = "once" }}):json()
    same(answer.body, '{{"n":1}}'); same(answer.headers["content-type"], "application/json")
    same(answer.headers["x-key"], "k"); same(answer.headers["idempotency-key"], "once")
    same(http.put(url, {{ body = "bytes\\0\\255" }}):json().body, "bytes\\0\\195\\191")
    same(http.delete(url .. "/x"):json().method, "DELETE")
    same(http.patch(url, {{ body = "" }}):json().method, "PATCH")
    same(http.request{{ url = url .. "/status/503" }}.status, 503)
    same(http.request{{ url = url .. "/a", method = "HEAD" }}.body, ""); same(http.request{{ url = url .. "/a", method = "HEAD", body = "" }}.status, 200)
    same(pcall(http.request, {{ url = url, method = "HEAD", body = "x" }}), false)
    same(http.get(url .. "/status/204").body, "")
    same(http.get(url .. "/moved").status, 302)
    same(http.get(url .. "/moved", {{ redirects = 1 }}):json().path, "/echo")
    local ok, err = pcall(http.get, url .. "/loop", {{ redirects = 3 }})
    assert(not ok and tostring(err):find("too many redirects"), err)
    ok, err = pcall(http.get, url .. "/cut"); same(ok, false); same(err.code, "NetworkError")
    ok, err = pcall(http.get, url .. "/slow", {{ timeout = 0.2 }}); same(err.code, "Timeout")
    ok, err = pcall(http.get, url .. "/large", {{ max_bytes = 1000 }}); same(err.code, "TooLarge")
    ok, err = pcall(http.get, "file:///etc/passwd"); assert(tostring(err):find("only http and https"), err)
    ok, err = pcall(http.get, "http://user@host/"); assert(tostring(err):find("must not carry a user"), err)
    ok, err = pcall(http.get, url, {{ headers = {{ A = "x\\r\\nB: y" }} }}); assert(tostring(err):find("line break"), err)
    ok, err = pcall(http.get, url, {{ tiemout = 1 }}); assert(tostring(err):find("unknown option 'tiemout'"), err)
    """)
    assert service.seen


def test_what_a_url_is_made_of(deployment, dynamodb, name, service):
    run_once(deployment, dynamodb, name, f"""
    local http, url = require "tidemill.http", {service.url!r}
    local dynamodb = require "tidemill.dynamodb"
    local function path(options, at) return http.get(url .. (at or "/p"), options):json().path end
    same(http.escape("USER#1/ä b~"), "USER%231%2F%C3%A4%20b~"); same(http.escape(7), "7")
    same(path {{ query = {{ b = "x y&z", a = 1, c = true, d = {{ "m", "n" }} }} }}, "/p?a=1&b=x%20y%26z&c=true&d=m&d=n")
    same(path({{ query = {{ b = 2 }} }}, "/p?a=1"), "/p?a=1&b=2"); same(path {{ query = {{}} }}, "/p"); same(path {{ query = {{ n = dynamodb.decimal("0.10") }} }}, "/p?n=0.1")
    same(path(nil, "/contacts/" .. http.escape("USER#1")), "/contacts/USER%231")
    local answer = http.post(url, {{ form = {{ grant = "a b", z = "=" }} }}):json()
    same(answer.body, "grant=a%20b&z=%3D"); same(answer.headers["content-type"], "application/x-www-form-urlencoded; charset=utf-8")
    same(http.get(url, {{ basic = {{ "Aladdin", "open sesame" }} }}):json().headers.authorization, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    for _, mistake in ipairs {{
      {{ "behind a '#'", url .. "/contacts/USER#1" }}, {{ "http.escape", url .. "/a b" }}, {{ "http.escape", url .. "/ü" }}, {{ "http.escape", url .. "/a\0b" }},
      {{ "url: a text expected, got nil" }}, {{ "one of body, json and form", url, {{ body = "a", json = 1 }} }}, {{ "json = {{...}}", url, {{ body = {{}} }} }},
      {{ "query: b: a text, a number or a boolean expected, got table", url, {{ query = {{ b = {{ {{}} }} }} }} }}, {{ "names are texts", url, {{ query = {{ 1 }} }} }},
      {{ "headers: a table expected", url, {{ headers = "a: b" }} }}, {{ "a user without a colon", url, {{ basic = {{ "a:b", "c" }} }} }}, {{ "region goes with signed", url, {{ region = "x" }} }},
    }} do
      local ok, problem = pcall(http.get, mistake[2], mistake[3])
      assert(not ok and tostring(problem):find(mistake[1], 1, true), tostring(problem) .. " instead of " .. mistake[1])
    end
    """)


def test_wrong_arguments_are_told_at_the_door(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    local http, time = require "tidemill.http", require "tidemill.time"
    for wanted, call in pairs {
      ["tidemill.dynamodb has no 'putItem' (did you mean 'put'?)"] = function() dynamodb.putItem(side, {}) end,
      ["tidemill.http has no 'gett' (did you mean 'get'?)"] = function() http.gett() end, ["tidemill.time has no 'nwo' (did you mean 'now'?)"] = function() time.nwo() end,
      [ [==[unknown option ':one': values go into values = { [":one"] = ... }]==] ] = function() dynamodb.update(side, { id = "a" }, "SET n = :one", { [":one"] = 1 }) end,
      [ [==[names go into names = { ["#n"] = ... }]==] ] = function() dynamodb.put(side, { id = "a" }, { ["#n"] = "n" }) end,
      ["a condition expected, such as"] = function() dynamodb.query(side, { id = "a" }) end, ["or nil for the whole table, got number"] = function() dynamodb.each(side, 5) end,
      ["a key is a table of attributes such as { id = \\"a\\" }, got string"] = function() dynamodb.get(side, "a") end, ["a key is a table of attributes such as { id = \\"a\\" }, got nil"] = function() dynamodb.delete(side) end,
      ["an item is a table of attributes such as { id = \\"a\\" }, got number"] = function() dynamodb.put(side, 1) end,
      ["option 'limit': a whole number expected, got string"] = function() dynamodb.scan(side, { limit = "x" }) end, ["option 'limit': a whole number expected, got 1.5"] = function() dynamodb.scan(side, { limit = 1.5 }) end,
      ["option 'consistent': a boolean expected, got number"] = function() dynamodb.get(side, { id = "a" }, { consistent = 1 }) end,
      ["option 'values': a table expected, got string"] = function() dynamodb.put(side, { id = "a" }, { values = "x" }) end,
      ["transition takes the attribute's name, the value that it has"] = function() dynamodb.transition(side, { id = "a" }, "status") end,
      ["batch_write takes a table's name and"] = function() dynamodb.batch_write(side) end, ["batch_get takes a table's name and a list of keys"] = function() dynamodb.batch_get(side) end,
    } do
      local ok, problem = pcall(call)
      assert(not ok and tostring(problem):find(wanted, 1, true) and tostring(problem):find("h.lua:", 1, true), tostring(problem) .. " instead of " .. wanted)
    end
    same(#dynamodb.scan(side, { limit = 5.0 }), 0)
    same(pcall(function() return dynamodb.at { region = "eu-central-1" }.putItem end), false)
    same(type(getmetatable(http)), "string"); same(pcall(setmetatable, http, {}), false)
    """)


def test_templates(deployment, dynamodb, name):
    (deployment.directory / "scripts" / "templates" / "mails").mkdir(parents=True)
    file = deployment.directory / "scripts" / "templates" / "mails" / "order.html"
    file.write_text("<h1>{{title}}</h1>\n{{#lines}}\n  <li>{{name}} x {{count}}{{#note}} ({{note}}){{/note}}</li>\n{{/lines}}\n{{^lines}}nothing{{/lines}}\n{{! a remark }}\n{{{html}}}{{&html}}")
    body = """
    local template = require "tidemill.template"
    local decimal = json.decode("1.2345678901234567890123")
    same(order { title = "<A & 'B'>", html = "<b>", lines = { { name = "x", count = 2 }, { name = "y", count = decimal, note = "n" } } },
      "<h1>&lt;A &amp; &#39;B&#39;&gt;</h1>\\n  <li>x x 2</li>\\n  <li>y x 1.2345678901234567890123 (n)</li>\\n\\n<b><b>")
    same(order { title = "", html = "", lines = {} }, "<h1></h1>\\nnothing\\n")
    same(template.compile("{{#a}}{{b.c}}{{/a}}{{^z}}-{{/z}}{{#list}}{{.}},{{/list}}{{#on}}yes{{/on}}") { a = { b = { c = 1 } }, list = { 1, "<" }, on = true }, "1-1,&lt;,yes")
    same(template.compile("{{#list}}{{outer}}{{.}}{{/list}}") { outer = "o", list = { 1, 2 } }, "o1o2")
    same(template.compile("a\\n  {{#x}}\\nb\\n  {{/x}}\\nc") { x = { 1 } }, "a\\nb\\nc"); same(template.compile("") {}, ""); same(template.compile("{ {} }} {") {}, "{ {} }} {")
    same(template.escape(5), "5"); same(template.compile("{{#a}}{{a}}{{/a}}{{^a}}none{{/a}}{{#s}}{{.}}{{/s}}") { a = dynamodb.null, s = dynamodb.set { "x" } }, "nonex")
    for wanted, call in pairs {
      ["name is missing"] = function() template.compile("{{name}}") { name = dynamodb.null } end, ["tags is a table"] = function() template.compile("{{tags}}") { tags = dynamodb.set { "a" } } end,
      ["text:2: name is missing"] = function() template.compile("a\\n{{name}}") {} end, ["list is a table"] = function() template.compile("{{list}}") { list = { 1 } } end,
      ["{{#a}} has no end"] = function() template.compile("{{#a}}") end, ["{{/b}} ends nothing ({{#a}} is open)"] = function() template.compile("{{#a}}{{/b}}") end,
      ["{{/a}} ends nothing"] = function() template.compile("{{/a}}") end, ['"a b" is no name'] = function() template.compile("{{a b}}") end, ["{{{ without }}}"] = function() template.compile("{{{a}} ") end,
      ["a table of values expected, got nil"] = function() template.compile("a")() end, ["a text expected, got nil"] = function() template.compile() end,
      ["is no name of a file"] = function() template.load("../h.lua") end, ["while the script loads"] = function() template.load("mails/order.html") end,
    } do
      local ok, problem = pcall(call)
      assert(not ok and tostring(problem):find(wanted, 1, true), tostring(problem) .. " instead of " .. wanted)
    end
    """
    script = deployment.script
    deployment.script = lambda name_of, text: script(name_of, 'local order = require("tidemill.template").load "mails/order.html"\n' + text)
    host = run_once(deployment, dynamodb, name, body)
    file.write_text("changed {{title}}")
    host.wait_for("takes the place of")


def test_signatures_and_tokens(deployment, dynamodb, name, tmp_path):
    for algorithm, make in (("rsa", ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
                            ("ec", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
                            ("p384", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"])):
        subprocess.run(["openssl", *make, "-out", tmp_path / f"{algorithm}.pem"], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", tmp_path / f"{algorithm}.pem", "-pubout", "-out", tmp_path / f"{algorithm}.pub"], check=True)
    subprocess.run(["openssl", "pkey", "-in", tmp_path / "rsa.pem", "-aes256", "-passout", "pass:secret", "-out", tmp_path / "locked.pem"], check=True)
    settings = "\n".join(f"{key} = ${{file:{tmp_path}/{key}.pem}}" for key in ("rsa", "ec", "p384", "locked"))
    host = run_once(deployment, dynamodb, name, """
    local crypto = require "tidemill.crypto"
    same(crypto.base64url("\\251\\255\\254"), "-__-"); same(crypto.base64url("a"), "YQ"); same(crypto.base64url(""), "")
    same(crypto.unbase64url("-__-"), "\\251\\255\\254"); same(crypto.unbase64url("YQ"), "a"); same(crypto.unbase64url("YQ=="), "a")
    for _, wrong in ipairs { "a", "+___", "a/__", "YQ=", "Y=Q", "=", "YQ==YQ==" } do
      if pcall(crypto.unbase64url, wrong) then error("taken: " .. wrong) end
    end
    for _, wrong in ipairs { "=AAA", "AA=A", "A===", "YQ==YQ==", "====" } do
      if pcall(crypto.unbase64, wrong) then error("taken: " .. wrong) end
    end
    -- RFC 7515, A.1, has this key and these claims
    log.info("HS256 " .. crypto.jwt({ sub = "a", n = 1 }, "secret", { algorithm = "HS256" }))
    log.info("RS256 " .. crypto.jwt({ iss = "x@y", scope = "ü" }, config.rsa, { kid = "k1" }))
    log.info("ES256 " .. crypto.jwt({ iss = "x@y" }, config.ec, { algorithm = "ES256" }))
    for _, mistake in ipairs {
      { "private key as PEM", {}, "no key" }, { "private key as PEM", {}, config.locked }, { "RSA key", {}, config.ec }, { "curve P-256", {}, config.p384, { algorithm = "ES256" } },
      { "curve P-256", {}, config.rsa, { algorithm = "ES256" } }, { "algorithm: RS256, ES256 or HS256", {}, "k", { algorithm = "none" } }, { "claims: a table", "x", "k" },
      { "key: a text expected, got nil", {} }, { "unknown option 'alg'", {}, "k", { alg = "RS256" } },
    } do
      local ok, problem = pcall(crypto.jwt, mistake[2], mistake[3], mistake[4])
      assert(not ok and tostring(problem):find(mistake[1], 1, true), tostring(problem) .. " instead of " .. mistake[1])
    end
    """, settings=settings)
    tokens = dict(line.split(" ", 1) for line in host.messages() if line[:6] in ("HS256 ", "RS256 ", "ES256 "))

    def parts(token):
        head, claims, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
        return json.loads(head), json.loads(claims), signature, token.rpartition(".")[0].encode()
    head, claims, signature, signed = parts(tokens["HS256"])
    assert head == {"alg": "HS256", "typ": "JWT"} and claims == {"sub": "a", "n": 1} and signature == hmac.new(b"secret", signed, "sha256").digest()
    for name_of, algorithm in (("RS256", "rsa"), ("ES256", "ec")):
        head, claims, signature, signed = parts(tokens[name_of])
        assert head["alg"] == name_of and claims["iss"] == "x@y" and (name_of != "RS256" or (head["kid"] == "k1" and claims["scope"] == "ü"))
        if algorithm == "ec":  # to OpenSSL's form
            assert len(signature) == 64
            halves = [int.from_bytes(half, "big") for half in (signature[:32], signature[32:])]
            numbers = b"".join(b"\x02" + bytes([len(raw)]) + raw for raw in (half.to_bytes(half.bit_length() // 8 + 1, "big") for half in halves))
            signature = b"\x30" + bytes([len(numbers)]) + numbers
        (tmp_path / "signature").write_bytes(signature)
        (tmp_path / "signed").write_bytes(signed)
        subprocess.run(["openssl", "dgst", "-sha256", "-verify", tmp_path / f"{algorithm}.pub", "-signature", tmp_path / "signature", tmp_path / "signed"], check=True)


def test_allow_hosts_limits_where_calls_go(deployment, dynamodb, name, service):
    run_once(deployment, dynamodb, name, f"""
    local http = require "tidemill.http"
    same(http.get({service.url!r}).status, 200)
    for _, url in ipairs{{"http://example.com/", "http://127.0.0.1.example.com/", "http://10.0.0.1/", "http://api.other/"}} do
      local ok, err = pcall(http.get, url)
      assert(not ok and tostring(err):find("is not in allow_hosts"), err)
    end
    """, settings="allow_hosts = 127.0.0.1, *.example.org")


def test_a_slow_service_ends_in_the_handlers_timeout(deployment, dynamodb, name, service):
    run_once(deployment, dynamodb, name, f"""
    require("tidemill.http").get({service.url!r} .. "/slow", {{ timeout = 20 }})
    """, settings="timeout = 300ms", done="kept as a dead letter")
    letter, = wait_until(lambda: dead_letters(deployment), "the dead letter is there")
    assert "scripts/h.lua:15: the handler took longer than its timeout" in letter["error"]


def test_time_and_crypto(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    local time, crypto = require "tidemill.time", require "tidemill.crypto"
    local before = time.now()
    time.sleep(0.15)
    local slept = time.now() - before
    assert(slept >= 0.14, slept)
    same(time.iso8601(1769903999.123), "2026-01-31T23:59:59.123Z")
    same(time.parse("2026-01-31T23:59:59.500Z"), 1769903999.5)
    same(time.parse("2026-02-01t01:59:59+02:00"), 1769903999); same(time.parse("1969-12-31T23:59:59Z"), -1)
    same(time.iso8601(-1), "1969-12-31T23:59:59.000Z")
    assert(not pcall(time.parse, "soon")); assert(not pcall(time.parse, "2026-02-30T00:00:00Z"))
    same(crypto.hex(crypto.sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    same(crypto.hex(crypto.hmac("key", "The quick brown fox jumps over the lazy dog")),
      "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8")
    same(crypto.base64("any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw=="); same(crypto.unbase64("YW55IGNhcm5hbCBwbGVhcw=="), "any carnal pleas")
    same(crypto.base64(""), ""); same(crypto.unbase64(""), "")
    same(crypto.unhex("00ff10"), "\\0\\255\\16")
    assert(not pcall(crypto.unhex, "0g")); assert(not pcall(crypto.unbase64, "a"))
    assert(crypto.uuid():match("^%x+-%x+-4%x+-[89ab]%x+-%x+$")); assert(crypto.uuid() ~= crypto.uuid())
    assert(crypto.equal("a", "a") and not crypto.equal("a", "b") and not crypto.equal("a", "aa"))
    """)


def test_patterns_in_lua(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    local pattern = require "tidemill.pattern"
    local order = pattern.compile{ pk = {{ prefix = "OID#" }}, total = {{ numeric = {">=", 100} }} }
    same(order{ pk = "OID#1", total = 150 }, true)
    same(order{ pk = "OID#1", total = 50 }, false)
    same(order(record.new), true)
    same(pattern.compile('{"eventName":["INSERT"]}')(record), true)
    same(pattern.compile{ dynamodb = { NewImage = { total = { N = {{ numeric = {"<", 50} }} } } } }(record), false)
    local ok, err = pcall(pattern.compile, { a = {{ like = "x" }} })
    assert(not ok and err:find("a%[0%]%.like: is not an operator"), err)
    -- A key of a weak table outlives what it was by one collection.
    local seen, weak = false, setmetatable({}, { __mode = "k" })
    weak[pattern.compile{ a = { 1 } }] = true
    collectgarbage()
    for matcher in pairs(weak) do
      local ok, err = pcall(matcher, { a = 1 })
      assert(not ok and err:find("has been collected", 1, true), err)
      seen = true
    end
    assert(seen)
    """, item={"id": {"S": "a"}, "pk": {"S": "OID#7"}, "total": {"N": "120"}})


def test_filters_keep_records_from_the_handler(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.script("h", """
local log = require "tidemill.log"
return {
  stream = "s", filter = { eventName = { "INSERT" }, dynamodb = { NewImage = { n = { N = {{ numeric = {"<", 3} }} } } } },
  on_record = function(record) log.info("saw", { n = record.new.n }) end,
}""")
    deployment.stream(table)
    for n in (5, 1, 3, 2):
        dynamodb.client.put_item(TableName=table, Item={"id": {"S": f"i{n}"}, "n": {"N": str(n)}})
    host = deployment.start()
    wait_until(deployment.settled, "all records are settled, handled or not")
    assert sorted(fields["n"] for fields in host.fields("saw")) == [1, 2]
    assert host.stop() == 0


def test_check_warns_of_what_is_probably_not_meant(deployment):
    deployment.script("never", 'return { stream = "s", filter = { eventName = { "UPDATE" } }, on_record = print }')
    deployment.script("loops", 'require "tidemill.dynamodb"\nreturn { stream = "s", on_record = function() '
                               'require("tidemill.dynamodb").put("Orders", {}) end }')
    deployment.stream("Orders")
    done = deployment.run("check")
    assert done.returncode == 0
    assert "warning: scripts/never.lua: filter: eventName: eventName is INSERT, MODIFY or REMOVE" in done.stderr
    assert "warning: scripts/loops.lua: the handler seems to write to the table whose stream it reads" in done.stderr


ONCE = """
local once = require "tidemill.once"
local http = require "tidemill.http"
local log = require "tidemill.log"
return {{
  stream = "s", retries = 20, backoff = "20ms..50ms",
  on_record = function(record)
    local answer = once("mail/" .. record.new.id, function()
      local answer = http.post({url!r} .. "/" .. record.new.fault, {{ timeout = 1 }})
      if record.new.fails and record.attempt < 3 then error("not yet") end
      return {{ status = answer.status, nothing = nil }}
    end, {options})
    log.info("saw", {{ id = record.new.id, version = record.new.version, status = answer.status }})
  end,
}}
"""


@pytest.mark.parametrize("store", ["", "table"])
def test_once_runs_to_completion_once_per_key(deployment, dynamodb, name, service, store):
    table, markers = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    options = f'{{ store = "{markers}" }}' if store else "{}"
    deployment.script("h", ONCE.format(url=service.url, options=options))
    deployment.stream(table)
    for version in range(1, 6):
        dynamodb.client.put_item(TableName=table, Item={"id": {"S": "a"}, "version": {"N": str(version)},
                                                        "fault": {"S": "echo"}})
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": "b"}, "version": {"N": "1"}, "fault": {"S": "echo"},
                                                    "fails": {"BOOL": True}})
    for _ in range(2):  # the second time from the start of the stream, the markers kept
        host = deployment.start()
        wait_until(lambda: len(host.fields("saw")) == 6, "all was handled")
        assert all(fields["status"] == 200 for fields in host.fields("saw"))
        assert host.stop() == 0
        import sqlite3
        with sqlite3.connect(deployment.directory / "state.db") as db:
            db.execute("DELETE FROM checkpoints")
    # a: once; b: a run that raised is run again until it returns, and never after
    assert len(service.seen) == 1 + 3


def test_once_of_a_key_that_is_being_run_and_of_keys_that_are_done(deployment, dynamodb, name, service):
    run_once(deployment, dynamodb, name, """
    local once = require "tidemill.once"
    local order = {}
    local inner_ok, inner
    same(once("k", function()
      inner_ok, inner = pcall(once, "k", function() return 1 end)
      return "first"
    end), "first")
    same(inner_ok, false); assert(tostring(inner):find("is being run by this very call"), inner)
    same(once("k", error), "first")
    same(once("gone", function() return nil end), nil)
    same(once("gone", error), nil)
    same(once("short", function() return 1 end, { ttl = 0.05 }), 1)
    require("tidemill.time").sleep(0.1)
    same(once("short", function() return 2 end), 2)
    """)


def test_transact_once_writes_once_however_often_it_is_called(deployment, dynamodb, name):
    markers = dynamodb.table(name(), stream=False)
    host = run_once(deployment, dynamodb, name, """
    dynamodb.put(side, { id = "count", n = 0 })
    for _ = 1, 3 do
      same(dynamodb.transact{
        { update = { side, { id = "count" }, "ADD n :one", { values = { [":one"] = 1 } } } },
        once = record.id,
      }, true)
    end
    same(dynamodb.get(side, { id = "count" }).n, 1)
    local done, reasons = dynamodb.transact{
      { put = { side, { id = "count" }, { condition = "attribute_not_exists(id)" } } }, once = "other" }
    same(done, false); same(reasons[1], "ConditionalCheckFailed"); same(reasons[2], "None")
    """, settings=f"once_table = {markers}")
    marker, = dynamodb.client.scan(TableName=markers)["Items"]
    assert int(marker["expires"]["N"]) > 0
    assert host.stop() == 0


def test_scripts_are_what_a_linter_expects(tmp_path):
    """Unused and undefined names, in what is shipped and in what init writes: luacheck, where it is installed (Debian's
    lua-check). What annotations alone are of has arguments that nobody uses."""
    if not shutil.which("luacheck"):
        pytest.skip("no luacheck here")
    subprocess.run([BINARY, "init", tmp_path / "new"], check=True, capture_output=True, timeout=60)
    done = subprocess.run(["luacheck", "--std", "lua54", "--globals", "tidemill", "--no-max-line-length", "--no-color", "-q", "--exclude-files", "lua/meta", "--",
                           "scripts", "examples", "lua", tmp_path / "new" / "scripts"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
