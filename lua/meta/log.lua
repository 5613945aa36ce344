---@meta tidemill.log
--- Lines of the host's log, with the handler's name. Whatever is given is printed: a message may be any value, and fields a
--- table, a record or any other one. A line never fails a record.
---
---     log.info("charged", { order = record.keys.orderId, amount = amount })

---@class tidemill.log
local log = {}
---@param message any
---@param fields? table
function log.debug(message, fields) end
---@param message any
---@param fields? table
function log.info(message, fields) end
---@param message any
---@param fields? table
function log.warn(message, fields) end
---@param message any
---@param fields? table
function log.error(message, fields) end


return log
