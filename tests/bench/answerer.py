"""A server that answers every request with {} over TLS, for what a call costs there: answerer.py DIRECTORY. Makes a certificate for localhost in the
directory (certificate.pem), prints its port."""
import pathlib
import socket
import ssl
import subprocess
import sys
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n\r\n{}"


def serve(connection):
    """Requests come one at a time, each with a Content-Length."""
    try:
        have = b""
        while more := connection.recv(65536):
            have += more
            head, found, body = have.partition(b"\r\n\r\n")
            if not found:
                continue
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
            if len(body) >= length:
                connection.sendall(ANSWER)
                have = body[length:]
    except OSError:
        pass  # the host has gone
    finally:
        connection.close()


def main():
    directory = pathlib.Path(sys.argv[1])
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()

        def shake_and_serve(plain=connection):
            try:
                serve(context.wrap_socket(plain, server_side=True))
            except OSError:
                plain.close()

        threading.Thread(target=shake_and_serve, daemon=True).start()


main()
