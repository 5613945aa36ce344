"""What the README shows is what one can type: its first hour, command by command, and its files as they stand there."""
import os
import re
import shlex
import subprocess

import pytest
from conftest import BINARY, ROOT, wait_until

README = (ROOT / "README.md").read_text()


def blocks(text):
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)


class Hour:
    """A directory in which the README's commands are typed. `dev` stays in the background; a command that looks at
    what it does looks until it is there."""

    LOOKS = ("tidemill dead list", "tidemill status")

    def __init__(self, directory):
        (directory / "bin").mkdir()
        (directory / "bin" / "tidemill").symlink_to(BINARY)
        self.directory, self.dev, self.said = directory, None, directory / "said"
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        self.environment["PATH"] = f"{directory / 'bin'}:{self.environment['PATH']}"

    def once(self, command):
        done = subprocess.run(["sh", "-c", f"{command} && pwd > {self.said}.pwd"], cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (command, done.stdout + done.stderr)
        self.directory = type(self.directory)((self.said.parent / "said.pwd").read_text().strip())
        return done.stdout + done.stderr

    def type(self, line):
        command, _, expected = line.partition("  # ")
        command = command.strip()
        if command == "tidemill dev":
            with open(self.said, "wb") as out:
                self.dev = subprocess.Popen(shlex.split(command) + ["--port", "0"], cwd=self.directory, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
            self.see("reading")
        elif command.startswith(self.LOOKS):
            wait_until(lambda: expected.strip() in self.once(command), lambda: f"{expected} of {command}: {self.once(command)}\n{self.said.read_text()}")
        else:
            said = self.once(command)
            assert expected.strip() in said, (line, said)

    def see(self, part):
        wait_until(lambda: self.dev.poll() is not None or part in self.said.read_text(), lambda: f"dev says {part!r}: {self.said.read_text()}")
        assert part in self.said.read_text()

    def write(self, block):
        named = re.match(r"(?:--|;) (\S+\.(?:lua|ini))\n", block)
        assert named, "each file says its name"
        (self.directory / named[1]).write_text(block)


def test_the_first_hour(tmp_path):
    hour = Hour(tmp_path)
    text = README[README.index("## The first hour"):README.index("## What holds")]
    shown = [re.sub(r"\s+", " ", line.strip()) for line in re.findall(r"^    .*\n", text, re.M)]
    typed = 0
    try:
        for kind, block in blocks(text):
            if kind == "sh":
                for line in block.splitlines():
                    hour.type(line)
                    typed += 1
            else:
                hour.write(block)
            if "Bergen\"}}'" in block:  # what it shows of dev is what dev shows
                hour.see("status new → packed  orders done")
                assert shown[0].endswith("MODIFY Orders 1 status new → packed orders done") and shown[1].startswith("orders: PutItem OrderEvents")
            if "2 passed" in block:
                hour.see("ship done")  # order 1, of before it was there
                assert "gave up" not in hour.said.read_text()
        hour.see("ship gave up")
        assert "no dead letters" in hour.once("tidemill dead list")
        assert typed >= 14
        hour.dev.terminate()
        assert hour.dev.wait(timeout=60) == 0
    finally:
        if hour.dev:
            hour.dev.kill()
            hour.dev.wait()


def test_the_windowed_handler(tmp_path):
    window, = (block for kind, block in blocks(README) if "on_window" in block)
    (tmp_path / "minutes.lua").write_text(window)
    (tmp_path / "minutes_test.lua").write_text("""
        local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
        test.deployment "[stream orders]\\ntable = Orders\\n[table Orders]\\nkey = id\\n[table Minutes]\\nkey = id\\nstream = none\\n"
        test("a handler without a section runs where the test has its name", function()
          dynamodb.put("Orders", { id = "a", total = 5 })
          test.settle()
          test.advance(120)
          dynamodb.put("Orders", { id = "b", total = 7 })
          test.settle()
          test.equal(dynamodb.scan("Minutes")[1].total, 5)
        end)""")
    done = subprocess.run([BINARY, "test"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "1 passed, 0 failed" in done.stdout, done.stdout + done.stderr


def test_every_key_of_the_ini_is_told(tmp_path):
    """`help ini` against the tables that the INI is read by: none missing, none invented."""
    told = subprocess.run([BINARY, "help", "ini"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told == (ROOT / "host/conf/reference.ini").read_text() and all(len(line) < 80 for line in told.splitlines())
    section, keys = None, {}
    for line in told.splitlines():
        if line.startswith("["):
            section = re.match(r"\[(\w+)", line)[1]
        elif re.match(r"\w[\w ]*=", line):
            keys.setdefault(section, set()).add(line.partition("=")[0].strip())
    tables = (ROOT / "host/conf/tables.c").read_text() + (ROOT / "host/conf/targets.c").read_text()
    known = set(re.findall(r'\{"(\w+)", SETTING_', tables))
    mentioned = set(re.findall(r"\w+", told)) | {f"endpoint_{name}" for name in re.findall(r"_(\w+)", told)}
    assert len(known) > 60 and known <= mentioned, known - mentioned
    for section, names in keys.items():
        for name in names - {"anything_else", "index NAME"}:
            head = f"[{section}]" if section in ("host", "aws", "prices") else f"[{section} x]"
            (tmp_path / "x.ini").write_text(f"{head}\n{name} = ?\n")
            done = subprocess.run([BINARY, "check", "-c", "x.ini"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
            assert f"{name} is not a known key" not in done.stderr, (section, name, done.stderr)
