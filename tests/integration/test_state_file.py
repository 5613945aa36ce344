"""The state file over the years: who may read it, whose it is, and what an older or a newer version does with it."""
import fcntl
import json
import os
import pathlib
import shutil
import sqlite3
import stat
import subprocess

import pytest

from conftest import BINARY, wait_until

HANDLER = 'return { stream = "s", on_record = function() end }'

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")


def run_as(user, *command, cwd):
    return subprocess.run(["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", *command], cwd=cwd, capture_output=True, text=True)


def deployed(deployment, dynamodb, name):
    deployment.script("h", HANDLER)
    table = dynamodb.table(name("T"))
    deployment.stream(table)
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": "a"}})


def ran(deployment):
    host = deployment.start()
    wait_until(lambda: [row for row in (deployment.status() or {}).get("checkpoints", ()) if row["sequence"]], "there is a checkpoint")
    return host


@as_root
def test_another_user_reads_the_state_whether_the_host_runs_or_not(deployment, dynamodb, name, tmp_path_factory):
    deployed(deployment, dynamodb, name)
    host = ran(deployment)
    directory = deployment.directory
    state = directory / "state.db"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    for above in [directory, *directory.parents][:-2]:
        above.chmod(above.stat().st_mode | 0o055)
    tidemill = tmp_path_factory.mktemp("bin") / "tidemill"
    shutil.copy(BINARY, tidemill)
    tidemill.parent.chmod(0o755)
    tidemill.parent.parent.chmod(0o755)
    refused = run_as("nobody", tidemill, "status", "-c", directory / "tidemill.ini", cwd="/")
    assert refused.returncode == 1 and "it belongs to root" in refused.stderr or "Permission denied" in refused.stderr, refused.stderr
    assert host.stop() == 0
    for path in directory.glob("state.db*"):
        shutil.chown(path, group="nogroup")
        path.chmod(0o640)
    directory.chmod(0o750)
    shutil.chown(directory, group="nogroup")
    quiet = run_as("nobody", tidemill, "status", "-c", directory / "tidemill.ini", cwd="/")
    assert quiet.returncode == 0 and "no host is running" in quiet.stdout, quiet.stderr
    host = ran(deployment)
    assert stat.S_IMODE(state.stat().st_mode) == 0o640, "what an operator allowed was taken back"
    beside = run_as("nobody", tidemill, "status", "-c", directory / "tidemill.ini", cwd="/")
    assert beside.returncode == 0 and "no host is running" not in beside.stdout, beside.stderr + beside.stdout
    host.kill()
    killed = run_as("nobody", tidemill, "status", "-c", directory / "tidemill.ini", cwd="/")
    assert killed.returncode == 0 and "no host is running" in killed.stdout, killed.stderr
    written = run_as("nobody", tidemill, "pause", "-c", directory / "tidemill.ini", "h", cwd="/")
    assert written.returncode == 1 and "it belongs to root, and this process" in written.stderr, written.stderr


@as_root
def test_what_root_starts_once_the_owner_of_the_directory_starts_later(deployment, dynamodb, name):
    deployed(deployment, dynamodb, name)
    shutil.chown(deployment.directory, "nobody", "nogroup")
    host = ran(deployment)
    assert host.stop() == 0
    owners = {path.name: path.owner() for path in deployment.directory.glob("state.db*")}
    assert set(owners.values()) == {"nobody"} and "state.db" in owners, owners


def make_older(path):
    """What version 2 of the schema had."""
    with sqlite3.connect(path) as db:
        db.executescript("""
            DROP INDEX dead_letters_refused;
            ALTER TABLE dead_letters DROP COLUMN condition;
            ALTER TABLE dead_letters DROP COLUMN refused_by;
            ALTER TABLE markers DROP COLUMN owner;
            DROP TABLE troubles;
            DROP TABLE hosts;
            DROP TABLE usage;
            ALTER TABLE follows DROP COLUMN since_ms;
            ALTER TABLE follows DROP COLUMN over;
            PRAGMA user_version = 2;""")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def version_of(path):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def test_commands_read_an_older_state_and_only_a_host_upgrades_it(deployment, dynamodb, name):
    deployed(deployment, dynamodb, name)
    assert ran(deployment).stop() == 0
    state = deployment.directory / "state.db"
    now = version_of(state)
    make_older(state)
    shown = deployment.run("status")
    assert shown.returncode == 0 and "shardId" in shown.stdout, shown.stderr
    assert deployment.run("dead", "list").returncode == 0
    assert deployment.run("state", "backup", deployment.directory / "copy.db").returncode == 0
    refused = deployment.run("pause", "h")
    assert refused.returncode != 0 and "only `tidemill run` upgrades it" in refused.stderr, refused.stderr
    assert version_of(state) == 2, "a command has upgraded it"
    host = ran(deployment)
    host.wait_for("for the way back")
    assert host.stop() == 0
    assert version_of(state) == now
    former = pathlib.Path(f"{state}.schema2")
    assert version_of(former) == 2 and stat.S_IMODE(former.stat().st_mode) == 0o600
    assert "goes on where it stands" in "".join(host.messages())


def test_a_newer_state_says_how_to_go_back(deployment, dynamodb, name):
    deployed(deployment, dynamodb, name)
    assert ran(deployment).stop() == 0
    with sqlite3.connect(deployment.directory / "state.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    for command in ("run", "status"):
        done = deployment.run(command)
        assert done.returncode in (1, 2) and "schema 99" in done.stderr and "state.db.schema" in done.stderr, done.stderr


# ---- handlers that are renamed, split and forgotten ----

NEEDS = 'local once, log = require "tidemill.once", require "tidemill.log" '
SAY = NEEDS + 'return {{ stream = "s", {more} on_record = function(record) once("seen-" .. record.keys.id, function() return 1 end) log.info("{name} has " .. record.keys.id) end }}'


def say(name, more=""):
    return SAY.format(name=name, more=more)


def put(dynamodb, table, *keys):
    for key in keys:
        dynamodb.client.put_item(TableName=table, Item={"id": {"S": key}})


def named(deployment, dynamodb, name, *keys):
    """A handler `old` that has had these keys, and stopped."""
    deployment.script("old", say("old"))
    table = dynamodb.table(name("T"))
    deployment.stream(table)
    put(dynamodb, table, *keys)
    host = deployment.start()
    for key in keys:
        host.wait_for(f"old has {key}")
    assert host.stop() == 0
    return table


def of(host, name):
    return [line["message"].split()[-1] for line in host.lines() if line["message"].startswith(f"{name} has ")]


def test_a_renamed_handler_goes_on_where_the_old_one_stood(deployment, dynamodb, name):
    table = named(deployment, dynamodb, name, "a", "b")
    (deployment.directory / "scripts" / "old.lua").unlink()
    deployment.script("new", say("new", 'formerly = "old",'))
    put(dynamodb, table, "c", "d")
    host = deployment.start()
    host.wait_for("new has d")
    host.wait_for("handler new goes on where it stands")
    assert of(host, "new") == ["c", "d"] and "the state knows of a handler old" not in "".join(host.messages())
    assert host.stop() == 0
    shown = deployment.run("state", "forget", "old")
    assert shown.returncode == 0 and "handler old is forgotten: 1 place, 0 dead letters" in shown.stdout, shown.stderr
    assert {row["handler"] for row in deployment.status()["checkpoints"]} == {"new"}
    put(dynamodb, table, "e")
    host = deployment.start()
    host.wait_for("new has e")
    assert of(host, "new") == ["e"]
    host.stop()


def test_a_handler_that_is_renamed_under_a_running_host_repeats_and_skips_nothing(deployment, dynamodb, name):
    deployment.script("old", say("old"))
    table = dynamodb.table(name("T"))
    deployment.stream(table)
    host = deployment.start()
    put(dynamodb, table, *(f"a{i}" for i in range(20)))
    host.wait_for("old has a10")
    scripts = deployment.directory / "scripts"
    deployment.script("new", say("new", 'formerly = "old",'))
    (scripts / "old.lua").unlink()
    written = [f"a{i}" for i in range(20)]

    def taken_over():
        written.append(f"b{len(written)}")
        put(dynamodb, table, written[-1])
        return of(host, "new")

    wait_until(taken_over, "the new one has records")
    wait_until(lambda: len(of(host, "old") + of(host, "new")) >= len(written), "all are handled")
    had = of(host, "old") + of(host, "new")
    assert sorted(had) == sorted(written), had
    host.stop()
    assert sorted(of(host, "old") + of(host, "new")) == sorted(written)


def test_a_handler_that_is_split_has_both_halves_go_on_and_they_know_what_was_done_once(deployment, dynamodb, name):
    table = named(deployment, dynamodb, name, "a")
    (deployment.directory / "scripts" / "old.lua").unlink()
    once = NEEDS + 'return {{ stream = "s", formerly = "old", on_record = function(record) once("seen-a", function() log.info("{0} did it again") end) log.info("{0} has " .. record.keys.id) end }}'
    for half in ("left", "right"):
        deployment.script(half, once.format(half))
    put(dynamodb, table, "b")
    host = deployment.start()
    host.wait_for("left has b")
    host.wait_for("right has b")
    assert of(host, "left") == of(host, "right") == ["b"] and "again" not in "".join(host.messages())
    host.stop()


def test_letters_of_the_old_name_are_redriven_by_the_new_one(deployment, dynamodb, name):
    deployment.script("old", 'return { stream = "s", retries = 0, on_record = function() error("no") end }')
    table = dynamodb.table(name("T"))
    deployment.stream(table)
    put(dynamodb, table, "a")
    host = deployment.start()
    wait_until(lambda: "old" in deployment.run("dead", "list").stdout, "there is a letter")
    assert host.stop() == 0
    (deployment.directory / "scripts" / "old.lua").unlink()
    host = deployment.start()
    host.wait_for("the state knows of a handler old (1 dead letter)")
    assert host.stop() == 0
    deployment.script("new", say("new", 'formerly = "old",'))
    host = deployment.start()
    host.wait_for("handler new goes on where it stands")
    done = deployment.run("dead", "redrive", "--handler", "old")
    assert done.returncode == 0, done.stderr + done.stdout
    assert of(host, "new") == ["a"] and deployment.run("dead", "list").stdout == "no dead letters\n"
    host.stop()


def test_what_is_forgotten_and_what_is_not(deployment, dynamodb, name):
    deployment.script("old", 'return { stream = "s", retries = 0, on_record = function() error("no") end }')
    table = dynamodb.table(name("T"))
    deployment.stream(table)
    put(dynamodb, table, "a")
    host = deployment.start()
    wait_until(lambda: "old" in deployment.run("dead", "list").stdout, "there is a letter")
    refused = deployment.run("state", "forget", "old")
    assert refused.returncode == 1 and "old.lua is there" in refused.stderr
    assert "knows of no handler odl" in deployment.run("state", "forget", "odl").stderr
    (deployment.directory / "scripts" / "old.lua").unlink()
    host.wait_for("handler old has stopped")
    refused = deployment.run("state", "forget", "old")
    assert refused.returncode == 1 and "1 dead letter: --letters drops them" in refused.stderr, refused.stderr
    done = deployment.run("state", "forget", "old", "--letters")
    assert done.returncode == 0, done.stderr
    assert not deployment.status()["checkpoints"] and deployment.run("dead", "list").stdout == "no dead letters\n"
    host.stop()


# ---- many letters ----


def test_a_redrive_goes_at_a_rate_and_ends_when_too_many_fail(deployment, dynamodb, name):
    failing = 'return {{ stream = "s", retries = 0, on_record = function(r) if {0} then error("no") end end }}'
    deployment.script("h", failing.format("true"))
    table = dynamodb.table(name("T"))
    deployment.stream(table)
    put(dynamodb, table, *(f"k{i:02}" for i in range(40)))
    host = deployment.start()

    def letters():
        done = deployment.run("dead", "list", "--json")
        return len(json.loads(done.stdout)) if done.returncode == 0 else 0

    wait_until(lambda: letters() == 40, "all failed")
    stopped = deployment.run("dead", "redrive", "--all", "--max-failures", "4")
    assert stopped.returncode == 1 and "0 handled, 4 failed again\n36 not begun" in stopped.stdout, stopped.stdout + stopped.stderr
    deployment.script("h", failing.format('r.keys.id < "k10"'))
    wait_until(lambda: any("takes the place of" in line for line in host.messages()), "it is mended for most")
    slow = deployment.run("dead", "redrive", "--all", "--rate", "20/s")
    assert slow.returncode == 1 and "30 handled, 10 failed again" in slow.stdout, slow.stdout + slow.stderr
    assert letters() == 10
    assert deployment.run("dead", "redrive", "--all", "--rate", "fast").returncode == 2
    assert host.stop() == 0
    refused = deployment.run("dead", "redrive", "--all", "--rate", "20/s")
    assert refused.returncode == 1 and "none runs on this state" in refused.stderr


def test_a_command_that_has_the_state_for_a_moment(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("h", "return { stream = 's', on_record = function() end }")
    deployment.stream(table)
    with open(deployment.directory / "state.db.lock", "a") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        host = deployment.start()
        host.wait_for("this process writes below")
        assert host.process.poll() is None
    host.wait_for("reading arn:")
    assert host.stop() == 0
