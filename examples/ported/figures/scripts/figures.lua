--- A window's state lives with the checkpoint: each record counts once in it, also after a crash.
local emit, time = require "tidemill.emit", require "tidemill.time"

return {
  stream = "orders",
  targets = { "figures" },

  on_window = function(state, records, final, window)
    state = state or { orders = 0, total = 0 }
    for _, record in ipairs(records) do
      if record.event == "INSERT" then
        state.orders = state.orders + 1
        state.total = state.total + record.new.total
      end
    end
    if final and state.orders > 0 then
      emit("figures", { from = time.iso8601(window.start), shard = window.shard, orders = state.orders, total = state.total },
        { object = ("%d/%s.json"):format(window.start, window.shard:gsub("[^%w-]", "_")) })
    end
    return state
  end,
}
