---@meta
--- What is C in tidemill.crypto; the rest of it stands in lua/tidemill/crypto.lua. Nothing here runs.

---@class tidemill.crypto
local crypto = {}
---@param data string
---@return string digest 32 bytes
function crypto.sha256(data) end
--- HMAC-SHA256.
---@param key string
---@param data string
---@return string digest 32 bytes
function crypto.hmac(key, data) end
---@param data string
---@return string
function crypto.hex(data) end
---@param text string
---@return string
function crypto.unhex(text) end
---@param data string
---@return string
function crypto.base64(data) end
---@param text string
---@return string
function crypto.unbase64(text) end
--- RFC 4648's alphabet for URLs, without padding.
---@param data string
---@return string
function crypto.base64url(data) end
---@param text string with or without padding
---@return string
function crypto.unbase64url(text) end
--- A signature as RFC 7518 has it, over SHA-256; crypto.jwt makes whole tokens.
---@param algorithm "RS256"|"ES256"
---@param key string a private key as PEM, without a passphrase
---@param data string
---@return string
function crypto.sign(algorithm, key, data) end
---@return string
function crypto.uuid() end
--- In a time that does not depend on where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

return crypto
