local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("each change reaches the index, in its order", function()
  dynamodb.put("Products", { productId = "p", name = "first" })
  dynamodb.put("Products", { productId = "p", name = "second" })
  dynamodb.delete("Products", { productId = "p" })
  test.settle()
  local events = {}
  for i, message in ipairs(test.emitted("search")) do
    events[i] = message:json().eventName
  end
  test.equal(events, { "INSERT", "MODIFY", "REMOVE" })
end)
