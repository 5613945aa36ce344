--- Posts a line to a Slack webhook for each change that the filter lets through. `once` keeps a repeated record from
--- posting twice.
--- Settings: `webhook`; `text`, in which {attribute} stands for the item's value.
local config = require "tidemill.config"
local http = require "tidemill.http"
local once = require "tidemill.once"

return {
  stream = "orders",
  settings = { webhook = "required", text = "{event} {keys}" },
  filter = { eventName = { "INSERT" } },

  on_record = function(record)
    local item = record.new or record.old or record.keys
    local text = (config.text or "{event} {keys}"):gsub("{([%w_]+)}", function(name)
      if name == "event" then
        return record.event
      end
      return tostring(item[name])
    end)
    once("slack/" .. record.id, function()
      local answer = http.post(config.webhook, { json = { text = text } })
      if answer.status == 429 or answer.status >= 500 then
        error("Slack answered " .. answer.status)
      elseif not answer:ok() then
        error(tidemill.permanent(("Slack refused the message: %d %s"):format(answer.status, answer.body)))
      end
    end)
  end,
}
