"""What is kept as a table is: another table (type = dynamodb), and an index of OpenSearch (a stub that knows the one script there is)."""
import json
import random

import pytest

from conftest import wait_until
from services import OpenSearch

EMIT = """
local emit, json, http = require "tidemill.emit", require "tidemill.json"
local kept = {}
return { stream = "s", targets = { "copy" }, retries = 0, concurrency = 1, on_record = function(record)
  %s
end }
"""


def configure(deployment, table, copy, more="", target="", **host):
    deployment.stream(table, f"[target copy]\ntype = dynamodb\ntable = {copy}\nbackoff = 10ms..50ms\n{target}{more}", **host)


def items(local, table):
    found = {item["id"]["S"]: item for page in local.client.get_paginator("scan").paginate(TableName=table) for item in page["Items"]}
    versions = {key: item.pop("tidemill_sequence", {"S": ""})["S"] for key, item in found.items()}
    return found, versions


@pytest.mark.parametrize("keep", ["0", "30d"])
def test_a_copy_ends_as_its_table(beside_local, local, name, keep):
    deployment, table, copy = beside_local, local.table(name()), local.table(name("Copy"), stream=False)
    deployment.script("h", "return { stream = 's', on_record = function() end }")
    configure(deployment, table, copy, "[route all]\nstream = s\ntarget = copy\n", f"keep_removed = {keep}\n")
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    dice = random.Random(7)
    host = deployment.start()
    for step in range(120):
        item = f"i{dice.randrange(12)}"
        if dice.random() < 0.3:
            local.client.delete_item(TableName=table, Key={"id": {"S": item}})
        else:
            local.client.put_item(TableName=table, Item={"id": {"S": item}, "n": {"N": str(10**37 + step)}, "b": {"B": bytes([step, 255])}, "s": {"SS": ["x", "y" * dice.randrange(1, 9)]},
                                                         "m": {"M": {"ü\n": {"L": [{"NULL": True}, {"BOOL": False}, {"S": 'a"b\x00'}]}}}, "tidemill_sequence": {"S": "its own"}})
        if step % 40 == 20:
            host.kill()
            host = deployment.start()
    original, _ = items(local, table)
    live = lambda: {key: item for key, item in items(local, copy)[0].items() if "tidemill_expires" not in item}
    wait_until(lambda: live() == original and deployment.settled(), "the copy is as its table")
    assert host.stop() == 0
    copied, versions = items(local, copy)
    traces = {key for key, item in copied.items() if "tidemill_expires" in item}
    assert bool(traces) == (keep != "0") and not traces & set(original)
    assert all(set(copied[key]) == {"id", "tidemill_expires"} for key in traces)
    assert {key: item for key, item in copied.items() if key not in traces} == original and original
    assert all(len(version) == 40 and version.isdigit() for version in versions.values())


@pytest.mark.parametrize("keep", ["0", "1d"])
def test_an_older_record_changes_nothing(beside_local, local, name, keep):
    """As a dead letter that is redriven: the first version once more, after the second; and after the removal."""
    deployment, table, copy = beside_local, local.table(name()), local.table(name("Copy"), stream=False)
    deployment.script("h", EMIT % """kept[#kept + 1] = record.raw
  emit("copy", record.raw)
  if #kept > 1 then emit("copy", kept[1], { key = "another" }) emit("copy", record.raw, { key = "third" }) end""")
    configure(deployment, table, copy, target=f"keep_removed = {keep}\n")
    host = deployment.start()
    for version in ("1", "2"):
        local.client.put_item(TableName=table, Item={"id": {"S": "a"}, "n": {"N": version}})
    wait_until(lambda: deployment.settled() and items(local, copy)[0].get("a", {}).get("n") == {"N": "2"}, "the newer one is there")
    local.client.delete_item(TableName=table, Key={"id": {"S": "a"}})
    wait_until(lambda: items(local, copy)[0].get("a", {}).get("n") != {"N": "2"}, "it is gone")
    wait_until(deployment.settled, "all is settled")
    left = items(local, copy)[0]
    if keep != "0":
        assert set(left["a"]) == {"id", "tidemill_expires"}
    assert deployment.run("dead", "list").stdout == "no dead letters\n"
    assert host.stop() == 0


def test_what_is_no_record_and_what_would_never_end_is_told(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", EMIT % """if record.keys.id == "own" then emit("copy", record.raw)
  elseif record.keys.id == "bare" then emit("copy", { id = "x" })
  elseif record.keys.id == "text" then emit("copy", "no JSON")
  else local raw = record.raw raw.dynamodb.NewImage = nil emit("copy", raw) end""")
    configure(deployment, table, table)
    host = deployment.start()
    for item in ("own", "bare", "text", "keys"):
        local.client.put_item(TableName=table, Item={"id": {"S": item}})
    letters = wait_until(lambda: len(found := json.loads(deployment.run("dead", "list", "--json").stdout or "[]")) == 4 and found, "all are letters")
    told = {json.loads(letter["keys"])["id"]["S"] if isinstance(letter["keys"], str) else letter["keys"]["id"]["S"]: letter["error"] for letter in letters}
    assert "would be copied into itself" in told["own"] and "the record has no NewImage" in told["keys"]
    assert "a stream's record expected" in told["bare"] and "a stream's record expected" in told["text"]
    assert host.stop() == 0


def test_a_key_gives_the_order_and_is_none_of_the_versions(beside_local, local, name):
    deployment, table, copy = beside_local, local.table(name()), local.table(name("Copy"), stream=False)
    deployment.script("h", """
local emit = require "tidemill.emit"
return { stream = "s", targets = { "copy" }, retries = 0, on_batch = function(records)
  for _, record in ipairs(records) do emit("copy", record.raw, { key = record.keys.id ~= "bare" and record.keys.id or nil }) end
end }""")
    configure(deployment, table, copy)
    host = deployment.start()
    for item in ("a", "bare"):
        local.client.put_item(TableName=table, Item={"id": {"S": item}})
    # Without one nothing says which of a batch's records come after each other; alone a record has its item's.
    wait_until(lambda: set(items(local, copy)[0]) == {"a", "bare"}, "both are copied")
    assert host.stop() == 0
    deployment.ini.write_text(deployment.ini.read_text().replace("type = dynamodb\n", "type = dynamodb\nversion = id\n"))
    host = deployment.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "b"}})
    wait_until(lambda: any("it is a part of the key" in letter["error"] for letter in json.loads(deployment.run("dead", "list", "--json").stdout or "[]")), "that is told")
    assert host.stop() == 0


def test_what_does_not_go_with_it_is_told(deployment):
    deployment.dynamodb = type("D", (), {"url": "http://127.0.0.1:1"})
    deployment.script("h", "return { stream = 's', on_record = function() end }")
    configure(deployment, "Orders", "arn:aws:dynamodb:eu-west-1:210987654321:table/Copy", "[stream other]\ntable = Users\n[route all]\nstream = s\ntarget = copy\n")
    good = deployment.ini.read_text()
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    policy = deployment.run("policy")
    granted = {statement["Resource"]: statement["Action"] for statement in json.loads(policy.stdout)["Statement"] if isinstance(statement["Resource"], str)}
    assert granted["arn:aws:dynamodb:eu-west-1:210987654321:table/Copy"] == ["dynamodb:DeleteItem", "dynamodb:PutItem"]
    for old, new, told in (("target = copy\n", "target = copy\nimage = new\n", "takes whole records"), ("target = copy\n", "target = copy\ninput_path = $.dynamodb\n", "takes whole records"),
                           ("table = arn:", "tabel = arn:", "tabel"), (":table/Copy", "", "table: a table's name or ARN expected"), ("backoff", "version = tidemill_expires\nbackoff", "is the time to live"),
                           ("backoff", "keep_removed = -1s\nbackoff", "keep_removed"), ("stream = s\ntarget = copy", "stream = s, other\ntarget = copy", "no common order")):
        deployment.ini.write_text(good.replace(old, new))
        done = deployment.run("check")
        assert done.returncode == 2 and told in done.stderr, (new, done.stderr)


@pytest.fixture
def opensearch():
    started = []

    def start(**options):
        started.append(OpenSearch(**options))
        return started[-1]

    yield start
    for service in started:
        service.stop()


def index(deployment, table, service, more="", target="signed = es\n", **host):
    deployment.environment["AWS_SECRET_ACCESS_KEY"] = "secret"
    deployment.stream(table, f"[target search]\ntype = opensearch\nurl = {service.url}/\nindex = things\nbackoff = 10ms..50ms\n{target}{more}", **host)


@pytest.mark.parametrize("how", ["signed", "basic"])
def test_an_index_ends_as_its_table(beside_local, local, name, opensearch, how):
    """Though requests and entries are refused, answers lost, and the host is killed."""
    deployment, table = beside_local, local.table(name())
    service = opensearch() if how == "signed" else opensearch(signed=False, basic="Basic dXNlcjpwYXNz")
    deployment.script("h", "return { stream = 's', on_record = function() end }")
    index(deployment, table, service, "[route all]\nstream = s\ntarget = search\n", "signed = es\n" if how == "signed" else "authorization = Basic dXNlcjpwYXNz\n")
    assert deployment.run("check").returncode == 0, deployment.run("check").stderr
    service.faults.entries, service.faults.refuse, service.faults.lose, service.faults.cut = 0.2, 0.1, 0.1, 0.1
    dice = random.Random(11)
    host = deployment.start()
    wanted = {}
    for step in range(150):
        item = f"i{dice.randrange(15)}"
        if dice.random() < 0.3:
            local.client.delete_item(TableName=table, Key={"id": {"S": item}})
            wanted.pop(item, None)
        else:
            wanted[item] = {"id": item, "n": step, "tags": ["x"], "m": {"ü\n": [None, False, 'a"b']}}
            local.client.put_item(TableName=table, Item={"id": {"S": item}, "n": {"N": str(step)}, "tags": {"SS": ["x"]}, "m": {"M": {"ü\n": {"L": [{"NULL": True}, {"BOOL": False}, {"S": 'a"b'}]}}},
                                                         "tidemill_sequence": {"S": "its own"}})
        if step % 50 == 25:
            before = len(service.requests)
            wait_until(lambda: len(service.requests) > before, "it is at work")
            host.kill()
            host = deployment.start()

    def documents():
        with service.lock:
            return {key: {name: value for name, value in source.items() if name != "tidemill_sequence"} for (_, key), source in service.documents.items()}
    wait_until(lambda: documents() == wanted and deployment.settled(), lambda: f"the index is as its table: {documents()} {wanted}")
    assert host.stop() == 0
    assert all(index == "things" and len(source["tidemill_sequence"]) == 40 for (index, _), source in service.documents.items())
    assert deployment.run("dead", "list").stdout == "no dead letters\n"


def test_an_older_document_changes_nothing_and_one_that_does_not_fit_is_a_letter(beside_local, local, name, opensearch):
    deployment, table, service = beside_local, local.table(name()), opensearch()
    deployment.script("h", """
local emit, dynamodb = require "tidemill.emit", require "tidemill.dynamodb"
local kept = {}
return { stream = "s", targets = { "search" }, retries = 0, concurrency = 1, on_record = function(record)
  kept[#kept + 1] = record.raw
  emit("search", record.raw)
  if record.keys.id == "a" and #kept > 1 then emit("search", kept[1], { key = "another" }) end
  if record.keys.id == "own" then
    emit("search", { id = "made", document = { title = "by hand", tidemill_sequence = "x" } })
    emit("search", { id = "free", document = { title = "free" }, version = false })
    emit("search", { id = "none", document = dynamodb.null, version = false })
  end
end }""")
    index(deployment, table, service)
    host = deployment.start()
    for item in ({"id": {"S": "a"}, "n": {"N": "1"}}, {"id": {"S": "a"}, "n": {"N": "2"}}, {"id": {"S": "ill"}, "price": {"S": "much"}}, {"id": {"S": "own"}}):
        local.client.put_item(TableName=table, Item=item)
    letters = wait_until(lambda: json.loads(deployment.run("dead", "list", "--json").stdout or "[]"), "one is a letter")
    wait_until(lambda: ("things", "free") in service.documents and deployment.settled(), "the others are there")
    assert "mapper_parsing_exception: failed to parse field [price]" in letters[0]["error"] and len(letters) == 1
    assert service.documents["things", "a"]["n"] == 2 and service.documents["things", "free"] == {"title": "free"}
    made = service.documents["things", "made"]
    assert made["title"] == "by hand" and len(made["tidemill_sequence"]) == 40
    # The letter, redriven when the price is a number, and meanwhile there is a newer one.
    local.client.put_item(TableName=table, Item={"id": {"S": "ill"}, "price": {"N": "5"}})
    wait_until(lambda: ("things", "ill") in service.documents, "it fits now")
    assert deployment.run("dead", "redrive", "--all").returncode == 0
    wait_until(lambda: deployment.run("dead", "list").stdout == "no dead letters\n", "the older one is taken, and changes nothing")
    assert service.documents["things", "ill"]["price"] == 5
    assert host.stop() == 0


def test_documents_have_the_keys_as_ids_and_a_missing_index_is_waited_for(beside_local, local, name):
    deployment = beside_local
    table = name()
    local.client.create_table(TableName=table, KeySchema=[dict(AttributeName="a", KeyType="HASH"), dict(AttributeName="b", KeyType="RANGE")], BillingMode="PAY_PER_REQUEST",
                              AttributeDefinitions=[dict(AttributeName="a", AttributeType="S"), dict(AttributeName="b", AttributeType="S")], StreamSpecification=dict(StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES"))
    service = OpenSearch(signed=False)
    work, missing = service.work, [True]

    def answer(request):
        return (404, {}, b'{"error":{"type":"index_not_found_exception"}}') if missing else work(request)
    service.work = answer
    deployment.script("h", """local dynamodb, emit = require "tidemill.dynamodb", require "tidemill.emit"
return { stream = "s", targets = { "search" }, on_record = function(record)
  emit("search", { id = "own " .. dynamodb.key_text(record.keys), document = { id = dynamodb.key_text(record.keys) }, version = false }) end }""")
    index(deployment, table, service, "[route all]\nstream = s\ntarget = search\n", "")
    host = deployment.start()
    keys = [("x", "y|z"), ("x|y", "z"), ("x#y", "z"), ("x", "y#z"), ("ü/%", " "), ("l" * 600, "z")]
    for a, b in keys:
        local.client.put_item(TableName=table, Item={"a": {"S": a}, "b": {"S": b}})
    host.wait_for("index_not_found_exception")
    missing.clear()
    wait_until(lambda: len(service.documents) == 11 and deployment.settled(), "all are there, but for what is too long as an id of one's own")
    own = {document["id"] for document in service.documents.values() if "id" in document}
    assert own < {id for _, id in service.documents} and len(own) == 5
    letters = json.loads(deployment.run("dead", "list", "--json").stdout)
    assert len(letters) == 1 and "1 to 512 bytes" in letters[0]["error"]
    assert host.stop() == 0
    service.stop()


@pytest.mark.parametrize("message, told", [
    ('{ id = "" }', "1 to 512 bytes"), ('{ id = "x", document = "text" }', "an object expected"), ('{ id = "x", document = {}, colour = 1 }', 'no "colour"'),
    ('{ id = "x", document = {}, version = "new" }', "a sequence number expected"), ('"no JSON"', "a stream's record expected"), ('{ document = {} }', "a stream's record expected")])
def test_what_is_no_document_is_told(beside_local, local, name, opensearch, message, told):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", f'return {{ stream = "s", targets = {{ "search" }}, retries = 0, on_record = function(record) require("tidemill.emit")("search", {message}) end }}')
    index(deployment, table, opensearch())
    host = deployment.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    letters = wait_until(lambda: json.loads(deployment.run("dead", "list", "--json").stdout or "[]"), "it is a letter")
    assert told in letters[0]["error"], letters
    assert host.stop() == 0


@pytest.mark.parametrize("target, told", [
    ("signed = es\nauthorization = Basic x\n", "one of them expected"), ("role = arn:aws:iam::123456789012:role/x\n", "role and region are for signed = es"),
    ("signed = aoss\n", "signed"), ("index = Up/Down\n", "index:"), ("url = opensearch://x\n", "http:// or https://"), ("url = https://user:pw@x\n", "authorization = Basic")])
def test_what_an_index_needs_is_checked(beside_local, target, told):
    lines = dict(line.split(" = ", 1) for line in f"url = https://search-shop-things-abc123.eu-central-1.es.amazonaws.com\nindex = things\n{target}".splitlines())
    beside_local.stream("Things", "[target search]\ntype = opensearch\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()) + "[route all]\nstream = s\ntarget = search\n")
    done = beside_local.run("check")
    assert done.returncode != 0 and told in done.stderr and "pw" not in done.stderr, done.stderr


def test_its_rights_are_those_of_its_domain(beside_local):
    def policy(url, more):
        beside_local.stream("Things", f"[target search]\ntype = opensearch\nurl = {url}\nindex = things\n{more}[route all]\nstream = s\ntarget = search\n")
        done = beside_local.run("policy")
        assert done.returncode == 0, done.stderr
        return done.stdout
    known = policy("https://search-shop-things-abc123.eu-central-1.es.amazonaws.com", "signed = es\n")
    assert "es:ESHttpPost" in known and "arn:aws:es:eu-central-1:*:domain/shop-things/*" in known, known
    assert "arn:aws:es:eu-west-1:*:domain/*/*" in policy("https://search.example.com", "signed = es\n")
    assert "es:" not in policy("https://search.example.com", "authorization = Basic x\n")
