---@meta tidemill.url
--- Parts of URLs. tidemill.http and tidemill.aws have the same functions.
local url = {}

local function kind(value)
  local metatable = getmetatable(value)
  return type(metatable) == "string" and metatable or type(value) -- the library's own types show their names
end

local function escape(text)
  return (text:gsub("[^%w%-._~]", function(letter)
    return ("%%%02X"):format(letter:byte())
  end))
end

-- Texts, numbers (decimals, too), booleans: what has one way to be written.
local function text_of(value, what, level)
  if type(value) == "table" or type(value) == "function" or value == nil or type(value) == "thread"
    or (type(value) == "userdata" and kind(value) ~= "decimal") then
    error(what .. ": a text, a number or a boolean expected, got " .. kind(value), level + 1)
  end
  return tostring(value)
end

--- A text as a part of a path or a query: all but letters, digits and "-._~" is percent-encoded.
---@param text string|number|boolean
---@return string
function url.escape(text)
  return escape(text_of(text, "escape", 2))
end

--- "a=1&b=x%20y", by name; a list as a value gives the name as often. What is left out where a value is nil.
---@param values table<string, string|number|boolean|(string|number|boolean)[]>
---@return string
function url.query(values)
  if type(values) ~= "table" then
    error("query: a table of names and values expected, got " .. kind(values), 2)
  end
  local names, list = {}, {}
  for name in pairs(values) do
    if type(name) ~= "string" then
      error("query: names are texts, got " .. kind(name), 2)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = values[name]
    if type(value) == "table" and getmetatable(value) == nil then
      for key in pairs(value) do
        if math.type(key) ~= "integer" or key < 1 or key > #value then
          error("query: " .. name .. ": a list expected, without holes", 2)
        end
      end
    end
    for _, one in ipairs(type(value) == "table" and getmetatable(value) == nil and value or { value }) do
      list[#list + 1] = escape(name) .. "=" .. escape(text_of(one, "query: " .. name, 2))
    end
  end
  return table.concat(list, "&")
end

return url
