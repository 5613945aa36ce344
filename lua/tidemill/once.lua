---@meta tidemill.once
--- `once(key, fn, options)`: run `fn` to completion once per key, and return its stored result afterwards.
---
--- The key is the handler's own. While `fn` runs the key is in progress: a second caller raises and is retried
--- later. When `fn` raises, or the process dies and `in_progress` has passed, the next caller runs it again. So the
--- outside world sees the effect at least once, and one completion is recorded.
---
--- Options: `ttl`, how long the result is remembered, in seconds (7 days); `in_progress`, how long a runner that was
--- never heard of again holds the key (60 s: longer than `fn` can take); `store`, a DynamoDB table whose partition
--- key is a string named `id`, instead of the state store: then it holds across hosts.
local raw = ...
local json = require "tidemill.json"

local TTL_S, IN_PROGRESS_S = 7 * 24 * 3600, 60

--- The same three verbs on a DynamoDB table, by conditional writes.
local function in_table(name)
  local dynamodb = require "tidemill.dynamodb"
  local verbs = {}

  function verbs.claim(key, seconds)
    local now = raw.now()
    local won = dynamodb.put(name, { id = key, state = "in progress", expires = now + math.ceil(seconds) }, {
      condition = "attribute_not_exists(id) OR #expires <= :now",
      names = { ["#expires"] = "expires" },
      values = { [":now"] = now },
    })
    if won then
      return "won"
    end
    local marker = dynamodb.get(name, { id = key }, { consistent = true })
    if marker and marker.state == "done" then
      return "done", marker.result
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

---@param key string
---@param fn fun(): any  its result must be something JSON can hold, or nil
---@param options? {ttl?: number, in_progress?: number, store?: string}
---@return any result
local function once(key, fn, options)
  if type(key) ~= "string" or key == "" then
    error("once: a key expected, got " .. (key == "" and "an empty string" or type(key)), 2)
  end
  options = options or {}
  local verbs = options.store and in_table(options.store) or raw
  local state, stored = verbs.claim(key, options.in_progress or IN_PROGRESS_S)
  if state == "busy" then
    error("once: " .. key .. " is in progress elsewhere; try again", 2)
  end
  if state == "done" then
    return json.decode(stored)[1]
  end
  local ok, result = pcall(fn)
  if not ok then
    verbs.forget(key)
    error(result, 0)
  end
  verbs.finish(key, json.encode { result }, options.ttl or TTL_S)
  return result
end

return once
