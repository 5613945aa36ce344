local test, dynamodb, json = require "tidemill.test", require "tidemill.dynamodb", require "tidemill.json"
test.deployment "../tidemill.ini"

test("rows follow the items, and what was spent counts once", function()
  local rows, spent, failures = {}, {}, 0
  test.postgres(function(sql, params)
    if sql:find("^INSERT INTO orders") then
      rows[params[1]] = json.decode(params[2]).total
    elseif sql:find("^DELETE") then
      rows[params[1]] = nil
    elseif failures == 0 then
      failures = 1
      return { err = "40001", message = "could not serialize access" }
    else
      spent[params[1]] = (spent[params[1]] or 0) + tonumber(params[2])
    end
    return 1
  end)
  dynamodb.put("Orders", { orderId = "o1", customer = "ada", total = 10 })
  dynamodb.put("Orders", { orderId = "o1", customer = "ada", total = 25 })
  dynamodb.put("Orders", { orderId = "o2", customer = "bob", total = 5 })
  dynamodb.delete("Orders", { orderId = "o2" })
  test.settle()
  test.equal(rows, { o1 = 25 })
  test.equal(spent, { ada = 25, bob = 0 })
end)
