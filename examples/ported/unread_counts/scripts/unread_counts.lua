--- `once` in the transaction makes a repeated record count once.
local config, dynamodb, emit = require "tidemill.config", require "tidemill.dynamodb", require "tidemill.emit"

local function unread(item)
  return item and not item.read and 1 or 0
end

return {
  stream = "messages",
  targets = { "push" },
  tables = { { config.counts, "UpdateItem", "GetItem" }, { config.once_table, "PutItem" } },

  on_record = function(record)
    local change = unread(record.new) - unread(record.old)
    if change == 0 then
      return
    end
    local user = { userId = (record.new or record.old).to }
    dynamodb.transact { once = record.id, { update = { config.counts, user, "ADD unread :c", { values = { [":c"] = change } } } } }
    emit("push", { user = user.userId, unread = (dynamodb.get(config.counts, user, { consistent = true }) or {}).unread })
  end,
}
