--- What an order comes to, in the log.
local config, log = require "tidemill.config", require "tidemill.log"

return {
  stream = "orders",
  retries = 0,
  on_insert = function(record)
    log.info("order", { id = record.new.id, total = record.new.total + 0, currency = config.currency })
  end,
}
