local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("all in the room get it, and who is gone is forgotten", function()
  for i = 1, 40 do
    dynamodb.put("Connections", { room = "r", connectionId = "c=" .. i })
  end
  dynamodb.put("Connections", { room = "other", connectionId = "x" })
  test.aws(function(call)
    if call.url:find("c%3D7", 1, true) then
      return 410, { message = "Gone" }
    end
    return 200, ""
  end)
  dynamodb.put("Messages", { messageId = "m", room = "r", from = "ada", text = "hello" })
  test.settle()
  test.equal(#test.requests(), 40)
  test.contains(test.requests()[1].url, "/prod/@connections/c%3D")
  test.equal(test.requests()[1]:json(), { from = "ada", text = "hello", id = "m" })
  test.equal(#dynamodb.query("Connections", "room = :r", { values = { [":r"] = "r" } }), 39)
end)
