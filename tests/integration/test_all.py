"""Several things at once inside one invocation."""
import json
import threading

import pytest
from conftest import wait_until
from services import Http
from test_handlers import dead_letters, run_once


class Gate(Http):
    """Lets answers go when so many requests are there at once, in reverse; counts the most."""

    def __init__(self, wanted):
        super().__init__()
        gate = self
        self.wanted, self.most, self.now, self.there = wanted, 0, 0, threading.Condition()

        class Handler(self.server.RequestHandlerClass):
            def do_GET(self):
                with gate.there:
                    gate.now += 1
                    gate.most = max(gate.most, gate.now)
                    gate.there.notify_all()
                    gate.there.wait_for(lambda: gate.most >= gate.wanted, 20)
                number = int(self.path.rpartition("/")[2])
                threading.Event().wait(0.002 * (8 - number % 8))  # the later ones end first
                with gate.there:
                    gate.now -= 1
                gate.seen.append(number)
                self.send_response(500 if number == 13 else 200)
                body = str(number * 10).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server.RequestHandlerClass = Handler


def test_waits_overlap_within_the_limit_and_results_keep_their_order(deployment, dynamodb, name):
    gate = Gate(5)
    run_once(deployment, dynamodb, name, f"""
local http = require "tidemill.http"
local list = {{}}
for i = 1, 40 do list[i] = i end
local bodies = tidemill.all(list, function(n, i)
  same(n, i)
  return tonumber(http.get("{gate.url}" .. n).body)
end, {{ limit = 5 }})
same(#bodies, 40)
for i = 1, 40 do same(bodies[i], 10 * i) end
same(#tidemill.all({{}}, function() error("never") end), 0)
-- what does not wait runs, too, and the order is the list's
local order = {{}}
tidemill.all({{ "a", "b", "c" }}, function(letter) order[#order + 1] = letter end)
same(table.concat(order), "abc")
-- one within the other, and each part may call what it likes
local sums = tidemill.all({{ 1, 2, 3 }}, function(n)
  local inner = tidemill.all({{ 10, 20 }}, function(m)
    dynamodb.put(side, {{ id = n .. "-" .. m, sum = n + m }})
    return n + m
  end)
  return inner[1] + inner[2]
end)
same(json.encode(sums), "[32,34,36]")
same(dynamodb.get(side, {{ id = "3-20" }}).sum, 23)
same(json.encode(tidemill.chunks({{ 1, 2, 3, 4, 5 }}, 2)), "[[1,2],[3,4],[5]]")
same(#tidemill.chunks({{}}, 3), 0)
-- in a coroutine of the script's own
local co = coroutine.wrap(function() return #tidemill.all({{ 1, 2 }}, function() return http.get("{gate.url}1").status end) end)
same(co(), 2)
""")
    assert gate.most == 5 and sorted(gate.seen) == sorted([*range(1, 41), 1, 1])


def test_the_first_error_is_raised_when_all_have_ended(deployment, dynamodb, name):
    gate = Gate(1)
    host = run_once(deployment, dynamodb, name, f"""
local http = require "tidemill.http"
local ended = 0
local list = {{}}
for i = 1, 20 do list[i] = i end
local ok, problem = pcall(tidemill.all, list, function(n)
  local answer = http.get("{gate.url}" .. n)
  ended = ended + 1
  if answer.status ~= 200 then error(tidemill.permanent("number " .. n .. " failed")) end
end)
same(ok, false)
same(problem.permanent, true)
same(ended, 20)
for text, call in pairs {{
  ["all: a list expected, got nil"] = function() tidemill.all() end,
  ["all: a function expected, got string"] = function() tidemill.all({{}}, "x") end,
  ["all: limit: a whole number from 1 to 1000 expected"] = function() tidemill.all({{ 1 }}, print, {{ limit = 0 }}) end,
  ["all: unknown option 'limits' (there is limit)"] = function() tidemill.all({{ 1 }}, print, {{ limits = 3 }}) end,
  ["all: options: a table expected, got number"] = function() tidemill.all({{ 1 }}, print, 3) end,
  ["chunks: a size of at least 1 expected"] = function() tidemill.chunks({{}}, 0) end,
}} do
  local good, said = pcall(call)
  same(good, false)
  if not said:find(text, 1, true) then error(said .. ", wanted " .. text) end
end
-- a part that yields to nobody ends, and says so
local fine, told = pcall(tidemill.all, {{ 1, 2 }}, function() coroutine.yield() end)
same(fine, false)
if not told:find("yielded outside of a coroutine") then error(told) end
error(problem)
""", done="kept as a dead letter")
    [letter] = dead_letters(deployment)
    assert "number 13 failed" in letter["error"] and letter["attempts"] == 1
    assert host.stop() == 0


def test_no_part_goes_beyond_the_wholes_limits(deployment, dynamodb, name):
    """What a pcall, thousands of short parts, parts that wait or an endless __close would get around."""
    bodies = {
        "caught": 'while true do pcall(tidemill.all, { 1 }, function() while true do end end) end',
        "nested": 'local function f() pcall(tidemill.all, { 1, 2 }, function() f() while true do end end) end while true do f() end',
        "short": 'local list = {} for i = 1, 100 do list[i] = i end while true do tidemill.all(list, function() for i = 1, 5000 do end end) end',
        "others wait": 'tidemill.all({ 1, 2, 3 }, function(n) if n < 3 then time.sleep(50) end while true do end end)',
        "yields": 'while true do pcall(tidemill.all, { 1, 2 }, function() local c <close> = endless() coroutine.yield() end) end',
    }
    table = dynamodb.table(name())
    for number, body in enumerate(bodies.values()):
        deployment.script(f"h{number}", f"""
local time = require "tidemill.time"
local function endless() return setmetatable({{}}, {{ __close = function() while true do end end }}) end
return {{ stream = "s", timeout = "2m", cpu_limit = "300ms", retries = 0, on_insert = function(record) {body} end }}""")
    # A crash, or a thread that stands, at the timeout.
    deployment.script("deep", """
local time = require "tidemill.time"
local function f(n) if n == 0 then time.sleep(100) else tidemill.all({ 1 }, function() f(n - 1) end) end end
return { stream = "s", timeout = "1m", retries = 0, on_insert = function() f(5000) end }""")
    deployment.script("wide", """
local time = require "tidemill.time"
local list = {} for i = 1, 1000 do list[i] = i end
return { stream = "s", timeout = "1s", retries = 0, on_insert = function()
  tidemill.all(list, function() local c <close> = setmetatable({}, { __close = function() while true do end end }) time.sleep(100) end, { limit = 1000 })
end }""")
    deployment.stream(table)
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    host = deployment.start()
    wait_until(lambda: len(dead_letters(deployment)) == len(bodies) + 2, lambda: f"all are given up: {dead_letters(deployment)}")
    errors = {letter["handler"]: letter["error"] for letter in dead_letters(deployment)}
    for number, how in enumerate(bodies):
        assert "used up its cpu_limit" in errors[f"h{number}"], (how, errors[f"h{number}"])
    assert "more than 8 of them one within the other" in errors["deep"] and "longer than its timeout" in errors["wide"], errors
    assert host.stop() == 0


def test_an_error_beside_one_that_waits_counts(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
local once, time = require "tidemill.once", require "tidemill.time"
tidemill.all({ 1, 2 }, function(n)
  once("key", function() time.sleep(0.1) error("the mail was refused") end)
end)
""", done="kept as a dead letter")
    assert "the mail was refused" in dead_letters(deployment)[0]["error"]


@pytest.mark.parametrize("how", ["time", "processor", "stop"])
def test_parts_end_with_the_whole(deployment, dynamodb, name, how):
    hanging = Http(hangs=True)
    table = dynamodb.table(name())
    deployment.script("h", f"""
local http = require "tidemill.http"
local emit = require "tidemill.emit"
return {{ stream = "s", timeout = "{'500ms' if how == 'time' else '1m'}", cpu_limit = "100ms", retries = 0, on_insert = function(record)
  local closed <close> = setmetatable({{}}, {{ __close = function() print("the whole is closed") end }})
  tidemill.all({{ 1, 2, 3 }}, function(n)
    local closes <close> = setmetatable({{}}, {{ __close = function() print("part " .. n .. " is closed") end }})
    emit("out", {{ n = n }})
    while n == 3 and "{how}" == "processor" do end
    if "{how}" ~= "processor" then http.get("{hanging.url}", {{ timeout = 60 }}) end
  end)
end }}
""")
    deployment.stream(table, f"[target out]\ntype = file\npath = {deployment.directory}/out\n", shutdown_timeout="300ms")
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    host = deployment.start()
    if how == "stop":
        wait_until(lambda: hanging.open == 3, "all three wait")
        host.stop()
        hanging.hangs = False
        return
    host.wait_for("kept as a dead letter", errors_allowed=True)
    hanging.hangs = False
    [letter] = dead_letters(deployment)
    assert ("longer than its timeout" if how == "time" else "used up its cpu_limit") in letter["error"], letter["error"]
    lines = "".join(host.messages())
    if how == "time":
        assert all(f"part {n} is closed" in lines for n in (1, 2, 3)) and "the whole is closed" in lines
    assert host.stop() == 0
    assert not list((deployment.directory / "out").glob("**/*.json*")) if (deployment.directory / "out").exists() else True


class RefusesTheEighth(Http):
    @property
    def status(self):
        return 400 if len(self.seen) == 8 else 200

    @status.setter
    def status(self, status):
        pass


def test_what_parts_emit_has_the_same_identity_at_every_attempt(deployment, dynamodb, name):
    gate, sink = Gate(1), RefusesTheEighth()
    table = dynamodb.table(name())
    deployment.script("h", f"""
local http = require "tidemill.http"
local emit = require "tidemill.emit"
return {{ stream = "s", on_insert = function(record)
  emit("out", {{ n = 0 }})
  tidemill.all({{ 1, 2, 3, 4, 5, 6 }}, function(n)
    if record.attempt == 1 then http.get("{gate.url}" .. n) end -- the later ones end first
    emit("out", {{ n = n }})
  end)
  emit("out", {{ n = 7 }})
end }}
""")
    deployment.stream(table, f"[target out]\ntype = http\nurl = {sink.url}\n[handler h]\nretries = -1\nbackoff = 10ms..20ms\n")
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    host = deployment.start()
    wait_until(deployment.settled, "all is delivered")
    assert [json.loads(body)["n"] for body in sink.seen] == 2 * list(range(8))
    assert host.stop() == 0
    ids = {}
    for body, headers in zip(sink.seen, sink.headers):
        ids.setdefault(json.loads(body)["n"], set()).add(headers["Idempotency-Key"])
    assert sorted(ids) == list(range(8)) and all(len(keys) == 1 for keys in ids.values()), ids
    assert len(set.union(*ids.values())) == 8
