local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("orders go to the bus, and those that are shipped once more", function()
  for _, status in ipairs { "paid", "shipped" } do
    dynamodb.put("Orders", { pk = "OID#1", sk = "order", status = status, address = { city = "Ghent" } })
  end
  dynamodb.put("Orders", { pk = "CUSTOMER#1", sk = "profile" })
  test.settle()
  local types = {}
  for _, message in ipairs(test.emitted("bus")) do
    types[#types + 1] = message.detail_type or message:json().eventName
  end
  table.sort(types)
  test.equal(types, { "INSERT", "MODIFY", "Order shipped" })
end)
