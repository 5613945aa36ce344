local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("who subscribed is told, until he wants no more", function()
  test.aws(function(call)
    test.equal(call.input, { Name = "/webhooks/token", WithDecryption = true })
    return { Parameter = { Value = "t0ken" } }
  end)
  local told, answers = {}, { 503, 200, 410 }
  test.http(function(request)
    told[#told + 1] = request
    return answers[#told], {}
  end)
  dynamodb.put("Subscriptions", { customerId = "c", url = "https://example.com/hook" })
  for i = 1, 3 do
    dynamodb.put("Orders", { orderId = "o" .. i, customerId = i == 3 and "nobody" or "c" })
    test.settle()
  end
  test.equal(#told, 3)
  test.equal(told[1].headers.Authorization, "Bearer t0ken")
  test.equal(told[1].headers["Idempotency-Key"], told[2].headers["Idempotency-Key"])
  test.equal(dynamodb.get("Subscriptions", { customerId = "c" }), nil)
end)
