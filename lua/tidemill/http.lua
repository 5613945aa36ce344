---@meta tidemill.http
--- HTTP calls. Certificates are verified, redirects are followed only when asked for, and every call ends in
--- time. Any status is an answer; no answer (network, timeout, too large) raises, with `err.code` "NetworkError",
--- "Timeout" or "TooLarge". `allow_hosts` in the handler's settings limits where calls may go.
local raw = ...
local json = require "tidemill.json"
local url = require "tidemill.url"

local http = {}

local TIMEOUT_S, BODY_BYTES_MAX = 10, 8 * 1024 * 1024
local OPTIONS = { method = true, url = true, headers = true, body = true, json = true, timeout = true,
  redirects = true, max_bytes = true, idempotency_key = true, query = true, form = true, basic = true, signed = true,
  region = true }
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
  elseif options.form ~= nil and not has["content-type"] then
    list[#list + 1] = "Content-Type: application/x-www-form-urlencoded; charset=utf-8"
  end
  if options.basic ~= nil then
    list[#list + 1] = "Authorization: " .. http.basic(table.unpack(options.basic, 1, 2))
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
local function origin(address)
  local scheme, authority = address:match("^(%a+)://([^/?#]*)")
  scheme, authority = scheme:lower(), authority:lower()
  if not authority:find(":%d+$") then
    authority = authority .. (scheme == "https" and ":443" or ":80")
  end
  return scheme .. "://" .. authority, scheme
end

-- Where a Location leads from there (RFC 3986, 5.2): every form but the empty one and other schemes.
local function target(address, location)
  local scheme, base = address:match("^(%a+)://"), address:match("^%a+://[^/?#]*")
  local to
  if location:find("^%a[%w+.-]*:") then
    to = location
  elseif location:sub(1, 2) == "//" then
    to = scheme .. ":" .. location
  elseif location:sub(1, 1) == "/" then
    to = base .. location
  elseif location:sub(1, 1) == "?" then
    to = address:match("^[^?#]*") .. location
  elseif location ~= "" and location:sub(1, 1) ~= "#" then
    local path = address:sub(#base + 1):match("^[^?#]*")
    to = base .. (path:match("^.*/") or "/") .. location
  end
  local is_http = to and to:lower():find("^https?://[^/?#]")
  if not is_http then
    error("http: a redirect from " .. origin(address) .. " leads to no http or https URL", 0)
  end
  return (to:gsub("#.*", "")) -- a fragment is not for the server
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

-- What would be sent as something else than it says.
local function check_url(text, level)
  if type(text) ~= "string" then
    error("http: url: a text expected, got " .. type(text), level + 1)
  elseif text:find("#", 1, true) then
    error("http: what stands behind a '#' in a URL is not sent: write http.escape(key) for a part of it (or %23)", level + 1)
  elseif text:find("[%s%c\x7f-\xff]") then
    error("http: a URL holds no blanks, control characters or letters beyond ASCII: write http.escape(text) for a part of it, or query = {...}", level + 1)
  end
end

-- AWS's signature, with the host's credentials: what the service refuses raises, as of tidemill.aws.
local function signed(options, to, body, level)
  raw.check(to)
  local place, path = to:match("^(%a+://[^/?]+)(.*)$")
  if not place then
    error("http: url: http:// or https:// expected", level + 1)
  end
  if options.redirects or options.max_bytes then
    error("http: signed goes without redirects and max_bytes", level + 1)
  end
  local headers = {}
  for _, line in ipairs(header_list(options)) do
    local name, value = line:match("^([^:]*): (.*)$")
    headers[name or line] = value
  end
  headers["User-Agent"] = options.headers and headers["User-Agent"] or nil
  local answer = require "tidemill.aws".request { service = options.signed, endpoint = place,
    path = path:sub(1, 1) == "/" and path or "/" .. path, method = options.method or "GET", headers = headers, body = body,
    timeout = options.timeout, region = options.region }
  return setmetatable({ status = answer.status, headers = answer.headers, body = answer.body }, Response)
end

--- `http.request{method = "POST", url = ..., json = {...}, headers = {...}, timeout = 5, redirects = 3}`
--- `query` is added to the URL, `form` becomes the body, `basic = { user, password }` an Authorization; `signed = "es"`
--- signs for that AWS service, with the host's credentials (then what it refuses raises, as in tidemill.aws).
---@param options {method?: string, url: string, query?: table, headers?: table, body?: string, json?: any, form?: table, basic?: string[], signed?: string, region?: string, timeout?: number, redirects?: integer, max_bytes?: integer, idempotency_key?: string}
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
  check_url(options.url, 2)
  for name, kind in pairs { body = "string", headers = "table", form = "table", query = "table", basic = "table", signed = "string" } do
    if options[name] ~= nil and type(options[name]) ~= kind then
      error(("http: %s: a %s expected, got %s%s"):format(name, kind == "string" and "text" or kind, type(options[name]),
        name == "body" and type(options.body) == "table" and " (json = {...} and form = {...} write tables)" or ""), 2)
    end
  end
  if options.redirects ~= nil and (math.type(options.redirects) ~= "integer" or options.redirects < 0) then
    error("http: redirects: how many at most, a whole number expected", 2)
  end
  for name in pairs(options.headers or {}) do
    if type(name) ~= "string" then
      error("http: headers: a table of names and values expected", 2)
    elseif options.basic and name:lower() == "authorization" then
      error("http: one of basic and an Authorization header", 2)
    end
  end
  local body = options.body
  if (body ~= nil and 1 or 0) + (options.json ~= nil and 1 or 0) + (options.form ~= nil and 1 or 0) > 1 then
    error("http: one of body, json and form", 2)
  end
  if options.json ~= nil then
    body = json.encode(options.json)
  elseif options.form then
    body = url.query(options.form)
  end
  if options.method == "HEAD" and body and body ~= "" then
    error("http: a HEAD request has no body", 2)
  end
  local to = options.url
  if options.query and next(options.query) then
    to = to .. (to:find("?", 1, true) and "&" or "?") .. url.query(options.query)
  end
  if options.signed then
    return signed(options, to, body, 2)
  elseif options.region then
    error("http: region goes with signed only", 2)
  end
  local method, headers = options.method or "GET", header_list(options)
  for _ = 0, options.redirects or 0 do
    local status, answer_headers, answer = raw.send(method, to, headers, body, options.timeout or TIMEOUT_S,
      options.max_bytes or BODY_BYTES_MAX)
    if not status then
      error(setmetatable(answer_headers, HttpError), 0)
    end
    local location = REDIRECTS[status] and answer_headers.location
    if not location or (options.redirects or 0) == 0 then
      return setmetatable({ status = status, headers = answer_headers, body = answer }, Response)
    end
    local next_url = target(to, location)
    local there, scheme = origin(next_url)
    local here, former = origin(to)
    if former == "https" and scheme ~= "https" then
      error("http: a redirect from https to http is not followed", 0)
    end
    if there ~= here then
      headers = leave_out_headers(headers)
    end
    to = next_url
    if (status == 303 and method ~= "HEAD") or (status < 303 and method == "POST") then
      method, body = "GET", nil
    end
  end
  error("http: too many redirects, the last to " .. origin(to), 2)
end

--- The value of an Authorization header by RFC 7617.
---@param user string without a colon
---@param password string
---@return string
function http.basic(user, password)
  if type(user) ~= "string" or type(password) ~= "string" or user:find(":", 1, true) then
    error("http.basic: a user without a colon and a password expected, both texts", 2)
  end
  return "Basic " .. require "tidemill.crypto".base64(user .. ":" .. password)
end

--- A text as a part of a path or a query: all but letters, digits and "-._~" is percent-encoded.
---@type fun(text: string|number|boolean): string
http.escape = url.escape
--- "a=1&b=x%20y", by name; a list as a value gives the name as often.
---@type fun(values: table<string, any>): string
http.query = url.query

local function verb(method)
  return function(address, options)
    local all = { method = method, url = address }
    for name, value in pairs(options or {}) do
      all[name] = value
    end
    return http.request(all)
  end
end

--- As http.request, with the method in its name: `http.get(url, { query = { page = 2 } })`.
---@type fun(url: string, options?: table): tidemill.http.Response
http.get = verb "GET"
---@type fun(url: string, options?: table): tidemill.http.Response
http.post = verb "POST"
---@type fun(url: string, options?: table): tidemill.http.Response
http.put = verb "PUT"
---@type fun(url: string, options?: table): tidemill.http.Response
http.patch = verb "PATCH"
---@type fun(url: string, options?: table): tidemill.http.Response
http.delete = verb "DELETE"

return http
