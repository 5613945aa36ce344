local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment [[
[table Orders]
key = orderId
ttl = expires

[table OrderHistory]
key    = item, change
stream = none

[stream orders]
table = Orders

[handler change_history]
history_table = OrderHistory
ignore        = updatedAt, expires
]]

local function history()
  local list = {}
  for item in dynamodb.each("OrderHistory", "#i = :i", { names = { ["#i"] = "item" }, values = { [":i"] = "o1" } }) do
    list[#list + 1] = { event = item.event, by = item.by, changes = item.changes }
  end
  return list
end

test("who changed what, in order", function()
  dynamodb.put("Orders", { orderId = "o1", status = "new", updatedBy = "shop" })
  dynamodb.put("Orders", { orderId = "o1", status = "paid", updatedBy = "bank", updatedAt = 1 })
  dynamodb.put("Orders", { orderId = "o1", status = "paid", updatedBy = "nobody", updatedAt = 2 })
  dynamodb.delete("Orders", { orderId = "o1" })
  test.settle()
  test.equal(history(), {
    { event = "INSERT", by = "shop", changes = { status = { to = "new" } } },
    { event = "MODIFY", by = "bank", changes = { status = { from = "new", to = "paid" } } },
    { event = "REMOVE", by = "nobody", changes = { status = { from = "paid" } } },
  })
end)

test("an item that expired says so", function()
  dynamodb.put("Orders", { orderId = "o1", expires = 1767225600 + 60 })
  test.advance(120)
  test.settle()
  test.equal(history()[2].by, "time to live")
end)
