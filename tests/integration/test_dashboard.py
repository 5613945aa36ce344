"""The dashboard, in a real browser."""
import glob
import json
import os
import pathlib
import re
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from conftest import BINARY, PATIENCE_S, ROOT, npm_packages, wait_until
from test_many_hosts import Writer

TOKEN = "a-token-of-the-dashboard"
SHOTS = os.environ.get("TIDEMILL_SHOTS")  # a directory: what was seen is kept there
HANDLER = ('local log = require "tidemill.log"\n'
           'return { stream = "s", retries = 0, on_record = function(r) if r.new and r.new.bad then error("this one is bad") end log.info("had " .. r.keys.id) end }')


@pytest.fixture(scope="session")
def modules():
    return npm_packages("browser")


def browse(modules, scenario, url, shot=None, **options):
    given = {"url": url, "token": TOKEN, "patience_ms": PATIENCE_S * 1000, **options}
    if shot and SHOTS:
        given["shot"] = str(pathlib.Path(SHOTS) / shot)
    done = subprocess.run(["node", ROOT / "tests" / "browser" / "dashboard.cjs", modules, scenario, json.dumps(given)],
                          capture_output=True, text=True, timeout=3 * PATIENCE_S)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert not seen.pop("wrong"), done.stdout
    return seen


def url_of(host):
    host.wait_for("metrics are at")
    return re.findall(r"metrics are at (http://127\.0\.0\.1:\d+)/", "\n".join(host.messages()))[-1] + "/"


def put(local, table, key, **more):
    local.client.put_item(TableName=table, Item={"id": {"S": key}, **more})


def begin(deployment, local, name, script=HANDLER, **host):
    table = local.table(name())
    if script:
        deployment.script("h", script)
    deployment.stream(table, listen="127.0.0.1:0", admin_token=TOKEN, **host)
    return table, deployment.start()


def post(url, body, token=TOKEN, **headers):
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {}), **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}api/action", json.dumps(body).encode(), headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def get(url, path, token=None):
    with urllib.request.urlopen(urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"} if token else {})) as answer:
        return json.load(answer)


@pytest.mark.one_thread
def test_it_shows_what_is_well_behind_broken_and_empty(beside_local, local, name, modules):
    deployment = beside_local
    table, host = begin(deployment, local, name, script=None)
    seen = browse(modules, "look", url_of(host), "empty", verdict="not ready|well|read")
    assert seen["handlers"] == [] and seen["sideways"] <= 0, seen
    deployment.script("h", HANDLER)
    for i in range(5):
        put(local, table, f"i{i}")
    host.wait_for("had i4")
    seen = browse(modules, "look", url_of(host), "well", verdict="^well")
    assert seen["kind"] == "good" and seen["title"].startswith("tidemill") and seen["sideways"] <= 0, seen
    assert seen["handlers"][0][0] == "h" and seen["handlers"][0][1] == "0s" and seen["streams"][0][0] == table
    put(local, table, "bad", bad={"BOOL": True})
    wait_until(lambda: "bad" in deployment.run("dead", "list").stdout, "it is a dead letter")
    seen = browse(modules, "look", url_of(host), "letters", verdict="1 dead letter")
    assert seen["kind"] == "late" and seen["title"].startswith("! ") and "1" in seen["handlers"][0]
    deployment.script("h", "this is no Lua")
    host.wait_for("not loaded")
    seen = browse(modules, "look", url_of(host), "broken", verdict="not ready|does not work")
    assert seen["kind"] == "bad" and any("h.lua:1" in line for line in seen["troubles"]), seen
    assert host.stop() == 0


@pytest.mark.one_thread
def test_a_letter_is_shown_whole_and_redriven_by_who_has_the_token(beside_local, local, name, modules):
    deployment = beside_local
    table, host = begin(deployment, local, name)
    put(local, table, "k", stock={"N": "60"}, **{"<b>": {"S": "<img src=x onerror=alert(1)>"}})
    host.wait_for("had k")
    put(local, table, "k", stock={"N": "45"}, bad={"BOOL": True})
    wait_until(lambda: "bad" in deployment.run("dead", "list").stdout, "it is a dead letter")
    deployment.script("h", HANDLER.replace("r.new.bad", "false"))
    host.wait_for("takes the place of")
    seen = browse(modules, "letters", url_of(host), "letter")
    assert seen["hidden"] and seen["buttons"] == ["1"], "who shows no token is offered nothing to change"
    assert "this one is bad" in seen["letter"] and "stack traceback" in seen["letter"]
    assert {"45", "true"} <= set(seen["changed"]) and "60" not in seen["changed"]
    assert "1 letter marked" in seen["told"]
    wait_until(lambda: deployment.run("dead", "list").stdout == "no dead letters\n", "it is handled")
    assert any('"do":"redrive"' in line for line in host.messages())
    assert host.stop() == 0


@pytest.mark.one_thread
def test_a_handler_is_paused_and_resumed_by_the_keyboard(beside_local, local, name, modules):
    deployment = beside_local
    table, host = begin(deployment, local, name)
    put(local, table, "a")
    host.wait_for("had a")
    seen = browse(modules, "pause", url_of(host), "pause")
    assert "handler h is paused" in seen["told"]
    assert sum("for a test" in line or '"do":"resume"' in line for line in host.messages()) >= 2, "what was done is in the log"
    assert host.stop() == 0


@pytest.mark.one_thread
def test_it_lives_and_survives_its_host(beside_local, local, name, modules):
    deployment = beside_local
    table, host = begin(deployment, local, name)
    put(local, table, "a")
    host.wait_for("had a")
    url = url_of(host)
    port = url.split(":")[2].strip("/")
    given = json.dumps({"url": url, "token": TOKEN, "patience_ms": PATIENCE_S * 1000})
    with subprocess.Popen(["node", ROOT / "tests" / "browser" / "dashboard.cjs", modules, "live", given], stdout=subprocess.PIPE, text=True) as browser:
        assert browser.stdout.readline() == "seen\n"
        put(local, table, "b")
        assert browser.stdout.readline() == "moved\n"
        assert host.stop() == 0, "a page that watches holds no stop back"
        assert browser.stdout.readline() == "gone\n"
        deployment.ini.write_text(deployment.ini.read_text().replace("listen = 127.0.0.1:0", f"listen = 127.0.0.1:{port}"))
        host = deployment.start()
        assert json.loads(browser.stdout.readline())["wrong"] == []
    assert host.stop() == 0


@pytest.mark.one_thread
def test_shards_and_cost_are_shown_when_they_are_opened(beside_local, local, name, modules):
    deployment = beside_local
    table, host = begin(deployment, local, name)
    put(local, table, "a")
    host.wait_for("had a")
    wait_until(lambda: get(url_of(host), "api/cost")["lines"], "something is counted")
    seen = browse(modules, "details", url_of(host), "details")
    assert seen["count"].startswith("1 of 1 shard") and seen["shards"][0][0].startswith("shardId") and "USD a day" in seen["cost"]
    assert host.stop() == 0


def test_what_changes_something_wants_the_token(beside_local, local, name):
    deployment = beside_local
    table, host = begin(deployment, local, name)
    put(local, table, "a")
    host.wait_for("had a")
    url = url_of(host)
    pause = {"do": "pause", "handler": "h"}
    assert post(url, pause, token=None)[0] == 401 and post(url, pause, token="a-token-of-the-dashboarD")[0] == 401
    assert post(url, pause, Origin="https://example.com")[0] == 403, "a page of another site"
    assert post(url, pause, Host="example.com")[0] == 403
    assert post(url, pause, **{"Content-Type": "text/plain"})[0] == 400, "what a form of another site could send"
    for mistake in ({}, {"do": "pause"}, {"do": "explode", "handler": "h"}, {"do": "pause", "handler": "hh"}, {"do": "drop"}, {"do": "redrive", "ids": ["x"]},
                    {"do": "seek", "handler": "h", "to": "somewhere"}, [1], "x"):
        status, said = post(url, mistake)
        assert status in (400, 503) and "error" in said, (mistake, status, said)
    assert not deployment.status()["paused"]
    assert post(url, pause)[0] == 200
    wait_until(lambda: "handler h is paused" in host.messages(), "the host has seen it")
    assert post(url, {"do": "resume", "handler": "h"})[0] == 200
    host.wait_for("is not paused any more")
    wait_until(deployment.settled, "it runs again")
    assert "goes on at the oldest record" in post(url, {"do": "seek", "handler": "h", "to": "trim_horizon"})[1]["told"]
    wait_until(lambda: sum("had a" in line for line in host.messages()) == 2, "it has it once more")
    assert host.stop() == 0


def test_the_pages_say_where_they_are_from_and_nothing_else_is_served(beside_local, local, name):
    table, host = begin(beside_local, local, name)
    url = url_of(host)
    with urllib.request.urlopen(url) as page:
        assert "default-src 'none'" in page.headers["Content-Security-Policy"] and page.headers["X-Content-Type-Options"] == "nosniff"
        assert "http" not in re.sub(r'"https?://www\.w3\.org/[^"]*"', "", page.read().decode())
    for path in ("api", "api/", "dashboard.html", "../etc/passwd", "api/action"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url + path)
        assert refused.value.code in (404, 405)
    for path in ("api/letters?id=x&limit=-5", "api/letters?after=9999999999999999999999", "api/shards?limit=-1", "api/cost?days=0", "api/letters?handler=%00%ff"):
        assert isinstance(get(url, path, TOKEN), dict)
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(url, "api/letters")
    assert refused.value.code == 401, "records are for who has the token, where there is one"
    assert host.stop() == 0


def test_an_overview_does_not_grow_with_shards(beside_local, local, name):
    """Whoever has a thousand shards sees as much as who has one."""
    table, host = begin(beside_local, local, name)
    put(local, table, "a")
    host.wait_for("had a")
    url = url_of(host)
    writer = Writer(local, table, 20, 1)
    for _ in range(4):
        writer.split(5)
    writer.write(40)
    wait_until(lambda: sum(stream["shards"] for stream in get(url, "api/overview")["streams"]) >= 15, "all are read")
    assert len(json.dumps(get(url, "api/overview"))) < 4000
    assert len(get(url, "api/shards?limit=3")["shards"]) == 3
    assert host.stop() == 0


@pytest.mark.one_thread
def test_dev_has_tables_items_and_the_inbox_on_it(tmp_path, modules):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "h.lua").write_text(
        'local http, config = require "tidemill.http", require "tidemill.config"\n'
        'return { stream = "s", on_record = function(r) http.post(config.url, { body = "ordered " .. r.new.id .. " for " .. r.new.total }) end }')
    (tmp_path / "tidemill.ini").write_text("[host]\nlisten = 127.0.0.1:0\nlog_format = json\n[stream s]\ntable = Orders\npoll_max = 100ms\n"
                                           "[handler h]\nurl = ${env:TIDEMILL_DEV_URL}/inbox/crm\n[table Orders]\nkey = id\n")
    log = tmp_path / "log"
    with open(log, "wb") as out, subprocess.Popen([BINARY, "dev", "--port", "0"], cwd=tmp_path, stderr=out, stdout=subprocess.DEVNULL) as dev:
        try:
            found = wait_until(lambda: re.search(r"metrics are at (http://127\.0\.0\.1:\d+)/", log.read_text()), "it listens")
            seen = browse(modules, "play", found[1] + "/", "dev", table="Orders", item='{"id": "o1", "total": 12.5, "tags": ["new"]}', wanted='"o1"')
            assert '"total": 12.5' in seen["items"][0][0] and seen["inbox"] == ["POST /inbox/crm  ordered o1 for 12.5"], seen
            assert "pause" in seen["buttons"], "who develops needs no token"
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(f"{found[1]}/api/dynamodb?operation=ListTables", b"{}", {"Content-Type": "application/json", "Origin": "https://example.com"}))
            assert refused.value.code == 403
        finally:
            dev.send_signal(signal.SIGTERM)
        assert dev.wait(timeout=PATIENCE_S) == 0


@pytest.mark.skipif(PATIENCE_S > 120, reason="libfaketime and sanitizers do not go together")
@pytest.mark.one_thread
def test_it_shows_who_is_behind(beside_local, local, name, modules):
    """To this host every record is twenty minutes old."""
    deployment = beside_local
    [library] = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    deployment.environment.update(LD_PRELOAD=library, FAKETIME="+20m", FAKETIME_DONT_FAKE_MONOTONIC="1")
    slow = 'local time = require "tidemill.time"\nreturn { stream = "s", timeout = "1h", on_record = function() time.sleep(3000) end }'
    table, host = begin(deployment, local, name, script=slow, shutdown_timeout="1s")
    put(local, table, "a")
    url = url_of(host)
    wait_until(lambda: any(handler.get("lag_ms", 0) > 1e6 for handler in get(url, "api/overview")["handlers"]), "it is behind")
    seen = browse(modules, "look", url, "behind", verdict="far behind")
    assert seen["kind"] == "bad" and seen["handlers"][0][1] in ("20m", "21m"), seen
    host.stop()
