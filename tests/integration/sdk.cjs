// Every operation of the embedded DynamoDB through AWS's SDK for JavaScript: node sdk.cjs URL SDK-DIRECTORY
const assert = require("node:assert");
const { createRequire } = require("node:module");

const [url, home] = process.argv.slice(2);
const from = createRequire(home + "/package.json");
const db = from("@aws-sdk/client-dynamodb");
const st = from("@aws-sdk/client-dynamodb-streams");
const options = { endpoint: url, region: "us-east-1", credentials: { accessKeyId: "a", secretAccessKey: "b" }, maxAttempts: 1 };
const client = new db.DynamoDBClient(options);
const streams = new st.DynamoDBStreamsClient(options);
const TableName = "Sdk" + process.pid;

const call = (name, input) => client.send(new db[name + "Command"](input));
const refused = async (kind, promise) => assert.rejects(promise, (error) => error.name === kind || assert.fail(`${error.name}: ${error.message}`));

async function main() {
  const made = await call("CreateTable", {
    TableName, BillingMode: "PAY_PER_REQUEST",
    KeySchema: [{ AttributeName: "p", KeyType: "HASH" }, { AttributeName: "s", KeyType: "RANGE" }],
    AttributeDefinitions: [{ AttributeName: "p", AttributeType: "S" }, { AttributeName: "s", AttributeType: "N" }],
    StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_AND_OLD_IMAGES" },
  });
  const arn = made.TableDescription.TableArn;
  assert((await call("DescribeTable", { TableName })).Table.CreationDateTime instanceof Date);
  assert((await call("ListTables", {})).TableNames.includes(TableName));
  await call("TagResource", { ResourceArn: arn, Tags: [{ Key: "k", Value: "v" }] });
  assert.deepStrictEqual((await call("ListTagsOfResource", { ResourceArn: arn })).Tags, [{ Key: "k", Value: "v" }]);
  await call("UntagResource", { ResourceArn: arn, TagKeys: ["k"] });
  assert((await call("DescribeLimits", {})).TableMaxReadCapacityUnits > 0);
  assert((await call("DescribeEndpoints", {})).Endpoints.length === 1);

  const key = { p: { S: "a" }, s: { N: "1" } };
  const item = { ...key, b: { B: new Uint8Array([0, 255]) }, l: { L: [{ BOOL: true }, { NULL: true }] }, m: { M: {} }, ns: { NS: ["1", "2.5"] } };
  await call("PutItem", { TableName, Item: item, ReturnValues: "ALL_OLD" });
  assert.deepStrictEqual((await call("GetItem", { TableName, Key: key, ConsistentRead: true })).Item, item);
  await refused("ConditionalCheckFailedException", call("PutItem", { TableName, Item: item, ConditionExpression: "attribute_not_exists(p)" }));
  const updated = await call("UpdateItem", {
    TableName, Key: key, UpdateExpression: "SET n = if_not_exists(n, :zero) + :one", ReturnValues: "UPDATED_NEW",
    ExpressionAttributeValues: { ":zero": { N: "0" }, ":one": { N: "1" } },
  });
  assert.deepStrictEqual(updated.Attributes, { n: { N: "1" } });
  await call("BatchWriteItem", { RequestItems: { [TableName]: [2, 3, 4].map((n) => ({ PutRequest: { Item: { p: { S: "a" }, s: { N: String(n) } } } })) } });
  assert.strictEqual((await call("BatchGetItem", { RequestItems: { [TableName]: { Keys: [key, { p: { S: "a" }, s: { N: "9" } }] } } })).Responses[TableName].length, 1);
  const page = await call("Query", { TableName, KeyConditionExpression: "p = :p", ExpressionAttributeValues: { ":p": { S: "a" } }, Limit: 3, ReturnConsumedCapacity: "TOTAL" });
  assert.strictEqual(page.Count, 3);
  assert.strictEqual(page.ConsumedCapacity.CapacityUnits, 0.5);
  assert.strictEqual((await call("Query", { TableName, KeyConditionExpression: "p = :p", ExpressionAttributeValues: { ":p": { S: "a" } }, ExclusiveStartKey: page.LastEvaluatedKey })).Count, 1);
  let seen = 0;
  for await (const each of db.paginateScan({ client, pageSize: 2 }, { TableName })) seen += each.Count;
  assert.strictEqual(seen, 4);
  await call("TransactWriteItems", { TransactItems: [{ Delete: { TableName, Key: { p: { S: "a" }, s: { N: "4" } } } }, { ConditionCheck: { TableName, Key: key, ConditionExpression: "attribute_exists(p)" } }] });
  await assert.rejects(call("TransactWriteItems", { TransactItems: [{ Put: { TableName, Item: key, ConditionExpression: "attribute_not_exists(p)" } }] }),
    (error) => error.name === "TransactionCanceledException" && error.CancellationReasons[0].Code === "ConditionalCheckFailed");
  assert.strictEqual((await call("TransactGetItems", { TransactItems: [{ Get: { TableName, Key: key } }] })).Responses.length, 1);
  assert.strictEqual((await call("ExecuteStatement", { Statement: `SELECT * FROM "${TableName}" WHERE p = ?`, Parameters: [{ S: "a" }] })).Items.length, 3);
  assert.strictEqual((await call("BatchExecuteStatement", { Statements: [{ Statement: `SELECT * FROM "${TableName}" WHERE p = 'a' AND s = 1` }] })).Responses.length, 1);
  await call("ExecuteTransaction", { TransactStatements: [{ Statement: `UPDATE "${TableName}" SET n = 5 WHERE p = 'a' AND s = 1` }] });
  await call("DeleteItem", { TableName, Key: { p: { S: "a" }, s: { N: "2" } } });
  await call("UpdateTimeToLive", { TableName, TimeToLiveSpecification: { Enabled: true, AttributeName: "ttl" } });
  assert.strictEqual((await call("DescribeTimeToLive", { TableName })).TimeToLiveDescription.TimeToLiveStatus, "ENABLED");
  await call("UpdateTable", { TableName, DeletionProtectionEnabled: true });
  await refused("ValidationException", call("DeleteTable", { TableName }));
  await call("UpdateTable", { TableName, DeletionProtectionEnabled: false });
  await refused("ResourceNotFoundException", call("DescribeTable", { TableName: "nowhere" }));

  const { Streams } = await streams.send(new st.ListStreamsCommand({ TableName }));
  const { StreamDescription } = await streams.send(new st.DescribeStreamCommand({ StreamArn: Streams[0].StreamArn }));
  const { ShardIterator } = await streams.send(new st.GetShardIteratorCommand({
    StreamArn: Streams[0].StreamArn, ShardId: StreamDescription.Shards[0].ShardId, ShardIteratorType: "TRIM_HORIZON" }));
  const { Records } = await streams.send(new st.GetRecordsCommand({ ShardIterator }));
  assert.deepStrictEqual(Records.map((record) => record.eventName), ["INSERT", "MODIFY", "INSERT", "INSERT", "INSERT", "REMOVE", "MODIFY", "REMOVE"]);
  assert.deepStrictEqual(Records[0].dynamodb.NewImage, item);
  assert(Records[0].dynamodb.ApproximateCreationDateTime instanceof Date);
  await call("DeleteTable", { TableName });
  console.log("ok");
}

main().catch((error) => { console.error(error); process.exit(1); });
