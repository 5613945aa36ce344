--- Deletes all objects below projects/ID/, a page of a thousand at a time.
local config, s3 = require "tidemill.config", require "tidemill.s3"

return {
  stream = "projects",
  timeout = "10m",
  calls = { { "*", "s3:ListBucket", "s3:DeleteObject" } },

  on_remove = function(record)
    local prefix = "projects/" .. record.keys.projectId .. "/"
    repeat
      local keys = {}
      for i, object in ipairs((s3.list(config.bucket, { prefix = prefix }))) do
        keys[i] = object.key
      end
      s3.delete(config.bucket, keys)
    until #keys == 0
  end,
}
