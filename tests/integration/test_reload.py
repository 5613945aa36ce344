"""Scripts that change while they run."""
import os
import random
import signal
import sqlite3
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
    told = lambda: [row["text"] for row in deployment.status()["troubles"] if row["kind"] == "loading"]
    wait_until(told, "status says so")
    deployment.script("h", HANDLER.format(side=side, by="three"))
    host.wait_for("h.lua loads again")
    put(dynamodb, table, "d")
    wait_until(lambda: saw(host, "d") == ["three"] and not told(), "the mended one runs")
    deployment.script("h", "return {")
    wait_until(told, "status says so again")
    deployment.script("h", HANDLER.format(side=side, by="three"))
    host.wait_for("h.lua is again what runs")
    wait_until(lambda: not told(), "it is no trouble any more")
    assert host.stop() == 0


HANDLER_WITH_WORD = """
local log, config = require "tidemill.log", require "tidemill.config"
return { stream = "s", on_record = function(record)
  log.info("saw", { id = record.new.id, by = config.word or "nothing" }) end }
"""


def sighup(host, part):
    """The part of the log's messages that tells how it ended."""
    before = sum(part in message for message in host.messages())
    host.process.send_signal(signal.SIGHUP)
    wait_until(lambda: sum(part in message for message in host.messages()) > before,
               lambda: f"the log says {part!r} again; it says:\n{host.log_path.read_text()[-3000:]}")


def test_sighup_reads_the_ini_again(deployment, dynamodb, name):
    table, other = dynamodb.table(name()), dynamodb.table(name())
    deployment.stream(table, "[handler h]\nword = one")
    deployment.script("h", HANDLER_WITH_WORD)
    host = deployment.start()
    put(dynamodb, table, "a")
    wait_until(lambda: saw(host, "a") == ["one"], "the handler ran")
    deployment.stream(table, "[handler h]\nword = two")
    sighup(host, "was read again")
    host.wait_for(", with other settings")
    put(dynamodb, table, "b")
    wait_until(lambda: saw(host, "b") == ["two"], "the setting took effect")
    # A new stream, and a handler on it; the other does not notice.
    deployment.script("t", HANDLER_WITH_WORD.replace('stream = "s"', 'stream = "t"'))
    host.wait_for("there is no [stream t]")
    deployment.stream(table, f"[stream t]\ntable = {other}\n[handler h]\nword = two\n[handler t]\nword = three")
    sighup(host, "was read again")
    put(dynamodb, other, "c")
    wait_until(lambda: saw(host, "c") == ["three"], "the new stream is read")
    assert sum("takes the place of" in message for message in host.messages()) == 1
    # Errors of every kind change nothing.
    deployment.stream(table, "[handler h]\nword = four\nretries = many\n")
    sighup(host, "not taken over")
    assert any("retries" in message and "tidemill.ini:" in message for message in host.errors())
    deployment.stream(table, "[handler h]\nword = four\n")  # without the stream that t reads
    sighup(host, "not taken over")
    assert any("t.lua" in message and "no [stream t]" in message for message in host.errors()[-2:])
    deployment.ini.unlink()
    sighup(host, "not taken over")
    put(dynamodb, table, "d")
    put(dynamodb, other, "e")
    wait_until(lambda: saw(host, "d") == ["two"] and saw(host, "e") == ["three"], "everything goes on as before")
    assert host.stop() == 0


def test_sighup_changes_a_stream_under_load(deployment, dynamodb, name):
    """The stream's settings, and then its table: nothing is lost, repeated or out of order."""
    table, other = dynamodb.table(name()), dynamodb.table(name())
    deployment.stream(table)
    deployment.script("h", HANDLER_WITH_WORD)
    deployment.script("g", HANDLER_WITH_WORD)
    host = deployment.start()
    host.wait_for("begins at the oldest record")
    stop = threading.Event()
    written = []

    def write():
        while not stop.is_set():
            item = f"i{len(written)}"
            put(dynamodb, table, item)
            written.append(item)

    writer = threading.Thread(target=write)
    writer.start()
    for batch_size in (7, 500, 3):
        before = len(written)
        deployment.configure(f"[stream s]\ntable = {table}\nbatch_size = {batch_size}\npoll_min = 5ms\n"
                             "poll_max = 50ms\n")
        sighup(host, "was read again")
        wait_until(lambda: len(written) > before + 30, "more was written")
    stop.set()
    writer.join()

    def handled():
        ids = [fields["id"] for fields in host.fields("saw")]
        return ids if len(ids) >= 2 * len(written) else None
    ids = wait_until(handled, "everything was handled by both")
    assert sorted(ids) == sorted(written * 2)
    assert sum("[stream s] has changed" in message for message in host.messages()) == 3
    wait_until(lambda: sum("is new" in message for message in host.messages()) == 6, "both came back each time")
    deployment.stream(other)
    sighup(host, "was read again")
    put(dynamodb, other, "moved")
    wait_until(lambda: len(saw(host, "moved")) == 2, "the other table is read")
    assert host.stop() == 0


def test_sighup_starts_again_for_the_hosts_own_settings(deployment, dynamodb, name):
    table = dynamodb.table(name())
    deployment.stream(table)
    deployment.script("h", HANDLER_WITH_WORD)
    host = deployment.start()
    put(dynamodb, table, "a")
    wait_until(lambda: saw(host, "a"), "the handler ran")
    deployment.stream(table, "[handler h]\nword = after", threads=3)
    sighup(host, "everything that was begun is settled")
    put(dynamodb, table, "b")
    wait_until(lambda: saw(host, "b") == ["after"], "it runs again")
    assert saw(host, "a") == ["nothing"]
    deployment.stream(table, "[handler h]\nword = never", state="sqlite:missing/state.db")
    sighup(host, "going on with the configuration before")
    put(dynamodb, table, "c")
    wait_until(lambda: saw(host, "c") == ["after"], "it runs as before")
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


def test_a_new_handler_waits_for_a_state_that_cannot_be_read(deployment, dynamodb, name):
    table, side = set_up(deployment, dynamodb, name)
    deployment.script("h", HANDLER.format(side=side, by="one"))
    host = deployment.start()
    put(dynamodb, table, "a")
    wait_until(lambda: saw(host, "a"), "the first handler runs")
    with sqlite3.connect(deployment.directory / "state.db") as state:
        state.execute("ALTER TABLE follows RENAME TO elsewhere")
    deployment.script("late", HANDLER.format(side=side, by="late"))
    host.wait_for("new handlers wait")
    put(dynamodb, table, "b")
    wait_until(lambda: saw(host, "b") == ["one"], "the first one goes on")
    with sqlite3.connect(deployment.directory / "state.db") as state:
        state.execute("ALTER TABLE elsewhere RENAME TO follows")
    numbers = iter(range(1000))

    def is_there():
        item = f"c{next(numbers)}"
        put(dynamodb, table, item)
        wait_until(lambda: "one" in saw(host, item), "it is handled")
        return any(fields["by"] == "late" for fields in host.fields("saw"))

    wait_until(is_there, "the second one has come")
    assert host.stop() == 0


def test_a_directory_that_is_written_all_the_time_is_looked_at(deployment, dynamodb, name):
    """The state is in the directory above the scripts: what others write there kept the host from looking."""
    set_up(deployment, dynamodb, name)
    deployment.script("h", 'return { stream = "s", on_record = function() end }')
    host = deployment.start()
    host.wait_for("begins at the oldest record")
    done = threading.Event()

    def write():
        while not done.wait(0.005):
            (deployment.directory / "noise").write_text("x")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        (deployment.directory / "scripts" / "h.lua").unlink()
        host.wait_for("handler h has stopped")
    finally:
        done.set()
        writer.join()
    assert host.stop() == 0


def release(deployment, table, number, script, word, broken_ini=False):
    """A directory with an INI and scripts that belong together."""
    directory = deployment.directory / f"release-{number}"
    (directory / "scripts").mkdir(parents=True)
    (directory / "scripts" / "h.lua").write_text(script)
    deployment.stream(table, f"[handler h]\nword = {word}\n" + ("retires = 5\n[what]\n" if broken_ini else ""),
                      scripts="current/scripts", state=f"sqlite:{deployment.directory}/state.db")
    (directory / "tidemill.ini").write_text(deployment.ini.read_text().replace("current/scripts", "scripts"))
    return directory


def switch(deployment, number):
    (deployment.directory / "next").symlink_to(f"release-{number}")
    os.replace(deployment.directory / "next", deployment.directory / "current")


def versioned(number):
    return (f'local config, log = require "tidemill.config", require "tidemill.log"\n'
            f'return {{ stream = "s", on_record = function(r) log.info("script {number} with " .. config.word .. " has " .. r.keys.id) end }}')


def test_scripts_and_ini_of_a_release_are_taken_together_or_not_at_all(deployment, dynamodb, name):
    table = dynamodb.table(name("T"))
    release(deployment, table, 1, versioned(1), "one")
    release(deployment, table, 2, versioned(2), "two")
    release(deployment, table, 3, versioned(3), "three", broken_ini=True)
    release(deployment, table, 4, "this is no Lua", "four")
    (deployment.directory / "current").symlink_to("release-1")
    deployment.ini = deployment.directory / "current" / "tidemill.ini"
    host = deployment.start()

    def put(key):
        dynamodb.client.put_item(TableName=table, Item={"id": {"S": key}})

    put("a")
    host.wait_for("script 1 with one has a")
    switch(deployment, 2)
    host.wait_for("both are taken, or neither")
    host.wait_for("takes the place of")
    put("b")
    host.wait_for("script 2 with two has b")
    for number, complaint in ((3, "[what]"), (4, "h.lua:1")):
        before = len(host.messages())
        switch(deployment, number)
        wait_until(lambda: any("the scripts that came with it: not taken over" in line for line in host.messages()[before:]), "it is refused")
        assert any(complaint in line for line in host.messages()[before:]), host.messages()[before:]
        put(f"after-{number}")
        host.wait_for(f"script 2 with two has after-{number}")
    refusals = sum("the scripts that came with it: not taken over" in line for line in host.messages())
    (deployment.directory / "release-4" / "scripts" / "h.lua").write_text(versioned(5))  # mended, the INI as it is
    host.wait_for("takes the place of")
    wait_until(lambda: sum("takes the place of" in line for line in host.messages()) == 2, "the mended one is taken")
    put("c")
    host.wait_for("script 5 with four has c")
    assert refusals == 2 and sum("not taken over" in line for line in host.messages()) == 2
