--- The item's key is the document's id, and its changes come one at a time, in their order.
local config, dynamodb, http = require "tidemill.config", require "tidemill.dynamodb", require "tidemill.http"

local function document(record)
  return ("%s/%s/_doc/%s"):format(config.domain, http.escape(config.index), http.escape(dynamodb.key_text(record.keys)))
end

local function put(record)
  http.put(document(record), { signed = "es", json = record.new })
end

return {
  stream = "products",
  calls = { { "*", "es:ESHttpPut", "es:ESHttpDelete" } },
  tables = {},
  on_insert = put,
  on_modify = put,
  on_remove = function(record)
    local ok, problem = pcall(http.delete, document(record), { signed = "es" })
    if not ok and problem.status ~= 404 then
      error(problem, 0)
    end
  end,
}
