"""An export of a table to S3, in place of reading it: then the stream, from the time of the export on."""
import base64
import datetime
import gzip
import hashlib
import io
import json
import random
import signal
import subprocess

import pytest
from conftest import BINARY, wait_until
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


def incremental(local, table, before, since, until, files=2, prefix="", view="NEW_AND_OLD_IMAGES", number=1):
    """What became of each item between `since` and `until`, from what the table held before (or now): key -> bytes."""
    now, iso = contents(local, table), lambda when: when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")[:-4] + "Z"
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    made, lines, root = {}, [], f"{prefix}AWSDynamoDB"
    for at in range(files):
        part, text = changed[at::files], ""
        for key in part:
            images = {name: encode(item) for name, item in (("OldImage", before.get(key)), ("NewImage", now.get(key))) if item}
            if view == "NEW_IMAGE":
                images.pop("OldImage", None)
            text += json.dumps({"Metadata": {"WriteTimestampMicros": {"N": str(int(since.timestamp() * 1e6) + 1)}}, "Keys": {"id": {"S": key}}} | images) + "\n"
        data = gzip.compress(text.encode())
        key = f"{root}/data/incremental{number}-{at}.json.gz"
        made[key] = data
        lines.append(json.dumps(dict(itemCount=len(part), md5Checksum=base64.b64encode(hashlib.md5(data).digest()).decode(), etag="x-1", dataFileS3Key=key)))
    own = f"{root}/01693685830{number:03}-2d8752fd"
    made[f"{own}/manifest-files.json"] = ("\n".join(lines) + "\n").encode()
    made[f"{own}/manifest-summary.json"] = json.dumps(dict(
        version="2023-08-01", exportArn=f"arn:aws:dynamodb:eu-west-1:1:table/x/export/01693685830{number:03}-2d8752fd", startTime=iso(until), endTime=iso(until),
        tableArn=f"arn:aws:dynamodb:eu-west-1:000000000000:table/{table}", tableId="x", exportFromTime=iso(since), exportToTime=iso(until), s3Bucket="b", s3Prefix=prefix,
        manifestFilesS3Key=f"{own}/manifest-files.json", billedSizeBytes=1, itemCount=len(changed), outputFormat="DYNAMODB_JSON", outputView=view, exportType="INCREMENTAL_EXPORT")).encode()
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
    for made, part in ((export(local, table, 2, when=now - datetime.timedelta(hours=30)), "make a newer one, or an incremental one"),
                       (export(local, table, 2, tableArn="arn:aws:dynamodb:eu-west-1:1:table/Other"), "is an export of table Other"),
                       (export(local, table, 2, exportType="INCREMENTAL_EXPORT"), "not the times"),
                       (export(local, table, 2, exportType="INCREMENTAL_EXPORT", exportFromTime="2026-01-31T10:00:00Z", exportToTime="2026-01-31T11:00:00Z"), "incremental exports alone"), (export(local, table, 2, outputFormat="ION"), "its format is ION"),
                       (export(local, table, 2, when=now + datetime.timedelta(hours=5)), "still to come"), (export(local, table, 2, itemCount=3001), "the summary says 3001"),
                       (damaged, "its MD5 differs")):
        write(where, made)
        told(part)
    write(where, good)
    host.wait_for("goes on with the stream")
    wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0


HOUR = datetime.timedelta(hours=1)


def change(local, table, version, items=range(0, 300)):
    """Some change, some go, some come."""
    for i in items:
        key = {"id": {"S": f"i{i}"}}
        if i % 3 == 0:
            local.client.delete_item(TableName=table, Key=key)
        else:
            local.client.put_item(TableName=table, Item={**key, "version": {"N": str(version)}})
    for i in range(3):
        local.client.put_item(TableName=table, Item={"id": {"S": f"new{version}-{i}"}, "version": {"N": str(version)}})


def a_chain(local, table, prefix="", view="NEW_AND_OLD_IMAGES"):
    """A full export, too old for the stream, and two incremental ones; some changes come in both."""
    now = datetime.datetime.now(datetime.timezone.utc)
    made = export(local, table, 3, when=now - 40 * HOUR, prefix=prefix)
    first = contents(local, table)
    change(local, table, 10)
    second = contents(local, table)
    made |= incremental(local, table, first, now - 40 * HOUR, now - 20 * HOUR, prefix=prefix, view=view)
    change(local, table, 20, range(200, 500))
    made |= incremental(local, table, second, now - 21 * HOUR, now, 3, prefix=prefix, view=view, number=2)
    return made


@pytest.mark.parametrize("view", ["NEW_AND_OLD_IMAGES", "NEW_IMAGE"])
def test_incremental_ones_go_on_from_a_full_one(beside_local, local, name, tmp_path, view):
    deployment = beside_local
    slow = COPY.replace("local image", "if record.snapshot then require('tidemill.time').sleep(0.02) end\n  local image")
    table, copy = prepare(deployment, local, name, tmp_path / "export", "batch_size = 50", slow)
    made = a_chain(local, table, view=view)
    write(tmp_path / "export", made)
    change(local, table, 30, range(400, 600))  # these come by the stream
    host = deployment.start()
    host.wait_for("then what incremental exports have")
    host.wait_for("goes on with the incremental one")
    host.kill()
    gone = [(path := tmp_path / "export" / key, path.rename(path.with_suffix(".gone"))) for key in made if "/01693685830002-" in key]
    host = deployment.start()
    host.wait_for("the next export cannot begin")
    wait_until(lambda: any("is gone" in trouble["text"] for trouble in (deployment.status() or {}).get("troubles", [])), "the trouble is told")
    for path, other in gone:
        other.rename(path)
    host.wait_for("goes on with the stream")
    wait_until(same(local, table, copy), "the copy is as its table")
    wait_until(lambda: not deployment.status()["troubles"], "the trouble is over")
    assert host.stop() == 0


def test_a_replay_of_exports(beside_local, local, name, tmp_path, emulators):
    deployment = beside_local
    emulators.bucket("exports")
    table, copy = prepare(deployment, local, name, tmp_path / "none", endpoints=f"endpoint_s3 = http://127.0.0.1:{emulators.port}")
    for key, data in a_chain(local, table, prefix="t/").items():
        emulators.s3.put_object(Bucket="exports", Key=key, Body=data)
    wanted = contents(local, table)
    done = deployment.run("replay", "--from", "s3://exports/t", "--handler", "h")
    assert done.returncode == 0 and " events replayed through h, 0 left out, 0 failed" in done.stderr, done.stderr
    assert contents(local, copy) == wanted
    # One alone, by its name; what a directory holds of another table's is refused.
    done = deployment.run("replay", "--from", "s3://exports/t/AWSDynamoDB/01693685830002-2d8752fd", "--handler", "h", "--restart")
    assert done.returncode == 0, done.stderr
    write(tmp_path / "others", export(local, table, 1, tableArn="arn:aws:dynamodb:eu-west-1:1:table/Other"))
    done = deployment.run("replay", "--from", str(tmp_path / "others"), "--handler", "h")
    assert done.returncode in (1, 2) and "is an export of table Other" in done.stderr, done.stderr


def renamed(made, to):
    """The same export, asked for at another time."""
    return {key.replace("01693685827463", to): data.replace(b"01693685827463", to.encode()) if not key.endswith(".gz") else data for key, data in made.items()}


def asked(when):
    return f"0{int(when.timestamp() * 1000)}"


def test_the_newest_is_that_of_the_latest_time(beside_local, local, name, tmp_path):
    deployment, now = beside_local, datetime.datetime.now(datetime.timezone.utc)
    table, copy = prepare(deployment, local, name, tmp_path / "export")
    old = renamed(export(local, table, 1, when=now - 26 * HOUR), asked(now))  # asked for last, of a time long ago
    change(local, table, 10)
    write(tmp_path / "export", old | renamed(export(local, table, 1), asked(now - 5 * datetime.timedelta(seconds=1))))
    done = deployment.run("replay", "--from", str(tmp_path / "export"), "--handler", "h")
    assert done.returncode == 0 and contents(local, copy) == contents(local, table), done.stderr
    host = deployment.start()
    host.wait_for("goes on with the stream")
    assert host.stop() == 0


def test_what_a_replay_passes_over_is_told(beside_local, local, name, tmp_path):
    deployment = beside_local
    table, copy = prepare(deployment, local, name, tmp_path / "export")
    made = a_chain(local, table)
    write(tmp_path / "export", made)
    summaries = sorted(tmp_path.glob("export/AWSDynamoDB/*/manifest-summary.json"))
    whole = summaries[2].read_bytes()
    summaries[2].write_bytes(whole[:-40])
    done = deployment.run("replay", "--from", str(tmp_path / "export"), "--handler", "h")
    assert done.returncode == 0 and "warning: passed over: " in done.stderr and "01693685830002" in done.stderr, done.stderr
    assert "01693685830001-2d8752fd: " in done.stderr and " changes until 20" in done.stderr, done.stderr
    later = json.loads(whole) | {"exportFromTime": (datetime.datetime.now(datetime.timezone.utc) - HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")}
    summaries[2].write_text(json.dumps(later))
    done = deployment.run("replay", "--from", str(tmp_path / "export"), "--handler", "h", "--restart")
    assert done.returncode == 0 and "is in none" in done.stderr, done.stderr


def test_a_replay_is_of_the_exports_that_it_began_with(beside_local, local, name, tmp_path):
    deployment = beside_local
    table, copy = prepare(deployment, local, name, tmp_path / "export")
    write(tmp_path / "export", export(local, table, 4))
    first = subprocess.Popen([BINARY, "replay", "--from", str(tmp_path / "export"), "--handler", "h", "--rate", "400"], cwd=deployment.directory, env=deployment.environment,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(contents(local, copy)) > 60, "a part is replayed")
    first.kill()
    first.communicate()
    write(tmp_path / "export", renamed(export(local, table, 2), "01693685900000"))
    done = deployment.run("replay", "--from", str(tmp_path / "export"), "--handler", "h")
    assert done.returncode == 0 and "before" not in done.stderr and "3000 events replayed" in done.stderr, done.stderr


def test_a_replay_into_one_that_runs_leaves_nothing_old(beside_local, local, name, tmp_path):
    deployment = beside_local
    table, copy, other = local.table(name()), local.table(name("Copy"), stream=False), local.table(name("Other"), stream=False)
    fill(local, table, 200)
    deployment.script("h", COPY)
    deployment.stream(table, f"[handler h]\ncopy = {copy}\n[handler second]\nscript = h\ncopy = {other}\n")
    host = deployment.start()
    wait_until(deployment.settled, "both follow the stream")
    write(tmp_path / "export", export(local, table, 2))
    for i in range(50):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i}"}, "version": {"N": "7"}})
    local.client.delete_item(TableName=table, Key={"id": {"S": "i60"}})
    wait_until(lambda: deployment.settled() and same(local, table, other)(), "the second one has it")
    done = deployment.run("replay", "--from", str(tmp_path / "export"), "--handler", "h", "--as", "second")
    assert done.returncode == 0 and "has met the live stream" in done.stdout, done
    wait_until(same(local, table, other), "it has it again")
    assert host.stop() == 0


def test_two_handlers_and_a_stream_that_came_later(beside_local, local, name, tmp_path):
    deployment = beside_local
    table = local.table(name(), stream=False)
    copies = [local.table(name("Copy"), stream=False) for _ in range(3)]
    fill(local, table, 300)
    deployment.script("h", COPY)
    sections = "".join(f"[handler {handler}]\nscript = h\ncopy = {copy}\n" for handler, copy in zip(("h", "i", "j"), copies))
    deployment.stream(table, f"export = {tmp_path}/export\n{sections}")
    deployment.ini.write_text(deployment.ini.read_text().replace("discovery = 500ms", "discovery = 60s"))
    done = deployment.run("check")
    assert done.returncode == 0 and "No such file" in done.stderr, done
    write(tmp_path / "export", a_chain(local, table))
    local.enable_stream(table, True)
    host = deployment.start()
    told = lambda part: wait_until(lambda: any(part in trouble["text"] for trouble in (deployment.status() or {}).get("troubles", [])), part)
    told("is in neither")  # between the last export and the stream
    write(tmp_path / "export", incremental(local, table, contents(local, table), datetime.datetime.now(datetime.timezone.utc) - HOUR, datetime.datetime.now(datetime.timezone.utc), number=3))
    for _ in range(3):
        host.wait_for("goes on with the stream")
    for copy in copies:
        wait_until(same(local, table, copy), "each copy is as its table")
    assert host.stop() == 0


def test_a_large_file_in_s3(beside_local, local, name, emulators):
    deployment = beside_local
    emulators.bucket("exports")
    counts = "local n = 0 return { stream = 's', on_record = function(record) n = n + 1 assert(#record.new.blob > 300000) if n == 260 then print('all ' .. n) end end }"
    table, _ = prepare(deployment, local, name, "s3://exports", script=counts, endpoints=f"endpoint_s3 = http://127.0.0.1:{emulators.port}")
    lines = "".join(json.dumps({"Item": {"id": {"S": f"i{i}"}, "blob": {"S": base64.b64encode(random.randbytes(260000)).decode()}}}) + "\n" for i in range(260))
    data = gzip.compress(lines.encode(), 1)
    assert len(data) > 65 << 20
    made = export(local, table, 1, itemCount=260)
    for key in made:
        if key.endswith("manifest-files.json"):
            file = json.loads(made[key]) | dict(itemCount=260, md5Checksum=base64.b64encode(hashlib.md5(data).digest()).decode())
            made[key] = (json.dumps(file) + "\n").encode()
        emulators.s3.upload_fileobj(io.BytesIO(data if key.endswith(".gz") else made[key]), "exports", key)
    done = deployment.run("replay", "--from", "s3://exports", "--handler", "h")
    assert done.returncode == 0 and "260 events replayed" in done.stderr, done.stderr


RECORDS = """
local dynamodb, config = require "tidemill.dynamodb", require "tidemill.config"
local count = 0
return { stream = "s", retries = -1, on_record = function(record)
  count = count + 1
  dynamodb.put(config.copy, { id = record.keys.id .. " " .. record.event .. " " .. tostring(record.snapshot) .. " " .. tostring(record.old ~= nil) .. tostring(record.new ~= nil),
                              time = math.floor(record.time) })
end }
"""


@pytest.mark.parametrize("view", ["NEW_AND_OLD_IMAGES", "NEW_IMAGE"])
def test_what_an_incremental_one_gives(beside_local, local, name, tmp_path, view):
    deployment = beside_local
    table, seen = prepare(deployment, local, name, tmp_path / "export", script=RECORDS)
    now = datetime.datetime.now(datetime.timezone.utc)
    before = contents(local, table)
    made = export(local, table, 1, when=now - 40 * HOUR, itemCount=0) | {}
    key = next(key for key in made if key.endswith("manifest-files.json"))
    made[key] = json.dumps(json.loads(made[key]) | {"itemCount": 0}).encode()  # nothing of the full one
    change(local, table, 10, range(0, 3))
    made |= incremental(local, table, before, now - 40 * HOUR, now - 20 * HOUR, view=view)
    made |= incremental(local, table, contents(local, table), now - 20 * HOUR, now, files=0, number=2)
    write(tmp_path / "export", made)
    host = deployment.start()
    host.wait_for("then what incremental exports have")
    write(tmp_path / "export", incremental(local, table, before, now, now + datetime.timedelta(seconds=1), number=3))  # comes too late for this
    for _ in range(2):
        host.wait_for("goes on with the incremental one")
    host.wait_for("goes on with the stream")
    wait_until(deployment.settled, "all is handled")
    assert host.stop() == 0
    both = view == "NEW_AND_OLD_IMAGES"
    wanted = {f"i0 REMOVE true {'true' if both else 'false'}false", f"i1 {'MODIFY true truetrue' if both else 'INSERT true falsetrue'}", f"i2 {'MODIFY true truetrue' if both else 'INSERT true falsetrue'}"}
    wanted |= {f"new10-{i} INSERT true falsetrue" for i in range(3)}
    found = {key: int(item["time"]["N"]) for key, item in contents(local, seen).items() if " true " in key}
    assert set(found) == wanted, set(found) ^ wanted
    assert set(found.values()) == {int((now - 40 * HOUR).timestamp())}, found


def test_the_next_one_cannot_be_read_for_a_while(beside_local, local, name, tmp_path):
    deployment = beside_local
    slow = COPY.replace("local image", "if record.snapshot then require('tidemill.time').sleep(0.02) end\n  local image")
    table, copy = prepare(deployment, local, name, tmp_path / "export", "batch_size = 50", slow)
    made = a_chain(local, table)
    write(tmp_path / "export", made)
    files = tmp_path / "export/AWSDynamoDB/01693685830001-2d8752fd/manifest-files.json"
    whole = files.read_bytes()
    files.unlink()
    host = deployment.start()
    host.wait_for("the next export cannot begin")
    files.write_bytes(whole)
    host.wait_for("goes on with the stream")
    wait_until(same(local, table, copy), "the copy is as its table")
    assert host.stop() == 0


def test_a_chain_into_a_second_store(beside_local, local, name, tmp_path):
    deployment = beside_local
    table, copy, other = local.table(name()), local.table(name("Copy"), stream=False), local.table(name("Other"), stream=False)
    fill(local, table, 100)
    deployment.script("h", COPY)
    deployment.stream(table, f"[handler h]\ncopy = {copy}\n")
    host = deployment.start()
    wait_until(deployment.settled, "it follows the stream")
    write(tmp_path / "export", a_chain(local, table))
    deployment.stream(table, f"[handler h]\ncopy = {copy}\n[handler second]\nscript = h\ncopy = {other}\n")
    done = deployment.run("replay", "--from", str(tmp_path / "none"), "--handler", "h", "--as", "second")
    assert done.returncode == 1 and "paused" not in deployment.run("status").stdout, done
    watched = subprocess.Popen([BINARY, "replay", "--from", str(tmp_path / "export"), "--handler", "h", "--as", "second"], cwd=deployment.directory, env=deployment.environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: "second is paused" in deployment.run("status").stdout or watched.poll() is not None, "it is held meanwhile")
    host.process.send_signal(signal.SIGHUP)
    out, err = watched.communicate(timeout=120)
    assert watched.returncode == 0 and "has met the live stream" in out, (out, err)
    change(local, table, 40, range(10, 60))
    wait_until(same(local, table, other), "the second store is as the table")
    assert host.stop() == 0


def test_a_damaged_file_is_not_replayed(beside_local, local, name, tmp_path):
    deployment = beside_local
    table, copy = prepare(deployment, local, name, tmp_path / "export")
    made = {key: data[:-9] + b"x" + data[-8:] if key.endswith("file1.json.gz") else data for key, data in export(local, table, 2).items()}
    write(tmp_path / "export", made)
    done = deployment.run("replay", "--from", str(tmp_path / "export" / "AWSDynamoDB"), "--handler", "h")  # the place below is understood
    assert done.returncode == 1 and "its MD5 differs" in done.stderr, done.stderr
