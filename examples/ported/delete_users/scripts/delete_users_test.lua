local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("who is removed is deleted, once more too", function()
  local there = { ada = true }
  test.aws(function(call)
    test.equal(call.operation, "AdminDeleteUser")
    local name = call.input.Username
    if not there[name] then
      return 400, { __type = "UserNotFoundException", message = "User does not exist." }
    end
    there[name] = nil
    return {}
  end)
  for _, name in ipairs { "ada", "nobody" } do
    dynamodb.put("Users", { userId = name })
    dynamodb.delete("Users", { userId = name })
  end
  test.settle()
  test.equal(there, {})
  test.equal(#test.requests(), 2)
end)
