local test = require "tidemill.test"
local dynamodb = require "tidemill.dynamodb"
local time = require "tidemill.time"

test.deployment "../examples/ttl_timers/tidemill.ini"

local function set_timer(id, seconds)
  dynamodb.put("Timers", { id = id, fires_at = math.floor(time.now() + seconds), say = "hello " .. id })
end

test("a timer fires once, when its item expires", function()
  set_timer("soon", 60)
  set_timer("late", 7 * 24 * 3600)
  test.settle()
  test.equal(#test.emitted("fired"), 0)
  test.advance(3600)
  test.settle()
  local fired = test.emitted("fired")
  test.equal(#fired, 1)
  test.equal(fired[1].detail_type, "Timer fired")
  local event = fired[1]:json()
  test.equal(event.timer.say, "hello soon")
  test.equal(event.due, event.timer.fires_at)
  assert(event.late >= 0 and event.late <= 3600)
end)

test("a timer that is deleted by hand, or put off, does not fire", function()
  set_timer("cancelled", 60)
  set_timer("delayed", 60)
  dynamodb.delete("Timers", { id = "cancelled" })
  set_timer("delayed", 7 * 24 * 3600)
  test.advance(3600)
  test.settle()
  test.equal(#test.emitted(), 0)
end)
