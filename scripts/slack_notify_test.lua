local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment [[
[table Orders]
key = orderId

[stream orders]
table = Orders

[handler slack_notify]
webhook = http://slack.test/hook
text    = New order {orderId} by {customerId}
]]

test("a line for each new order", function()
  dynamodb.put("Orders", { orderId = "o1", customerId = "c1" })
  dynamodb.put("Orders", { orderId = "o1", customerId = "c2" })
  dynamodb.put("Orders", { orderId = "o2", customerId = "c2" })
  test.settle()
  test.equal(#test.requests(), 2)
  local texts = { test.requests()[1]:json().text, test.requests()[2]:json().text }
  table.sort(texts)
  test.equal(texts, { "New order o1 by c1", "New order o2 by c2" })
end)

test("an answer that was lost is asked for again", function()
  test.http(function() return #test.requests() == 1 and 429 or 200 end)
  dynamodb.put("Orders", { orderId = "o1", customerId = "c1" })
  test.settle()
  test.equal(#test.requests(), 2)
end)
