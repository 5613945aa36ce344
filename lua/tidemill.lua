---@meta tidemill
--- The global `tidemill`.
local tidemill = {}

local Permanent = { __name = "permanent error" }

function Permanent:__tostring()
  return self.message
end

--- An error that another attempt cannot mend: `error(tidemill.permanent("why"))` sends the record to
--- `on_failure` at once.
---@param message string
---@return table
function tidemill.permanent(message)
  return setmetatable({ permanent = true, message = tostring(message) }, Permanent)
end

--- Several things at once: `tidemill.all(list, function(element) ... end, { limit = 8 })`, see tidemill.all.
---@generic T, R
---@param list T[]
---@param fn fun(element: T, index: integer): R
---@param options? {limit?: integer}
---@return R[]
function tidemill.all(list, fn, options)
  return require "tidemill.all"(list, fn, options)
end

--- The list in lists of at most `size`, for calls that take so many: `for _, part in ipairs(tidemill.chunks(ids, 25))`.
---@generic T
---@param list T[]
---@param size integer
---@return T[][]
function tidemill.chunks(list, size)
  if type(list) ~= "table" then
    error("chunks: a list expected, got " .. type(list), 2)
  end
  if math.type(size) ~= "integer" or size < 1 then
    error("chunks: a size of at least 1 expected", 2)
  end
  local parts = {}
  for first = 1, #list, size do
    parts[#parts + 1] = table.move(list, first, math.min(first + size - 1, #list), 1, {})
  end
  return parts
end

return tidemill
