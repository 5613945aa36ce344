"""The command line, the INI's mistakes, the log."""
import json
import pathlib
import threading
import os
import pty
import subprocess

import pytest

from conftest import BINARY, wait_until


def test_check_reports_everything_at_once_with_file_and_line(deployment):
    deployment.script("good", 'return { stream = "s", on_record = function() end }')
    deployment.script("syntax", "return {\n  stream = 's',\n  on_record = function(\n}")
    deployment.script("typo", 'return { stream = "s", on_modfy = function() end }')
    deployment.script("nostream", 'return { stream = "other", on_record = function() end }')
    deployment.script("raises", '\nerror("at load time")')
    deployment.script("pattern", 'return { stream = "s", filter = { eventName = "INSERT" }, on_record = print }')
    deployment.script("calls", 'require("tidemill.dynamodb").get("T", {id = 1})')
    deployment.ini.write_text("""[host]
thraeds = 2
scripts = scripts
[stream s]
table = T
poll_min = fast
[strem t]
table = U
[handler good]
retries = many
api_key = ${env:NOT_SET_ANYWHERE}
[handler absent]
x = 1
""")
    done = deployment.run("check")
    assert done.returncode == 2
    for expected in (
            "tidemill.ini:2: [host] thraeds is not a known key (did you mean threads?)",
            'tidemill.ini:6: [stream s] poll_min: "fast" is not a duration (try 100ms, 30s, 5m, 24h or 7d)',
            "tidemill.ini:7: [strem t] is not a known section (did you mean [stream]?)",
            "tidemill.ini:10: [handler good] retries:",
            "tidemill.ini:11: [handler good] api_key: ${env:NOT_SET_ANYWHERE}: the environment has no",
            "tidemill.ini:12: [handler absent]: there is no ",
            "scripts/syntax.lua:4: <name> or '...' expected near '}'",
            'scripts/typo.lua: "on_modfy" means nothing in a handler\'s table (did you mean on_modify?)',
            'scripts/nostream.lua: stream = "other": there is no [stream other]',
            "scripts/raises.lua:2: at load time",
            "scripts/pattern.lua: filter: eventName: a list of values expected",
            "scripts/calls.lua:1: calls can be made only while a record is handled",
    ):
        assert expected in done.stderr, f"{expected!r} is not in:\n{done.stderr}"


def test_check_of_a_sound_deployment(deployment):
    deployment.script("good", 'return { stream = "s", concurrency = 3, on_record = function() end }')
    deployment.stream("T")
    done = deployment.run("check")
    assert (done.returncode, done.stdout) == (0, "tidemill.ini: 1 stream, 1 handler, nothing wrong\n")


def test_a_secret_is_never_shown(deployment):
    deployment.environment["CRM_KEY"] = "s3cr3t-value"
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    deployment.configure("[stream s]\ntable = T\nbatch_size = ${env:CRM_KEY}\n[handler h]\nretries = ${env:CRM_KEY}\n"
                         "api_key = ${env:CRM_KEY}")
    done = deployment.run("check")
    assert done.returncode == 2
    assert "${env:CRM_KEY}" in done.stderr and "s3cr3t" not in done.stderr + done.stdout


def test_wrong_usage_ends_with_status_2(deployment):
    for arguments in ([], ["rum"], ["run", "--fast"], ["run", "-c"], ["help", "nothing"], ["run", "-c", "missing.ini"],
                      ["check", "-c", "missing.ini"], ["status", "-c", "missing.ini"]):
        done = deployment.run(*arguments)
        assert done.returncode == 2 and done.stderr, arguments
        assert not done.stdout


@pytest.mark.parametrize("arguments, text", [
    (["local", "--port=70000"], "local: --port needs a port (0 to 65535"), (["status", "--json=yes"], "--json takes no value"),
    (["dead", "list", "--handler", "--json"], "--handler needs a value"), (["dead", "list", "--older-than=0s"], "--older-than needs a duration"),
    (["dead", "--json"], "list, show, redrive or drop"), (["dead", "drop", "1", "x"], "x is not the number"), (["seek", "a", "b", "c"], "unexpected argument c"),
    (["replay", "--from=x", "--rate=99999999999999999999"], "--rate needs a number"), (["init", "--", "-x", "y"], "unexpected argument y"),
    (["invoke", "--", "--dry-run"], "a script and an event file"), (["test", "-t"], "unexpected argument -t"), (["status", "-c"], "-c needs a file"),
    (["replay", "--from=x", "--after=2026-13-01"], "--after needs a time")], ids=str)
def test_arguments_are_read_by_one_table(tmp_path, arguments, text):
    done = subprocess.run([BINARY, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and text in done.stderr, done.stderr


def test_help_and_version(deployment):
    assert deployment.run("--version").stdout.startswith("tidemill ")
    assert "tidemill status" in deployment.run("--help").stdout
    assert "--json" in deployment.run("help", "status").stdout
    assert deployment.run("run", "--help").returncode == 0


def test_status_before_the_first_run_says_so(deployment):
    deployment.stream("T")
    done = deployment.run("status")
    assert done.returncode == 1 and "state.db" in done.stderr


@pytest.mark.parametrize("version, said", [(99, "was written by a newer tidemill (schema 99"), (-570425341, "is damaged, or no state of tidemill's (schema -570425341)")])
def test_a_state_file_of_another_version_is_refused(deployment, version, said):
    import sqlite3
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    deployment.stream("T")
    with sqlite3.connect(deployment.directory / "state.db") as db:
        db.execute(f"PRAGMA user_version = {version}")
    for command in ("run", "status"):
        done = deployment.run(command)
        assert done.returncode in (1, 2) and said in done.stderr, done.stderr


def test_the_log_is_json_in_a_pipe_and_coloured_text_on_a_terminal(deployment):
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    deployment.stream("NoSuchTable", log_format="auto")
    host = deployment.start()
    host.wait_for("cannot look at table NoSuchTable")
    line = next(line for line in host.lines() if "NoSuchTable" in line["message"])
    assert line["level"] == "warn" and line["subject"] == "stream s" and line["time"].endswith("Z")
    assert host.stop() == 0
    master, slave = pty.openpty()
    process = subprocess.Popen([BINARY, "run", "-c", deployment.ini], stderr=slave, cwd=deployment.directory,
                               env=deployment.environment)
    os.close(slave)
    text = b""
    while b"NoSuchTable" not in text:
        text += os.read(master, 4096)
    process.terminate()
    process.wait()
    os.close(master)
    assert b"\x1b[" in text and not text.startswith(b"{")


def test_status_beside_a_running_host(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    deployment.stream(table)
    host = deployment.start()
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    wait_until(deployment.settled, "the record is settled")
    status = deployment.status()
    row, = status["checkpoints"]
    assert row["handler"] == "h" and row["position"] == "after" and row["shard"].startswith("shardId-")
    text = deployment.run("status").stdout
    assert "HANDLER" in text and row["shard"] in text and row["sequence"] in text
    assert host.stop() == 0
    assert json.loads(deployment.run("status", "--json").stdout)["checkpoints"]


UNCLEAN_EVENT = {"Records": [{
    "eventID": "example", "eventName": "MODIFY", "eventVersion": "1.0", "eventSource": "aws:dynamodb",
    "dynamodb": {"Keys": {"id": {"S": "a"}}, "OldImage": {"id": {"S": "a"}, "n": {"N": "1"}},
                 "NewImage": {"id": {"S": "a"}, "n": {"N": "2"}}, "SequenceNumber": "example",
                 "StreamViewType": "NEW_AND_OLD_IMAGES"},
    "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
    "eventSourceARN": "event:source:ARN"}]}


def test_invoke_runs_a_handler_on_an_event_that_somebody_pasted(deployment):
    (deployment.directory / "event.json").write_text(json.dumps(UNCLEAN_EVENT))
    deployment.script("h", """
local dynamodb, http = require "tidemill.dynamodb", require "tidemill.http"
return { stream = "s", on_modify = function(record)
  assert(record.expired and record.sequence == "example" and record.time == 0 and record.table == "event:source:ARN")
  assert(record.raw.userIdentity.type == "Service" and record:changed("n"))
  dynamodb.put("T", { id = record.id, n = record.new.n })
  http.post("https://example.com/hook", { json = { n = record.new.n }, headers = { Authorization = "s3cr3t" } })
end }""")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del deployment.environment[name]
    done = deployment.run("invoke", "scripts/h.lua", "event.json", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "MODIFY example\n" in done.stdout and "1 record, 0 failed" in done.stdout
    assert "would call PutItem" in done.stdout and '"n":{"N":"2"}' in done.stdout
    assert 'would send POST https://example.com/hook {"n":2}' in done.stdout and "s3cr3t" not in done.stdout
    deployment.environment["AWS_REGION"] = "eu-west-1"
    deployment.script("fails", 'return { stream = "s", on_record = function() error("no good") end }')
    done = deployment.run("invoke", "scripts/fails.lua", "event.json")
    assert done.returncode == 1 and "scripts/fails.lua:1: no good" in done.stderr and "traceback" in done.stderr
    deployment.script("other", 'return { stream = "s", on_insert = function() end }')
    assert "left out" in deployment.run("invoke", "scripts/other.lua", "event.json").stdout
    (deployment.directory / "wrong.json").write_text('{"Records": [{"eventName": "MODIFY"}]}')
    done = deployment.run("invoke", "scripts/h.lua", "wrong.json")
    assert done.returncode == 1 and "wrong.json: record 1 has no dynamodb" in done.stderr


def invoked(deployment, event, *arguments):
    (deployment.directory / "event.json").write_text(json.dumps(event))
    return deployment.run("invoke", *arguments, "event.json", "--dry-run")


def test_invoke_takes_events_as_they_are_written_by_hand(deployment):
    deployment.script("h", """
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", on_insert = function(record)
  print(record.table, record.sequence, record.new and record.new.n)
end }""")
    deployment.stream("Things")

    def change(keys=None, event="INSERT", arn=None, **more):
        record = {"eventName": event, "dynamodb": {"Keys": keys or {"id": {"S": "a"}}, **more}}
        return {**record, "eventSourceARN": arn} if arn else record

    def seen(event):
        done = invoked(deployment, event, "h")  # by its name
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["message"].split("\t") for line in done.stderr.splitlines() if "\\u0009" in line]

    assert seen(change(NewImage={"n": {"N": "5"}})) == [["Things", "1", "5"]]
    assert seen([change(), change(SequenceNumber="77")]) == [["Things", "1", "nil"], ["Things", "77", "nil"]]
    other = "arn:aws:dynamodb:eu-west-1:1:table/Other/stream/2026-01-01T00:00:00.000"
    assert seen({"Records": [change(), change(arn=other), change()]}) == \
        [["Things", "1", "nil"], ["Other", "2", "nil"], ["Things", "3", "nil"]]
    for event, said in ((7, "a list of records or a record"), ([7], "record 1 is no object"), ([change(), {"eventName": "INSERT"}], "record 2 has no dynamodb"),
                        ([{"eventName": "INSERT", "dynamodb": {}}], "record 1 has no dynamodb.Keys"), (change(event="insert"), "INSERT, MODIFY or REMOVE"),
                        ({"Records": {}}, "a list of records or a record"), ({}, "record 1 has no dynamodb")):
        done = invoked(deployment, event, "h")
        assert done.returncode == 1 and "event.json: " in done.stderr and said in done.stderr, (event, done.stderr)


def test_invoke_gives_each_batch_records_of_one_table(deployment):
    deployment.script("h", """
return { stream = "s", on_batch = function(records)
  local tables = {}
  for i, record in ipairs(records) do tables[i] = record.table end
  print("batch " .. table.concat(tables, " "))
end }""")
    deployment.stream("Things")
    records = [{"eventName": "INSERT", "eventSourceARN": f"arn:aws:dynamodb:eu-west-1:1:table/{table}/stream/x",
                "dynamodb": {"Keys": {"id": {"S": "a"}}}} for table in ("A", "A", "B")]
    done = invoked(deployment, records, "h")
    assert [json.loads(line)["message"] for line in done.stderr.splitlines() if "batch" in line] == ["batch A A", "batch B"]


def test_invoke_says_why_a_record_is_left_out(deployment):
    deployment.script("h", """
return { stream = "s", on_insert = print,
  filter = { dynamodb = { NewImage = { stock = { N = {{ numeric = {"<", 5} }} }, tags = { SS = { "x" } } } },
             ["$or"] = { { dynamodb = { Keys = { id = { S = { "a" } } } } }, { eventID = { "none" } } } } }""")
    deployment.stream("Things", "[target t]\ntype = stdout\n[route r]\nstream = s\ntarget = t\nimage = old\n"
                      'pattern = {"dynamodb": {"Keys": {"id": {"S": [{"prefix": "\u00fc"}]}}}}')

    def why(change, *, event="INSERT", handler="h"):
        done = invoked(deployment, {"eventName": event, "dynamodb": {"Keys": {"id": {"S": "a"}}, **change}}, handler)
        assert done.returncode == 0 and done.stdout.count("left out: ") == 1, done.stdout + done.stderr
        return done.stdout.partition("left out: ")[2].partition("\n")[0]

    assert why({}, event="REMOVE") == "the handler has neither on_remove nor on_record"
    tagged = {"tags": {"SS": ["x"]}}  # the order of a table's keys is nobody's
    assert why({"NewImage": tagged}) == "by its filter: dynamodb.NewImage.stock.N is not there"
    assert why({"NewImage": {"stock": {"N": "7"}, **tagged}}) == 'by its filter: dynamodb.NewImage.stock.N is "7"'
    assert why({"NewImage": {"stock": {"N": "1"}, "tags": {"SS": ["y"]}}}) == 'by its filter: dynamodb.NewImage.tags.SS is ["y"]'
    right = {"NewImage": {"stock": {"N": "1"}, **tagged}}
    assert why({**right, "Keys": {"id": {"S": "b"}}}) == "by its filter: none of $or matches"
    assert why({"NewImage": {"stock": {"N": "9" * 200}, **tagged}}) == 'by its filter: dynamodb.NewImage.stock.N is "' + "9" * 100 + '"...'
    assert why({"Keys": {"id": {"S": "\u00fc"}}}, handler="r") == "the record has no OldImage"
    assert why({"OldImage": {"id": {"S": "a"}}}, handler="r") == 'by its pattern: dynamodb.Keys.id.S is "a"'


def test_a_dry_run_answers_as_dynamodb_does_where_nothing_is_found(deployment):
    deployment.script("h", """
local dynamodb, emit = require "tidemill.dynamodb", require "tidemill.emit"
return { stream = "s", on_record = function(record)
  assert(#dynamodb.query("T", "id = :id", { values = { [":id"] = "a" } }) == 0)
  for _ in dynamodb.each("T", "id = :id", { values = { [":id"] = "a" } }) do error("an item") end
  assert(#dynamodb.scan("T") == 0)
  assert(dynamodb.get("T", { id = "a" }) == nil)
  assert(next(dynamodb.batch_get("T", { { id = "a" } })) == nil)
  dynamodb.batch_write("T", { put = { { id = "a" } } })
  emit("t", { a = 1 }, { detail_type = "Order paid", subject = "order" })
  emit("t", { a = 1 })
end }""")
    deployment.stream("Things", "[target t]\ntype = stdout")
    done = invoked(deployment, {"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "a"}}}}, "h")
    assert done.returncode == 0, done.stderr
    assert '  would emit to t {"a":1} (detail_type = Order paid, subject = order)\n' in done.stdout
    assert '  would emit to t {"a":1}\n' in done.stdout


def test_invoke_tries_a_dead_letter_again_and_leaves_it(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.script("h", 'return { stream = "s", retries = 0, on_record = function(record) error("no good: " .. record.new.n) end }')
    deployment.stream(table)
    host = deployment.start()
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": "a"}, "n": {"N": "7"}})
    host.wait_for("kept as a dead letter", errors_allowed=True)
    host.stop()
    letter, = json.loads(deployment.run("dead", "list", "--json").stdout)
    done = deployment.run("invoke", "--dead", str(letter["id"]))
    assert done.returncode == 1 and "no good: 7" in done.stderr and f"INSERT {letter['sequence']}\n" in done.stdout
    deployment.script("h", 'return { stream = "s", retries = 0, on_record = function(record) print("well " .. record.new.n, record.table) end }')
    done = deployment.run("invoke", "h", "--dead", str(letter["id"]), "--dry-run")
    assert done.returncode == 0 and f"well 7\\u0009{table}" in done.stderr, done.stderr
    assert json.loads(deployment.run("dead", "list", "--json").stdout)[0]["id"] == letter["id"]
    done = deployment.run("invoke", "h", "--dead", str(letter["id"] + 1))
    assert done.returncode == 2 and "there is no dead letter" in done.stderr
    done = deployment.run("invoke", "h", "event.json", "--dead", "1")
    assert done.returncode == 2 and "takes the place of an event file" in done.stderr


def test_invoke_runs_batches_and_windows(deployment):
    records = [{"eventID": str(number), "eventName": "INSERT", "eventSourceARN": "event:source:ARN",
                "dynamodb": {"ApproximateCreationDateTime": 1767225600 + 40 * number, "SequenceNumber": str(number),
                             "Keys": {"id": {"S": "a"}}, "NewImage": {"id": {"S": "a"}, "n": {"N": str(number)}}}}
               for number in range(3)]
    (deployment.directory / "event.json").write_text(json.dumps({"Records": records}))
    deployment.script("batch", """
return { stream = "s", on_batch = function(records)
  assert(#records == 3 and records[3].new.n == 2 and records[1].redriven == false and records[1].age > 0)
  return { records[2] }
end }""")
    done = deployment.run("invoke", "scripts/batch.lua", "event.json", "--dry-run")
    assert done.returncode == 1 and "the handler gave back 1" in done.stderr and "3 records, 1 failed" in done.stdout
    deployment.script("window", """
return { stream = "s", tumbling_window = "60s", on_window = function(state, records, final, window)
  state = state or { n = 0 }
  return { n = state.n + #records, final = final }
end }""")
    done = deployment.run("invoke", "scripts/window.lua", "event.json", "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line.split("returned ")[1]) for line in done.stdout.splitlines() if "returned" in line]
    assert lines == [{"n": 2, "final": False}, {"n": 2, "final": True}, {"n": 1, "final": False}, {"n": 1, "final": True}]


def statements(deployment, *arguments):
    done = deployment.run("policy", *arguments)
    assert done.returncode == 0, done.stderr
    policy = json.loads(done.stdout)
    assert policy["Version"] == "2012-10-17" and all(each["Effect"] == "Allow" for each in policy["Statement"])
    return {each["Resource"]: each["Action"] for each in policy["Statement"]}, done.stderr


READ = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]


def test_policy_is_what_a_careful_person_would_write(deployment):
    stock = pathlib.Path(__file__).parents[2] / "examples" / "stock_replenishment" / "tidemill.ini"
    granted, warnings = statements(deployment, "-c", stock)
    assert granted == {
        "arn:aws:dynamodb:eu-west-1:*:table/Products/stream/*": READ,
        "arn:aws:dynamodb:eu-west-1:*:table/Products": ["dynamodb:DescribeTable"],
        "arn:aws:dynamodb:eu-west-1:*:table/Replenishment": ["dynamodb:PutItem"],
        "*": ["dynamodb:ListStreams"],  # which stream follows one that is disabled; the action knows no resources
    } and not warnings


def test_policy_has_the_table_that_hosts_share(deployment):
    script = 'return { stream = "s", on_record = function() end }'
    deployment.script("h", script)
    text = "[host]\nstate = dynamodb:State\n%s[stream s]\ntable = T\n"
    rows = ["DeleteItem", "DescribeTable", "DescribeTimeToLive", "GetItem", "PutItem", "Query", "UpdateItem"]
    for more, making in (("", ["CreateTable", "UpdateTimeToLive"]), ("create_state = no\n", [])):
        deployment.ini.write_text("[aws]\nregion = eu-west-1\n" + text % more)
        granted, _ = statements(deployment)
        assert granted["arn:aws:dynamodb:eu-west-1:*:table/State"] == [f"dynamodb:{each}" for each in sorted(rows + making)]


def test_policy_takes_streams_and_tables_together(deployment):
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/Jobs/stream/2026-01-01T00:00:00.000"
    deployment.configure(f"[stream jobs]\narn = {arn}\n[stream unread]\ntable = Unread\n[handler a]\norders = Orders")
    deployment.script("a", """
local dynamodb, config = require "tidemill.dynamodb", require "tidemill.config"
return { stream = "jobs", on_record = function() end, tables = {
  { config.orders, "UpdateItem", "GetItem" }, { "record.table", "Query" }, { config.missing, "Scan" },
  { "Jobs/index/by_state", "Query" } } }""")
    deployment.script("b", 'return { stream = "jobs", tables = { { "Orders", "GetItem", "PutItem" } }, on_record = function() end }')
    deployment.script("c", 'local d = require "tidemill.dynamodb"\nreturn { stream = "jobs", on_record = function() end }')
    granted, warnings = statements(deployment)
    table = "arn:aws:dynamodb:eu-west-1:*:table/"
    assert granted == {arn: READ, table + "Jobs": ["dynamodb:Query"], table + "Jobs/index/by_state": ["dynamodb:Query"],
                       table + "Orders": ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]}
    assert "handler a: one of its tables has no name" in warnings and "handler c uses tidemill.dynamodb" in warnings
    assert "handler b" not in warnings
    for tables, message in (("'Orders'", "a list of lists expected"), ("{ 'Orders' }", "a list of lists expected"),
                            ("{ { 'Orders' } }", "an action such as"), ("{ { 'Orders', 'PutItm' } }", "did you mean PutItem?"),
                            ("{ { 'Orders', 'TransactWriteItems' } }", "name what the transaction does")):
        deployment.script("b", f'return {{ stream = "jobs", on_record = function() end, tables = {tables} }}')
        done = deployment.run("policy")
        assert done.returncode == 2 and "b.lua: tables: " in done.stderr and message in done.stderr, done.stderr


def test_policy_knows_the_targets_that_are_used(deployment):
    deployment.configure("""[stream s]
table = T
[target bus]
type = eventbridge
bus = orders
[target queue]
type = sqs
queue = https://sqs.eu-west-3.amazonaws.com/123456789012/jobs.fifo
spill = lake
[target lake]
type = s3
bucket = my-bucket
prefix = raw
[target k]
type = kinesis
stream = arn:aws:kinesis:eu-west-1:1:stream/k
[target f]
type = lambda
function = fn
[target hose]
type = firehose
delivery_stream = d
[target topic]
type = sns
topic = arn:aws:sns:eu-west-1:1:news
[target unused]
type = s3
bucket = another
[route r]
stream = s
target = bus
on_failure = queue
[handler h]
on_failure = f""")
    deployment.script("h", 'return { stream = "s", targets = { "k", "hose", "topic" }, tables = {}, on_record = function() end }')
    deployment.script("i", 'local emit = require "tidemill.emit"\nreturn { stream = "s", on_record = function() end }')
    granted, warnings = statements(deployment)
    for resource in [resource for resource in granted if ":dynamodb:" in resource or resource == "*"]:
        del granted[resource]
    assert granted == {
        "arn:aws:events:eu-west-1:*:event-bus/orders": ["events:PutEvents"],
        "arn:aws:sqs:eu-west-3:123456789012:jobs.fifo": ["sqs:SendMessage"],
        "arn:aws:s3:::my-bucket/raw/*": ["s3:GetObject", "s3:PutObject"],
        "arn:aws:s3:::my-bucket": ["s3:ListBucket"],
        "arn:aws:kinesis:eu-west-1:1:stream/k": ["kinesis:PutRecords"],
        "arn:aws:lambda:eu-west-1:*:function:fn": ["lambda:InvokeFunction"],
        "arn:aws:firehose:eu-west-1:*:deliverystream/d": ["firehose:PutRecordBatch"],
        "arn:aws:sns:eu-west-1:1:news": ["sns:Publish"],
    }
    assert "handler i uses tidemill.emit and does not say where it emits to" in warnings and "handler h" not in warnings
    deployment.script("h", 'return { stream = "s", targets = { "kk" }, on_record = function() end }')
    done = deployment.run("policy")
    assert done.returncode == 2 and "h.lua: targets: there is no [target kk]" in done.stderr, done.stderr


def test_check_says_what_a_handler_may_have(deployment):
    deployment.configure("[stream s]\ntable = T")
    for text, message in (
            ("on_batch = f, on_record = f", "cannot have more than one of these"),
            ("on_batch = f, on_window = f, tumbling_window = '1m'", "cannot have more than one of these"),
            ("on_window = f", "tumbling_window"),
            ("on_batch = f, batch_size = 0", "batch_size"),
            ("on_window = f, tumbling_window = '1ms'", "tumbling_window")):
        deployment.script("h", f'local f = function() end\nreturn {{ stream = "s", {text} }}')
        done = deployment.run("check")
        assert done.returncode == 2 and "h.lua" in done.stderr and message in done.stderr, done.stderr


def test_invoke_makes_real_calls_without_dry_run(deployment, dynamodb, name):
    table = dynamodb.table(name(), stream=False)
    (deployment.directory / "event.json").write_text(json.dumps(UNCLEAN_EVENT))
    deployment.script("h", """
return { stream = "s", on_modify = function(record)
  require("tidemill.dynamodb").put(require("tidemill.config").copies, record.new)
end }""")
    deployment.stream("T", f"[handler h]\ncopies = {table}")
    done = deployment.run("invoke", "scripts/h.lua", "event.json")
    assert done.returncode == 0, done.stderr
    assert dynamodb.client.get_item(TableName=table, Key={"id": {"S": "a"}})["Item"]["n"] == {"N": "2"}


def test_init_writes_a_deployment_that_works_and_never_overwrites(deployment):
    made = deployment.run("init", "new")
    assert made.returncode == 0 and "tidemill.ini" in made.stdout
    root = deployment.directory / "new"
    assert deployment.run("check", "-c", "new/tidemill.ini").returncode == 0
    done = deployment.run("invoke", "new/scripts/orders.lua", "new/events/insert.json", "-c", "new/tidemill.ini", "--dry-run")
    assert done.returncode == 0 and "1 record, 0 failed" in done.stdout
    done = deployment.run("test", "new")
    assert done.returncode == 0 and "1 passed, 0 failed" in done.stdout, done.stdout
    assert ".tidemill/lua" in (root / ".luarc.json").read_text() and (root / ".tidemill/lua/tidemill/http.lua").exists()
    (root / "tidemill.ini").write_text("mine")
    again = deployment.run("init", "new")
    assert again.returncode == 1 and "is there already; nothing was written" in again.stderr
    assert (root / "tidemill.ini").read_text() == "mine"


def test_asking_for_the_status_never_keeps_a_host_from_starting(beside_local):
    beside_local.script("h", 'return { stream = "s", on_record = function() end }')
    beside_local.stream("NoSuchTable")
    over = threading.Event()

    def ask():
        while not over.is_set():
            beside_local.run("status")
    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(15):
            host = beside_local.start()
            host.wait_for("credentials")
            assert host.stop() == 0
    finally:
        over.set()
        for asker in askers:
            asker.join()


@pytest.mark.parametrize("command", ["run", "dev", "local", "check", "invoke", "test", "status", "seek", "dead", "replay", "policy", "pause", "resume", "state", "init"])
def test_each_command_says_what_it_does(command, tmp_path):
    for arguments in ([command, "-h"], [command, "--help"], ["help", command]):
        done = subprocess.run([BINARY, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.startswith(f"usage: tidemill {command}") and not done.stderr, done
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["check"], ["run"], ["dev"], ["status"], ["dead", "list"], ["policy"]])
def test_where_there_is_no_deployment_the_way_to_one_is_told(command, tmp_path):
    done = subprocess.run([BINARY, *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "tidemill init makes one" in done.stderr, done
    done = subprocess.run([BINARY, *command, "-c", "elsewhere.ini"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "elsewhere.ini: No such file" in done.stderr and "init makes one" not in done.stderr, done


def test_check_tells_all_that_is_wrong_in_the_order_of_the_file(deployment):
    deployment.script("h", 'return { stream = "s", on_record = 5 }')
    deployment.script("i", "local x = ")
    deployment.ini.write_text("""[stream s]
table = T
poll_min = fast
[route a]
stream = s
target = f
pattern = {"eventName": ["INSERT"
[route b]
stream = s
target = f
pattern = {"x": 5}
[route c]
stream = none
target = f
pattern = {"never": "looked at"}
[target f]
type = file
path = x
[target h]
type = sqss
[handler nothere]
retries = many
""")
    done = deployment.run("check")
    assert done.returncode == 2
    lines = [line.removeprefix("tidemill: ").replace(f"{deployment.ini}:", "tidemill.ini:") for line in done.stderr.splitlines()]
    numbers = [int(line.split(":")[1]) for line in lines if line.startswith("tidemill.ini:")]
    assert numbers == sorted(numbers) and {3, 4, 8, 12, 20, 21, 22} == set(numbers), lines
    text = "\n".join(lines)
    assert "an array without its end" in text and "a list of values expected" in text and "never" not in text
    assert sum("h.lua" in line for line in lines) == 1 and "on_record is not a function, it is a number" in text, lines
