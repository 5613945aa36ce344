"""tidemill.aws: any call, signed as botocore signs it."""
import datetime
import json
import urllib.parse

import pytest

from conftest import wait_until
from services import Refused, Service
from test_delivery import emulators  # noqa: F401 a fixture
from test_handlers import run_once


class Any(Service):
    """Whatever service it is asked as; `refusals_of` says what an operation is refused with, and how often."""

    def __init__(self):
        super().__init__()
        self.refusals_of, self.answers = {}, {}

    def work(self, request):
        target = (request.headers.get("X-Amz-Target") or "").rpartition(".")[2] or f"{request.method} {request.path}"
        left = self.refusals_of.get(target)
        if left and left[0]:
            left[0] -= 1
            raise Refused(*left[1:])
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, self.answers.get(target, b'{"ok":true}')

    def error(self, refused):
        return json.dumps({"__type": refused.code, "message": refused.message}).encode()


@pytest.fixture
def service():
    made = Any()
    yield made
    assert not made.problems, made.problems
    made.stop()


def begin(deployment, local, name, service, signs_as, body, more="", **settings):
    table = local.table(name())
    service.signs_as = signs_as
    deployment.script("h", f"""
local aws, log = require "tidemill.aws", require "tidemill.log"
return {{ stream = "s", backoff = "10ms..20ms", on_record = function(record) local id = record.keys.id {body} end }}""")
    deployment.environment["AWS_SECRET_ACCESS_KEY"] = "secret"
    deployment.stream(table, more, **settings)
    deployment.ini.write_text(deployment.ini.read_text().replace("region = eu-west-1", "region = eu-west-1"))
    deployment.environment[f"AWS_ENDPOINT_URL_{signs_as.upper().replace('-', '_')}"] = service.url
    # The embedded DynamoDB has an endpoint of its own, so that no endpoint is one for all.
    text = deployment.ini.read_text()
    deployment.ini.write_text(text.replace(f"endpoint = {local.url}", f"endpoint_dynamodb = {local.url}\nendpoint_streams = {local.url}"))
    host = deployment.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "a"}})
    return table, host


def test_a_json_call_is_signed_repeated_and_answered(beside_local, local, name, service):
    service.refusals_of["StartExecution"] = [2, 400, "ThrottlingException", "slow down"]
    service.answers["StartExecution"] = b'{"executionArn":"arn:x","startDate":1.5}'
    table, host = begin(beside_local, local, name, service, "states",
                        'local made = aws.call("states", "StartExecution", { stateMachineArn = "arn:m", name = id, input = "{}" }) log.info("made " .. made.executionArn .. " " .. made.startDate)')
    host.wait_for("made arn:x 1.5")
    asked = [request for request in service.requests]
    assert {request.headers["X-Amz-Target"] for request in asked} == {"AWSStepFunctions.StartExecution"} and asked[0].headers["Content-Type"] == "application/x-amz-json-1.0"
    assert json.loads(asked[0].body) == {"stateMachineArn": "arn:m", "name": "a", "input": "{}"} and len(asked) == 3
    assert host.stop() == 0


@pytest.mark.parametrize("signs_as, call, method, path, content", [
    ("ses", 'aws.request{ service = "ses", method = "POST", path = "/v2/email/outbound-emails", json = { a = 1 } }', "POST", "/v2/email/outbound-emails", "application/json"),
    ("sns", 'aws.request{ service = "sns", form = { Action = "Publish", Message = "a b&c=ü", Version = "2010-03-31" } }', "POST", "/", "application/x-www-form-urlencoded; charset=utf-8"),
    ("lambda", 'aws.request{ service = "lambda", path = "/2015-03-31/functions/" .. aws.escape("a:b c/d") .. "/invocations", query = { Qualifier = "x y", a = "" } }', "GET", "/2015-03-31/functions/a%3Ab%20c%2Fd/invocations?Qualifier=x%20y&a=", None),
    ("s3", 'aws.request{ service = "s3", method = "PUT", path = "/bucket/a%20b//c", body = "x", headers = { ["x-amz-meta-a"] = "  two  blanks ", ["x-amz-meta-b"] = "" } }', "PUT", "/bucket/a%20b//c", None),
])
def test_every_protocol_and_odd_paths_are_signed_as_botocore_signs_them(beside_local, local, name, service, signs_as, call, method, path, content):
    table, host = begin(beside_local, local, name, service, signs_as, f'local answer = {call} log.info("status " .. answer.status .. " " .. tostring(answer:json().ok))')
    host.wait_for("status 200 true")
    request = service.requests[0]
    assert signs_as != "s3" or request.headers["x-amz-meta-b"] == ""
    assert (request.method, request.path) == (method, path) and (content is None or request.headers["Content-Type"] == content)
    assert host.stop() == 0


def test_an_endpoint_of_ones_own_signs_as_it_says(beside_local, local, name, service):
    table, host = begin(beside_local, local, name, service, "execute-api",
                        f'aws.request{{ service = "execute-api", endpoint = "{service.url}", method = "POST", path = "/prod/@connections/" .. aws.escape("L0SM9cOFvHcCIhw="), body = "hello" }} log.info("posted")')
    host.wait_for("posted")
    assert service.requests[0].path == "/prod/@connections/L0SM9cOFvHcCIhw%3D" and service.requests[0].body == b"hello"
    assert host.stop() == 0


def test_what_never_passes_is_given_up_at_once_and_what_waits_costs_no_attempt(beside_local, local, name, service):
    service.refusals_of["StartExecution"] = [100, 400, "InvalidArn", "Invalid Arn: 'arn:m'"]
    service.refusals_of["PutParameter"] = [6, 400, "AccessDeniedException", "not authorized"]
    table, host = begin(beside_local, local, name, service, "states", 'aws.call("states", "StartExecution", { stateMachineArn = "arn:m" })')
    wait_until(lambda: "InvalidArn" in beside_local.run("dead", "list").stdout, "it is a dead letter")
    assert "  1  " in beside_local.run("dead", "list").stdout.splitlines()[1] and len(service.requests) == 1
    assert host.stop() == 0
    service.signs_as = "ssm"
    beside_local.environment["AWS_ENDPOINT_URL_SSM"] = service.url
    beside_local.script("h", 'local aws, log = require "tidemill.aws", require "tidemill.log"\n'
                             'return { stream = "s", retries = 0, backoff = "10ms..20ms", on_record = function(r) aws.call("ssm", "PutParameter", { Name = "/a" }) log.info("put at attempt " .. r.attempt) end }')
    host = beside_local.start()
    local.client.put_item(TableName=table, Item={"id": {"S": "b"}})
    host.wait_for("put at attempt 1")
    assert host.stop() == 0


def test_wrong_arguments_are_told_at_the_door(beside_local, local, name, service):
    mistakes = {
        'aws.call("states", "X", { f = function() end })': "cannot be written", 'aws.call("state", "X", {})': 'how "state" is called', 'aws.call("states")': "takes a service",
        'aws.call("states", "X", {}, { regoin = "x" })': "unknown option 'regoin'", 'aws.request{ service = "s 3" }': "no name of a service",
        'aws.request{ service = "ses", headers = { a = "b\\r\\nc: d" } }': "line break", 'aws.request{ service = "ses", endpoint = "example.com" }': "http:// or https://",
        'aws.request{ service = "ses", timeout = -1 }': "timeout", 'aws.request{ service = "ses", path = "/a#b" }': "aws.escape", 'aws.request{ service = "ses", path = "/a b" }': "aws.escape",
        'aws.request{ service = "ses", json = {}, form = {} }': "one of body, json and form", 'aws.call("states", "X", {}, { role = "admin" })': "a role's ARN",
        'aws.call("states", "X", {}, { external_id = "a" })': "external_id goes with role", 'aws.call("states", "X", {}, { region = "EU" })': "no name of a region",
        'aws.call("states", "X", {}, { region = 3 })': "region: a text expected, got number", 'aws.request{ method = "GET" }': "a service",
    }
    calls = "\n".join(f"local ok, problem = pcall(function() {call} end) log.info('{i}: ' .. tostring(problem))" for i, call in enumerate(mistakes))
    table, host = begin(beside_local, local, name, service, "states", calls + ' log.info("all told")')
    host.wait_for("all told")
    told = [line for line in host.messages() if line[:1].isdigit()]
    for (call, wanted), line in zip(mistakes.items(), told):
        assert wanted in line, (call, line)
    assert len(told) == len(mistakes) and not service.requests
    assert host.stop() == 0


def test_xml_answers_are_tables(beside_local, local, name, service):
    service.answers["GET /"] = (b'<?xml version="1.0"?><ListResult xmlns="http://x/"><Name>a &amp; b</Name><Empty/><One><Key>k</Key></One>'
                                b'<Many><Key>1</Key></Many><Many><Key>2</Key></Many><Many/><L><member>x</member><member>y</member></L></ListResult>')
    table, host = begin(beside_local, local, name, service, "ses", """
local xml = aws.request{ service = "ses" }:xml()
log.info(("%s|%s|%s|%s|%d|%s|%s|%s"):format(xml.Name, xml.Empty, xml.One.Key, xml.Many[2].Key, #xml.Many, xml.Many[3], table.concat(xml.L.member, "+"), getmetatable(xml.Many)))
log.info(#aws.list(xml.Many) .. #aws.list(xml.One) .. #aws.list(xml.Nothing) .. #aws.list(xml.Name))
for i, text in ipairs { "", "no", "<a>", "<a></b>", ("<a>"):rep(40) .. ("</a>"):rep(40) } do
  local ok, problem = pcall(require("tidemill.aws").request{ service = "ses" }.xml, { body = text })
  log.info(i .. ": " .. tostring(ok) .. " " .. tostring(problem))
end
log.info("all read")""")
    host.wait_for("all read")
    lines = host.messages()
    assert "a & b||k|2|3||x+y|nil" in lines and "3101" in lines
    assert sum("not well-formed XML" in line and "false" in line for line in lines) == 5 and any("more than 32 deep" in line for line in lines)
    assert host.stop() == 0


def test_secrets_are_kept_for_a_while(beside_local, local, name, service):
    service.answers["GetSecretValue"] = b'{"SecretString":"{\\"token\\":\\"t1\\"}"}'
    table, host = begin(beside_local, local, name, service, "secretsmanager", """
local secrets = require "tidemill.secrets"
for i = 1, 3 do same = secrets.get("prod/crm", { json = true }).token end
secrets.get("prod/crm", { ttl = 0 }) secrets.get("prod/crm", { stage = "AWSPREVIOUS" })
for _, call in ipairs { function() secrets.get() end, function() secrets.get("") end, function() secrets.get("a", { tll = 1 }) end, function() secrets.parameter("a", { ttl = "x" }) end } do
  log.info("told: " .. tostring(select(2, pcall(call))))
end
log.info("token " .. same)""".replace("same", "token").replace("for i", "local token for i", 1))
    host.wait_for("token t1")
    assert [json.loads(request.body) for request in service.requests] == [{"SecretId": "prod/crm"}, {"SecretId": "prod/crm"}, {"SecretId": "prod/crm", "VersionStage": "AWSPREVIOUS"}]
    told = [line for line in host.messages() if line.startswith("told:")]
    assert ["a name expected, got nil" in told[0], "an empty text" in told[1], "unknown option 'tll'" in told[2], "ttl: seconds expected" in told[3]] == [True] * 4, told
    assert host.stop() == 0


def test_http_can_be_signed(beside_local, local, name, service):
    table, host = begin(beside_local, local, name, service, "es", f"""
local http = require "tidemill.http"
local answer = http.put("{service.url}/index/_doc/" .. http.escape("a#1"), {{ signed = "es", json = {{ n = 1 }}, query = {{ version = 3 }}, headers = {{ ["X-Own"] = "o" }} }})
log.info("answered " .. answer.status .. tostring(answer:json().ok) .. tostring(answer:ok()))
local ok, problem = pcall(http.get, "http://elsewhere.example/", {{ signed = "es" }})
log.info("told: " .. tostring(problem))""", "[handler h]\nallow_hosts = 127.0.0.1\n")
    host.wait_for("told:")
    [request] = service.requests
    assert (request.method, request.path, json.loads(request.body)) == ("PUT", "/index/_doc/a%231?version=3", {"n": 1})
    assert request.headers["Content-Type"] == "application/json" and request.headers["X-Own"] == "o"
    assert "answered 200truetrue" in host.messages() and any("is not in allow_hosts" in line for line in host.messages())
    assert host.stop() == 0


MAILS = """
emit("mail", { to = "a@example.com", subject = "Welcome", text = "Hällo", html = "<b>H</b>" })
emit("mail", { to = { "b@example.com", "Bob <c@example.com>" }, cc = "d@example.com", bcc = { "e@example.com" }, reply_to = "f@example.com", from = "Other <o@example.com>", template = "welcome", data = { name = "Ada" } })
local wrong = { { to = "nobody", subject = "s", text = "t" }, { subject = "s", text = "t" }, { to = "a@b", text = "t" }, { to = "a@b", subject = "s" }, { to = "a@b", subject = "s", txt = "t" },
  { to = "a@b", template = "t", subject = "s" }, { to = "a@b\\r\\nBcc: x@y", subject = "s", text = "t" }, { to = "a@b", subject = 3, text = "t" }, "no JSON", { to = {}, subject = "s", text = "t" } }
for i, mail in ipairs(wrong) do
  if id == "wrong" .. i then emit("mail", mail) end
end
""".replace("\\\\", "\\")


def test_mail_by_ses(beside_local, local, name, service):
    import botocore.session
    import botocore.validate
    shape = botocore.session.get_session().get_service_model("sesv2").operation_model("SendEmail").input_shape
    service.answers["POST /v2/email/outbound-emails"] = b'{"MessageId":"m"}'
    service.refusals_of["POST /v2/email/outbound-emails"] = [1, 429, "TooManyRequestsException", "slow"]
    beside_local.environment["AWS_ENDPOINT_URL_SESV2"] = service.url
    table, host = begin(beside_local, local, name, service, "ses", 'local emit = require "tidemill.emit" if id:find("wrong") == nil then ' + MAILS.split("local wrong")[0] + " end local wrong" + MAILS.split("local wrong")[1],
                        "[target mail]\ntype = ses\nfrom = Shop <shop@example.com>\nconfiguration_set = set\nbackoff = 10ms..20ms\n[handler h]\nretries = 0\n")
    wait_until(lambda: len(service.requests) == 3, "both are sent, and one twice")
    mails = [json.loads(request.body) for request in service.requests]
    for mail in mails:
        assert not botocore.validate.ParamValidator().validate(mail, shape).has_errors()
    simple = next(mail for mail in mails if "Simple" in mail["Content"])
    assert simple == {"FromEmailAddress": "Shop <shop@example.com>", "ConfigurationSetName": "set", "Destination": {"ToAddresses": ["a@example.com"]},
                      "Content": {"Simple": {"Subject": {"Data": "Welcome", "Charset": "UTF-8"}, "Body": {"Text": {"Data": "Hällo", "Charset": "UTF-8"}, "Html": {"Data": "<b>H</b>", "Charset": "UTF-8"}}}}}
    other = next(mail for mail in mails if "Template" in mail["Content"])
    assert other == {"FromEmailAddress": "Other <o@example.com>", "ConfigurationSetName": "set", "Destination": {"ToAddresses": ["b@example.com", "Bob <c@example.com>"], "CcAddresses": ["d@example.com"], "BccAddresses": ["e@example.com"]},
                     "ReplyToAddresses": ["f@example.com"], "Content": {"Template": {"TemplateName": "welcome", "TemplateData": '{"name":"Ada"}'}}}
    for i in range(1, 11):
        local.client.put_item(TableName=table, Item={"id": {"S": f"wrong{i}"}})
    letters = wait_until(lambda: len(found := json.loads(beside_local.run("dead", "list", "--json").stdout or "[]")) == 10 and found, "all are letters")
    told = {letter["keys"]["id"]["S"] if isinstance(letter["keys"], dict) else json.loads(letter["keys"])["id"]["S"]: letter["error"] for letter in letters}
    for i, part in enumerate(("to: an e-mail address", "addresses expected, got 0", "subject and text or html", "subject and text or html", 'no "txt"', "its own subject", "to: an e-mail address", "subject: a text expected", "a JSON object expected", "to: an e-mail address"), 1):
        assert part in told[f"wrong{i}"], (i, told[f"wrong{i}"])
    granted = {statement["Resource"]: statement["Action"] for statement in json.loads(beside_local.run("policy").stdout)["Statement"] if isinstance(statement["Resource"], str)}
    assert len(service.requests) == 3
    assert host.stop() == 0


def test_objects_by_key(deployment, dynamodb, name, emulators):  # noqa: F811
    bucket = emulators.bucket(name("b").lower())
    deployment.aws = f"endpoint_s3 = http://127.0.0.1:{emulators.port}"
    deployment.environment["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{emulators.port}"
    run_once(deployment, dynamodb, name, f"""
    local s3, bucket = require "tidemill.s3", "{bucket}"
    local odd = "a b/ü+&=#?%41/./../x"
    same(s3.get(bucket, "nothing"), nil); same(s3.head(bucket, "nothing"), nil)
    same(type(s3.put(bucket, odd, "hello\\0\\255", {{ content_type = "text/x", metadata = {{ own = "o", empty = "" }} }})), "string")
    local body, known = s3.get(bucket, odd)
    same(body, "hello\\0\\255"); same(known.content_type, "text/x"); same(known.metadata.own, "o"); same(known.size, 7)
    same(s3.head(bucket, odd).size, 7); same(s3.get(bucket, odd, {{ range = "bytes=1-3" }}), "ell")
    for i = 1, 7 do s3.put(bucket, "many/" .. i .. "&<", "x") end
    local first, more = s3.list(bucket, {{ prefix = "many/", limit = 3 }})
    same(#first, 3); same(first[1].key, "many/1&<"); assert(more)
    local keys = {{}}
    for object in s3.each(bucket, {{ prefix = "many/", limit = 3 }}) do keys[#keys + 1] = object.key end
    same(#keys, 7); same(keys[7], "many/7&<")
    local _, _, prefixes = s3.list(bucket, {{ delimiter = "/" }})
    same(table.concat(prefixes, "|"), "a b/|many/")
    keys[#keys + 1] = "control\\1key"
    s3.delete(bucket, keys)
    same(pcall(s3.delete, bucket, {{ "a" }}, {{ version = "v" }}), false)
    same(#s3.list(bucket, {{ prefix = "many/" }}), 0)
    s3.delete(bucket, odd); same(s3.get(bucket, odd), nil); s3.delete(bucket, odd)
    local large = ("0123456789abcdef"):rep(1100000) -- in parts
    s3.put(bucket, "large", large)
    local there = s3.head(bucket, "large")
    same(there.size, #large); same(s3.get(bucket, "large", {{ range = "bytes=8388600-8388615" }}), "89abcdef01234567")
    local ok, problem = pcall(s3.put, "no-such-bucket-" .. bucket, "k", "v"); same(ok, false); same(problem.code, "NoSuchBucket")
    ok, problem = pcall(s3.get, "no-such-bucket-" .. bucket, "k"); same(ok, false); same(problem.code, "NoSuchBucket")
    for wanted, call in pairs {{
      ["bucket: the bucket's name expected, got nil"] = function() s3.get() end, ["key: a text of 1 to 1024 bytes expected, got nil"] = function() s3.get("bkt") end,
      ["metadata: names and texts of printable ASCII"] = function() s3.put("bkt", "k", "x", {{ metadata = {{ a = "ü" }} }}) end,
      ["got 0 bytes"] = function() s3.put("bkt", "", "x") end, ["body: a text expected, got table"] = function() s3.put("bkt", "k", {{}}) end,
      ["name expected, got \\"a/b\\""] = function() s3.list("a/b") end, ["unknown option 'perfix'"] = function() s3.list("bkt", {{ perfix = "" }}) end,
    }} do
      ok, problem = pcall(call)
      assert(not ok and tostring(problem):find(wanted, 1, true), tostring(problem) .. " instead of " .. wanted)
    end
    """, settings="memory = 256MiB")


def test_a_test_answers_aws(deployment):
    (deployment.directory / "scripts" / "h.lua").write_text("""
local aws, s3, secrets, tidemill = require "tidemill.aws", require "tidemill.s3", require "tidemill.secrets", tidemill
return { stream = "s", on_record = function(record)
  local token = secrets.parameter("/crm/token")
  local arn = aws.call("states", "StartExecution", { stateMachineArn = "arn:m", input = token }, { region = "eu-central-1" }).executionArn
  s3.put("bucket", "k", arn)
end }""")
    (deployment.directory / "scripts" / "h_test.lua").write_text("""
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Things]
key = id
[stream s]
table = Things
[handler h]
retries = 1
]]
test("calls are answered and seen", function()
  test.aws(function(call)
    if call.operation == "GetParameter" then return { Parameter = { Value = "secret of " .. call.input.Name } } end
    if call.service == "states" then return { executionArn = call.region .. "/" .. call.input.input } end
    return 200, ""
  end)
  dynamodb.put("Things", { id = "a" })
  test.settle()
  local seen = test.requests()
  test.equal(#seen, 3)
  test.equal(seen[3].service, "s3")
  test.equal(seen[3].body, "eu-central-1/secret of /crm/token")
  test.contains(seen[3].url, "/bucket/k")
end)
test("a refusal is one", function()
  test.aws(function(call) return 400, { __type = "ParameterNotFound", message = "none" } end)
  dynamodb.put("Things", { id = "a" })
  test.settle()
  test.contains(test.dead_letters()[1].error, "ParameterNotFound")
end)
test("without an answer it is an empty one", function()
  test.http(function() return 500 end) -- is for tidemill.http
  dynamodb.put("Things", { id = "a" })
  test.settle()
  test.contains(test.dead_letters()[1].error, "Parameter")
end)
""")
    done = deployment.run("test", str(deployment.directory / "scripts"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_policy_has_what_a_handler_says_it_calls(deployment):
    deployment.dynamodb = type("D", (), {"url": "http://127.0.0.1:1"})
    deployment.script("h", """
local aws, config = require "tidemill.aws", require "tidemill.config"
return { stream = "s", calls = { { config.machine, "states:StartExecution", "states:StopExecution" }, { "*", "ssm:GetParameter" }, { config.nothing, "sns:Publish" } },
  on_record = function() end }""")
    deployment.script("silent", 'local aws = require "tidemill.aws" return { stream = "s", on_record = function() end }')
    deployment.stream("T", "[handler h]\nmachine = arn:aws:states:eu-west-1:123456789012:stateMachine:m\n")
    done = deployment.run("policy")
    assert done.returncode == 0, done.stderr
    statements = json.loads(done.stdout)["Statement"]
    assert {"Effect": "Allow", "Action": ["states:StartExecution", "states:StopExecution"], "Resource": "arn:aws:states:eu-west-1:123456789012:stateMachine:m"} in statements, statements
    assert any(one["Action"] == ["ssm:GetParameter"] and one["Resource"] == "*" for one in statements)
    assert "handler silent uses tidemill.aws and does not say" in done.stderr and "sns:Publish on has no name" in done.stderr
    deployment.script("h", 'return { stream = "s", calls = { { "*", "StartExecution" } }, on_record = function() end }')
    wrong = deployment.run("check")
    assert wrong.returncode == 2 and "StartExecution is no action" in wrong.stderr, wrong.stderr


class Sts(Any):
    """Gives each role keys of its own, for external ids that it knows."""

    def work(self, request):
        asked = dict(urllib.parse.parse_qsl(request.body.decode()))
        assert asked["Action"] == "AssumeRole" and asked["RoleSessionName"] == "tidemill", asked
        if asked.get("ExternalId") != "known":
            raise Refused(403, "AccessDenied", "not allowed to assume it")
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        return 200, {}, (f"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>test</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
                         f"<SessionToken>of-{asked['RoleArn']}</SessionToken><Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>").encode()

    def error(self, refused):
        return f"<ErrorResponse><Error><Code>{refused.code}</Code><Message>{refused.message}</Message></Error></ErrorResponse>".encode()


def test_other_accounts_and_regions(beside_local, local, name, service):
    """With a role's credentials, asked for once; the embedded DynamoDB takes any."""
    sts, role = Sts(), "arn:aws:iam::210987654321:role/writer"
    sts.signs_as = "sts"
    out = local.table(name("Out"), stream=False)
    beside_local.environment |= {"AWS_ENDPOINT_URL_STS": sts.url, "AWS_ENDPOINT_URL_SFN": service.url}
    table, host = begin(beside_local, local, name, service, "states", f"""
local dynamodb = require "tidemill.dynamodb"
local place = {{ role = "{role}", external_id = "known", endpoint = "{local.url}", region = "eu-central-1" }}
local there = dynamodb.at(place)
assert(there == dynamodb.at(place) and there ~= dynamodb and there.set {{ "a" }}:contains("a"))
for i = 1, 3 do there.put("{out}", {{ id = "i" .. i }}) end
assert(#there.scan("{out}") == 3 and there.create("{out}", {{ id = "i1" }}) == false)
aws.call("states", "StartExecution", {{}}, {{ role = "{role}", external_id = "known" }})
aws.call("states", "StopExecution", {{}})
for wanted, call in pairs {{
  ["region, endpoint or role expected"] = function() dynamodb.at {{}} end, ["unknown option 'regoin'"] = function() dynamodb.at {{ regoin = "x" }} end,
  ["role: a role's ARN expected"] = function() dynamodb.at {{ role = "x" }} end, ["is no name of a region"] = function() dynamodb.at {{ region = "EU" }} end,
  ["external_id goes with role"] = function() dynamodb.at {{ external_id = "x" }} end, ["region: a text expected, got number"] = function() dynamodb.at {{ region = 3 }} end,
  ["AccessDenied"] = function() dynamodb.at({{ role = "{role}", endpoint = "{local.url}" }}).get("{out}", {{ id = "a" }}) end,
}} do
  local ok, problem = pcall(call)
  log.info((not ok and tostring(problem):find(wanted, 1, true)) and "told" or "not " .. wanted .. " but " .. tostring(problem))
end
log.info("done")""", f"[target flow]\ntype = stepfunctions\nmachine = arn:aws:states:eu-west-1:210987654321:stateMachine:m\nrole = {role}\nexternal_id = known\n[route all]\nstream = s\ntarget = flow\n", listen="127.0.0.1:0")
    host.wait_for("done")
    wait_until(beside_local.settled, "the route's is delivered")
    lines = host.messages()
    assert lines.count("told") == 7, [line for line in lines if line.startswith("not ")]
    wait_until(lambda: len(service.requests) == 3, "the target is asked as well")
    tokens = sorted((request.headers["X-Amz-Target"], request.headers.get("X-Amz-Security-Token")) for request in service.requests)
    assert tokens == sorted([("AWSStepFunctions.StartExecution", f"of-{role}"), ("AWSStepFunctions.StartExecution", f"of-{role}"), ("AWSStepFunctions.StopExecution", None)])
    known = [request for request in sts.requests if b"ExternalId=known" in request.body]
    assert len(known) <= 2  # one a reactor: kept
    assert any(f"role {role}" in line for line in lines) and "secret" not in host.log_path.read_text()
    assert host.stop() == 0
    policy = json.loads(beside_local.run("policy").stdout)["Statement"]
    assert {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": role} in policy, policy
    text = beside_local.ini.read_text()
    for wrong, told in ((text.replace(f"role = {role}", "role = writer"), "role: a role's ARN expected"), (text.replace(f"role = {role}\n", ""), "external_id goes with role only"),
                        (text.replace("type = stepfunctions\nmachine = arn:aws:states:eu-west-1:210987654321:stateMachine:m", "type = http\nurl = http://127.0.0.1:1/"), "role is not for type = http")):
        beside_local.ini.write_text(wrong)
        done = beside_local.run("check")
        assert done.returncode == 2 and told in done.stderr, done.stderr
    sts.stop()
