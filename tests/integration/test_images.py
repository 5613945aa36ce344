"""Images and items are decoded attribute by attribute, when they are touched: to a script they are plain tables. Programs
made at random do the same to one and to a plain table, while its record is handled and long after."""
import subprocess

import pytest
from conftest import BINARY

HANDLER = r"""
local json, config, dynamodb = require "tidemill.json", require "tidemill.config", require "tidemill.dynamodb"

local function show(value)
  if type(value) ~= "table" then return math.type(value) and ("%.14g"):format(value) or tostring(value) end
  local out = {}
  for name, member in pairs(value) do out[#out + 1] = tostring(name) .. "=" .. show(member) end
  table.sort(out)
  return "{" .. table.concat(out, " ") .. "}"
end

local names = {}
for i = 1, 40 do names[i] = "a" .. i end
names[#names + 1], names[#names + 1], names[#names + 1] = "missing", "id", "seq"

-- Each is told a name and a value made at random, and gives what is to be the same.
local deeds = {
  function(t, name) return show(t[name]) end,
  function(t, name) return show(t[name]) end,
  function(t, name) return show(t[name]) end,
  function(t, name, value) t[name] = value end,
  function(t, name) t[name] = nil end,
  function(t) return show(t[1]), show(t[true]), show(t[1.5]) end,
  function(t, _, value) t[3] = value end,
  function(t) return show(t) end,
  function(t)
    local out = {}
    for name, value in next, t do out[#out + 1] = tostring(name) .. show(value) end
    table.sort(out)
    return table.concat(out, " ")
  end,
  function(t)
    local count = 0
    for name in pairs(t) do t[name], count = count % 2 == 0 and nil or 7, count + 1 end
    return count
  end,
  function(t) return #t, rawlen(t), next(t) == nil end,
  function(t, name) return show(rawget(t, name)) end,
  function(t, name, value) return rawset(t, name, value) == t end,
  function(t) local text = json.encode({ t = t, [3 .. ""] = t }) return show(json.decode(text)) end,
  function(t) return getmetatable(t), type(t), t == t, rawequal(t, t) end,
  function(t) return pcall(setmetatable, t, 7) end,
  function(t, _, value) table.insert(t, value) return #t, t[#t] end,
  function(t) return table.remove(t), #t end,
  function(t) return show({ table.unpack(t, 1, 3) }), select("#", table.unpack(t)) end,
  function(t) local count = 0 for _ in ipairs(t) do count = count + 1 end return count end,
  function(t) return show(table.move(t, 1, 2, 1, {})) end,
  function(t) local ok, text = pcall(function() t[nil] = 1 end) return ok, text:match("^%S+:%d+: ") ~= nil, text end,
  function(t) local ok, text = pcall(function() t[0 / 0] = 1 end) return ok, text:match("^%S+:%d+: ") ~= nil, text end,
  function(t) return table.concat(t, ","), select("#", table.unpack(t)) end,
  function(t) local count = 0 for _ in pairs({}), t do count = count + 1 end return count end,
  function(t) local step = pairs(t) return pcall(step, "no table"), (pcall(step, json.null)) end,
  function(t) return setmetatable({}, t).foo, (pcall(setmetatable, {}, t)) end,
  function(t, name) -- at any depth of the stack
    local function deep(n) if n == 0 then return show(t[name]), next(t) ~= nil end local a, b = deep(n - 1) return a, b end
    return deep(math.random(0, 180))
  end,
  function(t) local ok, text = pcall(json.encode, { f = print, t = t }) return ok, text end,
}

-- Members come in any order: which one an error is about is left out.
local function clean(value) return (tostring(value):gsub("^%S+:%d+: ", ""):gsub("json.encode: .*", "json.encode fails")) end

-- What nearly every call looks at comes with the image; others after a while.
local function usual(seed) return 1 + seed // 75 * 7 % (#names - 2) end
local function look_as_usual(seed, image, plain)
  for i = 0, 2 do
    local name = names[usual(seed) + i]
    assert(show(image[name]) == show(plain[name]), name)
  end
end

local function run(seed, t, length)
  math.randomseed(seed)
  local out, first = {}, seed % 2 == 0 and usual(seed % 1000000) or math.random(#names - 2)
  for i = 1, length do -- a few names, so that what is done to one meets what was done to it
    local which, name, value = math.random(#deeds), names[first + math.random(0, 2)], math.random(9)
    local ok, a, b, c, d = pcall(deeds[which], t, name, value)
    out[i] = ("%d(%s): %s %s %s %s %s"):format(which, name, tostring(ok), clean(a), clean(b), clean(c), clean(d))
  end
  return out
end

local function same(seed, what, image, plain, length)
  local mine, theirs = run(seed, image, length), run(seed, plain, length)
  for i = 1, #mine do
    if mine[i] ~= theirs[i] then
      error(("seed %d, %s, step %d of:\n%s\nimage: %s\nplain: %s"):format(seed, what, i, table.concat(mine, "\n", 1, i), mine[i], theirs[i]))
    end
  end
end

local function plain(item)
  local copy = {}
  for name, value in pairs(item) do copy[name] = value end
  return copy
end

local kept, programs = {}, 0
return { stream = "items", on_modify = function(record)
  local seed = record.new.seq
  local image, old = record.new, record.old
  local reference = plain(dynamodb.get("Items", { id = record.keys.id }))
  local reference_old = plain(reference)
  reference_old.seq = 0
  assert(record.new == image and record.old == old)
  if seed % 8 ~= 0 then
    look_as_usual(seed, image, reference)
    look_as_usual(seed, old, reference_old)
  end
  -- Once more, in another invocation, where the page is gone: what was touched before and what was not.
  local before = kept[seed % 7]
  if before then
    same(seed + 1000000, "kept", before[1], before[2], 3)
    same(seed + 2000000, "kept and touched", before[1], before[2], 12)
    assert(show(before[1]) == show(before[2]))
    same(seed + 5000000, "kept old", before[3], before[4], 8)
  end
  same(seed + 6000000, "old", old, reference_old, seed % 3)
  same(seed, "new", image, reference, seed % 4)
  if seed % 3 == 0 then
    local item = dynamodb.get("Items", { id = record.keys.id })
    local copy = plain(dynamodb.get("Items", { id = record.keys.id }))
    same(seed + 3000000, "item", item, copy, seed % 9)
    image, reference = item, copy
  elseif seed % 5 == 0 then
    same(seed + 4000000, "written", image, reference, 2)
    if not image[1] and not image[3] and image.seq then
      for name, value in pairs(image) do assert(value == reference[name] or show(value) == show(reference[name]), name) end
      dynamodb.put("Copies", dynamodb.get("Items", { id = record.keys.id }))
      assert(show(dynamodb.get("Copies", { id = record.keys.id })) == show(dynamodb.get("Items", { id = record.keys.id })))
    end
  end
  kept[seed % 7] = { image, reference, old, reference_old }
end }
"""

TEST = r"""
local test, dynamodb, json = require "tidemill.test", require "tidemill.dynamodb", require "tidemill.json"

test.deployment [[
[table Items]
key = id

[table Copies]
key = id
stream = none

[stream items]
table = Items

[handler images]
retries = 0
]]

test("programs at random", function()
  local values = { "text", 12, 1.5, true, json.null, dynamodb.decimal("1e100"), { x = 1, y = { z = "deep" } }, dynamodb.list { 1, "two" },
    dynamodb.set { 1, 2 }, dynamodb.binary("bytes") }
  for seed = FIRST, FIRST + 299 do
    math.randomseed(seed)
    local item = { id = "i" .. seed, seq = 0 }
    for i = 1, math.random(0, 40) do item["a" .. math.random(40)] = values[math.random(#values)] end
    dynamodb.put("Items", item)
    item.seq = seed
    dynamodb.put("Items", item)
    if seed % 37 == 0 then test.settle() end -- their page goes
  end
  test.settle()
end)
"""


ITEMS = r"""
local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment [[
[table Items]
key = id
[stream items]
table = Items
"""

# More of a page than anybody keeps room for, and others that are garbage by then.
KEEPS = """
local kept = {}
local function keep(record)
  local number = record.new.n
  if number % 3 == 1 then kept[#kept + 1] = { number, record.new, record.old } end
  if number % 3 == 2 then kept[#kept + 1] = { number, record.new } end
  if number % 25 == 0 then collectgarbage(number % 100 == 0 and "step" or "collect") end
end
local function look()
  for _, one in ipairs(kept) do
    local number, image, old = table.unpack(one)
    assert(image.n == number and image.text == "text " .. number and image.b == ("b"):rep(number % 90), number)
    if old then assert(old.n == -number and old.text == "before " .. number and old.missing == nil, number) end
    local names = 0
    for _ in pairs(image) do names = names + 1 end
    assert(names == 5, names)
  end
  return #kept
end
local function handle(record)
  if record.new.n > 0 then keep(record) else assert(look() == 1600) end
end
return { stream = "items", HANDLER }
"""
ONE_BY_ONE = "on_modify = handle"
AT_ONCE = """filter = { eventName = { "MODIFY" } }, batch_size = 500, on_batch = function(records)
  for _, record in ipairs(records) do handle(record) end
end"""

TEST_KEEPS = ITEMS + r"""poll_min = 1m
poll_max = 1m
[handler keeps]
retries = 0
]]
test("images that are kept longer than their page", function()
  for number = 1, 2400 do
    dynamodb.put("Items", { id = "i" .. number, n = -number, text = "before " .. number, a = 1, b = "" })
    dynamodb.put("Items", { id = "i" .. number, n = number, text = "text " .. number, a = 1, b = ("b"):rep(number % 90) })
    if number % 1200 == 0 then test.settle() end
  end
  for round = 1, 2 do
    dynamodb.put("Items", { id = "i1", n = 0, text = "look " .. round, a = 1, b = "" })
    test.settle()
  end
end)
"""


def large_items(handler, what, times, more=""):
    """The test of a handler that gets an item of 21 texts, 3,000 bytes each, so many times."""
    return ITEMS + f"""[handler {handler}]
retries = 0
]]
test("{what}", function()
  local item = {{ id = "1" }}
  for i = 1, 21 do item["a" .. i] = ("v"):rep(3000) .. i end
  for i = 1, {times} do
    if i > 1 then item.n = i end
    dynamodb.put("Items", item)
  end{more}
  test.settle()
end)
"""


SHORT_OF_MEMORY = """
local dynamodb = require "tidemill.dynamodb"
return { stream = "items", memory = "4MiB", on_record = function(record)
  local t, fill = record.new, {}
  pcall(function() for i = 1, 1e6 do fill[i] = ("x"):rep(8000) .. i end end)
  for _ = 1, FREED do fill[#fill] = nil end
  local went = pcall(next, t)
  local wrote = pcall(function() t.a1 = "changed" t.a2 = nil end)
  fill = nil
  collectgarbage()
  local count = 0
  for _ in pairs(t) do count = count + 1 end
  if wrote then assert(t.a1 == "changed" and t.a2 == nil and count == 21, tostring(went) .. count) end
  assert(t.id == "1" and t.a20 == ("v"):rep(3000) .. 20)
end }
"""

TEST_SHORT = large_items("short", "memory that ends while the rest is decoded", 1)

# What is usual comes with the image, which may not fit: it is there the next time.
SHORT_AT_ONCE = """
local count, failed = 0, 0
return { stream = "items", memory = "4MiB", on_record = function(record)
  count = count + 1
  if count > FIRST then
    local fill, look = nil, function() return record.new end
    pcall(function() for i = 1, 1e6 do fill = { fill, ("x"):rep(4000) .. i } end end)
    pcall(function() for i = 1, 1e6 do fill = { fill, i } end end)
    for _ = 1, FREED do fill = fill[1] end
    if not pcall(look) then failed = failed + 1 end
    fill = nil
    collectgarbage()
  end
  for i = 1, 5 do assert(record.new["a" .. i * 4] == ("v"):rep(3000) .. i * 4) end
  assert(count < 70 or failed > 0, "it has always fit")
end }
"""

TEST_SHORT_AT_ONCE = large_items("short", "memory that ends while what is usual is decoded", 70)

# The table of one that did not fit is garbage; another image may stand in its place while the call goes on.
IN_ITS_PLACE = """
local time = require "tidemill.time"
local count, kept = 0, {}
return { stream = "items", memory = "4MiB", concurrency = 64, on_record = function(record)
  count = count + 1
  if count < 61 then
    for i = 1, 5 do assert(record.new["a" .. i * 4]) end
    return
  elseif count > 61 then
    kept[record.new.n] = record.new
    return
  end
  local fill, last, look = table.pack(table.unpack({}, 1, 9000)), 0, function() return record.new end
  for _, size in ipairs { 4000, 300 } do
    pcall(function() for i = 1, 1e6 do fill[last + 1], last = ("x"):rep(size) .. i, last + 1 end end)
  end
  for i = 0, FREED do fill[last - i] = nil end
  assert(not pcall(look))
  fill = nil
  collectgarbage()
  for i = 1, TAKEN do local _ = {} end -- places of others
  time.sleep(20)
  local seen = 0
  for n, image in pairs(kept) do
    assert(image.id == "x" .. n, tostring(image.id) .. " in place of x" .. n)
    seen = seen + 1
  end
  assert(seen > 100)
end }
"""

TEST_IN_ITS_PLACE = large_items("place", "an image in the place of one that did not fit", 61, """
  for i = 62, 200 do dynamodb.put("Items", { id = "x" .. i, n = i, a = 1, b = 2, c = 3 }) end""")

# The first call ends with all of its memory in use, which is still so while what it stood on is taken away.
FULL = """
local chain, tried
return { stream = "items", memory = "4MiB", retries = 3, on_record = function(record)
  if tried then chain = nil return end
  tried = true
  assert(#record.new.a1 == 3001)
  while true do chain = { chain } end
end }
"""


def passes(directory, name, handler, test):
    """A handler's own test, in a directory of its own."""
    (directory / f"{name}.lua").write_text(handler)
    (directory / f"{name}_test.lua").write_text(test)
    done = subprocess.run([BINARY, "test", directory], capture_output=True, text=True, cwd=directory)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_what_was_set_while_memory_was_short_stays_set(tmp_path):
    for freed in range(0, 12):
        passes(tmp_path, "short", SHORT_OF_MEMORY.replace("FREED", str(freed)), TEST_SHORT)


def test_an_image_that_did_not_fit_is_there_the_next_time(tmp_path):
    for freed in (0, 5, 40, 80, 120): # some 100 bytes each; the image takes 15 kB
        for first in (59, 60): # of one in 31 nothing comes with it
            passes(tmp_path, "short", SHORT_AT_ONCE.replace("FREED", str(freed)).replace("FIRST", str(first)), TEST_SHORT_AT_ONCE)


def test_an_image_in_the_place_of_one_that_did_not_fit_is_itself(tmp_path):
    for taken in range(0, 16, 3):
        passes(tmp_path, "place", IN_ITS_PLACE.replace("FREED", "20").replace("TAKEN", str(taken)), TEST_IN_ITS_PLACE)


def test_a_call_that_ends_with_its_memory_is_tried_again(tmp_path):
    passes(tmp_path, "short", FULL, TEST_SHORT.replace("retries = 0\n", ""))


def test_they_are_plain_tables_to_a_script(tmp_path):
    for first in (1, 301, 601, 901):
        passes(tmp_path, "images", HANDLER, TEST.replace("FIRST", str(first)))


@pytest.mark.parametrize("handler", (ONE_BY_ONE, AT_ONCE), ids=("records", "batches"))
def test_they_outlive_their_page(tmp_path, handler):
    passes(tmp_path, "keeps", KEEPS.replace("HANDLER", handler), TEST_KEEPS)
