---@meta tidemill.aws
--- Calls to any AWS service, with the host's own credentials and region: signed, repeated where that helps, bounded in
--- time; the handler is suspended meanwhile. What a service refuses raises an error with its `code`, `message` and
--- `status`. What can never pass (a wrong argument) is permanent: no further attempt is made. What somebody has to set
--- right first (AccessDenied, a wrong key) waits and costs no attempt. Everything else is tried again with the record.
--- `role` (an ARN) calls with that role's credentials, in another account perhaps: they are asked for once and kept fresh.
local raw = ...
local check_options = require "tidemill.options"
local json = require "tidemill.json"
local url = require "tidemill.url"

local aws = {}

-- Services that speak AWS's JSON protocol: X-Amz-Target's prefix, the version, and what it is called in hosts' names
-- and signatures where that is another name. From the services' API models.
local JSON = {
  athena = { "AmazonAthena", "1.1" },
  codebuild = { "CodeBuild_20161006", "1.1" },
  ["cognito-identity"] = { "AWSCognitoIdentityService", "1.1" },
  ["cognito-idp"] = { "AWSCognitoIdentityProviderService", "1.1" },
  comprehend = { "Comprehend_20171127", "1.1" },
  dynamodb = { "DynamoDB_20120810", "1.0" },
  ecs = { "AmazonEC2ContainerServiceV20141113", "1.1" },
  events = { "AWSEvents", "1.1" },
  firehose = { "Firehose_20150804", "1.1" },
  glue = { "AWSGlue", "1.1" },
  kinesis = { "Kinesis_20131202", "1.1" },
  kms = { "TrentService", "1.1" },
  logs = { "Logs_20140328", "1.1" },
  rekognition = { "RekognitionService", "1.1" },
  secretsmanager = { "secretsmanager", "1.1" },
  sqs = { "AmazonSQS", "1.0" },
  ssm = { "AmazonSSM", "1.1" },
  states = { "AWSStepFunctions", "1.0" },
  textract = { "Textract", "1.1" },
  translate = { "AWSShineFrontendService_20170701", "1.1" },
}

local AwsError = { __name = "aws error" }
AwsError.__index = AwsError

function AwsError:__tostring()
  return self.message
end

-- One that waits: see tidemill.once.
local WaitingError = { __name = "aws error", __index = AwsError, __tostring = AwsError.__tostring, __waits = true }

local function fail(problem)
  problem.permanent = problem.kind == "never"
  error(setmetatable(problem, problem.kind == "waits" and WaitingError or AwsError), 0)
end

---@class tidemill.aws.Response
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

--- The body as XML, what is in its outermost element: an element with others in it is a table of those by their names,
--- one without is its text, and where several have one name they are a list (see aws.list). Attributes are left out.
---@return table<string, any>
function Response:xml()
  return raw.xml(self.body)
end

local CALL = { region = true, endpoint = true, role = true, external_id = true, timeout = true, target = true,
  version = true, signing = true }

--- An operation of a service with a JSON protocol:
--- `aws.call("states", "StartExecution", { stateMachineArn = config.machine, input = "{}" })`.
---@param service string as in the host's name: "states", "ssm", "cognito-idp"
---@param operation string
---@param input? table
---@param options? {region?: string, endpoint?: string, role?: string, external_id?: string, timeout?: number, target?: string, version?: string, signing?: string} `target` and `version` ("1.0", "1.1") of a service that is not known here
---@return table
function aws.call(service, operation, input, options)
  if type(service) ~= "string" or type(operation) ~= "string" then
    error("aws.call takes a service, an operation and a table", 2)
  end
  if input ~= nil and type(input) ~= "table" then
    error("aws.call: the input is a table, not a " .. type(input), 2)
  end
  options = check_options("aws.call", options, CALL, 2)
  local known = JSON[service]
  local target, version = options.target or (known and known[1]), options.version or (known and known[2])
  if not target or not version then
    error("aws.call: it is not known how \"" .. service .. "\" is called: say target and version, or use aws.request", 2)
  end
  local body = (input == nil or next(input) == nil) and "{}" or json.encode(input)
  local status, _, answer = raw.send {
    service = service, signing = options.signing or service, operation = operation, method = "POST", body = body,
    endpoint = options.endpoint, region = options.region, role = options.role, external_id = options.external_id,
    timeout = options.timeout,
    headers = { "Content-Type: application/x-amz-json-" .. version, "X-Amz-Target: " .. target .. "." .. operation },
  }
  if not status then
    fail(_)
  end
  return answer ~= "" and json.decode(answer) or {}
end

local REQUEST = { service = true, signing = true, operation = true, method = true, path = true, query = true, headers = true,
  json = true, form = true, body = true, endpoint = true, region = true, role = true, external_id = true, timeout = true }

--- A request to a service with another protocol, or to an endpoint of one's own (execute-api, appsync, es, aoss,
--- rds-data): `aws.request{ service = "ses", method = "POST", path = "/v2/email/outbound-emails", json = {...} }`.
--- `path` is as the service wants it, with its parameters escaped (aws.escape); `form` becomes the body of services with
--- the query protocol.
---@param options {service: string, signing?: string, operation?: string, method?: string, path?: string, query?: table, headers?: table, json?: any, form?: table, body?: string, endpoint?: string, region?: string, role?: string, external_id?: string, timeout?: number}
---@return tidemill.aws.Response
function aws.request(options)
  if type(options) ~= "table" or type(options.service) ~= "string" then
    error("aws.request takes a table with a service", 2)
  end
  check_options("aws.request", options, REQUEST, 2)
  if (options.json ~= nil and 1 or 0) + (options.form ~= nil and 1 or 0) + (options.body ~= nil and 1 or 0) > 1 then
    error("aws.request: one of body, json and form", 2)
  end
  if type(options.path or "") ~= "string" or (options.path or ""):find("[%s%c#\x7f-\xff]") then
    error("aws.request: path: a text without blanks, '#' and letters beyond ASCII expected: aws.escape writes parts of it", 2)
  end
  local headers, body, type_of = {}, options.body, nil
  if options.json ~= nil then
    body, type_of = json.encode(options.json), "application/json"
  elseif options.form then
    body, type_of = url.query(options.form), "application/x-www-form-urlencoded; charset=utf-8"
  end
  for name, value in pairs(options.headers or {}) do
    if name:lower() == "content-type" then
      type_of = nil
    end
    headers[#headers + 1] = name .. ": " .. tostring(value)
  end
  if type_of then
    headers[#headers + 1] = "Content-Type: " .. type_of
  end
  local path = options.path or "/"
  if options.query and next(options.query) then
    path = path .. (path:find("?", 1, true) and "&" or "?") .. url.query(options.query)
  end
  local method = options.method or (body and "POST" or "GET")
  local status, answer_headers, answer = raw.send {
    service = options.service, signing = options.signing or options.service,
    operation = options.operation or (method .. " " .. (path:match("^[^?]*"))), method = method, path = path, body = body,
    endpoint = options.endpoint, region = options.region, role = options.role, external_id = options.external_id,
    timeout = options.timeout, headers = headers,
  }
  if not status then
    fail(answer_headers)
  end
  return setmetatable({ status = status, headers = answer_headers, body = answer }, Response)
end

--- What is there once in an XML answer and what is there several times, as a list: `for _, one in
--- ipairs(aws.list(answer.Contents)) do`.
---@param value any nil gives an empty list
---@return any[]
function aws.list(value)
  if value == nil then
    return {}
  end
  return type(value) == "table" and value[1] ~= nil and value or { value }
end

--- Raises what a service says went wrong inside an answer that is well as a whole.
---@param code string
---@param message string
function aws.refuse(code, message)
  fail { code = code, message = message, status = 200, kind = code:find("^AccessDenied") and "waits" or "passes" }
end

--- A text as a part of a path or a query: all but letters, digits and "-._~" is percent-encoded.
---@type fun(text: string|number|boolean): string
aws.escape = url.escape
--- "a=1&b=x%20y", by name; a list as a value gives the name as often.
---@type fun(values: table<string, any>): string
aws.query = url.query

return aws
