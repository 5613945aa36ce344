"""What goes over the wire to the embedded DynamoDB and back: gzip both ways, and the checksum that SDKs compare."""
import gzip
import http.client
import json
import zlib

import pytest

pytestmark = pytest.mark.one_thread

HEADERS = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0", "Content-Type": "application/x-amz-json-1.0"}


def call(local, operation, body, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=30)
    connection.request("POST", "/", body, HEADERS | {"X-Amz-Target": f"DynamoDB_20120810.{operation}"} | {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.read()
    connection.close()
    if answer.headers["x-amz-crc32"]:
        assert int(answer.headers["x-amz-crc32"]) == zlib.crc32(found), operation
    return answer, found


def test_checksums_and_gzip(local, name):
    table = local.table(name(), stream=False)
    item = json.dumps({"TableName": table, "Item": {"id": {"S": "a"}, "text": {"S": "x" * 5000}}}).encode()
    answer, _ = call(local, "PutItem", gzip.compress(item), Content_Encoding="gzip")
    assert answer.status == 200 and answer.headers["x-amz-crc32"]
    key = json.dumps({"TableName": table, "Key": {"id": {"S": "a"}}}).encode()
    plain, found = call(local, "GetItem", key)
    assert plain.status == 200 and not plain.headers["Content-Encoding"] and json.loads(found)["Item"]["text"]["S"] == "x" * 5000
    for wish in ("gzip", "deflate, gzip;q=1.0", "GZIP", "br;q=1, gzip ; q=0.5"):
        packed, bytes_ = call(local, "GetItem", key, Accept_Encoding=wish)
        assert packed.headers["Content-Encoding"] == "gzip" and len(bytes_) < 500 and gzip.decompress(bytes_) == found, wish
    for wish in ("identity", "gzip;q=0", "gzipped", "deflate", "", "x-gzip"):
        assert not call(local, "GetItem", key, Accept_Encoding=wish)[0].headers["Content-Encoding"], wish
    assert not call(local, "ListTables", b"{}", Accept_Encoding="gzip")[0].headers["Content-Encoding"]  # too small to become smaller
    refused, found = call(local, "GetItem", b'{"TableName": "nobody", "Key": {"id": {"S": "a"}}}')
    assert refused.status == 400 and refused.headers["x-amz-crc32"]


def test_bodies_that_are_not_what_they_say(local):
    bomb = gzip.compress(b"[" * (40 << 20))
    for body, encoding in ((b"{}", "gzip"), (gzip.compress(b"{}")[:-4], "gzip"), (b"{}", "br"), (bomb, "gzip"), (b"", "gzip")):
        answer, found = call(local, "ListTables", body, Content_Encoding=encoding)
        assert answer.status == 400 and "SerializationException" in json.loads(found)["__type"], (encoding, found)
    assert call(local, "ListTables", b"{}", Content_Encoding="identity")[0].status == 200
