"""`make run`: the stock example on DynamoDB Local, from an empty table to a replenishment order.

Starts DynamoDB Local and tidemill, lets two products' stock fall, and shows the order that the handler
created. On a terminal it then keeps both running for you to try; Ctrl-C ends it.
"""
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import boto3

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLOUR = sys.stdout.isatty()


def say(text, colour="36"):
    print(f"\033[{colour}m{text}\033[0m" if COLOUR else text, flush=True)


def free_port(wanted=8000):
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port(0)
        return sock.getsockname()[1]


def start_dynamodb():
    home = subprocess.run([ROOT / "tests/tools/dynamodb-local.sh"], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()
    port = free_port()
    process = subprocess.Popen(
        ["java", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb",
         "-disableTelemetry", "-port", str(port)], cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process, f"http://127.0.0.1:{port}"


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except Exception:  # not up yet
            pass
        time.sleep(0.1)
    sys.exit("that took too long; is there an error above?")


def create_table(client, name, key, stream):
    options = {}
    if stream:
        options["StreamSpecification"] = dict(StreamEnabled=True, StreamViewType="NEW_AND_OLD_IMAGES")
    client.create_table(TableName=name, KeySchema=[dict(AttributeName=key, KeyType="HASH")],
                        AttributeDefinitions=[dict(AttributeName=key, AttributeType="S")],
                        BillingMode="PAY_PER_REQUEST", **options)


def put_product(client, product, stock):
    say(f"  {product}: stock {stock}, threshold 50", "0")
    client.put_item(TableName="Products", Item={
        "productId": {"S": product}, "stock": {"N": str(stock)}, "reorderThreshold": {"N": "50"},
        "amountToReplenish": {"N": "100"}})


def main():
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local", AWS_DEFAULT_REGION="eu-west-1")
    dynamodb, url = start_dynamodb()
    tidemill = None
    try:
        client = boto3.client("dynamodb", endpoint_url=url)
        wait_until(lambda: client.list_tables())
        create_table(client, "Products", "productId", stream=True)
        create_table(client, "Replenishment", "orderId", stream=False)
        say("A table Products with a stream, and tidemill with scripts/stock_replenishment.lua:")
        with tempfile.TemporaryDirectory() as directory:
            os.environ.update(TIDEMILL_STATE=f"{directory}/state.db", DYNAMODB_ENDPOINT=url)
            binary = os.environ.get("TIDEMILL", ROOT / "build/tidemill")
            tidemill = subprocess.Popen([binary, "run", "-c", HERE / "tidemill.ini"])
            say("The stock of two products changes:")
            for product, stock in (("bolts", 60), ("nuts", 200), ("bolts", 52), ("nuts", 190), ("bolts", 43)):
                put_product(client, product, stock)
            orders = wait_until(lambda: client.scan(TableName="Replenishment")["Items"])
            say("The handler created a replenishment order:")
            for order in orders:
                say(f"  {order['amount']['N']} {order['productId']['S']}, order {order['orderId']['S']}", "32")
            if COLOUR:
                say("Both keep running until Ctrl-C. Try, in another terminal:")
                print(f"  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=eu-west-1\n"
                      f"  aws dynamodb update-item --endpoint-url {url} --table-name Products \\\n"
                      "    --key '{\"productId\":{\"S\":\"nuts\"}}' --update-expression 'SET stock = :s' \\\n"
                      "    --expression-attribute-values '{\":s\":{\"N\":\"20\"}}'", flush=True)
                tidemill.wait()
            else:
                tidemill.terminate()
                tidemill.wait()
    except KeyboardInterrupt:
        pass
    finally:
        if tidemill and tidemill.poll() is None:
            tidemill.terminate()
            tidemill.wait()
        dynamodb.kill()


main()
