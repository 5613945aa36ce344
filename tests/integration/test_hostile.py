"""Scripts that mean harm, or are as bad as if they did: none ends the host, holds it, or takes more than its share.

Each runs in a process of its own (tidemill invoke --dry-run: every call is answered as a success without content), with
cpu_limit = 300ms, memory = 32MiB, timeout = 2s."""
import json
import os
import re
import subprocess
import sys

import pytest

from conftest import BINARY

pytestmark = pytest.mark.one_thread

SANITIZED = "asan" in str(BINARY) or "tsan" in str(BINARY)
PATIENCE_S = 120 if SANITIZED else 30  # one that hangs fails its test, and not the machine
RSS_MAX_KIB = 220 * 1024  # the process itself, its libraries, 32 MiB for Lua, and as much again for C

EVENT = {"Records": [{
    "eventID": str(number), "eventName": "MODIFY", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
    "dynamodb": {"Keys": {"id": {"S": "a"}}, "OldImage": {"id": {"S": "a"}, "n": {"N": "1"}}, "NewImage": {"id": {"S": "a"}, "n": {"N": "2"}},
                 "SequenceNumber": str(10 ** 20 + number), "SizeBytes": 59, "ApproximateCreationDateTime": 1700000000,
                 "StreamViewType": "NEW_AND_OLD_IMAGES"},
    "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/T/stream/2026-01-01T00:00:00.000"} for number in (1, 2)]}

# What takes more than its memory may use up its time before, on a slow machine: that it does not get the memory is measured.
# On a loaded machine its whole time may be over before its computing is.
TIME, REFUSED, FINE = "cpu_limit|longer than its timeout", ".", None
MEMORY = EITHER = "not enough memory|out of memory|memory|cpu_limit|longer than its timeout"
S = 'local s = ("x"):rep(8000000) '

# name, code of on_record (`record`, `shared`: a table that outlives records), what the error says (None: there is none)
SCRIPTS = [
    # one instruction that takes long, again and again
    ("utf8.len", S + "while true do local _ = utf8.len(s) end", TIME),
    ("utf8.codes", S + "while true do for _ in utf8.codes(s) do break end local _ = utf8.offset(s, #s) end", TIME),
    ("utf8.codepoint", S + "while true do pcall(utf8.codepoint, s, 1, 200000) end", EITHER),
    ("plain find", S + "while true do local _ = s:find('y', 1, true) end", TIME),
    ("find", S + "while true do local _ = s:find('x-y') end", TIME),
    ("upper", S + "while true do local _ = s:upper() end", TIME),
    ("lower and reverse", S + "while true do local _ = s:lower(), s:reverse() end", TIME),
    ("sub", S + "while true do local _ = s:sub(2) end", TIME),
    ("byte", S + "while true do pcall(s.byte, s, 1, 200000) end", EITHER),
    ("concatenation", S + "while true do local _ = s .. s end", EITHER),
    ("equality", S + "local t = s:sub(1, -2) .. 'y' while true do local _ = s == t end", TIME),
    ("order", S + "local t = s .. 'y' while true do local _ = s < t end", TIME),
    ("hash of a long key", S + "local t = {} while true do t[s .. 'a'] = nil end", EITHER),
    ("format", S + "while true do local _ = ('%s'):format(s) end", EITHER),
    ("quoted", S + "while true do local _ = ('%q'):format(s) end", EITHER),
    ("pack", S + "while true do local _ = string.pack('s4', s) end", EITHER),
    ("rep of nothing", "for i = 1, 1e9 do local _ = (''):rep(1e15) end", TIME),
    ("rep with separators", "while true do local _ = ('x'):rep(1e7, '') end", EITHER),
    ("sha256", 'local crypto = require "tidemill.crypto" ' + S + "while true do local _ = crypto.sha256(s) end", TIME),
    ("hmac", 'local crypto = require "tidemill.crypto" ' + S + "while true do local _ = crypto.hmac('k', s) end", TIME),
    ("hex", 'local crypto = require "tidemill.crypto" ' + S + "while true do local _ = crypto.hex(s) end", EITHER),
    ("base64", 'local crypto = require "tidemill.crypto" ' + S + "while true do local _ = crypto.unbase64(crypto.base64(s)) end", EITHER),
    ("equal", 'local crypto = require "tidemill.crypto" ' + S + "while true do local _ = crypto.equal(s, s) end", TIME),
    ("full collections", "local t = {} for i = 1, 100000 do t[i] = {} end while true do collectgarbage() end", TIME),
    ("compiler", "local text = ('local a = 1 '):rep(150) while true do load(text) end", TIME),
    ("a compiler's largest meal", "local text = ('a=1 '):rep(4000000) while true do load(text) end", "4 MiB|memory|cpu_limit"),
    ("tostring and tonumber", "local t = ('1'):rep(1000000) while true do local _ = tonumber(t) end", TIME),
    ("unpack", "local t = {} for i = 1, 200000 do t[i] = i end while true do pcall(table.unpack, t) end", EITHER),
    ("concat of a list", "local t = {} for i = 1, 200000 do t[i] = 'xxxxxxxx' end while true do local _ = table.concat(t) end", EITHER),
    ("insert at the front", "local t = {} for i = 1, 200000 do t[i] = i end while true do table.insert(t, 1, 0) end", EITHER),
    ("remove at the front", "local t = {} for i = 1, 200000 do t[i] = i end while true do table.remove(t, 1) table.insert(t, 1) end", TIME),
    ("move", "local t = {} for i = 1, 200000 do t[i] = i end while true do table.move(t, 1, #t, 2) end", EITHER),
    ("move of nothing", "table.move(setmetatable({}, {__index = function() end}), 1, math.maxinteger, 2)", REFUSED),
    ("a length that lies", "table.concat(setmetatable({}, {__len = function() return 1e9 // 1 end}))", REFUSED),
    ("sort that never agrees", "local t = {} for i = 1, 100000 do t[i] = i end while true do pcall(table.sort, t, function() return true end) end", TIME),
    ("sort that looks", "local t = {} for i = 1, 1900 do t[i] = i end while true do table.sort(t, function(a, b) return math.random() < 0.5 end) end", EITHER + "|order"),
    ("next over a large table", "local t = {} for i = 1, 300000 do t[i] = i end while true do for _ in pairs(t) do end end", TIME),
    ("a table of holes", "local t = {} for i = 1, 400000 do t['k' .. i] = i end for k in pairs(t) do t[k] = nil end while true do next(t) end", EITHER),
    # patterns of strings
    ("a pattern of stars", "while true do local _ = ('a'):rep(40):find(('a*'):rep(20) .. 'b') end", "backtracks too much|cpu_limit"),
    ("gsub that grows", "local s = 'x' while true do s = s:gsub('x', 'xx') end", EITHER),
    ("gmatch without progress", S + "for _ in s:gmatch('()') do end", TIME),
    ("balanced brackets", "local s = ('('):rep(3000000) while true do local _ = s:find('%b()') end", TIME),
    ("frontiers", S + "while true do local _ = s:find('%f[y]') end", TIME),
    ("captures", "while true do pcall(string.find, ('a'):rep(100), ('(a)'):rep(40)) end", TIME),
    # values on their way out
    ("a table that holds itself twice", 'local json = require "tidemill.json" local t = {} for i = 1, 28 do t = {t, t} end json.encode(t)', EITHER),
    ("a table that holds itself", 'local json = require "tidemill.json" local t = {} t.t = t json.encode(t)', "holds itself"),
    ("one string a thousand times", 'local json = require "tidemill.json" local t = {} local s = ("x"):rep(4000000) for i = 1, 1000 do t[i] = s end json.encode(t)', MEMORY),
    ("a string of escapes", 'local json = require "tidemill.json" while true do json.encode(("\\1"):rep(7000000)) end', EITHER),
    ("a key of escapes", 'local json = require "tidemill.json" json.encode({[("\\1"):rep(9000000)] = 1})', EITHER),
    ("encode again and again", 'local json = require "tidemill.json" local s = ("x"):rep(4000000) while true do json.encode(s) end', TIME),
    ("encode in vain", 'local json = require "tidemill.json" local t = {} for i = 1, 100000 do t[i] = i end t[#t + 1] = print while true do pcall(json.encode, t) end', TIME),
    ("decode of brackets", 'local json = require "tidemill.json" json.decode("[" .. ("[],"):rep(4000000) .. "1]")', MEMORY + "|more memory than"),
    ("decode again and again", 'local json = require "tidemill.json" local s = "[" .. ("1,"):rep(200000) .. "1]" while true do json.decode(s) end', EITHER),
    ("decode in vain", 'local json = require "tidemill.json" local s = "[" .. ("1,"):rep(100000) while true do pcall(json.decode, s) end', TIME),
    ("decode of escapes", 'local json = require "tidemill.json" local s = \'"\' .. ("\\\\n"):rep(3000000) .. \'"\' while true do json.decode(s) end', EITHER + "|more memory than"),
    ("deep brackets", 'local json = require "tidemill.json" json.decode(("["):rep(1000000))', "too deeply"),
    ("put of one string", 'local dynamodb = require "tidemill.dynamodb" local t = {id = "a"} local s = ("x"):rep(4000000) for i = 1, 300 do t["a" .. i] = s end dynamodb.put("T", t)', MEMORY),
    ("put of binaries", 'local dynamodb = require "tidemill.dynamodb" local t = {id = "a"} local b = dynamodb.binary(("x"):rep(4000000)) for i = 1, 300 do t["a" .. i] = b end dynamodb.put("T", t)', MEMORY),
    ("a batch of one item", 'local dynamodb = require "tidemill.dynamodb" local puts = {} local item = {id = ("x"):rep(300000)} for i = 1, 10000 do puts[i] = item end dynamodb.batch_write("T", {put = puts})', MEMORY),
    ("a set of everything", 'local dynamodb = require "tidemill.dynamodb" local t = {} for i = 1, 400000 do t[i] = "k" .. i end while true do dynamodb.set(t) end', EITHER),
    ("a log of one string", 'local log, t, s = require "tidemill.log", {}, ("x"):rep(4000000) for i = 1, 300 do t[i] = s end while true do log.info("m", {t = t}) end', EITHER),
    ("a log without end", 'local log = require "tidemill.log" while true do log.debug(("x"):rep(100000)) end', TIME),
    ("emit without end", 'local emit = require "tidemill.emit" for i = 1, 1e6 do emit("t", ("x"):rep(100000)) end', REFUSED),
    ("pattern of strings", 'local pattern = require "tidemill.pattern" local t = {} for i = 1, 200000 do t[i] = "k" .. i end shared.p = {} for i = 1, 30 do shared.p[i] = pattern.compile({a = t}) end', MEMORY + "|are allowed"),
    ("patterns that are kept", 'local pattern = require "tidemill.pattern" local t = {} for i = 1, 8000 do t[i] = "k" .. i end shared.p = {} for i = 1, 1000 do shared.p[i] = pattern.compile({a = t}) end', EITHER),
    ("patterns that are dropped", 'local pattern = require "tidemill.pattern" local t = {} for i = 1, 8000 do t[i] = "k" .. i end while true do pattern.compile({a = t}) end', EITHER),
    ("a pattern against many values", 'local pattern = require "tidemill.pattern" local t, v = {}, {} for i = 1, 8000 do t[i] = "k" .. i end for i = 1, 50000 do v[i] = "v" .. i end pattern.compile({a = t})({a = v})', "too large for each other|memory|cpu_limit"),
    ("wildcards", 'local pattern = require "tidemill.pattern" local m = pattern.compile({a = {{wildcard = ("a*"):rep(50) .. "b"}}}) while true do m({a = ("a"):rep(100000)}) end', EITHER),
    # memory
    ("a string that doubles", "local s = 'x' while true do s = s .. s end", MEMORY),
    ("a table that grows", "local t = {} while true do t[#t + 1] = {} end", EITHER),
    ("rep", "local _ = ('x'):rep(1e12 // 1)", MEMORY + "|too large"),
    ("kept from record to record", "shared[#shared + 1] = ('x'):rep(20000000)", MEMORY),
    ("coroutines that wait", "local t = {} while true do t[#t + 1] = coroutine.create(print) end", EITHER),
    ("recursion", "local function f() return 1 + f() end f()", "overflow|memory|cpu_limit"),
    ("recursion of pcall", "local function f() return pcall(f) end f()", "FINE"),
    ("recursion of coroutines", "local function f() return coroutine.wrap(f)() end f()", "overflow|C stack|memory|cpu_limit"),
    ("recursion of metamethods", "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k .. 'x'] end local _ = t.a", "overflow|memory|cpu_limit"),
    ("recursion of tostring", "local t = setmetatable({}, {}) getmetatable(t).__tostring = function(t) return tostring(t) end tostring(t)", "overflow|cpu_limit"),
    ("recursion of gsub", "local function f() return (('x'):gsub('x', f)) end f()", "overflow|cpu_limit"),
    ("recursion of sort", "local function f() table.sort({1, 2}, f) end f()", "overflow|cpu_limit"),
    ("width of a format", "string.format('%99999d', 1)", "format"),
    # what catches its own end
    ("pcall in a loop", "while true do pcall(function() while true do end end) end", TIME),
    ("xpcall whose handler loops", "xpcall(function() while true do end end, function() while true do end end)", TIME),
    ("close that loops", "local c <close> = setmetatable({}, {__close = function() while true do end end}) while true do end", TIME),
    ("close that raises", "local c <close> = setmetatable({}, {__close = function() error('again') end}) error('once')", "once"),
    ("close of a coroutine that loops", "local co = coroutine.create(function() local c <close> = setmetatable({}, {__close = function() while true do local _ = utf8.len(('x'):rep(1000000)) end end}) coroutine.yield() end) coroutine.resume(co) coroutine.close(co)", TIME),
    ("wrap that loops and closes", "local f = coroutine.wrap(function() local c <close> = setmetatable({}, {__close = function() while true do end end}) error('x') end) f()", TIME),
    ("an error that cannot be told", "error(setmetatable({}, {__tostring = function() while true do end end}))", REFUSED),
    ("an error that raises", "error(setmetatable({}, {__tostring = function() error('no') end}))", REFUSED),
    ("an error that is a function", "error(function() end)", REFUSED),
    ("no error", "error(nil)", REFUSED),
    ("an error of a coroutine", "error(coroutine.create(function() end))", REFUSED),
    ("coroutines that never end", "local co co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end", TIME),
    ("a yield outside", "coroutine.yield(1, 2, 3)", "yielded outside"),
    # waits
    ("resume of the handler's own coroutine", 'local time = require "tidemill.time" local me = coroutine.running() local _, text = coroutine.resume(me) error(text)', "cannot resume"),
    ("resume of what waits", 'local http = require "tidemill.http" shared.co = shared.co or coroutine.running() if record.sequence:sub(-1) == "2" then local _, text = coroutine.resume(shared.co) error(text or "?") end http.get("http://a.example/")', "cannot resume|dead"),
    ("close of what waits", "local me = coroutine.running() coroutine.close(me)", "cannot close"),
    ("a wait in a sort", 'local http = require "tidemill.http" table.sort({3, 2, 1}, function(a, b) http.get("http://a.example/") return a < b end)', "cannot wait|yield"),
    ("a wait in gsub", 'local http = require "tidemill.http"; ("x"):gsub("x", function() http.get("http://a.example/") end)', "FINE"),
    ("a wait in close", 'local http = require "tidemill.http" local c <close> = setmetatable({}, {__close = function() http.get("http://a.example/") end}) error("once")', REFUSED),
    ("waits without end", 'local http = require "tidemill.http" while true do http.get("http://a.example/") end', "cpu_limit|timeout"),
    ("a record that was handed back", "if shared.record then local _ = shared.record.new end shared.record = record", "handed back"),
    # ways out
    ("bytecode", "local f, e = load(string.char(27) .. 'LuaS') error(e)", "binary|text"),
    ("string.dump", "string.dump(print)", "nil"),
    ("io", "io.open('/etc/passwd')", "io"),
    ("os.execute", "os.execute('true')", "nil"),
    ("os.getenv", "os.getenv('HOME')", "nil"),
    ("debug", "debug.getregistry()", "debug"),
    ("package", "package.loadlib('x', 'y')", "package"),
    ("dofile", "dofile('/etc/passwd')", "dofile"),
    ("require of a path", "require('../../etc/passwd')", "not a module's name"),
    ("require of an absolute path", "require('/etc/passwd')", "not a module's name"),
    ("require of a zero byte", "require('a\\0b')", "zero byte|module"),
    ("the metatable of strings", "getmetatable('').__index = nil", "index|nil|string"),
    ("a global", "leaked = 1", "global"),
    ("rawset of a global", "rawset(_G, 'x', 1)", "global"),
    ("a finalizer", "setmetatable({}, {__gc = function() end})", "__gc"),
    ("the library's tables", 'require("tidemill.json").encode = nil', "FINE"),  # it changes them for itself
    ("xpcall whose handler raises", "xpcall(error, function() error('again') end, 'once') local _, text = xpcall(error, function(text) return text .. ', handled' end, 'once') error(text)", "once, handled"),
    ("xpcall whose handler loops after an error", "xpcall(error, function() while true do end end, 'once')", TIME),
    ("os.date", "os.date('%' .. ('E'):rep(100000))", "conversion|date"),
    ("a URL of another scheme", 'require("tidemill.http").get("file:///etc/passwd")', "http"),
    ("a header of two lines", 'require("tidemill.http").get("http://a.example/", {headers = {A = "b\\r\\nC: d"}})', "line break"),
    ("an invocation that is over", "shared.f = shared.f or function() return record.new end if record.sequence:sub(-1) == '2' then shared.f() end", "handed back"),
    ("numbers at their ends", "local _ = math.mininteger // -1, math.mininteger % -1, 1 << 63, 1 << -64, 5 // 0.0 error('reached')", "reached"),
    ("select of too many", "select(-1e9 // 1, 1)", "range"),
    ("random without a range", "math.random(math.maxinteger, math.mininteger)", "empty"),
    # what an adversary found
    ("close under one pcall", S + "local m = {__close = function() while true do local _ = utf8.len(s) end end} local function f(n) local c <close> = setmetatable({}, m) if n > 0 then f(n - 1) else while true do end end end pcall(f, 150)", TIME),
    ("memory while an error is told", "error(setmetatable({}, {__tostring = function() shared.s = ('x'):rep(1000000):rep(400) return 'x' end}))", REFUSED),
    ("a long wildcard", 'local pattern = require "tidemill.pattern" local m = pattern.compile({a = {{wildcard = "*" .. ("a"):rep(50000) .. "b"}}}) m({a = ("a"):rep(150000)})', "too large for each other"),
    ("a large replacement", "local s = ('x'):rep(400):gsub('x', ('y'):rep(4000000))", MEMORY),
    ("keys of messages", 'local emit = require "tidemill.emit" local s = ("x"):rep(8000000) for i = 1, 60 do emit("t", "p", {subject = s, key = s}) end', MEMORY),
    ("coroutines that close each other", "local cos, at, m = {}, 0, {} m.__close = function() at = at + 1 local c = cos[at] if c then coroutine.close(c) end end local obj = setmetatable({}, m) "
     "local function body() local c <close> = obj coroutine.yield() end for i = 1, 8000 do local c = coroutine.create(body) coroutine.resume(c) cos[i] = c end at = 1 coroutine.close(cos[1]) error('at ' .. at)", "at |memory|overflow"),
    ("a method of two lines", 'require("tidemill.http").request{method = "GET / HTTP/1.1\\r\\nHost: b\\r\\n\\r\\nPOST", url = "http://a.example/"}', "letters only"),
    ("pairs of the globals", "local _, g = pairs(_G) g.leaked = 1 error('leaked = ' .. tostring(rawget(_G, 'leaked')))", "leaked = nil"),
    ("memory that ends in a wait", """
local time = require "tidemill.time"
if record.sequence:sub(-1) ~= "1" then time.sleep(0.02) time.sleep(0.1) return end
local keep = {}
for i = 1, 70000 do keep[i] = false end
local count, pc, rep, sleep, filled = 0, pcall, string.rep, time.sleep, false
local function fill()
  for _, size in ipairs {400000, 100000, 20000, 4000, 1000, 300, 80, 41} do
    while true do
      local ok, s = pc(rep, "y", size)
      if not ok then break end
      count = count + 1
      keep[count] = s
    end
  end
end
local function nest(n)
  if n == 0 then
    if not filled then filled = true table.sort({1, 2}, function(a, b) fill() return a < b end) end
    pc(rep, "z", 200)
    sleep(0.1)
    return
  end
  local co = coroutine.wrap(nest)
  local ok = pc(co, n - 1)
  if not ok then keep = nil end
end
nest(40)
keep = nil""", "FINE"),
    # the compiler, and C functions that call C functions: no instruction is between
    ("a compiler of many names", """local parts = {}
       for i = 1, 190 do local n = {} for j = 1, 190 do n[j] = "a" .. j end parts[#parts + 1] = "local " .. table.concat(n, ",") .. " local function f() " end
       load(table.concat(parts) .. ("b=1 "):rep(300000) .. ("end "):rep(190))""", TIME),
    ("a compiler of many gotos", 'while true do load(("do " .. ("goto a "):rep(32000) .. "::a:: end "):rep(18)) end', TIME),
    ("a pcall around the compiler", """local parts = {}
       for i = 1, 190 do local n = {} for j = 1, 190 do n[j] = "a" .. j end parts[#parts + 1] = "local " .. table.concat(n, ",") .. " local function f() " end
       while true do pcall(load, table.concat(parts) .. ("b=1 "):rep(300000) .. ("end "):rep(190)) end""", TIME),
    ("contains of long texts", 'local dynamodb = require "tidemill.dynamodb" local a = ("x"):rep(8000000) local b = a:sub(2) .. "y" local t = {} '
     "for i = 1, 100000 do t[i] = a end dynamodb.set(t):contains(b)", TIME),
    ("move by concat", 'local t = {} for i = 1, 1000 do t[i] = ("x"):rep(5000) end setmetatable(t, {__index = table.concat}) '
     "table.move(t, 1001, 2000000, 1, setmetatable({}, {__newindex = rawequal}))", EITHER),
    ("sort by find", 'local a = ("x"):rep(6000000) local t = {} for i = 1, 2000 do t[i] = a end table.sort(t, string.find)', TIME + "|invalid order"),
    ("sort of long texts", 'local a = ("x"):rep(8000000) local b = a .. "y" local t = {} for i = 1, 2000 do t[i] = i % 2 == 0 and a or b end while true do table.sort(t) end', TIME),
    ("unpack by concat", 'local t = {} for i = 1, 1000 do t[i] = ("x"):rep(5000) end setmetatable(t, {__index = table.concat}) while true do pcall(table.unpack, t, 1001, 9000) end', EITHER),
    ("less by find", 'local a = ("x"):rep(8000000) local m = {__lt = function() return false end} m.__lt = string.len '
     "local t = {} for i = 1, 1900 do t[i] = setmetatable({}, m) end while true do pcall(table.sort, t) end", EITHER + "|."),
    ("long lines", 'local log = require "tidemill.log" local s = ("\\1"):rep(9000000) while true do log.info(s, {[1] = print}) log.info("x", {s = s:sub(1, 4000000)}) print(s, s) end', EITHER),
    ("print of many texts", "local t = {} local s = ('x'):rep(65000) for i = 1, 40000 do t[i] = s end while true do print(table.unpack(t)) end", EITHER),
    ("sort behind a metatable", "local a = ('x'):rep(8000000) local b = a .. 'y' local u = {} for i = 1, 1999 do u[i] = i % 2 == 0 and a or b end "
     "local t = setmetatable({}, {__index = u, __len = function() return 1999 end}) while true do table.sort(t) end", EITHER),
    ("tables behind tables", "local chain = {} for i = 1, 1900 do chain = setmetatable({}, {__index = chain}) end table.move(chain, 1, 2000000, 1, {})", EITHER),
    ("tables behind tables, unpacked", "local chain = {} for i = 1, 1900 do chain = setmetatable({}, {__index = chain}) end while true do pcall(table.unpack, chain, 1, 900000) end", EITHER),
    ("tables behind tables, written", "local chain = {} for i = 1, 1900 do chain = setmetatable({}, {__newindex = chain}) end table.move({}, 1, 2000000, 1, chain)", EITHER),
    ("tables behind tables, moved up", "local chain = {} for i = 1, 1900 do chain = setmetatable({}, {__index = chain, __len = function() return 2000000 end}) end table.insert(chain, 1, 0)", EITHER),
    ("bytecode", "local f, why = load('\\27LuaT\\0\\25\\147') error(f and 'loaded' or why)", "attempt to load a binary chunk"),
    ("bytecode in mode b", "local f, why = load('\\27LuaT\\0\\25\\147', 'x', 'b') error(f and 'loaded' or why)", "attempt to load a binary chunk"),
    ("table functions behind a metatable", """
       local function proxy(list) return setmetatable({}, {__index = list, __newindex = function(_, k, v) list[k] = v end, __len = function() return #list end}), list end
       local function same(a, b) assert(#a == #b, #a .. ' ' .. #b) for i = 1, #a do assert(a[i] == b[i], i) end end
       local p, list = proxy { 3, 1, 2 }
       table.insert(p, 9) same(list, { 3, 1, 2, 9 }) table.insert(p, 2, 8) same(list, { 3, 8, 1, 2, 9 })
       assert(table.remove(p) == 9) assert(table.remove(p, 1) == 3) same(list, { 8, 1, 2 }) assert(table.remove(p, 4) == nil)
       assert(table.concat(p, ',') == '8,1,2' and table.concat(p, ',', 2) == '1,2' and table.concat(p, ',', 3, 2) == '')
       table.sort(p) same(list, { 1, 2, 8 }) table.sort(p, function(a, b) return a > b end) same(list, { 8, 2, 1 })
       same(table.move(p, 1, 3, 2, {}), { nil, 8, 2, 1 }) table.move(p, 1, 3, 2) same(list, { 8, 8, 2, 1 }) table.move(p, 2, 4, 1) same(list, { 8, 2, 1, 1 })
       assert(select('#', table.unpack(p)) == 4 and select(2, table.unpack(p, 1, 3)) == 2 and select('#', table.unpack(p, 1, 0)) == 0)
       local q = setmetatable({}, {}) assert(table.remove(q) == nil) table.insert(q, 'a') same(q, { 'a' })
       for _, wrong in ipairs { function() table.insert(p, 7, 1) end, function() table.insert(p) end, function() table.insert(p, 1, 2, 3) end, function() table.insert(p, 'x', 1) end,
                                function() table.remove(p, 7) end, function() table.concat(p, {}) end } do assert(not pcall(wrong)) end
       local ok, why = pcall(function() table.insert(p, 7, 1) end) assert(why:find('h.lua:%d+: bad argument #2 to .insert. %(position out of bounds%)'), why)""", FINE),
    ("gsub that is never gone on with", "shared.s = shared.s or ('x'):rep(9000000) shared.k = shared.k or {} for i = 1, 40 do local co = coroutine.wrap(function() ('ab'):gsub('.', "
     "function(c) if c == 'a' then return shared.s else coroutine.yield() end end) end) co() shared.k[#shared.k + 1] = co end", EITHER),
    ("log within log", "local log = require 'tidemill.log' local s = ('x'):rep(8000000) local n = 0 local t t = setmetatable({s, print}, {__tostring = function() n = n + 1 "
     "if n < 60 then log.info('m', t) end return 'x' end}) while true do n = 0 log.info('m', t) end", EITHER),
    ("a long key of once", "local once = require 'tidemill.once' once(('x'):rep(3000), function() end)", "at most 2048 bytes|no state|once"),
    ("a collection for each text", "local keep = {} for i = 1, 300000 do local ok = pcall(function() keep[i] = {} end) if not ok then break end end local floats = {} "
     "for i = 1, 200 do floats[i] = i + 0.5 end while true do pcall(string.format, ('%.0s'):rep(200), table.unpack(floats, 1, 200)) pcall(string.gsub, ('abc'):rep(20000), '...', {}) end", EITHER),
    ("numbers of millions of digits", "local pattern = require 'tidemill.pattern' local dynamodb = require 'tidemill.dynamodb' local p = {} for i = 1, 4000 do p[i] = {numeric = {'<', i}} end "
     "local m = pattern.compile({a = p}) local n = ('1'):rep(3000000) while true do pcall(m, {a = dynamodb.decimal and dynamodb.decimal(n) or n}) end", EITHER + "|."),
    ("a comparison that raises keeps the list", "local t = {} for i = 1, 3001 do t[i] = (i * 7919) % 3001 end local n = 0 "
     "pcall(table.sort, t, function(a, b) n = n + 1 if n == 9000 then error('stop', 0) end return a < b end) local seen = {} for _, v in ipairs(t) do assert(not seen[v], v) seen[v] = true end", FINE),
    # what runs after the handler raised
    ("an error from the deep", "local f = load('local function f(n) if n == 0 then error(\"deep\") end return 1 + f(n - 1) end return f')() f(100000)", "deep|" + EITHER),
    ("a wait in the deep", "local time = require 'tidemill.time' local f = load('local f, sleep function f(n) if n == 0 then sleep(60) end return 1 + f(n - 1) end return function(s) sleep = s return f end')()(time.sleep) f(100000)",
     "longer than its timeout|not enough memory"),
    ("a yield with its memory in use", "pcall(function() while true do shared.chain = { shared.chain } end end) coroutine.yield()", "yielded outside|" + EITHER),
    ("an error behind a wait that was cut off in an xpcall", "if shared.was then error('plain words') end shared.was = true "
     "local time = require 'tidemill.time' xpcall(function() time.sleep(60) end, function(m) return m end)", "plain words"),
    ("a wrap that has failed", "local wrapped = coroutine.wrap(function() error(setmetatable({}, { __call = function() shared.called = true end })) end) "
     "assert(not pcall(wrapped)) local ok, problem = pcall(wrapped) assert(not ok and problem:find('cannot resume dead coroutine', 1, true), problem) assert(not shared.called)", FINE),
    ("a __close that fails in a wrap", "local wrapped = coroutine.wrap(function() local c <close> = setmetatable({}, { __close = function() error('closing', 0) end }) error('first', 0) end) "
     "local ok, problem = pcall(wrapped) assert(not ok and problem == 'closing', problem)", FINE),
    ("a global in a __close", "if shared.was then local ok, is = pcall(function() return leaked end) error('leaked is ' .. tostring(ok and is or nil)) end shared.was = true "
     "local c <close> = setmetatable({}, {__close = function() leaked = 5 end}) error('over')", "leaked is nil"),
    ("a global in an error's text", "error(setmetatable({}, {__tostring = function() leaked = 5 return 'x' end}))", "."),
    ("a global of an error", "if shared.was then local ok, is = pcall(function() return leaked end) error('leaked is ' .. tostring(ok and is or nil)) end shared.was = true "
     "error(setmetatable({}, {__tostring = function() leaked = 5 return 'x' end}))", "leaked is nil"),
]


# A child's peak begins with what its parent holds when it is made: a small one between tells the host's own.
SMALL = "import os, resource, sys; status = os.spawnvp(os.P_WAIT, sys.argv[2], sys.argv[2:]); open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); os._exit(status if status >= 0 else 128 - status)"


def run(directory, code, event=EVENT, whole=None, limit="300ms"):
    (directory / "event.json").write_text(json.dumps(event))
    (directory / "h.lua").write_text(whole or 'local shared = {}\nreturn { stream = "s", '
                                     f'cpu_limit = "{limit}", memory = "32MiB", timeout = "2s", retries = 0, '
                                     f'on_record = function(record)\n{code}\nend }}\n')
    (directory / "tidemill.ini").write_text("[aws]\nregion = us-east-1\n[stream s]\ntable = T\n[target t]\ntype = stdout\n")
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with open(directory / "out", "wb") as out, open(directory / "err", "wb") as err:
        process = subprocess.run([sys.executable, "-S", "-c", SMALL, "rss", "timeout", "-s", "ABRT", str(PATIENCE_S), BINARY, "invoke", "h.lua", "event.json", "--dry-run"],
                                 cwd=directory, stdout=out, stderr=err, env=environment)
    with open(directory / "err", "rb") as err:
        err.seek(max(0, err.seek(0, os.SEEK_END) - 100_000))
        return process.returncode, err.read().decode(errors="replace"), int((directory / "rss").read_text())


@pytest.mark.parametrize("code, expected", [pytest.param(code, expected, id=name.replace(" ", "_")) for name, code, expected in SCRIPTS])
def test_a_hostile_script_hurts_itself_alone(tmp_path, code, expected):
    status, errors, rss = run(tmp_path, code)
    assert status in (0, 1), errors[-2000:]
    assert "Sanitizer" not in errors and "runtime error" not in errors, errors
    if expected == "FINE":
        return
    assert (status == 0) == (expected is None), errors[-2000:]
    expected = expected + "|cpu_limit" if expected and SANITIZED else expected  # all is slow there
    assert expected is None or re.search(expected, errors), errors[-2000:]
    assert SANITIZED or rss < RSS_MAX_KIB, f"{rss} KiB"


EDGE = """
local M, X = 4 * 1024 * 1024, %d
local keep, n = {}, 0
for i = 1, 300 do keep[i] = false end
local pad = {}
local function free() collectgarbage() collectgarbage() return M - collectgarbage("count") * 1024 - X end
local f = free()
while f > 200000 do n = n + 1 keep[n] = ("x"):rep(100000) f = free() end
while f > 3000 do n = n + 1 keep[n] = ("x"):rep(2500) f = free() end
while f > 100 do n = n + 1 keep[n] = ("x"):rep(60) f = free() end
local first = true
return { stream = "s", cpu_limit = "300ms", memory = "4MiB", timeout = "2s", retries = 0, on_record = function(record)
  if first then first = false return end
  for i = 1, 300 do keep[i] = nil end
  collectgarbage() collectgarbage()
  local x = {} for i = 1, 1000 do x[i] = {} end
end }
"""


@pytest.mark.parametrize("spare", range(-1200, 1, 100))
def test_memory_that_ends_before_a_record_begins(tmp_path, spare):
    """A handler that keeps as much as it may: making what the next record needs fails at one place or another."""
    event = {"Records": [{**EVENT["Records"][0], "dynamodb": {**EVENT["Records"][0]["dynamodb"], "SequenceNumber": str(10 ** 20 + n)}, "eventID": str(n)}
                         for n in range(1, 6)]}
    status, errors, _ = run(tmp_path, None, event, EDGE % spare)
    assert status in (0, 1) and "Sanitizer" not in errors and "must not happen" not in errors, errors[-2000:]


@pytest.mark.parametrize("kind", ["set", "map"])
def test_what_has_no_order_is_compared_quickly(tmp_path, kind):
    """A large set, or map, the other way round: no change, and found before the time is over."""
    names = [f"{n:05}" for n in range(40_000)]
    old, new = ({"SS": order} if kind == "set" else {"M": {n: {"N": "1"} for n in order}} for order in (names, names[::-1]))
    record = {**EVENT["Records"][0]}
    record["dynamodb"] = {**record["dynamodb"], "OldImage": {"id": {"S": "a"}, "s": old}, "NewImage": {"id": {"S": "a"}, "s": new}}
    status, errors, _ = run(tmp_path, "local n = 0 for _ = 1, 3 do if record:changed('s') then error('changed') end n = n + #'x' end", {"Records": [record]},
                            limit="5s" if SANITIZED else "1s")
    assert status == 0, errors[-2000:]


def test_what_a_window_returns_is_written_in_its_time(tmp_path):
    code = """local t = {} for i = 1, 140000 do t[i .. ''] = true end for k in pairs(t) do t[k] = nil end
      local l = {} for i = 1, 100000 do l[i] = t end return l"""
    status, errors, _ = run(tmp_path, None, EVENT, 'return { stream = "s", cpu_limit = "300ms", memory = "32MiB", timeout = "2s", retries = 0, '
                            f'tumbling_window = "1s", on_window = function(state, records)\n{code}\nend }}\n')
    assert status == 1 and re.search(EITHER, errors), errors[-2000:]


@pytest.mark.parametrize("answer", ["setmetatable({}, { __index = function() while true do end end })", "{ status = setmetatable({}, { __tostring = function() while true do end end }) }"])
def test_what_an_answer_does_when_it_is_read_ends_with_cpu_limit(tmp_path, answer):
    (tmp_path / "hook.lua").write_text(f'return {{ intake = "hooks", cpu_limit = "300ms", timeout = "2s", on_request = function() return {answer} end }}')
    (tmp_path / "hook_test.lua").write_text("""local test = require "tidemill.test"
test.deployment [[
[intake hooks]
listen = 127.0.0.1:18999
verify = none
[handler hook]
]]
test("it ends", function() test.equal(test.request("hooks", { method = "POST", path = "/", body = "x" }).status, 500) end)
""")
    done = subprocess.run([BINARY, "test", tmp_path], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
