"""The handlers in scripts/, each in its example deployment, against real tables and a small real HTTP service."""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import textwrap

import pytest
from conftest import BINARY, wait_until
from services import Emulators
from test_export import export, write
from test_kinesis import Changes
from test_modules import service  # noqa: F401  (a fixture)
from test_snapshot import contents, differs, same

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
                       SLACK_WEBHOOK="https://hooks.slack.com/x", CRM_API_KEY="k", RUNNER_API_KEY="k", MAIL_API_KEY="k",
                       TIDEMILL_DEV_URL="http://127.0.0.1:8000")
    done = subprocess.run([BINARY, "check", "-c", example / "tidemill.ini"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    for event in example.glob("events/*.json"):
        script = next((path for path in example.glob("scripts/*.lua") if not path.stem.endswith("_test") and "on_request" not in path.read_text()), event.stem)  # or a route of that name
        done = subprocess.run([BINARY, "invoke", script, event, "-c", example / "tidemill.ini", "--dry-run"],
                              env=environment, capture_output=True, text=True)
        assert "would" in done.stdout, done.stdout + done.stderr


def documents_of(kind, requests):
    """What a service like this has after these requests."""
    there = {}
    for method, path, _, body in requests:
        if kind == "algolia":
            assert (method, path) == ("POST", "/1/indexes/users/batch")
            for each in json.loads(body)["requests"]:
                there[each["body"]["objectID"]] = each["body"].get("name") if each["action"] == "updateObject" else None
        elif kind == "opensearch":
            assert (method, path) == ("POST", "/users/_bulk") and body.endswith(b"\n")
            lines = iter(map(json.loads, body.decode().splitlines()))
            for line in lines:
                (action, meta), = line.items()
                there[meta["_id"]] = next(lines)["name"] if action == "index" else None
        elif kind == "meilisearch" and path == "/indexes/users/documents?primaryKey=id":
            there.update({each["id"].replace("_20", " "): each["name"] for each in json.loads(body)})
        elif kind == "meilisearch":
            assert (method, path) == ("POST", "/indexes/users/documents/delete-batch")
            there.update({each.replace("_20", " "): None for each in json.loads(body)})
        elif method == "POST":
            assert path == "/collections/users/documents/import?action=upsert"
            there.update({each["id"]: each["name"] for each in map(json.loads, body.decode().splitlines())})
        else:
            assert (method, path) == ("DELETE", "/collections/users/documents/u%201")
            there["u 1"] = None
    return there


@pytest.mark.parametrize("kind", ["algolia", "meilisearch", "opensearch", "typesense"])
def test_search_index(deployment, dynamodb, name, service, kind):  # noqa: F811
    table = dynamodb.table(name(), key="userId")
    host = deploy(deployment, "search_index", "users", table,
                  f"service = {kind}\nurl = {service.url}\nindex = users\napi_key = k\napplication = a")
    put(dynamodb, table, userId="u 1", name="first")
    put(dynamodb, table, userId="u 1", name="second")
    dynamodb.client.delete_item(TableName=table, Key={"userId": {"S": "u 1"}})
    put(dynamodb, table, userId="u2", name="other")
    wait_until(lambda: documents_of(kind, service.seen) in ({"u 1": None, "u2": "other"},), lambda: f"the last changes arrived: {documents_of(kind, service.seen)}")
    assert {"k", "Bearer k"} & set(service.seen[0][2].values())
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


def bodies(service, path):
    return [json.loads(body) for _, seen, _, body in service.seen if seen == path]


def test_crm_sync_saves_with_and_without_enrichment(deployment, dynamodb, name, service):  # noqa: F811
    table = dynamodb.table(name(), key="customerId")
    settings = f"crm_url = {service.url}/stumble\nenrich_url = {service.url}/echo?email=\napi_key = k"
    host = deploy(deployment, "crm_sync", "customers", table, settings)
    put(dynamodb, table, customerId="c1", email="a b@example.com")
    wait_until(deployment.settled, "the contact is saved")
    calls = [(method, headers) for method, path, headers, _ in service.seen if path == "/stumble/contacts/c1"]
    assert [method for method, _ in calls] == ["PUT"] * 3  # cut, 500, late
    assert len({headers["Idempotency-Key"] for _, headers in calls}) == 1
    saved = bodies(service, "/stumble/contacts/c1")[-1]
    assert saved["email"] == "a b@example.com" and saved["enrichment"]["path"] == "/echo?email=a%20b%40example.com"
    assert host.stop() == 0
    for number, broken in enumerate(("/cut?", "/status/500?", "/status/204?", "/slow?")):
        deployment.configure(f"[stream customers]\ntable = {table}\npoll_min = 20ms\npoll_max = 100ms\n[handler crm_sync]\n"
                             f"crm_url = {service.url}\nenrich_url = {service.url}{broken}")
        host = deployment.start()
        put(dynamodb, table, customerId="c2", email="x", number=str(number))
        wait_until(lambda: len(bodies(service, "/contacts/c2")) == number + 1, "the contact is saved without")
        assert "enrichment" not in bodies(service, "/contacts/c2")[-1]
        host.wait_for("saved without enrichment")
        assert host.stop() == 0
    host = deployment.start()
    dynamodb.client.delete_item(TableName=table, Key={"customerId": {"S": "c2"}})
    wait_until(lambda: bodies(service, "/contacts/c2")[-1].get("deleted"), "it is marked as deleted")
    assert [method for method, path, _, _ in service.seen if path == "/contacts/c2"][-1] == "PATCH"
    assert host.stop() == 0


def test_signup_email_writes_once(deployment, dynamodb, name, service):  # noqa: F811
    table = dynamodb.table(name(), key="userId")
    host = deploy(deployment, "signup_email", "users", table,
                  f"url = {service.url}/stumble/send\nfrom = me@example.com\nsubject = Hello {{name}}\ntext = You are {{userId}}")
    put(dynamodb, table, userId="u1", name="One", email="one@example.com")
    put(dynamodb, table, userId="u1", name="Two", email="one@example.com")
    put(dynamodb, table, userId="without an address")
    wait_until(deployment.settled, "all is handled")
    mails = bodies(service, "/stumble/send")
    assert len(mails) == 3 and all(mail == mails[0] for mail in mails)  # cut, 500, and then it was taken
    assert mails[0] == {"from": "me@example.com", "to": "one@example.com", "subject": "Hello One", "text": "You are u1"}
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in service.seen}) == 1
    assert host.stop() == 0


def test_change_history(deployment, dynamodb, name):
    table = dynamodb.table(name(), key="orderId")
    history = dynamodb.table(name(), key="item", sort="change", stream=False)
    put(dynamodb, table, orderId="o1", status="new", updatedBy="shop", updatedAt="1")
    put(dynamodb, table, orderId="o1", status="paid", updatedBy="bank", updatedAt="2")
    put(dynamodb, table, orderId="o1", status="paid", updatedBy="nobody", updatedAt="3")
    put(dynamodb, table, orderId="o1", note="x", updatedBy="staff")
    dynamodb.client.delete_item(TableName=table, Key={"orderId": {"S": "o1"}})
    for _ in range(2):  # everything is delivered twice
        host = deploy(deployment, "change_history", "orders", table, f"history_table = {history}\nignore = updatedAt")
        wait_until(deployment.settled, "all is handled")
        assert host.stop() == 0
        for end in ("", "-wal", "-shm"):
            (deployment.directory / f"state.db{end}").unlink(missing_ok=True)
    items = dynamodb.client.query(TableName=history, KeyConditionExpression="#i = :i", ExpressionAttributeNames={"#i": "item"},
                                  ExpressionAttributeValues={":i": {"S": "o1"}})["Items"]
    told = [(item["event"]["S"], item["by"]["S"], {name: {end: value["S"] for end, value in change["M"].items()}
                                                   for name, change in item["changes"]["M"].items()}) for item in items]
    assert told == [
        ("INSERT", "shop", {"status": {"to": "new"}}),
        ("MODIFY", "bank", {"status": {"from": "new", "to": "paid"}}),
        ("MODIFY", "staff", {"status": {"from": "paid"}, "note": {"to": "x"}}),
        ("REMOVE", "staff", {"note": {"from": "x"}}),
    ]


class Jobs:
    def __init__(self, dynamodb, name):
        self.client = dynamodb.client
        self.table = dynamodb.table(name(), key="customer", sort="jobId")
        self.slots, self.markers = dynamodb.table(name(), stream=False), dynamodb.table(name(), stream=False)

    def settings(self, service):
        return (f"start_url = {service.url}/stumble/start\nnotify_url = {service.url}/stumble/notify\n"
                f"slots_table = {self.slots}\nonce_table = {self.markers}\ncustomer_slots = 2\nrepository_slots = 1")

    def put(self, job, repository="r", priority=0, **condition):
        self.client.put_item(TableName=self.table, Item={
            "customer": {"S": "c"}, "jobId": {"S": job}, "repository": {"S": repository},
            "priority": {"N": str(priority)}, "status": {"S": "pending"}}, **condition)

    def end(self, job, status):
        self.client.update_item(
            TableName=self.table, Key={"customer": {"S": "c"}, "jobId": {"S": job}}, UpdateExpression="SET #s = :s",
            ConditionExpression="#s = :active", ExpressionAttributeNames={"#s": "status"},
            ExpressionAttributeValues={":s": {"S": status}, ":active": {"S": "active"}})

    def all(self):
        items = self.client.query(TableName=self.table, ConsistentRead=True, KeyConditionExpression="customer = :c",
                                  ExpressionAttributeValues={":c": {"S": "c"}})["Items"]
        return {item["jobId"]["S"]: item["status"]["S"] for item in items}

    def taken(self):
        return {item["id"]["S"]: sorted(item.get("jobs", {}).get("SS", []))
                for item in self.client.scan(TableName=self.slots, ConsistentRead=True)["Items"]}


def test_job_scheduler(deployment, dynamodb, name, service):  # noqa: F811
    jobs = Jobs(dynamodb, name)
    jobs.put("a", "site", 1)
    host = deploy(deployment, "job_scheduler", "jobs", jobs.table, jobs.settings(service))
    wait_until(lambda: jobs.all() == {"a": "active"}, "the job is active")
    for job, repository, priority in (("b", "site", 9), ("c", "app", 1), ("d", "app", 7), ("e", "docs", 3)):
        jobs.put(job, repository, priority)
    wait_until(lambda: list(jobs.all().values()).count("active") == 2 and deployment.settled(), "both slots are taken")
    second, = (job for job, status in jobs.all().items() if status == "active" and job != "a")
    assert second != "b"  # its repository has no room
    jobs.end("a", "passed")
    wait_until(lambda: jobs.all()["b"] == "active", "the highest priority got the slot")
    waiting = ["d", "e", "c"]  # by priority; one of them came first, when there was room
    waiting.remove(second)
    for job in ["b", second, *waiting]:
        wait_until(lambda: jobs.all()[job] == "active", f"{job} is active")
        jobs.end(job, "failed")
    assert set(jobs.all().values()) == {"passed", "failed"}
    wait_until(lambda: not any(jobs.taken().values()), "all slots are free")
    wait_until(lambda: {body["jobId"] for body in bodies(service, "/stumble/notify")} == set("abcde"), "all were told")
    keys = [headers["Idempotency-Key"] for _, path, headers, _ in service.seen if path == "/stumble/start"]
    assert sorted(set(keys)) == [f"c/{job}/active" for job in "abcde"] and len(keys) == 7  # cut and 500 once
    assert host.stop() == 0


def test_ten_webhooks_start_one_job(deployment, dynamodb, name, service):  # noqa: F811
    jobs = Jobs(dynamodb, name)
    host = deploy(deployment, "job_scheduler", "jobs", jobs.table,
                  jobs.settings(service).replace("/stumble/start", "/start"))
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: jobs.put("a"), range(10)))
    wait_until(lambda: jobs.all() == {"a": "active"} and deployment.settled(), "the job is active")
    jobs.put("a")  # and late ones: while it runs, and when it has ended
    wait_until(lambda: jobs.all() == {"a": "active"} and deployment.settled(), "the job is active again")
    jobs.end("a", "passed")
    wait_until(lambda: jobs.taken()["customer/c"] == [] and deployment.settled(), "the slots are free")
    jobs.put("a")
    wait_until(lambda: jobs.all() == {"a": "passed"} and deployment.settled(), "it stays what it was")
    assert host.stop() == 0
    for end in ("", "-wal", "-shm"):  # everything once more
        (deployment.directory / f"state.db{end}").unlink(missing_ok=True)
    host = deployment.start()
    wait_until(deployment.settled, "all was handled again")
    assert jobs.all() == {"a": "passed"} and jobs.taken()["customer/c"] == []
    assert len(bodies(service, "/start")) == 1
    assert host.stop() == 0


def test_a_runner_that_refuses_ends_the_job(deployment, dynamodb, name, service):  # noqa: F811
    jobs = Jobs(dynamodb, name)
    host = deploy(deployment, "job_scheduler", "jobs", jobs.table,
                  jobs.settings(service).replace("/stumble/start", "/status/422"))
    jobs.put("a")
    jobs.put("b")
    wait_until(lambda: jobs.all() == {"a": "failed", "b": "failed"} and deployment.settled(), "both were refused")
    assert len(bodies(service, "/status/422")) == 2
    dynamodb.client.delete_item(TableName=jobs.table, Key={"customer": {"S": "c"}, "jobId": {"S": "a"}})
    wait_until(deployment.settled, "all is handled")
    assert host.stop() == 0


# ---- each way in, as the page of table_copy has it ----

WAYS = [stream for stream in re.findall(r"^    \[stream orders\]\n((?:    .*\n)*)", (ROOT / "examples/table_copy/README.md").read_text(), re.M)]


def copy_deployment(deployment, section, more=""):
    shutil.copy(ROOT / "scripts/table_copy.lua", deployment.directory / "scripts")
    deployment.configure(f"[stream orders]\n{textwrap.dedent(section)}\npoll_min = 20ms\npoll_max = 300ms\ndiscovery = 500ms\n[handler table_copy]\ncopy = Copy-{{table}}\n{more}")


def begin(local, name):
    table = local.table(name("Orders-"))
    local.table(f"Copy-{table}", stream=False)
    for i in range(60):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i}"}, "version": {"N": "1"}})
    return table


def go_on_and_compare(local, *tables):
    for table in tables:
        for i in range(0, 40):
            if i % 4:
                local.client.put_item(TableName=table, Item={"id": {"S": f"i{i}"}, "version": {"N": "2"}})
            else:
                local.client.delete_item(TableName=table, Key={"id": {"S": f"i{i}"}})
    for table in tables:
        wait_until(same(local, table, f"Copy-{table}"), lambda: f"Copy-{table} is as its table")


def test_a_copy_from_a_snapshot_and_a_second_one(beside_local, local, name):
    table = begin(local, name)
    section = "table = Orders\nsnapshot = yes\n".replace("Orders", table)
    copy_deployment(beside_local, section)
    host = beside_local.start()
    host.wait_for("goes on with the stream")
    go_on_and_compare(local, table)
    local.table(f"{table}Second", stream=False)
    copy_deployment(beside_local, section, "[handler second_copy]\nscript = table_copy\ncopy = {table}Second\n")
    assert host.stop() == 0
    host = beside_local.start()
    done = beside_local.run("backfill", "table_copy", "--as", "second_copy")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(same(local, table, f"{table}Second"), lambda: f"the second copy is as the table: {differs(contents(local, table), contents(local, table + 'Second'))}")
    assert host.stop() == 0


def test_a_copy_out_of_an_export(beside_local, local, name, tmp_path):
    table = begin(local, name)
    write(tmp_path / "exports", export(local, table, 2))
    copy_deployment(beside_local, WAYS[0].replace("s3://exports/orders", str(tmp_path / "exports")).replace("Orders", table))
    host = beside_local.start()
    host.wait_for("goes on with the stream")
    go_on_and_compare(local, table)
    assert host.stop() == 0


def test_copies_of_many_tables(beside_local, local, name):
    one, two = begin(local, name), begin(local, name)
    local.client.delete_item(TableName=two, Key={"id": {"S": "i9"}})
    copy_deployment(beside_local, WAYS[1].replace("Orders-*", f"{one}, {two}"))
    host = beside_local.start()
    wait_until(lambda: beside_local.settled(), "both are followed")
    go_on_and_compare(local, one, two)
    assert host.stop() == 0


def test_a_copy_by_way_of_kinesis(beside_local, local, name, tmp_path):
    emulators = Emulators(tmp_path)
    try:
        changes = Changes(emulators, name("stream"), "Orders")
        local.table(copy := name("Copy"), stream=False)
        copy_deployment(beside_local, WAYS[2].replace("orders-changes", changes.stream))
        beside_local.ini.write_text(beside_local.ini.read_text().replace("copy = Copy-{table}", f"copy = {copy}").replace("poll_min = 20ms", "poll_min = 200ms")
                                    .replace("[aws]", f"[aws]\nendpoint_kinesis = http://127.0.0.1:{emulators.kinesis_port}"))
        made = [changes.change(f"i{i % 7}", i) for i in range(50)]
        made[3], made[40] = made[40], made[3]
        changes.put(made)
        host = beside_local.start()
        wait_until(lambda: {key: int(item["version"]["N"]) for key, item in contents(local, copy).items()} == {f"i{i % 7}": i for i in range(43, 50)}, "the copy is as the table")
        assert host.stop() == 0
    finally:
        emulators.stop()
