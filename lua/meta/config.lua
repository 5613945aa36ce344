---@meta tidemill.config
--- The keys of the [handler NAME] section that are the script's own: strings, or of the type that a default in the
--- handler's `settings` has. A key that is not there is nil where `settings` says so, and an error that names it else.

---@class tidemill.config
---@field [string] string
local config = {}

return config
