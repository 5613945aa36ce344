local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("every change is an event of the lake", function()
  dynamodb.put("Orders", { id = "o1", total = 5 })
  dynamodb.put("Orders", { id = "o1", total = 6 })
  dynamodb.delete("Orders", { id = "o1" })
  test.settle()
  local events = {}
  for i, message in ipairs(test.emitted("lake")) do
    events[i] = message:json().eventName
  end
  test.equal(events, { "INSERT", "MODIFY", "REMOVE" })
end)
