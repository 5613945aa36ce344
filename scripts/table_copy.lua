--- Keeps a copy: another table has each item as it is now. It may begin with what there was (a snapshot, an export) and
--- follow one table or many, by their streams or by Kinesis.
--- Settings: `copy`, the copy's name, in which {table} stands for the table's own; `region`, where it is elsewhere.
local config = require "tidemill.config"
local dynamodb = require "tidemill.dynamodb"

local there = config.region and config.region ~= "" and dynamodb.at { region = config.region } or dynamodb
local pattern = config.copy or "Copy-{table}"
local function copy_of(table)
  return (pattern:gsub("{table}", (table:gsub("%%", "%%%%"))))
end

return {
  stream = "orders",
  settings = { copy = "Copy-{table}", region = "" },
  tables = { { copy_of "*", "PutItem", "DeleteItem" } },
  concurrency = 32,
  retries = -1, -- what is left out would make the copy another table

  on_record = function(record)
    if record.late then
      return -- a later change of the item was copied already
    end
    if record.new then
      there.put(copy_of(record.table), record.new)
    else
      there.delete(copy_of(record.table), record.keys)
    end
  end,
}
