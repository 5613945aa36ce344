--- The host hands over an item's changes one at a time, in their order: the last one is what stays.
local config, dynamodb = require "tidemill.config", require "tidemill.dynamodb"

local there = dynamodb.at { role = config.role, external_id = config.external_id, region = config.region }

return {
  stream = "products",
  calls = { { config.role, "sts:AssumeRole" } },
  tables = {},

  on_record = function(record)
    if record.new then
      there.put(config.copy, record.new)
    else
      there.delete(config.copy, record.keys)
    end
  end,
}
