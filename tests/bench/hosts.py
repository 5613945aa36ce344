"""make bench-hosts: what hosts that share a table cost: its calls counted, their capacity summed, beside the formulas."""
import http.client
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

BINARY = pathlib.Path(os.environ["TIDEMILL"]).resolve()
HOSTS, SHARDS, LEASE_S, SETTLE_S, IDLE_S, LOAD_S = 3, 1000, 10, 45, 60, 30
CHECKPOINT_S, WRITES_A_SECOND = 5, 20
ENVIRONMENT = dict(os.environ, AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench", AWS_REGION="eu-west-1")
WRITING = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")
HANDLER = 'return { stream = "s", on_record = function(record) end }\n'


class Counter:
    """Between the hosts and their state: asks for the capacity of each call, and adds it up."""

    def __init__(self, port):
        outer = self
        self.port_behind, self.lock, self.calls, self.units = port, threading.Lock(), {}, {"read": 0.0, "write": 0.0}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                target = self.headers["X-Amz-Target"]
                operation = target.split(".")[1]
                if operation not in ("DescribeTable", "CreateTable", "DescribeTimeToLive", "UpdateTimeToLive", "DescribeEndpoints"):
                    body = json.dumps(dict(json.loads(body), ReturnConsumedCapacity="TOTAL")).encode()
                self.behind = getattr(self, "behind", None) or http.client.HTTPConnection("127.0.0.1", outer.port_behind)
                self.behind.request("POST", "/", body, {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0",
                                                   "Authorization": self.headers["Authorization"]})
                answer = self.behind.getresponse()
                text = answer.read()
                outer.count(operation, json.loads(text) if text else {})
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256

            def handle_error(self, request, address):
                pass  # a host that ends resets what it has open

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self, operation, answer):
        consumed = answer.get("ConsumedCapacity")
        each = consumed if isinstance(consumed, list) else [consumed] if consumed else []
        if "ConditionalCheckFailed" in answer.get("__type", ""):
            each = [dict(CapacityUnits=1)]  # the service counts what it refused, too
            operation += " refused"
        with self.lock:
            self.calls[operation] = self.calls.get(operation, 0) + 1
            self.units["write" if operation.split()[0] in WRITING else "read"] += sum(one["CapacityUnits"] for one in each)

    def take(self):
        with self.lock:
            taken = self.calls, self.units
            self.calls, self.units = {}, {"read": 0.0, "write": 0.0}
        return taken


def call(url, operation, target="DynamoDB_20120810", **body):
    request = urllib.request.Request(url, json.dumps(body).encode(),
                                     {"X-Amz-Target": f"{target}.{operation}", "Authorization": "bench",
                                      "Content-Type": "application/x-amz-json-1.0"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or b"{}")


def watch(counter, seconds, text, meanwhile=None):
    counter.take()
    end = time.time() + seconds
    while time.time() < end:
        if sys.stderr.isatty():
            print(f"\r{text}: {end - time.time():3.0f} s ", end="", file=sys.stderr, flush=True)
        if meanwhile:
            meanwhile()
        time.sleep(1)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    calls, units = counter.take()
    return {name: count / seconds for name, count in calls.items()}, {kind: sum_ / seconds for kind, sum_ in units.items()}


def start(directory, url, port):
    (directory / "scripts").mkdir(exist_ok=True)
    for name in ("one", "two", "three"):
        (directory / "scripts" / f"{name}.lua").write_text(HANDLER)
    (directory / "tidemill.ini").write_text(f"""
[host]
state = dynamodb:State
lease = {LEASE_S}s
checkpoint_interval = {CHECKPOINT_S}s
threads = 1
scripts = scripts
log_level = warn
listen = off
[aws]
endpoint_dynamodb = {url}
endpoint_streams = http://127.0.0.1:{port}
[stream s]
table = Items
start = latest
poll_max = 5s
""")
    return subprocess.Popen([BINARY, "run", "-c", directory / "tidemill.ini"], env=ENVIRONMENT, stderr=sys.stderr)


def measure(splits, settle_s, idle_s, load_s):
    """Of 10 shards to the power of `splits`: calls and units a second while they begin, idle, under load; and the owners."""
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as path:
        directory = pathlib.Path(path)
        local = subprocess.Popen([BINARY, "local", "--port", "0"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        port = int(local.stdout.readline().split("http://127.0.0.1:")[1].split(",")[0])
        url = f"http://127.0.0.1:{port}"
        call(url, "CreateTable", TableName="Items", BillingMode="PAY_PER_REQUEST",
             KeySchema=[dict(AttributeName="id", KeyType="HASH")],
             AttributeDefinitions=[dict(AttributeName="id", AttributeType="S")],
             StreamSpecification=dict(StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES"))
        arn = call(url, "DescribeTable", TableName="Items")["Table"]["LatestStreamArn"]
        for _ in range(splits):
            call(url, "SplitShards", "TidemillLocal", StreamArn=arn, Children=10)  # each of those that are open
        counter = Counter(port)
        hosts = [start(directory, counter.url, port) for _ in range(HOSTS)]
        try:
            begin = watch(counter, settle_s, "hosts take their shards")
            idle = watch(counter, idle_s, "idle")
            number = 0

            def write():
                nonlocal number
                for _ in range(WRITES_A_SECOND):
                    number += 1
                    call(url, "PutItem", TableName="Items", Item={"id": {"S": f"i{number}"}})

            load = watch(counter, load_s, "under load", write)
            owners = json.loads(subprocess.run([BINARY, "status", "--json", "-c", directory / "tidemill.ini"], env=ENVIRONMENT,
                                               capture_output=True, text=True, check=True).stdout)["owners"]
        finally:
            for host in hosts:
                host.terminate()
            for host in hosts:
                host.wait()
            local.terminate()
            local.wait()
    return begin, idle, load, owners


def computed(shards):
    watch_s, page = max(1, 0.03 * HOSTS), 0.5
    return dict(write=3 * HOSTS / LEASE_S, read=HOSTS / watch_s * page + (shards / 4 * page) / 300)


def main():
    begin, (idle_calls, idle), (load_calls, load), owners = measure(3, SETTLE_S, IDLE_S, LOAD_S)
    each = sorted(sum(1 for owner in owners if owner["session"] == session) for session in {owner["session"] for owner in owners})
    formula = computed(SHARDS)
    moved = min(WRITES_A_SECOND * CHECKPOINT_S, SHARDS) / CHECKPOINT_S
    print(f"{HOSTS} hosts, {SHARDS} shards, 3 handlers; shards of each host: {', '.join(map(str, each))}")
    print(f"{'':24}{'write units/s':>15}{'read units/s':>15}")
    print(f"{'while they begin':24}{begin[1]['write']:15.1f}{begin[1]['read']:15.1f}")
    print(f"{'idle':24}{idle['write']:15.2f}{idle['read']:15.2f}   "
          + ", ".join(f"{name} {count:.2f}/s" for name, count in sorted(idle_calls.items())))
    print(f"{'  computed':24}{formula['write']:15.2f}{formula['read']:15.2f}")
    print(f"{'  the bar':24}{1.5:15.2f}{4.0:15.2f}")
    print(f"{'under load':24}{load['write']:15.2f}{load['read']:15.2f}   "
          + ", ".join(f"{name} {count:.2f}/s" for name, count in sorted(load_calls.items())))
    print(f"{'  computed, at most':24}{formula['write'] + moved:15.2f}{formula['read']:15.2f}   "
          f"{WRITES_A_SECOND} changes/s, each in another shard")


if __name__ == "__main__":
    main()
