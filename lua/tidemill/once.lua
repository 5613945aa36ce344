---@meta tidemill.once
--- `once(key, fn, options)`: run `fn` to completion once per key, and return its stored result afterwards.
---
--- The key is the handler's own. A `once` within another one's function that has to wait fails that function: better
--- side by side. While `fn` runs the key is in progress: a second caller waits, which costs its record
--- no attempt. When `fn` raises, or whoever ran it is known to have ended (the process died, the host stopped the
--- invocation), the next caller runs it again. So the outside world sees the effect at least once, and one completion
--- is recorded. When `fn` has returned the key is done, also when its result cannot be kept (more than 350 KB, or
--- nothing that JSON can hold): that is told in the log, and later callers get nil.
---
--- Options: `ttl`, how long the result is remembered, in seconds or as a text such as "7d" (7 days); `in_progress`, how
--- long a runner that was never heard of again holds the key (60 s, and in the state store no less than the handler's
--- timeout); `store`, a DynamoDB table whose partition key is a string named `id`, instead of the state store: then it holds across hosts.
local raw = ...
local json = require "tidemill.json"
local log = require "tidemill.log"

local TTL_S, IN_PROGRESS_S, RESULT_BYTES_MAX = 7 * 24 * 3600, 60, 350 * 1024

--- The host goes by `__waits`: the record's call was no attempt, and comes again.
local Busy = { __name = "busy", __waits = true }

function Busy:__tostring()
  return self.message
end

local calls = 0

--- The same three verbs on a DynamoDB table, by conditional writes.
local function in_table(name)
  local dynamodb = require "tidemill.dynamodb"
  local verbs = {}
  calls = calls + 1
  local mine = raw.owner() .. "." -- so begins the name of all that this invocation claims
  local own = mine .. calls

  local function put(key, seconds, condition, values)
    values[":now"] = raw.now()
    return dynamodb.put(name, { id = key, state = "in progress", owner = own,
      expires = values[":now"] + math.ceil(seconds) }, {
      condition = condition,
      names = { ["#expires"] = "expires", ["#owner"] = values[":owner"] and "owner" or nil },
      values = values,
    })
  end

  function verbs.claim(key, seconds)
    if put(key, seconds, "attribute_not_exists(id) OR #expires <= :now", {}) then
      return "won"
    end
    local marker = dynamodb.get(name, { id = key }, { consistent = true })
    if marker and marker.state == "done" then
      return "done", marker.result
    end
    local owner = marker and marker.owner
    if owner and owner ~= own and owner:sub(1, #mine) == mine then
      return "own"
    end
    if owner and (owner == own or raw.over(owner)) -- an answer to our own claim was lost, or nobody has it
      and put(key, seconds, "#owner = :owner OR #expires <= :now", { [":owner"] = owner }) then
      return "won"
    end
    return "busy"
  end

  function verbs.finish(key, result, seconds)
    dynamodb.update(name, { id = key }, "SET #state = :done, #result = :result, #expires = :expires", {
      names = { ["#state"] = "state", ["#expires"] = "expires", ["#result"] = "result" },
      values = { [":done"] = "done", [":result"] = result, [":expires"] = raw.now() + math.ceil(seconds) },
    })
  end

  function verbs.forget(key)
    dynamodb.delete(name, { id = key })
  end

  return verbs
end

--- The result as it is kept; what cannot be is nil, and the log says so.
local function keep(key, result)
  local ok, text = pcall(json.encode, { result })
  if ok and #text <= RESULT_BYTES_MAX then
    return text
  end
  log.warn("once: the result of " .. key .. " cannot be kept, later calls get nil: "
    .. (ok and "it has " .. #text .. " bytes, " .. RESULT_BYTES_MAX .. " are allowed" or tostring(text)))
  return "[]"
end

local DEFAULTS = { ttl = TTL_S, in_progress = IN_PROGRESS_S }

--- Everything is looked at before `fn` runs: what fails afterwards would repeat its effect.
local function check(options)
  if type(options) ~= "table" then
    error("once: options are a table, got " .. type(options), 3)
  end
  for name in pairs(options) do
    if name ~= "store" and not DEFAULTS[name] then
      error("once: there is no option " .. tostring(name) .. "; there are ttl, in_progress and store", 3)
    end
  end
  local checked = { store = options.store }
  for name, usual in pairs(DEFAULTS) do
    local value = options[name]
    local seconds = value == nil and usual or raw.seconds(value)
    if not seconds then
      error(("once: %s is a number of seconds above 0 (at most a hundred years), or a text such as \"7d\"; got %s"):format(name, tostring(value)), 3)
    end
    checked[name] = seconds
  end
  if options.store ~= nil and (type(options.store) ~= "string" or options.store == "") then
    error("once: store is the name of a table, got " .. type(options.store), 3)
  end
  return checked
end

---@param key string  # at most 2048 bytes
---@param fn fun(): any  its result should be something JSON can hold, or nil
---@param options? {ttl?: number|string, in_progress?: number|string, store?: string}
---@return any result
local function once(key, fn, options)
  if type(key) ~= "string" or key == "" then
    error("once: a key expected, got " .. (key == "" and "an empty string" or type(key)), 2)
  end
  if key:find("\0", 1, true) then -- DynamoDB's keys may hold zero bytes, the state store's do not
    key = "hex:" .. key:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  end
  if type(fn) ~= "function" then
    error("once: a function expected, got " .. type(fn), 2)
  end
  options = check(options or {})
  local verbs = options.store and in_table(options.store) or raw
  local state, stored = verbs.claim(key, options.in_progress)
  if state == "busy" then
    error(setmetatable({ message = "once: " .. key .. " is in progress elsewhere; try again" }, Busy), 0)
  end
  if state == "own" then
    error("once: " .. key .. " is being run by this very call: a once within itself", 2)
  end
  if state == "done" then
    return json.decode(stored)[1]
  end
  local ok, result = pcall(fn)
  if not ok then
    pcall(verbs.forget, key) -- what fn raised matters more
    if getmetatable(result) == Busy then
      -- fn has begun and begins anew next time: that is an attempt, or its effects would be repeated without end
      error("once: " .. key .. ": within it, " .. result.message, 0)
    end
    error(result, 0)
  end
  verbs.finish(key, keep(key, result), options.ttl)
  return result
end

return once
