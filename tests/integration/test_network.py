"""TLS, certificate authorities and proxies, with real sockets in front of DynamoDB Local."""
import http.client
import http.server
import socket
import ssl
import subprocess
import threading

import pytest
from conftest import wait_until

SCRIPT = """
local log = require "tidemill.log"
return { stream = "s", on_record = function(record) log.info("saw", { id = record.new.id }) end }
"""


class Relay(http.server.BaseHTTPRequestHandler):
    """Hands each request on to DynamoDB Local."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port_behind)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        upstream.request("POST", self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.end_headers()
        self.wfile.write(content)
        upstream.close()
        self.server.requests += 1

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler, port_behind=0, context=None):
        super().__init__(("127.0.0.1", 0), handler)
        self.port_behind, self.requests, self.connections = port_behind, 0, 0
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        accepted = super().get_request()
        self.connections += 1
        return accepted

    def handle_error(self, request, client_address):
        pass  # a client that refuses the certificate hangs up


class Proxy(http.server.BaseHTTPRequestHandler):
    def do_CONNECT(self):
        host, port = self.path.rsplit(":", 1)
        self.server.requests += 1
        assert host == "localhost"  # a bare system may have no name for it
        with socket.create_connection(("127.0.0.1", int(port))) as upstream:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pump, args=(upstream, self.connection), daemon=True)
            back.start()
            pump(self.connection, upstream)

    def log_message(self, *arguments):
        pass


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificate")
    key, pem = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", pem], check=True,
                   capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return pem, context


def deploy(deployment, dynamodb, name, url, aws=""):
    table = dynamodb.table(name())
    deployment.script("h", SCRIPT)
    deployment.configure(f"endpoint = {url}\n{aws}\n[stream s]\ntable = {table}")
    text = deployment.ini.read_text().replace(f"endpoint = {dynamodb.url}\n", "", 1)
    deployment.ini.write_text(text)
    dynamodb.client.put_item(TableName=table, Item={"id": {"S": "a"}})


def test_an_unknown_certificate_is_refused_and_a_given_authority_accepted(deployment, dynamodb, name, certificate):
    pem, context = certificate
    server = Server(Relay, dynamodb.port, context)
    deploy(deployment, dynamodb, name, f"https://localhost:{server.server_port}")
    host = deployment.start()
    host.wait_for("certificate")
    assert server.requests == 0
    assert host.stop() == 0
    deployment.environment["AWS_CA_BUNDLE"] = str(pem)
    host = deployment.start()
    wait_until(lambda: host.fields("saw"), "the record came over TLS")
    assert host.stop() == 0
    assert server.requests > server.connections * 2, "connections are reused"
    del deployment.environment["AWS_CA_BUNDLE"]
    text = deployment.ini.read_text().replace("[stream s]", f"ca_bundle = {pem}\n[stream s]")
    deployment.ini.write_text(text.replace("state.db", "other.db"))
    host = deployment.start()
    wait_until(lambda: host.fields("saw"), "the record came over TLS")
    assert host.stop() == 0


def test_a_certificate_for_another_name_is_refused(deployment, dynamodb, name, certificate):
    pem, context = certificate
    server = Server(Relay, dynamodb.port, context)
    deploy(deployment, dynamodb, name, f"https://127.0.0.1:{server.server_port}", f"ca_bundle = {pem}")
    host = deployment.start()
    host.wait_for("matches target host name")
    assert server.requests == 0
    assert host.stop() == 0


def test_the_proxy_of_the_environment_is_used_but_not_for_no_proxy(deployment, dynamodb, name, certificate):
    pem, context = certificate
    server, proxy = Server(Relay, dynamodb.port, context), Server(Proxy)
    deploy(deployment, dynamodb, name, f"https://localhost:{server.server_port}", f"ca_bundle = {pem}")
    deployment.environment["HTTPS_PROXY"] = f"http://127.0.0.1:{proxy.server_port}"
    host = deployment.start()
    wait_until(lambda: host.fields("saw"), "the record came through the proxy")
    assert proxy.requests > 0
    assert host.stop() == 0
    before = proxy.requests
    deployment.environment["NO_PROXY"] = "localhost"
    deployment.ini.write_text(deployment.ini.read_text().replace("state.db", "other.db"))
    host = deployment.start()
    wait_until(lambda: host.fields("saw"), "the record came directly")
    assert proxy.requests == before
    assert host.stop() == 0


def test_a_service_that_goes_away_is_waited_for(deployment, dynamodb, name):
    server = Server(Relay, dynamodb.port)
    deploy(deployment, dynamodb, name, f"http://127.0.0.1:{server.server_port}")
    host = deployment.start()
    wait_until(lambda: host.fields("saw"), "the record came")
    behind, server.port_behind = server.port_behind, 1  # nobody listens there: the relay breaks the connection
    host.wait_for("reading failed, trying again")
    server.port_behind = behind
    host.wait_for("reading again")
    assert host.stop() == 0
