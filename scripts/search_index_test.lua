local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment [[
[table Users]
key = userId

[stream users]
table = Users

[handler search_index]
service = opensearch
url     = http://search.test
index   = users
backoff = 1s..60s
]]

local function seen()
  local list = {}
  for i, request in ipairs(test.requests()) do
    list[i] = request.method .. " " .. request.url:gsub("^http://search.test", "")
  end
  return list
end

test("upserts and deletes", function()
  dynamodb.put("Users", { userId = "u 1", name = "first" })
  dynamodb.put("Users", { userId = "u 1", name = "second" })
  dynamodb.delete("Users", { userId = "u 1" })
  test.settle()
  test.equal(seen(), { "PUT /users/_doc/u%201", "PUT /users/_doc/u%201", "DELETE /users/_doc/u%201" })
  test.equal(test.requests()[2]:json().name, "second")
end)

test("a document that is gone already is no failure", function()
  dynamodb.put("Users", { userId = "u" })
  test.http(function(request) return request.method == "DELETE" and 404 or 200 end)
  dynamodb.delete("Users", { userId = "u" })
  test.settle()
  test.equal(#test.requests(), 2)
end)

test("a service that stumbles gets the change later, and in order", function()
  local calls = 0
  test.http(function()
    calls = calls + 1
    if calls == 1 then
      return nil -- the connection breaks
    end
    return calls < 4 and 503 or 200
  end)
  dynamodb.put("Users", { userId = "u", name = "first" })
  dynamodb.put("Users", { userId = "u", name = "second" })
  test.settle()
  test.equal(#test.requests(), 5)
  test.equal(test.requests()[4]:json().name, "first")
  test.equal(test.requests()[5]:json().name, "second")
end)

test("what the service refuses for good becomes a dead letter", function()
  test.http(function() return 400, "no such field" end)
  dynamodb.put("Users", { userId = "u" })
  test.settle()
  test.contains(test.dead_letters()[1].error, "no such field")
end)
