local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("pages that change are invalidated together", function()
  for i = 1, 5 do
    dynamodb.put("Pages", { path = "/a&b/" .. i % 2, version = i })
  end
  test.settle()
  local seen = {}
  for _, call in ipairs(test.requests()) do
    test.equal(call.service, "cloudfront")
    test.equal(call.region, "us-east-1")
    for path in call.body:gmatch("<Path>(.-)</Path>") do
      seen[path] = true
    end
  end
  test.equal(seen, { ["/a&amp;b/0"] = true, ["/a&amp;b/1"] = true })
end)
