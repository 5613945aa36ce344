--- Counts the items per group (orders per customer), exactly: the count and a marker of the change are written in one
--- transaction, so a change that is delivered again counts once.
--- Settings: `group_by`, the attribute; `counts_table` (partition key `id`); `once_table` for the markers
--- (partition key `id`, time to live on `expires`).
local config = require "tidemill.config"
local dynamodb = require "tidemill.dynamodb"

local function group_of(image)
  local value = image and image[config.group_by or "customerId"]
  return value ~= nil and tostring(value) or nil
end

return {
  stream = "orders",
  settings = { group_by = "customerId", counts_table = "required", once_table = "required" },
  tables = { { config.counts_table, "UpdateItem" }, { config.once_table, "PutItem" } },

  on_record = function(record)
    local before, after = group_of(record.old), group_of(record.new)
    if before == after then
      return
    end
    local writes = { once = record.id }
    for group, change in pairs { [before or false] = -1, [after or false] = 1 } do
      if group then
        writes[#writes + 1] = { update = { config.counts_table, { id = group }, "ADD #n :change",
          { names = { ["#n"] = "count" }, values = { [":change"] = change } } } }
      end
    end
    dynamodb.transact(writes)
  end,
}
