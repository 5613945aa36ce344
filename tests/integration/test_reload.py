"""Scripts that change while they run."""
import os
import random
import signal
import threading

from conftest import wait_until

HANDLER = """
local log = require "tidemill.log"
local dynamodb = require "tidemill.dynamodb"
return {{
  stream = "s", concurrency = 32,
  on_record = function(record)
    dynamodb.get({side!r}, {{ id = record.new.id }})
    log.info("saw", {{ id = record.new.id, version = record.new.version, by = {by!r} }})
  end,
}}
"""


def put(dynamodb, table, item, version=1):
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": item}, "version": {"N": str(version)}})


def saw(host, item):
    return [fields["by"] for fields in host.fields("saw") if fields["id"] == item]


def set_up(deployment, dynamodb, name):
    table, side = dynamodb.table(name()), dynamodb.table(name(), stream=False)
    deployment.stream(table)
    return table, side


def test_a_changed_script_takes_over_and_a_broken_one_does_not(deployment, dynamodb, name):
    table, side = set_up(deployment, dynamodb, name)
    deployment.script("h", HANDLER.format(side=side, by="one"))
    host = deployment.start()
    put(dynamodb, table, "a")
    wait_until(lambda: saw(host, "a") == ["one"], "the first version ran")
    deployment.script("h", HANDLER.format(side=side, by="two"))
    host.wait_for("takes the place of")
    put(dynamodb, table, "b")
    wait_until(lambda: saw(host, "b") == ["two"], "the second version ran")
    deployment.script("h", "return {\n  stream = 's',\n  on_record = function(")
    host.wait_for("stays in force")
    assert any("scripts/h.lua:3:" in message for message in host.errors())
    put(dynamodb, table, "c")
    wait_until(lambda: saw(host, "c") == ["two"], "the second version still runs")
    versions = {row["handler"]: row["version"] for row in deployment.status()["handlers"]}
    assert any(f"version {versions['h']} stays in force" in message for message in host.errors())
    assert host.stop() == 0


def test_sighup_looks_at_the_scripts(deployment, dynamodb, name):
    _, side = set_up(deployment, dynamodb, name)
    deployment.script("h", HANDLER.format(side=side, by="one"))
    host = deployment.start()
    host.wait_for("begins at the oldest record")
    host.process.send_signal(signal.SIGHUP)
    host.wait_for("looking at the scripts")
    assert host.stop() == 0


def test_editors_rename_and_deployments_exchange_links(deployment, dynamodb, name):
    table, side = set_up(deployment, dynamodb, name)
    scripts = deployment.directory / "scripts"
    scripts.rmdir()
    for release in ("1", "2"):
        (deployment.directory / f"release-{release}").mkdir()
        (deployment.directory / f"release-{release}" / "h.lua").write_text(HANDLER.format(side=side, by=release))
    scripts.symlink_to("release-1")
    host = deployment.start()
    put(dynamodb, table, "a")
    wait_until(lambda: saw(host, "a") == ["1"], "release 1 ran")
    (deployment.directory / "next").symlink_to("release-2")
    os.rename(deployment.directory / "next", scripts)  # as config maps are exchanged
    host.wait_for("takes the place of")
    put(dynamodb, table, "b")
    wait_until(lambda: saw(host, "b") == ["2"], "release 2 ran")
    aside = deployment.directory / "release-2" / ".h.lua.swp"
    aside.write_text(HANDLER.format(side=side, by="renamed"))
    os.rename(aside, deployment.directory / "release-2" / "h.lua")  # as an editor saves
    wait_until(lambda: sum("takes the place of" in message for message in host.messages()) == 2, "it was noticed")
    put(dynamodb, table, "c")
    wait_until(lambda: saw(host, "c") == ["renamed"], "the saved version ran")
    assert host.stop() == 0


def test_new_and_removed_handlers(deployment, dynamodb, name):
    table, side = set_up(deployment, dynamodb, name)
    host = deployment.start()
    host.wait_for("no handler runs yet")
    put(dynamodb, table, "a")
    deployment.script("h", HANDLER.format(side=side, by="h"))
    wait_until(lambda: saw(host, "a") == ["h"], "the new handler begins at the stream's start")
    deployment.script("other", HANDLER.format(side=side, by="other"))
    wait_until(lambda: sorted(saw(host, "a")) == ["h", "other"], "another one begins there too")
    (deployment.directory / "scripts" / "h.lua").unlink()
    host.wait_for("handler h has stopped")
    put(dynamodb, table, "b")
    wait_until(lambda: saw(host, "b") == ["other"], "the other goes on alone")
    deployment.script("h", HANDLER.format(side=side, by="h"))  # and back: it goes on where it stood
    wait_until(lambda: sorted(saw(host, "b")) == ["h", "other"], "it is back")
    assert sorted(saw(host, "a")) == ["h", "other"]
    assert host.stop() == 0


def test_a_change_in_lib_reloads_those_that_require_it(deployment, dynamodb, name):
    table, _ = set_up(deployment, dynamodb, name)
    (deployment.directory / "scripts" / "lib").mkdir()
    module = deployment.directory / "scripts" / "lib" / "words.lua"
    module.write_text("return { word = 'old' }")
    deployment.script("uses", """
local words, log = require "words", require "tidemill.log"
return { stream = "s", on_record = function(record) log.info("saw", { id = record.new.id, by = words.word }) end }""")
    deployment.script("plain", "return { stream = 's', on_record = function() end }")
    host = deployment.start()
    put(dynamodb, table, "a")
    wait_until(lambda: saw(host, "a") == ["old"], "the old module was used")
    module.write_text("return { word = 'new' }")
    host.wait_for("handler uses: version")
    put(dynamodb, table, "b")
    wait_until(lambda: saw(host, "b") == ["new"], "the new module is used")
    module.write_text("return {")
    host.wait_for("stays in force")
    assert not any("handler plain: version" in message for message in host.messages())
    assert host.stop() == 0


def test_a_script_may_move_to_another_stream(deployment, dynamodb, name):
    one, two = dynamodb.table(name()), dynamodb.table(name())
    deployment.configure(f"[stream one]\ntable = {one}\n[stream two]\ntable = {two}")
    script = """
local log = require "tidemill.log"
return { stream = %r, on_record = function(record) log.info("saw", { id = record.new.id, by = record.stream }) end }"""
    deployment.script("h", script % "one")
    host = deployment.start()
    put(dynamodb, one, "a")
    wait_until(lambda: saw(host, "a") == ["one"], "it reads the first")
    deployment.script("h", script % "two")
    put(dynamodb, two, "b")
    wait_until(lambda: saw(host, "b") == ["two"], "it reads the second")
    assert host.stop() == 0


def test_a_storm_of_reloads_loses_and_repeats_nothing(deployment, dynamodb, name):
    table, side = set_up(deployment, dynamodb, name)
    deployment.script("h", HANDLER.format(side=side, by="0"))
    host = deployment.start()
    host.wait_for("begins at the oldest record")
    items, writes, rewrites = 50, 3000, 200
    chance = random.Random(5)
    versions = {}

    def write():
        for _ in range(writes):
            item = f"i{chance.randrange(items)}"
            versions[item] = versions.get(item, 0) + 1
            put(dynamodb, table, item, versions[item])

    writer = threading.Thread(target=write)
    writer.start()
    path = deployment.directory / "scripts" / "h.lua"
    for i in range(1, rewrites + 1):
        before = len(host.messages())
        path.write_text(HANDLER.format(side=side, by=str(i)) if i % 2 else "return { broken")
        wait_until(lambda: any("takes the place of" in message or "stays in force" in message
                               for message in host.messages()[before:]), f"rewrite {i} was noticed")
    writer.join()
    wait_until(lambda: len(host.fields("saw")) >= writes, "all was seen")
    assert host.stop() == 0
    seen = {}
    for fields in host.fields("saw"):
        seen.setdefault(fields["id"], []).append(fields["version"])
    assert all(seen[item] == list(range(1, last + 1)) for item, last in versions.items())
    assert len({fields["by"] for fields in host.fields("saw")}) > 10, "many versions took part"
