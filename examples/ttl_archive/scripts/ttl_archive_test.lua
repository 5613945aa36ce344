local test, dynamodb, time = require "tidemill.test", require "tidemill.dynamodb", require "tidemill.time"
test.deployment "../tidemill.ini"

test("what expires is kept, what is deleted by hand is not", function()
  for _, id in ipairs { "expires", "deleted" } do
    dynamodb.put("Sessions", { id = id, user = "ada", expires = time.now() // 1 + 60 })
  end
  dynamodb.delete("Sessions", { id = "deleted" })
  test.advance(3600)
  test.settle()
  local kept = test.emitted("archive")
  test.equal(#kept, 1)
  test.equal(kept[1]:json().dynamodb.OldImage.id.S, "expires")
end)
