local test, dynamodb, json = require "tidemill.test", require "tidemill.dynamodb", require "tidemill.json"
test.deployment "../tidemill.ini"

test("rows of each table go into the table of that name", function()
  for i = 1, 3 do
    dynamodb.put("Orders", { id = "o" .. i })
    dynamodb.put("Users", { id = "u" .. i })
  end
  dynamodb.delete("Users", { id = "u1" })
  test.settle()
  local rows = { orders = 0, users = 0, products = 0 }
  local deleted = 0
  for _, request in ipairs(test.requests()) do
    local name = request.url:match("INSERT%%20INTO%%20(%w+)%%20FORMAT%%20JSONEachRow")
    for line in request.body:gmatch("[^\n]+") do
      rows[name] = rows[name] + 1
      deleted = deleted + json.decode(line).deleted
    end
  end
  test.equal(rows, { orders = 3, users = 4, products = 0 })
  test.equal(deleted, 1)
end)
