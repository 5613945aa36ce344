local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("who follows reads it, until it is taken back", function()
  for i = 1, 60 do
    dynamodb.put("Followers", { author = "ada", follower = "f" .. i })
  end
  dynamodb.put("Posts", { postId = "p", author = "ada", title = "On engines" })
  test.settle()
  test.equal(#dynamodb.scan("Feeds"), 60)
  test.equal(dynamodb.get("Feeds", { reader = "f7", postId = "p" }).title, "On engines")
  dynamodb.delete("Posts", { postId = "p" })
  test.settle()
  test.equal(#dynamodb.scan("Feeds"), 0)
end)
