local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment [[
[table Users]
key = userId

[stream users]
table = Users

[handler signup_email]
url     = http://mail.test/send
api_key = key
from    = hello@example.com
subject = Welcome, {name}
text    = You are {userId}{missing}.
]]

test("one mail to a new user", function()
  dynamodb.put("Users", { userId = "u1", name = "Ada", email = "ada@example.com" })
  dynamodb.put("Users", { userId = "u1", name = "Ada L.", email = "ada@example.com" })
  dynamodb.put("Users", { userId = "u2", name = "no address" })
  test.settle()
  test.equal(#test.requests(), 1)
  test.equal(test.requests()[1]:json(), { from = "hello@example.com", to = "ada@example.com", subject = "Welcome, Ada", text = "You are u1." })
end)

test("again while the service cannot take it, with the same key", function()
  test.http(function()
    return #test.requests() < 4 and 503 or 202
  end)
  dynamodb.put("Users", { userId = "u1", name = "Ada", email = "ada@example.com" })
  test.settle()
  test.equal(#test.requests(), 4)
  for i = 2, 4 do
    test.equal(test.requests()[i].headers["Idempotency-Key"], test.requests()[1].headers["Idempotency-Key"])
  end
end)

test("not again when the service refuses it", function()
  test.http(function() return 400, "bad address" end)
  dynamodb.put("Users", { userId = "u1", email = "nowhere" })
  test.settle()
  test.equal(#test.requests(), 1)
  test.contains(test.dead_letters()[1].error, "bad address")
end)
