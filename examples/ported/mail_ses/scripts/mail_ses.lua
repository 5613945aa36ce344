--- `once`: a repeated record sends no second mail.
local aws, config, once = require "tidemill.aws", require "tidemill.config", require "tidemill.once"
local welcome = require("tidemill.template").load "welcome.html"

return {
  stream = "accounts",
  filter = { eventName = { "INSERT" } },
  calls = { { "*", "ses:SendEmail" } },

  on_insert = function(record)
    local account = record.new
    once("welcome/" .. record.id, function()
      return aws.request({ service = "email", signing = "ses", operation = "SendEmail", method = "POST", path = "/v2/email/outbound-emails",
        json = { FromEmailAddress = config.from, Destination = { ToAddresses = { account.email } },
          Content = { Simple = { Subject = { Data = "Welcome, " .. account.name },
            Body = { Html = { Data = welcome { name = account.name, plan = account.plan } } } } } } }):json().MessageId
    end)
  end,
}
