"""The handlers in scripts/, each in its example deployment, against real tables and a small real HTTP service."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import BINARY, wait_until
from test_modules import service  # noqa: F401  (a fixture)

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/tidemill.ini"))


def deploy(deployment, handler, stream, table, settings):
    shutil.copy(ROOT / "scripts" / f"{handler}.lua", deployment.directory / "scripts")
    deployment.configure(f"[stream {stream}]\ntable = {table}\npoll_min = 20ms\npoll_max = 100ms\n"
                         f"[handler {handler}]\nbackoff = 20ms..50ms\n{settings}")
    return deployment.start()


def put(dynamodb, table, **item):
    dynamodb.client.put_item(TableName=table, Item={name: {"S": value} for name, value in item.items()})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_checks(example, deployment):
    environment = dict(deployment.environment, ALGOLIA_APPLICATION="app", ALGOLIA_API_KEY="key",
                       SLACK_WEBHOOK="https://hooks.slack.com/x", TIDEMILL_STATE="x.db", DYNAMODB_ENDPOINT="http://h")
    done = subprocess.run([BINARY, "check", "-c", example / "tidemill.ini"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    for event in example.glob("events/*.json"):
        script, = example.glob("scripts/*.lua")
        done = subprocess.run([BINARY, "invoke", script, event, "-c", example / "tidemill.ini", "--dry-run"],
                              env=environment, capture_output=True, text=True)
        assert "would" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("kind, upsert, delete", [
    ("algolia", ("PUT", "/1/indexes/users/u%201"), ("DELETE", "/1/indexes/users/u%201")),
    ("opensearch", ("PUT", "/users/_doc/u%201"), ("DELETE", "/users/_doc/u%201")),
    ("typesense", ("POST", "/collections/users/documents?action=upsert"), ("DELETE", "/collections/users/documents/u%201")),
])
def test_search_index(deployment, dynamodb, name, service, kind, upsert, delete):  # noqa: F811
    table = dynamodb.table(name(), key="userId")
    host = deploy(deployment, "search_index", "users", table,
                  f"service = {kind}\nurl = {service.url}\nindex = users\napi_key = k\napplication = a")
    put(dynamodb, table, userId="u 1", name="first")
    put(dynamodb, table, userId="u 1", name="second")
    dynamodb.client.delete_item(TableName=table, Key={"userId": {"S": "u 1"}})
    wait_until(lambda: len(service.seen) == 3, "three changes arrived")
    assert [(method, path) for method, path, _, _ in service.seen] == [upsert, upsert, delete]
    assert [json.loads(body)["name"] for _, _, _, body in service.seen[:2]] == ["first", "second"]
    assert "k" in service.seen[0][2].values()
    assert host.stop() == 0


def test_search_index_tries_again_when_the_service_stumbles(deployment, dynamodb, name, service):  # noqa: F811
    table = dynamodb.table(name(), key="userId")
    host = deploy(deployment, "search_index", "users", table,
                  f"service = opensearch\nurl = {service.url}/status/503?\nindex = users\nretries = 2")
    put(dynamodb, table, userId="u1")
    host.wait_for("kept as a dead letter")
    assert sum("opensearch answered 503: as asked" in message for message in host.messages()) == 3
    assert host.stop() == 0


def test_slack_notify_posts_once(deployment, dynamodb, name, service):  # noqa: F811
    table = dynamodb.table(name(), key="orderId")
    host = deploy(deployment, "slack_notify", "orders", table,
                  f"webhook = {service.url}/hook\ntext = New order {{orderId}} by {{customerId}}")
    put(dynamodb, table, orderId="o1", customerId="c1")
    wait_until(lambda: len(service.seen) == 1, "the message arrived")
    assert json.loads(service.seen[0][3]) == {"text": "New order o1 by c1"}
    assert host.stop() == 0
    import sqlite3
    with sqlite3.connect(deployment.directory / "state.db") as db:
        db.execute("DELETE FROM checkpoints")
    host = deployment.start()
    wait_until(deployment.settled, "the record was handled again")
    assert len(service.seen) == 1
    assert host.stop() == 0


def test_aggregate_counts_is_exact_under_redelivery(deployment, dynamodb, name):
    table = dynamodb.table(name(), key="orderId")
    counts, markers = dynamodb.table(name(), stream=False), dynamodb.table(name(), stream=False)
    settings = f"group_by = customer\ncounts_table = {counts}\nonce_table = {markers}"
    for i in range(30):
        put(dynamodb, table, orderId=f"o{i}", customer=f"c{i % 3}")
    for i in range(0, 30, 10):
        put(dynamodb, table, orderId=f"o{i}", customer="moved")
    dynamodb.client.delete_item(TableName=table, Key={"orderId": {"S": "o1"}})
    for _ in range(2):  # everything is delivered twice
        host = deploy(deployment, "aggregate_counts", "orders", table, settings)
        wait_until(deployment.settled, "all was counted")
        assert host.stop() == 0
        os.remove(deployment.directory / "state.db")
        for end in ("-wal", "-shm"):
            if (deployment.directory / f"state.db{end}").exists():
                os.remove(deployment.directory / f"state.db{end}")
    items = {item["id"]["S"]: int(item["count"]["N"]) for item in dynamodb.client.scan(TableName=counts)["Items"]}
    assert items == {"c0": 9, "c1": 8, "c2": 9, "moved": 3}
