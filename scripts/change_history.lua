--- Who changed which attributes: each change is written back as a history item, whose key is the item's and the
--- change's own, so a repetition writes nothing new.
--- Settings: `history_table` (partition key `item`, sort key `change`, both strings); `by` (updatedBy), the attribute
--- that tells who wrote; `ignore`, attributes that are of no interest, with commas between.
local config = require "tidemill.config"
local dynamodb = require "tidemill.dynamodb"
local time = require "tidemill.time"

local ignored = { [config.by or "updatedBy"] = true }
for name in (config.ignore or ""):gmatch("[^,%s]+") do
  ignored[name] = true
end

--- attribute -> {from, to}, either missing where there was none
local function changes_of(record)
  local old, new, changes = record.old or {}, record.new or {}, {}
  for _, image in ipairs { old, new } do
    for name in pairs(image) do
      if not ignored[name] and record.keys[name] == nil and record:changed(name) then
        changes[name] = { from = old[name], to = new[name] }
      end
    end
  end
  return changes
end

return {
  stream = "orders",
  settings = { history_table = "required", by = "updatedBy", ignore = "" },
  tables = { { config.history_table, "PutItem" } },

  on_record = function(record)
    local changes = changes_of(record)
    if record.event == "MODIFY" and next(changes) == nil then
      return
    end
    local writer = (record.new or record.old or {})[config.by or "updatedBy"]
    dynamodb.create(config.history_table, {
      item = dynamodb.key_text(record.keys),
      change = time.iso8601(record.time) .. "#" .. ("0"):rep(40 - #record.sequence) .. record.sequence,
      event = record.event,
      by = record.expired and "time to live" or writer,
      changes = changes,
    })
  end,
}
