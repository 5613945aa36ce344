---@meta
--- What a handler is called with. Attributes of items are plain Lua values: see `tidemill help values`. Nothing here runs.

---@class tidemill.Record
---@field id string the event's id, the same at every delivery
---@field event "INSERT"|"MODIFY"|"REMOVE"
---@field keys table<string, any>
---@field old table<string, any>|nil the item before, where the view type has it
---@field new table<string, any>|nil the item after, where the view type has it
---@field sequence string
---@field time integer seconds since 1970, as DynamoDB gives it
---@field table string
---@field stream string the stream's name in the INI
---@field shard string
---@field size integer bytes
---@field view string
---@field expired boolean removed by time to live
---@field attempt integer from 1, across restarts
---@field epoch integer grows with every change of the shard's owner among hosts, also from parent to child; 0: one host has the state alone
---@field replayed boolean out of an archive, by `tidemill replay`
---@field late boolean by way of Kinesis: a later change of its item has come before
---@field snapshot boolean what the table held when the handler's snapshot was taken: an INSERT without an old image
---@field redriven boolean out of the dead letters: newer records of its item may have been handled
---@field age number seconds since it was written
---@field raw table the record as DynamoDB JSON, in the shape Lambda hands over
local Record = {}

--- Did the attribute change, appear or disappear?
---@param attribute string
---@return boolean
function Record:changed(attribute) end
