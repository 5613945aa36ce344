local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("each event goes out under its name", function()
  dynamodb.put("Outbox", { eventId = "1", type = "OrderPlaced", aggregate = "o1", detail = { total = 5 } })
  dynamodb.put("Outbox", { eventId = "2", type = "OrderPaid", aggregate = "o1", source = "shop.payments", detail = {} })
  dynamodb.delete("Outbox", { eventId = "1" })
  test.settle()
  local sent = test.emitted("bus")
  test.equal(#sent, 2)
  table.sort(sent, function(a, b) return a.detail_type > b.detail_type end)
  test.equal({ sent[1].detail_type, sent[1].key, sent[1]:json().total, sent[2].source }, { "OrderPlaced", "o1", 5, "shop.payments" })
end)
