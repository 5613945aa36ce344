"""make bench-local: the embedded DynamoDB against AWS's DynamoDB Local, both in memory, the same client in the same run."""
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from conftest import BINARY, DynamoDBLocal  # noqa: E402

CLIENT = pathlib.Path(os.environ["TIDEMILL_TESTS"]).resolve() / "bench_client"
CALLS, THREADS, ROUNDS = 20000, 4, 3
TABLE = {"TableName": "Bench", "BillingMode": "PAY_PER_REQUEST",
         "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
         "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in "ps"]}


def call(port, operation, request):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/", json.dumps(request), {
        "X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0", "X-Amz-Date": "20260101T000000Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def start_local():
    """Returns the process, its port, and seconds from exec to the first answered request."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    begun = time.monotonic()
    process = subprocess.Popen([BINARY, "local", "--port", str(port)], stdout=subprocess.DEVNULL)
    while True:
        try:
            if call(port, "ListTables", {})[0] == 200:
                return process, port, time.monotonic() - begun
        except ConnectionError:
            time.sleep(0.0005)


def memory(process):
    for line in open(f"/proc/{process.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


def rate(port, kind):
    done = subprocess.run([CLIENT, str(port), kind, str(CALLS), str(THREADS)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main():
    starts = []
    for _ in range(5):
        process, port, seconds = start_local()
        starts.append(seconds)
        empty = memory(process)
        process.terminate()
        process.wait()
    process, port, _ = start_local()
    peer = DynamoDBLocal()
    for each in (port, peer.port):
        assert call(each, "CreateTable", TABLE)[0] == 200
    rows = [("exec to first answer", f"{min(starts) * 1000:.0f} ms", "at most 20"), ("memory, empty", f"{empty:.1f} MiB", "at most 24")]
    for kind in ("put", "get", "update", "query"):
        ours = theirs = 0
        for _ in range(ROUNDS):
            ours, theirs = max(ours, rate(port, kind)), max(theirs, rate(peer.port, kind))
        rows.append((f"{kind}, calls/s", f"{ours:,.0f}", f"DynamoDB Local {theirs:,.0f}: {ours / theirs:.1f} times, at least 3"))
    process.terminate()
    process.wait()
    peer.stop()
    for name, value, goal in rows:
        print(f"{name:<24} {value:>14}   {goal}")


main()
