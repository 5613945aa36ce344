"""Signatures against botocore's own signer, on generated requests."""
import datetime
import json
import os
import pathlib
import random
import string
import subprocess
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

pytestmark = pytest.mark.one_thread

SIGNER = pathlib.Path(os.environ.get("TIDEMILL_TESTS", "build/tests")) / "sigv4_cli"
REQUESTS = 3000
LETTERS = string.ascii_letters + string.digits + "-_.~ /+*=&%$!'(),;:@" + "äß漢字🌊\u00a0"


def text(chance, most, letters=LETTERS):
    return "".join(chance.choice(letters) for _ in range(chance.randrange(most)))


def make_url(chance):
    scheme = chance.choice(["http", "https"])
    host = chance.choice(["dynamodb.eu-west-1.amazonaws.com", "127.0.0.1:8000", "h:443", "h:80", "[::1]:8000", "a.b"])
    path = chance.choice(["", "/", "/a/b", "/a//b/", "/./a/../b", "/..", "/a/.", "//", "/" + urllib.parse.quote(text(chance, 20)),
                          "/" + urllib.parse.quote(text(chance, 20), safe="/~+*=&!'(),;:@$") + "/"])
    pairs = [urllib.parse.quote(text(chance, 8), safe="~") + chance.choice(["=", "=" + urllib.parse.quote(text(chance, 12), safe="~")])
             for _ in range(chance.choice([0, 0, 1, 2, 5]))]
    return f"{scheme}://{host}{path}" + ("?" + "&".join(pairs) if pairs else "")


def make_request(chance):
    names = {"X-Amz-Target", "Content-Type", "X-Custom", "Accept", "x-amz-meta-b", "X-Amz-A"}
    plain = string.ascii_letters + string.digits + "  \t;,=/"
    headers = {name: text(chance, 20, plain) for name in chance.sample(sorted(names), chance.randrange(5))}
    moment = datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=chance.randrange(3 * 365 * 86400))
    return dict(method=chance.choice(["GET", "POST", "PUT", "DELETE"]), url=make_url(chance),
                headers=headers, body=text(chance, 200), region=chance.choice(["eu-west-1", "us-east-1", "cn-north-1"]),
                service=chance.choice(["dynamodb", "sts", "sqs"]), access="AKID" + text(chance, 8, string.ascii_uppercase),
                secret=text(chance, 40) + "s", token=text(chance, 300, string.ascii_letters + "+/=") or None,
                moment=moment)


def by_botocore(request, monkeypatch):
    class Frozen(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return request["moment"]
    monkeypatch.setattr(botocore.auth.datetime, "datetime", Frozen)
    aws = botocore.awsrequest.AWSRequest(method=request["method"], url=request["url"], headers=dict(request["headers"]),
                                         data=request["body"].encode())
    credentials = botocore.credentials.Credentials(request["access"], request["secret"], request["token"])
    botocore.auth.SigV4Auth(credentials, request["service"], request["region"]).add_auth(aws)
    return aws.headers


def test_signatures_are_botocores(monkeypatch):
    chance = random.Random(1)
    requests = [make_request(chance) for _ in range(REQUESTS)]
    lines = []
    for request in requests:
        moment = request["moment"].replace(tzinfo=datetime.timezone.utc)
        line = dict(request, headers=[f"{name}: {value}" for name, value in request["headers"].items()],
                    time_ms=int(moment.timestamp() * 1000))
        del line["moment"]
        lines.append(json.dumps(line))
    ours = subprocess.run([SIGNER], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True).stdout
    for request, line in zip(requests, ours.splitlines(), strict=True):
        date, token, authorization = line.split("\t")
        theirs = by_botocore(request, monkeypatch)
        assert authorization == "Authorization: " + theirs["Authorization"], request
        assert date == "X-Amz-Date: " + theirs["X-Amz-Date"]
        assert token == ("X-Amz-Security-Token: " + request["token"] if request["token"] else "")
