local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("each change is a mutation", function()
  local seen = {}
  test.aws(function(call)
    test.equal(call.service, "appsync")
    seen[#seen + 1] = call:json().variables
    return #seen == 1 and { errors = { { message = "try again" } } } or { data = {} }
  end)
  dynamodb.put("Orders", { orderId = "o", status = "paid" })
  test.settle()
  dynamodb.delete("Orders", { orderId = "o" })
  test.settle()
  test.equal(seen, { { id = "o", status = "paid" }, { id = "o", status = "paid" }, { id = "o", status = "deleted" } })
end)
