"""Tables that cannot take as much as handlers would give them: those alone are given less."""
import io
import threading
import time

import test_chaos
from conftest import wait_until
from test_chaos import Relay

WRITER = """
local dynamodb = require "tidemill.dynamodb"
return { stream = "s", retries = -1, on_record = function(record)
  dynamodb.put("%s", { id = record.keys.id })
end }
"""


class Narrow(test_chaos.RelayHandler):
    """One table takes so many writes a second and refuses the rest, or is slow to answer."""

    def pass_on(self, body):
        connection, self.rfile = self.rfile, io.BytesIO(body)
        super().do_POST()
        self.rfile = connection

    def do_POST(self):
        server = self.server
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        table = next((table for table in server.writes if f'"{table}"'.encode() in body), None) if operation == "PutItem" else None
        if table is None:
            self.pass_on(body)
            return
        with server.lock:
            writes = server.writes[table]
            writes["at once"] += 1
            writes["most"] = max(writes["most"], writes["at once"])
            now = time.monotonic()
            if table == server.narrow:
                writes["tokens"] = min(writes["tokens"] + (now - writes["since"]) * server.calls_s, server.calls_s / 10)
                writes["since"] = now
                refused = writes["tokens"] < 1
                writes["tokens"] -= not refused
                held = not refused and len(writes["taken"]) >= server.at_most
            else:
                refused = held = False
            if not held:
                writes["refused" if refused else "taken"].append(now)
        try:
            if refused or held:
                self.refuse("ProvisionedThroughputExceededException")
            else:
                time.sleep(server.pause_s)
                self.pass_on(body)
        finally:
            with server.lock:
                writes["at once"] -= 1


def relay(local, tables, narrow=None, calls_s=0, pause_s=0):
    server = Relay(local.port)
    server.RequestHandlerClass = Narrow
    server.lock, server.narrow, server.calls_s, server.pause_s = threading.Lock(), narrow, calls_s, pause_s
    server.at_most = float("inf")
    server.writes = {table: {"at once": 0, "most": 0, "tokens": 0, "since": time.monotonic(), "taken": [], "refused": []} for table in tables}
    return server


def count(local, table):
    return local.client.scan(TableName=table, Select="COUNT")["Count"]


def test_a_table_that_throttles_is_called_less_and_the_one_beside_it_is_not(beside_local, local, name):
    table, narrow, wide = local.table(name()), local.table(name("Narrow"), stream=False), local.table(name("Wide"), stream=False)
    server = relay(local, (narrow, wide), narrow, calls_s=30)
    server.at_most = 200  # until the other has all: however slow the machine is, one that waits for the narrow one is seen
    beside_local.script("to_narrow", WRITER % narrow)
    beside_local.script("to_wide", WRITER % wide)
    beside_local.aws = f"endpoint_dynamodb = {server.url}"
    beside_local.stream(table, listen="127.0.0.1:0")
    for i in range(300):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i}"}})
    host = beside_local.start()
    wait_until(lambda: count(local, wide) == 300, "the wide one has all")
    server.at_most = float("inf")
    wait_until(lambda: count(local, narrow) == 300, "so has the narrow one")
    writes = server.writes[narrow]
    # The first ones come before anything is known of the table; without a brake there are several for each that is taken.
    assert len(writes["refused"]) < len(writes["taken"]), (len(writes["refused"]), len(writes["taken"]))
    assert not server.writes[wide]["refused"] and "gave up" not in "".join(host.messages())
    assert host.stop() == 0


def test_no_more_calls_at_once_to_a_table_than_it_is_said(beside_local, local, name):
    table, out, other = local.table(name()), local.table(name("Out"), stream=False), local.table(name("Other"), stream=False)
    server = relay(local, (out, other), pause_s=0.02)
    beside_local.script("h", WRITER % out)
    beside_local.script("o", WRITER % other)
    beside_local.aws = f"endpoint_dynamodb = {server.url}"
    beside_local.stream(table, f"[table {out}]\nmax_in_flight = 3\n")
    for i in range(100):
        local.client.put_item(TableName=table, Item={"id": {"S": f"i{i}"}})
    host = beside_local.start()
    wait_until(lambda: count(local, out) == count(local, other) == 100, "all is written")
    assert server.writes[out]["most"] == 3 and server.writes[other]["most"] > 3, {t: w["most"] for t, w in server.writes.items()}
    assert host.stop() == 0
