-- Pages of the reference, out of the annotations that editors read: one source. Run by `tidemill help NAME`.
-- Takes the sources (name -> text), the page's name, and "text" or "markdown"; returns the page, or nil, and the list of
-- all pages' names. A page is what describes one module (`---@meta tidemill.NAME`) or, of a file without that, its name.
local sources, wanted, form = ...

local WIDTH = 79
local markdown = form == "markdown"

-- ---- reading ----

-- Blocks of a file: the lines of a comment, without their "---", and the line of code behind them.
local function blocks_of(text)
  local blocks, lines = {}, {}
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    local comment = line:match("^%s*%-%-%-(.*)$")
    if comment then
      lines[#lines + 1] = comment
    elseif #lines > 0 then
      blocks[#blocks + 1] = { lines = lines, code = line }
      lines = {}
    end
  end
  if #lines > 0 then
    blocks[#blocks + 1] = { lines = lines, code = "" }
  end
  return blocks
end

-- "{ a: b } rest": where a type ends; it may have spaces within brackets, after commas, colons and bars.
local function split_type(text)
  local depth, at = 0, 1
  while at <= #text do
    local c = text:sub(at, at)
    if c:find("[%(%[{<]") then
      depth = depth + 1
    elseif c:find("[%)%]}>]") then
      depth = depth - 1
    elseif c == " " and depth <= 0 and not text:sub(1, at - 1):find("[,:|]%s*$") and not text:find("^%s*[|:]", at) then
      break
    end
    at = at + 1
  end
  return text:sub(1, at - 1), (text:sub(at + 1):gsub("^%s+", ""))
end

-- What a block says: a description, and its tags.
local function read_block(block)
  local said = { text = {}, params = {}, returns = {}, fields = {}, code = block.code }
  for _, line in ipairs(block.lines) do
    local tag, rest = line:match("^@(%w+)%s*(.*)$")
    if not tag then
      said.text[#said.text + 1] = (line:gsub("^ ", ""))
    elseif tag == "param" or tag == "field" then
      local name, more = rest:match("^(%[?[%w_%.]+%]?%??)%s+(.*)$")
      if name then
        local kind, about = split_type(more)
        local list = tag == "param" and said.params or said.fields
        list[#list + 1] = { name = name, kind = kind, about = about }
      end
    elseif tag == "return" then
      local kind, about = split_type(rest)
      said.returns[#said.returns + 1] = { kind = kind, about = about }
    elseif tag == "class" then
      said.class, said.parent = rest:match("^([%w_%.]+)%s*:?%s*([%w_%.]*)")
    elseif tag == "type" then
      said.type = rest
    elseif tag == "meta" then
      said.meta, said.page = true, rest:match("^tidemill%.?([%w_]*)")
    end
  end
  return said
end

local function has(said)
  return #said.text > 0 or #said.params > 0 or #said.returns > 0 or said.type ~= nil
end

-- A function of the module: its name as it is called, and its parameters; nil for what is nobody else's.
local function function_of(said, file)
  local owner, dot, name, parameters = said.code:match("^%s*function ([%w_]+)([%.:])([%w_]+)%(([^)]*)%)")
  if owner and (owner == file.variable or owner == "Operations") and not name:find("^__") then
    return file.called .. "." .. name, (parameters:gsub("^self,?%s*", ""))
  elseif owner and file.classes[owner] and not name:find("^__") then
    return file.classes[owner] .. dot .. name, parameters
  end
  name, parameters = said.code:match("^local function ([%w_]+)%(([^)]*)%)")
  if name and name == file.variable then
    return file.called, parameters
  elseif name and file.text:find("{[^}\n]*%f[%w_]" .. name .. " = " .. name .. "%f[^%w_]") then
    return file.called .. "." .. name, parameters
  end
end

-- A value of the module: `json.null = nil`, or a line of its table.
local function value_of(said, file)
  local owner, name = said.code:match("^([%w_]+)%.([%w_]+) = ")
  if not owner then
    name = said.code:match("^  ([%w_]+) = raw%.")
    owner = name and file.variable
  end
  if owner == file.variable and name then
    return file.called .. "." .. name
  end
end

local function read_file(name, text)
  local file = { text = text, classes = {}, entries = {}, variable = text:match("\nreturn ([%w_]+)%s*$") or text:match("\nreturn setmetatable%(([%w_]+)") }
  local of_class
  for i, block in ipairs(blocks_of(text)) do
    local said = read_block(block)
    if i == 1 and said.meta then
      file.page = said.page and said.page ~= "" and said.page or (said.page == "" and "tidemill") or name
      file.module = said.page ~= nil
      file.called = file.page
      file.intro = said.text
      file.internal = (said.text[1] or ""):find("^Of the library's own modules") ~= nil
    end
    local variable = block.code:match("^local ([%w_]+) = ")
    if said.class and variable then
      file.classes[variable] = said.class:match("[%w_]+$"):lower()
    end
    of_class = said.class
    local call, parameters = function_of(said, file)
    local value = not call and value_of(said, file)
    if of_class and #said.fields > 0 then
      file.entries[#file.entries + 1] = { title = said.class, said = said }
    end
    if call and has(said) then
      file.entries[#file.entries + 1] = { title = ("%s(%s)"):format(call, parameters), said = said, call = call }
    elseif value and has(said) then
      file.entries[#file.entries + 1] = { title = value, said = said, call = value }
    end
  end
  return file
end

-- Several files may describe one page. An entry that says less of the same thing is left out.
local function read_page()
  local page, names = nil, {}
  local sorted = {}
  for name in pairs(sources) do
    sorted[#sorted + 1] = name
  end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    local file = read_file(name:match("[%w_]+$"), sources[name])
    if file.page and not file.internal and not names[file.page] then
      names[file.page] = true
      names[#names + 1] = file.page
    end
    if file.page == wanted and not file.internal then
      page = page or { entries = {}, intro = {}, at = {} }
      page.module = page.module or file.module
      if #file.intro > 0 and (#page.intro == 0 or file.module) then
        page.intro = file.intro
      end
      for _, entry in ipairs(file.entries) do
        local there = entry.call and page.at[entry.call]
        if not there then
          page.entries[#page.entries + 1] = entry
          page.at[entry.call or entry] = #page.entries
        elseif #page.entries[there].said.text < #entry.said.text then
          page.entries[there] = entry
        end
      end
    end
  end
  table.sort(names)
  return page, names
end

-- ---- writing ----

local out = {}

local function put(line)
  out[#out + 1] = (line:gsub("%s+$", ""))
end

local function wrap(text, indent, first)
  local line = first or indent
  local empty = true
  for word in text:gmatch("%S+") do
    if not empty and utf8.len(line) + 1 + utf8.len(word) > WIDTH then
      put(line)
      line, empty = indent, true
    end
    line = line .. (empty and "" or " ") .. word
    empty = false
  end
  put(line)
end

-- Paragraphs are filled; what is indented stands as it is.
local function put_text(lines, indent)
  local paragraph = {}
  local function flush()
    if #paragraph > 0 and markdown then
      put(indent .. table.concat(paragraph, "\n" .. indent))
    elseif #paragraph > 0 then
      wrap(table.concat(paragraph, " "), indent)
    end
    paragraph = {}
  end
  for _, line in ipairs(lines) do
    if line == "" or line:find("^%s%s%s%s") or line:find("^#") then
      flush()
      put(line == "" and "" or line:find("^#") and not markdown and indent .. line:gsub("^#+ ", ""):upper()
        or line:find("^#") and "#" .. line or indent .. line)
    else
      paragraph[#paragraph + 1] = line
    end
  end
  flush()
end

local function put_list(list)
  local widest = 0
  for _, each in ipairs(list) do
    widest = math.max(widest, #each.name)
  end
  for _, each in ipairs(list) do
    local about = each.about:gsub("^#%s*", "")
    if markdown then
      put(("- `%s` (`%s`)%s"):format(each.name, each.kind, about ~= "" and ": " .. about or ""))
    else
      wrap(each.kind .. (about ~= "" and ": " .. about or ""), (" "):rep(6 + widest),
        ("    %-" .. widest .. "s  "):format(each.name))
    end
  end
end

local function put_returns(returns)
  for _, each in ipairs(returns) do
    local name, about = each.about:match("^([%a_]+)%s+(.+)$")
    if not name then
      name, about = each.about:match("^([%a_]*)$"), nil
    end
    local text = each.kind .. (each.about ~= "" and ": " .. (name and about and name .. ", " .. about or each.about) or "")
    if markdown then
      put("- returns `" .. each.kind .. "`" .. text:sub(#each.kind + 1))
    else
      wrap(text, "       ", "    -> ")
    end
  end
end

local function put_entry(entry)
  local said = entry.said
  put("")
  put((markdown and "## " or "") .. entry.title)
  if #said.text > 0 then
    if markdown then
      put("")
    end
    put_text(said.text, markdown and "" or "    ")
  end
  if said.type then
    put(markdown and "\n`" .. said.type .. "`" or "    " .. said.type)
  end
  if #said.params + #said.returns + #said.fields > 0 and (markdown or #said.text > 0) then
    put("")
  end
  put_list(said.params)
  put_list(said.fields)
  put_returns(said.returns)
end

local page, names = read_page()
if not page then
  return nil, names
end
put((markdown and "# " or "") .. (page.module and (wanted == "tidemill" and wanted or "tidemill." .. wanted) or wanted))
put("")
if page.module and wanted ~= "tidemill" then
  put((markdown and "`%s`" or "    %s"):format(('local %s = require "tidemill.%s"'):format(wanted, wanted)))
  put("")
end
put_text(page.intro, "")
for _, entry in ipairs(page.entries) do
  put_entry(entry)
end
return table.concat(out, "\n") .. "\n", names
