local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("a mail, and one only", function()
  local answers = 0
  test.aws(function(call)
    answers = answers + 1
    if answers == 1 then
      return 500, {}
    end
    test.equal(call.service, "ses")
    local content = call:json().Content.Simple
    test.equal(content.Subject.Data, "Welcome, <Ada>")
    test.contains(content.Body.Html.Data, "Hello &lt;Ada&gt;")
    return { MessageId = "m" }
  end)
  dynamodb.put("Accounts", { accountId = "a", name = "<Ada>", email = "ada@example.com", plan = "free" })
  test.settle()
  test.equal(answers, 2)
end)
