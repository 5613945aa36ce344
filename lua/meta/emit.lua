---@meta tidemill.emit
--- `require "tidemill.emit"` is a function. Nothing here runs.

---@class tidemill.EmitOptions
---@field key? string messages of one key are accepted in order: SQS and SNS FIFO's group, Kinesis' partition key; the item's
---@field source? string EventBridge's Source
---@field detail_type? string EventBridge's DetailType
---@field subject? string SNS' Subject
---@field object? string s3 and file: an object of that name below the target's prefix or path, in place of a line among events; it takes the place of what was there
---@field record? tidemill.Record in on_batch and on_window: which of the records it is for (its key, time and id)

--- Collected while the handler runs, sent when it has returned; the record is
--- settled when everything was accepted. Raises when there is no such target.
---@param target string the name of a [target] section
---@param payload string|table a table is sent as JSON
---@param options? tidemill.EmitOptions
local function emit(target, payload, options) end
return emit
