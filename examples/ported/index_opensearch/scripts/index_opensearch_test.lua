local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("documents come and go with items", function()
  local there = {}
  test.aws(function(call)
    test.equal(call.service, "es")
    local id = call.url:match("/products/_doc/(.*)$")
    if call.method == "DELETE" and not there[id] then
      return 404, { result = "not_found" }
    end
    there[id] = call.method == "PUT" and call:json().name or nil
    return {}
  end)
  dynamodb.put("Products", { productId = "USER#1/a", name = "x" })
  dynamodb.put("Products", { productId = "b", name = "y" })
  test.settle()
  test.equal(there, { ["USER%231%2Fa"] = "x", b = "y" })
  dynamodb.delete("Products", { productId = "b" })
  test.settle()
  there = { ["USER%231%2Fa"] = nil }
  dynamodb.delete("Products", { productId = "USER#1/a" }) -- is not there any more: well
  test.settle()
end)
