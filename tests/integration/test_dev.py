"""tidemill dev as a place to live: what it shows of a record, and what its terminal's keys do; and how what it shows fits."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import boto3
import pytest
from conftest import BINARY, wait_until
from test_recipes import Dev, run

pytestmark = pytest.mark.one_thread

INI = """[aws]
region = eu-west-1
[table Things]
key = id
[table Others]
key = id
stream = none
[stream s]
table = Things
poll_max = 200ms
"""

WORKS = """
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", on_record = function(record)
  dynamodb.get("Others", { id = "nobody" })
  dynamodb.put("Others", { id = "first" })
  dynamodb.create("Others", { id = "first" })
  dynamodb.query("Others", "id = :id", { values = { [":id"] = "first" } })
end }
"""

FAILS = 'return { stream = "s", retries = 1, backoff = "300ms..300ms", on_record = function(record) if record.new.n == 2 then error("two is too many") end end }'


def deploy(directory, **scripts):
    (directory / "scripts").mkdir()
    (directory / "tidemill.ini").write_text(INI)
    for name, text in scripts.items():
        (directory / "scripts" / f"{name}.lua").write_text(text)


def put(client, **item):
    client.put_item(TableName="Things", Item=item)


def test_a_record_is_a_line_with_what_became_of_it_in_each_handler(tmp_path):
    deploy(tmp_path, works=WORKS, fails=FAILS)
    dev = Dev(tmp_path)
    try:
        client = dev.client()
        put(client, id={"S": "a"}, n={"N": "1"}, zeta={"NULL": True}, alpha={"M": {"x": {"S": "y"}}})
        dev.wait_for("works done")
        put(client, id={"S": "a"}, n={"N": "2"}, zeta={"NULL": True}, alpha={"M": {"x": {"S": "y"}}})
        dev.wait_for("gave up, kept as a dead letter")
        wait_until(lambda: dev.said().count("works done") == 2, lambda: dev.said())
        said = dev.said()
        lines = [line for line in said.splitlines() if " Things a" in line]
        assert re.search(r'INSERT Things a  alpha {"x":"y"}  n 1  zeta null  (works done, fails done|fails done, works done)$', lines[0]), lines
        assert "MODIFY Things a  n 1 → 2  " in lines[1] and "works done" in said and "fails failed" in said and "fails gave up (attempt 2)" in said
        calls = re.findall(r"^           (works: .*)$", said, re.M)
        assert calls[:4] == ["works: GetItem Others id nobody → nothing there", "works: PutItem Others id first → done",
                             "works: PutItem Others id first → condition failed", "works: Query Others → 1 item"]
        # what fails is told once, not in the log as well
        assert said.count("two is too many") == 2, said
        assert f"arn:aws:dynamodb:eu-west-1:000000000000:table/Things" in said
    finally:
        dev.stop()


def test_a_flood_is_told_as_well(tmp_path):
    """More records at once than are held back for what others may say of them."""
    deploy(tmp_path, works='return { stream = "s", on_record = function() end }')
    dev = Dev(tmp_path)
    try:
        client = dev.client()
        for first in range(0, 500, 25):
            client.batch_write_item(RequestItems={"Things": [{"PutRequest": {"Item": {"id": {"S": f"i{i}"}}}} for i in range(first, first + 25)]})
        wait_until(lambda: len(set(re.findall(r"INSERT Things (i\d+)  works done", dev.said()))) == 500, lambda: dev.said()[-2000:])
        assert dev.said().count("works done") == 500
    finally:
        dev.stop()


class Terminal:
    """dev on a terminal of 80 columns."""

    def __init__(self, directory):
        self.said = ""
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                del os.environ[name]
            os.execv(str(BINARY), ["tidemill", "dev", "--port", "0"])
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))

    def read(self):
        if select.select([self.end], [], [], 0.05)[0]:
            try:
                self.said += os.read(self.end, 65536).decode(errors="replace")
            except OSError:
                pass
        return re.sub(r"\x1b\[[0-9;]*[mK]", "", self.said).replace("\r", "")

    def wait_for(self, part, times=1):
        wait_until(lambda: self.read().count(part) >= times, lambda: f"{part!r} {times} times: {self.read()}")

    def press(self, keys):
        os.write(self.end, keys.encode())

    def stop(self):
        def ends():
            self.press("\x03")
            return self.read() and os.waitpid(self.pid, os.WNOHANG)[0]
        wait_until(ends, lambda: f"it ends: {self.read()}")
        assert "Sanitizer" not in self.said
        os.close(self.end)


def test_the_keys_of_a_terminal(tmp_path):
    deploy(tmp_path, works=WORKS, fails=FAILS)
    (tmp_path / "tidemill.ini").write_text(INI.replace("key = id\n[table Others]", "key = id\nseed = seed.json\n[table Others]"))
    (tmp_path / "seed.json").write_text('[{"id": "a", "n": 1}]')
    terminal = Terminal(tmp_path)
    try:
        terminal.wait_for("INSERT Things a")
        terminal.press("d")
        terminal.wait_for("there are no dead letters")
        terminal.press("w")
        terminal.wait_for("TABLE ITEM")
        terminal.press('Things {"id": "b", "n": 2, "text": "' + "long " * 40 + '"}\n')
        terminal.wait_for("put into Things")
        terminal.wait_for("gave up, kept as a dead letter")
        # cut to the terminal so that what became of it is on the line, and the answers of calls are
        wide = [line for line in terminal.read().splitlines() if re.match(r"\d\d:\d\d:\d\d INSERT Things b", line)]
        assert wide and all(len(line) <= 80 for line in wide) and any("…" in line and re.search("works done|fails ", line) for line in wide), wide
        terminal.press("d")
        terminal.wait_for("two is too many", 3)  # tried twice, and shown
        terminal.wait_for("  change    INSERT Things b")
        terminal.press("l")
        terminal.wait_for("ATTEMPTS")
        terminal.press("p")
        terminal.wait_for("is paused: what runs may end", 2)
        terminal.press("p")
        terminal.wait_for("goes on where it stands", 2)
        (tmp_path / "scripts" / "fails.lua").write_text('return { stream = "s", on_record = function(record) end }')
        terminal.wait_for("fails", 1)
        wait_until(lambda: len(set(re.findall(r"handler fails[^\n]*version (\w+)", terminal.read()))) == 2, lambda: terminal.read())
        terminal.press("r")
        terminal.wait_for("1 handled, 0 failed again")
        terminal.press("s")
        terminal.wait_for("CHECKPOINT")
        table = [line for line in terminal.read().splitlines() if line.startswith(("HANDLER", "fails ", "works "))]
        assert table and all(len(line) <= 80 for line in table), table
        terminal.press("w")
        terminal.wait_for("TABLE ITEM", 2)
        terminal.press("\n")  # the seed's, once more
        terminal.wait_for("put into Things", 2)
        terminal.press("w")
        terminal.wait_for("TABLE ITEM", 3)
        terminal.press("nonsense\n")
        terminal.wait_for("a table's name and an item are wanted")
        terminal.press("?")
        terminal.wait_for("redrive all dead letters")
        terminal.press("x")
        terminal.wait_for("? shows the keys")
        terminal.press("\x1bOP")  # F1 is not p
        terminal.wait_for("? shows the keys", 2)
        terminal.press("pr")  # nor is what is pasted
        terminal.wait_for("? shows the keys", 3)
        assert terminal.read().count("is paused: what runs may end") == 2
        terminal.press("w")
        terminal.wait_for("TABLE ITEM", 4)
        terminal.press("Things {}")
        terminal.wait_for("> Things {}")
        terminal.press("\x1b")  # leaves it
        wait_until(lambda: "> Things {}\n" in terminal.read(), lambda: terminal.read())
        terminal.press("?")
        terminal.wait_for("redrive all dead letters", 2)
        assert terminal.read().count("put into Things") == 2
        terminal.press("w")
        terminal.wait_for("TABLE ITEM", 5)  # and ends although it waits for a line
    finally:
        terminal.stop()


def test_seek_takes_a_time(tmp_path):
    deploy(tmp_path, h='local log = require "tidemill.log" return { stream = "s", on_record = function(record) log.info("handled " .. record.new.id) end }')
    dev = Dev(tmp_path)
    try:
        put(dev.client(), id={"S": "one"})
        dev.wait_for("handled one")
        done = run(tmp_path, "seek", "h", "1h", "--running")
        assert "goes on at what was written since 20" in done.stdout
        wait_until(lambda: dev.said().count("handled one") == 2, lambda: dev.said())
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        assert now[:10] in run(tmp_path, "seek", "h", now, "--running").stdout  # and maybe a minute more, so that it may come again
        for where, words in (("2999-01-01", "is not over yet"), ("2020-01-01T00:00:00Z", "24 hours"), ("25h", "24 hours"), ("yesterday", "neither"), ("", "neither")):
            done = run(tmp_path, "seek", "h", where, "--running", check=False)
            assert done.returncode == 1 and words in done.stderr, (where, done)
        assert "leave --shard out" in run(tmp_path, "seek", "h", "1h", "--shard", "x", "--running", check=False).stderr
        put(dev.client(), id={"S": "two"})
        dev.wait_for("handled two")
    finally:
        dev.stop()


def test_tables_that_nothing_was_written_to_have_lost_nothing(tmp_path):
    """Of a dev that is begun again on what it has kept."""
    deploy(tmp_path, h='local log = require "tidemill.log" return { stream = "s", on_record = function(record) log.info("handled " .. record.new.id) end }')
    for number in range(3):
        dev = Dev(tmp_path, "--data", "data")
        try:
            if number == 2:
                put(dev.client(), id={"S": "one"})
                dev.wait_for("handled one")
            else:
                wait_until(lambda: "h" in run(tmp_path, "status").stdout and "not ready" not in run(tmp_path, "status").stdout, lambda: dev.said())
            assert "gap" not in run(tmp_path, "status").stdout
        finally:
            dev.stop()
        assert "trimmed" not in dev.said(), dev.said()


def test_what_pause_and_dead_say(tmp_path):
    deploy(tmp_path, fails='return { stream = "s", retries = 0, on_record = function(record) error("no " .. record.new.id) end }', works=WORKS)
    dev = Dev(tmp_path)
    try:
        for name in ("a", "b"):
            put(dev.client(), id={"S": name})
        wait_until(lambda: len(run(tmp_path, "dead", "list", check=False).stdout.splitlines()) == 3, lambda: dev.said())
        assert "no b" in run(tmp_path, "dead", "show", "--last").stdout
        assert run(tmp_path, "dead", "show", "--last", "--error", "no a").stdout.count("dead letter") == 1
        assert "no such dead letter" in run(tmp_path, "dead", "show", "--last", "--error", "nothing", check=False).stderr
        for wrong in (["show", "--last", "1"], ["drop", "--last", "--gaps"]):
            assert run(tmp_path, "dead", *wrong, check=False).returncode == 2
        assert run(tmp_path, "dead", "show", "99", check=False).returncode == 1
        shown = run(tmp_path, "dead", "show", "1").stdout
        assert '    "dynamodb": {\n' in shown and all(len(line) < 200 for line in shown.splitlines())
        assert run(tmp_path, "pause", "--all", "--reason", "lunch").stdout.count("is paused: what runs may end") == 2
        assert run(tmp_path, "resume", "--all").stdout.count("goes on where it stands") == 2
        for wrong in (["pause"], ["pause", "--all", "works"]):
            assert run(tmp_path, *wrong, check=False).returncode == 2
    finally:
        dev.stop()


def test_check_tries_where_it_will_write(tmp_path):
    deploy(tmp_path, h='return { stream = "s", on_record = function() end }')
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "dangling").symlink_to("nowhere")
    for more, words in (("[host]\nstate = sqlite:file/state.db\n", "state: "), ("[host]\nstate = sqlite:scripts\n", "is no file"),
                        ("[host]\nstate = sqlite:dangling/state.db\n", "state: "), ("[target lake]\ntype = file\npath =\n", "needs path"),
                        ("[target lake]\ntype = file\npath = file/lake\n", "[target lake]: "), ("[target lake]\ntype = file\npath = file\n", "is not a directory")):
        (tmp_path / "tidemill.ini").write_text(INI + more)
        done = run(tmp_path, "check", check=False)
        assert done.returncode == 2 and words in done.stderr, (more, done)
    (tmp_path / "tidemill.ini").write_text(INI + "[target lake]\ntype = file\npath = new/lake\n[host]\nstate = sqlite:other/state.db\n")
    assert run(tmp_path, "check").stderr == "" and not (tmp_path / "new").exists()
    if os.geteuid():
        (tmp_path / "shut").mkdir(mode=0o500)
        (tmp_path / "tidemill.ini").write_text(INI + "[target lake]\ntype = file\npath = shut/lake\n")
        assert "warning" in run(tmp_path, "check").stderr


def test_where_credentials_are_from_is_said_when_they_have_come(tmp_path):
    deploy(tmp_path, h='return { stream = "s", on_record = function() end }')
    (tmp_path / "tidemill.ini").write_text(INI + "[host]\nlisten = off\nlog_format = text\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    environment.update(HOME=str(tmp_path), AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:1/none", AWS_ENDPOINT_URL="http://127.0.0.1:1")
    log = tmp_path / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen([BINARY, "run"], cwd=tmp_path, env=environment, stdout=out, stderr=out)
    try:
        wait_until(lambda: process.poll() is not None or "127.0.0.1" in log.read_text() and "redentials" in log.read_text(), lambda: log.read_text())
        assert "credentials from" not in log.read_text()
    finally:
        process.kill()
        process.wait()


NEEDS = """
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", %s
  on_record = function(record)
    dynamodb.put("Others", { id = "user#" .. record.new.id })
    dynamodb.get("Others", { id = "user#" .. record.new.id .. "#more" })
    dynamodb.query("Others", "id = :id", { values = { [":id"] = "team#" .. record.new.id } })
    dynamodb.scan("Others", { index = "by_colour" })
    dynamodb.delete("Others", { id = "fixed#1" })
  end }
"""


def test_rights_from_what_was_seen(tmp_path):
    """dev and tests keep what handlers call; check knows what `tables` lacks, policy what it would be."""
    deploy(tmp_path, h=NEEDS % "")
    ini = INI.replace("[table Others]\nkey = id", "[table Others]\nkey = id\nindex by_colour = colour")
    (tmp_path / "tidemill.ini").write_text(ini)
    dev = Dev(tmp_path)
    try:
        for name in ("a", "b"):
            put(dev.client(), id={"S": name})
        wait_until(lambda: dev.said().count("h done") == 2, lambda: dev.said())
    finally:
        dev.stop()
    done = run(tmp_path, "policy")
    assert "does not say in `tables`" in done.stderr
    policy = {(statement["Resource"].split("/", 1)[-1], str(statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", ""))): statement["Action"]
              for statement in json.loads(done.stdout)["Statement"]}
    assert policy["Others", ""] == ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"] and policy["Others/index/by_colour", ""] == ["dynamodb:Scan"], policy
    # nothing is known of it once its code is another one
    (tmp_path / "scripts" / "h.lua").write_text(NEEDS % "" + "-- changed")
    assert "does not say which tables" in run(tmp_path, "policy").stderr
    # a test of this INI is as good; what it prints is what the handler may say
    (tmp_path / "scripts" / "h_test.lua").write_text("""local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"
test("two", function() dynamodb.put("Things", { id = "a" }) dynamodb.put("Things", { id = "b" }) test.settle() end)""")
    said = run(tmp_path, "test", "--rights").stdout
    tables = re.search(r"tables = .*", said)[0]
    assert tables == 'tables = { { "Others", "DeleteItem" }, { "Others", "Query", keys = "team#*" }, { "Others", "GetItem", "PutItem", keys = "user#*" }, { "Others/index/by_colour", "Scan" } },', said
    assert json.loads(run(tmp_path, "policy").stdout) == json.loads(done.stdout)
    (tmp_path / "scripts" / "h.lua").write_text(NEEDS % tables)
    done = run(tmp_path, "policy")  # what it says itself has the keys
    said = {(statement["Resource"].split("/", 1)[-1], str(statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", ""))): statement["Action"]
            for statement in json.loads(done.stdout)["Statement"]}
    assert done.stderr == "" and said["Others", "['user#*']"] == ["dynamodb:GetItem", "dynamodb:PutItem"] and said["Others", "['team#*']"] == ["dynamodb:Query"], said
    # settings that are others, and a file that was damaged, are no evidence
    (tmp_path / "scripts" / "h.lua").write_text(NEEDS % "")
    run(tmp_path, "test")
    assert "does not say in `tables`" in run(tmp_path, "policy").stderr
    evidence = (tmp_path / ".tidemill" / "calls").read_text()
    (tmp_path / "tidemill.ini").write_text(ini + "[handler h]\ncolour = red\n")
    assert "does not say which tables" in run(tmp_path, "policy").stderr
    (tmp_path / "tidemill.ini").write_text(ini)
    handler, version = evidence.split("\t")[:2]
    (tmp_path / ".tidemill" / "calls").write_text(f'{handler}\t{version}\t-\tPutItem\t=x\n{handler}\t{version}\tOut\tPutItem\t*a"b\\\nnothing\n' + "\t" * 9 + "\n" + evidence)
    assert json.loads(run(tmp_path, "policy").stdout)
    (tmp_path / "scripts" / "h.lua").write_text(NEEDS % 'tables = { { "Others", "PutItem", "Scan" } },')
    run(tmp_path, "test")
    warned = run(tmp_path, "check").stderr
    assert "calls GetItem on Others" in warned and "calls Query on Others" in warned and "PutItem" not in warned and "Scan" not in warned, warned
    for wrong, words in (('{ "Others", "Scan", keys = "x*" }', "reads all keys"), ('{ "Others", "GetItem", key = "x*" }', "key: beside"), ('{ "Others", "GetItem", keys = 1 }', "keys:"),
                         ('{ "Others", "GetItem", keys = {} }', "keys:")):
        (tmp_path / "scripts" / "h.lua").write_text(NEEDS % f"tables = {{ {wrong} }},")
        done = run(tmp_path, "check", check=False)
        assert done.returncode == 2 and words in done.stderr, (wrong, done.stderr)


def test_items_beside_a_dev(tmp_path):
    deploy(tmp_path, h='return { stream = "s", on_record = function() end }')
    (tmp_path / "tidemill.ini").write_text(INI + "[table Pairs]\nkey = customer, number:N\nstream = none\n")
    for verb in (["get", "Things", "a"], ["scan", "Things"]):
        assert "no tidemill dev runs" in run(tmp_path, "dev", *verb, check=False).stderr
    dev = Dev(tmp_path)
    try:
        run(tmp_path, "dev", "put", "Things", '{"id": "a", "n": 1.50, "tags": ["x", null]}')
        assert json.loads(run(tmp_path, "dev", "get", "Things", "a").stdout) == {"id": "a", "n": 1.5, "tags": ["x", None]}
        assert run(tmp_path, "dev", "get", "Things", '{"id": {"S": "a"}}').returncode == 0
        dev.wait_for("INSERT Things a")
        assert "deleted from Things" in run(tmp_path, "dev", "delete", "Things", "a").stdout
        assert "nothing was there" in run(tmp_path, "dev", "delete", "Things", "a").stdout
        dev.wait_for("REMOVE Things a")
        assert "nothing is there" in run(tmp_path, "dev", "get", "Things", "a", check=False).stderr
        for number in range(3):
            (tmp_path / "item.json").write_text(json.dumps({"customer": "c", "number": number, "text": "x" * 380_000}))
            run(tmp_path, "dev", "put", "Pairs", "item.json")
        done = run(tmp_path, "dev", "scan", "Pairs")  # more than a page
        assert [json.loads(line)["number"] for line in done.stdout.splitlines()] == [0, 1, 2] and "3 items" in done.stderr
        assert run(tmp_path, "dev", "get", "Pairs", '{"customer": "c", "number": 1}').stdout
        for wrong, words in ((["put", "Thing", '{"id": "a"}'], "it has Things, Others, Pairs"), (["get", "Pairs", "c"], "c"), (["delete", "Things", "{"], "JSON")):
            done = run(tmp_path, "dev", *wrong, check=False)
            assert done.returncode == 1 and words in done.stderr, (wrong, done.stderr)
        for wrong in (["scan"], ["get", "Things"], ["scan", "Things", "a"], ["puts", "Things", "{}"]):
            assert run(tmp_path, "dev", *wrong, check=False).returncode == 2, wrong
    finally:
        dev.stop()


def test_each_dev_is_of_its_own_ini_and_its_terminal(tmp_path):
    deploy(tmp_path, h='return { stream = "s", on_record = function() end }')
    (tmp_path / "other.ini").write_text(INI + "[host]\nstate = sqlite:other.db\n")
    dev = Dev(tmp_path, "--data", "data")
    try:
        assert "there is no state yet" in run(tmp_path, "status", "-c", "other.ini", check=False).stderr
        assert "h" in run(tmp_path.parent, "status", "-c", tmp_path / "tidemill.ini").stdout  # its data is where it is
        second = Dev(tmp_path)
        second.wait_for("another dev runs on")
        second.stop()
        third = Dev(tmp_path, "-c", "other.ini")
        assert "another dev" not in third.said()
        assert third.url in run(tmp_path, "status", "-c", "other.ini").stderr and dev.url in run(tmp_path, "status").stderr
        third.process.send_signal(signal.SIGHUP)  # its terminal has gone
        assert third.process.wait(timeout=60) == 0
    finally:
        dev.stop()
    piped = subprocess.Popen([BINARY, "dev", "--port", "0"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    first = piped.stdout.readline()
    piped.stdout.close()  # whoever read it has gone
    url = re.search(r"http://127.0.0.1:\d+", first)[0]
    client = boto3.client("dynamodb", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="local", aws_secret_access_key="local")

    def ended():
        try:
            put(client, id={"S": "x"})
        except Exception:  # it does not listen any more
            pass
        return piped.poll() is not None
    wait_until(ended, "it ends with its reader")


def test_a_table_that_is_another_one_and_a_handler_that_is_away(tmp_path):
    deploy(tmp_path, h='return { stream = "s", on_record = function() end }', second='return { stream = "s", on_record = function() end }')
    dev = Dev(tmp_path)
    try:
        (tmp_path / "tidemill.ini").write_text(INI.replace("[table Others]\nkey = id", "[table Others]\nkey = other"))
        dev.wait_for("[table Others] is there already")
        assert run(tmp_path, "pause", "--all").stdout.count("is paused: what runs may end") == 2
        os.rename(tmp_path / "scripts" / "second.lua", tmp_path / "second.away")
        assert "handler second goes on" in run(tmp_path, "resume", "--all").stdout
        assert "is paused" in run(tmp_path, "pause", "--all", "--toggle").stdout and "goes on" in run(tmp_path, "pause", "--all", "--toggle").stdout
        assert "is there no handler" not in run(tmp_path, "seek", "nobody", "1h", "--running", check=False).stderr
        assert "no handler nobody" in run(tmp_path, "seek", "nobody", "1h", "--running", check=False).stderr
    finally:
        dev.stop()


WINDOW = """
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", tumbling_window = "1s", retries = 0, on_window = function(state, records, final)
  if final then
    dynamodb.put("Others", { id = "window" })
    error("no end")
  end
  return { n = #records }
end }
"""


def test_a_windows_last_call_is_shown_and_not_redriven(tmp_path):
    deploy(tmp_path, w=WINDOW)
    dev = Dev(tmp_path)
    try:
        def closed():
            put(dev.client(), id={"S": f"{time.time()}"})  # a later record closes the window
            return "no end" in run(tmp_path, "dead", "list", check=False).stdout
        wait_until(closed, lambda: dev.said())
        dev.wait_for("w: PutItem Others id window → done")
        done = run(tmp_path, "dead", "redrive", "--all")
        assert "is a window's state" in done.stderr and "failed again" not in done.stdout.replace("0 failed again", ""), done
    finally:
        dev.stop()
