"""The same work by a boto3 consumer: consumer.py URL PAGES [events|s3]. Prints records per second."""
import gzip
import json
import sys
import time

import boto3
from boto3.dynamodb.types import TypeDeserializer

url, pages = sys.argv[1], int(sys.argv[2])
work = sys.argv[3] if len(sys.argv) > 3 else "handler"
options = dict(endpoint_url=url, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
client, events, s3 = (boto3.client(name, **options) for name in ("dynamodbstreams", "events", "s3"))
deserialize = TypeDeserializer().deserialize
below = records = 0
begun = time.monotonic()
iterator = "0"
for _ in range(pages):
    page = client.get_records(ShardIterator=iterator, Limit=1000)
    if work == "events":
        entries = [dict(Source="bench", DetailType=record["eventName"], Detail=json.dumps(record, default=str),
                        Time=record["dynamodb"]["ApproximateCreationDateTime"]) for record in page["Records"]]
        for at in range(0, len(entries), 10):
            assert not events.put_events(Entries=entries[at:at + 10])["FailedEntryCount"]
    elif work == "s3":
        lines = "".join(json.dumps(record, default=str) + "\n" for record in page["Records"])
        s3.put_object(Bucket="lake", Key=page["Records"][0]["dynamodb"]["SequenceNumber"],
                      Body=gzip.compress(lines.encode(), 6))
    for record in page["Records"]:
        if work != "handler":
            records += 1
            continue
        old = {name: deserialize(value) for name, value in record["dynamodb"]["OldImage"].items()}
        new = {name: deserialize(value) for name, value in record["dynamodb"]["NewImage"].items()}
        if new["stock"] < new["reorderThreshold"] and old["stock"] >= old["reorderThreshold"]:
            below += 1
        records += 1
    iterator = page.get("NextShardIterator")
print(f"{records / (time.monotonic() - begun):.0f}")
