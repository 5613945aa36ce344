local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("the count follows the messages", function()
  test.faults { drop = 0.3, operations = { "TransactWriteItems" } } -- lost answers: done, and done again
  for i = 1, 20 do
    dynamodb.put("Messages", { messageId = "m" .. i, to = "ada" })
  end
  for i = 1, 5 do
    dynamodb.update("Messages", { messageId = "m" .. i }, "SET #r = :t", { names = { ["#r"] = "read" }, values = { [":t"] = true } })
  end
  dynamodb.delete("Messages", { messageId = "m20" })
  test.settle()
  test.equal(dynamodb.get("Unread", { userId = "ada" }).unread, 14)
  test.equal(#test.emitted("push"), 26)
end)
