--- The receiver can tell a repetition by its Idempotency-Key. 410: he wants no more.
local config, dynamodb, http, secrets = require "tidemill.config", require "tidemill.dynamodb", require "tidemill.http", require "tidemill.secrets"

return {
  stream = "orders",
  max_age = "3d",
  retries = -1,
  calls = { { "*", "ssm:GetParameter" } },
  tables = { { config.subscriptions, "GetItem", "DeleteItem" } },

  on_record = function(record)
    local order = record.new or record.old
    local key = { customerId = order.customerId }
    local subscription = dynamodb.get(config.subscriptions, key)
    if not subscription then
      return
    end
    local answer = http.post(subscription.url, { idempotency_key = record.id, json = { event = record.event, order = order },
      headers = { Authorization = "Bearer " .. secrets.parameter(config.parameter) } })
    if answer.status == 410 then
      dynamodb.delete(config.subscriptions, key)
    elseif not answer:ok() then
      error(subscription.customerId .. "'s endpoint answered " .. answer.status)
    end
  end,
}
