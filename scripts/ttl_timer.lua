--- Timers without a scheduler: a table whose items are never read, only put with a time to live. When one expires,
--- what it holds is emitted to the target `fired`. Deleted by hand is cancelled.
---
--- DynamoDB expires items within minutes up to two days after their time: for reminders, not for alarm clocks. `late`
--- says by how many seconds.
---
--- Settings: `ttl_attribute`, the table's time to live (fires_at).
local emit = require "tidemill.emit"
local config = require "tidemill.config"
local time = require "tidemill.time"

local ttl_attribute = config.ttl_attribute or "fires_at"

return {
  stream = "timers",
  settings = { ttl_attribute = "fires_at" },
  filter = {
    eventName = { "REMOVE" },
    userIdentity = { type = { "Service" }, principalId = { "dynamodb.amazonaws.com" } },
  },
  targets = { "fired" },
  tables = {},

  on_remove = function(record)
    local due = record.old[ttl_attribute]
    emit("fired", { timer = record.old, due = due, late = due and math.max(0, math.floor(time.now() - due)) },
      { detail_type = "Timer fired" })
  end,
}
