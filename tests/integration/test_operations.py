"""What a year of operating it meets: releases that are switched, files that are wrong, states that are elsewhere."""
import json
import os
import signal

import pytest

from conftest import wait_until
from services import Http
from test_delivery import emulators  # noqa: F401 (a fixture)
from test_trials import put

HANDLER = 'return { stream = "s", retries = 0, on_record = function(record)\n' \
          '  if record.keys.id == "bad" then error("no") end end }'


def started(deployment, local, name):
    table = local.table(name())
    deployment.script("h", HANDLER)
    deployment.stream(table, threads=1, checkpoint_interval="50ms")
    host = deployment.start()
    host.wait_for("reading ")
    put(local.client, table, "good")
    put(local.client, table, "bad")
    wait_until(lambda: deployment.status() and deployment.status()["dead_letters"].get("h") == 1, "one is a letter")
    return host


def troubles(deployment, kind):
    return [row["text"] for row in deployment.status()["troubles"] if row["subject"] == "host" and row["kind"] == kind]


@pytest.mark.parametrize("wrong", ["[handler h]\nretries = many\n", "[stream s]\nunheard_of = 1\n", "[target t]\ntype = pigeon\n"])
def test_an_ini_that_is_wrong_blinds_nobody(beside_local, local, name, wrong):
    deployment = beside_local
    host = started(deployment, local, name)
    deployment.ini.write_text(deployment.ini.read_text() + wrong)
    assert deployment.run("check", "-c", deployment.ini).returncode != 0
    for command in (["status"], ["dead", "list"], ["dead", "show", "1"], ["pause", "h"], ["resume", "h"]):
        done = deployment.run(*command)
        assert done.returncode == 0, done.stderr
        assert "is wrong as it stands" in done.stderr
    assert "h" in deployment.run("status").stdout and "bad" in deployment.run("dead", "show", "1").stdout
    wait_until(lambda: troubles(deployment, "ini"), "status says that the host runs with another one")
    assert "is not the one that is in force" in troubles(deployment, "ini")[0]
    host.process.send_signal(signal.SIGHUP)
    host.wait_for("not taken over")
    assert troubles(deployment, "ini")
    deployment.ini.write_text(deployment.ini.read_text().replace(wrong, ""))
    wait_until(lambda: not troubles(deployment, "ini"), "it is the same again")
    assert host.stop() == 0
    assert "is wrong as it stands" not in deployment.run("status").stderr


@pytest.mark.parametrize("wrong", ["[host]\nstate = nowhere\n", "[host]\nnonsense = 1\n", "[Host]\nstate = sqlite:elsewhere.db\n", "[hots]\n", "[aws]\nregion = ${env:NOT_THERE}\n", "[host\n", "state = sqlite:x\n"])
def test_where_the_state_is_must_be_known(beside_local, local, name, wrong):
    """Rather nothing than another deployment's letters."""
    deployment = beside_local
    host = started(deployment, local, name)
    deployment.ini.write_text((wrong + deployment.ini.read_text()) if wrong.startswith("state") else deployment.ini.read_text() + wrong)
    for command in (["status"], ["dead", "list"], ["seek", "h", "latest", "--running"]):
        done = deployment.run(*command)
        assert done.returncode == 2 and "is wrong as it stands" not in done.stderr
    assert host.stop() == 0


def test_a_state_that_is_switched_under_a_host_is_told(beside_local, local, name):
    """A release directory with the state in it: current -> one, then current -> two."""
    deployment = beside_local
    for release in ("one", "two"):
        (deployment.directory / release).mkdir()
    current = deployment.directory / "current"
    current.symlink_to("one")
    table = local.table(name())
    deployment.script("h", HANDLER)
    deployment.stream(table, threads=1, checkpoint_interval="50ms", state="sqlite:current/state.db")
    host = deployment.start()
    host.wait_for("reading ")
    put(local.client, table, "good")
    wait_until(lambda: deployment.settled(), "it is handled")
    (deployment.directory / "next").symlink_to("two")
    os.replace(deployment.directory / "next", current)
    host.wait_for("is not the file any more that this host has open")
    assert host.stop() == 0


def test_a_backup_beside_a_host_is_the_state(beside_local, local, name):
    deployment = beside_local
    host = started(deployment, local, name)
    letter, = json.loads(deployment.run("dead", "list", "--json").stdout)
    wait_until(lambda: [row["sequence"] for row in deployment.status()["checkpoints"]] == [letter["sequence"]], "its place is behind the letter")
    saved = deployment.directory / "saved.db"
    done = deployment.run("state", "backup", saved)
    assert done.returncode == 0 and f"{saved} is a back-up of sqlite:" in done.stdout, done.stderr
    assert oct(saved.stat().st_mode & 0o777) == "0o600"
    assert sorted(path.name for path in deployment.directory.glob("saved.db*")) == ["saved.db"]
    done = deployment.run("state", "backup", saved)
    assert done.returncode == 1 and "there is a file already" in done.stderr
    done = deployment.run("state", "backup", deployment.directory / "nowhere" / "saved.db")
    assert done.returncode == 1 and "nowhere/saved.db" in done.stderr
    assert deployment.run("state", "backup").returncode == 2
    before = deployment.status()
    deployment.run("dead", "drop", "--all")
    wait_until(lambda: not deployment.status()["dead_letters"], "what came after the back-up")
    assert host.stop() == 0
    for path in deployment.directory.glob("state.db*"):
        path.unlink()
    saved.rename(deployment.directory / "state.db")
    after = deployment.status()
    assert after["dead_letters"] == before["dead_letters"] == {"h": 1}
    place = [(row["shard"], row["sequence"]) for row in after["checkpoints"]]
    assert place == [(row["shard"], row["sequence"]) for row in before["checkpoints"]] and place
    host = deployment.start()
    host.wait_for("handler h goes on where it stands in 1 shard; the oldest of these places is of ")
    assert host.stop() == 0
    (deployment.directory / "state.db").unlink()
    done = deployment.run("state", "backup", saved)
    assert done.returncode == 1 and "there is no state yet" in done.stderr
    (deployment.directory / "state.db").write_bytes(b"no database at all, but long enough to be one" * 200)
    done = deployment.run("state", "backup", saved)
    assert done.returncode == 1 and not list(deployment.directory.glob("saved.db*")), done.stderr
    deployment.ini.write_text(deployment.ini.read_text().replace("state = sqlite:state.db", "state = dynamodb:State"))
    done = deployment.run("state", "backup", saved)
    assert done.returncode == 1 and "point-in-time recovery" in done.stderr


def test_a_first_start_says_where_its_state_is(beside_local, local, name):
    deployment = beside_local
    deployment.script("h", HANDLER)
    deployment.stream(local.table(name()), threads=1)
    host = deployment.start()
    host.wait_for(f"handler h has no place in sqlite:{deployment.directory}/state.db yet")
    assert host.stop() == 0


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_target_that_takes_nothing_from_anybody_makes_no_letters(beside_local, local, name, status):
    """A token that was rotated says nothing of the records."""
    deployment, table, sink = beside_local, local.table(name()), Http(status=status)
    deployment.stream(table, f"[target t]\ntype = http\nurl = {sink.url}\nbackoff = 20ms..50ms\n[route all]\nstream = s\ntarget = t\nretries = 2\n",
                      threads=1, checkpoint_interval="50ms")
    host = deployment.start()
    for i in range(10):
        put(local.client, table, f"i{i}")
    wait_until(lambda: len(sink.seen) > 50, "it is asked again and again")
    [trouble] = [row for row in deployment.status()["troubles"] if row["subject"] == "target t"]
    assert str(status) in trouble["text"]
    sink.status = 200
    wait_until(lambda: deployment.settled(), "all is delivered")
    wait_until(lambda: not deployment.status()["troubles"], "the trouble is over")
    assert not deployment.status()["dead_letters"]
    assert host.stop() == 0


def test_a_queue_that_comes_later_gets_all(beside_local, local, name, emulators):
    deployment, table, queue = beside_local, local.table(name()), name("q")
    url = emulators.queue(queue)
    emulators.sqs("DeleteQueue", QueueUrl=url)
    deployment.aws = f"endpoint_sqs = http://127.0.0.1:{emulators.port}\n"
    deployment.stream(table, f"[target t]\ntype = sqs\nqueue = {url}\nbackoff = 20ms..100ms\n[route all]\nstream = s\ntarget = t\n",
                      threads=1, checkpoint_interval="50ms")
    host = deployment.start()
    for i in range(10):
        put(local.client, table, f"i{i}")
    wait_until(lambda: deployment.status() and any(row["subject"] == "target t" for row in deployment.status()["troubles"]), "it is told")
    emulators.queue(queue)
    wait_until(lambda: deployment.settled(), "all is delivered")
    assert not deployment.status()["dead_letters"]
    assert len(emulators.messages(url)) == 10
    assert host.stop() == 0


def test_a_secret_that_is_rotated_needs_no_signal(beside_local, local, name):
    deployment, table, sink = beside_local, local.table(name()), Http()
    secret = deployment.directory / "secret"
    secret.write_text("one\n")
    deployment.script("h", 'local http, config = require "tidemill.http", require "tidemill.config"\n'
                           'return { stream = "s", on_record = function(record)\n'
                           '  http.post(config.url, { json = { id = record.keys.id, token = config.token } }) end }')
    deployment.script("other", HANDLER)
    deployment.stream(table, f"[handler h]\nurl = {sink.url}\ntoken = ${{file:secret}}\n", threads=2, checkpoint_interval="50ms")
    host = deployment.start()
    put(local.client, table, "a")
    wait_until(lambda: b'"one"' in b"".join(sink.seen), "it has the first")
    (deployment.directory / "next").write_text("two\n")
    os.replace(deployment.directory / "next", secret)
    host.wait_for("what ${...} of")
    host.wait_for("handler h: version")
    put(local.client, table, "b")
    wait_until(lambda: b'"two"' in sink.seen[-1], "it has the second")
    assert not any("handler other: version" in message for message in host.messages())
    text = host.log_path.read_text()
    assert '"one"' not in text and '"two"' not in text
    secret.unlink()  # for a moment there is none
    wait_until(lambda: troubles(deployment, "secrets"), "that is told")
    put(local.client, table, "c")
    wait_until(lambda: len(sink.seen) == 3 and b'"two"' in sink.seen[-1], "it goes on with what it has")
    assert host.stop() == 0


def test_letters_of_a_bad_release_are_seen_by_kind(beside_local, local, name):
    deployment, table = beside_local, local.table(name())
    deployment.script("h", 'return { stream = "s", retries = 0, on_record = function(record)\n'
                           '  if record.keys.id:sub(1, 1) == "a" then error("cannot price item " .. record.keys.id:sub(2), 0) end\n'
                           '  error("no such customer\\nsecond line", 0) end }')
    deployment.stream(table, threads=1, checkpoint_interval="50ms")
    host = deployment.start()
    for i in range(12):
        put(local.client, table, f"a{i}")
    put(local.client, table, "b")
    wait_until(lambda: deployment.status() and deployment.status()["dead_letters"].get("h") == 13, "all are letters")
    groups = json.loads(deployment.run("dead", "list", "--group", "--json").stdout)
    assert [(group["count"], group["handler"]) for group in groups] == [(12, "h"), (1, "h")]
    assert "cannot price item " in groups[0]["error"] and groups[1]["error"].endswith("no such customer")
    assert groups[0]["first_ms"] <= groups[0]["last_ms"]
    lines = deployment.run("dead", "list", "--group").stdout.splitlines()
    assert len(lines) == 3 and lines[1].split()[:2] == ["12", "h"]
    assert len(deployment.run("dead", "list", "--group", "--limit", "1").stdout.splitlines()) == 2
    assert deployment.run("dead", "list", "--group", "--error", "customer").stdout.count("\n") == 2
    lines = deployment.run("dead", "list", "--limit", "5").stdout.splitlines()
    assert len(lines) == 7 and lines[-1] == "and more (--limit 5)"
    assert len(deployment.run("dead", "list", "--limit", "13").stdout.splitlines()) == 14
    for command in (["dead", "drop", "--group", "--all"], ["dead", "drop", "--all", "--limit", "3"]):
        assert deployment.run(*command).returncode == 2
    assert host.stop() == 0


def test_a_letter_that_is_not_there_is_told(beside_local, local, name):
    deployment = beside_local
    host = started(deployment, local, name)
    for verb in ("show", "redrive", "drop"):
        done = deployment.run("dead", verb, "4711")
        assert done.returncode == 1 and f"dead {verb}: there is no dead letter 4711" in done.stderr
    letter = str(json.loads(deployment.run("dead", "list", "--json").stdout)[0]["id"])
    done = deployment.run("dead", "show", letter, "4711")
    assert done.returncode == 1 and f"dead letter {letter}" in done.stdout and "4711" in done.stderr
    done = deployment.run("dead", "show", letter, "--handler", "other")
    assert done.returncode == 1 and "among those that the filters choose" in done.stderr
    assert deployment.run("dead", "drop", letter).returncode == 0
    assert deployment.run("dead", "list").stdout == "no dead letters\n"
    assert host.stop() == 0


def test_a_host_that_is_killed_again_and_again_gets_on(beside_local, local, name):
    """Each time before the usual checkpoint_interval is over."""
    deployment, table, sink = beside_local, local.table(name()), Http()
    deployment.script("h", 'local http, config = require "tidemill.http", require "tidemill.config"\n'
                           'return { stream = "s", ordering = "shard", on_record = function(record)\n'
                           '  http.post(config.url, { json = { id = record.keys.id } }) require("tidemill.time").sleep(0.1) end }')
    deployment.stream(table, f"[handler h]\nurl = {sink.url}\n", threads=1, checkpoint_interval="1h", log_level="info")
    for i in range(40):
        put(local.client, table, f"i{i}")
    for _ in range(6):
        before = len(sink.seen)
        host = deployment.start()
        wait_until(lambda: len(sink.seen) >= before + 5, "it works")
        host.process.kill()
        host.process.wait()
    assert len(set(sink.seen)) > 10, len(set(sink.seen))
