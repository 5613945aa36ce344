---@meta tidemill.pattern
--- Event patterns by hand, as `filter` has them: the language of EventBridge.

---@class tidemill.pattern
local pattern = {}
--- An event pattern, as a table or as JSON text. Raises with the path to what is wrong in it.
---@param pattern_or_json table|string
---@return fun(value: any): boolean matcher also takes a record
function pattern.compile(pattern_or_json) end


return pattern
