"""tidemill local --auth: signatures are verified as the service does, by clients that sign for themselves."""
import datetime
import http.client
import json
import os
import random
import subprocess

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import pytest
from conftest import BINARY, ROOT, Local, npm_packages

pytestmark = pytest.mark.one_thread


@pytest.fixture
def guarded(tmp_path):
    started = Local(tmp_path, "--auth", "test:secret")
    yield started
    assert started.stop() == 0


def client(local, key="test", secret="secret", token=None, **more):
    return boto3.client(more.pop("service", "dynamodb"), endpoint_url=local.url, region_name=more.pop("region", "eu-west-1"), aws_access_key_id=key, aws_secret_access_key=secret,
                        aws_session_token=token, config=botocore.config.Config(retries=dict(total_max_attempts=1)))


def refusal(call):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        call()
    return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]


def test_who_signs_rightly_is_served(guarded):
    table = guarded.table("Signed")
    assert client(guarded, region="ap-south-1").list_tables()["TableNames"] == [table]  # whatever region it is signed for
    assert guarded.client.list_tables()["TableNames"] == [table]
    guarded.client.put_item(TableName=table, Item={"id": {"S": "ä漢🌊"}, "b": {"B": b"\0\xff"}})
    assert guarded.streams.list_streams()["Streams"][0]["TableName"] == table
    if not os.path.exists("/usr/bin/aws"):
        return
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | dict(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="secret")
    done = subprocess.run(["/usr/bin/aws", "dynamodb", "list-tables", "--endpoint-url", guarded.url, "--region", "us-east-1"], env=environment, capture_output=True, text=True)
    assert json.loads(done.stdout)["TableNames"] == [table], done.stderr
    done = subprocess.run(["/usr/bin/aws", "dynamodb", "list-tables", "--endpoint-url", guarded.url, "--region", "us-east-1"], env=environment | dict(AWS_SECRET_ACCESS_KEY="secrets"),
                          capture_output=True, text=True)
    assert done.returncode and "InvalidSignatureException" in done.stderr, done.stderr


def test_others_are_refused(guarded):
    wrong = "InvalidSignatureException", "The request signature we calculated does not match the signature you provided."
    code, message = refusal(client(guarded, secret="other").list_tables)
    assert code == wrong[0] and message.startswith(wrong[1]), message
    assert refusal(client(guarded, key="nobody").list_tables) == ("UnrecognizedClientException", "The security token included in the request is invalid.")
    assert refusal(client(guarded, token="some").list_tables)[0] == "UnrecognizedClientException"
    code, message = refusal(client(guarded, service="dynamodbstreams", secret="other").list_streams)
    assert code == wrong[0], message


def test_a_session_token(tmp_path):
    (tmp_path / "auth").write_text("test:secret:to/ken==\n")
    local = Local(tmp_path, "--auth", str(tmp_path / "auth"))
    assert client(local, token="to/ken==").list_tables()["TableNames"] == []
    for token in (None, "other"):
        assert refusal(client(local, token=token).list_tables)[0] == "UnrecognizedClientException"
    assert local.stop() == 0


def signed(local, moment=None, monkeypatch=None, body=b"{}", service="dynamodb", **headers):
    """A request as botocore signs it, at another time."""
    class Frozen(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return moment
    if moment:
        monkeypatch.setattr(botocore.auth.datetime, "datetime", Frozen)
    request = botocore.awsrequest.AWSRequest(method="POST", url=local.url + "/", headers={"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"} | headers, data=body)
    botocore.auth.SigV4Auth(botocore.credentials.Credentials("test", "secret"), service, "eu-west-1").add_auth(request)
    if moment:
        monkeypatch.undo()
    return {key: value for key, value in request.headers.items()}


def send(local, headers, body=b"{}", path="/"):
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=30)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found.get("__type", "").split("#")[-1], found.get("message", "")


def test_times(guarded, monkeypatch):
    now = datetime.datetime.utcnow()
    minutes = lambda count: now + datetime.timedelta(minutes=count)
    for count in (-4, 0, 4):
        assert send(guarded, signed(guarded, minutes(count), monkeypatch))[0] == 200
    status, code, message = send(guarded, signed(guarded, minutes(-6), monkeypatch))
    assert (status, code) == (400, "InvalidSignatureException") and message.startswith("Signature expired: ") and message.endswith(" - 5 min.)"), message
    status, code, message = send(guarded, signed(guarded, minutes(6), monkeypatch))
    assert (status, code) == (400, "InvalidSignatureException") and message.startswith("Signature not yet current: ") and message.endswith(" + 5 min.)"), message


def test_what_was_changed_on_the_way(guarded):
    headers = signed(guarded, service="dynamodb", **{"User-Agent": "a b", "X-Amz-Meta": "a   b"})
    assert send(guarded, headers)[0] == 200
    assert send(guarded, headers | {"X-Other": "not signed"})[0] == 200
    wrong = (400, "InvalidSignatureException")
    assert send(guarded, headers, b'{"Limit":1}')[:2] == wrong
    assert send(guarded, headers, path="/?a=b")[:2] == wrong
    for changed in ({"X-Amz-Target": "DynamoDB_20120810.DescribeLimits"}, {"X-Amz-Meta": "c"}, {"Content-Type": "text/plain"}):
        assert send(guarded, headers | changed)[:2] == wrong, changed
    without = {key: value for key, value in headers.items() if key != "X-Amz-Meta"}
    assert send(guarded, without)[:2] == wrong
    authorization = headers["Authorization"]
    assert send(guarded, headers | {"Authorization": authorization.replace("host;", "")})[:2] == wrong  # who does not sign the host
    assert "correct service" in send(guarded, signed(guarded, service="sqs"))[2]
    day = authorization.split("/")[1]
    assert "Date in Credential scope" in send(guarded, headers | {"Authorization": authorization.replace(day, "20200101")})[2]


def test_headers_that_are_none(guarded):
    good = signed(guarded)
    authorization = good["Authorization"]
    code = lambda text: send(guarded, good | {"Authorization": text})[1]
    without = {key: value for key, value in good.items() if key != "Authorization"}
    assert send(guarded, without)[1] == "MissingAuthenticationTokenException"
    assert send(guarded, {key: value for key, value in good.items() if key != "X-Amz-Date"})[1] == "IncompleteSignatureException"
    assert send(guarded, good | {"X-Amz-Date": "today"})[1] == "IncompleteSignatureException"
    for part in ("Credential=", "SignedHeaders=", "Signature="):
        assert code(authorization.replace(part, "X=")) == "IncompleteSignatureException", part
    for text in ("Basic dGVzdDpzZWNyZXQ=", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b/c", "AWS4-HMAC-SHA256 Credential=/////, SignedHeaders=;, Signature="):
        assert code(text) in ("IncompleteSignatureException", "UnrecognizedClientException", "InvalidSignatureException"), text
    dice = random.Random(4)
    for _ in range(300):  # any damage is an answer, and none is let in
        letters = list(authorization)
        for _ in range(1 + dice.randrange(4)):
            at = dice.randrange(len(letters))
            letters[at] = dice.choice([chr(dice.randrange(33, 127)), "", ";", "/", "=", ","])
        text = "".join(letters)
        rank = lambda text: text.replace(" ", "").replace(",", "")
        assert rank(text) == rank(authorization) or send(guarded, good | {"Authorization": text})[0] == 400, text
    assert send(guarded, good)[0] == 200


def test_the_sdk_for_javascript(tmp_path):
    local = Local(tmp_path, "--auth", "a:b")
    done = subprocess.run(["node", ROOT / "tests" / "integration" / "sdk.cjs", local.url, npm_packages("aws-sdk")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert local.stop() == 0


@pytest.mark.parametrize("auth", ["nobody", ":secret", "key:", "key::token", "/nonexistent"])
def test_an_argument_that_is_none(tmp_path, auth):
    done = subprocess.run([BINARY, "local", "--port", "0", "--auth", auth], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "--auth" in done.stderr and "secret" not in done.stderr.replace("KEY:SECRET", ""), done.stderr
