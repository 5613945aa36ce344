"""examples/ported: each by its own tests, checked, with its policy; and those that call AWS against a stand-in that checks
each signature as botocore computes it."""
import json
import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import BINARY, wait_until
from test_aws import Any

PORTED = pathlib.Path(__file__).resolve().parents[2] / "examples" / "ported"
EXAMPLES = sorted(path.parent.name for path in PORTED.glob("*/tidemill.ini"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_is_tested_checked_and_knows_its_rights(example, deployment):
    environment = dict(deployment.environment)
    for command in (["test", PORTED / example], ["check", "-c", PORTED / example / "tidemill.ini"], ["policy", "-c", PORTED / example / "tidemill.ini"]):
        done = subprocess.run([BINARY, *command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and "warning" not in done.stderr and "does not say" not in done.stderr, (command, done.stdout, done.stderr)
    text = (PORTED / "README.md").read_text()
    [row] = re.findall(rf"^\| `{example}` \|.*", text, re.M)
    script = PORTED / example / "scripts" / f"{example}.lua"
    lines = [line for line in script.read_text().splitlines() if line.strip() and not line.startswith("--")] if script.exists() else []
    assert f"| {len(lines)} |" in row, (row, len(lines))


class Answers(Any):
    """As the service of the example does."""

    def __init__(self, signs_as, answer, region):
        super().__init__()
        self.signs_as, self.answer, self.region = signs_as, answer, region

    def work(self, request):
        return 200, {}, self.answer(request) if callable(self.answer) else self.answer


def item(**values):
    return {name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in values.items()}


SIGNED = {
    "websocket_broadcast": ("execute-api", b"", {"Messages": item(messageId="m", room="r", text="hello", **{"from": "ada"})},
                            {"Connections": item(room="r", connectionId="L0SM=")}, [("POST", "/@connections/L0SM%3D")], {"api +=.*": "api = URL"}),
    "delete_users": ("cognito-idp", b"{}", {"Users": item(userId="u")}, {}, [("POST", "/")], {}),
    "clean_up_folder": ("s3", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", {"Projects": item(projectId="p 1")}, {},
                        [("GET", "/projects-files?encoding-type=url&list-type=2&prefix=projects%2Fp%201%2F")], {}),
    "keep_schedules": ("scheduler", b"{}", {"Reminders": item(reminderId="a", due=1769903999)}, {}, [("PUT", re.compile("/schedules/[0-9a-f]{64}"))], {}),
    "publish_appsync": ("appsync", b'{"data":{}}', {"Orders": item(orderId="o", status="paid")}, {}, [("POST", "/graphql")], {"api +=.*": "api = URL/graphql"}),
    "copy_to_aurora": ("rds-data", b"{}", {"Orders": item(id="o"), "Users": item(id="u")}, {}, [("POST", "/Execute"), ("POST", "/Execute")], {}),
    "index_opensearch": ("es", b"{}", {"Products": item(productId="USER#1/ü")}, {}, [("PUT", "/products/_doc/USER%231%2F%C3%BC")], {"domain +=.*": "domain = URL"}),
    "index_bulk": ("es", b'{"errors":false,"items":[{"update":{"status":201}}]}', {"Products": item(productId="USER#1/ü")}, {}, [("POST", "/products/_bulk")], {"url +=.*": "url = URL"}),
    "mail_ses": ("ses", b'{"MessageId":"m"}', {"Accounts": item(accountId="a", name="Ada", email="a@example.com")}, {}, [("POST", "/v2/email/outbound-emails")], {}),
    "cdn_invalidation": ("cloudfront", b"<Invalidation><Id>I</Id></Invalidation>", {"Pages": item(path="/a")}, {}, [("POST", "/2020-05-31/distribution/E2EXAMPLE/invalidation")], {}),
    "start_execution": ("states", b'{"executionArn":"a","startDate":1}', {"Orders": item(orderId="o")}, {}, [("POST", "/")], {}),
}
REMOVED = ("delete_users", "clean_up_folder")


@pytest.mark.parametrize("example", SIGNED)
def test_what_is_sent_is_signed_as_botocore_signs_it(example, beside_local, local):
    signs_as, answer, items, before, wanted, settings = SIGNED[example]
    service = Answers(signs_as, answer, "us-east-1" if signs_as == "cloudfront" else "eu-west-1")
    shutil.rmtree(beside_local.directory / "scripts")
    shutil.copytree(PORTED / example, beside_local.directory, dirs_exist_ok=True)
    text = (PORTED / example / "tidemill.ini").read_text()
    sections = re.findall(r"^\[table (\w+)\]\nkey +=(.*)", text, re.M)
    names = {table: local.table(f"{table}{example.replace('_', '')}", **key_of(key)) for table, key in sections}
    for table, real in names.items():
        text = re.sub(rf"(= |\[table ){table}\b", rf"\g<1>{real}", text)
    for pattern, to in settings.items():
        text = re.sub(pattern, to.replace("URL", service.url), text)
    text = text.replace("[aws]\n", f"[aws]\nendpoint_dynamodb = {local.url}\nendpoint_streams = {local.url}\n")
    text = text.replace("[host]\n", "[host]\nstate = sqlite:state.db\nlog_format = json\nlisten = off\n")
    beside_local.ini.write_text(text)
    beside_local.environment |= {"AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": service.url, "AWS_ENDPOINT_URL_SFN": service.url}
    for table, value in before.items():
        local.client.put_item(TableName=names[table], Item=value)
    host = beside_local.start()
    for table, value in items.items():
        local.client.put_item(TableName=names[table], Item=value)
        if example in REMOVED:
            keys = dict(sections)[table].split(",")
            local.client.delete_item(TableName=names[table], Key={key.strip(): value[key.strip()] for key in keys})
    wait_until(lambda: len(service.requests) >= len(wanted), lambda: f"it is called: {service.requests} {service.problems} {host.messages()[-5:]}")
    assert host.stop() == 0
    assert not service.problems, service.problems
    for request, (method, path) in zip(service.requests, wanted):
        assert request.method == method and (path.fullmatch(request.path) if isinstance(path, re.Pattern) else request.path == path), (request.method, request.path)
    service.stop()


def key_of(text):
    names = [name.strip() for name in text.split(",")]
    return dict(key=names[0], **({"sort": names[1]} if len(names) > 1 else {}))


# What a dry run is given where SIGNED has nothing, and what it says it would do; reads find nothing there.
OTHERS = {
    "copy_account": (item(productId="p"), "PutItem"), "copy_to_clickhouse": (item(id="o"), "INSERT%20INTO"), "copy_to_postgres": (item(orderId="o", customer="c", total=5), "INSERT INTO orders"),
    "feeds": (item(postId="p", author="a", title="t"), "Query"), "figures": (item(orderId="o", total=5), None), "leaderboard": (item(game="g", player="p", score=5), "ZADD"),
    "notify_webhook": (item(orderId="o", customerId="c"), "GetItem"), "outbox": ({**item(eventId="e", type="T", aggregate="a"), "detail": {"M": {}}}, "would emit to bus"),
    "unread_counts": (item(messageId="m", to="u"), "would emit to push"),
}
ROUTES = {"start_execution": "start", "index_bulk": "index"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_dry_run_of_each_sends_nothing_and_says_what_it_would(example, deployment, tmp_path):
    values, wanted = OTHERS.get(example, (None, "would"))
    table, values = next(iter(SIGNED[example][2].items())) if values is None else (None, values)
    ini = PORTED / example / "tidemill.ini"
    table, key = next((name, key) for name, key in re.findall(r"^\[table (\w+)\]\nkey +=(.*)", ini.read_text(), re.M) if table in (None, name))
    keys = {name.strip(): values[name.strip()] for name in key.split(",")}
    removed = example in REMOVED
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"eventName": "REMOVE" if removed else "INSERT", "eventSourceARN": f"arn:aws:dynamodb:eu-west-1:123456789012:table/{table}/stream/2026-01-01T00:00:00.000",
                                 "dynamodb": {"Keys": keys, "OldImage" if removed else "NewImage": values}}))
    names = ["copy_orders"] if example == "copy_to_aurora" else re.findall(r"^\[handler (\w+)\]", ini.read_text(), re.M)[:1] or [example]
    done = subprocess.run([BINARY, "invoke", ROUTES.get(example, names[0]), event, "-c", ini, "--dry-run"], env=dict(deployment.environment), capture_output=True, text=True)
    assert done.returncode == 0 and "1 record, 0 failed" in done.stdout, (done.stdout, done.stderr)
    assert wanted is None or wanted in done.stdout, done.stdout
