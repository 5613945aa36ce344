---@meta tidemill.redis
--- Redis (or Valkey): `redis.call("ZADD", "board", 10, "ada")`. The server is `redis_url` in the handler's section:
--- redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], rediss:// (TLS, verified) or unix:///PATH; `redis.at(url)` is the
--- same for another one. Connections are shared, so commands that change one, or wait, are refused.
---
--- Replies are as in Redis's own Lua: strings, integers, lists, `false` for nil within a list (nil alone), a status as
--- its text. An error reply raises; `err.code` is its first word ("WRONGTYPE"), "NetworkError", "Timeout", "TooLarge"
--- or "Refused" (by AUTH or SELECT). What was sent, and not answered, may have been done: a repeated record does it
--- once more, unless it is the same then, or in `redis.once`.
local raw = ...
local check_options = require "tidemill.options"
local config = require "tidemill.config"

local TIMEOUT_S, TTL_S = 5, 7 * 86400
local ONCE_WORDS_MAX = 4000 -- of a command: the server's stack bounds it
local ONCE_OPTIONS = { ttl = true }

-- Marked first: whoever else runs it meanwhile waits for the server, which runs one script at a time. Whatever goes
-- wrong takes the marker back, since a script is not undone.
local ONCE = [[-- tidemill.redis.once
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then return {0} end
local replies = {}
local well, problem = pcall(function()
  local at = 2
  while at <= #ARGV do
    local count = tonumber(ARGV[at])
    local reply = redis.pcall(unpack(ARGV, at + 1, at + count))
    if type(reply) == 'table' and reply.err then return reply end
    replies[#replies + 1] = reply
    at = at + count + 1
  end
end)
if well and not problem then return {1, replies} end
redis.call('DEL', KEYS[1])
return well and problem or {err = 'ERR ' .. tostring(problem)}]]

local RedisError = { __name = "redis error" }
RedisError.__index = RedisError

function RedisError:__tostring()
  return self.message
end

local function fail(code, message, level)
  error(setmetatable({ code = code, message = "redis: " .. message }, RedisError), level + 1)
end

local function check_reply(reply, command, level)
  if type(reply) == "table" and reply.err then
    fail(reply.err:match("^%S*"), ("%s: %s"):format(command, reply.err), level + 1)
  end
  return reply
end

---@class tidemill.Redis
local Redis = {}
Redis.__index = Redis

local function url_of(self, level)
  local url = rawget(self, "url") or config.redis_url
  if type(url) ~= "string" then
    error("redis: set redis_url in the handler's section, such as redis://127.0.0.1:6379", level + 1)
  end
  return url
end

local function send(self, commands, checked, level)
  local replies, problem = raw.send(url_of(self, level + 1), commands, rawget(self, "timeout") or TIMEOUT_S, checked)
  if not replies then
    fail(problem.code, problem.message, level + 1)
  end
  return replies
end

local function check_list(what, commands, level)
  if type(commands) ~= "table" or #commands == 0 then
    error(("%s: a list of commands expected, such as { { \"INCR\", key } }"):format(what), level + 1)
  end
end

local Operations = {}

--- One command, and its reply.
---@param command string
---@param ... string|number
---@return any
function Operations.call(self, command, ...)
  if type(command) ~= "string" then
    error("redis.call: a command's name expected, got " .. type(command), 2)
  end
  for i = 1, select("#", ...) do -- one at the end would be left out
    if (select(i, ...)) == nil then
      error(("redis: argument %d of %s: a string or a number expected, got nil"):format(i, command), 2)
    end
  end
  return check_reply(send(self, { { command, ... } }, true, 2)[1], command, 2) or nil
end

--- Several commands that leave together, and their replies. One that fails is raised once all were answered.
---@param commands (string|number)[][]
---@return any[]
function Operations.pipeline(self, commands)
  check_list("redis.pipeline", commands, 2)
  local replies = send(self, commands, true, 2)
  for i = 1, #commands do
    check_reply(replies[i], ("command %d, %s"):format(i, commands[i][1]), 2)
  end
  return replies
end

--- Several commands that are done together, or none of them (MULTI ... EXEC); one that fails then does not undo the
--- others, as Redis has it, and is raised.
---@param commands (string|number)[][]
---@return any[]
function Operations.transaction(self, commands)
  check_list("redis.transaction", commands, 2)
  local all = { { "MULTI" } }
  local count = #commands
  for i = 1, count do
    all[i + 1] = commands[i] or false
  end
  all[count + 2] = { "EXEC" }
  local replies = send(self, all, false, 2)
  for i = 1, #commands do
    check_reply(replies[i + 1], ("command %d, %s"):format(i, commands[i][1]), 2)
  end
  local done = check_reply(replies[#all], "EXEC", 2)
  if type(done) ~= "table" then
    return {} -- a dry run
  end
  for i = 1, #commands do
    check_reply(done[i], ("command %d, %s"):format(i, commands[i][1]), 2)
  end
  return done
end

--- The commands are done once for each key, however often that is asked for (mostly `record.id`): together with a
--- marker at `tidemill:once:GROUP:HANDLER:KEY`, in one step of the server's. One that fails takes the marker back and is raised; what
--- stood before it is done. On a cluster the marker and all keys must be in one slot: put a {hash tag} in the key.
---@param key string
---@param commands (string|number)[][]
---@param options? {ttl?: number|string} how long the marker is kept, in seconds or as "7d": a week
---@return boolean done false: it was done before
---@return any[]? replies
function Operations.once(self, key, commands, options)
  if type(key) ~= "string" or key == "" then
    error("redis.once: a key expected, such as record.id, got " .. (key == "" and "an empty text" or type(key)), 2)
  end
  check_list("redis.once", commands, 2)
  options = check_options("redis.once", options, ONCE_OPTIONS, 2)
  local ttl = options.ttl == nil and TTL_S or raw.seconds(options.ttl)
  if not ttl or ttl < 1 then
    error("redis.once: ttl: seconds, 1 at least, or a text such as \"7d\", expected", 2)
  end
  local call = { "EVAL", ONCE, 1, "tidemill:once:" .. raw.scope() .. ":" .. key, ("%d"):format(ttl // 1) }
  for i = 1, #commands do
    local command = commands[i]
    if type(command) ~= "table" or #command == 0 then
      error(("redis.once: command %d: a list expected, such as { \"INCR\", key }"):format(i), 2)
    end
    raw.fits(tostring(command[1]))
    if #command > ONCE_WORDS_MAX then
      error(("redis.once: command %d: at most %d words, got %d"):format(i, ONCE_WORDS_MAX, #command), 2)
    end
    call[#call + 1] = #command
    for at = 1, #command do
      local word = command[at]
      if type(word) ~= "string" and type(word) ~= "number" then
        error(("redis.once: argument %d of %s: a string or a number expected, got %s"):format(at - 1,
          tostring(command[1]), type(word)), 2)
      end
      call[#call + 1] = word
    end
  end
  local reply = check_reply(send(self, { call }, true, 2)[1], "once", 2)
  if type(reply) ~= "table" then
    return true, {} -- a dry run
  end
  return reply[1] == 1, reply[2]
end

--- The same functions for another server; as methods of what is returned: `local cache = redis.at(url)`,
--- `cache.call("GET", key)`.
---@param url string
---@param options? {timeout?: number} seconds for a call, 5
---@return tidemill.Redis
local function at(url, options)
  options = check_options("redis.at", options, { timeout = true }, 2)
  if type(url) ~= "string" then
    error("redis.at: a URL expected, such as redis://127.0.0.1:6379, got " .. type(url), 2)
  end
  if options.timeout ~= nil and not (type(options.timeout) == "number" and options.timeout > 0) then
    error("redis.at: timeout: seconds expected", 2)
  end
  raw.check(url)
  local server = setmetatable({ url = url, timeout = options.timeout }, Redis)
  local bound = {}
  for name, operation in pairs(Operations) do
    bound[name] = function(...)
      return operation(server, ...)
    end
  end
  return bound
end

if type(config.redis_url) == "string" then -- while the script loads: `check` tells
  raw.check(config.redis_url)
end

local usual = setmetatable({}, Redis)
local redis = { at = at }

---@param command string
---@param ... string|number
---@return any
function redis.call(command, ...)
  return Operations.call(usual, command, ...)
end

---@param commands (string|number)[][]
---@return any[]
function redis.pipeline(commands)
  return Operations.pipeline(usual, commands)
end

---@param commands (string|number)[][]
---@return any[]
function redis.transaction(commands)
  return Operations.transaction(usual, commands)
end

---@param key string
---@param commands (string|number)[][]
---@param options? {ttl?: number|string}
---@return boolean done
---@return any[]? replies
function redis.once(key, commands, options)
  return Operations.once(usual, key, commands, options)
end

return redis
