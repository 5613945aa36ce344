---@meta tidemill.template
--- Texts with places to fill in, for mails and pages, in Mustache's way: {{name}} is a value with HTML's characters
--- escaped, {{{name}}} the same as it is, {{a.b}} a member, {{.}} the element itself; {{#list}} ... {{/list}} stands for each
--- element (or once where the value is no list and neither nil nor false), {{^list}} ... {{/list}} where there is none;
--- {{! a remark }}. A value that is missing, or NULL, raises: write {{#name}}{{name}}{{/name}} where it may be.
local raw = ...
local null = require "tidemill.json".null

local template = {}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- With HTML's characters written so that they are text: & < > " '.
---@param text any
---@return string
function template.escape(text)
  return (tostring(text):gsub("[&<>\"']", ESCAPES))
end

local function line_of(text, position)
  return select(2, text:sub(1, position):gsub("\n", "")) + 1
end

-- A tag that is alone on its line takes the line with it.
local function alone(text, first, last)
  local begin = first
  while begin > 1 and text:find("^[ \t]", begin - 1) do
    begin = begin - 1
  end
  local after = text:match("^[ \t]*\r?\n()", last + 1) or (text:find("^[ \t]*$", last + 1) and #text + 1)
  if after and (begin == 1 or text:byte(begin - 1) == 10) then
    return begin, after - 1
  end
  return first, last
end

local function parse(text, name)
  local nodes, open, at = {}, {}, 1
  local function fail(position, what)
    error(("template %s:%d: %s"):format(name, line_of(text, position), what), 0)
  end
  while true do
    local first, last, mark, tag = text:find("{{([#/^!&{]?)(.-)}}", at)
    if not first then
      break
    end
    local stands = first
    if mark == "{" then
      if text:sub(last + 1, last + 1) ~= "}" then
        fail(first, "{{{ without }}}")
      end
      last = last + 1
    end
    if mark == "#" or mark == "/" or mark == "^" or mark == "!" then
      first, last = alone(text, first, last)
      first = math.max(first, at)
    end
    nodes[#nodes + 1] = text:sub(at, first - 1)
    local path = tag:match("^%s*(.-)%s*$")
    if mark ~= "!" and path ~= "." and not path:find("^[%w_-]+[%w_.-]*$") then
      fail(stands, "\"" .. path .. "\" is no name")
    end
    if mark == "#" or mark == "^" then
      open[#open + 1] = { mark = mark, path = path, outer = nodes, at = stands }
      nodes = {}
    elseif mark == "/" then
      local section = table.remove(open)
      if not section or section.path ~= path then
        fail(stands, "{{/" .. path .. "}} ends nothing" .. (section and " ({{" .. section.mark .. section.path .. "}} is open)" or ""))
      end
      section.nodes, nodes = nodes, section.outer
      nodes[#nodes + 1] = section
    elseif mark ~= "!" then
      nodes[#nodes + 1] = { path = path, raw = mark == "{" or mark == "&", at = stands }
    end
    at = last + 1
  end
  if #open > 0 then
    fail(open[#open].at, "{{" .. open[#open].mark .. open[#open].path .. "}} has no end")
  end
  nodes[#nodes + 1] = text:sub(at)
  return nodes
end

-- From the innermost element outwards; what stands behind a dot is looked for in what was found.
local function find(stack, path)
  if path == "." then
    return stack[#stack]
  end
  local value, is_first
  for part in path:gmatch("[^.]+") do
    if not is_first then
      is_first = true
      for i = #stack, 1, -1 do
        if type(stack[i]) == "table" then
          value = stack[i][part]
        end
        if value ~= nil then
          break
        end
      end
    elseif type(value) == "table" then
      value = value[part]
    else
      return nil
    end
  end
  return value
end

local function look_up(stack, path)
  local value = find(stack, path)
  if value == null then
    return nil
  end
  return value
end

-- Has it a text of its own, as decimals and errors have?
local function is_text(value)
  if type(value) ~= "table" then
    return type(value) ~= "function" and type(value) ~= "thread"
  end
  local metatable = getmetatable(value)
  return type(metatable) == "table" and rawget(metatable, "__tostring") ~= nil
end

local function is_list(value)
  return type(value) == "table" and (value[1] ~= nil or next(value) == nil)
end

local function render(nodes, stack, out, text, name)
  for _, node in ipairs(nodes) do
    if type(node) == "string" then
      out[#out + 1] = node
    elseif node.mark then
      local value = look_up(stack, node.path)
      local absent = value == nil or value == false or (is_list(value) and value[1] == nil)
      if node.mark == "^" and absent then
        render(node.nodes, stack, out, text, name)
      elseif node.mark == "#" and not absent then
        for _, element in ipairs(is_list(value) and value or { value }) do
          stack[#stack + 1] = element
          render(node.nodes, stack, out, text, name)
          stack[#stack] = nil
        end
      end
    else
      local value = look_up(stack, node.path)
      if value == nil or not is_text(value) then
        error(("template %s:%d: %s is %s"):format(name, line_of(text, node.at), node.path,
          value == nil and "missing" or "a " .. type(value)), 0)
      end
      out[#out + 1] = node.raw and tostring(value) or template.escape(value)
    end
  end
end

local function compile(text, name)
  local nodes = parse(text, name)
  return function(values)
    if type(values) ~= "table" then
      error("template " .. name .. ": a table of values expected, got " .. type(values), 2)
    end
    local out = {}
    render(nodes, { values }, out, text, name)
    return table.concat(out)
  end
end

--- A template as a function: `template.compile("Hello {{name}}")({ name = "Ada" })`.
---@param text string
---@return fun(values: table): string
function template.compile(text)
  if type(text) ~= "string" then
    error("template.compile: a text expected, got " .. type(text), 2)
  end
  return compile(text, "text")
end

--- Likewise, out of a file below scripts/templates: `local welcome = template.load "welcome.html"`, while the script loads.
--- The handler is loaded anew when the file changes.
---@param name string "welcome.html", "mails/welcome.html"
---@return fun(values: table): string
function template.load(name)
  return compile(raw.read(name), name)
end

return template
