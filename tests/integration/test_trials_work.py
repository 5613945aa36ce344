"""What trials found of a record's work: effects, batches, failure targets, memory. Each fault with some of its relatives."""
import json
import pathlib
import re
import resource
import signal
import sqlite3
import threading
import urllib.request

import pytest
from conftest import Local, wait_until
from services import EventBridge, Http, JsonStub, Proxy
from test_delivery import emulators, service  # noqa: F401  (fixtures)
from test_trials import put, status_of, troubles


@pytest.fixture
def target():
    return Http()


def letters(deployment):
    return json.loads(deployment.run("dead", "list", "--json").stdout or "[]")


def invoke(deployment, body, record=None):
    """`body` as a handler's on_record, for one event; what it prints."""
    deployment.script("h", f"return {{ stream = 's', on_record = function(record)\n{body}\nend }}\n")
    event = {"Records": [{"eventID": "e1", "eventName": "INSERT", "eventSourceARN": "arn:aws:dynamodb:eu-west-1:1:table/T/stream/x",
                          "dynamodb": {"Keys": {"id": {"S": "a"}}, "NewImage": record or {"id": {"S": "a"}}, "SequenceNumber": "100",
                                       "ApproximateCreationDateTime": 1.8e9}}]}
    (deployment.directory / "event.json").write_text(json.dumps(event))
    return deployment.run("invoke", "scripts/h.lua", "event.json")


# ---- once ----

EFFECT = """
local once, http, log = require "tidemill.once", require "tidemill.http", require "tidemill.log"
local function effect(record)
  once("mail-" .. record.new.id, function() http.post("URL", { body = record.new.id }); return 1 end, OPTIONS)
  log.info("sent", { id = record.new.id })
end
return { stream = "s", HOW }
"""
HOWS = {"a record": "retries = 3, backoff = '10ms..20ms', on_record = effect",
        "a record without retries": "retries = 0, on_record = effect",
        "a batch": "retries = 3, backoff = '10ms..20ms', batch_size = 2, on_batch = function(records) for _, r in ipairs(records) do effect(r) end end"}


@pytest.mark.parametrize("store", [False, True], ids=["state", "table"])
@pytest.mark.parametrize("how", HOWS)
def test_a_claim_of_a_process_that_was_killed_is_nobodys(beside_local, local, name, target, how, store):
    deployment, table = beside_local, local.table(name())
    options = f'{{ store = "{local.table(name(), stream=False)}" }}' if store else "{}"
    deployment.script("h", EFFECT.replace("URL", target.url).replace("HOW", HOWS[how]).replace("OPTIONS", options))
    deployment.stream(table)
    target.hangs = True
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: target.seen, "the effect is under way")
    host.kill()
    target.hangs = False
    host = deployment.start()
    wait_until(lambda: host.fields("sent"), "it is done by the next life")
    assert host.stop() == 0 and not letters(deployment) and len(target.seen) == 2


@pytest.mark.parametrize("limit", ["timeout = '200ms'", "cpu_limit = '100ms'"])
def test_a_claim_of_an_invocation_that_the_host_ended_is_nobodys(beside_local, local, name, target, limit):
    """The first attempt is stopped inside once's function; the second runs it."""
    deployment, table = beside_local, local.table(name())
    wait = "http.post('URL', { body = 'x' })" if "timeout" in limit else "while true do end"
    deployment.script("h", f"""
local once, http, log = require "tidemill.once", require "tidemill.http", require "tidemill.log"
return {{ stream = "s", {limit}, retries = 3, backoff = '10ms..20ms', on_record = function(record)
  once("k" .. record.new.id, function() if record.attempt == 1 then {wait.replace("URL", target.url)} end end)
  log.info("done", {{ attempt = record.attempt }})
end }}""")
    deployment.stream(table)
    target.hangs = True
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: host.fields("done"), "the second attempt does it")
    assert host.fields("done") == [{"attempt": 2}]
    target.hangs = False
    assert host.stop() == 0 and not letters(deployment)


def test_one_that_sleeps_for_no_time_for_ever_is_ended_and_keeps_nobody(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", """
local sleep, log = require("tidemill.time").sleep, require "tidemill.log"
return { stream = "s", timeout = "200ms", retries = 0, on_record = function(record)
  if record.new.id == "b" then log.info("done") return end
  while true do sleep(0) end
end }""")
    deployment.stream(table)
    host = deployment.start()
    put(local.client, table, "a")
    put(local.client, table, "b")
    wait_until(lambda: "done" in host.messages() and letters(deployment), "the other is done, the one is given up")
    assert host.stop() == 0 and len(letters(deployment)) == 1


UNKEEPABLE = {"a set": "require('tidemill.dynamodb').set { 'a' }", "not a number": "0/0", "a function": "print", "over 400 KB": "('x'):rep(500000)",
              "a table in itself": "(function() local t = {}; t.t = t; return t end)()", "a cut character": "('caf\\u{e9}'):sub(1, 4)"}


@pytest.mark.parametrize("store", [False, True], ids=["state", "table"])
@pytest.mark.parametrize("what", UNKEEPABLE)
def test_a_result_that_cannot_be_kept_is_told_and_the_key_is_done(beside_local, local, name, target, what, store):
    deployment, table = beside_local, local.table(name())
    options = f', {{ store = "{local.table(name(), stream=False)}" }}' if store else ""
    deployment.script("h", f"""
local once, http, log = require "tidemill.once", require "tidemill.http", require "tidemill.log"
return {{ stream = "s", retries = 1, backoff = '1ms..2ms', on_record = function(record)
  local got = once("same key", function() http.post("{target.url}", {{ body = "x" }}); return {UNKEEPABLE[what]} end{options})
  log.info("got", {{ nothing = got == nil }})
end }}""")
    deployment.stream(table)
    host = deployment.start()
    for item in "ab":
        put(local.client, table, item)
        wait_until(lambda: len(host.fields("got")) == "ab".index(item) + 1, "it is done")
    assert host.fields("got")[1] == {"nothing": what != "a set"} or what == "a set"
    assert len(target.seen) == 1 and not letters(deployment)
    assert what == "a set" or any("cannot be kept" in message for message in host.messages())
    assert host.stop() == 0


# ---- batches that wait ----

def patient_batches(deployment, size):
    deployment.script("h", f'local log = require "tidemill.log"\nreturn {{ stream = "s", batch_size = {size}, batch_window = "5m", '
                           'on_batch = function(records) log.info("batch", { size = #records }) end }')


def test_a_batch_goes_when_nothing_more_can_join_it(beside_local, local, name):
    """Its window is five minutes; the records are larger than the memory that a shard may take."""
    deployment, table = beside_local, local.table(name())
    patient_batches(deployment, 100)
    deployment.stream(table, "window = 2MiB")
    for i in range(40):
        put(local.client, table, f"i{i}", text={"S": "x" * 300_000})
    host = deployment.start()
    wait_until(lambda: sum(each["size"] for each in host.fields("batch")) >= 30, "most went long before its time")
    assert host.stop() == 0


def test_a_batch_goes_when_its_bytes_reach_lambdas_limit(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    patient_batches(deployment, 1000)
    deployment.stream(table, "window = 64MiB")
    for i in range(25):
        put(local.client, table, f"i{i}", text={"S": "x" * 390_000})
    host = deployment.start()
    wait_until(lambda: host.fields("batch"), "a batch goes")
    assert all(each["size"] < 20 for each in host.fields("batch"))
    assert host.stop() == 0


def test_a_batch_goes_when_its_shard_has_ended(beside_local, name, tmp_path):
    """Nothing more can come from a shard that was split; its batch does not wait for five minutes."""
    engine = Local(tmp_path)
    deployment = beside_local
    deployment.dynamodb = engine
    table = engine.table(name())
    patient_batches(deployment, 100)
    deployment.stream(table)
    host = deployment.start()
    for i in range(5):
        put(engine.client, table, f"i{i}")
    split(engine)
    wait_until(lambda: sum(each["size"] for each in host.fields("batch")) == 5, "they are handled")
    assert host.stop() == 0 and engine.stop() == 0


def split(engine):
    request = urllib.request.Request(engine.url, b"{}", {"X-Amz-Target": "TidemillLocal.SplitShards", "Authorization": "x",
                                                         "Content-Type": "application/x-amz-json-1.0"})
    assert urllib.request.urlopen(request).status == 200


BUSY = {"batches": "batch_size = 10, on_batch = function(records) burn(); log.info('burnt', { size = #records }) end",
        "windows": "batch_size = 10, tumbling_window = '1h', on_window = function(state, records) burn() log.info('burnt', { size = #records }) end",
        "records": "on_record = function() burn() log.info('burnt', { size = 1 }) end"}


@pytest.mark.parametrize("kind", BUSY)
@pytest.mark.one_thread
def test_a_handler_that_computes_leaves_room_for_others_and_for_a_stop(beside_local, local, name, target, kind):
    deployment = beside_local
    busy, quick = local.table(name()), local.table(name())
    deployment.script("busy", "local log = require 'tidemill.log'\nlocal function burn() local n = 0 for i = 1, 1000000 do n = n + i end end\n"
                              f"return {{ stream = 'busy', {BUSY[kind]} }}")
    deployment.configure(f"[stream busy]\ntable = {busy}\npoll_min = 20ms\npoll_max = 50ms\n"
                         f"[stream quick]\ntable = {quick}\npoll_min = 20ms\npoll_max = 50ms\n"
                         f"[target t]\ntype = http\nurl = {target.url}\n[route r]\nstream = quick\ntarget = t\n", threads=1)
    for i in range(1500):
        put(local.client, busy, f"i{i}")
    host = deployment.start()
    wait_until(lambda: host.fields("burnt"), "it computes")
    put(local.client, quick, "a")
    wait_until(lambda: target.seen, "the route delivers meanwhile")
    assert sum(each["size"] for each in host.fields("burnt")) < 1500
    assert host.stop() == 0
    assert sum(each["size"] for each in host.fields("burnt")) < 1500


# ---- failure targets ----

def fails(target_name, error="no good"):
    return f'return {{ stream = "s", retries = 0, on_failure = "{target_name}", on_record = function() error("{error}") end }}'


@pytest.mark.parametrize("how", ["503", "hangs", "nobody listens"])
def test_what_is_on_its_way_to_a_failure_target_survives_a_kill(beside_local, local, name, target, how):
    deployment, table = beside_local, local.table(name())
    url = "http://127.0.0.1:9/" if how == "nobody listens" else target.url
    target.status, target.hangs = 503, how == "hangs"

    def configure(url):
        deployment.stream(table, f"[target t]\ntype = http\nurl = {url}\nbackoff = 20ms..50ms\n")
    deployment.script("h", 'return { stream = "s", retries = 0, on_failure = "t", on_record = function(record)\n'
                           '  if record.new.id:find("^bad") then error("no good") end end }')
    configure(url)
    host = deployment.start()
    for i in range(20):
        put(local.client, table, f"good{i}")
        if i % 4 == 0:
            put(local.client, table, f"bad{i}")
    wait_until(lambda: len(target.seen) >= 2 or troubles(deployment), "it is being refused")
    host.kill()
    target.status, target.hangs = 200, False
    target.seen.clear()
    configure(target.url)
    host = deployment.start()

    def arrived():
        return {json.loads(body)["payload"] and json.loads(json.loads(body)["payload"])["Records"][0]["dynamodb"]["Keys"]["id"]["S"]
                for body in target.seen}
    wait_until(lambda: arrived() == {f"bad{i}" for i in range(0, 20, 4)}, lambda: f"all five arrive: {arrived()}")
    wait_until(lambda: not letters(deployment), "none is left")
    assert host.stop() == 0


def test_a_broken_failure_target_delays_nobody_elses_letters(beside_local, local, name):
    """One handler's target refuses hundreds for good; another's, mended, gets what waits behind them. What an error says
    decides nothing."""
    error = "it said (on_failure = theirs: refused)"
    deployment, table = beside_local, local.table(name())
    broken, mended = Http(status=400), Http(status=400)
    deployment.script("a", fails("mine", error))
    deployment.script("b", fails("theirs", error))
    deployment.stream(table, f"[target mine]\ntype = http\nurl = {broken.url}\n[target theirs]\ntype = http\nurl = {mended.url}\n")
    for i in range(300):
        put(local.client, table, f"i{i}")
    host = deployment.start()
    wait_until(lambda: len(letters(deployment)) == 600, "all are letters")
    mended.status = 200
    assert host.stop() == 0  # they are offered again at a start
    host = deployment.start()
    wait_until(lambda: {letter["handler"] for letter in letters(deployment)} == {"a"}, lambda: f"those of b are taken: {len(letters(deployment))}")
    assert len(letters(deployment)) == 300
    assert host.stop() == 0


def test_marked_letters_of_a_handler_that_is_gone_hide_no_others(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    deployment.script("gone", fails("dead"))
    deployment.script("h", fails("dead"))
    deployment.stream(table)
    for i in range(250):
        put(local.client, table, f"i{i}")
    host = deployment.start()
    wait_until(lambda: len(letters(deployment)) == 500, "all are letters")
    (deployment.directory / "scripts" / "gone.lua").unlink()
    wait_until(lambda: any("gone" in message and "removed" in message or "gone is gone" in message for message in host.messages())
               or len(deployment.status()["checkpoints"]) == 1, "its script is gone")
    assert "250 marked" in deployment.run("dead", "redrive", "--handler", "gone", "--no-wait").stdout
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    host.wait_for("takes the place of")
    done = deployment.run("dead", "redrive", "--handler", "h")
    assert "250 handled" in done.stdout, done.stdout + done.stderr
    assert {letter["handler"] for letter in letters(deployment)} == {"gone"}
    assert host.stop() == 0


# ---- strings with zero bytes ----

NULS = {
    "http": 'require("tidemill.http").get("http://127.0.0.1:9/a\\0b")',
    "http's headers": 'require("tidemill.http").get("http://127.0.0.1:9/", { headers = { A = "a\\0b" } })',
    "time": 'require("tidemill.time").parse("2026-01-01T00:00:00Z\\0x")',
    "emit's target": 'require("tidemill.emit")("t\\0x", record.new)',
    "config": 'assert(require("tidemill.config")["stock\\0x"] == nil, "found"); error("is nil")',
    "a table's name": 'require("tidemill.dynamodb").get("T\\0x", { id = "a" })',
}


@pytest.mark.parametrize("what", NULS)
def test_a_zero_byte_never_cuts_a_string(beside_local, local, name, what):
    deployment = beside_local
    deployment.stream(local.table(name()), "[handler h]\nstock = 1\n[target t]\ntype = stdout\n")
    done = invoke(deployment, f"local ok, err = pcall(function() {NULS[what]} end)\nassert(not ok)\nprint(tostring(err))")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "refused" not in said and "connect" not in said.lower(), said


def test_zero_bytes_pass_where_they_may(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    deployment.stream(table, "[target t]\ntype = stdout\n")
    done = invoke(deployment, f"""
local dynamodb, json, crypto = require "tidemill.dynamodb", require "tidemill.json", require "tidemill.crypto"
assert(record.new.id == "a\\0b")
dynamodb.put("{table}", {{ id = "x\\0y", ["na\\0me"] = "v\\0w" }})
local got = dynamodb.get("{table}", {{ id = "x\\0y" }})
assert(got["na\\0me"] == "v\\0w" and not dynamodb.get("{table}", {{ id = "x" }}))
assert(json.decode(json.encode {{ ["k\\0l"] = "a\\0b" }})["k\\0l"] == "a\\0b")
assert(crypto.sha256("a\\0b") ~= crypto.sha256("a"))
local once = require "tidemill.once"
assert(once("k\\0a", function() return 1 end) == 1 and once("k\\0b", function() return 2 end) == 2)
require "tidemill.emit"("t", {{ text = "a\\0b" }})
print("all is well")""", {"id": {"S": "a\0b"}, "n": {"N": "1"}})
    assert done.returncode == 0 and "all is well" in done.stdout + done.stderr, done.stdout + done.stderr


# ---- what services take and refuse ----

def test_text_that_xml_cannot_hold_passes_sqs(beside_local, local, name, service, emulators):  # noqa: F811
    """SQS takes only what XML 1.0 may hold; JSON says the rest with escapes."""
    deployment, table = beside_local, local.table(name())
    queue = emulators.queue(name("q"))
    sqs = service(Proxy, "sqs", emulators.port)
    deployment.aws = f"endpoint_sqs = {sqs.url}"
    deployment.stream(table, f"[target q]\ntype = sqs\nqueue = {queue}\n[route r]\nstream = s\ntarget = q\n")
    texts = ["\ufffe", "a\uffffb", "\x00\x01\x1f", "caf\u00e9"]
    for i, text in enumerate(texts):
        put(local.client, table, f"i{i}", text={"S": text})
    host = deployment.start()
    wait_until(lambda: len(sqs.requests) and deployment.settled(), "all are sent")
    bodies = [entry["MessageBody"] for request in sqs.requests for entry in json.loads(request.body)["Entries"]]
    assert len(bodies) == len(texts)
    for body in bodies:
        assert all(c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000" for c in body), body
    assert {json.loads(body)["dynamodb"]["NewImage"]["text"]["S"] for body in bodies} == set(texts)
    assert host.stop() == 0 and not letters(deployment)


class Refusing(JsonStub):
    """An SQS that refuses each entry for good."""
    model, signs_as = "sqs", "sqs"

    def work(self, request):
        entries = json.loads(request.body)["Entries"]
        return 200, {}, json.dumps({"Failed": [dict(Id=each["Id"], Code=self.code, SenderFault=True, Message="no")
                                               for each in entries]}).encode()


@pytest.mark.parametrize("code", ["InvalidMessageContents", "InvalidParameterValue"])
def test_a_refusal_that_can_never_pass_ends_at_once(beside_local, local, name, service, code):  # noqa: F811
    deployment, table = beside_local, local.table(name())
    sqs = service(Refusing)
    sqs.code = code
    deployment.aws = f"endpoint_sqs = {sqs.url}"
    deployment.stream(table, "[target q]\ntype = sqs\nqueue = https://sqs.eu-west-1.amazonaws.com/1/q\n"
                             "[route r]\nstream = s\ntarget = q\nretries = 9\nbackoff = 1ms..2ms\n")
    put(local.client, table, "a")
    host = deployment.start()
    letter, = wait_until(lambda: deployment.status() and letters(deployment), "it is a letter")
    assert letter["attempts"] == 1 and len(sqs.requests) == 1 and code in letter["error"], letter
    assert host.stop() == 0


class Taking(Proxy):
    """An SNS whose topics take messages of any size."""

    def __init__(self, signs_as):
        super().__init__(signs_as, 0)

    def work(self, request):
        ids = re.findall(rb"member\.\d+\.Id=([^&]*)", request.body)
        return 200, {}, (b"<PublishBatchResponse><PublishBatchResult><Successful>"
                         + b"".join(b"<member><Id>" + each + b"</Id><MessageId>m</MessageId></member>" for each in ids)
                         + b"</Successful></PublishBatchResult></PublishBatchResponse>")


@pytest.mark.parametrize("kilobytes", [100, 300, 380])
@pytest.mark.parametrize("kind", ["sqs", "eventbridge", "sns"])
def test_messages_up_to_the_services_limit_go_alone(beside_local, local, name, service, emulators, kind, kilobytes):  # noqa: F811
    """Between 256 KiB and 1 MiB the service decides: with both images of a large item an event has 760 KB."""
    deployment, table = beside_local, local.table(name())
    if kind == "sqs":
        stub = service(Proxy, "sqs", emulators.port)
        text = f"type = sqs\nqueue = {emulators.queue(name('q'))}\n"
    elif kind == "sns":
        stub = service(Taking, "sns")
        text = "type = sns\ntopic = arn:aws:sns:eu-west-1:1:t\n"
    else:
        stub = service(EventBridge)
        text = "type = eventbridge\nbus = default\nsource = s\ndetail_type = d\n"
    deployment.aws = f"endpoint_{'events' if kind == 'eventbridge' else kind} = {stub.url}"
    deployment.stream(table, f"[target q]\n{text}[route r]\nstream = s\ntarget = q\nretries = 0\n")
    for i in range(3):
        put(local.client, table, f"i{i}", text={"S": "x" * (kilobytes * 1000)})
        put(local.client, table, f"i{i}", text={"S": "y" * (kilobytes * 1000)})
    host = deployment.start()
    wait_until(lambda: len(stub.requests) and deployment.settled(), "all are sent")
    entries = [request.body.count(b".Message=") if kind == "sns" else len(json.loads(request.body)["Entries"]) for request in stub.requests]
    assert sum(entries) == 6 and (kilobytes < 300 or max(entries) == 1) and not letters(deployment), entries
    assert host.stop() == 0


NAMES = pytest.mark.parametrize("key,value", [("source", ""), ("detail_type", ""), ("source", "s" * 257), ("detail_type", "d" * 129), ("source", "aws.mine")],
                                ids=["no source", "no detail_type", "a long source", "a long detail_type", "AWS's source"])


@NAMES
@pytest.mark.parametrize("where", ["target", "route"])
def test_check_looks_at_eventbridges_names(beside_local, key, value, where):
    line = f"{key} = {value}\n"
    beside_local.stream("Tab", "[target q]\ntype = eventbridge\nbus = default\n" + (line if where == "target" else "") +
                        "[route r]\nstream = s\ntarget = q\n" + (line if where == "route" else ""))
    done = beside_local.run("check")
    assert done.returncode == 2 and f"[{where} {'q' if where == 'target' else 'r'}] {key}: " in done.stderr, done.stderr


@NAMES
def test_eventbridges_names_are_looked_at_before_anything_is_sent(beside_local, local, name, service, key, value):  # noqa: F811
    deployment, table = beside_local, local.table(name())
    bus = service(EventBridge)
    deployment.aws = f"endpoint_events = {bus.url}"
    deployment.script("h", f"""return {{ stream = "s", retries = 9, on_record = function(record)
  require "tidemill.emit"("q", {{ id = record.new.id }}, {{ {key} = "{value}" }}) end }}""")
    deployment.stream(table, "[target q]\ntype = eventbridge\nbus = default\n")
    put(local.client, table, "a")
    host = deployment.start()
    letter, = wait_until(lambda: deployment.status() and letters(deployment), "it is a letter")
    assert letter["attempts"] == 1 and f"{key}:" in letter["error"] and not bus.requests, letter
    assert host.stop() == 0


# ---- memory, disks ----

def resident_mib(host):
    for line in open(f"/proc/{host.process.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


@pytest.mark.one_thread
def test_what_handlers_emit_stays_within_the_memory_of_the_stream(beside_local, local, name, target):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", 'local emit = require "tidemill.emit"\nreturn { stream = "s", concurrency = 100, on_record = function(record)\n'
                           '  for i = 1, 20 do emit("t", { text = ("x"):rep(250000) }) end end }')
    deployment.stream(table, f"window = 8MiB\n[target t]\ntype = http\nurl = {target.url}\nbackoff = 50ms..100ms\n", threads=1)
    target.status = 503
    for i in range(60):
        put(local.client, table, f"i{i}")
    host = deployment.start()
    wait_until(lambda: len(target.seen) > 20, "it is refused")
    most = 0
    seen = len(target.seen)
    while len(target.seen) < seen + 20:
        most = max(most, resident_mib(host))
        assert host.process.poll() is None
    sanitized = b"__asan_init" in open(host.process.args[0], "rb").read() or b"__tsan_init" in open(host.process.args[0], "rb").read()
    assert sanitized or most < 200, most
    target.status = 200
    wait_until(lambda: len({body for body in target.seen}) == 1 and deployment.settled(), "all is delivered", 240)  # 300 MB: an instrumented host takes its time
    assert host.stop() == 0 and not letters(deployment)


def test_a_disk_that_is_full_spends_no_attempts_of_once_and_keeps_no_stop_waiting(beside_local, local, name, target):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", EFFECT.replace("URL", target.url).replace("HOW", HOWS["a record without retries"]).replace("OPTIONS", "{}"))
    deployment.stream(table, log_level="info", shutdown_timeout="2s")
    host = deployment.start()
    put(local.client, table, "first")
    wait_until(lambda: host.fields("sent"), "it works")
    full = max((deployment.directory / "state.db-wal").stat().st_size, host.log_path.stat().st_size + 200000)
    resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    count = 0

    def refused():
        nonlocal count
        count += 1
        put(local.client, table, f"i{count}")
        return any("nothing is lost, trying again" in message for message in host.messages())
    wait_until(refused, "the state file can grow no further")
    for _ in range(20):
        refused()
    host.process.send_signal(signal.SIGTERM)
    host.end()  # it ends
    host = deployment.start()
    wait_until(lambda: {body.decode() for body in target.seen} >= {f"i{i}" for i in range(1, count + 1)}, "all effects are there")
    wait_until(deployment.settled, "all is settled")
    assert not letters(deployment) and host.stop() == 0


# ---- reloads, commands ----

@pytest.mark.parametrize("reload", [None, "target", "stream", "script"], ids=lambda what: f"after {what or 'no'} reload")
def test_a_stop_writes_what_lingers(beside_local, local, name, reload):
    deployment, table = beside_local, local.table(name())

    def configure(linger="10m", poll="100ms"):
        deployment.configure(f"[stream s]\ntable = {table}\npoll_min = 20ms\npoll_max = {poll}\n[target t]\ntype = file\npath = lake\n"
                             f"linger = {linger}\ncompression = none\n", shutdown_timeout="10m")
    script = 'return { stream = "s", targets = { "t" }, on_record = function(record) require("tidemill.log").info("did", { id = record.new.id }) '
    deployment.script("h", script + 'require "tidemill.emit"("t", record.new) end }')
    configure()
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: host.fields("did"), "it lingers")
    if reload == "script":
        deployment.script("h", script + 'require "tidemill.emit"("t", record.new) end  }')
        host.wait_for("takes the place of")
    elif reload:
        configure(linger="11m") if reload == "target" else configure(poll="90ms")
        before = len(host.messages())
        host.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("eload" in message or "read again" in message or "begins" in message or "goes on" in message
                               for message in host.messages()[before:]), "it is read again")
    put(local.client, table, "b")
    wait_until(lambda: len(host.fields("did")) >= 2, "it lingers as well")
    assert host.stop() == 0  # within PATIENCE_S, ten minutes are allowed
    lines = [json.loads(line)["id"] for path in (deployment.directory / "lake").rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert sorted(set(lines)) == ["a", "b"] and len(lines) == 2, lines


def test_commands_in_their_hundreds_beside_a_host(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", 'local log = require "tidemill.log"\nreturn { stream = "s", retries = 0, on_record = function(record)\n'
                           '  if record.new.id:find("^bad") then error("bad") end log.info("did", { id = record.new.id }) end }')
    deployment.stream(table)
    for i in range(60):
        put(local.client, table, f"bad{i}")
    host = deployment.start()
    wait_until(lambda: deployment.status() and len(letters(deployment)) == 60, "letters")
    commands = [["status", "--json"], ["dead", "drop", "999999"], ["dead", "redrive", "999998"], ["dead", "list"],
                ["seek", "h", "latest", "--shard", "none", "--running"]]
    problems = []

    def run(number):
        for i in range(12):
            done = deployment.run(*commands[(i + number) % len(commands)])
            if done.returncode not in (0, 1) or "locked" in done.stderr:
                problems.append(done)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems[:2]
    put(local.client, table, "good")
    wait_until(lambda: host.fields("did"), "it works on")
    assert deployment.run("dead", "drop", "--handler", "h").stdout == "60 dropped\n"
    done = deployment.run("seek", "h", "trim_horizon", "--running")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: len(letters(deployment)) == 60 and len(host.fields("did")) == 2, "everything comes again")
    assert host.stop() == 0


def test_streams_are_spread_over_the_threads(beside_local, local, name):
    """Six streams of a shard each, three threads, handlers that compute: each thread has a share of the work."""
    deployment = beside_local
    tables = [local.table(name()) for _ in range(6)]
    deployment.configure("".join(f"[stream s{i}]\ntable = {table}\npoll_min = 20ms\npoll_max = 50ms\n" for i, table in enumerate(tables)), threads=3)
    for i in range(6):
        deployment.script(f"h{i}", "local function burn() local n = 0 for i = 1, 5000000 do n = n + i end end\n"
                                   f"return {{ stream = 's{i}', on_record = function(record) burn() require('tidemill.log').info('did', {{ id = record.new.id }}) end }}")
    host = deployment.start()
    for item in "abcd":
        for table in tables:
            put(local.client, table, item)
    wait_until(lambda: len(host.fields("did")) == 24, "all are handled")
    ticks = []
    for task in pathlib.Path(f"/proc/{host.process.pid}/task").iterdir():
        ticks.append(int((task / "stat").read_text().rpartition(")")[2].split()[11]))  # utime
    ticks = sorted(ticks)[-3:]
    assert ticks[0] > sum(ticks) / 10, ticks
    assert host.stop() == 0


# ---- items across a split ----

def test_a_redriven_record_keeps_to_its_item_after_a_split(beside_local, name, tmp_path):
    """Its shard has ended; wherever the item is now, one of it runs at a time."""
    engine = Local(tmp_path)
    deployment = beside_local
    deployment.dynamodb = engine
    table = engine.table(name())
    script = """
local log, time = require "tidemill.log", require "tidemill.time"
return { stream = "s", retries = 0, concurrency = 50, on_record = function(record)
  if record.new.version == FAILS then error("not yet") end
  log.info("begins", { id = record.new.id })
  time.sleep(0.3)
  log.info("ends", { id = record.new.id })
end }
"""
    items = [f"i{i}" for i in range(8)]
    deployment.script("h", script.replace("FAILS", "1"))
    deployment.stream(table)
    host = deployment.start()
    for item in items:
        put(engine.client, table, item, version={"N": "1"})
    wait_until(lambda: deployment.status() and len(letters(deployment)) == 8, "all are letters")
    split(engine)
    deployment.script("h", script.replace("FAILS", "0"))
    host.wait_for("takes the place of")
    for version in range(2, 5):
        for item in items:
            put(engine.client, table, item, version={"N": str(version)})
    wait_until(lambda: host.fields("begins"), "newer ones run")
    assert deployment.run("dead", "redrive", "--all").stdout == "8 handled, 0 failed again\n"
    wait_until(lambda: len(host.fields("ends")) == 32, "all are handled")
    running = set()
    for line in host.lines():
        if line["message"] == "begins":
            assert line["fields"]["id"] not in running, "two of one item at a time"
            running.add(line["fields"]["id"])
        elif line["message"] == "ends":
            running.remove(line["fields"]["id"])
    assert host.stop() == 0 and engine.stop() == 0


# ---- positions that die ----

# What was kept is made to name what is not there.
ELSEWHERE = {"a shard that is gone": ["UPDATE checkpoints SET shard = 'shardId-00000000000000000000-gone'"],
             "a shard that is gone, at its start": ["UPDATE checkpoints SET shard = 'shardId-00000000000000000000-gone', kind = 0, sequence = ''"],
             "a stream before this one": [f"UPDATE {table} SET stream_arn = replace(stream_arn, '/stream/2', '/stream/1')"
                                          for table in ("checkpoints", "follows")],
             "another account": ["UPDATE checkpoints SET stream_arn = replace(stream_arn, '000000000000', '111111111111')",
                                 "UPDATE follows SET stream_arn = replace(stream_arn, '000000000000', '111111111111'), "
                                 "stream = replace(stream, '000000000000', '111111111111')"]}


@pytest.mark.parametrize("how, on_gap", [*((how, "continue") for how in ("trimmed", *ELSEWHERE)), ("trimmed", "stop"),
                                         ("a shard that is gone", "stop"), ("another account", "stop")])
def test_a_position_that_died_is_told_and_kept(beside_local, name, tmp_path, how, on_gap):
    engine = Local(tmp_path)
    deployment = beside_local
    deployment.dynamodb = engine
    table = engine.table(name())
    deployment.script("h", 'return { stream = "s", on_record = function(record) require("tidemill.log").info("did", { id = record.new.id }) end }')
    deployment.stream(table, f"on_gap = {on_gap}")
    host = deployment.start()
    put(engine.client, table, "before")
    wait_until(lambda: host.fields("did") and deployment.settled(), "the position is kept")
    assert host.stop() == 0
    put(engine.client, table, "lost")
    if how == "trimmed":
        request = urllib.request.Request(engine.url, b"{}", {"X-Amz-Target": "TidemillLocal.TrimRecords", "Authorization": "x",
                                                             "Content-Type": "application/x-amz-json-1.0"})
        assert urllib.request.urlopen(request).status == 200
    else:
        with sqlite3.connect(deployment.directory / "state.db") as state:
            assert all(state.execute(statement).rowcount == 1 for statement in ELSEWHERE[how])
    put(engine.client, table, "after")
    host = deployment.start()
    gaps = wait_until(lambda: [each for each in status_of(deployment)["events"] if each["kind"] == "gap"], "the gap is kept")
    assert gaps[0]["handler"] == "h" and any(line["level"] == "error" for line in host.lines())
    if on_gap == "stop":
        assert {"id": "after"} not in host.fields("did")
        assert deployment.run("dead", "drop", "--gaps").returncode == 0
    wait_until(lambda: {"id": "after"} in host.fields("did"), "it goes on")
    assert host.stop() == 0 and engine.stop() == 0


# ---- windows that fail ----

LAST = """
return { stream = "s", tumbling_window = "1s", retries = RETRIES, backoff = "BACKOFF", on_failure = "TO", on_window = function(state, records, final)
  if final then require("tidemill.log").info("last", { n = state.n }) error("cannot write the window") end
  return { n = (state and state.n or 0) + #records } end }
"""


def last(deployment, table, retries="-1", backoff="20ms..50ms", to="dead", more=""):
    deployment.script("h", LAST.replace("RETRIES", retries).replace("BACKOFF", backoff).replace("TO", to))
    deployment.stream(table, more)


def test_a_window_that_cannot_be_closed_is_a_trouble(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    last(deployment, table)
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: any("cannot write the window" in each["text"] for each in status_of(deployment)["troubles"]), "it is told")
    assert sum(row["retrying"] for row in status_of(deployment)["checkpoints"]) == 1
    deployment.script("h", 'return { stream = "s", tumbling_window = "1s", on_window = function(state) return state end }')
    wait_until(lambda: not troubles(deployment), "it is closed")
    assert host.stop() == 0


@pytest.mark.parametrize("status", [200, 400])
def test_a_window_that_is_given_up_goes_where_on_failure_says(beside_local, local, name, target, status):
    deployment, table = beside_local, local.table(name())
    target.status = status
    last(deployment, table, "1", to="t", more=f"[target t]\ntype = http\nurl = {target.url}\n")
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: target.seen, "it is sent there")
    told = json.loads(target.seen[0])
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted", told
    record, = json.loads(told["payload"])["Records"]
    assert record["state"] == {"n": 1} and record["window"]["finish"] == record["window"]["start"] + 1
    if status == 400:
        letter, = wait_until(lambda: letters(deployment), "the dead letters keep it")
        assert "on_failure = t" in letter["error"]
        target.status = 200
        assert host.stop() == 0
        host = deployment.start()
        wait_until(lambda: not letters(deployment), "it is offered again")
    assert len(host.fields("last")) in (0, 2) and host.stop() == 0 and not letters(deployment)


def test_a_restart_goes_on_waiting_for_the_windows_last_call(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    last(deployment, table, "2", "10m..20m")
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: host.fields("last"), "the first attempt")
    for _ in range(3):
        assert host.stop() == 0
        host = deployment.start()
        host.wait_for("reading arn:")  # before that it has not asked for its signals
        put(local.client, table, "b")
        wait_until(lambda: [row for row in status_of(deployment)["checkpoints"] if row["waiting"] or row["retrying"]], "it waits")
        assert not host.fields("last")
    assert host.stop() == 0


# ---- once that is used in a wrong way ----

@pytest.mark.parametrize("options", ["{ ttl = '7 days' }", "{ ttl = -1 }", "{ ttl = 0/0 }", "{ in_progress = {} }", "{ tll = 5 }", "{ store = 5 }", "'7d'"])
def test_options_of_once_are_looked_at_before_its_function_runs(beside_local, local, name, target, options):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", f"""
local once, http = require "tidemill.once", require "tidemill.http"
return {{ stream = "s", retries = 3, backoff = "1ms..2ms", on_record = function(record)
  once("k", function() http.post("{target.url}", {{ body = "x" }}) end, {options})
end }}""")
    deployment.stream(table)
    host = deployment.start()
    put(local.client, table, "a")
    letter, = wait_until(lambda: deployment.status() and letters(deployment), "it is a letter")
    assert "once: " in letter["error"] and "h.lua:4" in letter["error"] and not target.seen, letter
    assert host.stop() == 0


def test_durations_of_once_may_be_texts(beside_local, local, name):
    deployment = beside_local
    deployment.stream(local.table(name()))
    done = invoke(deployment, "local once = require 'tidemill.once'\n"
                              "print(once('k', function() return 41 end, { ttl = '7d', in_progress = '90s' }) + 1)")
    assert done.returncode == 0 and "42" in done.stdout + done.stderr, done.stdout + done.stderr


NESTED = {"the same key": ("k", "is being run by this very call"), "a key of somebody else": ("held", "is in progress elsewhere")}


@pytest.mark.parametrize("store", [False, True], ids=["state", "table"])
@pytest.mark.parametrize("inner", NESTED)
def test_a_once_within_a_once_repeats_nothing_without_end(beside_local, local, name, target, inner, store):
    deployment, table = beside_local, local.table(name())
    key, said = NESTED[inner]
    hanging = Http(hangs=True)
    options = f', {{ store = "{local.table(name(), stream=False)}" }}' if store else ""
    deployment.script("h", f"""
local once, http = require "tidemill.once", require "tidemill.http"
return {{ stream = "s", retries = 2, backoff = "1ms..2ms", on_record = function(record)
  if record.new.id == "holder" then
    once("held", function() http.post("{hanging.url}", {{ body = "x" }}) end{options})
  else
    once("k", function() http.post("{target.url}", {{ body = "x" }}); once("{key}", function() return 1 end{options}) end{options})
  end
end }}""")
    deployment.stream(table, shutdown_timeout="1s")
    host = deployment.start()
    put(local.client, table, "holder")
    wait_until(lambda: hanging.seen, "the other key is held")
    put(local.client, table, "a")
    letter, = wait_until(lambda: deployment.status() and letters(deployment), "it is a letter")
    assert said in letter["error"] and letter["attempts"] == 3 == len(target.seen), letter
    hanging.hangs = False
    assert host.stop() == 0


def test_only_once_can_wait(beside_local, local, name):
    """An error object of a script's own is an error like any other."""
    deployment, table = beside_local, local.table(name())
    deployment.script("h", 'return { stream = "s", retries = 2, backoff = "1ms..2ms", on_record = function() error({ waits = true }) end }')
    deployment.stream(table)
    host = deployment.start()
    put(local.client, table, "a")
    letter, = wait_until(lambda: deployment.status() and letters(deployment), "it is a letter")
    assert letter["attempts"] == 3 and host.stop() == 0


# ---- errors as large as a body ----

@pytest.mark.parametrize("raises", ["error(('x'):rep(20000000))", "error(('\\u{e9}'):rep(5000000))", "error(setmetatable({}, { __tostring = function() return ('y'):rep(2000):rep(100) end }))"])
@pytest.mark.one_thread
def test_a_large_error_is_cut_and_holds_nobody(beside_local, local, name, raises):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", f'return {{ stream = "s", retries = 1, backoff = "1ms..2ms", cpu_limit = "1m", memory = "1GiB", on_record = function() {raises} end }}')
    deployment.stream(table)
    host = deployment.start()
    for i in range(10):
        put(local.client, table, f"i{i}")
    wait_until(lambda: deployment.status() and len(letters(deployment)) == 10, "all are letters")
    assert all(len(letter["error"].encode()) < 10_000 and letter["error"].endswith(" bytes)") for letter in letters(deployment)), letters(deployment)
    assert host.log_path.stat().st_size < 1_000_000 and host.stop() == 0


# ---- what does not run, what nobody uses ----

@pytest.mark.parametrize("how", ["broken at the start", "taken away"])
def test_a_handler_that_does_not_run_has_no_lag_of_zero(beside_local, local, name, how):
    deployment, table = beside_local, local.table(name())
    script = 'return { stream = "s", on_record = function(record) require("tidemill.log").info("NAME", { id = record.new.id }) end }'
    for handler in ("h", "other"):
        deployment.script(handler, script.replace("NAME", handler))
    deployment.stream(table)
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: host.fields("h") and host.fields("other") and deployment.settled(), "both have it")
    assert not any(row["idle"] for row in status_of(deployment)["checkpoints"])
    if how == "broken at the start":
        assert host.stop() == 0
        deployment.script("h", "return {")
        host = deployment.start()
    else:
        (deployment.directory / "scripts" / "h.lua").unlink()
    put(local.client, table, "b")
    wait_until(lambda: {"id": "b"} in host.fields("other"), "the other one goes on")

    def rows():
        return {row["handler"]: row for row in status_of(deployment)["checkpoints"] if row["position"] != "finished"}
    wait_until(lambda: rows()["h"]["idle"] and not rows()["other"]["idle"], lambda: f"one does not run: {rows()}")
    assert rows()["h"]["lag_ms"] > 0 and "not running" in deployment.run("status").stdout
    deployment.script("h", script.replace("NAME", "h"))
    wait_until(lambda: {"id": "b"} in host.fields("h"), "mended, it has what it missed")
    wait_until(lambda: not rows()["h"]["idle"] and deployment.settled(), "it runs")
    assert host.stop() == 0


def test_a_target_that_nobody_uses_any_more_is_no_trouble(beside_local, local, name, target):
    deployment, table = beside_local, local.table(name())
    target.status = 503
    deployment.script("h", 'return { stream = "s", targets = { "t" }, on_record = function(record) require "tidemill.emit"("t", record.new) end }')
    deployment.stream(table, f"[target t]\ntype = http\nurl = {target.url}\nbackoff = 20ms..50ms\n")
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: ("target t", "sending") in troubles(deployment), "the target does not take it")
    (deployment.directory / "scripts" / "h.lua").unlink()
    wait_until(lambda: not troubles(deployment), lambda: f"nobody wants to send there: {troubles(deployment)}", 10)
    assert host.stop() == 0


def test_who_is_behind_and_cannot_be_read_for_is_a_trouble_though_others_are(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    for handler in ("lost", "well"):
        deployment.script(handler, 'return { stream = "s", on_record = function() end }')
    deployment.stream(table)
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(deployment.settled, "all is settled")
    assert host.stop() == 0
    shard = deployment.status()["checkpoints"][0]["shard"]
    assert deployment.run("seek", "lost", "123", "--shard", shard).returncode == 0
    host = deployment.start()

    def told():
        return any(shard in trouble["kind"] and "equenceNumber" in trouble["text"] for trouble in troubles(deployment).values())
    wait_until(told, "it is told")
    put(local.client, table, "b")
    wait_until(lambda: any(row["handler"] == "well" and row["lag_ms"] == 0 for row in deployment.status()["checkpoints"]), "the other goes on")
    put(local.client, table, "c")
    wait_until(lambda: any(row["handler"] == "well" and row["lag_ms"] == 0 for row in deployment.status()["checkpoints"]), "the other goes on")
    assert told()
    assert deployment.run("seek", "lost", "trim_horizon", "--running").returncode == 0
    wait_until(lambda: not troubles(deployment), "it is read for again")
    assert host.stop() == 0
