"""[host] otlp: spans, as a collector gets them."""
import http.server
import json
import re
import subprocess
import threading

import pytest

from conftest import ROOT, npm_packages, wait_until
from services import Http
from test_chaos import Relay, RelayHandler
from test_metrics import get, port_of, series

HANDLER = """
local dynamodb, http, emit = require "tidemill.dynamodb", require "tidemill.http", require "tidemill.emit"
return {{ stream = "s", targets = {{ "web" }}, retries = 2, backoff = "10ms..10ms", on_record = function(record)
  dynamodb.put("{out}", {{ id = record.keys.id }})
  http.get("{url}called")
  emit("web", {{ id = record.keys.id }})
  if record.keys.id == "bad" and record.attempt < 2 then error("once more") end
end }}"""


class Collector:
    """Keeps what it is given; `status` is what it answers."""

    def __init__(self):
        collector = self
        self.bodies, self.status, self.lock = [], 200, threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with collector.lock:
                    if collector.status == 200 and self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json":
                        collector.bodies.append(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def spans(self):
        with self.lock:
            return [span for body in self.bodies for resource in json.loads(body)["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]]

    def verify(self):
        done = subprocess.run(["node", ROOT / "tests" / "integration" / "otlp.cjs", npm_packages("otlp")], input=json.dumps(self.bodies), capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == []


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Listening(RelayHandler):
    """Remembers the trace that each request is in."""

    def do_POST(self):
        self.server.traces.append((self.headers["X-Amz-Target"].rpartition(".")[2], self.headers["X-Amzn-Trace-Id"]))
        super().do_POST()


def begin(deployment, local, name, collector, sample="1", more="", **host):
    table, out = local.table(name()), local.table(name("Out"), stream=False)
    relay, sink, called = Relay(local.port), Http(), Http()
    relay.RequestHandlerClass, relay.traces = Listening, []
    deployment.script("h", HANDLER.format(out=out, url=called.url))
    deployment.aws = f"endpoint_dynamodb = {relay.url}"
    deployment.stream(table, f"[target web]\ntype = http\nurl = {sink.url}\n{more}", otlp=collector.url, otlp_sample=sample, threads=1, **host)
    return table, relay, sink, called


def attributes(span):
    return {one["key"]: one["value"]["stringValue"] for one in span["attributes"]}


def test_one_trace_from_a_writers_item_to_everything_that_comes_of_it(beside_local, local, name, collector):
    table, relay, sink, called = begin(beside_local, local, name, collector, sample="0")
    host = beside_local.start()
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    local.client.put_item(TableName=table, Item={"id": {"S": "a"}, "traceparent": {"S": f"00-{trace}-{parent}-01"}})
    local.client.put_item(TableName=table, Item={"id": {"S": "b"}, "traceparent": {"S": f"00-{trace}-{parent}-00"}})  # not sampled
    local.client.put_item(TableName=table, Item={"id": {"S": "c"}})  # begins here: none are sampled
    wait_until(lambda: len(sink.seen) == 3, "all is delivered")
    assert host.stop() == 0, "what is left is sent before it ends"
    spans = {span["name"]: span for span in collector.spans()}
    assert set(spans) == {"handle h", "DynamoDB.PutItem", "GET", "send web"} and len(collector.spans()) == 4, spans
    handled = spans["handle h"]
    assert {span["traceId"] for span in spans.values()} == {trace}
    assert handled["parentSpanId"] == parent and {spans[part]["parentSpanId"] for part in ("DynamoDB.PutItem", "GET", "send web")} == {handled["spanId"]}
    assert attributes(handled)["aws.dynamodb.table_names"] == table and attributes(handled)["tidemill.attempt"] == "1" and "status" not in handled
    assert [int(handled["startTimeUnixNano"]) <= int(spans[part]["startTimeUnixNano"]) <= int(spans[part]["endTimeUnixNano"]) <= int(handled["endTimeUnixNano"])
            for part in ("DynamoDB.PutItem", "GET", "send web")] == [True] * 3
    sent = [header for operation, header in relay.traces if operation == "PutItem"]
    assert sorted(header for header in sent if header) == [f"Root=1-{trace[:8]}-{trace[8:]};Parent={spans['DynamoDB.PutItem']['spanId']};Sampled=1"] and len(sent) == 3
    assert sorted(headers.get("traceparent", "") for headers in called.headers) == ["", "", f"00-{trace}-{spans['GET']['spanId']}-01"]
    assert sorted(headers.get("traceparent", "") for headers in sink.headers) == ["", "", f"00-{trace}-{spans['send web']['spanId']}-01"]
    collector.verify()


def test_attempts_of_a_record_are_one_trace_and_say_what_went_wrong(beside_local, local, name, collector):
    table, relay, sink, called = begin(beside_local, local, name, collector, sample="1")
    host = beside_local.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "bad"}})
    local.client.put_item(TableName=table, Item={"id": {"S": "x"}, "AWSTraceHeader": {"S": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}})
    wait_until(lambda: len(sink.seen) == 2, "all is delivered")
    assert host.stop() == 0
    handled = sorted((span for span in collector.spans() if span["name"] == "handle h"), key=lambda span: int(span["startTimeUnixNano"]))
    bad = [span for span in handled if span["traceId"] != "5759e988bd862e3fe1be46a994272793"]
    assert len(handled) == 3 and len(bad) == 2 and len({span["traceId"] for span in bad}) == 1 and "parentSpanId" not in bad[0]
    assert bad[0]["status"]["code"] == 2 and "once more" in bad[0]["status"]["message"] and "status" not in bad[1]
    assert [span["parentSpanId"] for span in handled if span not in bad] == ["53995c3f42cd8ad8"]
    collector.verify()


def test_a_share_is_sampled_and_always_the_same(beside_local, local, name, collector):
    table, relay, sink, called = begin(beside_local, local, name, collector, sample="0.25")
    host = beside_local.start()
    for i in range(200):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i}"}})
    wait_until(lambda: len(sink.seen) == 200, "all is delivered")
    assert host.stop() == 0
    first = {span["traceId"] for span in collector.spans() if span["name"] == "handle h"}
    assert 20 < len(first) < 80
    beside_local.run("seek", "h", "trim_horizon")
    host = beside_local.start()
    wait_until(lambda: len(sink.seen) == 400, "all is delivered once more")
    assert host.stop() == 0
    assert {span["traceId"] for span in collector.spans() if span["name"] == "handle h"} == first
    collector.verify()


def test_a_collector_that_is_away_holds_nothing_back(beside_local, local, name, collector):
    table, relay, sink, called = begin(beside_local, local, name, collector, sample="1", listen="127.0.0.1:0")
    collector.status = 400
    host = beside_local.start()
    port = port_of(host)
    for i in range(20):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i}"}})
    wait_until(lambda: len(sink.seen) == 20, "all is delivered")
    wait_until(lambda: series(get(port, "/metrics")[2]).get('tidemill_spans_total{result="dropped"}', 0) > 0, "it is counted")
    assert sum("spans that it does not take are dropped" in line for line in host.messages()) == 1
    collector.status = 200
    local.client.put_item(TableName=table, Item={"id": {"S": "more"}})
    wait_until(lambda: series(get(port, "/metrics")[2]).get('tidemill_spans_total{result="sent"}', 0) > 0, "it takes them again")
    collector.server.shutdown()
    collector.server.server_close()
    local.client.put_item(TableName=table, Item={"id": {"S": "last"}})
    wait_until(lambda: len(sink.seen) == 22, "all is delivered")
    assert host.stop() == 0


@pytest.mark.parametrize("settings,said", [({"otlp_sample": "2"}, '"2" is no share'), ({"otlp_sample": "x"}, '"x" is no share'), ({"otlp": "collector:4318"}, "otlp")])
def test_wrong_settings_are_told(beside_local, local, name, settings, said):
    beside_local.script("h", "return { stream = 's', on_record = function() end }")
    beside_local.stream(name(), **settings)
    done = beside_local.run("check")
    assert done.returncode == 2 and said in done.stderr and re.search(r"\[host\]", done.stderr), done.stderr


def test_a_version_that_is_replaced_while_it_works_ends_its_span(beside_local, local, name, collector):
    slow = Http(hangs=True)
    table = local.table(name())
    script = 'local http = require "tidemill.http"\nreturn {{ stream = "s", on_record = function(record) http.get("{0}") end }} -- {1}'
    beside_local.script("h", script.format(slow.url, 1))
    beside_local.stream(table, otlp=collector.url, otlp_sample="1", threads=1)
    host = beside_local.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    wait_until(lambda: slow.open == 1, "a call waits")
    beside_local.script("h", script.format(slow.url, 2))
    host.wait_for("takes the place of")
    slow.hangs = False
    wait_until(beside_local.settled, "it ends")
    assert host.stop() == 0
    assert sorted(span["name"] for span in collector.spans()) == ["GET", "handle h"]
    collector.verify()
