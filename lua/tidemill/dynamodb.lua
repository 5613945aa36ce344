---@meta tidemill.dynamodb
--- Items of DynamoDB tables as plain Lua tables. Every call suspends the handler until the answer is there.
---
--- A failed condition returns `false, "ConditionalCheckFailed"`; every other error raises, with the
--- service's code and message in `err.code` and `err.message`.
local raw = ...
local concat, sort, unpack = table.concat, table.sort, table.unpack -- `table` is a parameter's name below

---@class tidemill.dynamodb
local dynamodb = {
  --- NULL, the same as json.null. It is true in an `if`: compare with it.
  null = raw.null,
  --- An array that is written as a list even when it is empty.
  list = raw.list,
  --- A set of strings, numbers or binaries: `dynamodb.set{"a", "b"}`; `set:contains("a")`.
  set = raw.set,
  --- Bytes that are written as B.
  binary = raw.binary,
  --- A number that is added, subtracted, multiplied and compared exactly, to 38 digits:
  --- `dynamodb.decimal(record.new.price) * 3 + dynamodb.decimal("0.10")`. With numbers beside it, it stays one.
  ---@type fun(number: number|string|any): any
  decimal = raw.decimal,
}

local BATCH_GET_MAX, BATCH_WRITE_MAX = 100, 25 -- the service's limits per request
local BATCH_ATTEMPTS_MAX = 10

local ServiceError = { __name = "service error" }
ServiceError.__index = ServiceError

function ServiceError:__tostring()
  return self.message
end

local function raise(problem)
  error(setmetatable(problem, ServiceError), 0)
end

local function check_table(name)
  if type(name) ~= "string" or name == "" then
    error("the table's name expected, got " .. (name == "" and "an empty string" or type(name)), 3)
  end
  return name
end

local function check_options(options, known, level)
  if options == nil then
    return {}
  end
  if type(options) ~= "table" then
    error("options are a table, got " .. type(options), level or 3)
  end
  for name, value in pairs(options) do
    local kind = known[name]
    if not kind then
      local first = type(name) == "string" and name:sub(1, 1)
      error("unknown option '" .. tostring(name) .. "'" .. (first == ":" and ": values go into values = { [\"" .. name .. "\"] = ... }"
        or first == "#" and ": names go into names = { [\"" .. name .. "\"] = ... }" or ""), level or 3)
    elseif kind == "integer" and (type(value) ~= "number" or value % 1 ~= 0 or value < 0) then
      error("option '" .. name .. "': a whole number expected, got " .. (type(value) == "number" and tostring(value) or type(value)),
        level or 3)
    elseif kind ~= true and kind ~= "integer" and type(value) ~= kind then
      error("option '" .. name .. "': a " .. (kind == "string" and "text" or kind) .. " expected, got " .. type(value), level or 3)
    end
  end
  return options
end

-- "a key": a table such as { id = "a" }.
local function check_item(value, what, level)
  if type(value) ~= "table" then
    error(what .. " is a table of attributes such as { id = \"a\" }, got " .. type(value), level or 3)
  end
  return value
end

local function item_of(value, what)
  return raw.item(check_item(value, what, 4))
end

local function set_of(...)
  local set = {}
  for _, name in ipairs { ... } do
    set[name] = true
  end
  return set
end

local CONDITION = { condition = "string", names = "table", values = "table", return_values = "string" }
local GET = { consistent = "boolean", attributes = "table" }
local PAGES = { names = "table", values = "table", index = "string", filter = "string", limit = "integer",
  descending = "boolean", start = "table", attributes = "table", consistent = "boolean", segment = "integer",
  segments = "integer" }

--- The members that all requests with expressions share.
local function add_expressions(request, options)
  request.ConditionExpression = options.condition
  request.ExpressionAttributeNames = options.names
  if options.values and next(options.values) ~= nil then
    request.ExpressionAttributeValues = raw.item(options.values)
  end
  return request
end

--- Attribute names may be reserved words, so each is given through a placeholder.
local function add_projection(request, attributes)
  if not attributes then
    return request
  end
  local names, list = {}, {}
  for name, value in pairs(request.ExpressionAttributeNames or {}) do
    names[name] = value
  end
  for i, attribute in ipairs(attributes) do
    names["#tm" .. i] = attribute
    list[i] = "#tm" .. i
  end
  request.ExpressionAttributeNames = names
  request.ProjectionExpression = concat(list, ", ")
  return request
end

local function call(operation, request)
  local response, problem = raw.call(operation, request)
  if not response then
    raise(problem)
  end
  return response
end

--- A write that may have a condition: true, or the attributes asked for; false when the condition failed.
local function write(operation, request, options)
  request.ReturnValues = options.return_values
  local response, problem = raw.call(operation, add_expressions(request, options))
  if response then
    return response.Attributes or true
  end
  if problem.code == "ConditionalCheckFailedException" then
    return false, "ConditionalCheckFailed"
  end
  raise(problem)
end

--- One item, or nil.
---@param table string
---@param key table<string, any>
---@param options? {consistent?: boolean, attributes?: string[]}
---@return table|nil item
function dynamodb.get(table, key, options)
  options = check_options(options, GET)
  local request = { TableName = check_table(table), Key = item_of(key, "a key"), ConsistentRead = options.consistent }
  return call("GetItem", add_projection(request, options.attributes)).Item
end

--- Write an item whole.
---@param table string
---@param item table<string, any>
---@param options? {condition?: string, names?: table, values?: table, return_values?: string}
---@return true|table|false result
---@return string|nil why
function dynamodb.put(table, item, options)
  options = check_options(options, CONDITION)
  return write("PutItem", { TableName = check_table(table), Item = item_of(item, "an item") }, options)
end

--- Change attributes: `dynamodb.update("T", {id = 1}, "SET n = :n ADD c :one", {values = {[":n"] = 1, [":one"] = 1}})`.
---@param table string
---@param key table<string, any>
---@param expression string
---@param options? {condition?: string, names?: table, values?: table, return_values?: string}
---@return true|table|false result
---@return string|nil why
function dynamodb.update(table, key, expression, options)
  options = check_options(options, CONDITION)
  if type(expression) ~= "string" then
    error("the update expression expected, got " .. type(expression), 2)
  end
  return write("UpdateItem",
    { TableName = check_table(table), Key = item_of(key, "a key"), UpdateExpression = expression }, options)
end

---@param table string
---@param key table<string, any>
---@param options? {condition?: string, names?: table, values?: table, return_values?: string}
---@return true|table|false result
---@return string|nil why
function dynamodb.delete(table, key, options)
  options = check_options(options, CONDITION)
  return write("DeleteItem", { TableName = check_table(table), Key = item_of(key, "a key") }, options)
end

local KEY_TYPES = set_of("string", "number", "userdata")
local CREATE_ATTRIBUTES_MAX = 120 -- a condition has at most 4 KB

--- True only where no item with this key exists, without asking for the table's key: an item that is there
--- has its key attributes, and these are among ours.
local function absent(item)
  local names, conditions = {}, {}
  for name, value in pairs(item) do
    if KEY_TYPES[type(value)] then
      local placeholder = "#k" .. #conditions
      names[placeholder] = name
      conditions[#conditions + 1] = "attribute_not_exists(" .. placeholder .. ")"
    end
  end
  if #conditions > CREATE_ATTRIBUTES_MAX then
    error("create: more attributes than a condition can name; use put with a condition on the key", 3)
  end
  return { condition = concat(conditions, " AND "), names = names }
end

--- Write an item unless its key is there already. Several attempts, in several places, create one item.
---@param table string
---@param item table<string, any>
---@return boolean created
function dynamodb.create(table, item)
  local request = { TableName = check_table(table), Item = item_of(item, "an item") }
  return write("PutItem", request, absent(item)) ~= false
end

--- Move `attribute` from `from` to `to`, if it still is `from`; `options.set` are attributes to set with it.
--- Of all callers racing for the same transition exactly one gets true.
---@param table string
---@param key table<string, any>
---@param attribute string
---@param from any
---@param to any
---@param options? {set?: table<string, any>}
---@return boolean won
function dynamodb.transition(table, key, attribute, from, to, options)
  options = check_options(options, { set = "table" })
  if type(attribute) ~= "string" or from == nil or to == nil then
    error("transition takes the attribute's name, the value that it has and the one that it gets", 2)
  end
  local names = { ["#attribute"] = attribute }
  local values = { [":from"] = from, [":to"] = to }
  local expression, i = { "#attribute = :to" }, 0
  for name, value in pairs(options.set or {}) do
    i = i + 1
    names["#set" .. i], values[":set" .. i] = name, value
    expression[#expression + 1] = "#set" .. i .. " = :set" .. i
  end
  local won = write("UpdateItem", {
    TableName = check_table(table), Key = item_of(key, "a key"), UpdateExpression = "SET " .. concat(expression, ", "),
  }, { condition = "#attribute = :from", names = names, values = values })
  return won ~= false
end

local function page_request(table, condition, options)
  local request = add_expressions({
    TableName = check_table(table),
    KeyConditionExpression = condition,
    FilterExpression = options.filter,
    IndexName = options.index,
    Limit = options.limit,
    ConsistentRead = options.consistent,
    Segment = options.segment,
    TotalSegments = options.segments,
    ExclusiveStartKey = options.start and raw.item(options.start) or nil,
  }, options)
  if options.descending then
    request.ScanIndexForward = false
  end
  return add_projection(request, options.attributes)
end

--- One page of a query.
---@param table string
---@param condition string  such as "pk = :pk"
---@param options? table
---@return table[] items
---@return table|nil last_key  where the next page starts: pass it as `start`
function dynamodb.query(table, condition, options)
  options = check_options(options, PAGES)
  if type(condition) ~= "string" then
    error("a condition expected, such as \"pk = :pk\" with values = { [\":pk\"] = ... }, got " .. type(condition), 2)
  end
  local response = call("Query", page_request(table, condition, options))
  return response.Items, response.LastEvaluatedKey
end

--- One page of a scan.
---@param table string
---@param options? table
---@return table[] items
---@return table|nil last_key
function dynamodb.scan(table, options)
  options = check_options(options, PAGES)
  local response = call("Scan", page_request(table, nil, options))
  return response.Items, response.LastEvaluatedKey
end

--- All items of all pages: `for item in dynamodb.each("Orders", "pk = :pk", {values = {[":pk"] = id}}) do`.
--- Without a condition the whole table is scanned.
---@param table string
---@param condition string|nil
---@param options? table
---@return fun(): table|nil
function dynamodb.each(table, condition, options)
  options = check_options(options, PAGES)
  check_table(table)
  if condition ~= nil and type(condition) ~= "string" then
    error("a condition expected, such as \"pk = :pk\", or nil for the whole table, got " .. type(condition), 2)
  end
  local own = {}
  for name, value in pairs(options) do
    own[name] = value
  end
  local items, last, at, begun = {}, own.start, 0, false
  return function()
    while true do
      at = at + 1
      if items[at] ~= nil then
        return items[at]
      end
      if begun and not last then
        return nil
      end
      own.start, begun, at = last, true, 0
      if condition then
        items, last = dynamodb.query(table, condition, own)
      else
        items, last = dynamodb.scan(table, own)
      end
    end
  end
end

local ACTIONS = {}

function ACTIONS.put(table, item, options)
  return "Put", { TableName = check_table(table), Item = item_of(item, "an item") }, options
end

function ACTIONS.update(table, key, expression, options)
  return "Update", { TableName = check_table(table), Key = item_of(key, "a key"), UpdateExpression = expression }, options
end

function ACTIONS.delete(table, key, options)
  return "Delete", { TableName = check_table(table), Key = item_of(key, "a key") }, options
end

function ACTIONS.check(table, key, options)
  return "ConditionCheck", { TableName = check_table(table), Key = item_of(key, "a key") }, options
end

local function transact_item(action, index)
  local verb, arguments = next(action)
  local build = ACTIONS[verb]
  if not build or type(arguments) ~= "table" then
    error(("transact: action %d is none of put, update, delete and check"):format(index), 3)
  end
  local name, request, options = build(unpack(arguments, 1, 4))
  options = check_options(options, CONDITION, 4)
  return { [name] = add_expressions(request, options) }
end

local ONCE_TTL_S = 7 * 24 * 3600 -- longer than a record can be in a stream

local function marker_item(actions)
  local ttl = actions.once_ttl == nil and ONCE_TTL_S or raw.seconds(actions.once_ttl)
  if not ttl then
    error("transact: once_ttl is a number of seconds above 0, or a text such as \"90d\"", 3)
  end
  local name = actions.once_table or rawget(require "tidemill.config", "once_table")
  if not name then
    error("transact: once needs a table for its markers: once_table here, or in the handler's settings", 3)
  end
  local item = { id = tostring(actions.once), expires = math.ceil(require "tidemill.time".now() + ttl) }
  return { Put = { TableName = name, Item = item_of(item, "an item"), ConditionExpression = "attribute_not_exists(id)" } }
end

--- Several writes that happen together or not at all.
--- `{ {put = {table, item, options}}, {update = {table, key, expression, options}},
---    {delete = {table, key, options}}, {check = {table, key, options}} }`
--- With `once = key` a marker is written along, so that the writes happen once however often this is called; a
--- repetition returns true. The marker goes to the table `once_table`, given here or in the handler's settings, whose
--- partition key is a string named `id`; it carries the attribute `expires` for the table's time to live, `once_ttl` after
--- now (7 days; "90d" or a number of seconds): whoever redrives a dead letter later than that writes once more.
--- Where the endpoint has no transactions (ScyllaDB Alternator) it raises and names the way out: `create`, `transition`.
---@param actions table
---@return true|false done  false when a condition failed
---@return table|nil reasons  per action: "None", "ConditionalCheckFailed" ...
function dynamodb.transact(actions)
  local items = dynamodb.list {}
  for i, action in ipairs(actions) do
    items[i] = transact_item(action, i)
  end
  local marker = actions.once ~= nil and #items + 1
  if marker then
    items[marker] = marker_item(actions)
  end
  local response, problem = raw.call("TransactWriteItems",
    { TransactItems = items, ClientRequestToken = raw.token() }) -- a repetition after a lost answer changes nothing
  if response then
    return true
  end
  local reasons, failed, other = {}, false, false
  for i, reason in ipairs(problem.reasons or {}) do
    reasons[i] = reason.Code
    failed = failed or reason.Code == "ConditionalCheckFailed"
    other = other or (reason.Code ~= "None" and reason.Code ~= "ConditionalCheckFailed")
  end
  if problem.code == "TransactionCanceledException" and marker and reasons[marker] == "ConditionalCheckFailed" then
    return true -- it was done before
  end
  if problem.code == "TransactionCanceledException" and failed and not other then
    return false, reasons
  end
  if problem.code == "UnknownOperationException" then -- ScyllaDB Alternator, for one
    problem.message = "transact: this endpoint has no transactions (ScyllaDB Alternator, for one): write one item with "
      .. "a condition instead: dynamodb.create makes what must not be there yet, dynamodb.transition moves an item from "
      .. "one state to the next"
  end
  raise(problem)
end

--- Any number of items by their keys, in no particular order; what is not there is left out.
---@param table string
---@param keys table[]
---@return table[] items
function dynamodb.batch_get(table, keys)
  check_table(table)
  if type(keys) ~= "table" then
    error("batch_get takes a table's name and a list of keys, got " .. type(keys), 2)
  end
  local items = dynamodb.list {}
  for first = 1, #keys, BATCH_GET_MAX do
    local part = dynamodb.list {}
    for i = first, math.min(first + BATCH_GET_MAX - 1, #keys) do
      part[#part + 1] = item_of(keys[i], "a key")
    end
    local request, attempts = { [table] = { Keys = part } }, 0
    while request do
      local response = call("BatchGetItem", { RequestItems = request })
      for _, item in ipairs(response.Responses[table] or {}) do
        items[#items + 1] = item
      end
      request, attempts = response.UnprocessedKeys, attempts + 1
      if request and attempts == BATCH_ATTEMPTS_MAX then
        raise { code = "ThrottlingException", message = "BatchGetItem: keys were left unprocessed again and again" }
      end
    end
  end
  return items
end

local function escape_separator(text)
  return (text:gsub("[#%%]", { ["#"] = "%23", ["%"] = "%25" }))
end

--- A key as one text, such as a document's id elsewhere: "ORDER-1", or of two attributes, in the order of their
--- names, "CUSTOMER-1#ORDER-1". Different keys of a table have different texts.
---@param key table such as `record.keys`
---@return string
function dynamodb.key_text(key)
  local names, values = {}, {}
  for name in pairs(key) do
    names[#names + 1] = name
  end
  sort(names)
  for i, name in ipairs(names) do
    values[i] = #names == 1 and tostring(key[name]) or escape_separator(tostring(key[name]))
  end
  return concat(values, "#")
end

--- Any number of puts and deletes, without conditions: `{put = {item, ...}, delete = {key, ...}}`.
---@param table string
---@param writes {put?: table[], delete?: table[]}
---@return true
function dynamodb.batch_write(table, writes)
  check_table(table)
  if type(writes) ~= "table" then
    error("batch_write takes a table's name and { put = { item, ... }, delete = { key, ... } }, got " .. type(writes), 2)
  end
  check_options(writes, { put = "table", delete = "table" })
  local requests = {}
  for _, item in ipairs(writes.put or {}) do
    requests[#requests + 1] = { PutRequest = { Item = item_of(item, "an item") } }
  end
  for _, key in ipairs(writes.delete or {}) do
    requests[#requests + 1] = { DeleteRequest = { Key = item_of(key, "a key") } }
  end
  for first = 1, #requests, BATCH_WRITE_MAX do
    local part = { unpack(requests, first, math.min(first + BATCH_WRITE_MAX - 1, #requests)) }
    local request, attempts = { [table] = part }, 0
    while request do
      request = call("BatchWriteItem", { RequestItems = request }).UnprocessedItems
      attempts = attempts + 1
      if request and attempts == BATCH_ATTEMPTS_MAX then
        raise { code = "ThrottlingException", message = "BatchWriteItem: writes were left unprocessed again and again" }
      end
    end
  end
  return true
end

local PLACE = { "region", "endpoint", "role", "external_id" }
local elsewhere = {}

--- The same module, for tables in another region, behind another endpoint, or in another account, whose `role` is
--- assumed with the host's credentials (`policy` wants { ROLE, "sts:AssumeRole" } in the handler's `calls`). In `dev` and
--- in tests regions and roles make no difference: all tables are the embedded DynamoDB's.
---@param place {region?: string, endpoint?: string, role?: string, external_id?: string}
---@return tidemill.dynamodb
function dynamodb.at(place)
  if type(place) ~= "table" or next(place) == nil then
    error("dynamodb.at: a table with region, endpoint or role expected", 2)
  end
  local known, key = set_of(unpack(PLACE)), {}
  for name in pairs(place) do
    if not known[name] then
      error("dynamodb.at: unknown option '" .. tostring(name) .. "'", 2)
    end
  end
  for i, name in ipairs(PLACE) do
    key[i] = tostring(place[name] or "")
  end
  key = concat(key, "\n")
  if not elsewhere[key] then
    elsewhere[key] = raw.at(place)
  end
  return elsewhere[key]
end

return dynamodb
