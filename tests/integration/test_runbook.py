"""examples/operations: each command of the runbook, typed in its order. What would need systemd is a stand-in that starts and
stops the same binary; paths are below a directory of the test's."""
import os
import re
import shutil
import signal
import subprocess

from conftest import BINARY, PATIENCE_S, ROOT

DIRECTORIES = ("/srv/tidemill", "/var/lib/tidemill", "/etc/tidemill", "/var/backups", "/tmp/policy")

SYSTEMCTL = """#!/bin/sh
# start and stop of one service: as the unit does it
set -eu
[ "$2" = tidemill ] || { echo "Unit $2.service not found." >&2; exit 5; }
case $1 in
    start)
        tidemill run -c "$ROOT/srv/tidemill/current/tidemill.ini" >>"$ROOT/journal" 2>&1 9>&- &
        echo $! >"$ROOT/pid" ;;
    stop)
        kill -TERM "$(cat "$ROOT/pid")"
        while kill -0 "$(cat "$ROOT/pid")" 2>/dev/null; do sleep 0.05; done
        rm "$ROOT/pid" ;;
    *) echo "Unknown command verb $1." >&2; exit 1 ;;
esac
"""

JOURNALCTL = """#!/bin/sh
[ "$1 $2" = "-u tidemill" ] && cat "$ROOT/journal"
"""


def test_every_command_of_the_runbook_works(local, tmp_path):
    text = (ROOT / "examples/operations/README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) > 10
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for name, script in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        (bin_directory / name).write_text(script)
        (bin_directory / name).chmod(0o755)
    (bin_directory / "tidemill").symlink_to(BINARY)
    for directory in ("srv/tidemill/releases", "var/lib/tidemill", "etc/tidemill/secrets", "var/backups", "tmp"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "etc/tidemill/secrets/admin_token").write_text("0123456789abcdef0123456789abcdef")
    (tmp_path / "etc/tidemill/secrets/crm_key").write_text("a-key")

    def here(text):
        for directory in DIRECTORIES:
            text = text.replace(directory, f"{tmp_path}{directory}")
        return text

    for number in (1, 2):
        release = tmp_path / f"srv/tidemill/releases/{number}"
        shutil.copytree(ROOT / f"examples/operations/release-{number}", release)
        ini = here((release / "tidemill.ini").read_text())
        (release / "tidemill.ini").write_text(ini.replace("[host]\n", "[host]\nlisten = off\nlease = 4s\n").replace("table = Orders", "table = Orders\ndiscovery = 500ms"))
    (tmp_path / "srv/tidemill/current").symlink_to("releases/1")
    if "Orders" not in local.client.list_tables()["TableNames"]:
        local.table("Orders")
    for i in range(3):
        local.client.put_item(TableName="Orders", Item={"id": {"S": f"o{i}"}, "total": {"N": str(i)}})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment.update(ROOT=str(tmp_path), PATH=f"{bin_directory}:{os.environ['PATH']}", AWS_ENDPOINT_URL=local.url, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="secret")
    try:
        for block in blocks:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", here(block)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=3 * PATIENCE_S)
            journal = (tmp_path / "journal").read_text() if (tmp_path / "journal").exists() else ""
            assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}\n{journal[-3000:]}"
            assert "Sanitizer" not in done.stderr + journal and "runtime error" not in done.stderr + journal
            last = done.stdout
    finally:
        if (tmp_path / "pid").exists():
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    assert last == "well\n", "a runbook ends well"


def test_every_alarm_has_its_line():
    alerts = re.findall(r"alert: (\w+)", (ROOT / "examples/monitoring/alerts.yml").read_text())
    text = (ROOT / "examples/operations/README.md").read_text()
    assert alerts and [name for name in alerts if f"| {name} |" not in text] == []
