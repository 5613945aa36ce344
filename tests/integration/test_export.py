"""An export of a table to S3, in place of reading it: then the stream, from the time of the export on."""
import base64
import datetime
import gzip
import hashlib
import json

import pytest
from conftest import wait_until
from services import Emulators
from test_snapshot import COPY, Changes, contents, fill, same, snapshots


@pytest.fixture
def emulators(tmp_path):
    started = Emulators(tmp_path)
    yield started
    started.stop()


def export(local, table, files, when=None, prefix="", **summary):
    """What DynamoDB writes, by its documentation: key -> bytes."""
    items = [item for page in local.client.get_paginator("scan").paginate(TableName=table) for item in page["Items"]]
    made, lines, root = {}, [], f"{prefix}AWSDynamoDB/01693685827463-2d8752fd"
    for at in range(files):
        part = items[at::files]
        text = "".join(json.dumps({"Item": encode(item)}) + "\n" for item in part)
        data = gzip.compress(text.encode())
        key = f"{root}/data/file{at}.json.gz"
        made[key] = data
        lines.append(json.dumps(dict(itemCount=len(part), md5Checksum=base64.b64encode(hashlib.md5(data).digest()).decode(), etag="x-1", dataFileS3Key=key)))
    when = when or datetime.datetime.now(datetime.timezone.utc)
    made[f"{root}/manifest-files.json"] = ("\n".join(lines) + "\n").encode()
    made[f"{root}/manifest-summary.json"] = json.dumps(dict(
        version="2020-06-30", exportArn="arn:aws:dynamodb:eu-west-1:1:table/x/export/01693685827463-2d8752fd", startTime=when.isoformat(), endTime=when.isoformat(),
        tableArn=f"arn:aws:dynamodb:eu-west-1:000000000000:table/{table}", tableId="x", exportTime=when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")[:-4] + "Z", s3Bucket="b", s3Prefix=prefix,
        manifestFilesS3Key=f"{root}/manifest-files.json", billedSizeBytes=1, itemCount=len(items), outputFormat="DYNAMODB_JSON", exportType="FULL_EXPORT") | summary).encode()
    return made


def encode(item):
    return {name: {kind: base64.b64encode(value).decode() if kind == "B" else value for kind, value in typed.items()} for name, typed in item.items()}


def write(directory, made):
    for key, data in made.items():
        (directory / key).parent.mkdir(parents=True, exist_ok=True)
        (directory / key).write_bytes(data)


def prepare(deployment, local, name, where, settings="", script=COPY, endpoints=""):
    table, copy = local.table(name()), local.table(name("Copy"), stream=False)
    fill(local, table, 3000)
    deployment.script("h", script)
    deployment.aws = endpoints
    deployment.stream(table, f"export = {where}\n{settings}\n[handler h]\ncopy = {copy}\n")
    return table, copy


def test_from_a_directory(beside_local, local, name, tmp_path):
    deployment = beside_local
    slow = COPY.replace("local image", "if record.snapshot then require('tidemill.time').sleep(0.05) end\n  local image")
    table, copy = prepare(deployment, local, name, tmp_path / "export", "batch_size = 50", slow)
    write(tmp_path / "export", export(local, table, 5))
    changes = Changes(local, table, 3200, 1)
    changes.start()
    host = deployment.start()
    wait_until(lambda: (found := snapshots(deployment)) and found[0]["items"], "it is under way")
    host.kill()
    before = snapshots(deployment)[0]
    assert before["segments"] == 5 and before["items_about"] == 3000, before
    host = deployment.start()
    host.wait_for("goes on with the stream")
    changes.stop()
    wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0


def test_from_s3(beside_local, local, name, emulators):
    deployment = beside_local
    emulators.bucket("exports")
    table, copy = prepare(deployment, local, name, "s3://exports/tables/", endpoints=f"endpoint_s3 = http://127.0.0.1:{emulators.port}")
    granted = [statement for statement in json.loads(deployment.run("policy").stdout)["Statement"] if "s3:" in json.dumps(statement)]
    assert {json.dumps(statement["Resource"]) for statement in granted} == {'"arn:aws:s3:::exports"', '"arn:aws:s3:::exports/tables/*"'}, granted
    # The newest full one of that table, among others.
    for late, other in (("0999", dict(exportType="INCREMENTAL_EXPORT")), ("0998", dict(tableArn="arn:aws:dynamodb:eu-west-1:1:table/Other"))):
        for key, data in export(local, table, 1, prefix="tables/", **other).items():
            emulators.s3.put_object(Bucket="exports", Key=key.replace("01693685827463", late + "000000"), Body=data)
    for key, data in export(local, table, 3, prefix="tables/").items():
        emulators.s3.put_object(Bucket="exports", Key=key, Body=data)
    host = deployment.start()
    host.wait_for("goes on with the stream")
    wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0


def test_what_is_wrong_with_it_is_told(beside_local, local, name, tmp_path):
    deployment = beside_local
    where = tmp_path / "export"
    table, copy = prepare(deployment, local, name, where)
    now = datetime.datetime.now(datetime.timezone.utc)
    good = export(local, table, 2)
    damaged = {key: data[:-9] + b"x" + data[-8:] if key.endswith("file1.json.gz") else data for key, data in good.items()}
    host = deployment.start()
    told = lambda part: wait_until(lambda: any(part in trouble["text"] for trouble in (deployment.status() or {}).get("troubles", [])), part)
    told("there is no export")
    for made, part in ((export(local, table, 2, when=now - datetime.timedelta(hours=30)), "make a newer one"),
                       (export(local, table, 2, tableArn="arn:aws:dynamodb:eu-west-1:1:table/Other"), "is an export of table Other"),
                       (export(local, table, 2, exportType="INCREMENTAL_EXPORT"), "name a full one"), (export(local, table, 2, outputFormat="ION"), "its format is ION"),
                       (export(local, table, 2, when=now + datetime.timedelta(hours=5)), "still to come"), (export(local, table, 2, itemCount=3001), "the summary says 3001"),
                       (damaged, "its MD5 differs")):
        write(where, made)
        told(part)
    write(where, good)
    host.wait_for("goes on with the stream")
    wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0
