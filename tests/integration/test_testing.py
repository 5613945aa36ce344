"""tidemill test: what it says when tests pass, fail, and are wrong themselves."""
import subprocess

import pytest
from test_handlers import run_once
from conftest import BINARY

in_time = pytest.mark.skipif("tsan" in str(BINARY), reason="a minute of real time, which a test has, is too short there")

pytestmark = pytest.mark.one_thread

HANDLER = """
local http = require "tidemill.http"
return { stream = "s", on_insert = function(record)
  if record.new.id == "bad" then error(tidemill.permanent("no good")) end
  if record.new.id == "slow" and record.attempt < 4 then error("not yet") end
  http.post("http://service.test/" .. record.new.id, { json = record.new })
end }
"""

HEAD = """
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Things]
key = id
[stream s]
table = Things
[handler h]
backoff = 10m..1h
]]
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "h.lua").write_text(HANDLER)

    def run(text, *arguments, name="h_test.lua"):
        (tmp_path / name).write_text(text)
        done = subprocess.run([BINARY, "test", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return done
    return run


def test_passing_tests(run):
    done = run(HEAD + """
test("requests arrive", function()
  dynamodb.put("Things", { id = "a", tags = dynamodb.set { "y", "x" } })
  test.settle()
  test.equal(#test.requests(), 1)
  test.equal(test.requests()[1].url, "http://service.test/a")
  test.equal(dynamodb.get("Things", { id = "a" }).tags, dynamodb.set { "x", "y" })
end)
test("hours of retries take no time", function()
  dynamodb.put("Things", { id = "slow" })
  test.settle()
  test.equal(#test.requests(), 1)
end)
test("each test has a world of its own", function()
  test.equal(#dynamodb.scan("Things"), 0)
  test.equal(#test.requests(), 0)
end)
test("dead letters that are asked for", function()
  dynamodb.put("Things", { id = "bad" })
  test.settle()
  test.equal(#test.dead_letters(), 1)
  test.equal(test.dead_letters()[1].handler, "h")
end)
test("what handlers wrote before the stream was split is seen", function()
  for i = 1, 30 do
    dynamodb.put("Things", { id = "i" .. i })
    if i % 10 == 0 then test.split_shards(i // 10) end
  end
  test.settle()
  test.equal(#test.requests(), 30)
end)
""")
    assert done.returncode == 0 and "5 passed, 0 failed" in done.stdout, done.stdout


def test_batches_and_windows_in_virtual_time(run, tmp_path):
    (tmp_path / "lots.lua").write_text("""
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", batch_size = 100, batch_window = "2m", on_batch = function(records)
  dynamodb.put("Sink", { id = "batch of " .. #records })
end }""")
    (tmp_path / "sums.lua").write_text("""
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", tumbling_window = "1h", on_window = function(state, records, final, window)
  state = state or { count = 0, calls = 0 }
  state.count, state.calls = state.count + #records, state.calls + 1
  if final then dynamodb.put("Sink", { id = "window", state = state, length = window.finish - window.start }) end
  return state
end }""")
    done = run("""
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Things]
key = id
[table Sink]
key = id
stream = none
[stream s]
table = Things
[handler lots]
[handler sums]
]]
test("they are called when it is time", function()
  for i = 1, 30 do dynamodb.put("Things", { id = "i" .. i }) end
  test.settle()
  test.equal(dynamodb.get("Sink", { id = "batch of 30" }), { id = "batch of 30" })
  test.equal(dynamodb.get("Sink", { id = "window" }), nil)
  test.advance(3700)
  test.settle()
  local window = dynamodb.get("Sink", { id = "window" })
  test.equal(window.state.count, 30)
  test.equal(window.length, 3600)
end)
""")
    assert done.returncode == 0 and "1 passed, 0 failed" in done.stdout, done.stdout


@in_time
def test_days_and_months_pass(deployment):
    """A minute of real time is what a test has: what only looks whether there is something is left out."""
    deployment.script("w", """
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", tumbling_window = "1d", on_window = function(state, records, final, window)
  state = state or { n = 0 }
  state.n = state.n + #records
  if final then dynamodb.put("Days", { id = tostring(window.start), n = state.n }) end
  return state
end }
""")
    deployment.script("w_test", """
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Things]
key = id
ttl = expires
[table Days]
key = id
stream = none
[stream s]
table = Things
[handler w]
retries = 1
]]
test("days", function()
  for day = 1, 3 do
    dynamodb.put("Things", { id = "a" .. day, expires = require("tidemill.time").now() + 30 * 86400 })
    test.advance(86400)
  end
  test.settle()
  local days = dynamodb.scan("Days")
  test.equal(#days >= 2, true)
  test.advance(31 * 86400)
  test.settle()
  test.equal(#dynamodb.scan("Things"), 0)
  local all = 0
  for _, day in ipairs(dynamodb.scan("Days")) do all = all + day.n end
  test.equal(all, 6)
end)
""")
    done = deployment.run("test", deployment.directory / "scripts")
    assert done.returncode == 0 and "1 passed, 0 failed" in done.stdout, done.stdout


@in_time
def test_a_handler_that_feeds_itself_is_told(deployment):
    deployment.script("h", 'return { stream = "s", on_record = function(record) require("tidemill.dynamodb").put("Things", { id = record.keys.id .. "x", n = record.sequence }) end }'.replace('record.keys.id .. "x"', '"again"'))
    deployment.script("h_test", """
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Things]
key = id
[stream s]
table = Things
[handler h]
]]
test("it ends", function()
  dynamodb.put("Things", { id = "a" })
  test.settle()
end)
""")
    done = deployment.run("test", deployment.directory / "scripts")
    assert done.returncode == 1 and "does one of them write to the table it reads" in done.stdout and "longer than a minute" not in done.stdout, done.stdout


def test_a_deployment_that_is_there_runs_whole(deployment):
    """As run would: also the scripts that have no section; and a test without a handler is told so, at once."""
    (deployment.directory / "tidemill.ini").write_text("[table Things]\nkey = id\n[table Sink]\nkey = id\nstream = none\n[stream s]\ntable = Things\n")
    for name in ("plain", "other"):
        deployment.script(name, 'return { stream = "s", on_record = function(record) require("tidemill.dynamodb").put("Sink", { id = "%s" .. record.keys.id }) end }' % name)
    body = """
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment %s
test("it runs", function()
  dynamodb.put("Things", { id = "a" })
  test.settle()
  test.equal(#dynamodb.scan("Sink"), 2)
end)
"""
    tests = deployment.directory / "tests"
    tests.mkdir()
    for directory, ini in ((deployment.directory / "scripts", '"../tidemill.ini"'), (tests, '"../tidemill.ini"')):
        (directory / "all_test.lua").write_text(body % ini)
        done = deployment.run("test", directory)
        assert done.returncode == 0, done.stdout + done.stderr
    deployment.script("all_test", body % ("[[" + (deployment.directory / "tidemill.ini").read_text() + "]]"))
    done = deployment.run("test", deployment.directory / "scripts")
    assert done.returncode == 1 and "no handler reads a stream: each script that is to run is named in a [handler NAME]" in done.stdout, done.stdout


def test_failing_tests(run):
    text = HEAD + """
test("a wrong number", function()
  dynamodb.put("Things", { id = "a", list = { 1, { deep = 2 } } })
  test.equal(dynamodb.get("Things", { id = "a" }), { id = "a", list = { 1, { deep = 3 } } })
end)
test("a dead letter nobody asked for", function()
  dynamodb.put("Things", { id = "bad" })
  test.settle()
end)
test("an error", function() error("oh") end)
test("the service's word", function() dynamodb.put("Things", { wrong = 1 }) end)
test("an endless loop", function() while true do end end)
test("the http service raises", function()
  test.http(function() error("service broke") end)
  dynamodb.put("Things", { id = "a" })
  test.settle()
end)
"""
    done = run(text)
    assert done.returncode == 1 and "0 passed, 6 failed" in done.stdout, done.stdout
    for expected in ("h_test.lua:14: at list[2].deep: expected 3, got 2", "handler h gave up: ", "no good", "h_test.lua:20: oh",
                     "Missing the key id", "h_test.lua:22: the handler used up its cpu_limit", "service broke"):
        assert expected in done.stdout, (expected, done.stdout)
    tap = run(text, "--tap")
    assert tap.returncode == 1 and tap.stdout.count("not ok ") == 6 and "1..6" in tap.stdout
    assert tap.stdout.startswith("not ok 1 - h_test.lua: a wrong number")


@pytest.mark.parametrize("text, expected", [
    ("return", "no tests"),
    ("local x = = 1", "h_test.lua:1:"),
    ('require "tidemill.test"("t", function() end)', "no test.deployment"),
    ('local test = require "tidemill.test" test.deployment "nowhere.ini" test("t", function() end)', "nowhere.ini"),
    ('local test = require "tidemill.test" test.deployment "[stream s]\\n" test("t", function() end)', "needs a table"),
    ('local test = require "tidemill.test" test.deployment [[\n[stream s]\ntable = T\n[handler other]\n]] test("t", function() end)', "there is no other.lua"),
    ('local test = require "tidemill.test" test.deployment [[\n[table Tab]\nkey = a:Q\n[stream s]\ntable = Tab]] test("t", function() end)', "must be S, N or B"),
])
def test_wrong_files(run, text, expected):
    done = run(text)
    assert done.returncode == 1 and expected in done.stdout, done.stdout


def test_wrong_usage(run, tmp_path):
    assert run("return", "--what").returncode == 2
    assert run("return", "nowhere").returncode == 2
    (tmp_path / "empty").mkdir()
    done = run("return", "empty")
    assert done.returncode == 1 and "no *_test.lua here" in done.stderr


def test_the_module_is_for_tests_only(run, tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "x.lua").write_text('require "tidemill.test" return { stream = "s", on_record = function() end }')
    (tmp_path / "tidemill.ini").write_text("[stream s]\ntable = T\n")
    done = subprocess.run([BINARY, "check"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "for *_test.lua files" in done.stderr


EMITTING = """
local emit = require "tidemill.emit"
return { stream = "s", targets = { "bus" }, retries = 0, on_insert = function(record)
  if record.new.id == "bad" then error("no good") end
  emit("bus", { id = record.new.id, replayed = record.replayed, n = record.new.n }, { detail_type = "seen", key = "k" })
end }
"""
WITH_TARGETS = """
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Things]
key = id
[stream s]
table = Things
[target bus]
type = eventbridge
[target other]
type = stdout
[handler h]
[route r]
stream = s
target = other
image = keys
unmarshalled = yes
pattern = {"eventName": ["REMOVE"]}
]]
"""


def test_what_handlers_and_routes_emit_is_seen_and_goes_nowhere(run, tmp_path):
    (tmp_path / "h.lua").write_text(EMITTING)
    done = run(WITH_TARGETS + """
test("emitted", function()
  dynamodb.put("Things", { id = "a" })
  dynamodb.delete("Things", { id = "a" })
  test.settle()
  local all, one = test.emitted(), test.emitted("bus")[1]
  test.equal(#all, 2)
  test.equal({ one.handler, one.detail_type, one.key, one:json().id }, { "h", "seen", "k", "a" })
  test.equal(test.emitted("other")[1].payload, '{"id":"a"}')
  test.equal(test.emitted("other")[1].handler, "r")
end)
test("a handler emits nowhere but where it says", function()
  test.equal(#test.emitted(), 0)
end)""")
    assert done.returncode == 0, done.stdout
    (tmp_path / "h.lua").write_text(EMITTING.replace('"bus", {', '"other", {'))
    done = run(WITH_TARGETS + """
test("it is an error", function()
  dynamodb.put("Things", { id = "a" })
  test.settle()
  test.contains(test.dead_letters()[1].error, [[the handler's targets do not name "other"]])
end)""")
    assert done.returncode == 0, done.stdout


def test_a_batch_emits_for_single_records(run, tmp_path):
    (tmp_path / "h.lua").write_text("""
local emit = require "tidemill.emit"
return { stream = "s", batch_window = "1s", on_batch = function(records)
  for _, record in ipairs(records) do emit("bus", {}, { record = record }) end
  emit("bus", {}, { key = "all" })
  assert(not pcall(emit, "bus", {}, { record = {} }))
end }""")
    done = run(WITH_TARGETS + """
test("emitted", function()
  for _, id in ipairs { "a", "b" } do dynamodb.put("Things", { id = id }) end
  test.settle()
  local sent = test.emitted("bus")
  test.equal({ sent[1].key, sent[2].key, sent[3].key, #sent }, { "a", "b", "all", 3 })
  assert(sent[1].id ~= sent[2].id)
end)""")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_window_emits_what_it_counted(run, tmp_path):
    (tmp_path / "h.lua").write_text("""
local emit = require "tidemill.emit"
return { stream = "s", tumbling_window = "10s", on_window = function(state, records, final, window)
  if final then emit("bus", { count = state, start = window.start }, { key = window.shard }) end
  return (state or 0) + #records
end }""")
    done = run(WITH_TARGETS + """
test("emitted", function()
  for _, id in ipairs { "a", "b", "c" } do dynamodb.put("Things", { id = id }) end
  test.advance(60)
  test.settle()
  local sent = test.emitted("bus")
  test.equal(#sent, 1)
  test.equal(sent[1]:json().count, 3)
  test.equal(sent[1].id, "h/" .. sent[1].key .. "/" .. sent[1]:json().start .. "000/0")
end)""")
    assert done.returncode == 0, done.stdout + done.stderr


def test_archived_events_are_fixtures(run, tmp_path):
    import gzip
    import json
    (tmp_path / "h.lua").write_text(EMITTING)
    (tmp_path / "archive").mkdir()
    events = [{"eventID": f"e{n}", "eventName": "INSERT", "eventSource": "aws:dynamodb",
               "eventSourceARN": "arn:aws:dynamodb:eu-west-1:1:table/Things/stream/2026-01-01T00:00:00.000",
               "dynamodb": {"ApproximateCreationDateTime": 1767225600 + n, "Keys": {"id": {"S": item}},
                            "NewImage": {"id": {"S": item}, "n": {"N": str(n)}}, "SequenceNumber": str(100 + n)}}
              for n, item in enumerate(["a", "b", "bad", "a"])]
    (tmp_path / "archive" / "shardId-1-a-100.jsonl.gz").write_bytes(
        gzip.compress("\n".join(map(json.dumps, events)).encode()))
    done = run(WITH_TARGETS + """
test("replayed", function()
  test.replay("archive", "h")
  local seen = {}
  for i, message in ipairs(test.emitted("bus")) do
    local event = message:json()
    assert(event.replayed)
    seen[i] = event.id .. event.n
  end
  test.equal(seen, { "a0", "b1", "a3" })
  test.contains(test.dead_letters()[1].error, "no good")
end)
test("what is not there", function()
  local ok, problem = pcall(test.replay, "nowhere", "h")
  assert(not ok)
  test.contains(problem, "nowhere: No such file")
  test.contains(select(2, pcall(test.replay, "archive", "nobody")), "there is no handler nobody")
  test.contains(select(2, pcall(test.replay, "s3://b/x", "h")), "not here")
end)""")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_handler_that_does_not_load_fails_its_tests_at_once_and_is_named_where_it_stands(deployment):
    scripts = deployment.directory / "scripts"
    (scripts / "h_test.lua").write_text("""
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "[table Things]\\nkey = id\\n[stream s]\\ntable = Things\\n[handler h]\\nretries = 0\\n"
test("never", function() dynamodb.put("Things", { id = "a" }) test.settle() test.contains(test.dead_letters()[1].error, "scripts/h.lua:2: ") end)
""")
    (scripts / "h.lua").write_text('return { stream = "s",\n on_insert = function() end, tabels = {} }')
    done = deployment.run("test", str(scripts))
    assert done.returncode == 1 and f"{scripts}/h.lua" in done.stdout and "did you mean tables" in done.stdout and "did not settle" not in done.stdout, done.stdout
    assert "/tmp/tidemill-test-" not in done.stdout
    # A byte order mark, a line for the shell, an error that is a table: as lua(1) takes them, and told by what is in it.
    (scripts / "h.lua").write_bytes(b'\xef\xbb\xbf#!/usr/bin/env lua\nreturn { stream = "s", on_insert = function() error { code = 5 } end }')
    (scripts / "h_test.lua").write_text((scripts / "h_test.lua").read_text().replace('scripts/h.lua:2: "', 'h.lua:2: {\\"code\\":5}"'))
    done = deployment.run("test", str(scripts))
    assert done.returncode == 0, done.stdout


def test_a_line_of_the_log_fails_no_record_and_says_what_is_there(deployment, dynamodb, name):
    host = run_once(deployment, dynamodb, name, """
local loop = { a = 1 } loop.again = loop
log.info("fields", { b = dynamodb.binary("x\\0y"), deep = { f = print, n = 5 }, list = { 1, 2 } })
log.info("cycle", loop)
log.info({ a = 1, b = { "x" } })
log.info(dynamodb.list { "y" })
log.info("text", "second")
log.info("mixed", { 1, two = 2 })
""")
    fields = {line["message"]: line.get("fields") for line in host.lines()}
    assert fields["fields"]["b"] == "x\\0y" and fields["fields"]["deep"]["n"] == 5 and fields["fields"]["deep"]["f"].startswith("function") and fields["fields"]["list"] == [1, 2], fields
    assert fields["cycle"]["a"] == 1 and fields["text"] == {"value": "second"} and fields["mixed"] == {"1": 1, "two": 2}
    assert '["y"]' in fields
    assert any(message in fields for message in ('{"a":1,"b":["x"]}', '{"b":["x"],"a":1}')), list(fields)


def test_records_come_twice_and_events_that_nobody_wrote(deployment):
    scripts = deployment.directory / "scripts"
    (scripts / "h.lua").write_text("""local log, dynamodb = require "tidemill.log", require "tidemill.dynamodb"
return { stream = "s", on_record = function(record)
  if record.keys.id == "bad" and not record.replayed then error("bad") end
  dynamodb.update("Out", { id = record.keys.id }, "ADD n :one", { values = { [":one"] = 1 } })
end }
""")
    (scripts / "second.lua").write_text("""local once, dynamodb = require "tidemill.once", require "tidemill.dynamodb"
return { stream = "s", on_record = function(record)
  once(record.id, function() dynamodb.update("Out", { id = "once" .. record.keys.id }, "ADD n :one", { values = { [":one"] = 1 } }) return true end)
end }
""")
    (scripts / "h_test.lua").write_text("""local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Things]
key = id
[table Out]
key = id
stream = none
[stream s]
table = Things
[handler h]
retries = 0
[handler second]
]]
local function n(id) local item = dynamodb.get("Out", { id = id }) return item and item.n end
test("redelivered twice, once stays once", function()
  for i = 1, 20 do dynamodb.put("Things", { id = "a" .. i % 3, i = i }) end
  test.settle()
  test.equal(n "a0", 6) test.equal(n "oncea0", 6)
  test.redeliver()
  test.equal(n "a0", 12) test.equal(n "a1", 14) test.equal(n "oncea0", 6)
  test.split_shards(2)
  dynamodb.put("Things", { id = "a0", i = 100 })
  test.settle()
  test.redeliver()
  test.equal(n "a0", 20) test.equal(n "oncea0", 7)
  test.seek("h", "latest")
  test.settle()
  test.equal(n "a0", 20)
  dynamodb.put("Things", { id = "a0", i = 101 })
  test.settle()
  test.equal(n "a0", 21)
  test.seek("h", "trim_horizon")
  test.settle()
  test.equal(n "a0", 29) test.equal(n "oncea0", 8)
end)
test("a made up event", function()
  test.event("h", { dynamodb = { Keys = { id = { S = "bad" } }, NewImage = { id = { S = "bad" }, n = { N = "5" } } } })
  test.equal(n "bad", 1)
  local ok, problem = pcall(test.event, "nobody", { dynamodb = {} })
  test.contains(problem, "no handler nobody")
  ok, problem = pcall(test.seek, "nobody", "latest")
  test.contains(problem, "nobody")
  ok, problem = pcall(test.seek, "h", "yesterday")
  test.contains(problem, "sequence number")
  local before = test.now()
  test.advance(100)
  test.equal(test.now() - before, 100)
end)
""")
    done = deployment.run("test", "scripts")
    assert done.returncode == 0 and "2 passed, 0 failed" in done.stdout, done.stdout
    done = deployment.run("test", "scripts", "--only", "MADE")
    assert done.returncode == 0 and "1 passed, 0 failed\n1 left out: --only MADE" in done.stdout, done.stdout
    done = deployment.run("test", "scripts", "--tap", "--only=twice")
    assert done.stdout.startswith("ok 1 - ") and done.stdout.endswith("1..1\n"), done.stdout
    done = deployment.run("test", "scripts", "--only", "nonsense")
    assert done.returncode == 1 and 'no test has "nonsense" in its name' in done.stderr


def test_what_handlers_call_is_what_policy_wants_to_know(deployment):
    scripts = deployment.directory / "scripts"
    (scripts / "h.lua").write_text("""local aws, dynamodb, http, s3 = require "tidemill.aws", require "tidemill.dynamodb", require "tidemill.http", require "tidemill.s3"
return { stream = "s", on_record = function(record)
  dynamodb.put("Out", { id = "x" }) dynamodb.get("Out", { id = "x" }) dynamodb.get("Out", { id = "x" })
  dynamodb.query("Out", "k = :k", { index = "by_k", values = { [":k"] = "1" } })
  dynamodb.transact { { update = { "Sums", { id = "n" }, "ADD n :one", { values = { [":one"] = 1 } } } }, { check = { "Out", { id = "x" }, { condition = "attribute_exists(id)" } } } }
  dynamodb.batch_write("Sums", { put = { { id = "b" } } })
  aws.call("states", "StartExecution", { stateMachineArn = "arn:x", input = "{}" })
  s3.put("bucket", "key", "text") s3.list("bucket")
  http.put("https://search.example.com/things/_doc/1", { signed = "es", json = {} })
  aws.request { service = "scheduler", method = "PUT", path = "/schedules/a", json = {} }
  http.get("http://elsewhere.test/")
end }""")
    (scripts / "h_test.lua").write_text("""local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Things]
key = id
[table Out]
key = id
index by_k = k
stream = none
[table Sums]
key = id
stream = none
[stream s]
table = Things
[handler h]
]]
test.aws(function(call) if call.service == "s3" then return 200, "<ListBucketResult/>" end return {} end)
for i = 1, 2 do test("once " .. i, function() dynamodb.put("Things", { id = "a" }) test.settle() end) end
""")
    done = deployment.run("test", "--rights", "scripts")
    assert done.returncode == 0, done.stdout
    told = done.stdout.split("(tidemill policy reads it):\n")[1]
    assert told == ('  h\n    tables = { { "Out", "ConditionCheckItem", "GetItem", "PutItem" }, { "Out/index/by_k", "Query" }, { "Sums", "BatchWriteItem", "UpdateItem" } },\n'
                    '    calls = { { "*", "es:ESHttpPut" }, { "*", "s3:ListBucket" }, { "*", "s3:PutObject" }, { "*", "scheduler:*" }, { "*", "states:StartExecution" } },\n'), told
    # and policy takes it as it stands
    lines = "".join(line.strip() + "\n" for line in told.splitlines()[1:])
    (scripts / "h.lua").write_text((scripts / "h.lua").read_text().replace('stream = "s",', 'stream = "s",\n' + lines))
    (scripts / "h_test.lua").unlink()
    deployment.stream("Things")
    done = deployment.run("policy")
    assert done.returncode == 0 and "warning" not in done.stderr and "es:ESHttpPut" in done.stdout and "table/Out/index/by_k" in done.stdout, done.stderr


# ---- crashes, hosts, other orders, coverage ----

COUNTS = """
local dynamodb = require "tidemill.dynamodb"
return { on_record = function(record)
  local counted = dynamodb.get("Counts", { id = "all" }) or { id = "all", n = 0 }
  if counted.n < 0 then
    error("never")
  end
  dynamodb.put("Counts", { id = "all", n = counted.n + 1 })
end,
on_remove = function()
  return nil
end }
"""

COUNTS_HEAD = HEAD.replace("[stream s]", "[table Counts]\nkey = id\nstream = none\n[stream s]").replace("[handler h]", "[handler counts]\nstream = s\n[handler h]")

WRITES = """
for i = 1, 3 do
  dynamodb.put("Things", { id = "i" .. i })
  test.advance(0.1)
end
test.settle()
"""


def test_a_crash_repeats_what_was_not_kept(run, tmp_path):
    (tmp_path / "counts.lua").write_text(COUNTS)
    body = 'test("a crash %s", function() test.crash %s %s test.equal(dynamodb.get("Counts", { id = "all" }).n, 3) end)\n'
    done = run(COUNTS_HEAD + body % ("after its write", '{ after = "PutItem" }', WRITES) + body % ("before it", '{ after = "GetItem" }', WRITES))
    assert "✗ a crash after its write" in done.stdout and "expected 3, got 4" in done.stdout, done.stdout  # counted twice, as in life
    assert "✓ a crash before it" in done.stdout
    assert "the host dies after this call" in done.stdout
    done = run(COUNTS_HEAD + """
test("nobody calls it", function() test.crash { after = "DeleteItem" } dynamodb.put("Things", { id = "x" }) test.settle() end)
test("POST is a call, too", function() test.crash { after = "POST" } dynamodb.put("Things", { id = "x" }) test.settle() test.equal(#test.requests(), 2) end)
test("at once", function()
  dynamodb.put("Things", { id = "x" })
  test.settle()
  test.crash()
  test.settle()
  dynamodb.put("Things", { id = "y" })
  test.settle()
  test.equal(test.requests()[#test.requests()].url, "http://service.test/y")
end)
""")
    assert "✗ nobody calls it" in done.stdout and "no handler has called" in done.stdout and "2 passed, 1 failed" in done.stdout, done.stdout
    for wrong, words in (('{ before = "x" }', "not before"), ("{ after = 1 }", "operation's name"), ("{ host = 2 }", "no host 2"), ("{ host = 1.5 }", "a number"),
                         ('{ host = 1, after = "PutItem" }', "leave host out"), ('"PutItem"', "expected")):
        done = run(COUNTS_HEAD + f'test("wrong", function() test.crash({wrong}) end)')
        assert "1 failed" in done.stdout and words in done.stdout and "h_test.lua" in done.stdout, (wrong, done.stdout)


def test_several_hosts_share_a_state(run, tmp_path):
    (tmp_path / "counts.lua").write_text(COUNTS)
    done = run(COUNTS_HEAD + """
test("each change reaches one of them", function()
  test.hosts(3)
  for i = 1, 4 do dynamodb.put("Things", { id = "a" .. i }) end
  test.settle()
  test.split_shards(4)
  for i = 1, 8 do dynamodb.put("Things", { id = "b" .. i }) end
  test.settle()
  test.equal(#test.requests(), 12)
  test.crash { host = 2 }
  test.crash()
  for i = 1, 8 do dynamodb.put("Things", { id = "c" .. i }) end
  test.settle()
  local seen = {}
  for _, request in ipairs(test.requests()) do seen[request.url] = true end
  local count = 0
  for _ in pairs(seen) do count = count + 1 end
  test.equal(count, 20)
end)
test("cannot be sought", function() test.hosts(2) test.seek("h", "latest") end)
test("nine are too many", function() test.hosts(9) end)
""")
    assert "✓ each change reaches one of them" in done.stdout, done.stdout
    assert "several that share their state" in done.stdout and "1 to 8" in done.stdout and "1 passed, 2 failed" in done.stdout


def test_records_that_race_are_found_in_another_order(run, tmp_path):
    (tmp_path / "counts.lua").write_text(COUNTS)
    text = COUNTS_HEAD + f'test("three are counted", function() {WRITES} test.equal(dynamodb.get("Counts", {{ id = "all" }}).n, 3) end)'
    assert run(text).returncode == 0
    done = run(text, "--shuffle", "1-100")
    found = [line for line in done.stdout.splitlines() if "again by --shuffle" in line]
    assert done.returncode == 1 and found and "expected 3, got" in done.stdout, done.stdout
    seed = found[0].split("--shuffle ")[1].rstrip(")")
    again = run(text, "--shuffle", seed)
    assert again.returncode == 1 and f"again by --shuffle {seed}" in again.stdout, "the seed tells what it found"
    # what does not race passes with each
    (tmp_path / "counts.lua").write_text('local dynamodb = require "tidemill.dynamodb" return { on_record = function(record) dynamodb.update("Counts", { id = "all" }, "ADD n :one", { values = { [":one"] = 1 } }) end }')
    done = run(text, "--shuffle", "1-20")
    assert done.returncode == 0, done.stdout
    for wrong in ("0", "x", "5-2", "1-", "-3"):
        assert run(text, f"--shuffle={wrong}").returncode == 2, wrong


def test_which_lines_ran(run, tmp_path):
    (tmp_path / "counts.lua").write_text(COUNTS)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "words.lua").write_text('local words = {}\nfunction words.used()\n  return 1\nend\nfunction words.unused()\n  return {\n    2,\n  }\nend\nreturn words\n')
    (tmp_path / "h.lua").write_text(HANDLER.replace("local http", 'local words = require "words"\nlocal http', 1).replace("http.post", "words.used() http.post", 1))
    text = COUNTS_HEAD + 'test("one", function() dynamodb.put("Things", { id = "x" }) test.settle() end)'
    done = run(text, "--cover", "--lcov", "cover.info")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line.split()[0]: line.strip() for line in done.stdout.splitlines() if "%" in line}
    assert lines["counts.lua"].endswith("7 of 9; never: 6, 11"), done.stdout
    assert "never: 6" in lines["lib/words.lua"] and "never" not in lines["h.lua"], done.stdout
    lcov = (tmp_path / "cover.info").read_text()
    assert f"SF:{tmp_path}/counts.lua" in lcov and "\nDA:4,1\n" in lcov and "\nDA:6,0\n" in lcov and lcov.count("end_of_record") == 3
    assert "h_test.lua" not in lcov
    done = run(text, "--lcov", "nowhere/cover.info")
    assert done.returncode == 1 and "nowhere/cover.info" in done.stderr


def test_a_failing_test_shows_what_led_to_it(run, tmp_path):
    (tmp_path / "counts.lua").write_text(COUNTS)
    done = run(COUNTS_HEAD + """
test("fails", function()
  dynamodb.put("Things", { id = "slow" })
  test.settle()
  error("see what there was")
end)
""")
    for words in ("handler counts: GetItem Counts id all → nothing there", "handler counts: PutItem Counts ", "handler counts: INSERT Things slow: done",
                  "handler h: INSERT Things slow: failed, will try again: ./h.lua:5: not yet", "handler h: INSERT Things slow: done (attempt 4)", "handler h: POST http://service.test/slow → HTTP 200"):
        assert words in done.stdout, (words, done.stdout)


def test_a_crash_in_a_redelivery_and_what_cannot_be_crashed(run, tmp_path):
    (tmp_path / "counts.lua").write_text(COUNTS)
    done = run(COUNTS_HEAD + """
test("twice in it", function()
  dynamodb.put("Things", { id = "a" })
  test.settle()
  test.crash { after = "PutItem" }
  test.crash { after = "PutItem" }
  test.redeliver()
  test.settle()
  test.equal(dynamodb.get("Counts", { id = "all" }).n, 4)
end)
test("sought", function()
  dynamodb.put("Things", { id = "a" })
  test.settle()
  test.crash { after = "GetItem" }
  test.seek("counts", "1h")
  test.settle()
  test.equal(dynamodb.get("Counts", { id = "all" }).n, 2)
end)
test("not an event", function()
  test.crash { after = "PutItem" }
  test.event("counts", { eventName = "INSERT", dynamodb = { Keys = { id = { S = "a" } }, NewImage = { id = { S = "a" } } } })
end)
test("not the future", function() test.seek("counts", "2999-01-01T00:00:00Z") end)
test("money", function()
  dynamodb.put("Things", { id = "m", n = dynamodb.decimal("0.3") })
  test.equal(dynamodb.get("Things", { id = "m" }).n, dynamodb.decimal("0.3"))
  test.equal(dynamodb.decimal("0.1") + dynamodb.decimal("0.2"), 0.3)
  test.equal(dynamodb.decimal("0.10000000000000000001"), 0.1)
end)
""")
    assert "✓ twice in it" in done.stdout and "✓ sought" in done.stdout, done.stdout
    assert "are no part of one" in done.stdout and "is not over yet" in done.stdout
    assert "expected 0.1, got 0.10000000000000000001" in done.stdout and "2 passed, 3 failed" in done.stdout, done.stdout


def test_what_a_test_says_is_text(run):
    done = run(HEAD + 'test("two\\nlines # SKIP \\27[2J", function() log = 1 end)', "--tap")
    line, = [line for line in done.stdout.splitlines() if line.startswith(("ok", "not ok"))]
    assert "SKIP" in line and "#" not in line.split(" - ")[1] and "\x1b" not in done.stdout
    done = run(HEAD + 'local log = require "tidemill.log"\ntest("speaks", function() log.info("a word") end)', "--verbose")
    assert "a word" in done.stdout and done.returncode == 0


def test_markers_are_of_the_tests_time(run, tmp_path):
    (tmp_path / "h.lua").write_text('local dynamodb = require "tidemill.dynamodb" return { stream = "s", on_insert = function(record)\n'
                                    'dynamodb.transact { once = record.id, once_table = "Marks", once_ttl = "30d", { put = { "Marks", { id = "done" } } } } end }')
    head = HEAD.replace("[stream s]", "[table Marks]\nkey = id\nstream = none\n[stream s]")
    done = run(head + """
test("a month", function()
  dynamodb.put("Things", { id = "a" })
  test.settle()
  for _, mark in ipairs(dynamodb.scan("Marks")) do
    if mark.expires then
      test.equal(math.abs(mark.expires - test.now() - 30 * 86400) < 600, true)
      seen = true
    end
  end
end)
test("no time", function() dynamodb.transact { once = "x", once_table = "Marks", once_ttl = "soon", { put = { "Marks", { id = "d" } } } } end)
""".replace("      seen = true\n", ""))
    assert "✓ a month" in done.stdout and "once_ttl is a number of seconds" in done.stdout, done.stdout
