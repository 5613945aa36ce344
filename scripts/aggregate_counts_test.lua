local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment [[
[table Orders]
key = orderId

[table OrderCounts]
key    = id
stream = none

[table OrderCountMarkers]
key    = id
stream = none
ttl    = expires

[stream orders]
table = Orders

[handler aggregate_counts]
group_by     = customer
counts_table = OrderCounts
once_table   = OrderCountMarkers
backoff      = 10ms..1s
retries      = -1
]]

local function counts()
  local list = {}
  for item in dynamodb.each("OrderCounts") do
    list[item.id] = item.count
  end
  return list
end

test("orders per customer, as they come, move and go", function()
  for i = 1, 9 do
    dynamodb.put("Orders", { orderId = "o" .. i, customer = "c" .. i % 3 })
  end
  dynamodb.put("Orders", { orderId = "o1", customer = "other" })
  dynamodb.delete("Orders", { orderId = "o2" })
  dynamodb.put("Orders", { orderId = "o3", customer = "c0", note = "same customer" })
  test.settle()
  test.equal(counts(), { c0 = 3, c1 = 2, c2 = 2, other = 1 })
end)

test("exact when answers are lost", function()
  test.faults { drop = 0.3, throttle = 0.2, operations = { "TransactWriteItems" } }
  for i = 1, 20 do
    dynamodb.put("Orders", { orderId = "o" .. i, customer = "c" })
  end
  test.settle()
  test.faults {}
  test.equal(counts(), { c = 20 })
end)
