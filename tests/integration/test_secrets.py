"""${ssm:} and ${secret:} in the INI: who asks for them, when, and what becomes of what cannot be asked."""
import json
import signal
import subprocess
import time

import pytest

from conftest import BINARY, wait_until
from services import Refused, Service

SAY = 'local config, log = require "tidemill.config", require "tidemill.log"\n' \
      'return { stream = "s", on_record = function(record) log.info(record.keys.id .. " with " .. config.letters) end }'


class Vault(Service):
    """Parameter Store or Secrets Manager, whose values a test sets. https://docs.aws.amazon.com/secretsmanager/latest/apireference/"""

    def __init__(self, signs_as):
        super().__init__()
        self.signs_as, self.values, self.asked = signs_as, {}, []

    def work(self, request):
        body, target = json.loads(request.body), request.headers["X-Amz-Target"]
        name = body.pop("SecretId", None) or body.pop("Name")
        expected = ("AmazonSSM.GetParameter", {"WithDecryption": True}) if self.signs_as == "ssm" else ("secretsmanager.GetSecretValue", {})
        if (target, body) != expected or request.headers["Content-Type"] != "application/x-amz-json-1.1":
            raise Refused(400, "ValidationException", f"{target} {body}")
        self.asked.append(name)
        if name not in self.values:
            raise Refused(400, "ParameterNotFound" if self.signs_as == "ssm" else "ResourceNotFoundException", "there is none")
        value = self.values[name]
        answer = {"Parameter": {"Name": name, "Value": value}} if self.signs_as == "ssm" else {"Name": name, **(value if isinstance(value, dict) else {"SecretString": value})}
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()

    def error(self, refused):
        return json.dumps({"__type": refused.code, "message": refused.message}).encode()


@pytest.fixture
def vaults():
    made = Vault("ssm"), Vault("secretsmanager")
    yield made
    assert not any(vault.problems for vault in made), [vault.problems for vault in made]
    for vault in made:
        vault.stop()


def configure(deployment, local, name, vaults, handler, more="", **host):
    table = local.table(name())
    deployment.script("h", SAY)
    deployment.environment.update({"AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL_SSM": vaults[0].url, "AWS_ENDPOINT_URL_SECRETS_MANAGER": vaults[1].url})
    deployment.stream(table, f"[handler h]\n{handler}{more}", threads=1, **host)
    text = deployment.ini.read_text()
    # [aws] stands behind what is asked for with it.
    begin, end = text.index("[aws]"), text.index("[stream")
    text = text[:begin] + text[end:] + "\n" + text[begin:end].replace("endpoint = ", f"endpoint_streams = {local.url}\nendpoint_dynamodb = ")
    deployment.ini.write_text(text)
    return table


def put(local, table, item):
    local.client.put_item(TableName=table, Item={"id": {"S": item}, "n": {"N": str(time.monotonic_ns())}})  # always a change


def test_a_host_starts_with_them_and_takes_them_over_as_they_change(beside_local, local, name, vaults):
    deployment, (parameters, secrets) = beside_local, vaults
    parameters.values["/crm/letters"] = "p1"
    secrets.values["prod/crm"] = json.dumps({"password": "s1", "port": 5432, "token": "0123456789abcdef"})
    handler = "letters = <${ssm:/crm/letters} ${secret:prod/crm#password} ${secret:prod/crm#port}>\n"
    table = configure(deployment, local, name, vaults, handler, secrets_age="1s", admin_token="${secret:prod/crm#token}")
    host = deployment.start()
    put(local, table, "a")
    host.wait_for("a with <p1 s1 5432>")
    # By age, and without a signal.
    parameters.values["/crm/letters"] = "p2"
    wait_until(lambda: any("what ${...} of" in line for line in host.messages()), "it is seen", 60)
    put(local, table, "b")
    host.wait_for("b with <p2 s1 5432>")
    # What cannot be asked for stays as it was, and is told.
    del parameters.values["/crm/letters"]
    told = lambda: [row["text"] for row in deployment.status()["troubles"] if row["kind"] == "secrets"]
    wait_until(told, "it is told", 60)
    assert "ParameterNotFound" in told()[0] and "${ssm:/crm/letters}" in told()[0] and "tidemill.ini:" in told()[0]
    put(local, table, "c")
    host.wait_for("c with <p2 s1 5432>")
    # SIGHUP asks first, and takes what it is told.
    parameters.values["/crm/letters"] = "p3"
    host.process.send_signal(signal.SIGHUP)

    def third():
        put(local, table, "d")
        return any("d with <p3 s1 5432>" in line for line in host.messages())

    wait_until(third, "it counts")
    wait_until(lambda: not told(), "it is no trouble any more", 60)
    assert host.stop() == 0
    log = host.log_path.read_text()
    assert "0123456789abcdef" not in log and '"password"' not in log


def test_sighup_with_one_that_is_not_there_changes_nothing(beside_local, local, name, vaults):
    deployment, (parameters, _) = beside_local, vaults
    parameters.values["/a"] = "p1"
    table = configure(deployment, local, name, vaults, "letters = ${ssm:/a}\n")
    host = deployment.start()
    put(local, table, "a")
    host.wait_for("a with p1")
    deployment.ini.write_text(deployment.ini.read_text().replace("${ssm:/a}", "${ssm:/b}"))
    host.process.send_signal(signal.SIGHUP)
    host.wait_for("not taken over")
    put(local, table, "b")
    host.wait_for("b with p1")
    parameters.values["/b"] = "p2"
    host.process.send_signal(signal.SIGHUP)
    host.wait_for("was read again")

    def second():
        put(local, table, "c")
        return any(line == "c with p2" for line in host.messages())

    wait_until(second, "the new one counts")
    # A stop does not wait for an answer that never comes.
    parameters.faults.cut = 1.0
    host.process.send_signal(signal.SIGHUP)
    assert host.stop() == 0


@pytest.mark.parametrize("value, told", [
    (None, "ResourceNotFoundException"), ({"SecretBinary": "AAAA"}, "it is binary"), ("no object", 'no JSON object with a text or a number "key"'), ({}, "an answer without it"), ('{"key":{}}', 'no JSON object with a text or a number "key"')])
def test_a_start_without_one_says_which_and_why(beside_local, local, name, vaults, value, told):
    deployment, (_, secrets) = beside_local, vaults
    if value is not None:
        secrets.values["crm"] = value
    configure(deployment, local, name, vaults, "letters = ${secret:crm#key}\n")
    done = deployment.run("run")
    assert done.returncode == 2 and told in done.stderr and "[handler h] letters: ${secret:crm#key}" in done.stderr, done.stderr


@pytest.mark.parametrize("line, told", [("state = ${ssm:/x}\n", "but for admin_token"), ("letters = ${ssm:}\n", "a name expected"), ("letters = ${sm:x}\n", "${ssm:NAME} and ${secret:NAME} are known"), ("letters = ${secret:x\n", "without its")])
def test_where_they_may_not_stand_is_told(deployment, line, told):
    deployment.dynamodb = type("D", (), {"url": "http://127.0.0.1:1"})
    deployment.script("h", SAY)
    deployment.stream("T", f"[handler h]\n{line if not line.startswith('state') else ''}")
    if line.startswith("state"):
        deployment.ini.write_text(deployment.ini.read_text().replace("state = sqlite:state.db\n", line))
    for command in ("check", "run"):
        done = deployment.run(command)
        assert done.returncode == 2 and told in done.stderr, done.stderr
    deployment.ini.write_text(deployment.ini.read_text().replace("[aws]\n", "[aws]\nprofile = ${secret:p}\n"))
    assert "${secret:p}: in [aws]" in deployment.run("check").stderr


def test_only_those_who_need_them_ask(beside_local, local, name, vaults):
    deployment, (parameters, secrets) = beside_local, vaults
    parameters.values.update({"/crm/letters": "p1", "table:3": "T", "q": "https://sqs.eu-west-1.amazonaws.com/123456789012/q"})
    secrets.values["prod/crm"] = "http://127.0.0.1:1/"
    configure(deployment, local, name, vaults, "letters = ${ssm:/crm/letters}\n", "[target t]\ntype = http\nurl = ${secret:prod/crm}\n[target q]\ntype = sqs\nqueue = ${ssm:q}\n[route r]\nstream = s\ntarget = q\n[route away]\nstream = s\ntarget = ${ssm:q}\n[stream other]\ntable = ${ssm:table:3}\n", admin_token="${secret:arn:aws:secretsmanager:eu-west-1:123456789012:secret:tok-AbCdEf#t}")
    deployment.script("h", SAY.replace('stream = "s"', 'stream = "s", settings = { letters = "required" }'))
    for command in (["check"], ["policy"]):
        done = deployment.run(*command)
        assert done.returncode == 0, (command, done.stderr)
    granted = {resource: statement["Action"] for statement in json.loads(done.stdout)["Statement"] for resource in [statement["Resource"]]}
    assert granted["arn:aws:ssm:eu-west-1:*:parameter/crm/letters"] == granted["arn:aws:ssm:eu-west-1:*:parameter/table"] == ["ssm:GetParameter"], granted
    assert granted["arn:aws:secretsmanager:eu-west-1:*:secret:prod/crm-??????"] == ["secretsmanager:GetSecretValue"]
    assert granted["arn:aws:secretsmanager:eu-west-1:123456789012:secret:tok-AbCdEf"] == ["secretsmanager:GetSecretValue"]
    assert "permissions on what they name are missing" in done.stderr
    event = deployment.directory / "event.json"
    event.write_text(json.dumps({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "i"}}, "SequenceNumber": "1"}}))
    done = deployment.run("invoke", "h", str(event), "--dry-run")
    assert done.returncode == 2 and "[stream other] table: ${ssm:table:3}: dev, test and a dry run ask nobody" in done.stderr
    deployment.ini.write_text(deployment.ini.read_text().replace("[stream other]\ntable = ${ssm:table:3}\n", "").replace("[route away]\nstream = s\ntarget = ${ssm:q}\n", ""))
    assert "i with ${ssm:/crm/letters}" in deployment.run("invoke", "h", str(event), "--dry-run").stderr
    assert not parameters.asked and not secrets.asked
    secrets.values["arn:aws:secretsmanager:eu-west-1:123456789012:secret:tok-AbCdEf"] = '{"t":"0123456789abcdef"}'
    done = deployment.run("invoke", "h", str(event))
    assert "i with p1" in done.stderr, done.stderr
    assert parameters.asked == ["/crm/letters", "q"] and sorted(secrets.asked) == ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:tok-AbCdEf", "prod/crm"]


def test_in_a_test_each_stands_for_itself(deployment):
    deployment.script("h", SAY)
    (deployment.directory / "scripts" / "h_test.lua").write_text("""
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Things]
key = id
[stream s]
table = Things
[handler h]
letters = ${secret:crm}
]]
test("it runs", function()
  dynamodb.put("Things", { id = "a" })
  test.settle()
end)
""")
    done = subprocess.run([BINARY, "test", str(deployment.directory / "scripts")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
