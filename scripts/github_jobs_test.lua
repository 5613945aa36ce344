local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"

test.deployment "../examples/job_scheduler/tidemill.ini"

local push = {
  ref = "refs/heads/main", after = "6dcb09b5b57875f334f61aebed695e2e4193db5e",
  repository = { full_name = "octo/mill", owner = { login = "octo" } },
}

local function deliver(id, event)
  return test.request("github", { id = id, headers = { ["X-GitHub-Event"] = event or "push" }, json = push })
end

local function starts()
  local list = {}
  for _, request in ipairs(test.requests()) do
    if request.url:find("/runner", 1, true) then
      list[#list + 1] = request
    end
  end
  return list
end

test("a push starts one job, however often it is delivered", function()
  test.equal(deliver("d1").status, 202)
  test.equal(deliver("d1"):json().queued, false)
  test.settle()
  test.equal(dynamodb.get("Jobs", { customer = "octo", jobId = "d1" }).status, "active")
  test.equal(#starts(), 1)
end)

test("also when the host dies before GitHub has its answer", function()
  test.crash { after = "PutItem" }
  test.equal(deliver("d2").status, 503)
  test.equal(deliver("d2").status, 202) -- GitHub's second delivery
  test.settle()
  test.equal(#starts(), 1)
end)

test("other events, and senders that nobody knows, queue nothing", function()
  test.equal(deliver("d3", "ping"):json().ignored, "ping")
  test.equal(test.request("github", { json = push, signed = false }).status, 401)
  test.settle()
  test.equal(#dynamodb.scan("Jobs"), 0)
end)
