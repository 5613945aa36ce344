local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment [[
[table Customers]
key = customerId

[stream customers]
table = Customers

[handler crm_sync]
crm_url    = http://crm.test
enrich_url = http://enrich.test/?email=
api_key    = key
]]

local function to(host)
  local list = {}
  for _, request in ipairs(test.requests()) do
    if request.url:find("http://" .. host, 1, true) then
      list[#list + 1] = request
    end
  end
  return list
end

test("a customer is enriched and saved", function()
  test.http(function(request)
    return 200, request.url:find("enrich") and { company = "ACME" } or {}
  end)
  dynamodb.put("Customers", { customerId = "c1", email = "a@b.example" })
  test.settle()
  local saved = to("crm.test")[1]
  test.equal(saved.method, "PUT")
  test.equal(saved.url, "http://crm.test/contacts/c1")
  test.equal(saved.headers.Authorization, "key")
  test.equal(saved:json(), { customerId = "c1", email = "a@b.example", enrichment = { company = "ACME" } })
end)

test("without enrichment when that service is broken", function()
  local answers = { [1] = function() return nil end, [2] = function() return 500 end, [3] = function() return 200, "no JSON" end }
  for i, answer in ipairs(answers) do
    test.http(function(request)
      if request.url:find("enrich") then
        return answer()
      end
      return 200
    end)
    dynamodb.put("Customers", { customerId = "c" .. i, email = "x" })
    test.settle()
    test.equal(#to("crm.test"), i)
    test.equal(to("crm.test")[i]:json().enrichment, nil)
  end
end)

test("a removed customer is marked as deleted", function()
  dynamodb.put("Customers", { customerId = "c1" })
  dynamodb.delete("Customers", { customerId = "c1" })
  test.settle()
  local last = to("crm.test")[2]
  test.equal(last.method, "PATCH")
  test.equal(last:json().deleted, true)
  test.contains(last:json().deletedAt, "2026-01-01T")
end)

test("what the CRM refuses becomes a dead letter, once", function()
  test.http(function() return 422, "bad e-mail" end)
  dynamodb.put("Customers", { customerId = "c1" })
  test.settle()
  test.equal(#test.requests(), 1)
  test.contains(test.dead_letters()[1].error, "422 bad e-mail")
end)
