---@meta tidemill.test
--- Tests of handlers, for files named *_test.lua: `tidemill test` runs them against the embedded DynamoDB, each test in
--- a world of its own, in virtual time.
---
---     local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
---     test.deployment [[ ... [table], [stream] and [handler] sections ... ]]
---     test("an order is created once", function()
---       dynamodb.put("Products", { ... })
---       test.settle()
---       test.equal(#dynamodb.scan("Replenishment"), 1)
---     end)
local raw = ...
local json = require "tidemill.json"
local time = require "tidemill.time"

---@class tidemill.test.Request
---@field method string
---@field url string
---@field headers table<string, string>
---@field body string

local test = {}
local made_up = 0
local tests, services = {}, { requests = {} }
raw.register(tests, services)

--- The INI of the deployment that is tested: its text, or a file's path beside the test. [host] and [aws] are left
--- aside. Of a file's deployment all scripts run, as `run` would run them; of a text those that have a [handler] section,
--- and the one that the test is named after, which are found beside the test.
---@param ini string
function test.deployment(ini)
  if type(ini) ~= "string" then
    error("test.deployment takes an INI's text or path", 2)
  end
  tests.deployment = ini
end

--- Wait until every handler is done with everything that was written, however long its retries take.
function test.settle()
  local settled, problem = raw.settle()
  if not settled and problem ~= "timed out" then
    error(problem, 2)
  elseif not settled then
    error("the handlers did not settle: does one of them write to the table it reads, or fail for ever?", 2)
  end
end

--- Let time pass: timers fire, items expire.
---@param seconds number
function test.advance(seconds)
  raw.advance(seconds * 1000)
end

--- How the services that handlers call by tidemill.http answer. `respond` returns a status and a body (a table is sent
--- as JSON), or nil for a connection that breaks. Without it every call is answered with 200 and {}.
---@param respond fun(request: tidemill.test.Request): integer|nil, string|table|nil
function test.http(respond)
  services.respond = respond
end

---@class tidemill.test.Call: tidemill.test.Request
---@field service string as it is signed for: "states", "s3"
---@field region string
---@field operation? string of a service with a JSON protocol
---@field input? table likewise, decoded

--- How AWS's services answer that handlers call by tidemill.aws (and s3, secrets, signed HTTP). `respond` returns a
--- table, which is sent as JSON with status 200; or a status and a body (a table is sent as JSON: a refusal is 400 and
--- { __type = "InvalidArn", message = "..." }); or nil for a connection that breaks. Without it every call is answered
--- with 200 and {}.
---@param respond fun(call: tidemill.test.Call): integer|table|nil, string|table|nil
function test.aws(respond)
  services.aws = respond
end

--- The requests that were made by tidemill.http, and the calls by tidemill.aws (those have a `service`), so far, the
--- oldest first; those to Redis and PostgreSQL have `commands` or `statements`, lists of texts.
---@return tidemill.test.Request[]
function test.requests()
  return services.requests
end

--- How Redis answers that handlers call by tidemill.redis: `respond` gets each command as a list of texts, and returns
--- its reply as tidemill.redis has it ({ err = "WRONGTYPE ..." } for an error), or nil for nil. Without it each is "OK".
---@param respond fun(command: string[]): any
function test.redis(respond)
  services.redis = respond
end

--- How PostgreSQL answers that handlers call by tidemill.postgres: `respond` gets the SQL and a list of its parameters
--- (texts, nil for NULL; `params.n` of them), and returns a list of rows by their columns' names, or how many rows were
--- changed, or nil for none, or { err = "23505", message =, constraint =, ... }. What begins and ends transactions does not
--- come here, nor markers of `once`. Without it no statement has rows.
---@param respond fun(sql: string, params: string[]): table[]|integer|table|nil
function test.postgres(respond)
  services.postgres = respond
end

local function read_commands(body)
  local commands, at = {}, 1
  while at <= #body do
    local count, after = body:match("^%*(%d+)\r\n()", at)
    local command = {}
    for i = 1, tonumber(count) do
      local size, begin = body:match("^%$(%-?%d+)\r\n()", after)
      if size == "-1" then
        after = begin -- nil
      else
        command[i] = body:sub(begin, begin + size - 1)
        after = begin + size + 2
      end
    end
    command.n = tonumber(count)
    commands[#commands + 1], at = command, after
  end
  return commands
end

local function write_reply(reply)
  if math.type(reply) == "integer" then
    return (":%d\r\n"):format(reply)
  elseif type(reply) == "table" and reply.err then
    return ("-%s\r\n"):format(reply.err)
  elseif type(reply) == "table" then
    local parts = { ("*%d\r\n"):format(#reply) }
    for i, part in ipairs(reply) do
      parts[i + 1] = write_reply(part)
    end
    return table.concat(parts)
  elseif not reply then
    return "$-1\r\n"
  end
  reply = tostring(reply)
  return ("$%d\r\n%s\r\n"):format(#reply, reply)
end

local function redis_reply(command)
  if not services.redis then
    return "OK"
  end
  return services.redis(command)
end

local done_once = {}

-- The commands within a `once` are the test's to answer, as any other.
local function redis_once(command)
  local key, at, replies = command[4], 6, {}
  if done_once[key] then
    return { 0 }
  end
  while at <= #command do
    local count = tonumber(command[at])
    local reply = redis_reply(table.pack(table.unpack(command, at + 1, at + count)))
    if type(reply) == "table" and reply.err then
      return reply
    end
    replies[#replies + 1] = reply or false
    at = at + count + 1
  end
  done_once[key] = true
  return { 1, replies }
end

local function redis_answer(request)
  local replies, queued = {}, nil
  request.commands = read_commands(request.body)
  for _, command in ipairs(request.commands) do
    local name = command[1]:upper()
    local reply
    if name == "MULTI" then
      queued, reply = {}, "OK"
    elseif name == "EXEC" then
      queued, reply = nil, queued
    elseif queued then
      local held = redis_reply(command)
      if held == nil then
        held = false
      end
      queued[#queued + 1], reply = held, "QUEUED"
    elseif name == "EVAL" and command[2]:find("^%-%- tidemill%.redis%.once") then
      reply = redis_once(command)
    else
      reply = redis_reply(command)
    end
    replies[#replies + 1] = write_reply(reply)
  end
  return 200, table.concat(replies)
end

local function is_binary(value)
  return type(value) == "userdata" and getmetatable(value) == getmetatable(require "tidemill.dynamodb".binary "")
end

-- Rows as tidemill.postgres reads them: each value as JSON, bytes as bytea.
local JSON_TYPE, BYTES_TYPE = 114, 17

local function bytes_text(value)
  return "\\x" .. tostring(value):gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end)
end

local function write_rows(rows)
  local names, kinds, places = {}, {}, {}
  for _, row in ipairs(rows) do
    for name, value in pairs(row) do
      if not places[name] then
        names[#names + 1] = name
        places[name] = #names
      end
      kinds[places[name]] = is_binary(value) and BYTES_TYPE or kinds[places[name]] or JSON_TYPE
    end
  end
  local reply = { #rows, "SELECT " .. #rows, names, kinds }
  for i, row in ipairs(rows) do
    local values = {}
    for j, name in ipairs(names) do
      local value = row[name]
      values[j] = value ~= nil and value ~= json.null and (kinds[j] == BYTES_TYPE and bytes_text(value) or json.encode(value))
    end
    reply[4 + i] = values
  end
  return reply
end

local begun, marked, broken = 0, {}, {} -- transactions; of each: the marker that it sets, and whether a statement has failed

local function refuse(code, message)
  return { "error", "code", code, "message", message }, true
end

-- A statement's reply, and whether it failed.
local function postgres_reply(statement, transaction)
  local sql = statement[1]
  if sql == "COMMIT" then
    return { 0, broken[transaction] and "ROLLBACK" or "COMMIT", {}, {} }
  elseif broken[transaction] then
    return refuse("25P02", "current transaction is aborted, commands ignored until end of transaction block")
  elseif sql:find("^BEGIN") then
    return { 0, "BEGIN", {}, {} }
  elseif sql:find("^INSERT INTO tidemill_once VALUES %(%$1, %$2, now") then
    local marker = statement[2] .. " " .. statement[3]
    if done_once[marker] then
      return refuse("23505", "done before")
    end
    marked[transaction] = marker
    return { 1, "INSERT 0 1", {}, {} }
  elseif sql == "DELETE FROM tidemill_once WHERE expires < now()" then
    return { 0, "DELETE 0", {}, {} }
  end
  local said = services.postgres and services.postgres(sql, { n = statement.n - 1, table.unpack(statement, 2, statement.n) })
  if type(said) == "table" and said.err then
    local reply = { "error", "code", said.err, "message", said.message or "refused by the test" }
    for name, value in pairs(said) do
      if name ~= "err" and name ~= "message" then
        reply[#reply + 1], reply[#reply + 2] = name, tostring(value)
      end
    end
    return reply, true
  elseif type(said) == "table" and (next(said) == nil or type(said[1]) == "table") then
    return write_rows(said)
  elseif said ~= nil and math.type(said) ~= "integer" then
    error("test.postgres: a list of rows, how many were changed, or nil expected, got " .. (type(said) == "table" and "a table that is no list of rows" or type(said)), 0)
  end
  return { said or 0, "", {}, {} }
end

local function postgres_answer(request)
  local statements, replies = read_commands(request.body), {}
  local what, number = table.unpack(table.remove(statements, 1))
  request.statements = statements
  if what == "begin" then
    begun = begun + 1
    number, replies[1] = tostring(begun), write_reply(tostring(begun))
  end
  for _, statement in ipairs(statements) do
    local reply, failed = postgres_reply(statement, number)
    replies[#replies + 1] = write_reply(reply)
    if failed then
      broken[number] = true
      break
    end
  end
  if marked[number] and not broken[number] and (what == "once" or what == "end") then
    done_once[marked[number]] = true
  end
  if what ~= "begin" and what ~= "in" then
    marked[number], broken[number] = nil, nil
  end
  return 200, table.concat(replies)
end

function services.answer(request)
  function request:json()
    return json.decode(self.body)
  end
  services.requests[#services.requests + 1] = request
  if request.method == "REDIS" then
    return redis_answer(request)
  elseif request.method == "POSTGRES" then
    return postgres_answer(request)
  end
  local region, service = (request.headers.Authorization or ""):match("^AWS4%-HMAC%-SHA256 Credential=[^/]+/%d+/([^/]+)/([^/]+)/")
  if service then
    request.service, request.region = service, region
    request.operation = (request.headers["X-Amz-Target"] or ""):match("%.(%w+)$")
    request.input = request.operation and request:json() or nil
  end
  local respond = services.respond
  if service then
    respond = services.aws
  end
  if not respond then
    return 200, "{}"
  end
  local status, body = respond(request)
  if type(status) == "table" then
    status, body = 200, status
  end
  if type(body) == "table" then
    body = json.encode(body)
  end
  return status or 0, body
end

--- Records that were given up: a list of {handler=, error=}. A test that leaves some unasked for fails.
---@return {handler: string, error: string}[]
function test.dead_letters()
  local list = {}
  while true do
    local handler, problem = raw.dead_letter(#list + 1)
    if not handler then
      services.asked_for_dead_letters = true
      return list
    end
    list[#list + 1] = { handler = handler, error = problem }
  end
end

--- Archived events (a file or directory of *.jsonl, *.jsonl.gz or *.jsonl.zst, beside the test) through a handler, in
--- order and once, with record.replayed set; returns when they are settled.
---@param path string
---@param handler string or a route
function test.replay(path, handler)
  local done, problem = raw.replay(path, handler)
  if not done then
    error(problem, 2)
  end
end

--- A made-up event through a handler, once: a record as Lambda shows it, { eventName = "INSERT", dynamodb = { Keys = ...,
--- NewImage = ... } } with DynamoDB's types. What is left out of eventID, SequenceNumber and the like is made up as well;
--- record.replayed is set. Returns when it is settled.
---@param handler string or a route
---@param event table
function test.event(handler, event)
  if type(event) ~= "table" or type(event.dynamodb) ~= "table" then
    error("test.event: a record expected, { eventName = \"INSERT\", dynamodb = { Keys = ..., NewImage = ... } }", 2)
  end
  made_up = made_up + 1
  local usual = { eventID = ("made-up-%d"):format(made_up), eventName = "INSERT", eventVersion = "1.1",
    eventSource = "aws:dynamodb", awsRegion = "us-east-1",
    eventSourceARN = "arn:aws:dynamodb:us-east-1:000000000000:table/MadeUp/stream/2026-01-01T00:00:00.000" }
  local change = { ApproximateCreationDateTime = time.now() // 1, SequenceNumber = ("%d"):format(10 ^ 17 + made_up),
    SizeBytes = 100, StreamViewType = "NEW_AND_OLD_IMAGES" }
  for name, value in pairs(event.dynamodb) do
    change[name] = value
  end
  for name, value in pairs(event) do
    usual[name] = value
  end
  usual.dynamodb = change
  local done, problem = raw.event(usual, handler)
  if not done then
    error(problem, 2)
  end
end

--- The handler goes on at "trim_horizon" (all that its stream has, once more), at "latest", at a time
--- ("2026-01-31T12:00:00Z") or behind a sequence number, as `tidemill seek` moves it; test.settle then waits for it.
---@param handler string or a route
---@param where string
function test.seek(handler, where)
  if type(handler) ~= "string" or type(where) ~= "string" then
    error("test.seek: a handler's name and \"trim_horizon\", \"latest\" or a sequence number expected", 2)
  end
  local done, problem = raw.seek(handler, where)
  if not done then
    error("test.seek: " .. problem, 2)
  end
end

---@class tidemill.test.Answer
---@field status integer
---@field headers table<string, string> as the handler has written their names
---@field body string
---@field json fun(self): any the body, decoded

--- A request to an [intake NAME], as its sender would send it: signed with the intake's secret, unless `signed = false`; what is
--- wrong with it is refused as the listener does. Returns the answer.
---@param intake string
---@param request? {id?: string, method?: string, path?: string, query?: string, headers?: table<string, string>, json?: any, body?: string, signed?: boolean}
---@return tidemill.test.Answer
function test.request(intake, request)
  local known = { id = "string", method = "string", path = "string", query = "string", headers = "table", json = true,
    body = "string", signed = "boolean" }
  if type(intake) ~= "string" or (request ~= nil and type(request) ~= "table") then
    error("test.request: an intake's name and a table expected", 2)
  end
  request = request or {}
  for name, value in pairs(request) do
    if not known[name] or (known[name] ~= true and type(value) ~= known[name]) then
      error(("test.request: %s: id, method, path, query, body (texts), headers (a table), json and signed it takes"):format(name), 2)
    end
  end
  local lines = {}
  for name, value in pairs(request.headers or {}) do
    lines[#lines + 1] = ("%s: %s\n"):format(name, tostring(value):gsub("[\r\n]", " "))
  end
  made_up = made_up + 1
  local body = request.body or (request.json ~= nil and json.encode(request.json)) or ""
  local status, text, headers = raw.request { intake = intake, id = request.id or "delivery-" .. made_up, method = request.method,
    path = request.path, query = request.query, lines = table.concat(lines), body = body, signed = request.signed ~= false }
  if status == 0 then
    error("test.request: " .. text, 2)
  end
  return { status = status, headers = headers or {}, body = text or "", json = function(self) return json.decode(self.body) end }
end

local HOSTS_MAX = 8

--- The host dies, as by kill -9 or with its machine, and begins anew on the state that it has left: what had been handled
--- since its last checkpoint comes again. `after` names an operation ("PutItem", "StartExecution", or "POST" of HTTP): the
--- host dies of a handler's next call of it, when the service has done it and the handler has not heard of that yet. That
--- is only kept in mind here: write and settle then; the test fails if nobody calls it. Said twice the host dies twice. Of several
--- hosts (test.hosts) whichever makes the call dies; without `after` each, or the one with the number `host`.
---@param how? {after?: string, host?: integer}
function test.crash(how)
  if how ~= nil and type(how) ~= "table" then
    error("test.crash: nothing, { after = \"PutItem\" } or { host = 2 } expected", 2)
  end
  how = how or {}
  for name in pairs(how) do
    if name ~= "after" and name ~= "host" then
      error(("test.crash: it knows after and host, not %s"):format(name), 2)
    end
  end
  if how.after ~= nil and type(how.after) ~= "string" or how.host ~= nil and math.type(how.host) ~= "integer" then
    error("test.crash: after is an operation's name, and host a number from 1", 2)
  elseif how.after and how.host then
    error("test.crash: after is of whichever host makes the call: leave host out", 2)
  end
  local done, problem = raw.crash(how.host, how.after)
  if not done then
    error("test.crash: " .. problem, 2)
  end
end

--- So many hosts from here on, which share their state and divide the shards between them (as with state = dynamodb:TABLE);
--- they begin at the start of their streams. Before the first of them has handled anything is the time for it: what was
--- handled before comes again. One host can be sought and redelivered to, several cannot.
---@param count integer 1 to 8
function test.hosts(count)
  if math.type(count) ~= "integer" or count < 1 or count > HOSTS_MAX then
    error(("test.hosts: a number of hosts expected, 1 to %d"):format(HOSTS_MAX), 2)
  end
  local done, problem = raw.hosts(count)
  if not done then
    error("test.hosts: " .. problem, 2)
  end
end

--- Every record once more, to every handler, in order, as after a crash whose checkpoints were lost: what a handler that may
--- be called twice has to stand. Returns when that is settled.
function test.redeliver()
  local done, problem = raw.seek(nil, "trim_horizon")
  if not done then
    error("test.redeliver: " .. problem, 2)
  end
  test.settle()
end

--- The time in this world, in seconds since 1970: as tidemill.time has it.
---@return number
function test.now()
  return time.now()
end

---@class tidemill.test.Message
---@field target string
---@field handler string that emitted it, or the route
---@field payload string
---@field key? string
---@field source? string
---@field detail_type? string
---@field subject? string
---@field json fun(self): any the payload, decoded

--- What was emitted so far, by handlers and routes, the oldest first; nothing is sent anywhere.
---@param target? string only what goes to this one
---@return tidemill.test.Message[]
function test.emitted(target)
  local list, index = {}, 0
  while true do
    index = index + 1
    local message = raw.emitted(index)
    if not message then
      return list
    end
    if not target or message.target == target then
      function message:json()
        return json.decode(self.payload)
      end
      list[#list + 1] = message
    end
  end
end

--- Faults of the embedded DynamoDB from here on: shares of calls between 0 and 1. `test.faults {}` ends them.
---@param faults {throttle?: number, error?: number, drop?: number, operations?: string[]}
function test.faults(faults)
  raw.control("SetFaults", { Throttle = faults.throttle, Error = faults.error, Drop = faults.drop,
    Operations = faults.operations })
end

--- Close every open shard; each gets `children` (1) new ones, as when the service splits it.
---@param children? integer
function test.split_shards(children)
  raw.control("SplitShards", { Children = children or 1 })
end

--- All shard iterators have expired.
function test.expire_iterators()
  raw.control("ExpireIterators", {})
end

-- ---- assertions ----

local function show(value)
  if type(value) == "string" then
    return ("%q"):format(value)
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local ok, text = pcall(json.encode, value)
  return ok and text or tostring(value)
end

--- Sets have methods, and no order.
local function is_set(value)
  return type(value.contains) == "function"
end

local function sorted(set)
  local texts = {}
  for i, element in ipairs(set) do
    texts[i] = tostring(element)
  end
  table.sort(texts)
  return texts
end

--- A decimal and a number, by their value.
local function same_number(a, b)
  local decimal = require "tidemill.dynamodb".decimal
  local function is_number(value)
    return type(value) == "number" or (type(value) == "userdata" and pcall(function() return value + 0 end))
  end
  if not is_number(a) or not is_number(b) or type(a) == type(b) then
    return false
  end
  local ok, same = pcall(function() return decimal(a) == decimal(b) end)
  return ok and same
end

--- nil, or the path to the first difference and what is there.
local function difference(actual, expected, path)
  if type(actual) ~= "table" or type(expected) ~= "table" then
    local same = actual == expected or same_number(actual, expected)
      or (type(actual) == "userdata" and type(expected) ~= "nil" and tostring(actual) == tostring(expected))
    return not same and { path = path, actual = actual, expected = expected } or nil
  end
  if is_set(actual) then
    actual, expected = sorted(actual), sorted(expected)
  end
  for _, names in ipairs { expected, actual } do
    for name in pairs(names) do
      local inner = type(name) == "number" and ("[%d]"):format(name) or "." .. tostring(name)
      local found = difference(actual[name], expected[name], path .. inner)
      if found then
        return found
      end
    end
  end
end

--- With its type where the other one looks the same.
local function show_beside(value, other)
  local text = show(value)
  return text == show(other) and text .. " (" .. (math.type(value) or type(value)) .. ")" or text
end

--- Raises with the path to the first difference; tables are compared member by member.
---@param actual any
---@param expected any
---@param message? string
function test.equal(actual, expected, message)
  local found = difference(actual, expected, "")
  if found then
    error(("%s%sexpected %s, got %s"):format(message and message .. ": " or "",
      found.path ~= "" and "at " .. found.path:gsub("^%.", "") .. ": " or "", show_beside(found.expected, found.actual),
      show_beside(found.actual, found.expected)), 2)
  end
end

--- Raises unless `text` contains `part`.
---@param text string
---@param part string
function test.contains(text, part)
  if not tostring(text):find(part, 1, true) then
    error(("%s does not contain %s"):format(show(text), show(part)), 2)
  end
end

--- The test's body is over: what it should have asked for is a failure.
local function check_dead_letters()
  if services.asked_for_dead_letters then
    return
  end
  local handler, problem = raw.dead_letter(1)
  if handler then
    error(("handler %s gave up: %s"):format(handler, problem), 0)
  end
end

return setmetatable(test, {
  __call = function(_, name, body)
    if type(name) ~= "string" or type(body) ~= "function" then
      error("test(name, function) expected", 2)
    end
    tests[#tests + 1] = { name = name, body = function()
      body()
      check_dead_letters()
    end }
  end,
})
