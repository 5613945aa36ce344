local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment [[
[table Jobs]
key = customer, jobId

[table JobSlots]
key    = id
stream = none

[table JobMarkers]
key    = id
stream = none
ttl    = expires

[stream jobs]
table = Jobs

[handler job_scheduler]
start_url        = http://runner.test/jobs
notify_url       = http://notify.test/
slots_table      = JobSlots
once_table       = JobMarkers
customer_slots   = 2
repository_slots = 1
]]

local function add(id, repository, priority)
  dynamodb.put("Jobs", { customer = "acme", jobId = id, repository = repository, priority = priority or 0, status = "pending" })
end

local function status()
  local list = {}
  for job in dynamodb.each("Jobs", nil, { consistent = true }) do
    list[job.jobId] = job.status
  end
  return list
end

local function finish(id, outcome)
  assert(dynamodb.transition("Jobs", { customer = "acme", jobId = id }, "status", "active", outcome))
  test.settle()
end

local function started()
  local list = {}
  for _, request in ipairs(test.requests()) do
    if request.url:find("runner") then
      list[#list + 1] = request:json().jobId
    end
  end
  return list
end

test("slots for customer and repository, highest priority first", function()
  add("a", "site")
  test.settle()
  add("b", "site", 9) -- its repository is busy
  add("c", "app", 1)
  test.settle()
  add("d", "docs", 7) -- the customer has no room left
  test.settle()
  test.equal(status(), { a = "active", b = "pending", c = "active", d = "pending" })
  finish("a", "passed")
  test.equal(status(), { a = "passed", b = "active", c = "active", d = "pending" })
  finish("c", "failed")
  test.equal(status().d, "active")
  finish("b", "passed")
  finish("d", "passed")
  test.equal(started(), { "a", "c", "b", "d" })
  for slot in dynamodb.each("JobSlots") do
    test.equal(slot.jobs, nil)
  end
end)

test("ten equal webhooks start one job, also when answers are lost", function()
  test.http(function(request)
    return request.url:find("runner") and #started() == 1 and 503 or 200
  end)
  for _ = 1, 10 do
    add("a", "site")
  end
  test.settle()
  add("a", "site") -- late: the job is active
  test.settle()
  test.equal(status(), { a = "active" })
  finish("a", "passed")
  add("a", "site") -- later still
  test.settle()
  test.equal(status(), { a = "passed" })
  test.equal(started(), { "a", "a" })
  test.equal(test.requests()[1].headers["Idempotency-Key"], test.requests()[2].headers["Idempotency-Key"])
end)

test("a runner that refuses ends the job", function()
  test.http(function() return 422 end)
  add("a", "site")
  add("b", "site")
  test.settle()
  test.equal(status(), { a = "failed", b = "failed" })
end)

test("a removed job frees its slots", function()
  add("a", "site")
  add("b", "site")
  test.settle()
  dynamodb.delete("Jobs", { customer = "acme", jobId = "a" })
  test.settle()
  test.equal(status(), { b = "active" })
end)
