--- GraphQL says what went wrong in an answer with status 200.
local config, http = require "tidemill.config", require "tidemill.http"

local MUTATION = "mutation($id: ID!, $status: String!) { orderChanged(id: $id, status: $status) { id status } }"

return {
  stream = "orders",
  calls = { { "*", "appsync:GraphQL" } },

  on_record = function(record)
    local answer = http.post(config.api, { signed = "appsync",
      json = { query = MUTATION, variables = { id = record.keys.orderId, status = record.new and record.new.status or "deleted" } } }):json()
    if answer.errors then
      error(answer.errors[1].message)
    end
  end,
}
