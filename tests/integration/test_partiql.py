"""PartiQL statements, one after the other, to the embedded DynamoDB and to DynamoDB Local: the same answers."""
import pytest
from botocore.exceptions import ClientError
from conftest import wait_until
from test_local_differential import TABLE, Peer, normal

STATEMENTS = [
    ("INSERT INTO \"Table\" VALUE {'pk': 'a', 'sk': 1, 'g': 'g1', 'n': 5, 'l': [1, 'x', {'y': true}], 'm': {'x': null}, 'ss': <<'u', 'v'>>}", None),
    ("INSERT INTO \"Table\" VALUE {'pk': 'a', 'sk': 1}", None),
    ("INSERT INTO \"Table\" VALUE {'pk': ?, 'sk': ?, 'text': ?, 'b': ?}", [{"S": "a"}, {"N": "2"}, {"S": "it's"}, {"B": "YQ=="}]),
    ("INSERT INTO \"Table\" VALUE {'pk': 'a', 'sk': 3, 'text': 'it''s', 'n': -1.5}", None),
    ("INSERT INTO \"Table\" VALUE {'pk': 'b', 'sk': 1, 'g': 'g1', 'n': 7}", None),
    ("INSERT INTO \"Table\" VALUE {'pk': 'b'}", None),
    ("SELECT * FROM \"Table\" WHERE pk = 'a'", None),
    ("SELECT * FROM \"Table\" WHERE pk = ? AND sk >= ?", [{"S": "a"}, {"N": "2"}]),
    ("SELECT \"text\", n FROM \"Table\" WHERE pk = 'a'", None),
    ("SELECT * FROM \"Table\" WHERE pk = 'a' AND sk BETWEEN 2 AND 3 AND text = 'it''s'", None),
    ("SELECT sk FROM \"Table\" WHERE n > 0", None),
    ("SELECT sk FROM \"Table\" WHERE n > 0 AND (g = 'g1' OR text IS NOT MISSING)", None),
    ("SELECT sk FROM \"Table\" WHERE n IS MISSING", None),
    ("SELECT sk FROM \"Table\" WHERE NOT n IN [5, 7]", None),
    ("SELECT sk FROM \"Table\" WHERE begins_with(\"text\", 'it') AND contains(\"text\", '''')", None),
    ("SELECT sk FROM \"Table\" WHERE size(l) = 3 AND attribute_type(l, 'L')", None),
    ("SELECT pk, sk FROM \"Table\".\"global\" WHERE g = 'g1' AND sk = 1", None),
    ("SELECT * FROM \"Table\".\"nowhere\" WHERE g = 'g1'", None),
    ("SELECT * FROM \"Missing\" WHERE g = 'g1'", None),
    ("UPDATE \"Table\" SET n = n + 1 SET \"new\" = [1] WHERE pk = 'a' AND sk = 1 RETURNING ALL NEW *", None),
    ("UPDATE \"Table\" SET l = list_append(l, ['tail']) REMOVE m WHERE pk = 'a' AND sk = 1 AND n = 6 RETURNING ALL OLD *", None),
    ("UPDATE \"Table\" SET n = 0 WHERE pk = 'a' AND sk = 1 AND n = 99", None),
    ("UPDATE \"Table\" SET n = 0 WHERE pk = 'nobody' AND sk = 1", None),
    ("UPDATE \"Table\" SET ss = set_add(ss, <<'w'>>) WHERE pk = 'a' AND sk = 1", None),
    ("UPDATE \"Table\" SET n = 0 WHERE pk = 'a'", None),
    ("SELECT * FROM \"Table\" WHERE pk = 'a' AND sk = 1", None),
    ("DELETE FROM \"Table\" WHERE pk = 'a' AND sk = 3 AND n > 0", None),
    ("DELETE FROM \"Table\" WHERE pk = 'a' AND sk = 3 RETURNING ALL OLD *", None),
    ("DELETE FROM \"Table\" WHERE pk = 'a' AND sk = 3", None),
    ("DELETE FROM \"Table\" WHERE pk = 'a' AND sk = 3 AND n > 0", None),
    ("SELECT * FROM \"Table\"", None),
]


def outcome(peer, statement, parameters):
    request = {"Statement": statement}
    if parameters:
        request["Parameters"] = parameters
    status, body = peer.call("ExecuteStatement", request)
    if status != 200:
        return status, body["__type"].split("#")[1].removesuffix("Exception")  # DynamoDB Local says DuplicateItem
    items = [normal(item) for item in body["Items"]]
    return status, sorted(items, key=str)


def ordered(value):
    if isinstance(value, dict):
        return {name: ordered(value[name]) for name in sorted(value)}
    return [ordered(inner) for inner in value] if isinstance(value, list) else value


def test_statements(local, dynamodb):
    peers = [Peer(local.port), Peer(dynamodb.port)]
    for peer in peers:
        peer.call("DeleteTable", {"TableName": "Table"})
        wait_until(lambda: peer.call("CreateTable", TABLE)[0] == 200, "the table is there")
    different = []
    for statement, parameters in STATEMENTS:
        ours, theirs = ((status, sorted(map(str, map(ordered, found))) if isinstance(found, list) else found)
                        for status, found in (outcome(peer, statement, parameters) for peer in peers))
        if ours != theirs:
            different.append(f"{statement}\n  ours   {ours}\n  theirs {theirs}")
    assert not different, "\n".join(different)


def test_order_by(local, name):  # DynamoDB Local answers 500
    peer, table = Peer(local.port), name()
    peer.call("CreateTable", {**TABLE, "TableName": table})
    for sk in (1, 2):
        peer.call("ExecuteStatement", {"Statement": f"INSERT INTO \"{table}\" VALUE {{'pk': 'a', 'sk': {sk}}}"})
    answer = peer.call("ExecuteStatement", {"Statement": f"SELECT sk FROM \"{table}\" WHERE pk = 'a' ORDER BY sk DESC"})
    assert [item["sk"]["N"] for item in answer[1]["Items"]] == ["2", "1"]


@pytest.mark.parametrize("statement", ["SELECT", "SELECT * FORM t", "INSERT INTO t VALUE {'a' 1}", "DELETE FROM t WHERE a =", "UPDATE t WHERE a = 1",
                                       "SELECT * FROM t WHERE a = 'open", "SELECT * FROM t WHERE size(a)", "SELECT * FROM t WHERE a = ? AND b = ?", "DROP TABLE t",
                                       "UPDATE t SET a = size(b) WHERE c = 1", "SELECT * FROM t WHERE " + "(" * 200 + "a = 1" + ")" * 200])
def test_what_is_no_statement_is_refused(local, statement):
    status, body = Peer(local.port).call("ExecuteStatement", {"Statement": statement, "Parameters": [{"S": "x"}]})
    assert status == 400 and body["__type"].endswith("#ValidationException"), body


def test_pages_batches_and_transactions(local, name):
    client, _ = local.clients()
    table = name()
    client.create_table(TableName=table, BillingMode="PAY_PER_REQUEST", KeySchema=[dict(AttributeName="id", KeyType="HASH")],
                        AttributeDefinitions=[dict(AttributeName="id", AttributeType="S")])
    statements = [dict(Statement=f"INSERT INTO \"{table}\" VALUE {{'id': ?, 'n': {i}}}", Parameters=[dict(S=f"i{i}")]) for i in range(10)]
    answers = client.batch_execute_statement(Statements=statements + statements[:1])["Responses"]
    assert [answer.get("Error", {}).get("Code") for answer in answers] == [None] * 10 + ["DuplicateItem"]
    found, token = [], {}
    while True:
        page = client.execute_statement(Statement=f'SELECT id FROM "{table}"', Limit=3, **token)
        found += [item["id"]["S"] for item in page["Items"]]
        if "NextToken" not in page:
            break
        token = dict(NextToken=page["NextToken"])
    assert sorted(found) == sorted(f"i{i}" for i in range(10))
    read = client.batch_execute_statement(Statements=[dict(Statement=f"SELECT n FROM \"{table}\" WHERE id = 'i{i}'") for i in (1, 99)])["Responses"]
    assert read[0]["Item"] == dict(n=dict(N="1")) and "Item" not in read[1]
    client.execute_transaction(TransactStatements=[dict(Statement=f"UPDATE \"{table}\" SET n = n + 10 WHERE id = 'i1'"),
                                                   dict(Statement=f"EXISTS(SELECT * FROM \"{table}\" WHERE id = 'i2' AND n = 2)"),
                                                   dict(Statement=f"DELETE FROM \"{table}\" WHERE id = 'i3'")])
    with pytest.raises(ClientError) as raised:
        client.execute_transaction(TransactStatements=[dict(Statement=f"UPDATE \"{table}\" SET n = 0 WHERE id = 'i1'"),
                                                       dict(Statement=f"DELETE FROM \"{table}\" WHERE id = 'i4' AND n = 99")])
    assert [reason["Code"] for reason in raised.value.response["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    got = client.execute_transaction(TransactStatements=[dict(Statement=f"SELECT * FROM \"{table}\" WHERE id = '{key}'") for key in ("i1", "i3")])
    assert got["Responses"][0]["Item"]["n"] == dict(N="11") and "Item" not in got["Responses"][1]
