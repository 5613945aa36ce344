"""What the README shows is what one can type: its files, as they stand there."""
import re
import subprocess

from conftest import BINARY, ROOT


def test_the_first_handler_its_ini_and_its_test(tmp_path):
    files = {}
    for block in re.findall(r"^```\w+\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S):
        named = re.match(r"(?:--|;) (\S+\.(?:lua|ini))\n", block)
        if named:
            files[named[1]] = block
    assert {"tidemill.ini", "scripts/stock_replenishment.lua", "scripts/stock_replenishment_test.lua"} <= files.keys()
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    window, = (block for block in re.findall(r"^```lua\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S) if "on_window" in block)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/minutes.lua").write_text(window)
    (tmp_path / "other/minutes_test.lua").write_text("""
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
    for command in (["check"], ["test", "scripts", "other"]):
        done = subprocess.run([BINARY, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed, 0 failed" in done.stdout, done.stdout
