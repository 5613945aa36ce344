local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("the copy is the same", function()
  for i = 1, 30 do
    dynamodb.put("Products", { productId = "p" .. i % 10, n = i })
  end
  dynamodb.delete("Products", { productId = "p0" })
  test.settle()
  local copies = dynamodb.scan("ProductsCopy")
  test.equal(#copies, 9)
  for _, copy in ipairs(copies) do
    test.equal(copy, dynamodb.get("Products", { productId = copy.productId }))
  end
end)
