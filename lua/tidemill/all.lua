---@meta tidemill.all
--- Several things at once inside one invocation: their waits overlap.
local raw = ...

local LIMIT, LIMIT_MAX = 8, 1000

-- What only has to wait (tidemill.once, a right that is missing) says less than an error beside it, which counts as an
-- attempt.
local function waits(problem)
  local metatable = type(problem) == "table" and getmetatable(problem)
  return type(metatable) == "table" and rawget(metatable, "__waits")
end

--- Calls `fn(element, index)` for each element of a list, at most `limit` (8) of them at once, and returns the list of
--- their results. Where some raise, all others run to their end first; then the error of the first that raised is raised.
--- They share the invocation's `timeout`, `cpu_limit` and memory, and end with it. What they emit goes out in the order
--- of the list.
---
--- `local answers = tidemill.all(urls, function(url) return http.get(url) end, { limit = 16 })`
---@generic T, R
---@param list T[]
---@param fn fun(element: T, index: integer): R
---@param options? {limit?: integer}
---@return R[]
local function all(list, fn, options)
  if type(list) ~= "table" then
    error("all: a list expected, got " .. type(list), 2)
  end
  if type(fn) ~= "function" then
    error("all: a function expected, got " .. type(fn), 2)
  end
  if options ~= nil and type(options) ~= "table" then
    error("all: options: a table expected, got " .. type(options), 2)
  end
  local limit = LIMIT
  for name, value in pairs(options or {}) do
    if name ~= "limit" then
      error("all: unknown option '" .. tostring(name) .. "' (there is limit)", 2)
    end
    if math.type(value) ~= "integer" or value < 1 or value > LIMIT_MAX then
      error("all: limit: a whole number from 1 to " .. LIMIT_MAX .. " expected", 2)
    end
    limit = value
  end
  local elements, count = {}, #list -- as they are now: fn may change the list
  if math.type(count) ~= "integer" or count < 0 then
    error("all: the list's length is no number", 2)
  end
  for i = 1, count do
    elements[i] = list[i]
  end
  local results, failed = {}, nil
  if count == 0 then
    return results
  end
  raw.run(function(i)
    local ok, result = pcall(fn, elements[i], i)
    if ok then
      results[i] = result
    elseif not failed or (waits(failed[1]) and not waits(result)) then
      failed = { result }
    end
  end, count, limit)
  if failed then
    error(failed[1], 0)
  end
  return results
end

return all
