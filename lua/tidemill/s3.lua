---@meta tidemill.s3
--- Objects in S3 by their keys, with the host's own credentials: `s3.put("bucket", "metrics/x.json", text)`,
--- `s3.get("bucket", key)`, `s3.list`, `s3.each`, `s3.delete`. Keys are any text; they are escaped here.
local aws = require "tidemill.aws"
local check_options = require "tidemill.options"
local crypto = require "tidemill.crypto"

local s3 = {}

local PART_BYTES, PARTS_AT_ONCE, DELETED_AT_ONCE = 8 * 1024 * 1024, 2, 1000
local GET = { region = true, endpoint = true, role = true, external_id = true, range = true, version = true, timeout = true }
local PUT = { region = true, endpoint = true, role = true, external_id = true, timeout = true, content_type = true, cache_control = true,
  content_encoding = true, metadata = true, storage_class = true, if_absent = true, if_match = true }
local LIST = { region = true, endpoint = true, role = true, external_id = true, timeout = true, prefix = true, delimiter = true, limit = true,
  start_after = true, token = true }
local HEAD = { region = true, endpoint = true, role = true, external_id = true, version = true, timeout = true }
local EACH = { region = true, endpoint = true, role = true, external_id = true, timeout = true, prefix = true, limit = true, start_after = true }
local DELETE = { region = true, endpoint = true, role = true, external_id = true, timeout = true, version = true }

local function check(what, bucket, key, options, known)
  if type(bucket) ~= "string" or not bucket:find("^[%w][%w.-]+$") then
    error(what .. ": bucket: the bucket's name expected, got " .. (type(bucket) == "string" and '"' .. bucket .. '"' or type(bucket)), 3)
  end
  if type(key) ~= "string" or key == "" or #key > 1024 then
    error(what .. ": key: a text of 1 to 1024 bytes expected, got " .. (type(key) == "string" and #key .. " bytes" or type(key)), 3)
  end
  options = check_options(what, options, known, 3)
  return options -- no tail call: the levels are counted
end

-- Slashes stay: they are the path's.
local function path_of(bucket, key)
  local path = {}
  for part in (key .. "/"):gmatch("(.-)/") do
    path[#path + 1] = aws.escape(part)
  end
  return "/" .. bucket .. "/" .. table.concat(path, "/")
end

local function send(operation, method, path, options, more)
  local request = { service = "s3", operation = operation, method = method, path = path, region = options.region,
    endpoint = options.endpoint, role = options.role, external_id = options.external_id, timeout = options.timeout }
  for name, value in pairs(more or {}) do
    request[name] = value
  end
  return aws.request(request)
end

local function is_missing(problem)
  return type(problem) == "table" and problem.status == 404 and problem.code ~= "NoSuchBucket"
end

-- What it returns, or nil where there is no such object.
local function unless_missing(...)
  local ok, answer = pcall(send, ...)
  if ok then
    return answer
  elseif not is_missing(answer) then
    error(answer, 0)
  end
end

---@class tidemill.s3.Object
---@field size integer
---@field etag string
---@field modified string as the service writes it
---@field content_type? string
---@field metadata? table<string, string>
---@field version? string

local function describe(headers)
  local metadata = {}
  for name, value in pairs(headers) do
    local own = name:match("^x%-amz%-meta%-(.+)")
    if own then
      metadata[own] = value
    end
  end
  return { size = tonumber(headers["content-length"]) or 0, etag = headers.etag, modified = headers["last-modified"],
    content_type = headers["content-type"], version = headers["x-amz-version-id"], metadata = metadata }
end

--- The object's bytes and what is known of it; nil when there is no such object.
---@param bucket string
---@param key string
---@param options? {range?: string, version?: string, region?: string, endpoint?: string, role?: string, external_id?: string, timeout?: number} `range`: "bytes=0-99"
---@return string|nil, tidemill.s3.Object|nil
function s3.get(bucket, key, options)
  options = check("s3.get", bucket, key, options, GET)
  local answer = unless_missing("GetObject", "GET", path_of(bucket, key), options,
    { query = { versionId = options.version }, headers = { Range = options.range } })
  if answer then
    return answer.body, describe(answer.headers)
  end
end

--- What is known of an object; nil when there is none.
---@param bucket string
---@param key string
---@param options? {version?: string, region?: string, endpoint?: string, role?: string, external_id?: string, timeout?: number}
---@return tidemill.s3.Object|nil
function s3.head(bucket, key, options)
  options = check("s3.head", bucket, key, options, HEAD)
  local answer = unless_missing("HeadObject", "HEAD", path_of(bucket, key), options, { query = { versionId = options.version } })
  return answer and describe(answer.headers)
end

local function headers_of(options)
  local headers = { ["Content-Type"] = options.content_type or "application/octet-stream",
    ["Cache-Control"] = options.cache_control, ["Content-Encoding"] = options.content_encoding,
    ["x-amz-storage-class"] = options.storage_class }
  for name, value in pairs(options.metadata or {}) do
    if type(name) ~= "string" or not name:find("^[%w._-]+$") or type(value) ~= "string" or value:find("[%c\x7f-\xff]") then
      error("s3.put: metadata: names and texts of printable ASCII expected", 4)
    end
    headers["x-amz-meta-" .. name] = value
  end
  return headers
end

local function condition_of(options, headers)
  headers["If-None-Match"], headers["If-Match"] = options.if_absent and "*" or nil, options.if_match
  return headers
end

-- In parts: all of them, or nothing of it.
local function put_parts(path, body, options)
  local upload = send("CreateMultipartUpload", "POST", path, options,
    { query = { uploads = "" }, headers = headers_of(options) }):xml().UploadId
  local finished <close> = setmetatable({}, { __close = function(self)
    if not self[1] then -- nothing can wait here: a bucket's rule for unfinished uploads removes the parts
      print("s3.put: the upload of " .. path .. " in parts was not finished; its parts stay until the bucket's lifecycle removes them")
    end
  end })
  local starts = {}
  for first = 1, #body, PART_BYTES do
    starts[#starts + 1] = first
  end
  local ok, tags = pcall(tidemill.all, starts, function(first, number)
    return send("UploadPart", "PUT", path, options, { query = { partNumber = number, uploadId = upload },
      headers = { ["Content-Type"] = "application/octet-stream" }, body = body:sub(first, first + PART_BYTES - 1) }).headers.etag
  end, { limit = PARTS_AT_ONCE })
  local answer
  if ok then
    for number = 1, #starts do
      local tag = tags[number]
      if not tag then
        error("s3.put: the service gave part " .. number .. " no ETag", 0)
      end
      tags[number] = "<Part><PartNumber>" .. number .. "</PartNumber><ETag>" .. tag:gsub('"', "&quot;") .. "</ETag></Part>"
    end
    ok, answer = pcall(send, "CompleteMultipartUpload", "POST", path, options, { query = { uploadId = upload },
      headers = condition_of(options, { ["Content-Type"] = "application/xml" }),
      body = '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' .. table.concat(tags) .. "</CompleteMultipartUpload>" })
    -- It may answer 200 before it has done it, and say then what went wrong.
    local result = ok and answer:xml()
    if result and result.Code then
      ok, answer = pcall(aws.refuse, result.Code, "CompleteMultipartUpload: " .. result.Code .. ": " .. tostring(result.Message))
    elseif result then
      finished[1] = true
      return result.ETag or ""
    end
  end
  local problem = ok and tags or (answer or tags)
  pcall(send, "AbortMultipartUpload", "DELETE", path, options, { query = { uploadId = upload } })
  finished[1] = true
  error(problem, 0)
end

--- Writes an object, whole or not at all (above 16 MiB in parts), and returns its ETag; with `if_absent` or
--- `if_match`, false where that does not hold (or held until an attempt whose answer was lost).
---@param bucket string
---@param key string
---@param body string
---@param options? {content_type?: string, cache_control?: string, content_encoding?: string, storage_class?: string, metadata?: table<string, string>, if_absent?: boolean, if_match?: string, region?: string, endpoint?: string, role?: string, external_id?: string, timeout?: number}
---@return string|false
function s3.put(bucket, key, body, options)
  options = check("s3.put", bucket, key, options, PUT)
  if type(body) ~= "string" then
    error("s3.put: body: a text expected, got " .. type(body), 2)
  end
  local path = path_of(bucket, key)
  local ok, answer
  if #body > 2 * PART_BYTES then
    ok, answer = pcall(put_parts, path, body, options)
  else
    ok, answer = pcall(function()
      return send("PutObject", "PUT", path, options, { body = body, headers = condition_of(options, headers_of(options)) }).headers.etag or ""
    end)
  end
  if ok then
    return answer
  elseif type(answer) == "table" and ((answer.status == 412 and (options.if_absent or options.if_match))
    or (answer.code == "NoSuchKey" and options.if_match)) then
    return false
  end
  error(answer, 0)
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["\r"] = "&#13;", ["\n"] = "&#10;" }

local function escape_xml(text)
  return (text:gsub("[&<>\r\n]", ENTITIES))
end

--- Deletes an object, or a list of them, of which there may be any number; what was not there is deleted, too.
---@param bucket string
---@param key string|string[]
---@param options? {version?: string, region?: string, endpoint?: string, role?: string, external_id?: string, timeout?: number}
function s3.delete(bucket, key, options)
  if type(key) ~= "table" then
    options = check("s3.delete", bucket, key, options, DELETE)
    send("DeleteObject", "DELETE", path_of(bucket, key), options, { query = { versionId = options.version } })
    return
  end
  options = check("s3.delete", bucket, "a list", options, DELETE)
  if options.version then
    error("s3.delete: version goes with one key only", 2)
  end
  local plain = {}
  for _, one in ipairs(key) do
    check("s3.delete", bucket, one, nil, DELETE)
    if one:find("[\0-\8\11\12\14-\31]") or not utf8.len(one) or one:find("\xef\xbf[\xbe\xbf]") then -- XML cannot hold it
      s3.delete(bucket, one, options)
    else
      plain[#plain + 1] = one
    end
  end
  for _, keys in ipairs(tidemill.chunks(plain, DELETED_AT_ONCE)) do
    local objects = {}
    for i, one in ipairs(keys) do
      objects[i] = "<Object><Key>" .. escape_xml(one) .. "</Key></Object>"
    end
    local body = '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>' .. table.concat(objects) .. "</Delete>"
    local answer = send("DeleteObjects", "POST", "/" .. bucket, options, { query = { delete = "" }, body = body,
      headers = { ["Content-Type"] = "application/xml", ["x-amz-checksum-sha256"] = crypto.base64(crypto.sha256(body)) } })
    local failed = answer.body:find("<Error>", 1, true) and aws.list(answer:xml().Error)[1]
    if failed then
      aws.refuse(tostring(failed.Code), "DeleteObjects: " .. tostring(failed.Key) .. ": " .. tostring(failed.Code) .. ": " .. tostring(failed.Message))
    end
  end
end

---@class tidemill.s3.Listed
---@field key string
---@field size integer
---@field etag string
---@field modified string

--- The objects of a bucket by key, at most 1,000, and the token for more (nil: these were the last), and with a
--- `delimiter` the prefixes up to it.
---@param bucket string
---@param options? {prefix?: string, delimiter?: string, limit?: integer, start_after?: string, token?: string, region?: string, endpoint?: string, role?: string, external_id?: string, timeout?: number}
---@return tidemill.s3.Listed[], string|nil, string[]
function s3.list(bucket, options)
  options = check("s3.list", bucket, "any", options, LIST)
  local answer = send("ListObjectsV2", "GET", "/" .. bucket, options, { query = { ["list-type"] = 2, prefix = options.prefix,
    delimiter = options.delimiter, ["max-keys"] = options.limit, ["start-after"] = options.start_after,
    ["continuation-token"] = options.token, ["encoding-type"] = "url" } }):xml()
  local objects, prefixes = {}, {}
  local function plain(text) -- XML cannot hold every key
    if answer.EncodingType ~= "url" then
      return text
    end
    return (text:gsub("+", " "):gsub("%%(%x%x)", function(code)
      return string.char(tonumber(code, 16))
    end))
  end
  for i, one in ipairs(aws.list(answer.Contents)) do
    objects[i] = { key = plain(one.Key), size = tonumber(one.Size), etag = one.ETag, modified = one.LastModified }
  end
  for i, one in ipairs(aws.list(answer.CommonPrefixes)) do
    prefixes[i] = plain(one.Prefix)
  end
  return objects, answer.IsTruncated == "true" and answer.NextContinuationToken or nil, prefixes
end

--- All objects, page after page: `for object in s3.each("bucket", { prefix = "a/" }) do print(object.key) end`.
---@param bucket string
---@param options? {prefix?: string, start_after?: string, region?: string, endpoint?: string, role?: string, external_id?: string, timeout?: number}
---@return fun(): tidemill.s3.Listed|nil
function s3.each(bucket, options)
  options = check("s3.each", bucket, "any", options, EACH)
  local page, token, at, over = {}, nil, 0, false
  return function()
    while at == #page and not over do
      local asked = {}
      for name, value in pairs(options) do
        asked[name] = value
      end
      asked.token = token
      page, token = s3.list(bucket, asked)
      at, over = 0, not token
    end
    at = at + 1
    return page[at]
  end
end

return s3
