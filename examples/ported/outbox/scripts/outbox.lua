--- What is sent can be deleted by time to live: a REMOVE is no event.
local emit = require "tidemill.emit"

return {
  stream = "outbox",
  filter = { eventName = { "INSERT" } },
  targets = { "bus" },

  on_insert = function(record)
    local event = record.new
    emit("bus", event.detail, { detail_type = event.type, source = event.source, key = event.aggregate })
  end,
}
