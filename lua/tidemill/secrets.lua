---@meta tidemill.secrets
--- Secrets and parameters out of AWS, with the host's credentials, kept for a while: `secrets.get("prod/crm")`,
--- `secrets.parameter("/crm/token")`. `policy` wants them in the handler's `calls`:
--- { "*", "secretsmanager:GetSecretValue" }, { "*", "ssm:GetParameter" }.
local aws = require "tidemill.aws"
local check_options = require "tidemill.options"
local crypto = require "tidemill.crypto"
local json = require "tidemill.json"
local time = require "tidemill.time"

local secrets = {}

local TTL_S, KEPT_MAX = 300, 1000
local SECRET = { ttl = true, json = true, region = true, stage = true }
local PARAMETER = { ttl = true, json = true, region = true }
local kept, count = {}, 0

local function check(name, options, what, known)
  if type(name) ~= "string" or name == "" then
    error(what .. ": a name expected, got " .. (name == "" and "an empty text" or type(name)), 3)
  end
  options = check_options(what, options, known, 3)
  local ttl = options.ttl
  if ttl ~= nil and not (type(ttl) == "number" and ttl >= 0) then
    error(what .. ": ttl: seconds expected", 3)
  end
  return options
end

local function look_up(kind, name, options, ask)
  local key = ("%s\0%s\0%s\0%s"):format(kind, options.region or "", options.stage or "", name)
  local found, now = kept[key], time.now()
  if not found or now - found.since >= (options.ttl or TTL_S) or now < found.since then
    if not found and count >= KEPT_MAX then
      kept, count = {}, 0
    end
    local value = ask()
    count = count + (kept[key] and 0 or 1)
    found = { value = value, since = now }
    kept[key] = found
  end
  return options.json and json.decode(found.value) or found.value
end

--- The value of a secret of Secrets Manager, a text or bytes; with `json`, decoded.
---@param name string or its ARN
---@param options? {ttl?: number, json?: boolean, region?: string, stage?: string} `ttl`: seconds for which it is kept, 300; `stage`: AWSCURRENT
---@return any
function secrets.get(name, options)
  options = check(name, options, "secrets.get", SECRET)
  return look_up("secret", name, options, function()
    local answer = aws.call("secretsmanager", "GetSecretValue", { SecretId = name, VersionStage = options.stage },
      { region = options.region })
    return answer.SecretString or crypto.unbase64(answer.SecretBinary)
  end)
end

--- The value of a parameter of Systems Manager's Parameter Store, decrypted; with `json`, decoded.
---@param name string "/crm/token", or its ARN
---@param options? {ttl?: number, json?: boolean, region?: string}
---@return any
function secrets.parameter(name, options)
  options = check(name, options, "secrets.parameter", PARAMETER)
  return look_up("parameter", name, options, function()
    return aws.call("ssm", "GetParameter", { Name = name, WithDecryption = true }, { region = options.region }).Parameter.Value
  end)
end

return secrets
