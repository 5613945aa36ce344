--- The schedule's name is made of the item's key, so that a repetition finds the same one.
local aws, config, crypto, json, time = require "tidemill.aws", require "tidemill.config", require "tidemill.crypto", require "tidemill.json", require "tidemill.time"

local function schedule(method, record, input)
  return pcall(aws.request, { service = "scheduler", operation = method .. " schedule", method = method,
    path = "/schedules/" .. crypto.hex(crypto.sha256(record.keys.reminderId)), json = input })
end

local function keep(record)
  local input = {
    ScheduleExpression = "at(" .. time.iso8601(record.new.due):sub(1, 19) .. ")", FlexibleTimeWindow = { Mode = "OFF" },
    ActionAfterCompletion = "DELETE", ClientToken = crypto.hex(crypto.sha256(record.id)),
    Target = { Arn = config.queue, RoleArn = config.role, Input = json.encode(record.new) },
  }
  local ok, problem = schedule("PUT", record, input)
  if not ok and problem.status == 404 then
    ok, problem = schedule("POST", record, input)
  end
  if not ok then
    error(problem, 0)
  end
end

return {
  stream = "reminders",
  calls = { { "*", "scheduler:CreateSchedule", "scheduler:UpdateSchedule", "scheduler:DeleteSchedule" }, { config.role, "iam:PassRole" } },
  on_insert = keep,
  on_modify = keep,
  on_remove = function(record)
    local ok, problem = schedule("DELETE", record)
    if not ok and problem.status ~= 404 then
      error(problem, 0)
    end
  end,
}
