--- Writes to each new user once, through an e-mail service with an HTTP API (Postmark, Mailgun, SendGrid's and others'
--- JSON endpoints differ in a few names: change `message`).
--- Settings: `url`; `api_key`, the Authorization header; `from`; `subject` and `text`, in which {attribute} stands for
--- the user's value; `email` (email), the attribute with the address.
local config = require "tidemill.config"
local http = require "tidemill.http"
local once = require "tidemill.once"

local function fill(template, user)
  return (template:gsub("{([%w_]+)}", function(name)
    return tostring(user[name] == nil and "" or user[name])
  end))
end

local function message(user)
  return {
    from = config.from,
    to = user[config.email or "email"],
    subject = fill(config.subject or "Welcome", user),
    text = fill(config.text or "Welcome!", user),
  }
end

return {
  stream = "users",
  settings = {
    url = "required", api_key = "optional", from = "required", subject = "Welcome", text = "Welcome!",
    email = "email",
  },
  filter = { eventName = { "INSERT" } },

  on_insert = function(record)
    local mail = message(record.new)
    if type(mail.to) ~= "string" then
      return
    end
    once("signup/" .. record.id, function()
      local answer = http.post(config.url, { json = mail, headers = { Authorization = config.api_key },
        idempotency_key = record.id })
      if answer.status == 429 or answer.status >= 500 then
        error("the e-mail service answered " .. answer.status)
      elseif not answer:ok() then
        error(tidemill.permanent(("the e-mail service refused: %d %s"):format(answer.status, answer.body:sub(1, 200))))
      end
    end)
  end,
}
