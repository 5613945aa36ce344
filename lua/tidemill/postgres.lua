---@meta tidemill.postgres
--- PostgreSQL: `postgres.query("UPDATE stock SET left = left - $1 WHERE id = $2", n, id)`. The server is `postgres_url` in
--- the handler's section: postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE (percent-encoded; a socket's directory as
--- %2Fvar%2Frun%2Fpostgresql); `postgres_timeout` (5s) bounds a call. To another machine it is TLS, verified by the name; `?sslmode=disable` says otherwise.
--- `postgres.at(url)` is the same for another one. A few connections are kept for each thread of the host, and shared.
---
--- Values go as parameters alone: $1, $2. nil and null are NULL, dynamodb.binary is bytea, a table is JSON (a text goes as
--- it stands: json.encode(text) where json is wanted), `postgres.array(list)` an array, time.iso8601(seconds) a timestamptz.
--- Of what comes, integers and floats are numbers (numeric to the last digit), booleans booleans, json and jsonb their
--- values, bytea its bytes, arrays of such types lists (of others: cast them to text[]), a timestamptz a text for time.parse; all else is a text, and NULL is not there.
---
--- An error raises; `err.code` is its SQLSTATE ("23505"), "NetworkError", "Timeout", "TooLarge" or "Refused" (the
--- transaction is over), `err.detail`, `err.constraint` and the like what the server says beside it. What the record
--- itself has wrong (class 22, a NOT NULL, a CHECK) is permanent. What was sent, and not answered, may have been done:
--- a repeated record does it once more, unless it is the same then (ON CONFLICT), or in `postgres.once`. A server that is
--- away fails attempts, as any error does: `retries = -1` in the handler's section waits for it, however long.
local raw = ...
local check_options = require "tidemill.options"
local config = require "tidemill.config"
local json = require "tidemill.json"

local TIMEOUT_S, TTL_S = 5, 7 * 86400
local PURGE_EACH = 1000 -- calls of once, of one thread's

local MARK = "INSERT INTO tidemill_once VALUES ($1, $2, now() + make_interval(secs => $3))"
local MARKERS = {
  [[CREATE TABLE IF NOT EXISTS tidemill_once (scope text NOT NULL, key text NOT NULL, expires timestamptz NOT NULL, PRIMARY KEY (scope, key))]],
  [[CREATE INDEX IF NOT EXISTS tidemill_once_expires ON tidemill_once (expires)]],
}
local PURGE = "DELETE FROM tidemill_once WHERE expires < now()"

local ISOLATIONS = { ["read committed"] = true, ["repeatable read"] = true, serializable = true }

local PostgresError = { __name = "postgres error" }
PostgresError.__index = PostgresError

function PostgresError:__tostring()
  return self.message
end

local function fail(problem, level)
  problem.message = "postgres: " .. tostring(problem.message)
  error(setmetatable(problem, PostgresError), level + 1)
end

-- ---- values ----

-- `{1,NULL,"a b",{...}}`: the list that begins behind the brace at `at`, and what is behind it.
local function read_array(text, at, convert)
  local list, n = json.decode("[]"), 0
  local first = text:match("^{()", at)
  if not first then
    return text, at
  end
  at = first
  while at <= #text do
    local c = text:sub(at, at)
    if c == "}" then
      return list, at + 1
    elseif c == "," then
      at = at + 1
    else
      local value
      if c == "{" then
        value, at = read_array(text, at, convert)
      elseif c == '"' then
        local parts = {}
        at = at + 1
        while true do
          local plain, stop, after = text:match('^([^"\\]*)(.)()', at)
          parts[#parts + 1], at = plain, after
          if stop ~= "\\" then
            break
          end
          parts[#parts + 1], at = text:sub(at, at), at + 1
        end
        value = convert(table.concat(parts))
      else
        local word, after = text:match("^([^,}]*)()", at)
        at = after
        if word == "NULL" then
          value = json.null
        else
          value = convert(word)
        end
      end
      n = n + 1
      list[n] = value
    end
  end
  return list, at
end

local function text_of(text)
  return text
end

local function number_of(text)
  local float = ({ NaN = 0 / 0, Infinity = math.huge, ["-Infinity"] = -math.huge })[text]
  return float or raw.number(text)
end

local function bytes_of(text)
  return (text:gsub("^\\x", ""):gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function boolean_of(text)
  return text == "t"
end

-- "2026-01-31 12:00:00.5+00" is "2026-01-31T12:00:00.5Z", as time.parse reads it.
local function moment_of(text)
  local day, clock, offset = text:match("^(%d+-%d+-%d+) ([%d:.]+)([+-][%d:]+)$")
  if not day then
    return text -- infinity, or before Christ
  end
  return day .. "T" .. clock .. (offset == "+00" and "Z" or #offset == 3 and offset .. ":00" or offset)
end

-- Types by their numbers, and arrays of them: https://www.postgresql.org/docs/15/catalog-pg-type.html
local TYPES = {
  [16] = boolean_of, [17] = bytes_of, [20] = number_of, [21] = number_of, [23] = number_of, [26] = number_of,
  [114] = json.decode, [700] = number_of, [701] = number_of, [1700] = number_of, [3802] = json.decode,
  [1184] = moment_of,
}
local ARRAYS = {
  [1000] = boolean_of, [1001] = bytes_of, [1005] = number_of, [1007] = number_of, [1016] = number_of, [1021] = number_of,
  [1022] = number_of, [1028] = number_of, [1231] = number_of, [199] = json.decode, [3807] = json.decode,
  [1003] = text_of, [1009] = text_of, [1014] = text_of, [1015] = text_of, [1182] = text_of, [1115] = text_of, [1183] = text_of,
  [1185] = moment_of, [1187] = text_of, [2951] = text_of, [1041] = text_of,
}

local function converter_of(kind)
  local of_item = ARRAYS[kind]
  if of_item then
    return function(text)
      return (read_array((text:gsub("^%[[^=]*=", "")), 1, of_item)) -- "[0:2]={...}": bounds
    end
  end
  return TYPES[kind] or text_of
end

-- A reply as a list of rows by their columns' names, and the count.
local function rows_of(reply)
  local rows = {}
  if type(reply) ~= "table" then
    return rows, 0 -- a dry run
  end
  local names, kinds, converters = reply[3], reply[4], {}
  for i = 1, #names do
    converters[i] = converter_of(kinds[i])
  end
  for at = 5, #reply do
    local values, row = reply[at], {}
    for i = 1, #names do
      local value = values[i]
      if value then
        row[names[i]] = converters[i](value)
      end
    end
    rows[at - 4] = row
  end
  return rows, reply[1]
end

--- A list (or a set) as one parameter, an array: `WHERE id = ANY($1)`. Lists in it are further dimensions, other tables
--- JSON; NULL is json.null.
---@param list any[]
---@return string
local function array(list)
  if type(list) ~= "table" then
    error("postgres.array: a list expected, got " .. type(list), 2)
  elseif #list == 0 and next(list) ~= nil then
    error("postgres.array: a list expected, got a table with names", 2)
  end
  local parts = {}
  for i = 1, #list do
    local item = list[i]
    if item == nil then
      error(("postgres.array: element %d is nil: NULL is json.null"):format(i), 2)
    elseif item == json.null then
      parts[i] = "NULL"
    elseif type(item) == "table" and (#item > 0 or json.encode(item) == "[]") then
      parts[i] = array(item)
    else
      local text = raw.text(item)
      parts[i] = '"' .. text:gsub('[\\"]', "\\%0") .. '"'
    end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- ---- calls ----

---@class tidemill.Postgres
local Postgres = {}
Postgres.__index = Postgres

local function url_of(self, level)
  local url = rawget(self, "url") or config.postgres_url
  if type(url) ~= "string" then
    error("postgres: set postgres_url in the handler's section, such as postgres://user@127.0.0.1/shop", level + 1)
  end
  return url
end

local function timeout_of(self, level)
  local said = rawget(self, "timeout") or config.postgres_timeout
  local seconds = said == nil and TIMEOUT_S or raw.seconds(said)
  if not seconds then
    error("postgres: postgres_timeout: a time expected, such as 5s, got " .. tostring(said), level + 1)
  end
  return seconds
end

local NOT_SENT = { BEGIN = true, START = true, COMMIT = true, ["END"] = true, ROLLBACK = true, ABORT = true }

local function check_sql(what, sql, level)
  if type(sql) ~= "string" then
    error(("%s: SQL expected, a string, got %s"):format(what, type(sql)), level + 1)
  end
  local plain, comments = sql, 1
  while comments > 0 do
    plain, comments = plain:gsub("^%s*%-%-[^\n]*\n", "")
    if comments == 0 then
      plain, comments = plain:gsub("^%s*/%*.-%*/", "")
    end
  end
  local first, second = plain:match("^%s*(%a+)%s*(%a*)")
  if first and NOT_SENT[first:upper()] and second:upper() ~= "TO" then
    error(("%s: %s: postgres.transaction begins transactions, and ends them"):format(what, first:upper()), level + 1)
  end
end

-- Never permanent but where another attempt would be the same: the record's own values are wrong.
local function is_permanent(code)
  return code:sub(1, 2) == "22" or code == "23502" or code == "23514"
end

-- What the server's words do not say.
local function advice_of(problem)
  local message = problem.message
  local had, wanted = message:match("supplies (%d+) parameters.* requires (%d+)$")
  if had and tonumber(had) < tonumber(wanted) then
    return "a nil at the end of a list is not in it: put json.null there"
  elseif message:find("malformed array literal", 1, true) then
    return "postgres.array(list) makes an array"
  elseif message:find("^invalid input syntax for type json") then
    return "a text goes as it stands: json.encode makes JSON of it"
  end
end

-- Where in the SQL; positions count characters. nil: at the end of all, where constraints are looked at that were deferred.
local function place_of(sql, position)
  if not sql then
    return "at the end"
  end
  local at = position and utf8.offset(sql, tonumber(position))
  local line = at and select(2, sql:sub(1, at - 1):gsub("\n", "")) + 1
  local short = sql:gsub("%s+", " "):gsub("^ ", "")
  short = #short > 120 and short:sub(1, utf8.offset(short, 0, 117) - 1) .. "..." or short
  return (line and line > 1 and "line %d of " or "in "):format(line) .. short
end

local function problem_of(reply, at, count, sql)
  local problem = {}
  for i = 2, #reply, 2 do
    problem[reply[i]] = reply[i + 1]
  end
  problem.code = problem.code or "Unknown"
  problem.permanent = is_permanent(problem.code)
  problem.statement = at
  local parts = { ("%s (%s)"):format(problem.message, problem.code) }
  parts[#parts + 1] = problem.detail
  parts[#parts + 1] = problem.hint or advice_of(problem)
  parts[#parts + 1] = place_of(sql, problem.position)
  problem.message = (count > 1 and at <= count and ("statement %d: "):format(at) or "") .. table.concat(parts, "; ")
  return problem
end

-- What was answered; or nil and what is wrong. `own` statements come first that the caller does not know of.
local function ask(self, what, number, statements, own, level)
  local timeout = timeout_of(self, level + 1)
  local replies, problem = raw.send(url_of(self, level + 1), what, number, statements, timeout, own)
  if not replies and problem.code == "Timeout" then
    problem.message = ("%s: %g s (%s)"):format(problem.message, timeout, rawget(self, "timeout") and "timeout of postgres.at" or "postgres_timeout")
  end
  if not replies then
    return nil, problem
  end
  local at, count = -own, #statements - own - (statements[#statements][1] == "COMMIT" and own > 0 and 1 or 0)
  for _, reply in ipairs(replies) do
    at = at + (type(reply) == "table" and 1 or 0) -- else it is a transaction's number
    if type(reply) == "table" and reply[1] == "error" then
      local statement = statements[at + own]
      return nil, problem_of(reply, at, count, statement and statement[1])
    end
  end
  return replies
end

local function check_list(what, list, level)
  if type(list) ~= "table" or #list == 0 then
    error(what .. ": a list of statements expected, such as { { \"DELETE FROM users WHERE id = $1\", id } }, or a function",
      level + 1)
  end
  for i = 1, #list do
    if type(list[i]) ~= "table" then
      error(("%s: statement %d: a list expected, got %s"):format(what, i, type(list[i])), level + 1)
    end
    check_sql(("%s: statement %d"):format(what, i), list[i][1], level + 1)
  end
end

local function results_of(replies, skip, count)
  local results = {}
  for i = 1, count do
    local rows, changed = rows_of(replies[i + skip])
    rows.count = changed
    results[i] = rows
  end
  return results
end

-- The transaction that a function of the handler's is in: what it does not end is rolled back, however it ends.
local function begin(self, statements, own, level)
  local replies, problem = ask(self, "begin", "0", statements, own, level + 1)
  if not replies then
    return nil, problem
  end
  local url, number = url_of(self, level + 1), tostring(replies[1] or "0")
  return setmetatable({ number = number }, {
    __close = function(open)
      if open.number then
        raw.release(url, number)
      end
    end,
  })
end

-- The rows of one statement and their count; `open`: of a transaction, or nil. Who is blamed is the caller of whoever
-- calls this, and that is no tail call, since levels are counted.
local function query(self, what, open, sql, ...)
  check_sql(what, sql, 3)
  if open and not open.number then
    error(what .. ": the transaction is over", 3)
  end
  local replies, problem = ask(self, open and "in" or "once", open and open.number or "0", { table.pack(sql, ...) }, 0, 3)
  if not replies then
    fail(problem, 3)
  end
  return rows_of(replies[1])
end

local function run(self, open, fn)
  local transaction = {
    query = function(sql, ...)
      local rows, count = query(self, "query", open, sql, ...)
      return rows, count
    end,
    row = function(sql, ...)
      local rows = query(self, "query", open, sql, ...)
      return rows[1]
    end,
  }
  local results = table.pack(fn(transaction))
  local replies, problem = ask(self, "end", open.number, { { "COMMIT" } }, 0, 3)
  open.number = nil
  if not replies then
    fail(problem, 3)
  end
  if type(replies[1]) == "table" and replies[1][2] == "ROLLBACK" then
    fail({ code = "25P02", message = "the transaction was rolled back, since a statement in it had failed (25P02)" }, 3)
  end
  return results
end

-- The statements between those that begin the transaction and the one that ends it.
local function enclose(head, work)
  local all = table.move(work, 1, #work, #head + 1, head)
  all[#all + 1] = { "COMMIT" }
  return all
end

local function begin_sql(options)
  local isolation = options.isolation
  return "BEGIN" .. (isolation and " ISOLATION LEVEL " .. isolation:upper() or "") .. (options.read_only and " READ ONLY" or "")
end

local Operations = {}

--- One statement; its rows (a list of tables by their columns' names), and how many it returned or changed.
---@param sql string
---@param ... any
---@return table[] rows
---@return integer count
function Operations.query(self, sql, ...)
  local rows, count = query(self, "postgres.query", nil, sql, ...)
  return rows, count
end

--- The first row of one statement, or nil.
---@param sql string
---@param ... any
---@return table?
function Operations.row(self, sql, ...)
  local rows = query(self, "postgres.row", nil, sql, ...)
  return rows[1]
end

--- All of it is done, or nothing. Statements in a list leave together, and each one's rows come back (with their
--- `count`). A function gets the transaction, `tx.query(sql, ...)` and `tx.row(sql, ...)`, one call after the other; it is
--- committed when the function returns, whose results come back, and rolled back when it raises or its time is over.
---@param work any[][]|fun(tx: {query: function, row: function}): ...
---@param options? {isolation?: "read committed"|"repeatable read"|"serializable", read_only?: boolean}
---@return any ...
function Operations.transaction(self, work, options)
  options = check_options("postgres.transaction", options, { isolation = true, read_only = true }, 2)
  local isolation = options.isolation
  if isolation ~= nil and not (type(isolation) == "string" and ISOLATIONS[isolation:lower()]) then
    error("postgres.transaction: isolation: \"read committed\", \"repeatable read\" or \"serializable\" expected", 2)
  end
  if type(work) == "function" then
    local open <close>, problem = begin(self, { { begin_sql(options) } }, 0, 2)
    if not open then
      fail(problem, 2)
    end
    local results = run(self, open, work)
    return table.unpack(results, 1, results.n)
  end
  check_list("postgres.transaction", work, 2)
  local replies, problem = ask(self, "once", "0", enclose({ { begin_sql(options) } }, work), 1, 2)
  if not replies then
    fail(problem, 2)
  end
  return results_of(replies, 1, #work)
end

-- Two hosts that make it at once: one of them is told that it is there.
local MADE_MEANWHILE = { ["23505"] = true, ["42P07"] = true, ["42710"] = true }

local function make_markers(self, level)
  for _, sql in ipairs(MARKERS) do
    local replies, problem = ask(self, "once", "0", { { sql } }, 0, level + 1)
    if not replies and not MADE_MEANWHILE[problem.code] then
      problem.message = ("%s; make it by hand, once: %s"):format(tostring(problem.message), table.concat(MARKERS, "; "))
      fail(problem, level + 1)
    end
  end
end

-- Of the marker: it is statement 0, as the caller counts.
local function was_done(problem)
  return problem.code == "23505" and problem.statement == 0
end

local calls_of_once = 0

local function once(self, key, work, ttl, level)
  local mark = { MARK, raw.scope(), key, ttl }
  if type(work) == "function" then
    local open <close>, problem = begin(self, { { "BEGIN" }, mark }, 2, level + 1)
    if not open then
      return nil, problem
    end
    return { run(self, open, work) }
  end
  local replies, problem = ask(self, "once", "0", enclose({ { "BEGIN" }, mark }, work), 2, level + 1)
  if not replies then
    return nil, problem
  end
  return { { results_of(replies, 2, #work), n = 1 } }
end

--- As `transaction`, and once for each key, however often that is asked for (mostly `record.id`): a marker in the
--- table `tidemill_once` (made where it is not there) is part of the transaction.
---@param key string
---@param work any[][]|fun(tx: {query: function, row: function}): ...
---@param options? {ttl?: number|string} how long the marker is kept, in seconds or as "7d": a week
---@return boolean done false: it was done before
---@return any ... what transaction returns
function Operations.once(self, key, work, options)
  if type(key) ~= "string" or key == "" then
    error("postgres.once: a key expected, such as record.id, got " .. (key == "" and "an empty text" or type(key)), 2)
  end
  options = check_options("postgres.once", options, { ttl = true }, 2)
  local ttl = options.ttl == nil and TTL_S or raw.seconds(options.ttl)
  if not ttl then
    error("postgres.once: ttl: seconds above 0, or a text such as \"7d\", expected", 2)
  end
  if type(work) ~= "function" then
    check_list("postgres.once", work, 2)
  end
  local done, problem = once(self, key, work, ttl, 2)
  if not done and problem.code == "42P01" and problem.statement == 0 then
    make_markers(self, 2)
    done, problem = once(self, key, work, ttl, 2)
  end
  if not done and was_done(problem) then
    return false
  elseif not done then
    fail(problem, 2)
  end
  calls_of_once = calls_of_once + 1
  if calls_of_once % PURGE_EACH == 0 then
    ask(self, "once", "0", { { PURGE } }, 0, 2) -- the next one, where it fails
  end
  return true, table.unpack(done[1], 1, done[1].n)
end

--- The same functions for another server: `local books = postgres.at(url)`, `books.query("SELECT 1")`.
---@param url string
---@param options? {timeout?: number|string} of a call, 5 s
---@return tidemill.Postgres
local function at(url, options)
  options = check_options("postgres.at", options, { timeout = true }, 2)
  if type(url) ~= "string" then
    error("postgres.at: a URL expected, such as postgres://user@127.0.0.1/shop, got " .. type(url), 2)
  end
  if options.timeout ~= nil and not raw.seconds(options.timeout) then
    error("postgres.at: timeout: seconds above 0, or a text such as \"5s\", expected", 2)
  end
  raw.check(url)
  local server = setmetatable({ url = url, timeout = options.timeout }, Postgres)
  local bound = {}
  for name, operation in pairs(Operations) do
    bound[name] = function(...)
      return operation(server, ...)
    end
  end
  return bound
end

if type(config.postgres_url) == "string" then -- while the script loads: `check` tells
  raw.check(config.postgres_url)
end

local usual = setmetatable({}, Postgres)
local postgres = { at = at, array = array }

---@param sql string
---@param ... any
---@return table[] rows
---@return integer count
function postgres.query(sql, ...)
  return Operations.query(usual, sql, ...)
end

---@param sql string
---@param ... any
---@return table?
function postgres.row(sql, ...)
  return Operations.row(usual, sql, ...)
end

---@param work any[][]|fun(tx: {query: function, row: function}): ...
---@param options? {isolation?: string, read_only?: boolean}
---@return any ...
function postgres.transaction(work, options)
  return Operations.transaction(usual, work, options)
end

---@param key string
---@param work any[][]|fun(tx: {query: function, row: function}): ...
---@param options? {ttl?: number|string}
---@return boolean done
---@return any ...
function postgres.once(key, work, options)
  return Operations.once(usual, key, work, options)
end

return postgres
