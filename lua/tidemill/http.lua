---@meta tidemill.http
--- HTTP calls. Certificates are verified, redirects are followed only when asked for, and every call ends in
--- time. Any status is an answer; no answer (network, timeout, too large) raises, with `err.code` "NetworkError",
--- "Timeout" or "TooLarge". `allow_hosts` in the handler's settings limits where calls may go.
local raw = ...
local json = require "tidemill.json"

local http = {}

local TIMEOUT_S, BODY_BYTES_MAX = 10, 8 * 1024 * 1024
local OPTIONS = { method = true, url = true, headers = true, body = true, json = true, timeout = true,
  redirects = true, max_bytes = true, idempotency_key = true }
local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

---@class tidemill.http.Response
---@field status integer
---@field headers table<string, string> by lower-case name
---@field body string
local Response = {}
Response.__index = Response

--- The body as JSON; raises when it is none.
---@return any
function Response:json()
  return json.decode(self.body)
end

--- 200 to 299?
---@return boolean
function Response:ok()
  return self.status >= 200 and self.status < 300
end

local HttpError = { __name = "http error" }
HttpError.__index = HttpError

function HttpError:__tostring()
  return self.message
end

local function header_list(options)
  local list, has = {}, {}
  for name, value in pairs(options.headers or {}) do
    has[name:lower()] = true
    list[#list + 1] = name .. ": " .. tostring(value)
  end
  if options.json ~= nil and not has["content-type"] then
    list[#list + 1] = "Content-Type: application/json"
  end
  if options.idempotency_key then
    list[#list + 1] = "Idempotency-Key: " .. tostring(options.idempotency_key)
  end
  if not has["user-agent"] then
    list[#list + 1] = "User-Agent: tidemill"
  end
  return list
end

-- "https://host:port" in lower case, with the port that the scheme means.
local function origin(url)
  local scheme, authority = url:match("^(%a+)://([^/?#]*)")
  scheme, authority = scheme:lower(), authority:lower()
  if not authority:find(":%d+$") then
    authority = authority .. (scheme == "https" and ":443" or ":80")
  end
  return scheme .. "://" .. authority, scheme
end

-- Where a Location leads from there (RFC 3986, 5.2): every form but the empty one and other schemes.
local function target(url, location)
  local scheme, base = url:match("^(%a+)://"), url:match("^%a+://[^/?#]*")
  local to
  if location:find("^%a[%w+.-]*:") then
    to = location
  elseif location:sub(1, 2) == "//" then
    to = scheme .. ":" .. location
  elseif location:sub(1, 1) == "/" then
    to = base .. location
  elseif location:sub(1, 1) == "?" then
    to = url:match("^[^?#]*") .. location
  elseif location ~= "" and location:sub(1, 1) ~= "#" then
    local path = url:sub(#base + 1):match("^[^?#]*")
    to = base .. (path:match("^.*/") or "/") .. location
  end
  local is_http = to and to:lower():find("^https?://[^/?#]")
  if not is_http then
    error("http: a redirect from " .. origin(url) .. " leads to no http or https URL", 0)
  end
  return to
end

-- What was meant for one place is not told to another.
local function leave_out_headers(headers)
  local list = {}
  for _, line in ipairs(headers) do
    local name = line:match("^[^:]*"):lower()
    if name == "content-type" or name == "user-agent" or name == "accept" then
      list[#list + 1] = line
    end
  end
  return list
end

--- `http.request{method = "POST", url = ..., json = {...}, headers = {...}, timeout = 5, redirects = 3}`
---@param options {method?: string, url: string, headers?: table, body?: string, json?: any, timeout?: number, redirects?: integer, max_bytes?: integer, idempotency_key?: string}
---@return tidemill.http.Response
function http.request(options)
  if type(options) ~= "table" then
    error("http.request takes a table", 2)
  end
  for name in pairs(options) do
    if not OPTIONS[name] then
      error("unknown option '" .. tostring(name) .. "'", 2)
    end
  end
  local body = options.body
  if options.json ~= nil then
    body = json.encode(options.json)
  end
  local method, url, headers = options.method or "GET", options.url, header_list(options)
  for _ = 0, options.redirects or 0 do
    local status, answer_headers, answer = raw.send(method, url, headers, body, options.timeout or TIMEOUT_S,
      options.max_bytes or BODY_BYTES_MAX)
    if not status then
      error(setmetatable(answer_headers, HttpError), 0)
    end
    local location = REDIRECTS[status] and answer_headers.location
    if not location or (options.redirects or 0) == 0 then
      return setmetatable({ status = status, headers = answer_headers, body = answer }, Response)
    end
    local to = target(url, location)
    local there, scheme = origin(to)
    local here, former = origin(url)
    if former == "https" and scheme ~= "https" then
      error("http: a redirect from https to http is not followed", 0)
    end
    if there ~= here then
      headers = leave_out_headers(headers)
    end
    url = to
    if status == 303 or (status < 303 and method == "POST") then
      method, body = "GET", nil
    end
  end
  error("http: too many redirects, the last to " .. origin(url), 2)
end

local function verb(method)
  return function(url, options)
    local all = { method = method, url = url }
    for name, value in pairs(options or {}) do
      all[name] = value
    end
    return http.request(all)
  end
end

http.get = verb "GET"
http.post = verb "POST"
http.put = verb "PUT"
http.patch = verb "PATCH"
http.delete = verb "DELETE"

return http
