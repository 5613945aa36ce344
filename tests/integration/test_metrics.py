"""[host] listen: metrics and health over HTTP."""
import json
import pathlib
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest

from conftest import PATIENCE_S, wait_until
from services import Http
from test_trials import put

HANDLER = 'return { stream = "s", retries = 0, on_record = function(record)\n' \
          '  if record.keys.id == "bad" then error("no") end end }'


def get(port, path, method="GET", **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def check_with_promtool(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr


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
    handled = 'tidemill_records_total{handler="count",outcome="handled"}'
    dead = 'tidemill_records_total{handler="count",outcome="dead"}'
    wait_until(lambda: series(get(port, "/metrics")[2]).get(handled) == 10 and series(get(port, "/metrics")[2])[dead] == 1,
               "all are counted")
    status, kind, text = get(port, "/metrics")
    assert status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8"
    numbers = series(text)
    assert numbers['tidemill_read_records_total{stream="s"}'] == 11
    assert numbers['tidemill_get_records_total{stream="s"}'] >= 1
    assert "shard=" not in text and "shardId" not in text  # labels do not grow with shards
    assert numbers['tidemill_shards{stream="s"}'] == 1
    assert numbers['tidemill_invocation_seconds_count{handler="count"}'] == 11
    assert numbers['tidemill_invocation_seconds_bucket{handler="count",le="+Inf"}'] == 11
    assert numbers['tidemill_lua_seconds_total{handler="count"}'] > 0 and numbers['tidemill_lua_memory_bytes{handler="count"}'] > 0
    assert numbers['tidemill_aws_requests_total{service="dynamodb_streams",operation="GetRecords",code="OK"}'] >= 1
    assert numbers['tidemill_checkpoint_seconds_count'] >= 1
    assert numbers['process_resident_memory_bytes'] > 1e6
    wait_until(lambda: series(get(port, "/metrics")[2]).get('tidemill_dead_letters{handler="count"}') == 1, "letters are counted")
    check_with_promtool(text)
    status, kind, text = get(port, "/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8" and text.endswith("# EOF\n")
    assert "# TYPE tidemill_records counter\n" in text and "\ntidemill_records_total{" in text
    assert get(port, "/healthz")[2] == "ok\n"
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(port, "/metrics", "POST")
    assert refused.value.code == 405
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(port, "/etc/passwd")
    assert refused.value.code == 404
    assert host.stop() == 0


def test_units_and_requests_of_a_handler(beside_local, local, name):
    deployment = beside_local
    table, other = local.table(name()), local.table(name(), stream=False)
    sink = Http()
    deployment.script("spends", f"""
        local dynamodb, http = require "tidemill.dynamodb", require "tidemill.http"
        return {{ stream = "s", on_record = function(record)
          dynamodb.put("{other}", {{ id = record.keys.id }})
          assert(dynamodb.get("{other}", {{ id = record.keys.id }}, {{ consistent = true }}))
          http.get("{sink.url}")
        end }}""")
    deployment.stream(table, threads=1, listen="127.0.0.1:0")
    host = deployment.start()
    port = port_of(host)
    put(local.client, table, "one")
    put(local.client, table, "two")
    units = 'tidemill_capacity_units_total{handler="spends",table="%s",kind="%s"}'
    wait_until(lambda: series(get(port, "/metrics")[2]).get(units % (other, "write")) == 2, "written units are counted")
    numbers = series(get(port, "/metrics")[2])
    assert numbers[units % (other, "read")] == 2
    assert numbers['tidemill_http_requests_total{handler="spends",status="200"}'] == 2
    assert host.stop() == 0


def test_ready_is_said_by_readyz_and_by_status_alike(beside_local, local, name):
    deployment = beside_local
    table = name()
    deployment.script("count", HANDLER)
    deployment.script("wrong", "return {")
    deployment.stream(table, threads=2, listen="127.0.0.1:0", checkpoint_interval="50ms")
    done = deployment.run("status", "--wait", "ready", "--timeout", "1s")
    assert done.returncode == 1 and "not ready after 1 s" in done.stderr
    host = deployment.start()
    port = port_of(host)

    def unready():
        try:
            return get(port, "/readyz")[2] == "ready\n" and []
        except urllib.error.HTTPError as refused:
            assert refused.code == 503
            return refused.read().decode().splitlines()

    assert "host: not read yet: stream s" in unready()
    wait_until(lambda: any(line.startswith("handler wrong: ") for line in unready()), "a script that is wrong is named")
    assert get(port, "/healthz")[2] == "ok\n"
    local.table(table)
    deployment.script("wrong", HANDLER)
    done = deployment.run("status", "--wait", "ready")
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    wait_until(lambda: unready() == [], "so says the listener")
    said = deployment.status()
    assert said["ready"] and said["unready"] == []
    put(local.client, table, "bad")
    wait_until(lambda: sum(deployment.status()["dead_letters"].values()) == 2, "both have a letter")
    done = deployment.run("status", "--check")
    assert done.returncode == 1 and done.stdout.splitlines() == ["handler count: 1 dead letter", "handler wrong: 1 dead letter"]
    done = deployment.run("status", "--check", "--max-dead", "1", "--max-lag", "1h")
    assert (done.returncode, done.stdout) == (0, "well\n")
    done = deployment.run("status", "--check", "--json")
    assert done.returncode == 1 and len(json.loads(done.stdout)["problems"]) == 2
    assert host.stop() == 0
    done = deployment.run("status", "--check", "--max-dead", "1")
    assert done.returncode == 1 and done.stdout == "no host is running on this state\n"
    assert deployment.run("status", "--wait", "idle").returncode == 2


def test_prometheus_scrapes_a_host(beside_local, local, name, tmp_path):
    deployment = beside_local
    table = local.table(name())
    deployment.script("count", HANDLER)
    deployment.stream(table, threads=2, listen="127.0.0.1:0", checkpoint_interval="50ms")
    host = deployment.start()
    port = port_of(host)
    for i in range(5):
        put(local.client, table, f"i{i}")
    (tmp_path / "prometheus.yml").write_text(
        "global: { scrape_interval: 1s }\n"
        f"scrape_configs: [{{ job_name: tidemill, static_configs: [{{ targets: ['127.0.0.1:{port}'] }}] }}]\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    with open(tmp_path / "prometheus.log", "wb") as log:
        prometheus = subprocess.Popen(
            ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
             f"--web.listen-address=127.0.0.1:{own}"], stdout=log, stderr=log)

    def value(query):
        try:
            text = get(own, "/api/v1/query?" + urllib.parse.urlencode(dict(query=query)))[2]
        except OSError:
            return None  # it begins
        found = json.loads(text)["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    try:
        wait_until(lambda: value('tidemill_records_total{handler="count",outcome="handled"}') == 5, "Prometheus has the number")
        assert value("up") == 1
        assert value('histogram_quantile(0.9, sum by (le) (tidemill_invocation_seconds_bucket))') < 60
        assert value("tidemill_build_info") == 1
    finally:
        prometheus.terminate()
        prometheus.wait(timeout=PATIENCE_S)
    assert host.stop() == 0


def test_counters_outlive_a_handlers_reload(beside_local, local, name):
    deployment = beside_local
    table = local.table(name())
    deployment.script("count", HANDLER)
    deployment.stream(table, threads=1, listen="127.0.0.1:0", checkpoint_interval="50ms")
    host = deployment.start()
    port = port_of(host)
    handled = 'tidemill_records_total{handler="count",outcome="handled"}'
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


def test_beyond_this_machine_a_token_is_shown(beside_local, local, name):
    deployment = beside_local
    token = "0123456789abcdef-._~+/="
    (deployment.directory / "token").write_text(token + "\n")
    deployment.script("count", HANDLER)
    deployment.stream(local.table(name()), threads=1, listen="0.0.0.0:0", admin_token="${file:token}")
    host = deployment.start()
    host.wait_for("metrics are at")
    port = int(re.search(r"metrics are at http://0\.0\.0\.0:(\d+)/metrics", "\n".join(host.messages()))[1])
    for shown in ({}, dict(Authorization="Bearer wrong"), dict(Authorization=f"Basic {token}"),
                  dict(Authorization=f"Bearer {token}x")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(port, "/metrics", **shown)
        assert refused.value.code == 401 and refused.value.headers["WWW-Authenticate"] == 'Bearer realm="tidemill"'
    assert "tidemill_build_info" in get(port, "/metrics", Authorization=f"bearer {token}", Host="monitor.example")[2]
    assert get(port, "/healthz")[2] == "ok\n"
    assert host.stop() == 0
    assert token not in host.log_path.read_text()


@pytest.mark.parametrize("token", ["short", "has a blank in the middle", "fünfzehn-ist-zu-kurz"])
def test_check_looks_at_the_token(deployment, token):
    deployment.script("count", HANDLER)
    deployment.stream("T", threads=1, listen="0.0.0.0:0", admin_token=token)
    done = deployment.run("check", "-c", deployment.ini)
    assert done.returncode != 0 and "admin_token: at least 16" in done.stderr + done.stdout and token not in done.stderr + done.stdout


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(beside_local, local, name, tmp_path, abstract):
    deployment = beside_local
    table = name()
    deployment.script("count", HANDLER)
    deployment.stream(table, threads=2)
    address = f"\0{name()}" if abstract else str(tmp_path / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    manager.settimeout(PATIENCE_S)
    deployment.environment.update(NOTIFY_SOCKET=address.replace("\0", "@"), WATCHDOG_USEC="600000")
    host = deployment.start()

    def wait_for(wanted):
        said = []
        while not any(wanted in each for each in said):
            said.append(manager.recv(4096).decode())
        return said

    assert wait_for("READY=1") == ["READY=1"]
    wait_for("STATUS=not ready: host: not read yet: stream s")
    wait_for("WATCHDOG=1")
    local.table(table)
    wait_for("STATUS=reading 1 stream")
    host.process.send_signal(signal.SIGHUP)
    assert "RELOADING=1\nMONOTONIC_USEC=" in wait_for("RELOADING=1")[-1]
    wait_for("READY=1")
    deployment.ini.write_text(deployment.ini.read_text().replace("threads = 2", "threads = 1"))
    host.process.send_signal(signal.SIGHUP)  # everything stops and starts again
    wait_for("RELOADING=1")
    assert not any("STOPPING" in each for each in wait_for("READY=1"))
    wait_for("STATUS=reading 1 stream")
    host.process.send_signal(signal.SIGTERM)
    wait_for("STOPPING=1")
    assert host.end() == 0
    manager.close()


def test_the_monitoring_example(beside_local, local, name):
    """Its rules say what they mean; what its panels ask Prometheus for is there."""
    here = pathlib.Path(__file__).resolve().parents[2] / "examples" / "monitoring"
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=here, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stdout + done.stderr
    known = set(re.findall(r'\{"((?:tidemill|process)_\w+)", METRIC', (here.parents[1] / "host/stats/metrics.c").read_text()))
    asked = (here / "alerts.yml").read_text() + json.dumps(json.loads((here / "dashboard.json").read_text()))
    for metric in set(re.findall(r"\b((?:tidemill|process)_[a-z_]+)\b", asked)):
        assert metric in known or re.sub("_(bucket|sum|count)$", "", metric) in known, metric


def test_a_scrape_stays_small(beside_local, local, name):
    """Of fifty handlers, each with all its series."""
    deployment, table = beside_local, local.table(name())
    for i in range(50):
        deployment.script(f"handler_{i:02}", HANDLER)
    deployment.stream(table, threads=2, listen="127.0.0.1:0", checkpoint_interval="50ms")
    host = deployment.start()
    port = port_of(host)
    for i in range(10):
        put(local.client, table, f"i{i}")
    wait_until(lambda: sum(value for key, value in series(get(port, "/metrics")[2]).items() if 'outcome="handled"' in key) == 500,
               "all have handled all")
    text = get(port, "/metrics")[2]
    assert len(text) < 100 * 1024, len(text)
    check_with_promtool(text)
    assert host.stop() == 0


# ---- what it costs ----


def test_status_says_what_it_costs(beside_local, local, name):
    """Known numbers of records, items and requests, at prices that the INI says."""
    table, out = local.table(name()), local.table(name("Out"), stream=False)
    sink = Http()
    beside_local.script("writes", 'local dynamodb = require "tidemill.dynamodb"\n'
                        f'return {{ stream = "s", on_record = function(r) dynamodb.put("{out}", {{ id = r.keys.id }}) end }}')
    beside_local.stream(table, f"[target web]\ntype = http\nurl = {sink.url}\nbatch_count = 1\n[route all]\nstream = s\ntarget = web\n"
                               "[prices]\nwrite_unit = 1000000\nstream_read = 0\ncurrency = EUR\n")
    for i in range(20):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i}"}})
    host = beside_local.start()
    wait_until(lambda: len(sink.seen) == 20 and beside_local.settled(), "all is done")
    assert host.stop() == 0  # what was counted is kept
    done = beside_local.run("status", "--cost", "--json")
    cost = json.loads(done.stdout)
    lines = {line["what"]: line for line in cost["lines"]}
    # A handler that joins a moment later reads once more for itself: that is asked for, too.
    assert cost["currency"] == "EUR" and cost["records"] in (20, 40), done.stdout
    assert lines[f"handler writes, table {out}: write units"]["count"] == 20 and lines[f"handler writes, table {out}: write units"]["cost"] == 20
    assert lines["target web: requests"]["count"] == 20 and lines["stream s: GetRecords"]["cost"] == 0
    assert cost["cost"] == 20 and cost["cost_million_records"] == 20e6 / cost["records"]
    assert abs(cost["cost_month"] - 30 * cost["cost_day"]) < 1e-6 * cost["cost_month"] and cost["cost_day"] > 20
    host = beside_local.start()  # another run counts on
    for i in range(10):
        local.client.put_item(TableName=table, Item={"id": {"S": f"j{i}"}})
    wait_until(lambda: len(sink.seen) == 30 and beside_local.settled(), "the rest is done")
    assert host.stop() == 0
    assert json.loads(beside_local.run("status", "--cost", "--json").stdout)["records"] >= cost["records"] + 10
    text = beside_local.run("status", "--cost").stdout
    assert "all of it" in text and "in EUR" in text and f"table {out}: write units" in text, text
    for mistake, said in (("sqz = 1", "did you mean sqs?"), ("sqs = cheap", '"cheap" is no price')):
        beside_local.ini.write_text(beside_local.ini.read_text().replace("currency = EUR", mistake))
        wrong = beside_local.run("check")
        assert wrong.returncode == 2 and said in wrong.stderr, wrong.stderr
        beside_local.ini.write_text(beside_local.ini.read_text().replace(mistake, "currency = EUR"))
