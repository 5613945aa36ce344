---@meta tidemill.crypto
--- Hashes, signatures and encodings.
---@class tidemill.crypto
local crypto = ...
local check_options = require "tidemill.options"
local json = require "tidemill.json"

local ALGORITHMS = { HS256 = true, RS256 = true, ES256 = true }
local OPTIONS = { algorithm = true, kid = true, typ = true }

--- A signed JSON Web Token (RFC 7519), such as service accounts show to get an access token:
--- `crypto.jwt({ iss = config.account, aud = url, iat = now, exp = now + 3600 }, config.private_key)`.
---@param claims table
---@param key string a private key as PEM (RS256, ES256), or the shared secret (HS256)
---@param options? {algorithm?: "RS256"|"ES256"|"HS256", kid?: string, typ?: string} RS256, typ JWT
---@return string
function crypto.jwt(claims, key, options)
  if type(claims) ~= "table" then
    error("crypto.jwt: claims: a table expected, got " .. type(claims), 2)
  end
  if type(key) ~= "string" then
    error("crypto.jwt: key: a text expected, got " .. type(key), 2)
  elseif key == "" then
    error("crypto.jwt: key: it is empty", 2)
  end
  options = check_options("crypto.jwt", options, OPTIONS, 2)
  local algorithm = options.algorithm or "RS256"
  if not ALGORITHMS[algorithm] then
    error("crypto.jwt: algorithm: RS256, ES256 or HS256 expected, got " .. tostring(algorithm), 2)
  end
  local head = json.encode { alg = algorithm, typ = options.typ or "JWT", kid = options.kid }
  local signed = crypto.base64url(head) .. "." .. crypto.base64url(json.encode(claims))
  local signature = algorithm == "HS256" and crypto.hmac(key, signed) or crypto.sign(algorithm, key, signed)
  return signed .. "." .. crypto.base64url(signature)
end

return crypto
