"""What a handler can do, and what happens when it fails."""
import decimal
import json
import pathlib
import shutil
import sqlite3

from conftest import wait_until


def run_once(deployment, dynamodb, name, body, item=None, settings="", done="done"):
    """Runs `body` as on_insert for one item and returns the host after the log says `done`."""
    table = dynamodb.table(name())
    side = dynamodb.table(name(), stream=False)
    pairs = dynamodb.table(name(), key="pk", sort="sk", stream=False)
    deployment.script("h", f"""
local dynamodb = require "tidemill.dynamodb"
local json = require "tidemill.json"
local log = require "tidemill.log"
local config = require "tidemill.config"
local side, pairs_table = config.side, config.pairs
local function same(got, wanted)
  if got ~= wanted then
    error("got " .. tostring(got) .. ", wanted " .. tostring(wanted), 2)
  end
end
return {{
  stream = "s",
  on_insert = function(record)
    {body.strip()}
    log.info("done")
  end,
}}
""")
    deployment.stream(table, f"[handler h]\nside = {side}\npairs = {pairs}\nretries = 0\n{settings}")
    dynamodb.client.put_item(TableName=table, Item=item or {"id": {"S": "a"}})
    host = deployment.start()
    host.wait_for(done, errors_allowed=done != "done")
    host.side = side
    return host


def dead_letters(deployment):
    if deployment.status() is None:  # no state yet
        return []
    with sqlite3.connect(deployment.directory / "state.db") as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM dead_letters ORDER BY id")]


ALL_TYPES = {
    "id": {"S": "all"},
    "text": {"S": "h\u00e9llo \u0000 \U0001f30a"},
    "empty_text": {"S": ""},
    "integer": {"N": "-42"},
    "large": {"N": "9223372036854775807"},
    "larger": {"N": "9223372036854775808"},
    "fraction": {"N": "0.1"},
    "precise": {"N": "1.2345678901234567890123456789012345678"},
    "tiny": {"N": "1E-130"},
    "huge": {"N": "9.9999999999999999999999999999999999999E+125"},
    "bytes": {"B": b"\x00\x01\xfe\xff"},
    "truth": {"BOOL": True},
    "lie": {"BOOL": False},
    "nothing": {"NULL": True},
    "empty_list": {"L": []},
    "empty_map": {"M": {}},
    "list": {"L": [{"N": "1"}, {"L": []}, {"M": {"deep": {"L": [{"NULL": True}]}}}]},
    "strings": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2.5", "12345678901234567890123456789012345678"]},
    "binaries": {"BS": [b"x", b"\x00"]},
}


def test_what_was_read_can_be_written_back_unchanged(deployment, dynamodb, name):
    host = run_once(deployment, dynamodb, name, "dynamodb.put(side, record.new)", item=ALL_TYPES)
    copy = dynamodb.client.get_item(TableName=host.side, Key={"id": {"S": "all"}})["Item"]
    for attribute, value in ALL_TYPES.items():
        (kind, wanted), = value.items()
        (copied_kind, copied), = copy[attribute].items()
        assert copied_kind == kind, attribute
        if kind in ("SS", "NS", "BS"):
            assert sorted(copied) == sorted(wanted), attribute
        elif kind == "N":  # the service chooses how to write it
            assert decimal.Decimal(copied) == decimal.Decimal(wanted), attribute
        else:
            assert copied == wanted, attribute


def test_values_have_lua_types(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    local new = record.new
    same(math.type(new.integer), "integer"); same(new.integer, -42)
    same(math.type(new.large), "integer"); same(math.type(new.fraction), "float")
    same(tostring(new.larger), "9223372036854775808"); assert(new.larger > new.large)
    assert(new.precise > 1 and new.precise < 2 and new.precise ~= new.larger)
    same(tostring(new.bytes), "\\0\\1\\254\\255"); same(#new.bytes, 4)
    same(new.nothing, dynamodb.null); same(#new.empty_list, 0); same(next(new.empty_map), nil)
    assert(new.strings:contains("b") and not new.strings:contains("c"))
    same(new.list[3].deep[1], dynamodb.null)
    same(#new.text, 13)
    same(json.encode(dynamodb.list{1, "x", dynamodb.null, {}}), '[1,"x",null,{}]')
    same(json.decode('{"a":[1,2.5,12345678901234567890]}').a[2], 2.5)
    same(json.encode(json.decode('[12345678901234567890,[],{}]')), '[12345678901234567890,[],{}]')
    same(tostring(new.larger + 1), "9223372036854775809"); same(tostring(1 - new.larger), "-9223372036854775807")
    local decimal = dynamodb.decimal
    same(tostring(decimal(19.99) * 3 + decimal("0.03")), "60"); same(tostring(-decimal(0.1) - 0.2), "-0.3"); assert(decimal(0.1) + 0.2 == decimal("0.30"))
    assert(decimal("1.10") == decimal(1.1) and decimal(2) > 1.5 and decimal(7) <= 7); same(tostring(decimal("1e3")), "1000")
    same(json.encode { sum = decimal("0.10") + decimal("0.20") }, '{"sum":0.3}')
    dynamodb.put(side, { id = "money", total = decimal("12345678901234567890.12") * 2 })
    same(tostring(dynamodb.get(side, { id = "money" }).total), "24691357802469135780.24")
    for wanted, call in pairs {
      ["more than 38 digits, which DynamoDB cannot hold"] = function() return new.precise * new.precise end, ["no exact value in general"] = function() return decimal(1) / 3 end,
      ["arithmetic on a decimal and a string"] = function() return decimal(1) + "1" end, ["arithmetic on a decimal and a nil"] = function() return decimal(1) + nil end,
      ["a number expected, or its digits"] = function() return decimal("one") end, ["a number expected"] = function() return decimal({}) end,
      ["out of the range of DynamoDB's numbers"] = function() return decimal("9e125") * 10 end,
    } do
      local ok, why = pcall(call)
      assert(not ok and why:find(wanted, 1, true), tostring(why) .. " instead of " .. wanted)
    end
    """, item=ALL_TYPES)


def test_the_record_object(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    same(record.event, "INSERT"); same(record.old, nil); same(record.new.n, 7); same(record.keys.id, "a")
    assert(record.new == record.new, "decoded once")
    assert(#record.id > 0 and #record.sequence > 0 and #record.shard > 0)
    assert(math.type(record.time) == "integer" and record.size > 0)
    same(record.view, "NEW_AND_OLD_IMAGES"); same(record.expired, false); same(record.attempt, 1)
    same(record.stream, "s"); assert(#record.table > 0)
    same(record.raw.dynamodb.NewImage.n.N, "7"); assert(record.raw.eventSourceARN:find("/stream/"))
    assert(record:changed("n") and not record:changed("other"))
    assert(not pcall(function() record.new_field = 1 end))
    local ok, why = pcall(function() return record.nwe end)
    assert(not ok and why:find("has no 'nwe'"), why)
    """, item={"id": {"S": "a"}, "n": {"N": "7"}})


def test_get_put_update_delete(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    same(dynamodb.get(side, {id = "x"}), nil)
    same(dynamodb.put(side, {id = "x", n = 1, name = "reserved word"}), true)
    same(dynamodb.get(side, {id = "x"}, {consistent = true, attributes = {"name"}}).n, nil)
    same(dynamodb.get(side, {id = "x"}, {attributes = {"name"}}).name, "reserved word")
    same(dynamodb.update(side, {id = "x"}, "SET n = n + :one", {values = {[":one"] = 1}}), true)
    same(dynamodb.update(side, {id = "x"}, "ADD n :one", {values = {[":one"] = 1}, return_values = "ALL_NEW"}).n, 3)
    local done, why = dynamodb.update(side, {id = "x"}, "SET n = :n",
      {values = {[":n"] = 9, [":old"] = 1}, condition = "n = :old"})
    same(done, false); same(why, "ConditionalCheckFailed")
    same(dynamodb.put(side, {id = "x"}, {condition = "attribute_not_exists(id)"}), false)
    same(dynamodb.delete(side, {id = "x"}, {condition = "#n = :n", names = {["#n"] = "n"}, values = {[":n"] = 8}}), false)
    same(dynamodb.delete(side, {id = "x"}, {return_values = "ALL_OLD"}).n, 3)
    same(dynamodb.delete(side, {id = "x"}), true)
    """)


def test_create_and_transition_have_one_winner(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    same(dynamodb.create(side, {id = "c", n = 1, list = {}}), true)
    same(dynamodb.create(side, {id = "c", m = 2}), false)
    same(dynamodb.get(side, {id = "c"}).m, nil)
    same(dynamodb.create(pairs_table, {pk = "p", sk = "1"}), true)
    same(dynamodb.create(pairs_table, {pk = "p", sk = "2"}), true)
    same(dynamodb.create(pairs_table, {pk = "p", sk = "2", more = true}), false)
    dynamodb.put(side, {id = "job", status = "pending"})
    same(dynamodb.transition(side, {id = "job"}, "status", "pending", "active", {set = {owner = "me", size = 3}}), true)
    same(dynamodb.transition(side, {id = "job"}, "status", "pending", "active"), false)
    local job = dynamodb.get(side, {id = "job"})
    same(job.status, "active"); same(job.owner, "me"); same(job.size, 3)
    """)


def test_query_scan_and_each_over_all_pages(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    local items = {}
    for i = 1, 60 do items[i] = {pk = "p", sk = string.format("%03d", i), n = i} end
    for i = 61, 70 do items[i] = {pk = "q", sk = string.format("%03d", i), n = i} end
    same(dynamodb.key_text {id = "ORDER-1#%"}, "ORDER-1#%")
    same(dynamodb.key_text {sk = 2, pk = "a#b%"}, "a%23b%25#2")
    same(dynamodb.batch_write(pairs_table, {put = items}), true)
    local condition, values = "pk = :p", {[":p"] = "p"}
    local page, last = dynamodb.query(pairs_table, condition, {values = values, limit = 25})
    same(#page, 25); same(page[1].sk, "001"); same(last.sk, "025")
    page, last = dynamodb.query(pairs_table, condition, {values = values, limit = 25, start = last, descending = true})
    same(page[1].sk, "024")
    same(select(2, dynamodb.query(pairs_table, condition, {values = values})), nil)
    local count = 0
    for item in dynamodb.each(pairs_table, condition, {values = values, limit = 7}) do
      count = count + 1
      same(item.n, count)
    end
    same(count, 60)
    count = 0
    for item in dynamodb.each(pairs_table, nil, {limit = 9, filter = "n > :n", values = {[":n"] = 50}}) do
      count = count + 1
    end
    same(count, 20)
    same(#dynamodb.scan(pairs_table), 70)
    local keys = {}
    for i = 1, 60 do keys[i] = {pk = "p", sk = string.format("%03d", i)} end
    for i = 61, 130 do keys[i] = {pk = "none", sk = tostring(i)} end
    same(#dynamodb.batch_get(pairs_table, keys), 60)
    same(dynamodb.batch_write(pairs_table, {delete = {keys[1], keys[2]}, put = {{pk = "r", sk = "1"}}}), true)
    same(#dynamodb.query(pairs_table, condition, {values = values}), 58)
    """)


def test_transact_is_all_or_nothing(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    dynamodb.put(side, {id = "a", n = 1})
    same(dynamodb.transact{
      {put = {side, {id = "b"}}},
      {update = {side, {id = "a"}, "SET n = :n", {values = {[":n"] = 2}}}},
      {check = {pairs_table, {pk = "x", sk = "y"}, {condition = "attribute_not_exists(pk)"}}},
    }, true)
    same(dynamodb.get(side, {id = "a"}).n, 2)
    local done, reasons = dynamodb.transact{
      {delete = {side, {id = "b"}}},
      {put = {side, {id = "a"}, {condition = "attribute_not_exists(id)"}}},
    }
    same(done, false); same(reasons[1], "None"); same(reasons[2], "ConditionalCheckFailed")
    assert(dynamodb.get(side, {id = "b"}), "nothing was deleted")
    """)


def test_calls_wait_inside_coroutines_pcall_and_iterators(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    local co = coroutine.wrap(function(a)
      dynamodb.put(side, {id = "co", n = a})
      local b = coroutine.yield("first")
      dynamodb.put(side, {id = "co", n = b})
      return "second"
    end)
    same(co(1), "first"); same(dynamodb.get(side, {id = "co"}).n, 1)
    same(co(2), "second"); same(dynamodb.get(side, {id = "co"}).n, 2)
    local inner = coroutine.create(function() dynamodb.get("NoSuchTable", {id = "x"}) end)
    local ok, err = coroutine.resume(inner)
    same(ok, false); same(err.code, "ResourceNotFoundException")
    ok, err = pcall(dynamodb.get, "NoSuchTable", {id = "x"})
    same(ok, false); assert(tostring(err):find("ResourceNotFoundException"))
    """)


def test_errors_name_the_scripts_line_and_become_dead_letters(deployment, dynamodb, name):
    host = run_once(deployment, dynamodb, name, """
    local function inner() local nothing; return nothing.field end
    inner()
    """, done="kept as a dead letter")
    letter, = wait_until(lambda: dead_letters(deployment), "the dead letter is there")
    assert "scripts/h.lua:15: attempt to index a nil value (local 'nothing')" in letter["error"]
    assert "scripts/h.lua:16" in letter["traceback"]
    assert letter["attempts"] == 1 and letter["handler"] == "h" and '"NewImage"' in letter["record"]
    assert host.stop() == 0
    assert deployment.status()["dead_letters"] == {"h": 1}


def test_a_service_error_names_the_line_that_called(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    dynamodb.get("NoSuchTable", {id = "x"})
    """, done="kept as a dead letter")
    letter, = wait_until(lambda: dead_letters(deployment), "the dead letter is there")
    assert "scripts/h.lua:15: GetItem: ResourceNotFoundException: " in letter["error"]


def test_a_failing_record_is_retried_and_only_its_item_waits(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.script("h", """
local log = require "tidemill.log"
return {
  stream = "s", retries = 3, backoff = "50ms..200ms",
  on_record = function(record)
    local new = record.new
    log.info("try", { id = new.id, version = new.version, attempt = record.attempt })
    if new.id == "bad" and new.version == 1 then error("poison") end
    log.info("ok", { id = new.id, version = new.version })
  end,
}""")
    deployment.stream(table)
    for version in (1, 2):
        for item in ("bad", "good"):
            dynamodb.client.put_item(TableName=table, Item={"id": {"S": item}, "version": {"N": str(version)}})
    host = deployment.start()
    wait_until(lambda: {"id": "bad", "version": 2} in host.fields("ok"), "the item goes on after its dead letter")
    bad = [(line["version"], line["attempt"]) for line in host.fields("try") if line["id"] == "bad"]
    assert bad == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]
    order = [(line["id"], line["version"]) for line in host.fields("ok")]
    assert order == [("good", 1), ("good", 2), ("bad", 2)]
    letter, = wait_until(lambda: dead_letters(deployment), "the dead letter is there")
    assert letter["attempts"] == 4 and "poison" in letter["error"]
    assert host.stop() == 0


def test_a_permanent_error_is_not_retried(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, 'error(tidemill.permanent("never"))', settings="",
             done="kept as a dead letter")
    letter, = wait_until(lambda: dead_letters(deployment), "the dead letter is there")
    assert letter["attempts"] == 1 and "scripts/h.lua:15: never" in letter["error"]


def test_limits_end_the_invocation_and_leave_the_handler_usable(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.script("h", """
local log = require "tidemill.log"
return {
  stream = "s", retries = 0, cpu_limit = "200ms", memory = "8MiB",
  on_record = function(record)
    local id = record.new.id
    if id == "cpu" then while true do end end
    if id == "pcall" then while true do pcall(function() while true do end end) end end
    if id == "xpcall" then while true do xpcall(function() while true do end end, print) end end
    if id == "resume" then
      while true do coroutine.resume(coroutine.create(function() while true do end end)) end
    end
    if id == "wrap" then coroutine.wrap(function() while true do end end)() end
    if id == "close" then local t <close> = setmetatable({}, { __close = function() while true do end end }) error("x") end
    if id == "both" then local t <close> = setmetatable({}, { __close = function() while true do end end }) while true do end end
    if id == "tostring" then error(setmetatable({}, { __tostring = function() while true do end end })) end
    if id == "rep" then ("x"):rep(1 << 40) end
    if id == "yield" then coroutine.yield() end
    if id == "find" then ("a"):rep(5000):find((".-"):rep(20) .. "x") end
    if id == "gsub" then string.gsub(("a"):rep(5000), ("a*"):rep(20) .. "x", "") end
    if id == "gmatch" then for _ in ("a"):rep(5000):gmatch("(.-)(.-)(.-)(.-)x") do end end
    local endless = setmetatable({}, { __len = function() return 1 << 60 end })
    if id == "move" then table.move({}, 1, 1 << 60, 2) end
    if id == "insert" then table.insert(endless, 1, 1) end
    if id == "remove" then table.remove(endless, 1) end
    if id == "concat" then table.concat(endless, "", 1) end
    if id == "nothing" then assert((""):rep(1 << 60) == "") end
    log.info("ok", { id = id })
  end,
}""")
    deployment.script("m", """
return {
  stream = "s", retries = 0, cpu_limit = "10m", memory = "8MiB",
  filter = { dynamodb = { Keys = { id = { S = { "memory" } } } } },
  on_record = function() local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end,
}""")
    deployment.stream(table)
    patterns = ("find", "gsub", "gmatch")  # whichever of both limits is met first
    used_up = ("cpu", "pcall", "xpcall", "resume", "wrap", "both")
    others = {"close": "h.lua:14: x", "tostring": "an error that cannot be described", "rep": "too large",
              "memory": "not enough memory", "yield": "yielded outside of a coroutine",
              **{item: "more than the handler's memory could hold" for item in ("move", "insert", "remove", "concat")}}
    for item in (*used_up, *patterns, *others, "fine", "nothing"):
        dynamodb.client.put_item(TableName=table, Item={"id": {"S": item}})
    host = deployment.start()
    wait_until(lambda: len(dead_letters(deployment)) == len(used_up) + len(patterns) + len(others), "they failed")
    errors = {json.loads(letter["keys"])["id"]["S"]: letter["error"] for letter in dead_letters(deployment)}
    assert all("used up its cpu_limit" in errors[item] for item in used_up), errors
    assert all(text in errors[item] for item, text in others.items()), errors
    assert all("backtracks too much" in errors[item] or "used up its cpu_limit" in errors[item] for item in patterns), errors
    wait_until(lambda: {fields["id"] for fields in host.fields("ok")} == {"fine", "memory", "nothing"}, "the next record is handled")
    assert host.stop() == 0


def test_the_sandbox_is_closed(deployment, dynamodb, name):
    run_once(deployment, dynamodb, name, """
    for _, global in ipairs{"io", "debug", "dofile", "loadfile", "package"} do same(rawget(_G, global), nil) end
    same(os.execute, nil); same(os.exit, nil); same(os.getenv, nil); same(string.dump, nil)
    same(load("\\27Lua"), nil)
    same(load("return 1 + 1")(), 2)
    assert(not pcall(require, "../h")); assert(not pcall(require, "os.execute"))
    assert(not pcall(setmetatable, "", {}))
    assert(not pcall(setmetatable, {}, { __gc = print }))
    assert(not pcall(setmetatable, setmetatable({}, { __metatable = false }), {}))
    local ok, a, b = pcall(function(...) return ... end, 1, nil); same(ok, true); same(a, 1); same(b, nil)
    ok, a = xpcall(function(x) error({ x }) end, function(e) return e[1] + 1 end, 4); same(ok, false); same(a, 5)
    ok, a, b = xpcall(function(...) return select("#", ...), ... end, print, 7, 8); same(a, 2); same(b, 7)
    ok, a = pcall(error); same(ok, false); same(a, nil)
    same(select("#", pcall(function() end)), 1)
    local t = { } ; same(setmetatable(t, { __index = { x = 1 } }), t); same(t.x, 1)
    """)


def test_one_handler_does_not_see_the_globals_of_another(deployment, dynamodb, name):
    table = dynamodb.table(name())
    script = """
local log = require "tidemill.log"
mark_%s = "set"
return { stream = "s", on_record = function()
  log.info("saw", { handler = %r, mark = tostring(rawget(_G, "mark_one")) .. tostring(rawget(_G, "mark_two")) })
end }"""
    for handler in ("one", "two"):
        deployment.script(handler, script % (handler, handler))
    deployment.stream(table)
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    host = deployment.start()
    wait_until(lambda: len(host.fields("saw")) == 2, "both ran")
    assert {line["mark"] for line in host.fields("saw")} == {"setnil", "nilset"}
    assert host.stop() == 0


def test_modules_under_lib_can_be_required(deployment, dynamodb, name):
    (deployment.directory / "scripts" / "lib" / "deep").mkdir(parents=True)
    (deployment.directory / "scripts" / "lib" / "deep" / "util.lua").write_text("return { twice = function(n) return 2 * n end }")
    run_once(deployment, dynamodb, name, 'same(require("deep.util").twice(4), 8)')


def test_a_broken_script_is_left_out_and_the_others_run(deployment, dynamodb, name):
    (deployment.directory / "scripts" / "broken.lua").write_text("return {\n  stream = \n}")
    host = run_once(deployment, dynamodb, name, "", done='scripts/broken.lua: left out')
    assert any("scripts/broken.lua:3: unexpected symbol near '}'" in message for message in host.messages())
    host.wait_for("done")


def test_the_stock_handler_orders_once_however_often_the_change_is_delivered(deployment, dynamodb, name):
    root = pathlib.Path(__file__).resolve().parents[2]
    table, orders = dynamodb.table(name(), key="productId"), dynamodb.table(name(), key="orderId", stream=False)
    shutil.copy(root / "scripts" / "stock_replenishment.lua", deployment.directory / "scripts")
    deployment.configure(f"[stream products]\ntable = {table}\n"
                         f"[handler stock_replenishment]\nreplenishment_table = {orders}")
    # from 60 down in steps; the threshold is crossed twice, with a refill between
    for stock in (60, 55, 50, 49, 30, 80, 50, 20):
        dynamodb.client.put_item(TableName=table, Item={
            "productId": {"S": "p"}, "stock": {"N": str(stock)}, "reorderThreshold": {"N": "50"},
            "amountToReplenish": {"N": "100"}})
    for _ in range(2):  # the second time from the beginning, as after a lost state file
        host = deployment.start()
        wait_until(lambda: sum("replenishment" in message and "order" in message for message in host.messages()
                               if not message.startswith("handler ")) >= 2, "both crossings were handled")
        assert host.stop() == 0
        for file in deployment.directory.glob("state.db*"):
            file.unlink()
    items = dynamodb.client.scan(TableName=orders)["Items"]
    assert len(items) == 2
    assert all(item["productId"] == {"S": "p"} and item["amount"] == {"N": "100"} for item in items)
