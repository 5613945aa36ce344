"""The same work by a boto3 consumer: consumer.py URL PAGES. Prints records per second."""
import sys
import time

import boto3
from boto3.dynamodb.types import TypeDeserializer

url, pages = sys.argv[1], int(sys.argv[2])
client = boto3.client("dynamodbstreams", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="a",
                      aws_secret_access_key="b")
deserialize = TypeDeserializer().deserialize
below = records = 0
begun = time.monotonic()
iterator = "0"
for _ in range(pages):
    page = client.get_records(ShardIterator=iterator, Limit=1000)
    for record in page["Records"]:
        old = {name: deserialize(value) for name, value in record["dynamodb"]["OldImage"].items()}
        new = {name: deserialize(value) for name, value in record["dynamodb"]["NewImage"].items()}
        if new["stock"] < new["reorderThreshold"] and old["stock"] >= old["reorderThreshold"]:
            below += 1
        records += 1
    iterator = page.get("NextShardIterator")
print(f"{records / (time.monotonic() - begun):.0f}")
