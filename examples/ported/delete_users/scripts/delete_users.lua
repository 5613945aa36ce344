--- One who is not in the pool any more was deleted by an earlier attempt.
local aws, config = require "tidemill.aws", require "tidemill.config"

return {
  stream = "users",
  calls = { { "*", "cognito-idp:AdminDeleteUser" } },

  on_remove = function(record)
    local ok, problem = pcall(aws.call, "cognito-idp", "AdminDeleteUser", { UserPoolId = config.pool, Username = record.keys.userId })
    if not ok and not (type(problem) == "table" and problem.code == "UserNotFoundException") then
      error(problem, 0)
    end
  end,
}
