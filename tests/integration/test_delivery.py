"""Targets and routes: every change arrives where it is wanted, whatever fails on the way."""
import base64
import collections
import gzip
import hashlib
import hmac
import json
import re
import subprocess
import threading
import time

import pytest
from conftest import PATIENCE_S, ROOT, wait_until
from services import EventBridge, Emulators, Faults, Firehose, Lambda, Proxy, Receiver, StepFunctions

FAULTS = dict(refuse=0.1, cut=0.05, lose=0.05, entries=0.2)
FAST = "backoff = 5ms..50ms\nretries = 50\n"


@pytest.fixture(scope="module")
def emulators(tmp_path_factory):
    started = Emulators(tmp_path_factory.mktemp("emulators"))
    yield started
    started.stop()


@pytest.fixture
def service():
    """Starts services, stops them in the end, and fails when they were sent what they should not be sent."""
    started = []

    def start(kind, *arguments, **faults):
        made = kind(*arguments)
        if faults:
            made.faults = Faults(**faults)
        started.append(made)
        return made
    yield start
    for made in started:
        made.stop()


def put(dynamodb, table, item, version, **more):
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": item}, "version": {"N": str(version)}, **more})


def write(dynamodb, table, items=20, versions=10):
    for version in range(1, versions + 1):
        for item in range(items):
            put(dynamodb, table, f"i{item}", version)


def order_holds(pairs):
    """Of (item, version) as they were accepted: no item goes back."""
    last = {}
    for item, version in pairs:
        if version < last.get(item, 0):
            return False
        last[item] = version
    return True


def expected(items=20, versions=10):
    return {(f"i{item}", version) for item in range(items) for version in range(1, versions + 1)}


def of_record(record):
    image = record["dynamodb"]["NewImage"]
    return image["id"]["S"], int(image["version"]["N"])


def configure(deployment, table, text, more="", **endpoints):
    deployment.aws = "\n".join(f"endpoint_{name} = {url}" for name, url in endpoints.items())
    deployment.stream(table, more + "\n" + text)


# ---- EventBridge ----

def test_eventbridge_gets_every_change_with_its_numbers_exact(beside_local, local, name, service):
    table = local.table(name())
    bus = service(EventBridge)
    configure(beside_local, table, "[target bus]\ntype = eventbridge\nbus = orders\nsource = my.database\n"
              "[route everything]\nstream = s\ntarget = bus\n", events=bus.url)
    number = "12345678901234567890.123456789012345678"
    local.client.put_item(TableName=table, Item={"id": {"S": "ä\n\"x\""}, "n": {"N": number}})
    local.client.update_item(TableName=table, Key={"id": {"S": "ä\n\"x\""}}, UpdateExpression="ADD n :one",
                             ExpressionAttributeValues={":one": {"N": "1"}})
    local.client.delete_item(TableName=table, Key={"id": {"S": "ä\n\"x\""}})
    host = beside_local.start()
    wait_until(lambda: len(bus.events) == 3, "three events")
    assert [event["DetailType"] for event in bus.events] == ["INSERT", "MODIFY", "REMOVE"]
    for event in bus.events:
        assert event["EventBusName"] == "orders" and event["Source"] == "my.database"
        arn, = event["Resources"]
        assert arn.endswith(f":table/{table}"), arn
        record = json.loads(event["Detail"])
        assert record["eventName"] == event["DetailType"] and record["eventSourceARN"].startswith(arn + "/stream/")
        assert event["Time"] == record["dynamodb"]["ApproximateCreationDateTime"]
    assert json.loads(bus.events[0]["Detail"])["dynamodb"]["NewImage"]["n"]["N"] == number
    assert host.stop() == 0


def test_eventbridge_with_a_fifth_of_everything_failing(beside_local, local, name, service):
    table = local.table(name())
    bus = service(EventBridge, **FAULTS)
    configure(beside_local, table, f"[target bus]\ntype = eventbridge\n{FAST}"
              "[route everything]\nstream = s\ntarget = bus\nimage = new\nunmarshalled = yes\n", events=bus.url)
    host = beside_local.start()
    write(local, table)
    accepted = lambda: [(detail["id"], detail["version"]) for detail in (json.loads(e["Detail"]) for e in bus.events)]
    wait_until(lambda: set(accepted()) == expected(), "all events are there")
    assert order_holds(accepted())
    sizes = [len(json.loads(request.body)["Entries"]) for request in bus.requests]
    assert max(sizes) > 5, sizes  # messages travel together
    wait_until(beside_local.settled, "everything is settled")
    assert host.stop() == 0
    reports = [re.match(r"(\d+) messages \(\d+ KiB\) accepted in (\d+) requests, [\d.]+ in each; (\d+) were sent again, 0 given "
                        r"up, 0 wait", message) for message in host.messages()]
    reports = [list(map(int, report.groups())) for report in reports if report]
    assert sum(accepted for accepted, _, _ in reports) == 200 and sum(again for _, _, again in reports) > 20, reports


def test_a_route_names_its_events_after_the_record(beside_local, local, name, service):
    """The outbox: each row says what it is."""
    table = local.table(name())
    bus = service(EventBridge)
    configure(beside_local, table, f"[target bus]\ntype = eventbridge\nsource = usual\n{FAST}"
              "[route outbox]\nstream = s\ntarget = bus\nretries = 0\nunmarshalled = yes\ndetail_type = $.dynamodb.NewImage.type\nsource = <shop>\n"
              'input_paths = {"shop": "$.dynamodb.NewImage.shop"}\ninput_path = $.dynamodb.NewImage.detail\n', events=bus.url)
    good = beside_local.ini.read_text()
    for old, new, told in (("source = <shop>", "source = <$.dynamodb.NewImage.shop>", "a path stands alone"), ("source = <shop>", "source = <shp>", "did you mean shop?"), ("source = <shop>\n", "", "input_paths are for"),
                           ("type = $.dyn", "type = $dyn", "is no path"), ("source = <shop>", "source = aws.x", "source: what begins with")):
        beside_local.ini.write_text(good.replace(old, new))
        done = beside_local.run("check")
        assert done.returncode == 2 and told in done.stderr and "[route outbox]" in done.stderr, (told, done.stderr)
    beside_local.ini.write_text(good)
    assert beside_local.run("check").returncode == 0, beside_local.run("check").stderr
    host = beside_local.start()
    item = lambda key, **more: local.client.put_item(TableName=table, Item={"id": {"S": key}, "detail": {"M": {"total": {"N": "12.50"}}}, **more})
    item("a", type={"S": "Order placed"}, shop={"S": "shop.eu"})
    item("b")
    item("c", type={"S": "x"}, shop={"S": "aws.forbidden"})
    wait_until(lambda: len(bus.events) == 2 and len(json.loads(beside_local.run("dead", "list", "--json").stdout or "[]")) == 1, "two are sent, and one is a letter")
    assert sorted((event["DetailType"], event["Source"], event["Detail"]) for event in bus.events) == [("INSERT", "usual", '{"total":12.5}'), ("Order placed", "shop.eu", '{"total":12.5}')]
    letter, = json.loads(beside_local.run("dead", "list", "--json").stdout)
    assert 'begins with "aws."' in letter["error"]
    assert host.stop() == 0


def test_an_entry_that_the_service_will_never_take_fails_alone(beside_local, local, name, service):
    table = local.table(name())
    bus = service(EventBridge)
    beside_local.script("h", """
        local emit = require "tidemill.emit"
        return { stream = "s", on_record = function(record)
          emit("bus", record.id == "x" and "" or { id = record.new.id }, { source = record.new.source })
        end }""")
    configure(beside_local, table, "[target bus]\ntype = eventbridge\nlinger = 200ms\n", events=bus.url)
    for item in range(5):
        put(local, table, f"good{item}", 1)
    put(local, table, "bad", 1, source={"S": "aws.mine"})
    host = beside_local.start()
    wait_until(lambda: len(bus.events) == 5, "the good ones are there")
    host.wait_for("what begins with \"aws.\" is for AWS itself")
    wait_until(lambda: beside_local.status()["dead_letters"], "the bad one is a dead letter")
    assert host.stop() == 0


def test_eventbridge_requests_stay_within_the_size_that_is_allowed(beside_local, local, name, service):
    table = local.table(name())
    bus = service(EventBridge)  # which refuses larger ones
    configure(beside_local, table, "[target bus]\ntype = eventbridge\nlinger = 100ms\n"
              "[route r]\nstream = s\ntarget = bus\nimage = new\nunmarshalled = yes\n", events=bus.url)
    for number in range(12):
        put(local, table, f"i{number}", 1, text={"S": "ä" * 45000})
    put(local, table, "huge", 1, text={"S": "x" * 263000})
    host = beside_local.start()
    wait_until(lambda: len(bus.events) == 13, "all events, the large one alone")
    sizes = [json.loads(request.body)["Entries"] for request in bus.requests]
    assert {len(entries) for entries in sizes} <= {1, 2}
    assert all(len(entries) == 1 for entries in sizes if any("xxxx" in entry["Detail"] for entry in entries))
    assert not host.errors(), host.errors()
    assert host.stop() == 0


def test_requests_are_as_large_and_as_many_at_once_as_the_ini_says(beside_local, local, name, service):
    table = local.table(name())
    bus, receiver = service(EventBridge), service(Receiver)
    both = threading.Barrier(2, timeout=PATIENCE_S)
    inside, most = [], []

    def answer(request):
        inside.append(request)
        most.append(len(inside))
        both.wait()  # the second one comes while the first is there
        inside.remove(request)
        return 200, {}
    receiver.answer = answer
    configure(beside_local, table, "[target bus]\ntype = eventbridge\nbatch_count = 3\nlinger = 1h\n"
              f"[target hook]\ntype = http\nurl = {receiver.url}\nin_flight = 2\n"
              "[route r]\nstream = s\ntarget = bus\n[route h]\nstream = s\ntarget = hook\n", events=bus.url)
    write(local, table, 10, 1)
    host = beside_local.start()
    wait_until(lambda: len(bus.events) == 9 and len(receiver.requests) == 10, "three full requests; all at the hook")
    assert {len(json.loads(request.body)["Entries"]) for request in bus.requests} == {3} and max(most) == 2
    assert host.stop() == 0 and len(bus.events) == 10  # the last one need not wait an hour


# ---- SQS, SNS ----

def test_sqs_fifo_gets_each_message_once_and_in_order_through_kills(beside_local, local, name, service, emulators):
    table = local.table(name())
    queue = emulators.queue(name("q") + ".fifo", FifoQueue="true")
    sqs = service(Proxy, "sqs", emulators.port, **FAULTS)
    beside_local.script("h", """
        local emit = require "tidemill.emit"
        return { stream = "s", backoff = "10ms..100ms", retries = 100, on_record = function(record)
          emit("queue", { record.new.id, record.new.version, "first" })
          emit("queue", { record.new.id, record.new.version, "second" })
        end }""")
    configure(beside_local, table, f"[target queue]\ntype = sqs\nqueue = {queue}\n{FAST}", sqs=sqs.url)
    host = beside_local.start()
    taken = []
    for version in range(1, 11):
        for item in range(10):
            put(local, table, f"i{item}", version)
        if version % 3 == 0:
            wait_until(lambda: len(sqs.requests) > version, "something is under way")
            host.kill()
            host = beside_local.start()
    wait_until(lambda: taken.extend(emulators.messages(queue)) or len(taken) >= 200, lambda: f"200 messages, not {len(taken)}")
    wait_until(beside_local.settled, "everything is settled")
    taken.extend(emulators.messages(queue))
    bodies = [tuple(json.loads(message["Body"])) for message in taken]
    assert collections.Counter(bodies).most_common(1)[0][1] == 1  # the queue's deduplication knows our ids
    for item in range(10):
        assert [body[1:] for body in bodies if body[0] == f"i{item}"] == \
            [(version, place) for version in range(1, 11) for place in ("first", "second")]
    assert {message["Attributes"]["MessageGroupId"] for message in taken} == {f"i{item}" for item in range(10)}
    assert host.stop() == 0


def test_sqs_and_sns_and_their_options(beside_local, local, name, service, emulators):
    table = local.table(name())
    queue, listener = emulators.queue(name("q")), emulators.queue(name("l"))
    ordered = emulators.queue(name("o") + ".fifo", FifoQueue="true")
    topic = emulators.sns.create_topic(Name=name("t"))["TopicArn"]
    fifo = emulators.sns.create_topic(Name=name("t") + ".fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    emulators.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=emulators.queue_arn(listener))
    emulators.sns.subscribe(TopicArn=fifo, Protocol="sqs", Endpoint=emulators.queue_arn(ordered),
                            Attributes={"RawMessageDelivery": "true"})
    sqs, sns = service(Proxy, "sqs", emulators.port, **FAULTS), service(Proxy, "sns", emulators.port, **FAULTS)
    beside_local.script("h", """
        local emit = require "tidemill.emit"
        return { stream = "s", on_record = function(record)
          emit("queue", "plain text of " .. record.new.id)
          emit("topic", { id = record.new.id, text = "a<b>&ä\\n" }, { subject = "news of " .. record.new.id })
          emit("fifo", { record.new.id, record.new.version }, { key = "all" })
        end }""")
    configure(beside_local, table, f"[target queue]\ntype = sqs\nqueue = {queue}\n{FAST}"
              f"[target topic]\ntype = sns\ntopic = {topic}\n{FAST}[target fifo]\ntype = sns\ntopic = {fifo}\n{FAST}",
              sqs=sqs.url, sns=sns.url)
    write(local, table, 10, 3)
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    assert {message["Body"] for message in emulators.messages(queue)} == {f"plain text of i{item}" for item in range(10)}
    news = [json.loads(message["Body"]) for message in emulators.messages(listener)]
    assert {(item["Subject"], json.loads(item["Message"])["text"]) for item in news} == \
        {(f"news of i{item}", "a<b>&ä\n") for item in range(10)}
    ours = [tuple(json.loads(message["Body"])) for message in emulators.messages(ordered)]
    assert sorted(ours) == sorted(expected(10, 3)) and order_holds(ours)
    assert host.stop() == 0


# ---- Kinesis, Firehose ----

def test_kinesis_keeps_the_order_of_each_key_under_partial_failure(beside_local, local, name, service, emulators):
    table, stream = local.table(name()), name("k")
    emulators.kinesis.create_stream(StreamName=stream, ShardCount=2)
    emulators.kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig=dict(Delay=1, MaxAttempts=60))
    kinesis = service(Proxy, "kinesis", emulators.kinesis_port, **FAULTS)
    configure(beside_local, table, f"[target k]\ntype = kinesis\nstream = {stream}\n{FAST}"
              "[route r]\nstream = s\ntarget = k\n", kinesis=kinesis.url)
    # Of one record, three messages with one key among many others.
    beside_local.script("h", """return { stream = "s", on_record = function(record)
        for place = 1, 3 do require("tidemill.emit")("k", { record.new.id, record.new.version, place }) end end }""")
    write(local, table, 20, 10)
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    records = emulators.records(stream)
    events = [(key, json.loads(data)) for key, data in records]
    pairs = [of_record(event) for _, event in events if isinstance(event, dict)]
    assert set(pairs) == expected() and order_holds(pairs)
    assert all(key == of_record(event)[0] for key, event in events if isinstance(event, dict))
    emitted = [tuple(event) for _, event in events if isinstance(event, list)]
    assert set(emitted) == {(*pair, place) for pair in expected() for place in (1, 2, 3)}
    assert order_holds([(item, version * 10 + place) for item, version, place in emitted])
    assert host.stop() == 0


def test_firehose_gets_lines(beside_local, local, name, service):
    table = local.table(name())
    firehose = service(Firehose, **FAULTS)
    configure(beside_local, table, f"[target f]\ntype = firehose\ndelivery_stream = d\n{FAST}"
              "[route r]\nstream = s\ntarget = f\ninput_paths = {\"id\": \"$.dynamodb.Keys.id.S\", "
              "\"v\": \"$.dynamodb.NewImage.version.N\"}\ninput_template = {\"id\": <id>, \"say\": \"<id> has <v>\"}\n",
              firehose=firehose.url)
    write(local, table, 20, 5)
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    assert all(record.endswith(b"\n") and record.count(b"\n") == 1 for record in firehose.records)
    said = [json.loads(record) for record in firehose.records]
    assert {item["say"] for item in said} == {f"{item} has {version}" for item, version in expected(20, 5)}
    assert host.stop() == 0


# ---- objects with names of their own ----

@pytest.mark.parametrize("kind", ["s3", "file"])
def test_objects_are_written_under_their_names(beside_local, local, name, emulators, kind):
    table, bucket = local.table(name()), emulators.bucket(name("bucket").lower())
    beside_local.script("h", """
local emit = require "tidemill.emit"
return { stream = "s", retries = 1, backoff = "1ms..2ms", on_record = function(record)
  if record.new.bad then emit("queue", {}, { object = "x" }) end
  emit("out", record.new.text, { object = (record.new.place or "pages/") .. record.new.id .. ".html" })
end }""")
    directory = beside_local.directory / "kept"
    place = f"type = s3\nbucket = {bucket}\nprefix = raw" if kind == "s3" else f"type = file\npath = {directory}"
    configure(beside_local, table, f"[target out]\n{place}\n{FAST}[target queue]\ntype = sqs\nqueue = http://127.0.0.1:1/1/q\n", s3=f"http://127.0.0.1:{emulators.port}")
    host = beside_local.start()
    for version in range(3):
        for item in ("a b", "ü"):
            local.client.put_item(TableName=table, Item={"id": {"S": item}, "text": {"S": f"two\nlines {version}"}})
    local.client.put_item(TableName=table, Item={"id": {"S": "c"}, "bad": {"BOOL": True}})
    local.client.put_item(TableName=table, Item={"id": {"S": "d"}, "text": {"S": "x"}, "place": {"S": "../../"}})
    wait_until(beside_local.settled, "all is written")
    assert host.stop() == 0
    if kind == "s3":
        found = emulators.objects(bucket)
        assert emulators.s3.head_object(Bucket=bucket, Key="raw/pages/ü.html")["ContentType"] == "text/html; charset=utf-8"
    else:
        found = {"raw/" + str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert found == {"raw/pages/a b.html": b"two\nlines 2", "raw/pages/ü.html": b"two\nlines 2"}, found
    letters = beside_local.run("dead", "list").stdout
    assert "targets of type sqs keep no objects" in letters and "leads out of the target" in letters, letters


# ---- Step Functions ----


def test_executions_are_started_once(beside_local, local, name, service):
    table, machine = local.table(name()), service(StepFunctions, refuse=0.1, cut=0.1, lose=0.2)
    beside_local.script("h", """
local emit = require "tidemill.emit"
return { stream = "s", on_record = function(record) emit("flow", { id = record.new.id, version = record.new.version }) end }""")
    configure(beside_local, table, f"[target flow]\ntype = stepfunctions\nmachine = arn:aws:states:eu-west-1:123456789012:stateMachine:orders\n{FAST}"
              f"[route all]\nstream = s\ntarget = flow\nimage = new\nunmarshalled = yes\n", states=machine.url)
    host = beside_local.start()
    write(local, table, 10, 3)
    wait_until(lambda: len(machine.started) >= 60 and beside_local.settled(), "all is started")
    host.kill()
    host = beside_local.start()
    write(local, table, 10, 3)
    wait_until(lambda: len(machine.started) >= 120 and beside_local.settled(), "so is the rest")
    assert host.stop() == 0
    counts = collections.Counter((one["id"], one["version"]) for one in machine.started.values())
    assert len(machine.started) == 120 and set(counts.values()) == {4}, (len(machine.started), counts)
    assert not beside_local.status()["dead_letters"]
    done = beside_local.run("policy")
    assert {"Effect": "Allow", "Action": ["states:StartExecution"], "Resource": "arn:aws:states:eu-west-1:123456789012:stateMachine:orders"} in json.loads(done.stdout)["Statement"]
    beside_local.ini.write_text(beside_local.ini.read_text().replace("arn:aws:states:eu-west-1:123456789012:stateMachine:orders", "orders"))
    wrong = beside_local.run("check")
    assert wrong.returncode == 2 and "machine: the ARN of a state machine expected" in wrong.stderr


# ---- Lambda ----

def test_lambda_gets_what_a_trigger_sends_and_its_partial_answers_count(beside_local, local, name, service):
    table = local.table(name())
    events, attempts = [], collections.Counter()

    def function(event):
        events.append(event)
        for record in event["Records"]:
            pair = of_record(record)
            attempts[pair] += 1
            if pair == ("i3", 2) and attempts[pair] < 3:  # it stops here, as most functions do
                return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
            handled.append(pair)
        return {"batchItemFailures": []}
    handled = []
    lambda_ = service(Lambda, function, refuse=0.1, cut=0.05)
    configure(beside_local, table, f"[target f]\ntype = lambda\nfunction = my-function\n{FAST}"
              "[route r]\nstream = s\ntarget = f\nbatch_size = 10\nbackoff = 10ms..50ms\n", **{"lambda": lambda_.url})
    write(local, table, 10, 5)
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    assert set(handled) == expected(10, 5) and order_holds(handled)
    assert attempts[("i3", 2)] == 3 and max(len(event["Records"]) for event in events) == 10
    record = events[0]["Records"][0]
    assert set(record) >= {"eventID", "eventName", "eventSource", "eventSourceARN", "awsRegion", "dynamodb"}
    assert host.stop() == 0


def test_a_record_that_makes_the_function_fail_is_isolated(beside_local, local, name, service):
    table = local.table(name())
    handled = []

    def function(event):
        pairs = [of_record(record) for record in event["Records"]]
        if ("i3", 1) in pairs:
            raise ValueError("i3 is poison")
        handled.extend(pairs)
    lambda_ = service(Lambda, function)
    configure(beside_local, table, "[target f]\ntype = lambda\nfunction = my-function\n"
              "[route r]\nstream = s\ntarget = f\nretries = 1\nbackoff = 10ms..20ms\n", **{"lambda": lambda_.url})
    write(local, table, 10, 2)
    host = beside_local.start()
    wait_until(lambda: beside_local.status() and beside_local.status()["dead_letters"], "it is a dead letter")
    wait_until(lambda: set(handled) == expected(10, 2) - {("i3", 1)}, "all others are handled")
    assert any("ValueError: i3 is poison" in error for error in host.errors())
    assert host.stop() == 0


# ---- HTTP, standard output ----

def test_http_is_signed_and_patient_and_says_when_it_comes_again(beside_local, local, name, service):
    table = local.table(name())
    receiver, seen, times = service(Receiver), collections.defaultdict(list), []

    def answer(request):
        key = request.headers["Idempotency-Key"]
        seen[key].append(json.loads(request.body))
        stamp, signature = re.match(r"t=(\d+),v1=([0-9a-f]{64})$", request.headers["Tidemill-Signature"]).groups()
        wanted = hmac.new(b"s3cret", stamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
        assert signature == wanted and abs(int(stamp) - time.time()) < 300
        assert request.headers["Authorization"] == "Bearer abc" and request.headers["Content-Type"] == "application/json"
        if seen[key][0]["new"]["id"] == "i1":
            times.append(time.monotonic())
            if len(times) == 1:
                return 429, {"Retry-After": "1"}
        return (503, {}) if seen[key][0]["new"]["id"] == "i2" and len(seen[key]) < 3 else (202, {})
    receiver.answer = answer
    beside_local.environment["HOOK_SECRET"] = "s3cret"
    configure(beside_local, table, f"[target hook]\ntype = http\nurl = {receiver.url}/hook\nsecret = ${{env:HOOK_SECRET}}\n"
              f"authorization = Bearer abc\n{FAST}[route r]\nstream = s\ntarget = hook\nimage = both\nunmarshalled = yes\n")
    write(local, table, 5, 1)
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    assert len(seen) == 5
    assert sorted(len(bodies) for bodies in seen.values()) == [1, 1, 1, 2, 3]
    assert times[1] - times[0] >= 1  # Retry-After is a promise not to come earlier
    assert "s3cret" not in host.log_path.read_text()
    assert host.stop() == 0


def test_any_number_of_routes_costs_one_read_of_the_stream(beside_local, local, name):
    table = local.table(name())
    routes = "".join(f"[route r{number}]\nstream = s\ntarget = out\npattern = {{\"dynamodb\": {{\"Keys\": {{\"id\": "
                     f"{{\"S\": [{{\"prefix\": \"i{number}\"}}]}}}}}}}}\nimage = new\nunmarshalled = yes\n"
                     for number in range(10))
    configure(beside_local, table, "[target out]\ntype = stdout\n" + routes)
    write(local, table, 10, 3)
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    lines = [json.loads(line) for line in host.output_path.read_text().splitlines()]
    assert {(line["id"], line["version"]) for line in lines} == expected(10, 3) and len(lines) == 30
    shard, = beside_local.status()["shards"]
    assert host.stop() == 0
    assert shard["records"] == 30, shard


# ---- the data lake ----

def lake_events(files):
    """From path to bytes, all events in them, by sequence number."""
    events = {}
    for path, content in files.items():
        if path.endswith(".gz"):
            content = gzip.decompress(content)
        elif path.endswith(".zst"):
            content = subprocess.run(["zstd", "-dc"], input=content, capture_output=True, check=True).stdout
        for line in content.decode().splitlines():
            event = json.loads(line)
            events.setdefault(event["dynamodb"]["SequenceNumber"], []).append((path, event))
    return events


PARTITION = re.compile(r"table=(?P<table>[^/]+)/year=(\d{4})/month=(\d\d)/day=(\d\d)/hour=(\d\d)/"
                       r"(?P<shard>shardId-.+)-(?P<sequence>\d+)(-left|-right)?\.jsonl(\.gz|\.zst)?$")


def check_lake(files, table):
    events = lake_events(files)
    assert {of_record(found[0][1]) for found in events.values()} == expected(20, 10)
    for path in files:
        place = PARTITION.search(path)
        assert place and place["table"] == table, path
        first = min((sequence for sequence, found in events.items() if path in [where for where, _ in found]), key=int)
        assert place["sequence"] == first, path
    return events


def test_the_lake_in_s3_misses_nothing_after_kills(beside_local, local, name, service, emulators):
    table, bucket = local.table(name()), emulators.bucket(name("bucket").lower())
    s3 = service(Proxy, "s3", emulators.port, refuse=0.1, cut=0.05, lose=0.1)
    configure(beside_local, table, f"[target lake]\ntype = s3\nbucket = {bucket}\nprefix = raw/events\nlinger = 100ms\n"
              f"batch_count = 30\n{FAST}[route archive]\nstream = s\ntarget = lake\n", s3=s3.url)
    host = beside_local.start()
    # What was sent and not accepted is not settled, whatever is written down meanwhile.
    s3.faults.refuse = 1
    put(local, table, "i0", 1)
    wait_until(lambda: s3.refusals > 10, "it is refused again and again, through several checkpoints")
    host.kill()
    s3.faults.refuse = 0.1
    host = beside_local.start()
    for version in range(1, 11):
        for item in range(20):
            put(local, table, f"i{item}", version)
        if version % 2 == 0:
            wait_until(lambda: len(s3.requests) >= version, "some files are written")
            host.kill()
            host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    assert host.stop() == 0
    files = emulators.objects(bucket)
    assert all(key.startswith("raw/events/table=") for key in files)
    check_lake(files, table)
    # From the beginning again: the same names, so nothing is there twice that was not before.
    before = set(files)
    (beside_local.directory / "state.db").unlink()
    beside_local.stream(table, "[target lake]\ntype = s3\n" f"bucket = {bucket}\nprefix = raw/events\n{FAST}"
                        "[route archive]\nstream = s\ntarget = lake\n")
    host = beside_local.start()
    wait_until(lambda: beside_local.status() and any(row["in_flight"] == 200 for row in beside_local.status()["checkpoints"]),
               "all of it waits in open files")
    assert host.stop() == 0  # which writes them
    again = emulators.objects(bucket)
    assert set(again) <= before and check_lake(again, table)


@pytest.mark.parametrize("compression,suffix", [("gzip", ".jsonl.gz"), ("zstd", ".jsonl.zst"), ("none", ".jsonl")])
def test_the_lake_on_disk(beside_local, local, name, compression, suffix):
    table = local.table(name())
    lake = beside_local.directory / "lake"
    configure(beside_local, table, f"[target lake]\ntype = file\npath = lake\nlinger = 50ms\nbatch_count = 25\n"
              f"compression = {compression}\n[route archive]\nstream = s\ntarget = lake\n")
    host = beside_local.start()
    for version in range(1, 11):
        for item in range(20):
            put(local, table, f"i{item}", version)
        if version % 3 == 0:
            host.kill()
            visible = [path for path in lake.rglob("*") if path.is_file() and not path.name.startswith(".")]
            lake_events({str(path): path.read_bytes() for path in visible})  # each of them is whole
            host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    assert host.stop() == 0
    files = {str(path): path.read_bytes() for path in lake.rglob("*") if path.is_file() and not path.name.startswith(".")}
    assert files and all(path.endswith(suffix) for path in files)
    check_lake(files, table)


def test_many_routes_write_into_one_lake(beside_local, local, name):
    table = local.table(name())
    lake = beside_local.directory / "lake"
    routes = "".join(f"[route {route}]\nstream = s\ntarget = lake\n" for route in ("left", "right"))
    configure(beside_local, table, f"[target lake]\ntype = file\npath = lake\nlinger = 50ms\nbatch_count = 25\n{routes}")
    host = beside_local.start()
    for version in range(1, 11):
        for item in range(20):
            put(local, table, f"i{item}", version)
        if version % 3 == 0:
            host.kill()
            host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    assert host.stop() == 0
    files = {str(path): path.read_bytes() for path in lake.rglob("*") if path.is_file() and not path.name.startswith(".")}
    sides = {side: {path: data for path, data in files.items() if f"-{side}.jsonl" in path or f"-{side}-" in path} for side in ("left", "right")}
    assert len(files) == sum(len(its) for its in sides.values()), sorted(files)
    for its in sides.values():
        check_lake(its, table)


def test_a_full_disk_is_waited_for(beside_local, local, name):
    table = local.table(name())
    (beside_local.directory / "lake").write_text("in the way")  # a directory cannot be made here
    configure(beside_local, table, "[target lake]\ntype = file\npath = lake\nlinger = 0\nbackoff = 20ms..50ms\n"
              "retries = -1\n[route archive]\nstream = s\ntarget = lake\n")
    write(local, table, 5, 1)
    host = beside_local.start()
    host.wait_for(": Not a directory")
    (beside_local.directory / "lake").unlink()
    wait_until(beside_local.settled, "everything is settled")
    assert host.stop() == 0 and len(lake_events(
        {str(path): path.read_bytes() for path in (beside_local.directory / "lake").rglob("*.gz")})) == 5


def test_what_time_to_live_deletes_is_archived_and_nothing_else(beside_local, local, name):
    table = local.table(name())
    local.client.update_time_to_live(TableName=table, TimeToLiveSpecification=dict(Enabled=True, AttributeName="expires"))
    example = (ROOT / "examples" / "ttl_archive" / "tidemill.ini").read_text()
    pattern, = re.findall(r"(?m)^pattern.*$", example)
    configure(beside_local, table, "[target archive]\ntype = file\npath = archive\nlinger = 50ms\n"
              f"[route expired]\nstream = s\ntarget = archive\n{pattern}\n")
    host = beside_local.start()
    put(local, table, "by hand", 1, expires={"N": str(int(time.time()) + 3600)})
    put(local, table, "expired", 2, expires={"N": str(int(time.time()) - 60)})
    local.client.delete_item(TableName=table, Key={"id": {"S": "by hand"}})
    archive = beside_local.directory / "archive"
    files = wait_until(lambda: list(archive.rglob("*.gz")), "it is archived")
    event, = [json.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    assert event["dynamodb"]["OldImage"]["id"]["S"] == "expired"
    assert event["userIdentity"] == {"principalId": "dynamodb.amazonaws.com", "type": "Service"}
    wait_until(beside_local.settled, "everything is settled")
    assert host.stop() == 0


# ---- failure destinations ----

FAILING = """
return { stream = "s", retries = 1, backoff = "5ms..10ms", on_failure = "failures", on_record = function(record)
  if record.new.id == "bad" then error("no good") end
end }
"""


def failure_record(body, table, attempts):
    """Checks the shape that Lambda uses; returns the payload's record."""
    context, info = body["requestContext"], body["DDBStreamBatchInfo"]
    assert context["condition"] == "RetryAttemptsExhausted" and context["approximateInvokeCount"] == attempts
    assert context["functionArn"] == "h" and context["requestId"]
    assert body["version"] == "1.0" and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", body["timestamp"])
    assert body["responseContext"]["functionError"] == "Unhandled" and "no good" in body["responseContext"]["errorMessage"]
    assert info["batchSize"] == 1 and info["shardId"].startswith("shardId-")
    assert info["startSequenceNumber"] == info["endSequenceNumber"]
    assert f":table/{table}/stream/" in info["streamArn"]
    for key in ("approximateArrivalOfFirstRecord", "approximateArrivalOfLastRecord"):
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", info[key])
    if "payload" not in body:
        return None
    record, = json.loads(body["payload"])["Records"]
    assert record["dynamodb"]["SequenceNumber"] == info["startSequenceNumber"]
    return record


def test_what_fails_goes_to_a_queue_whole_or_with_a_pointer(beside_local, local, name, service, emulators):
    table, queue = local.table(name()), emulators.queue(name("q"))
    sqs = service(Proxy, "sqs", emulators.port, **FAULTS)
    beside_local.script("h", FAILING)
    configure(beside_local, table, f"[target failures]\ntype = sqs\nqueue = {queue}\nspill = big\n{FAST}"
              "[target big]\ntype = file\npath = spilled\n", sqs=sqs.url)
    put(local, table, "bad", 1)
    put(local, table, "good", 1)
    put(local, table, "bad", 2, text={"S": '"' * 180000})
    put(local, table, "bad", 3, text={"S": '"' * 180000})  # with both images more than SQS ever takes
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    bodies = [json.loads(message["Body"]) for message in emulators.messages(queue)]
    bodies = {body["DDBStreamBatchInfo"]["startSequenceNumber"]: body for body in bodies}
    assert len(bodies) == 3 and not beside_local.status()["dead_letters"]
    small, large, huge = sorted(bodies.values(), key=lambda body: int(body["DDBStreamBatchInfo"]["startSequenceNumber"]))
    assert of_record(failure_record(small, table, 2)) == ("bad", 1)
    assert of_record(failure_record(large, table, 2)) == ("bad", 2)  # larger than a batch: it goes alone
    assert failure_record(huge, table, 2) is None
    path = huge["payloadLocation"].removeprefix("file://")
    record, = json.loads(open(path).read())["Records"]
    assert of_record(record) == ("bad", 3)
    assert host.stop() == 0


def test_what_the_destination_refuses_is_a_dead_letter(beside_local, local, name, service):
    table = local.table(name())

    def function(event):
        raise RuntimeError("no failures please")
    lambda_ = service(Lambda, function)
    beside_local.script("h", FAILING)
    configure(beside_local, table, "[target failures]\ntype = lambda\nfunction = f\n", **{"lambda": lambda_.url})
    put(local, table, "bad", 1)
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    letters = json.loads(beside_local.run("dead", "list", "--json").stdout)
    assert len(letters) == 1 and "no good (on_failure = failures: the function failed: RuntimeError: no failures please)" \
        in json.dumps(letters), letters
    assert host.stop() == 0
    # It is there until the destination takes it.
    taken = []
    lambda_.function = taken.append
    host = beside_local.start()
    wait_until(lambda: taken and json.loads(beside_local.run("dead", "list", "--json").stdout) == [], "it is taken")
    assert of_record(failure_record(taken[0], table, 2)) == ("bad", 1)
    assert host.stop() == 0 and len(taken) == 1


def test_failures_in_a_lake_are_objects_of_their_own(beside_local, local, name, service, emulators):
    table, bucket = local.table(name()), emulators.bucket(name("bucket").lower())
    s3 = service(Proxy, "s3", emulators.port, refuse=0.2, lose=0.2)
    beside_local.script("h", FAILING)
    configure(beside_local, table, f"[target failures]\ntype = s3\nbucket = {bucket}\n{FAST}", s3=s3.url)
    put(local, table, "bad", 1)
    host = beside_local.start()
    wait_until(beside_local.settled, "everything is settled")
    (key, content), = emulators.objects(bucket).items()
    assert re.match(r"failures/h/shardId-[^/]+/\d{4}/\d\d/\d\d/\d+\.json$", key), key
    assert of_record(failure_record(json.loads(content), table, 2)) == ("bad", 1)
    assert host.stop() == 0


def test_a_target_that_is_gone_spends_attempts_and_then_letters(beside_local, local, name):
    table = local.table(name())
    configure(beside_local, table, "[target hook]\ntype = http\nurl = http://127.0.0.1:9/\nretries = 1\nbackoff = 1ms..2ms\n"
              "[route r]\nstream = s\ntarget = hook\nretries = 2\nbackoff = 1ms..2ms\n")
    write(local, table, 3, 1)
    host = beside_local.start()
    wait_until(lambda: len(json.loads(beside_local.run("dead", "list", "--json").stdout or "[]")) == 3, "three dead letters")
    assert host.stop() == 0


def test_an_outage_costs_time_and_nothing_else(beside_local, local, name, service):
    table = local.table(name())
    bus, receiver = service(EventBridge, refuse=1), service(Receiver)
    receiver.answer = lambda request: (503, {})
    configure(beside_local, table, "[target bus]\ntype = eventbridge\nbackoff = 5ms..20ms\n"
              f"[target hook]\ntype = http\nurl = {receiver.url}\nbackoff = 5ms..20ms\n[target disk]\ntype = file\npath = x\n"
              "backoff = 5ms..20ms\nlinger = 0\n"
              "[route r]\nstream = s\ntarget = bus\nretries = 0\n[route h]\nstream = s\ntarget = hook\nretries = 0\n"
              "[route d]\nstream = s\ntarget = disk\nretries = 0\n", events=bus.url)
    (beside_local.directory / "x").write_text("in the way")
    write(local, table, 10, 2)
    host = beside_local.start()
    wait_until(lambda: bus.refusals > 20 and len(receiver.requests) > 20, "many attempts")
    host.wait_for("trying again (")
    # It stops cleanly although nothing can be delivered; what was under way comes again.
    assert host.stop() == 0 and not any("shutdown_timeout" in message for message in host.messages())
    assert not beside_local.status()["dead_letters"], beside_local.status()["dead_letters"]
    host = beside_local.start()
    bus.faults.refuse = 0
    receiver.answer = lambda request: (200, {})
    (beside_local.directory / "x").unlink()
    wait_until(beside_local.settled, "everything is settled")
    assert not beside_local.status()["dead_letters"], beside_local.status()["dead_letters"]
    assert {of_record(json.loads(event["Detail"])) for event in bus.events} == expected(10, 2)
    assert host.stop() == 0


# ---- configuration ----

MISTAKES = [
    ("[target t]\n", "[target t] needs a type, such as type = eventbridge"),
    ("[target t]\ntype = sqs\n", "[target t] type = sqs needs queue"),
    ("[target t]\ntype = sqs\nqueue = orders\n", "queue: the URL of an SQS queue expected"),
    ("[target t]\ntype = kafka\n", "\"kafka\" is none of eventbridge, sqs"),
    ("[target t]\ntype = stdout\nbuss = x\n", "[target t] buss is not a known key (did you mean bus?)"),
    ("[target t]\ntype = stdout\nbus = x\n", "bus is not for type = stdout"),
    ("[target dead]\ntype = stdout\n", "the name is taken"),
    ("[target t]\ntype = sns\ntopic = arn:aws:sns:eu-west-1:1:t\nspill = nowhere\n", "spill: the name of an s3 or file target expected"),
    ("[route r]\nstream = s\n", "[route r] needs a target"),
    ("[route r]\nstream = s\ntarget = nowhere\n", "there is no [target nowhere]"),
    ("[target t]\ntype = stdout\n[route r]\ntarget = t\n", "[route r] needs a stream"),
    ("[target t]\ntype = stdout\n[route r]\nstream = s\ntarget = t\npatern = {}\n", "patern is not a known key (did you mean pattern?)"),
    ("[target t]\ntype = stdout\n[route r]\nstream = s\ntarget = t\ncpu_limit = 1s\n", "cpu_limit is not a known key"),
    ("[target t]\ntype = stdout\n[route r]\nstream = s\ntarget = t\npattern = {\"eventName\": \"INSERT\"}\n", "[route r] pattern"),
    ("[target t]\ntype = stdout\n[route r]\nstream = s\ntarget = t\ninput_template = {\"a\": <b>}\n", "input_paths has no \"b\""),
    ("[target t]\ntype = stdout\n[route r]\nstream = s\ntarget = t\ninput_path = dynamodb\n", "\"dynamodb\" is no path"),
    ("[target t]\ntype = stdout\n[route r]\nstream = s\ntarget = t\nimage = newest\n", "\"newest\" is none of record, new"),
    ("[target t]\ntype = stdout\n[route h]\nstream = s\ntarget = t\n", "there is a script"),
    ("[target t]\ntype = stdout\n[handler h]\non_failure = tt\n", "\"tt\" is neither dead, nor discard, nor the name of a [target ...]"),
]


@pytest.mark.parametrize("text,message", MISTAKES)
def test_mistakes_in_the_ini_are_named_with_their_line(beside_local, text, message):
    beside_local.script("h", "return { stream = 's', on_record = function() end }")
    beside_local.stream("T", text)
    done = beside_local.run("check")
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert re.search(r"tidemill\.ini:\d+: ", done.stderr), done.stderr


def test_an_unknown_target_is_an_error_of_the_record(beside_local, local, name):
    table = local.table(name())
    beside_local.script("h", """return { stream = "s", retries = 0, on_record = function(record)
        require("tidemill.emit")("buss", {}) end }""")
    configure(beside_local, table, "[target bus]\ntype = stdout\n")
    put(local, table, "a", 1)
    host = beside_local.start()
    host.wait_for("there is no [target buss] (did you mean bus?)")
    assert host.stop() == 0


def test_a_target_that_changes_under_sighup_is_used_from_then_on(beside_local, local, name, service):
    table = local.table(name())
    first, second = service(Receiver), service(Receiver)
    text = "[target hook]\ntype = http\nurl = {}\n[route r]\nstream = s\ntarget = hook\n"
    configure(beside_local, table, text.format(first.url))
    host = beside_local.start()
    put(local, table, "a", 1)
    wait_until(lambda: first.requests, "the first gets it")
    configure(beside_local, table, text.format(second.url))
    host.process.send_signal(1)
    host.wait_for("handler r: version")
    put(local, table, "b", 1)
    wait_until(lambda: second.requests, "the second gets it")
    configure(beside_local, table, "")
    host.process.send_signal(1)
    host.wait_for("handler r has stopped")
    assert len(first.requests) == 1 and len(second.requests) == 1
    assert host.stop() == 0
