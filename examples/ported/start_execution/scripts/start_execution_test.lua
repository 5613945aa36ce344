local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("each new order is an execution's input", function()
  dynamodb.put("Orders", { orderId = "o1", total = 12 })
  dynamodb.update("Orders", { orderId = "o1" }, "SET #t = :t", { names = { ["#t"] = "total" }, values = { [":t"] = 13 } })
  test.settle()
  local sent = test.emitted("flow")
  test.equal(#sent, 1)
  test.equal(sent[1]:json(), { orderId = "o1", total = 12 })
end)
