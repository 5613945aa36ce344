--- Rows with the columns id, data (jsonb), version (numeric): an older version changes nothing, so that repetitions do not.
local aws, config, dynamodb, json = require "tidemill.aws", require "tidemill.config", require "tidemill.dynamodb", require "tidemill.json"

local UPSERT = "INSERT INTO %s (id, data, version) VALUES (:id, :data::jsonb, :version::numeric) ON CONFLICT (id) DO UPDATE "
  .. "SET data = excluded.data, version = excluded.version WHERE %s.version < excluded.version"

local function execute(sql, parameters)
  local list = {}
  for name, value in pairs(parameters) do
    list[#list + 1] = { name = name, value = { stringValue = value } }
  end
  aws.request { service = "rds-data", operation = "ExecuteStatement", method = "POST", path = "/Execute", json = {
    resourceArn = config.cluster, secretArn = config.secret, database = config.database, sql = sql, parameters = list } }
end

return {
  calls = { { config.cluster, "rds-data:ExecuteStatement" }, { config.secret, "secretsmanager:GetSecretValue" } },
  tables = {},

  on_record = function(record)
    local name, id = record.table:lower(), dynamodb.key_text(record.keys)
    if record.event == "REMOVE" then
      execute(("DELETE FROM %s WHERE id = :id AND version < :version::numeric"):format(name), { id = id, version = record.sequence })
    else
      execute(UPSERT:format(name, name), { id = id, data = json.encode(record.new), version = record.sequence })
    end
  end,
}
