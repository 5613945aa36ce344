--- A push, told by GitHub's webhook, becomes a pending job of the queue that job_scheduler works off. A delivery that comes
--- again, though this host was killed in between, finds its job there.
--- Settings: `jobs_table` (partition key `customer`, sort key `jobId`).
local config = require "tidemill.config"
local dynamodb = require "tidemill.dynamodb"

return {
  intake = "github",
  settings = { jobs_table = "required" },
  tables = { { config.jobs_table, "PutItem" } },

  on_request = function(request)
    if request.headers["x-github-event"] ~= "push" then
      return { status = 202, json = { ignored = request.headers["x-github-event"] or "no event" } }
    end
    local push = request:json()
    if push.deleted or not (push.repository and push.repository.owner and push.after) then
      return { status = 202, json = { ignored = "nothing to build" } }
    end
    local created = dynamodb.create(config.jobs_table, {
      customer = push.repository.owner.login, jobId = request.id, repository = push.repository.full_name,
      ref = push.ref, commit = push.after, priority = push.ref == "refs/heads/main" and 1 or 0, status = "pending",
    })
    return { status = 202, json = { jobId = request.id, queued = created ~= false } }
  end,
}
