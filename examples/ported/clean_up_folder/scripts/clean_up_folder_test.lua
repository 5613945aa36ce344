local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("all objects below the project's prefix are deleted", function()
  local left = { "projects/p 1/a", "projects/p 1/b&c" }
  test.aws(function(call)
    if call.method == "GET" then
      test.contains(call.url, "prefix=projects%2Fp%201%2F")
      local list = {}
      for i, key in ipairs(left) do
        list[i] = "<Contents><Key>" .. key:gsub("&", "&amp;") .. "</Key><Size>1</Size></Contents>"
      end
      return 200, "<ListBucketResult><IsTruncated>false</IsTruncated>" .. table.concat(list) .. "</ListBucketResult>"
    end
    test.contains(call.body, "<Key>projects/p 1/b&amp;c</Key>")
    left = {}
    return 200, "<DeleteResult></DeleteResult>"
  end)
  dynamodb.put("Projects", { projectId = "p 1" })
  dynamodb.delete("Projects", { projectId = "p 1" })
  test.settle()
  test.equal(left, {})
end)
