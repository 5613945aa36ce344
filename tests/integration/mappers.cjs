// What people write DynamoDB programs with, each against the embedded one: tables, indexes, transactions, conditions,
// paging: node mappers.cjs URL PACKAGES NAME
const assert = require("node:assert");
const { createRequire } = require("node:module");

const [url, home, which] = process.argv.slice(2);
const from = createRequire(home + "/package.json");
const db = from("@aws-sdk/client-dynamodb");
const lib = from("@aws-sdk/lib-dynamodb");
const options = { endpoint: url, region: "us-east-1", credentials: { accessKeyId: "a", secretAccessKey: "b" }, maxAttempts: 1 };
const client = new db.DynamoDBClient(options);
const documents = lib.DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
const attribute = (name, type = "S") => ({ AttributeName: name, AttributeType: type });
const key = (...names) => names.map((name, index) => ({ AttributeName: name, KeyType: index ? "RANGE" : "HASH" }));

const ready = (TableName) => db.waitUntilTableExists({ client, maxWaitTime: 20, minDelay: 1 }, { TableName });

async function makeTable(TableName, hash, range, indexes) {
  const names = new Set([hash, range, ...indexes.flatMap((index) => index.keys)].filter(Boolean));
  await client.send(new db.CreateTableCommand({
    TableName, BillingMode: "PAY_PER_REQUEST", AttributeDefinitions: [...names].map((name) => attribute(name)), KeySchema: key(...[hash, range].filter(Boolean)),
    GlobalSecondaryIndexes: indexes.map((index) => ({ IndexName: index.name, KeySchema: key(...index.keys), Projection: { ProjectionType: "ALL" } })),
  }));
  await ready(TableName);
}

const programs = {
  async document() {
    const TableName = "Documents";
    await makeTable(TableName, "pk", "sk", [{ name: "byKind", keys: ["kind", "sk"] }]);
    const full = lib.DynamoDBDocument.from(client, { marshallOptions: { convertClassInstanceToMap: true } });
    await full.put({ TableName, Item: { pk: "a", sk: "1", kind: "x", n: 1.5, list: [1, "two", null, true], map: { deep: { er: [] } }, set: new Set(["b", "a"]), bytes: Buffer.from([0, 255]) } });
    const { Item } = await full.get({ TableName, Key: { pk: "a", sk: "1" } });
    assert.deepStrictEqual([...Item.set], ["a", "b"]);
    assert.deepStrictEqual([Item.n, Item.list, Item.map, [...Item.bytes]], [1.5, [1, "two", null, true], { deep: { er: [] } }, [0, 255]]);
    await full.batchWrite({ RequestItems: { [TableName]: Array.from({ length: 25 }, (_, n) => ({ PutRequest: { Item: { pk: "b", sk: String(n).padStart(2, "0"), kind: n % 2 ? "odd" : "even" } } })) } });
    let pages = 0, seen = [];
    for await (const page of lib.paginateQuery({ client: full, pageSize: 4 }, { TableName, IndexName: "byKind", KeyConditionExpression: "kind = :k", ExpressionAttributeValues: { ":k": "even" }, ScanIndexForward: false })) {
      pages++;
      seen.push(...page.Items.map((item) => item.sk));
    }
    assert.deepStrictEqual([pages >= 4, seen], [true, ["24", "22", "20", "18", "16", "14", "12", "10", "08", "06", "04", "02", "00"]]);
    const counted = await full.update({ TableName, Key: { pk: "c", sk: "1" }, UpdateExpression: "ADD hits :one", ExpressionAttributeValues: { ":one": 1 }, ReturnValues: "ALL_NEW" });
    assert.strictEqual(counted.Attributes.hits, 1);
    await full.transactWrite({ TransactItems: [{ Put: { TableName, Item: { pk: "t", sk: "1" } } }, { Update: { TableName, Key: { pk: "c", sk: "1" }, UpdateExpression: "ADD hits :one", ExpressionAttributeValues: { ":one": 1 } } }] });
    const both = await full.transactGet({ TransactItems: [{ Get: { TableName, Key: { pk: "t", sk: "1" } } }, { Get: { TableName, Key: { pk: "c", sk: "1" } } }] });
    assert.strictEqual(both.Responses[1].Item.hits, 2);
    await assert.rejects(full.put({ TableName, Item: { pk: "t", sk: "1" }, ConditionExpression: "attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure: "ALL_OLD" }),
      (error) => error.name === "ConditionalCheckFailedException" && error.Item.pk.S === "t");
    await client.send(new db.UpdateTableCommand({ TableName, AttributeDefinitions: [attribute("pk"), attribute("n", "N")], GlobalSecondaryIndexUpdates: [{ Create: { IndexName: "byN", KeySchema: key("n"), Projection: { ProjectionType: "KEYS_ONLY" } } }] }));
    await ready(TableName);
    assert.strictEqual((await full.query({ TableName, IndexName: "byN", KeyConditionExpression: "n = :n", ExpressionAttributeValues: { ":n": 1.5 } })).Count, 1);
    await client.send(new db.DeleteTableCommand({ TableName }));
    await db.waitUntilTableNotExists({ client, maxWaitTime: 20, minDelay: 1 }, { TableName });
  },

  async electrodb() {
    const { Entity, Service } = from("electrodb");
    const table = "Electro";
    await makeTable(table, "pk", "sk", [{ name: "gsi1", keys: ["gsi1pk", "gsi1sk"] }]);
    const employee = new Entity({
      model: { entity: "employee", version: "1", service: "org" },
      attributes: { employee: { type: "string", required: true }, team: { type: "string", required: true }, office: { type: "string", required: true }, salary: { type: "number" }, tags: { type: "set", items: "string" }, history: { type: "list", items: { type: "string" } } },
      indexes: { primary: { pk: { field: "pk", composite: ["employee"] }, sk: { field: "sk", composite: [] } },
        byOffice: { index: "gsi1", collection: "workplace", pk: { field: "gsi1pk", composite: ["office"] }, sk: { field: "gsi1sk", composite: ["team", "employee"] } } },
    }, { client, table });
    const desk = new Entity({
      model: { entity: "desk", version: "1", service: "org" },
      attributes: { desk: { type: "string", required: true }, office: { type: "string", required: true } },
      indexes: { primary: { pk: { field: "pk", composite: ["desk"] }, sk: { field: "sk", composite: [] } },
        byOffice: { index: "gsi1", collection: "workplace", pk: { field: "gsi1pk", composite: ["office"] }, sk: { field: "gsi1sk", composite: ["desk"] } } },
    }, { client, table });
    const org = new Service({ employee, desk });
    await employee.create({ employee: "ada", team: "core", office: "berlin", salary: 10, tags: ["x", "y"], history: [] }).go();
    await assert.rejects(employee.create({ employee: "ada", team: "core", office: "berlin" }).go(), /conditional/i);
    await employee.put(Array.from({ length: 30 }, (_, n) => ({ employee: `e${n}`, team: n % 2 ? "core" : "web", office: "berlin" }))).go();
    await desk.create({ desk: "d1", office: "berlin" }).go();
    const updated = await employee.patch({ employee: "ada" }).add({ salary: 5, tags: ["z"] }).append({ history: ["raise"] }).where(({ salary }, { lt }) => lt(salary, 20)).go({ response: "all_new" });
    assert.deepStrictEqual([updated.data.salary, updated.data.history, updated.data.tags], [15, ["raise"], ["x", "y", "z"]]);
    let cursor = null, names = [];
    do {
      const page = await employee.query.byOffice({ office: "berlin", team: "core" }).go({ cursor, limit: 4 });
      names.push(...page.data.map((each) => each.employee));
      cursor = page.cursor;
    } while (cursor);
    assert.strictEqual(new Set(names).size, 16);
    const all = await org.collections.workplace({ office: "berlin" }).go({ pages: "all" });
    assert.deepStrictEqual([all.data.employee.length, all.data.desk.length], [31, 1]);
    const done = await org.transaction.write(({ employee, desk }) => [employee.patch({ employee: "ada" }).set({ team: "web" }).commit(), desk.create({ desk: "d2", office: "berlin" }).commit()]).go();
    assert.strictEqual(done.canceled, false);
    const refused = await org.transaction.write(({ desk }) => [desk.create({ desk: "d2", office: "berlin" }).commit()]).go();
    assert.deepStrictEqual([refused.canceled, refused.data[0].code], [true, "ConditionalCheckFailed"]);
    const got = await org.transaction.get(({ employee, desk }) => [employee.get({ employee: "ada" }).commit(), desk.get({ desk: "d2" }).commit()]).go();
    assert.strictEqual(got.data[0].item.team, "web");
    await employee.remove({ employee: "ada" }).go();
    assert.strictEqual((await employee.get({ employee: "ada" }).go()).data, null);
    assert.strictEqual((await employee.scan.where(({ team }, { eq }) => eq(team, "web")).go({ pages: "all" })).data.length, 15);
  },

  async toolbox() {
    const t = from("dynamodb-toolbox");
    const name = "Toolbox";
    await makeTable(name, "pk", "sk", [{ name: "byColour", keys: ["colour", "sk"] }]);
    const table = new t.Table({ documentClient: documents, name, partitionKey: { name: "pk", type: "string" }, sortKey: { name: "sk", type: "string" }, indexes: { byColour: { type: "global", partitionKey: { name: "colour", type: "string" }, sortKey: { name: "sk", type: "string" } } } });
    const Pokemon = new t.Entity({ name: "Pokemon", table, schema: t.item({ pk: t.string().key(), sk: t.string().key(), colour: t.string(), level: t.number(), moves: t.list(t.string()).optional(), kinds: t.set(t.string()).optional() }) });
    const put = (input, options) => Pokemon.build(t.PutItemCommand).item(input).options(options ?? {}).send();
    await put({ pk: "kanto", sk: "25", colour: "yellow", level: 5, moves: ["spark"], kinds: new Set(["electric"]) });
    await assert.rejects(put({ pk: "kanto", sk: "25", colour: "yellow", level: 5 }, { condition: { attr: "pk", exists: false } }), { name: "ConditionalCheckFailedException" });
    const one = await Pokemon.build(t.GetItemCommand).key({ pk: "kanto", sk: "25" }).options({ consistent: true }).send();
    assert.deepStrictEqual([one.Item.level, one.Item.moves, [...one.Item.kinds]], [5, ["spark"], ["electric"]]);
    const up = await Pokemon.build(t.UpdateItemCommand).item({ pk: "kanto", sk: "25", level: t.$add(3), moves: t.$append(["bolt"]), kinds: t.$add(new Set(["cute"])) }).options({ returnValues: "ALL_NEW" }).send();
    assert.deepStrictEqual([up.Attributes.level, up.Attributes.moves, [...up.Attributes.kinds]], [8, ["spark", "bolt"], ["cute", "electric"]]);
    await t.executeBatchWrite(table.build(t.BatchWriteCommand).requests(...Array.from({ length: 9 }, (_, n) => Pokemon.build(t.BatchPutRequest).item({ pk: "johto", sk: String(n), colour: "red", level: n }))));
    const query = table.build(t.QueryCommand).query({ index: "byColour", partition: "red", range: { gte: "3" } }).entities(Pokemon);
    const page = await query.options({ limit: 4, reverse: true, filters: { Pokemon: { attr: "level", ne: 5 } } }).send();
    assert.deepStrictEqual([page.Items.map((item) => item.sk), page.Count, page.ScannedCount], [["8", "7", "6"], 3, 4]);
    const rest = await query.options({ reverse: true, exclusiveStartKey: page.LastEvaluatedKey }).send();
    assert.deepStrictEqual(rest.Items.map((item) => item.sk), ["4", "3"]);
    await t.executeTransactWrite(Pokemon.build(t.PutTransaction).item({ pk: "t", sk: "1", colour: "blue", level: 1 }), Pokemon.build(t.ConditionCheck).key({ pk: "kanto", sk: "25" }).condition({ attr: "level", gt: 7 }), Pokemon.build(t.DeleteTransaction).key({ pk: "johto", sk: "0" }));
    await assert.rejects(t.executeTransactWrite(Pokemon.build(t.ConditionCheck).key({ pk: "kanto", sk: "25" }).condition({ attr: "level", lt: 7 }), Pokemon.build(t.DeleteTransaction).key({ pk: "johto", sk: "1" })), { name: "TransactionCanceledException" });
    const scanned = await table.build(t.ScanCommand).entities(Pokemon).options({ segment: 0, totalSegments: 1, attributes: ["sk"] }).send();
    assert.strictEqual(scanned.Count, 10);
  },

  async dynamoose() {
    const dynamoose = from("dynamoose");
    dynamoose.aws.ddb.set(new db.DynamoDB(options));
    const schema = new dynamoose.Schema({ id: { type: String, hashKey: true }, at: { type: Number, rangeKey: true }, owner: { type: String, index: { name: "byOwner", rangeKey: "at", type: "global" } }, data: { type: Object, schema: { colour: String } }, names: { type: Set, schema: [String] }, when: Date }, { saveUnknown: true, timestamps: true });
    const Thing = dynamoose.model("Thing", schema, { throughput: "ON_DEMAND", waitForActive: { enabled: true, check: { timeout: 20000, frequency: 50 } } });
    await Thing.create({ id: "a", at: 1, owner: "o", data: { colour: "red" }, names: new Set(["y", "x"]), when: new Date(5000) });
    await assert.rejects(Thing.create({ id: "a", at: 1 }), { name: "ConditionalCheckFailedException" });
    const thing = await Thing.get({ id: "a", at: 1 });
    assert.deepStrictEqual([thing.data.colour, [...thing.names], thing.when.getTime()], ["red", ["x", "y"], 5000]);
    await Thing.batchPut(Array.from({ length: 12 }, (_, n) => ({ id: "b", at: n, owner: "o" })));
    assert.strictEqual((await Thing.query("owner").eq("o").using("byOwner").where("at").between(3, 6).sort("descending").exec()).map((each) => each.at).join(), "6,5,4,3");
    let last, count = 0;
    do {
      const page = await (last ? Thing.scan().limit(5).startAt(last) : Thing.scan().limit(5)).exec();
      count += page.length;
      last = page.lastKey;
    } while (last);
    assert.strictEqual(count, 13);
    const updated = await Thing.update({ id: "a", at: 1 }, { $SET: { owner: "p" }, $ADD: { visits: 2 }, $REMOVE: ["data"] });
    assert.deepStrictEqual([updated.owner, updated.visits, updated.data], ["p", 2, undefined]);
    await dynamoose.transaction([Thing.transaction.create({ id: "t", at: 1 }), Thing.transaction.update({ id: "a", at: 1 }, { owner: "q" }), Thing.transaction.delete({ id: "b", at: 0 })]);
    await assert.rejects(dynamoose.transaction([Thing.transaction.create({ id: "t", at: 1 }), Thing.transaction.delete({ id: "b", at: 1 })]), { name: "TransactionCanceledException" });
    assert.strictEqual((await Thing.batchGet([{ id: "a", at: 1 }, { id: "b", at: 0 }, { id: "b", at: 1 }])).length, 2);
    assert.strictEqual((await Thing.query("id").eq("b").count().exec()).count, 11);
  },

  async onetable() {
    const { Table } = from("dynamodb-onetable");
    const schema = { format: "onetable:1.1.0", version: "0.0.1", indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" } },
      models: { Account: { pk: { type: String, value: "account#${name}" }, sk: { type: String, value: "account#" }, name: { type: String, required: true, unique: true }, balance: { type: Number, default: 0 } },
        User: { pk: { type: String, value: "account#${account}" }, sk: { type: String, value: "user#${email}" }, gs1pk: { type: String, value: "user#" }, gs1sk: { type: String, value: "user#${email}" }, account: { type: String }, email: { type: String, required: true }, joined: { type: Date } } }, params: { isoDates: true, timestamps: true } };
    const table = new Table({ name: "OneTable", client, schema, partial: true });
    await table.createTable();
    await ready("OneTable");
    assert.strictEqual(await table.exists(), true);
    const Account = table.getModel("Account"), User = table.getModel("User");
    await Account.create({ name: "acme" });
    await assert.rejects(Account.create({ name: "acme" }), /unique|conditional/i);
    for (let n = 0; n < 6; n++)
      await User.create({ account: "acme", email: `u${n}@x`, joined: new Date(n * 1000) });
    await Account.update({ name: "acme" }, { add: { balance: 7 } });
    assert.strictEqual((await Account.get({ name: "acme" })).balance, 7);
    const first = await User.find({}, { index: "gs1", limit: 4 });
    const next = await User.find({}, { index: "gs1", next: first.next });
    assert.deepStrictEqual([...first, ...next].map((user) => user.email), ["u0@x", "u1@x", "u2@x", "u3@x", "u4@x", "u5@x"]);
    const transaction = {};
    await Account.update({ name: "acme", balance: 1 }, { transaction });
    await User.remove({ account: "acme", email: "u0@x" }, { transaction });
    await table.transact("write", transaction);
    assert.strictEqual((await Account.get({ name: "acme" })).balance, 1);
    const batch = {};
    await User.create({ account: "acme", email: "b1@x" }, { batch });
    await User.create({ account: "acme", email: "b2@x" }, { batch });
    await table.batchWrite(batch);
    assert.strictEqual((await table.scanItems({}, { parse: true })).length, 9);
    await table.deleteTable("DeleteTableForever");
  },

  async typedorm() {
    from("reflect-metadata");
    const common = from("@typedorm/common"), orm = from("@typedorm/core"), { DocumentClientV3 } = from("@typedorm/document-client");
    const name = "TypeDorm";
    await makeTable(name, "PK", "SK", [{ name: "GSI1", keys: ["GSI1PK", "GSI1SK"] }]);
    const table = new common.Table({ name, partitionKey: "PK", sortKey: "SK", indexes: { GSI1: { type: common.INDEX_TYPE.GSI, partitionKey: "GSI1PK", sortKey: "GSI1SK" } } });
    class User {}
    const typed = (type) => (target, property) => Reflect.defineMetadata("design:type", type, target, property);
    for (const [property, type, extra] of [["id", String, {}], ["email", String, { unique: true }], ["status", String, {}], ["visits", Number, {}]]) {
      typed(type)(User.prototype, property);
      common.Attribute(extra)(User.prototype, property);
    }
    common.Entity({ name: "user", primaryKey: { partitionKey: "USER#{{id}}", sortKey: "USER#{{id}}" }, indexes: { GSI1: { type: common.INDEX_TYPE.GSI, partitionKey: "STATUS#{{status}}", sortKey: "USER#{{id}}" } } })(User);
    orm.createConnection({ table, entities: [User], documentClient: new DocumentClientV3(client) });
    const manager = orm.getEntityManager();
    const make = (fields) => Object.assign(new User(), fields);
    for (let n = 0; n < 5; n++)
      await manager.create(make({ id: String(n), email: `${n}@x`, status: n % 2 ? "on" : "off", visits: n }));
    await assert.rejects(manager.create(make({ id: "9", email: "1@x", status: "on", visits: 0 })), { name: "TransactionCancelledException" });
    assert.strictEqual((await manager.findOne(User, { id: "3" })).visits, 3);
    await manager.update(User, { id: "3" }, { status: "off", visits: { ADD: 4 } });
    const found = await manager.find(User, { status: "off" }, { queryIndex: "GSI1", limit: 2, orderBy: "DESC" });
    const rest = await manager.find(User, { status: "off" }, { queryIndex: "GSI1", orderBy: "DESC", cursor: found.cursor });
    assert.deepStrictEqual([...found.items, ...rest.items].map((user) => user.id), ["4", "3", "2", "0"]);
    await manager.delete(User, { id: "3" });
    assert.strictEqual(await manager.exists(User, { email: "3@x" }), false);
    await orm.getTransactionManger().write(new orm.WriteTransaction().add([{ delete: { item: User, primaryKey: { id: "4" } } }, { create: { item: make({ id: "4b", email: "4b@x", status: "on", visits: 1 }) } }]));
    assert.strictEqual((await orm.getScanManager().find(User, {})).items.length, 4);
  },
};

programs[which]().then(() => console.log("ok"), (error) => { console.error(error); process.exit(1); });
