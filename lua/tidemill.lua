---@meta tidemill
--- The global `tidemill`.
local tidemill = {}

local Permanent = { __name = "permanent error" }

function Permanent:__tostring()
  return self.message
end

--- An error that another attempt cannot mend: `error(tidemill.permanent("why"))` sends the record to
--- `on_failure` at once.
---@param message string
---@return table
function tidemill.permanent(message)
  return setmetatable({ permanent = true, message = tostring(message) }, Permanent)
end

return tidemill
