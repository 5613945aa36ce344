local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("a minute's orders are one object", function()
  for i = 1, 10 do
    dynamodb.put("Orders", { orderId = "o" .. i, total = i })
  end
  test.advance(180)
  test.settle()
  local orders, total = 0, 0
  for _, message in ipairs(test.emitted("figures")) do
    orders, total = orders + message:json().orders, total + message:json().total
  end
  test.equal({ orders, total }, { 10, 55 })
end)
