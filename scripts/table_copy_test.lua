local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment [[
[table Orders]
key = orderId

[table Copy-Orders]
key    = orderId
stream = none

[stream orders]
table = Orders

[handler table_copy]
]]

local function copy()
  local found = {}
  for item in dynamodb.each("Copy-Orders") do
    found[item.orderId] = item.status
  end
  return found
end

test("the copy has each item as it is now", function()
  dynamodb.put("Orders", { orderId = "o1", status = "new" })
  dynamodb.put("Orders", { orderId = "o2", status = "new" })
  dynamodb.put("Orders", { orderId = "o1", status = "paid" })
  dynamodb.delete("Orders", { orderId = "o2" })
  test.settle()
  test.equal(copy(), { o1 = "paid" })
end)

test("a change that comes late is not copied over a later one", function()
  local event = { eventName = "MODIFY", late = true, dynamodb = { Keys = { orderId = { S = "o1" } }, NewImage = { orderId = { S = "o1" }, status = { S = "old" } } } }
  dynamodb.put("Orders", { orderId = "o1", status = "paid" })
  test.settle()
  test.event("table_copy", event)
  test.settle()
  test.equal(copy(), { o1 = "paid" })
end)
