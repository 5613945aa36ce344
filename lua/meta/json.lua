---@meta tidemill.json
--- JSON texts. `json.null` is null, which is no nil: a member that is null is there. Arrays stay arrays when they are
--- empty, numbers keep all their digits.

---@class tidemill.json
local json = {}
---@type any
json.null = nil
--- Raises on functions, cycles, binaries and NaN, naming the path to it.
---@param value any
---@return string
function json.encode(value) end
--- Raises with the byte offset on what is not JSON. Numbers keep all their digits.
---@param text string
---@return any
function json.decode(text) end


return json
