"""One script under several names, each with a stream, settings and a place of its own."""
import json
import time

import pytest

from conftest import wait_until
from test_handlers import dead_letters

COPY = """
local dynamodb, config = require "tidemill.dynamodb", require "tidemill.config"
return { on_record = function(record)
  if record.new and record.new.bad then error("bad " .. config.letter) end
  dynamodb.put(config.out, { id = record.table .. "/" .. record.keys.id, by = config.letter })
end }
"""


def configure(deployment, orders, users, out, more=""):
    deployment.stream(orders, f"""
[stream second]
table = {users}
[handler copy_orders]
script = copy
stream = s
out = {out}
letter = o
retries = 0
[handler copy_users]
script = copy
stream = second
out = {out}
letter = u
retries = 0
{more}""")


def copied(local, out):
    return {item["id"]["S"]: item["by"]["S"] for item in local.client.scan(TableName=out)["Items"]}


def put(local, table, item, **more):
    local.client.put_item(TableName=table, Item={"id": {"S": item}, **more})


def test_each_has_its_own_place_settings_and_letters(beside_local, local, name):
    deployment = beside_local
    orders, users, out = local.table(name("Orders")), local.table(name("Users")), local.table(name("Out"), stream=False)
    deployment.script("copy", COPY)
    configure(deployment, orders, users, out)
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    host = deployment.start()
    for table in (orders, users):
        put(local, table, "a")
        put(local, table, "x", bad={"BOOL": True})
    wait_until(lambda: copied(local, out) == {f"{orders}/a": "o", f"{users}/a": "u"} and len(dead_letters(deployment)) == 2, "both have copied")
    letters = {letter["handler"]: letter["error"] for letter in dead_letters(deployment)}
    assert sorted(letters) == ["copy_orders", "copy_users"] and "bad o" in letters["copy_orders"] and "copy.lua:4" in letters["copy_users"], letters
    status = deployment.status()
    assert {row["handler"] for row in status["checkpoints"]} == {"copy_orders", "copy_users"} and len(status["handlers"]) == 2
    # One of them is paused, the other goes on; both go on with what the script says now.
    assert deployment.run("pause", "copy_users").returncode == 0
    host.kill()
    deployment.script("copy", COPY.replace("by = config.letter", "by = config.letter .. 2"))
    host = deployment.start()
    put(local, orders, "b")
    put(local, users, "b")
    wait_until(lambda: copied(local, out).get(f"{orders}/b") == "o2", "the one goes on")
    deployment.script("copy", COPY.replace("by = config.letter", "by = config.letter .. 3"))
    put(local, orders, "c")
    assert deployment.run("resume", "copy_users").returncode == 0
    wait_until(lambda: copied(local, out).get(f"{users}/b") == "u3" and deployment.settled(), "the other does, with what the script says now")
    assert "handler copy is" not in "".join(host.messages())
    # A section that comes and one that goes, by SIGHUP.
    deployment.ini.write_text(deployment.ini.read_text().replace("[handler copy_users]", "[handler copy_people]").replace("letter = u", "letter = p"))
    host.process.send_signal(1)
    host.wait_for("handler copy_people is new")
    host.wait_for("handler copy_users was removed")
    put(local, users, "d")
    wait_until(lambda: copied(local, out).get(f"{users}/d") == "p3", "the new name works")
    assert host.stop() == 0


BOTH = """
local dynamodb, log = require "tidemill.dynamodb", require "tidemill.log"
return { stream = { "s", "second" }, retries = 0, tables = { { "record.table", "GetItem" } }, on_record = function(record)
  if record.new and record.new.bad then error("bad") end
  log.info(record.stream .. " " .. record.table .. " " .. record.keys.id)
end }
"""


def tables(deployment):
    return {row["stream_arn"].split("/")[1] for row in deployment.status()["checkpoints"] if row["sequence"]}


@pytest.mark.parametrize("shared", [False, True])
def test_one_handler_on_several_streams_has_a_place_in_each(beside_local, local, name, shared):
    deployment = beside_local
    orders, users = local.table(name("Orders")), local.table(name("Users"))
    deployment.script("both", BOTH)
    deployment.stream(orders, f"[stream second]\ntable = {users}\n[handler both]\nstream = s\n", **({"state": "dynamodb:" + name("State"), "lease": "4s"} if shared else {}))
    alone = deployment.ini.read_text()
    host = deployment.start()
    put(local, orders, "a")
    put(local, users, "a")
    host.wait_for(f"s {orders} a")
    wait_until(lambda: tables(deployment) == {orders}, "it has a place in one")
    # Now both: where it stood in the one it goes on, in the other it begins.
    deployment.ini.write_text(alone.replace("stream = s\n", "stream = s, second\n"))
    host.process.send_signal(1)
    host.wait_for("handler both moves from stream s to s, second")
    host.wait_for(f"second {users} a")
    put(local, orders, "b")
    put(local, users, "x", bad={"BOOL": True})
    put(local, users, "b")
    host.wait_for(f"second {users} b")
    host.wait_for(f"s {orders} b")
    assert sum(message == f"s {orders} a" for message in host.messages()) == 1
    letter, = wait_until(lambda: json.loads(deployment.run("dead", "list", "--json").stdout), "one is a letter")
    assert users in letter["stream_arn"] and letter["handler"] == "both"
    wait_until(lambda: deployment.settled() and tables(deployment) == {orders, users}, "it has a place in each")
    # Paused, killed and resumed it is one handler; a stream that it leaves keeps its place.
    assert deployment.run("pause", "both").returncode == 0
    host.kill()
    host = deployment.start()
    host.wait_for("both is paused")
    put(local, orders, "c")
    put(local, users, "c")
    assert deployment.run("resume", "both").returncode == 0
    host.wait_for(f"second {users} c")
    host.wait_for(f"s {orders} c")
    wait_until(deployment.settled, "all is settled")
    assert host.stop() == 0
    deployment.ini.write_text(alone)
    host = deployment.start()
    put(local, users, "d")
    put(local, orders, "d")
    host.wait_for(f"s {orders} d")
    host.wait_for("[stream second] has no handler yet")
    assert host.stop() == 0
    deployment.ini.write_text(alone.replace("stream = s\n", ""))  # as the script says: both
    host = deployment.start()
    host.wait_for(f"second {users} d")
    assert not [message for message in host.messages() if message.endswith((" a", " b", " c"))]
    assert deployment.run("seek", "both", "trim_horizon", "--running").returncode == 0
    host.wait_for(f"second {users} a")
    host.wait_for(f"s {orders} a")
    wait_until(deployment.settled, "all is settled")
    assert host.stop() == 0
    put(local, orders, "e")
    put(local, users, "e")
    done = deployment.run("seek", "both", "latest")
    assert done.returncode == 0, done.stderr
    done = deployment.run("seek", "both", "trim_horizon")
    assert done.returncode == 1 and "has not begun there yet" in done.stderr, (done.returncode, done.stderr)
    host = deployment.start()
    for table in (orders, users):
        wait_until(lambda: [message for message in host.messages() if "reading arn" in message and table in message], "it is read")

    def both():
        for table in (orders, users):
            put(local, table, "f", n={"N": str(time.monotonic_ns())})  # always a change
        had = host.messages()
        return f"s {orders} f" in had and f"second {users} f" in had

    wait_until(both, "it goes on at what is new")
    if not shared:  # where hosts share it, "latest" has a margin of a minute: a record's time is what tells
        assert not [message for message in host.messages() if message.endswith((" a", " b", " c", " d", " e"))], host.messages()
    assert host.stop() == 0


def test_a_route_has_several_streams_too(beside_local, local, name):
    deployment = beside_local
    orders, users = local.table(name("Orders")), local.table(name("Users"))
    deployment.script("h", "return { stream = 's', on_record = function() end }")
    deployment.stream(orders, f"[stream second]\ntable = {users}\n[target out]\ntype = file\npath = out\nlinger = 50ms\ncompression = none\n[route all]\nstream = s, second\ntarget = out\nimage = keys\n")
    host = deployment.start()
    put(local, orders, "a")
    put(local, users, "b")
    written = lambda: sorted(line for path in (deployment.directory / "out").rglob("*") if path.is_file() and path.name[0] != "." for line in path.read_text().split())
    wait_until(lambda: len(written()) == 2, "both are written")
    assert host.stop() == 0


def test_several_streams_that_do_not_go_together_are_told(deployment):
    deployment.dynamodb = type("D", (), {"url": "http://127.0.0.1:1"})
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/Orders/stream/2026-01-01T00:00:00.000"
    deployment.stream("Orders", f"[stream second]\ntable = Users\n[stream again]\narn = {arn}\n[handler both]\nretries = 0\n")
    good = deployment.ini.read_text()
    deployment.script("both", BOTH)
    done = deployment.run("check")
    assert done.returncode == 0, done.stderr
    policy = json.loads(deployment.run("policy").stdout)
    reads = {resource for statement in policy["Statement"] if "dynamodb:GetItem" in statement["Action"] for resource in [statement["Resource"]] if isinstance(resource, str)} | \
        {resource for statement in policy["Statement"] if "dynamodb:GetItem" in statement["Action"] and isinstance(statement["Resource"], list) for resource in statement["Resource"]}
    assert {resource.rpartition("/")[2] for resource in reads} == {"Orders", "Users"}, policy
    for said, told in (("s, third", "there is no [stream third]"), ("s, s", "has s twice"), ("s,, second", "a name expected before each comma"),
                       ("s, second,", "a name expected behind each comma"), ("s, again", "s and again are both of the table Orders"), (",", "a name expected before")):
        deployment.ini.write_text(good.replace("retries = 0\n", f"stream = {said}\n"))
        done = deployment.run("check")
        assert done.returncode == 2 and told in done.stderr and "[handler both]" in done.stderr, (said, done.stderr)
    deployment.ini.write_text(good)
    for said, told in (('{ "s", "third" }', "there is no [stream third]"), ('{ "s", "again" }', "are both of the table Orders"), ('{ "s", 3 }', "a name or a list of names expected"),
                       ("{}", "a name or a list of names expected"), ("true", "a name or a list of names expected")):
        deployment.script("both", BOTH.replace('{ "s", "second" }', said))
        done = deployment.run("check")
        assert done.returncode == 2 and told in done.stderr and "both.lua" in done.stderr, (said, done.stderr)
    deployment.script("both", BOTH)
    event = deployment.directory / "event.json"
    records = [{"eventName": "INSERT", "eventSourceARN": f"arn:aws:dynamodb:eu-west-1:1:table/{table}/stream/x", "dynamodb": {"Keys": {"id": {"S": "i"}}, "SequenceNumber": "1"}} for table in ("Users", "Orders")]
    event.write_text(json.dumps({"Records": records}))
    done = deployment.run("invoke", "both", str(event), "--dry-run")
    assert done.returncode == 0 and "second Users i" in done.stderr and "s Orders i" in done.stderr, done.stdout + done.stderr


def test_a_script_that_only_others_name_is_no_handler_any_more_and_that_is_told(beside_local, local, name):
    deployment, table, out = beside_local, local.table(name()), local.table(name("Out"), stream=False)
    deployment.script("copy", COPY)
    deployment.stream(table, f"[handler copy]\nstream = s\nout = {out}\nletter = c\n")
    host = deployment.start()
    put(local, table, "a")
    wait_until(lambda: copied(local, out) == {f"{table}/a": "c"} and deployment.settled(), "it has copied")
    assert host.stop() == 0
    text = deployment.ini.read_text().replace("[handler copy]", "[handler copy_orders]\nscript = copy")
    deployment.ini.write_text(text)
    host = deployment.start()
    host.wait_for("the state knows of a handler copy (")
    assert host.stop() == 0
    deployment.ini.write_text(text.replace("script = copy", "script = copy\nformerly = copy"))
    host = deployment.start()
    put(local, table, "b")
    wait_until(lambda: copied(local, out).get(f"{table}/b") == "c", "it goes on under its new name")
    assert "the state knows of a handler copy (" not in "".join(host.messages())
    assert host.stop() == 0


def test_names_and_scripts_that_do_not_fit_are_told(deployment, name):
    deployment.dynamodb = type("D", (), {"url": "http://127.0.0.1:1"})
    deployment.script("copy", COPY)
    configure(deployment, "Orders", "Users", "Out")
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    good = deployment.ini.read_text()
    for text, told in ((good.replace("script = copy\nstream = second", "script = copie\nstream = second"), "copie.lua"),
                       (good.replace("script = copy\nstream = second", "script = ../copy\nstream = second"), "the name of a script in"),
                       (good + "[handler copy]\nretries = 1\n", "the handler names no stream"),
                       (good.replace("script = copy\nstream = s\n", "script = copy\n"), "the handler names no stream")):
        deployment.ini.write_text(text)
        done = deployment.run("check")
        assert done.returncode == 2 and told in done.stderr, (told, done.stderr)
    deployment.ini.write_text(good)
    deployment.script("copy_users", COPY)
    done = deployment.run("check")
    assert done.returncode == 2 and "there is a script" in done.stderr, done.stderr
    (deployment.directory / "scripts" / "copy_users.lua").unlink()
    policy = deployment.run("policy")
    assert policy.returncode == 0 and "stream/*" in policy.stdout, policy.stderr
    # A script with a section of its own is a handler, too.
    deployment.ini.write_text(good + "[handler copy]\nstream = s\nout = Out\nletter = c\n")
    assert "3 handlers" in deployment.run("check").stdout
    event = deployment.directory / "event.json"
    event.write_text(json.dumps({"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "i"}}, "NewImage": {"id": {"S": "i"}}, "SequenceNumber": "1"}}]}))
    done = deployment.run("invoke", "copy_users", str(event), "--dry-run")
    assert done.returncode == 0 and '"by":{"S":"u"}' in done.stdout, done.stdout + done.stderr


def test_a_test_runs_them_too(deployment):
    deployment.script("copy", COPY)
    (deployment.directory / "scripts" / "copy_test.lua").write_text("""
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Orders]
key = id
[table Users]
key = id
[table Out]
key = id
stream = none
[stream s]
table = Orders
[stream second]
table = Users
[handler copy_orders]
script = copy
stream = s
out = Out
letter = o
[handler copy_users]
script = copy
stream = second
out = Out
letter = u
]]
test("both copy", function()
  dynamodb.put("Orders", { id = "a" })
  dynamodb.put("Users", { id = "a" })
  test.settle()
  test.equal(dynamodb.get("Out", { id = "Orders/a" }).by, "o")
  test.equal(dynamodb.get("Out", { id = "Users/a" }).by, "u")
end)
""")
    done = deployment.run("test", str(deployment.directory / "scripts"))
    assert done.returncode == 0, done.stdout + done.stderr


# ---- what a script says of its settings ----

DECLARES = """
local config, log = require "tidemill.config", require "tidemill.log"
return { stream = "s", settings = { orders_table = "required", notify_url = "optional", region = "eu", slots = 2, verbose = false },
  on_insert = function(record)
    local ok, problem = pcall(function() return config.regoin end)
    log.info(("%s %s %s %s %s %s"):format(config.orders_table, config.notify_url, config.region, config.slots + 1, config.verbose, config.once_table))
    log.info(tostring(problem))
  end }
"""


def test_settings_have_defaults_and_types_and_others_are_an_error(beside_local, local, name):
    table = local.table(name())
    beside_local.script("h", DECLARES)
    beside_local.stream(table, "[handler h]\norders_table = Orders\nslots = 0x10\nverbose = yes\nonce_table = O\n")
    host = beside_local.start()
    put(local, table, "a")
    host.wait_for("Orders nil eu 17 true O")
    host.wait_for("config.regoin is not among the settings of handler h (did you mean region?)")
    assert host.stop() == 0


def test_settings_that_are_missing_or_misspelt_are_told_by_check(deployment):
    deployment.dynamodb = type("D", (), {"url": "http://127.0.0.1:1"})

    def told(section, script=DECLARES):
        deployment.script("h", script)
        deployment.stream("Things", f"[handler h]\n{section}\n")
        done = deployment.run("check")
        return done.returncode, done.stderr
    assert told("orders_table = O") == (0, "")
    for section, wanted in {
        "region = us": "set orders_table in [handler h]", "orders_table = O\nslots = many": 'slots: a number expected, got "many"',
        "orders_table = O\nverbose = perhaps": 'verbose: yes or no expected, got "perhaps"', "orders_table = O\nregoin = x": "the script has no setting regoin (did you mean region?)",
        "orders_table = O\nretires = 3": "the script has no setting retires (did you mean retries?)", "orders_table = ${env:NOT_THERE:-}\nslots = ${env:NOT_THERE:-x}": 'got "${env:NOT_THERE:-x}"',
    }.items():
        code, said = told(section)
        assert code == 2 and wanted in said, (section, said)
    for settings, wanted in {'"x"': "settings: a table expected, got string", '{ "a" }': "a name expected", "{ a = {} }": "a default (a text, a number, a boolean) expected, got table",
                             "{ retries = 3 }": "retries is a key of every handler"}.items():
        code, said = told("", f'return {{ stream = "s", settings = {settings}, on_record = function() end }}')
        assert code == 2 and wanted in said, (settings, said)
    code, said = told("orders_table = ${env:NOT_THERE}")
    assert code == 2 and "the environment has no NOT_THERE" in said and "set orders_table" not in said, said
    # A script that says nothing of them: what looks misspelt is a warning.
    code, said = told("retires = 3\nown = x\nrole = r\nsecret = s", 'return { stream = "s", on_record = function() end }')
    assert code == 0 and "retires is taken for a setting of the script's own; did you mean retries?" in said and said.count("is taken") == 1, said
