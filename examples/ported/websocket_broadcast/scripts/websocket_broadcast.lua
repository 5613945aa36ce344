--- Posts each new message to all connections of its room, sixteen at once, and forgets those that are gone.
local aws, config, dynamodb, json = require "tidemill.aws", require "tidemill.config", require "tidemill.dynamodb", require "tidemill.json"

return {
  stream = "messages",
  filter = { eventName = { "INSERT" } },
  calls = { { "*", "execute-api:ManageConnections" } },
  tables = { { config.connections, "Query", "DeleteItem" } },

  on_insert = function(record)
    local stage, connections = config.api:match("^%a+://[^/]+(.*)$"), {}
    for connection in dynamodb.each(config.connections, "room = :r", { values = { [":r"] = record.new.room } }) do
      connections[#connections + 1] = connection
    end
    local text = json.encode { from = record.new.from, text = record.new.text, id = record.keys.messageId }
    tidemill.all(connections, function(connection)
      local ok, problem = pcall(aws.request, { service = "execute-api", endpoint = config.api:match("^%a+://[^/]+"), method = "POST",
        path = stage .. "/@connections/" .. aws.escape(connection.connectionId), body = text })
      if not ok and type(problem) == "table" and problem.status == 410 then
        dynamodb.delete(config.connections, { room = connection.room, connectionId = connection.connectionId })
      elseif not ok then
        error(problem, 0)
      end
    end, { limit = 16 })
  end,
}
