"""[host] listen: metrics and health over HTTP."""
import re
import socket
import urllib.error
import urllib.request

import pytest

from conftest import wait_until
from test_trials import put

HANDLER = 'return { stream = "s", retries = 0, on_record = function(record)\n' \
          '  if record.keys.id == "bad" then error("no") end end }'


def get(port, path, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def series(text):
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}


def port_of(host):
    host.wait_for("metrics are at")
    return int(re.search(r"metrics are at http://127\.0\.0\.1:(\d+)/metrics", "\n".join(host.messages()))[1])


def test_metrics_count_what_happened_over_all_reactors(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("count", HANDLER)
    deployment.stream(table, threads=2, listen="127.0.0.1:0", checkpoint_interval="50ms")
    host = deployment.start()
    port = port_of(host)
    for i in range(10):
        put(local.client, table, f"i{i}")
    put(local.client, table, "bad")
    handled = 'tidemill_records_total{stream="s",handler="count",outcome="handled"}'
    dead = 'tidemill_records_total{stream="s",handler="count",outcome="dead"}'
    wait_until(lambda: series(get(port, "/metrics")[2]).get(handled) == 10 and series(get(port, "/metrics")[2])[dead] == 1,
               "all are counted")
    status, kind, text = get(port, "/metrics")
    assert status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8"
    numbers = series(text)
    assert numbers['tidemill_read_records_total{stream="s"}'] == 11
    assert numbers['tidemill_get_records_total{stream="s"}'] >= 1
    assert "shard" not in text  # labels do not grow with shards
    for metric in {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}:
        assert f"# TYPE {metric} " in text and f"# HELP {metric} " in text
    assert get(port, "/healthz")[2] == "ok\n"
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(port, "/metrics", "POST")
    assert refused.value.code == 405
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(port, "/etc/passwd")
    assert refused.value.code == 404
    assert host.stop() == 0


def test_counters_outlive_a_handlers_reload(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("count", HANDLER)
    deployment.stream(table, threads=1, listen="127.0.0.1:0", checkpoint_interval="50ms")
    host = deployment.start()
    port = port_of(host)
    handled = 'tidemill_records_total{stream="s",handler="count",outcome="handled"}'
    put(local.client, table, "one")
    wait_until(lambda: series(get(port, "/metrics")[2]).get(handled) == 1, "the first is counted")
    deployment.script("count", HANDLER + "\n-- another version")
    host.wait_for("takes the place of")
    put(local.client, table, "two")
    wait_until(lambda: series(get(port, "/metrics")[2]).get(handled) == 2, "the second is counted beside the first")
    assert host.stop() == 0


def test_an_address_in_use(beside_local, local, name):
    """One that was asked for must be free; the usual one need not."""
    deployment = beside_local
    table = local.table(name())
    deployment.script("count", HANDLER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        deployment.stream(table, threads=1, listen=address)
        done = deployment.run("run", "-c", deployment.ini)
        assert done.returncode == 1
        assert f"listen: {address} is in use" in done.stderr
    deployment.stream(table, threads=1, listen="off")
    host = deployment.start()
    host.wait_for("reading ")
    assert not any("metrics" in message for message in host.messages())
    assert host.stop() == 0


def test_the_usual_address_may_be_in_use(beside_local, local, name):
    deployment = beside_local
    deployment.script("count", HANDLER)
    deployment.stream(local.table(name()), threads=1, listen=None)
    try:
        taken = socket.create_server(("127.0.0.1", 9464))
    except OSError:
        taken = None  # somebody else has it: as good
    host = deployment.start()
    host.wait_for("no metrics are shown: 127.0.0.1:9464 is in use")
    host.wait_for("reading ")
    assert host.stop() == 0
    if taken:
        taken.close()


@pytest.mark.parametrize("address, wanted", [
    ("nowhere", "is no address to listen on"), ("127.0.0.1:99999", "is no address to listen on"),
    ("127.0.0.1:", "is no address to listen on"), ("0.0.0.0:9464", "can be reached from other machines"),
    ("[::]:9464", "can be reached from other machines"), (":9464", "can be reached from other machines")])
def test_check_looks_at_listen(deployment, address, wanted):
    deployment.script("count", HANDLER)
    deployment.stream("T", threads=1, listen=address)
    done = deployment.run("check", "-c", deployment.ini)
    assert done.returncode != 0
    assert wanted in done.stderr + done.stdout
