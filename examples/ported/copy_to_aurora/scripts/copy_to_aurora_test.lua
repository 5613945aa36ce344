local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("each change is a statement for its table", function()
  dynamodb.put("Orders", { id = "o", total = 5 })
  dynamodb.put("Users", { id = "u" })
  dynamodb.delete("Users", { id = "u" })
  test.settle()
  local statements = {}
  for _, call in ipairs(test.requests()) do
    test.equal(call.service, "rds-data")
    statements[#statements + 1] = call:json().sql:match("^%w+ %w+ %w+")
  end
  table.sort(statements)
  test.equal(statements, { "DELETE FROM users", "INSERT INTO orders", "INSERT INTO users" })
end)
