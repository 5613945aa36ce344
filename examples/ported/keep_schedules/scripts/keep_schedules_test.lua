local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("it comes, moves and goes with the item", function()
  local kept = {}
  test.aws(function(call)
    local name = call.url:match("/schedules/(%x+)$")
    if call.method ~= "POST" and not kept[name] then
      return 404, { message = "Schedule does not exist." }
    end
    kept[name] = call.method ~= "DELETE" and call:json() or nil
    return {}
  end)
  dynamodb.put("Reminders", { reminderId = "a", due = 1769903999, text = "tea" })
  test.settle()
  local name, schedule = next(kept)
  test.equal(#name, 64)
  test.equal(schedule.ScheduleExpression, "at(2026-01-31T23:59:59)")
  dynamodb.put("Reminders", { reminderId = "a", due = 1769904059, text = "tea" })
  test.settle()
  test.equal(kept[name].ScheduleExpression, "at(2026-02-01T00:00:59)")
  dynamodb.delete("Reminders", { reminderId = "a" })
  test.settle()
  test.equal(kept, {})
end)
