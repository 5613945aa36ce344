local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment [[
[table Products]
key = productId

[table Replenishment]
key    = orderId
stream = none

[stream products]
table = Products

[handler stock_replenishment]
replenishment_table = Replenishment
]]

local function stock(amount)
  dynamodb.put("Products", { productId = "p", stock = amount, reorderThreshold = 50, amountToReplenish = 100 })
end

local function orders()
  return (dynamodb.scan("Replenishment"))
end

test("one order when the stock falls below its threshold", function()
  stock(60)
  stock(49)
  test.settle()
  test.equal(#orders(), 1)
  test.equal(orders()[1].productId, "p")
  test.equal(orders()[1].amount, 100)
end)

test("none while it stays above, or below", function()
  for _, amount in ipairs { 60, 50, 55, 51 } do
    stock(amount)
  end
  test.settle()
  test.equal(#orders(), 0)
  stock(40)
  stock(30)
  test.settle()
  test.equal(#orders(), 1)
end)

test("one, whatever the service does meanwhile", function()
  test.faults { throttle = 0.3, error = 0.2, drop = 0.2, operations = { "PutItem", "GetRecords" } }
  local written = 0
  while written < 2 do
    if pcall(stock, written == 0 and 60 or 40) then
      written = written + 1
    end
  end
  test.split_shards(2)
  test.expire_iterators()
  test.settle()
  test.faults {}
  test.equal(#orders(), 1)
end)
