"""What `tidemill init` writes: each recipe works as it stands, in a bare directory, by the commands of its README; and the
pages about what scripts can call."""
import os
import pathlib
import re
import shlex
import subprocess
import textwrap
import time

import boto3
import pytest
from conftest import BINARY, ROOT, free_port, wait_until

NAMES = sorted(re.findall(r"^  (\w+) ", subprocess.run([BINARY, "init", "--recipes"], capture_output=True, text=True).stdout, re.M))
SHIPPED = sorted(path.parent.name for path in (ROOT / "examples").glob("*/tidemill.ini") if path.parent.name not in ("quickstart", "alternator", "many_hosts"))


def run(directory, *arguments, check=True):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run([BINARY, *arguments], cwd=directory, env=environment, capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done


def test_all_are_there():
    assert set(SHIPPED) <= set(NAMES) and len(NAMES) >= 30, (SHIPPED, NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_works_as_it_stands(tmp_path, name, monkeypatch):
    made = run(tmp_path, "init", "--recipe", name)
    assert f"cd {name} && tidemill check && tidemill test" in made.stdout
    directory = tmp_path / name
    checked = run(directory, "check")
    assert "nothing wrong" in checked.stdout and "warning" not in checked.stderr, checked.stdout + checked.stderr
    assert " 0 failed" in run(directory, "test").stdout
    run(directory, "policy")
    readme = directory / "README.md"
    assert readme.exists() == (name in SHIPPED)
    commands = re.findall(r"^    (tidemill .*)", readme.read_text(), re.M) if readme.exists() else []
    for command in commands:
        words = command.split("#")[0].split()[1:]
        if words[0] == "dev":
            assert words == ["dev"] or words[1] == "put"
        elif words[0] in ("replay", "backfill"):  # wants what is not there yet: an archive, a section, a host's state
            assert run(directory, *words, check=False).returncode in (1, 2)
        else:
            assert "would" in run(directory, *words).stdout
    assert not name in SHIPPED or commands
    sections = re.findall(r"^    (\[.*\])\n((?:    .*\n)*)", readme.read_text(), re.M) if readme.exists() else []
    before = (directory / "tidemill.ini").read_text()
    for head, keys in sections:  # what the page says to add to the INI, or to have there instead
        for variable in re.findall(r"\${env:(\w+)}", keys):
            monkeypatch.setenv(variable, "a-value")
        without = re.sub(re.escape(head) + r"\n([^\[].*\n|\n)*", "", before)
        (directory / "tidemill.ini").write_text(f"{without}\n{head}\n{textwrap.dedent(keys)}")
        added = run(directory, "check")
        assert "nothing wrong" in added.stdout, added.stdout + added.stderr
    (directory / "tidemill.ini").write_text(before)
    again = run(tmp_path, "init", "--recipe", name, check=False)
    assert again.returncode == 1 and "nothing was written" in again.stderr


@pytest.mark.parametrize("name", SHIPPED)
def test_dev_runs_a_recipe_without_any_setting(tmp_path, name):
    run(tmp_path, "init", "--recipe", name)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    path = tmp_path / "said"
    with open(path, "wb") as said:
        process = subprocess.Popen([BINARY, "dev", "--port", str(free_port())], cwd=tmp_path / name, env=environment, stdout=said, stderr=said)
    try:
        wait_until(lambda: process.poll() is not None or "reading" in path.read_text(), lambda: f"it reads its stream: {path.read_text()}")
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0, path.read_text()


def test_what_is_asked_for_wrongly_is_told(tmp_path):
    done = run(tmp_path, "init", "--recipe", "search_indx", check=False)
    assert done.returncode == 1 and "no recipe search_indx" in done.stderr
    assert run(tmp_path, "init", "--recipe", "feeds", "--editor", check=False).returncode == 2
    (tmp_path / "file").write_text("")
    assert "cannot" in run(tmp_path, "init", "--recipe", "feeds", "file/below", check=False).stderr
    assert not list(tmp_path.glob("feeds"))


def test_what_an_editor_reads_is_written_anew(tmp_path):
    run(tmp_path, "init")
    library = tmp_path / ".tidemill" / "lua"
    assert {str(path.relative_to(library)) for path in library.rglob("*.lua")} == {str(path.relative_to(ROOT / "lua")) for path in (ROOT / "lua").rglob("*.lua") if path.name != "reference.lua"}
    for path in library.rglob("*.lua"):
        assert path.read_text() == (ROOT / "lua" / path.relative_to(library)).read_text()
    (library / "tidemill" / "http.lua").write_text("old")
    (tmp_path / ".luarc.json").write_text("mine")
    run(tmp_path, "init", "--editor")
    assert (library / "tidemill" / "http.lua").read_text() == (ROOT / "lua" / "tidemill" / "http.lua").read_text()
    assert (tmp_path / ".luarc.json").read_text() == "mine"


PAGES = run(ROOT, "help", "--pages").stdout.split()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_and_is_the_one_in_the_tree(page):
    text = run(ROOT, "help", f"tidemill.{page}").stdout
    assert all(len(line) < 80 for line in text.splitlines()), [line for line in text.splitlines() if len(line) > 79]
    assert page == "test" or run(ROOT, "help", page).stdout == text  # that is a command
    markdown = run(ROOT, "help", "--markdown", page).stdout
    assert (ROOT / "lua" / "reference" / f"{page}.md").read_text() == markdown, "make reference writes them anew"


def test_each_name_that_a_module_has_is_in_its_page_and_no_other_is(tmp_path):
    modules = [page for page in PAGES if page not in ("handler", "record", "request", "values", "tidemill")]
    (tmp_path / "names_test.lua").write_text("""local test = require "tidemill.test"
test.deployment "[table Things]\\nkey = id\\n[stream s]\\ntable = Things"
test("names", function()
  for _, name in ipairs { "%s" } do
    local module = require("tidemill." .. name)
    if type(module) == "table" then
      local names = {}
      for key in pairs(module) do names[#names + 1] = tostring(key) end
      table.sort(names)
      print("MODULE " .. name .. " " .. table.concat(names, " "))
    end
  end
  error("so that it is shown")
end)
""" % '", "'.join(modules))
    done = run(tmp_path, "test", "names_test.lua", check=False)
    found = dict((line.split()[0], set(line.split()[1:])) for line in re.findall(r"MODULE (.*)", done.stdout))
    assert set(found) >= {"dynamodb", "http", "json", "log", "time", "crypto", "postgres", "redis"}, done.stdout
    for module, names in found.items():
        page = run(ROOT, "help", f"tidemill.{module}").stdout
        told = set(re.findall(rf"^{module}\.(\w+)", page, re.M))
        assert names == told or module == "config", (module, names ^ told)


def test_what_commands_say_of_themselves_fits_a_terminal():
    usage = run(ROOT, "--help").stdout
    commands = re.findall(r"^  tidemill (\w+)", usage, re.M)
    assert len(commands) >= 15
    for text in [usage] + [run(ROOT, "help", command).stdout for command in commands]:
        assert all(len(line) < 80 for line in text.splitlines()), [line for line in text.splitlines() if len(line) > 79]


def test_a_page_that_is_not_there_is_told_with_those_that_are():
    done = run(ROOT, "help", "dynamo", check=False)
    assert done.returncode == 2 and "dynamodb" in done.stderr
    usage = run(ROOT, "--help").stdout
    assert "help PAGE" in usage and "postgres" in usage


class Dev:
    def __init__(self, directory, *options):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        self.path, self.directory = directory / "said", directory
        with open(self.path, "wb") as said:
            self.process = subprocess.Popen([BINARY, "dev", "--port", "0", *options], cwd=directory, env=environment, stdout=said, stderr=said)
        self.wait_for("reading")
        self.url = re.search(r"http://127.0.0.1:\d+", self.said())[0]

    def said(self):
        return self.path.read_text()

    def wait_for(self, part):
        wait_until(lambda: self.process.poll() is not None or part in self.said(), lambda: f"it says {part!r}: {self.said()}")
        assert part in self.said()

    def client(self):
        return boto3.client("dynamodb", endpoint_url=self.url, region_name="eu-west-1", aws_access_key_id="local", aws_secret_access_key="local")

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, self.said()


def test_commands_find_the_dev_that_runs_here_and_it_follows_its_ini(tmp_path):
    run(tmp_path, "init", ".")
    assert "state" in run(tmp_path, "status", check=False).stderr
    script = tmp_path / "scripts" / "orders.lua"
    script.write_text('local config = require "tidemill.config" return { stream = "orders", retries = 0, settings = { events_table = "required", mode = "strict" },\n'
                      'on_record = function(record) if config.mode == "strict" then error("too strict") end end }')
    dev = Dev(tmp_path)
    try:
        dev.client().put_item(TableName="Orders", Item={"orderId": {"S": "1"}})
        wait_until(lambda: "too strict" in run(tmp_path, "dead", "list", check=False).stdout, "the letter is found")
        done = run(tmp_path, "status")
        assert "orders" in done.stdout and f"about the dev that runs here, on {dev.url}" in done.stderr
        assert "is paused" in run(tmp_path, "pause", "orders").stdout and "goes on" in run(tmp_path, "resume", "orders").stdout
        done = run(tmp_path, "invoke", "--dead", "1", check=False)
        assert "too strict" in done.stdout + done.stderr
        # a wrong INI is told once, and nothing changes; then one with a table more is taken over
        ini = (tmp_path / "tidemill.ini").read_text()
        (tmp_path / "tidemill.ini").write_text(ini + "[handler orders]\nretires = 1\n")
        dev.wait_for("not taken over")
        looked = time.monotonic() + 3  # it looks every second; that nothing comes cannot be waited for otherwise
        wait_until(lambda: time.monotonic() > looked, "it has looked again")
        assert dev.said().count("not taken over") == 1, dev.said()
        (tmp_path / "tidemill.ini").write_text(ini.replace("[handler orders]", "[handler orders]\nmode = lax") + "[table More]\nkey = id\n")
        wait_until(lambda: "More" in dev.client().list_tables()["TableNames"], lambda: f"the new table is made: {dev.said()}")
        assert run(tmp_path, "dead", "redrive", "--all").stdout == "1 handled, 0 failed again\n"
        wait_until(lambda: run(tmp_path, "dead", "list").stdout == "no dead letters\n", "with the new setting it passes")
        assert "oldest record" in run(tmp_path, "seek", "orders", "trim_horizon", "--running").stdout
        assert (tmp_path / ".tidemill" / ".gitignore").read_text() == "*\n"
    finally:
        dev.stop()
    assert not (tmp_path / ".tidemill" / "dev").exists()
    (tmp_path / ".tidemill" / "dev").write_text("sqlite:/nowhere/x.db\nhttp://127.0.0.1:1\n")  # of one that was killed
    assert "about the dev" not in run(tmp_path, "status", check=False).stderr


def test_what_dev_suggests_works_and_is_seen(tmp_path):
    run(tmp_path, "init", "--recipe", "stock_replenishment", ".")
    assert "no tidemill dev runs" in run(tmp_path, "dev", "put", "Products", '{"productId": "p"}', check=False).stderr
    dev = Dev(tmp_path)
    try:
        dev.wait_for("replenishment ordered")  # the seed's
        commands = re.findall(r"^  (tidemill dev put .*)", dev.said(), re.M)
        assert len(commands) == 2
        before = dev.said().count("replenishment ordered")
        for command in commands:
            assert "put into Products" in run(tmp_path, *shlex.split(command)[1:]).stdout
        wait_until(lambda: dev.said().count("replenishment ordered") == before + 1, lambda: f"another order: {dev.said()}")
        (tmp_path / "item.json").write_text('{"productId": {"S": "typed"}, "stock": {"N": "7"}}')
        run(tmp_path, "dev", "put", "Products", "item.json")
        assert dev.client().get_item(TableName="Products", Key={"productId": {"S": "typed"}})["Item"]["stock"] == {"N": "7"}
        for item, told in (('{"productId": 5}', "Type mismatch"), ("[1]", "an object expected"), ("missing.json", "missing.json"), ("{", "JSON")):
            done = run(tmp_path, "dev", "put", "Products", item, check=False)
            assert done.returncode == 1 and told.lower() in done.stderr.lower(), (item, done.stderr)
        assert "not found" in run(tmp_path, "dev", "put", "Nothing", '{"id": "1"}', check=False).stderr
        assert run(tmp_path, "dev", "puts", "Products", "{}", check=False).returncode == 2
    finally:
        dev.stop()


def test_dev_suggests_the_key_where_there_is_no_seed(tmp_path):
    run(tmp_path, "init")
    dev = Dev(tmp_path)
    try:
        [command] = re.findall(r"^  (tidemill dev put .*)", dev.said(), re.M)
        run(tmp_path, *shlex.split(command)[1:])
        dev.wait_for("a new order")
    finally:
        dev.stop()
