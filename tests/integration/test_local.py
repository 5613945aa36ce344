"""The embedded DynamoDB through boto3, awscli, and a host that reads its streams; durability; dev."""
import concurrent.futures
import json
import pathlib
import random
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from botocore.exceptions import ClientError
from conftest import BINARY, Deployment, Local, npm_packages, wait_until
from test_local_differential import Peer

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = dict(KeySchema=[dict(AttributeName="id", KeyType="HASH")], AttributeDefinitions=[dict(AttributeName="id", AttributeType="S")],
           BillingMode="PAY_PER_REQUEST")
STREAM = dict(StreamSpecification=dict(StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES"))


@pytest.fixture
def clients(local):
    return local.clients()


@pytest.fixture
def client(clients):
    return clients[0]


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    assert raised.value.response["Error"]["Code"] == code, raised.value
    return raised.value.response


def all_records(streams, arn):
    found = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while iterator:
            page = streams.get_records(ShardIterator=iterator)
            found += page["Records"]
            iterator = page.get("NextShardIterator") if page["Records"] else None
    return found


def test_tables(local, client, name):
    table = name()
    description = client.create_table(TableName=table, **KEY, **STREAM)["TableDescription"]
    assert description["TableStatus"] == "ACTIVE" and description["LatestStreamArn"].startswith(description["TableArn"])
    assert table in client.list_tables()["TableNames"]
    refused("ResourceInUseException", client.create_table, TableName=table, **KEY)
    raw = Peer(local.port)  # Debian's boto3 does not know the parameter yet
    assert raw.call("UpdateTable", dict(TableName=table, DeletionProtectionEnabled=True))[0] == 200
    refused("ValidationException", client.delete_table, TableName=table)
    assert raw.call("UpdateTable", dict(TableName=table, DeletionProtectionEnabled=False))[0] == 200
    assert client.describe_limits()["AccountMaxReadCapacityUnits"] == 80000
    assert client.describe_endpoints()["Endpoints"]
    arn = description["TableArn"]
    client.tag_resource(ResourceArn=arn, Tags=[dict(Key="a", Value="1"), dict(Key="b", Value="2")])
    client.tag_resource(ResourceArn=arn, Tags=[dict(Key="a", Value="3")])
    client.untag_resource(ResourceArn=arn, TagKeys=["b"])
    assert client.list_tags_of_resource(ResourceArn=arn)["Tags"] == [dict(Key="a", Value="3")]
    names = [name() for _ in range(5)]
    for other in names:
        client.create_table(TableName=other, **KEY)
    listed = [each for page in client.get_paginator("list_tables").paginate(PaginationConfig=dict(PageSize=2)) for each in page["TableNames"]]
    assert listed == sorted(set(listed)) and set(names) < set(listed)
    client.delete_table(TableName=table)
    refused("ResourceNotFoundException", client.describe_table, TableName=table)
    client.get_waiter("table_not_exists").wait(TableName=table)


def test_items_batches_and_pages(client, name):
    table = name()
    client.create_table(TableName=table, BillingMode="PAY_PER_REQUEST",
                        KeySchema=[dict(AttributeName="p", KeyType="HASH"), dict(AttributeName="s", KeyType="RANGE")],
                        AttributeDefinitions=[dict(AttributeName=n, AttributeType=t) for n, t in (("p", "S"), ("s", "N"))])
    rows = [dict(p=dict(S=f"p{i % 3}"), s=dict(N=str(i)), text=dict(S="x" * 3000)) for i in range(1000)]
    for at in range(0, len(rows), 25):
        answer = client.batch_write_item(RequestItems={table: [dict(PutRequest=dict(Item=row)) for row in rows[at:at + 25]]})
        assert answer["UnprocessedItems"] == {}
    pages = list(client.get_paginator("query").paginate(TableName=table, KeyConditionExpression="p = :p",
                                                        ExpressionAttributeValues={":p": dict(S="p1")}, ScanIndexForward=False))
    assert len(pages) == 1 + (333 * 3010) // (1024 * 1024)
    assert [int(item["s"]["N"]) for page in pages for item in page["Items"]] == list(range(997, 0, -3))
    scanned = [item for page in client.get_paginator("scan").paginate(TableName=table, PaginationConfig=dict(PageSize=70)) for item in page["Items"]]
    assert len({(item["p"]["S"], item["s"]["N"]) for item in scanned}) == 1000
    segments = [client.get_paginator("scan").paginate(TableName=table, Segment=i, TotalSegments=4, ProjectionExpression="p, s").build_full_result()["Items"]
                for i in range(4)]
    assert sum(map(len, segments)) == 1000
    got = client.batch_get_item(RequestItems={table: dict(Keys=[dict(p=row["p"], s=row["s"]) for row in rows[:100]], ProjectionExpression="s")})
    assert len(got["Responses"][table]) == 100 and got["UnprocessedKeys"] == {}
    refused("ValidationException", client.put_item, TableName=table, Item=dict(p=dict(S="p"), s=dict(N="1"), t=dict(S="x" * 410000)))
    client.batch_write_item(RequestItems={table: [dict(DeleteRequest=dict(Key=dict(p=row["p"], s=row["s"]))) for row in rows[:25]]})
    assert client.scan(TableName=table, Select="COUNT")["Count"] < 975


def test_the_older_parameters(client, name):
    table = name()
    client.create_table(TableName=table, **KEY)
    client.put_item(TableName=table, Item=dict(id=dict(S="a"), n=dict(N="1")), Expected=dict(id=dict(Exists=False)))
    refused("ConditionalCheckFailedException", client.put_item, TableName=table, Item=dict(id=dict(S="a")), Expected=dict(id=dict(Exists=False)))
    new = client.update_item(TableName=table, Key=dict(id=dict(S="a")), ReturnValues="ALL_NEW", Expected=dict(n=dict(ComparisonOperator="LT", AttributeValueList=[dict(N="5")])),
                             AttributeUpdates=dict(n=dict(Action="ADD", Value=dict(N="2")), s=dict(Action="PUT", Value=dict(SS=["x", "y"]))))
    assert new["Attributes"]["n"] == dict(N="3")
    client.update_item(TableName=table, Key=dict(id=dict(S="a")), AttributeUpdates=dict(s=dict(Action="DELETE", Value=dict(SS=["x"])), n=dict(Action="DELETE")))
    assert client.get_item(TableName=table, Key=dict(id=dict(S="a")), AttributesToGet=["s", "n"])["Item"] == dict(s=dict(SS=["y"]))
    client.put_item(TableName=table, Item=dict(id=dict(S="b"), n=dict(N="7")))
    assert client.query(TableName=table, KeyConditions=dict(id=dict(ComparisonOperator="EQ", AttributeValueList=[dict(S="b")])))["Count"] == 1
    assert client.scan(TableName=table, ScanFilter=dict(n=dict(ComparisonOperator="NOT_NULL")))["Count"] == 1
    assert client.scan(TableName=table, ConditionalOperator="OR", ScanFilter=dict(
        n=dict(ComparisonOperator="GT", AttributeValueList=[dict(N="5")]), s=dict(ComparisonOperator="CONTAINS", AttributeValueList=[dict(S="y")])))["Count"] == 2
    refused("ValidationException", client.scan, TableName=table, FilterExpression="n = :n", ScanFilter=dict(n=dict(ComparisonOperator="NULL")),
            ExpressionAttributeValues={":n": dict(N="1")})


def test_transactions(client, name):
    table = name()
    client.create_table(TableName=table, **KEY)
    put = dict(Put=dict(TableName=table, Item=dict(id=dict(S="a"), n=dict(N="1")), ConditionExpression="attribute_not_exists(id)"))
    add = dict(Update=dict(TableName=table, Key=dict(id=dict(S="b")), UpdateExpression="ADD n :n", ExpressionAttributeValues={":n": dict(N="1")}))
    client.transact_write_items(TransactItems=[put, add], ClientRequestToken="token-1")
    client.transact_write_items(TransactItems=[put, add], ClientRequestToken="token-1")  # the same again: nothing
    refused("IdempotentParameterMismatchException", client.transact_write_items, TransactItems=[add], ClientRequestToken="token-1")
    answer = refused("TransactionCanceledException", client.transact_write_items, TransactItems=[put, add])
    assert [reason["Code"] for reason in answer["CancellationReasons"]] == ["ConditionalCheckFailed", "None"]
    got = client.transact_get_items(TransactItems=[dict(Get=dict(TableName=table, Key=dict(id=dict(S=key)))) for key in "abc"])
    assert [item.get("Item", {}).get("n") for item in got["Responses"]] == [dict(N="1"), dict(N="1"), None]


def test_item_collection_metrics(client, name):
    """One of each partition key of a table with a local index, and none of other tables."""
    table, plain = name(), name()
    client.create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[dict(AttributeName=key, AttributeType="S") for key in ("pk", "sk", "at")],
        KeySchema=[dict(AttributeName="pk", KeyType="HASH"), dict(AttributeName="sk", KeyType="RANGE")],
        LocalSecondaryIndexes=[dict(IndexName="by_time", Projection=dict(ProjectionType="ALL"), KeySchema=[
            dict(AttributeName="pk", KeyType="HASH"), dict(AttributeName="at", KeyType="RANGE")])])
    client.create_table(TableName=plain, **KEY)
    keys = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in (("a", "1"), ("a", "2"), ("b", "1"))]
    collection = lambda pk: dict(ItemCollectionKey={"pk": {"S": pk}}, SizeEstimateRangeGB=[0.0, 1.0])
    sized = dict(ReturnItemCollectionMetrics="SIZE")
    both = {table: [collection("a"), collection("b")]}
    assert client.delete_item(TableName=table, Key=keys[0], **sized)["ItemCollectionMetrics"] == collection("a")
    items = {table: [dict(PutRequest=dict(Item=key)) for key in keys], plain: [dict(PutRequest=dict(Item={"id": {"S": "1"}}))]}
    assert client.batch_write_item(RequestItems=items, **sized)["ItemCollectionMetrics"] == both
    steps = [dict(Delete=dict(TableName=table, Key=key)) for key in keys]
    assert client.transact_write_items(TransactItems=steps, **sized)["ItemCollectionMetrics"] == both
    assert "ItemCollectionMetrics" not in client.transact_write_items(TransactItems=steps)


def test_indexes_come_and_go(client, name):
    table = name()
    client.create_table(TableName=table, **KEY)
    for i in range(20):
        client.put_item(TableName=table, Item=dict(id=dict(S=str(i)), colour=dict(S="red" if i % 2 else "blue"), n=dict(N=str(i)), other=dict(S="o")))
    client.update_table(TableName=table, AttributeDefinitions=[dict(AttributeName=n, AttributeType=t) for n, t in (("id", "S"), ("colour", "S"), ("n", "N"))],
                        GlobalSecondaryIndexUpdates=[dict(Create=dict(IndexName="by_colour", Projection=dict(ProjectionType="KEYS_ONLY"), KeySchema=[
                            dict(AttributeName="colour", KeyType="HASH"), dict(AttributeName="n", KeyType="RANGE")]))])
    query = dict(TableName=table, IndexName="by_colour", KeyConditionExpression="colour = :c AND n > :n",
                 ExpressionAttributeValues={":c": dict(S="red"), ":n": dict(N="10")})
    found = client.query(**query)["Items"]
    assert [item["id"]["S"] for item in found] == ["11", "13", "15", "17", "19"] and "other" not in found[0]
    client.update_item(TableName=table, Key=dict(id=dict(S="11")), UpdateExpression="REMOVE colour")
    client.update_item(TableName=table, Key=dict(id=dict(S="2")), UpdateExpression="SET colour = :c, n = :n",
                       ExpressionAttributeValues={":c": dict(S="red"), ":n": dict(N="12")})
    client.delete_item(TableName=table, Key=dict(id=dict(S="19")))
    assert [item["id"]["S"] for item in client.query(**query)["Items"]] == ["2", "13", "15", "17"]
    walked = client.get_paginator("query").paginate(**query, PaginationConfig=dict(PageSize=1)).build_full_result()["Items"]
    assert [item["id"]["S"] for item in walked] == ["2", "13", "15", "17"]
    refused("ValidationException", client.query, **query, Select="ALL_ATTRIBUTES")
    client.update_table(TableName=table, GlobalSecondaryIndexUpdates=[dict(Delete=dict(IndexName="by_colour"))])
    refused("ValidationException", client.query, **query)


def test_time_to_live_removes_as_the_service_does(clients, name):
    client, streams = clients
    table = name()
    arn = client.create_table(TableName=table, **KEY, **STREAM)["TableDescription"]["LatestStreamArn"]
    now = int(time.time())
    for key, at in (("gone", now - 5), ("stays", now + 3600), ("ancient", now - 6 * 365 * 86400)):
        client.put_item(TableName=table, Item=dict(id=dict(S=key), expires=dict(N=str(at))))
    client.put_item(TableName=table, Item=dict(id=dict(S="text"), expires=dict(S=str(now - 5))))
    client.update_time_to_live(TableName=table, TimeToLiveSpecification=dict(Enabled=True, AttributeName="expires"))
    assert client.describe_time_to_live(TableName=table)["TimeToLiveDescription"] == dict(TimeToLiveStatus="ENABLED", AttributeName="expires")
    wait_until(lambda: len(client.scan(TableName=table)["Items"]) == 3, "the expired item is gone")
    client.put_item(TableName=table, Item=dict(id=dict(S="later"), expires=dict(N=str(now - 1))))
    wait_until(lambda: len(client.scan(TableName=table)["Items"]) == 3, "so is one that came later")
    removed = [record for record in all_records(streams, arn) if record["eventName"] == "REMOVE"]
    assert [record["dynamodb"]["Keys"]["id"]["S"] for record in removed] == ["gone", "later"]
    assert all(record["userIdentity"] == dict(PrincipalId="dynamodb.amazonaws.com", Type="Service") for record in removed)


def test_view_types_and_streams_in_a_row(clients, name):
    client, streams = clients
    table = name()
    client.create_table(TableName=table, **KEY)
    for view, images in (("KEYS_ONLY", []), ("NEW_IMAGE", ["NewImage"]), ("OLD_IMAGE", ["OldImage"]), ("NEW_AND_OLD_IMAGES", ["NewImage", "OldImage"])):
        client.put_item(TableName=table, Item=dict(id=dict(S="a"), before=dict(S=view)))
        arn = client.update_table(TableName=table, StreamSpecification=dict(StreamEnabled=True, StreamViewType=view))["TableDescription"]["LatestStreamArn"]
        refused("ValidationException", client.update_table, TableName=table, StreamSpecification=dict(StreamEnabled=True, StreamViewType=view))
        client.put_item(TableName=table, Item=dict(id=dict(S="a"), after=dict(S=view)))
        client.put_item(TableName=table, Item=dict(id=dict(S="a"), after=dict(S=view)))  # changes nothing: no record
        record, = all_records(streams, arn)
        assert [name for name in ("NewImage", "OldImage") if name in record["dynamodb"]] == images
        client.update_table(TableName=table, StreamSpecification=dict(StreamEnabled=False))
        assert streams.describe_stream(StreamArn=arn)["StreamDescription"]["StreamStatus"] == "DISABLED"
        assert len(all_records(streams, arn)) == 1  # still to be read
    listed = streams.get_paginator  # boto3 has none for ListStreams
    arns = [stream["StreamArn"] for stream in streams.list_streams(TableName=table)["Streams"]]
    assert len(arns) == 4 and arns == sorted(arns) and listed
    refused("ResourceNotFoundException", streams.describe_stream, StreamArn=arn + "x")
    refused("ValidationException", streams.get_records, ShardIterator="nonsense")


def test_serialisable_under_many_clients(local, client, name):
    table = name()
    client.create_table(TableName=table, **KEY, **STREAM)

    def add(_):
        client.update_item(TableName=table, Key=dict(id=dict(S="counter")), UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": dict(N="1")})
        try:
            client.put_item(TableName=table, Item=dict(id=dict(S="once")), ConditionExpression="attribute_not_exists(id)")
            return 1
        except ClientError:
            return 0
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        winners = sum(pool.map(add, range(400)))
    assert winners == 1
    assert client.get_item(TableName=table, Key=dict(id=dict(S="counter")))["Item"]["n"] == dict(N="400")


def test_awscli(local, deployment, name):
    table = name()

    def aws(*arguments):
        done = subprocess.run(["/usr/bin/aws", "--endpoint-url", local.url, "--region", "us-east-1", "--output", "json", *arguments],
                              env=deployment.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None
    if not pathlib.Path("/usr/bin/aws").exists():
        pytest.skip("awscli is not installed")
    aws("dynamodb", "create-table", "--table-name", table, "--key-schema", "AttributeName=id,KeyType=HASH", "--attribute-definitions",
        "AttributeName=id,AttributeType=S", "--billing-mode", "PAY_PER_REQUEST", "--stream-specification", "StreamEnabled=true,StreamViewType=NEW_IMAGE")
    aws("dynamodb", "put-item", "--table-name", table, "--item", '{"id": {"S": "a"}, "b": {"B": "AAE="}}')
    assert aws("dynamodb", "scan", "--table-name", table)["Items"] == [{"id": {"S": "a"}, "b": {"B": "AAE="}}]
    assert len(aws("dynamodbstreams", "list-streams", "--table-name", table)["Streams"]) == 1


def test_the_sdk_for_javascript(local):
    home = npm_packages("aws-sdk")
    done = subprocess.run(["node", ROOT / "tests" / "integration" / "sdk.cjs", local.url, home], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip() == "ok", done.stderr


def test_faults_on_request(local, clients, name):
    client, streams = clients
    control = Peer(local.port)
    table = name()
    arn = client.create_table(TableName=table, **KEY, **STREAM)["TableDescription"]["LatestStreamArn"]

    def tell(operation, **request):
        control.connection.request("POST", "/", json.dumps(request), {"X-Amz-Target": f"TidemillLocal.{operation}", "Authorization": "x"})
        answer = control.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def outcomes(call, count=60, **arguments):
        seen = {}
        for _ in range(count):
            try:
                call(**arguments)
                code = "done"
            except ClientError as error:
                code = error.response["Error"]["Code"]
            except Exception as error:
                code = type(error).__name__
            seen[code] = seen.get(code, 0) + 1
        return seen
    put = dict(TableName=table, Item=dict(id=dict(S="a")))
    try:
        assert tell("SetFaults", Throttle=0.5, Operations=["PutItem"])[0] == 200
        seen = outcomes(client.put_item, **put)
        assert set(seen) == {"done", "ThrottlingException"} and min(seen.values()) > 5, seen
        assert outcomes(client.get_item, 10, TableName=table, Key=put["Item"]) == {"done": 10}
        assert tell("SetFaults", Error=1, DelayMs=1)[0] == 200
        assert outcomes(client.get_item, 5, TableName=table, Key=put["Item"]) == {"InternalServerError": 5}
        assert tell("SetFaults", Drop=1, Operations=["PutItem"])[0] == 200
        seen = outcomes(client.put_item, 1, TableName=table, Item=dict(id=dict(S="dropped")))
        assert "done" not in seen, seen
        status, body = tell("SetFaults", Throttle=2)
        assert status == 400 and "between 0 and 1" in body["message"]
    finally:
        assert tell("SetFaults")[0] == 200
    assert "Item" in client.get_item(TableName=table, Key=dict(id=dict(S="dropped")))  # done, and nobody heard of it

    def shards():
        return streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]

    def iterator(shard):
        return streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    first = shards()[0]["ShardId"]
    assert tell("SplitShards", StreamArn=arn, ShardId=first, Children=2)[0] == 200
    assert [shard.get("ParentShardId") for shard in shards()] == [None, first, first]
    assert "EndingSequenceNumber" in shards()[0]["SequenceNumberRange"]
    children = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][1:]
    for i in range(20):
        client.put_item(TableName=table, Item=dict(id=dict(S=f"i{i}")))
    counts = [len(streams.get_records(ShardIterator=iterator(shard["ShardId"]))["Records"]) for shard in children]
    assert sum(counts) == 20 and min(counts) > 0
    assert tell("SplitShards", StreamArn=arn, ShardId="nowhere")[0] == 400
    old = iterator(first)
    assert tell("ExpireIterators")[0] == 200
    refused("ExpiredIteratorException", streams.get_records, ShardIterator=old)
    at = streams.get_records(ShardIterator=iterator(first))["Records"][-1]["dynamodb"]["SequenceNumber"]
    assert tell("TrimRecords")[0] == 200
    refused("TrimmedDataAccessException", streams.get_shard_iterator, StreamArn=arn, ShardId=first, ShardIteratorType="AFTER_SEQUENCE_NUMBER",
            SequenceNumber=at)
    assert streams.get_records(ShardIterator=iterator(first))["Records"] == []


def test_a_host_reads_its_streams(local, tmp_path, name):
    client, _ = local.clients()
    table = name()
    client.create_table(TableName=table, **KEY, **STREAM)
    deployment = Deployment(tmp_path, local)
    deployment.script("h", 'local log = require "tidemill.log" return { stream = "s", on_record = function(r) log.info("saw", { id = r.keys.id, event = r.event }) end }')
    deployment.stream(table)
    host = deployment.start()
    for i in range(300):
        client.put_item(TableName=table, Item=dict(id=dict(S=str(i % 100)), n=dict(N=str(i))))
    wait_until(lambda: len(host.fields("saw")) == 300, "all were handled")
    client.update_table(TableName=table, StreamSpecification=dict(StreamEnabled=False))
    client.update_table(TableName=table, StreamSpecification=dict(StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES"))
    client.delete_item(TableName=table, Key=dict(id=dict(S="7")))
    wait_until(lambda: host.fields("saw")[-1] == {"id": "7", "event": "REMOVE"}, "the next stream was found")
    assert host.stop() == 0


def test_kill_9_keeps_what_was_answered(tmp_path):
    data = tmp_path / "data"
    written, generation = {}, 0
    for generation in range(4):
        local = Local(tmp_path, "--data", str(data))
        client, streams = local.clients()
        if generation == 0:
            client.create_table(TableName="Kept", **KEY, **STREAM)
        stop = threading.Event()

        def write(worker):
            count = 0
            while not stop.is_set():
                key = f"{generation}-{worker}-{count}"
                try:
                    client.put_item(TableName="Kept", Item=dict(id=dict(S=key), n=dict(N=str(count))))
                except Exception:  # killed meanwhile: perhaps it is there, perhaps not
                    return
                written[key] = count
                count += 1
        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        before = len(written)
        for thread in threads:
            thread.start()
        wait_until(lambda: len(written) > before + random.randint(50, 200), "some was written")
        local.kill()
        stop.set()
        for thread in threads:
            thread.join()
    local = Local(tmp_path, "--data", str(data))
    other = subprocess.run([BINARY, "local", "--port", "0", "--data", str(data)], capture_output=True, text=True)
    assert other.returncode == 1 and "another process" in other.stderr
    client, streams = local.clients()
    items = {item["id"]["S"]: int(item["n"]["N"]) for item in client.get_paginator("scan").paginate(TableName="Kept").build_full_result()["Items"]}
    assert written.items() <= items.items()
    arn = client.describe_table(TableName="Kept")["Table"]["LatestStreamArn"]
    records = all_records(streams, arn)
    assert {record["dynamodb"]["Keys"]["id"]["S"] for record in records} == items.keys()
    sequences = [record["dynamodb"]["SequenceNumber"] for record in records]
    assert sequences == sorted(set(sequences)) and all(len(sequence) >= 21 for sequence in sequences)
    assert local.stop() == 0


@pytest.mark.parametrize("kind, text", [("table", "{"), ("table", "{}"), ("table", '{"TableName": "T", "KeySchema": 7}'), ("table", ""), ("stream", ""), ("stream", "[]"),
                                        ("stream", '{"Table": "T", "Label": "l", "Key": "k", "Enabled": true, "View": 99}'),
                                        ("stream", '{"Table": "T", "Label": "l", "Key": "k", "Enabled": true, "View": 4, "Shards": [{}]}')])
def test_what_is_kept_and_damaged_is_told(tmp_path, kind, text):
    data = tmp_path / "data"
    local = Local(tmp_path, "--data", str(data))
    local.table("Tab")
    assert local.stop() == 0
    database = sqlite3.connect(data / "tidemill-local.db")
    assert database.execute("UPDATE texts SET text = ? WHERE kind = ?", (text, kind)).rowcount == 1
    database.commit()
    database.close()
    done = subprocess.run([BINARY, "local", "--port", "0", "--data", str(data)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and f"tidemill-local.db is damaged: {kind} " in done.stderr and "cannot be read" in done.stderr, done.stderr


def test_wrong_options_say_so():
    for arguments, status, text in ((["--port", "x"], 2, "--port needs a port"), (["--data"], 2, "needs a directory"), (["more"], 2, "unexpected argument"),
                                    (["--port", "0", "--data", "/proc/nowhere"], 1, "/proc/nowhere")):
        done = subprocess.run([BINARY, "local", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == status and text in done.stderr, done.stderr


def test_dev_shows_the_quickstart(tmp_path):
    log = tmp_path / "log"
    example = ROOT / "examples" / "quickstart" / "tidemill.ini"
    process = subprocess.Popen([BINARY, "dev", "-c", example, "--port", "0"], stdout=open(log, "wb"), stderr=subprocess.STDOUT)

    def shown(*parts):
        assert process.poll() is None, log.read_text()
        return all(part in log.read_text() for part in parts)
    wait_until(lambda: shown("stock 60 → 45", "PutItem Replenishment", "stock_replenishment done", "POST /inbox/search/1/indexes/users/batch",
                             "status pending → active", "POST /inbox/runner", "tidemill dev put Products"), lambda: log.read_text())
    process.terminate()
    assert process.wait(timeout=60) == 0
    assert "Sanitizer" not in log.read_text()


@pytest.mark.parametrize("where,expected", [("dead", "kept as a dead letter: "), ("out", "sent where on_failure says: "), ("discard", "discarded: ")])
def test_dev_shows_what_became_of_a_record(tmp_path, where, expected):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "h.lua").write_text(f"return {{ stream = 's', retries = 0, on_failure = '{where}', on_record = function() error('no luck') end }}")
    (tmp_path / "seed.json").write_text('[{"id": "a"}]')
    (tmp_path / "tidemill.ini").write_text("[table Tab]\nkey = id\nseed = seed.json\n[stream s]\ntable = Tab\n[target out]\ntype = stdout\n")
    log = tmp_path / "log"
    process = subprocess.Popen([BINARY, "dev", "-c", tmp_path / "tidemill.ini", "--port", "0"], stdout=open(log, "wb"), stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or f"h: gave up, {expected}" in log.read_text() and "no luck" in log.read_text(), lambda: log.read_text())
        process.terminate()
        assert process.wait(timeout=60) == 0 and "Sanitizer" not in log.read_text()
    finally:
        process.kill()


def test_dev_says_what_is_wrong(tmp_path):
    (tmp_path / "scripts").mkdir()
    ini = tmp_path / "tidemill.ini"
    for text, expected in (("[table T]\nkey = a, b, c", "more than two attributes"), ("[table T]", "needs a key"), ("[table T]\nkey = a:X", "must be S, N or B"),
                           ("[table Tab]\nkey = a\nseed = seed.json", "seed.json"), ("[table T]\nkey = a\nlocal_index l = b", "local_index l"),
                           ("[table T]\nkey = a\nstraem = none", "did you mean stream"), ("[table Tab]\nkey = a\nseed = bad.json", "item 2: PutItem: One or more")):
        (tmp_path / "bad.json").write_text('[{"a": "x"}, {"b": 1}]')
        ini.write_text(f"[stream s]\ntable = T\n{text}\n")
        done = subprocess.run([BINARY, "dev", "-c", ini, "--port", "0"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and expected in done.stderr, done.stderr


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
