--- A feed's entry has the post's key: writing it again changes nothing.
local config, dynamodb = require "tidemill.config", require "tidemill.dynamodb"

local function readers_of(post)
  local readers = {}
  for follower in dynamodb.each(config.followers, "author = :a", { values = { [":a"] = post.author } }) do
    readers[#readers + 1] = { reader = follower.follower, postId = post.postId }
  end
  return readers
end

return {
  stream = "posts",
  timeout = "5m",
  tables = { { config.followers, "Query" }, { config.feeds, "BatchWriteItem" } },

  on_insert = function(record)
    local entries = readers_of(record.new)
    for _, entry in ipairs(entries) do
      entry.time, entry.title = record.time, record.new.title
    end
    dynamodb.batch_write(config.feeds, { put = entries })
  end,
  on_remove = function(record)
    dynamodb.batch_write(config.feeds, { delete = readers_of(record.old) })
  end,
}
