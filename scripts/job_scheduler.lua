--- A queue of CI jobs in a table with the partition key `customer` and the sort key `jobId`. A pending job becomes
--- active when its customer and its repository have a free slot, highest `priority` first; the change to active starts
--- it by one HTTP call; passed or failed frees the slots for the next and tells `notify_url`. A job runs once: a webhook
--- that puts it again changes nothing; to run it again, make a new one.
--- Settings: `start_url`, `notify_url` (none: nobody is told), `api_key`; `slots_table` and `once_table` (partition key
--- `id`); `customer_slots` (2) and `repository_slots` (1).
local config = require "tidemill.config"
local dynamodb = require "tidemill.dynamodb"
local http = require "tidemill.http"
local log = require "tidemill.log"
local once = require "tidemill.once"

local function key_of(job)
  return { customer = job.customer, jobId = job.jobId }
end

local function name_of(job)
  return job.customer .. "/" .. job.jobId
end

--- A slot item holds the names of the jobs that run in it.
local function slots_of(job)
  return {
    { id = "customer/" .. job.customer, room = tonumber(config.customer_slots or 2) },
    { id = ("repository/%s/%s"):format(job.customer, job.repository), room = tonumber(config.repository_slots or 1) },
  }
end

--- The job and its slots change in one transaction, once for each job. False: no longer pending, or no room.
local function activate(job, jobs_table)
  local writes = { once = "activate/" .. name_of(job) }
  writes[1] = { update = { jobs_table, key_of(job), "SET #status = :active", {
    condition = "#status = :pending",
    names = { ["#status"] = "status" },
    values = { [":active"] = "active", [":pending"] = "pending" },
  } } }
  for _, slot in ipairs(slots_of(job)) do
    writes[#writes + 1] = { update = { config.slots_table, { id = slot.id }, "ADD jobs :job", {
      condition = "attribute_not_exists(jobs) OR size(jobs) < :room",
      values = { [":job"] = dynamodb.set { name_of(job) }, [":room"] = slot.room },
    } } }
  end
  return dynamodb.transact(writes)
end

local function release(job)
  for _, slot in ipairs(slots_of(job)) do
    dynamodb.update(config.slots_table, { id = slot.id }, "DELETE jobs :job",
      { values = { [":job"] = dynamodb.set { name_of(job) } } })
  end
end

--- Fills the customer's slots. The read is consistent: a job that found no room a moment before a slot was freed is
--- seen by whoever freed it.
local function schedule(customer, jobs_table)
  local waiting = {}
  for job in dynamodb.each(jobs_table, "customer = :customer", {
    consistent = true,
    filter = "#status = :pending",
    names = { ["#status"] = "status" },
    values = { [":customer"] = customer, [":pending"] = "pending" },
  }) do
    waiting[#waiting + 1] = job
  end
  table.sort(waiting, function(a, b)
    local first, second = a.priority or 0, b.priority or 0
    return first > second or (first == second and a.jobId < b.jobId)
  end)
  for _, job in ipairs(waiting) do
    if activate(job, jobs_table) then
      log.info("job is active", { job = name_of(job) })
    end
  end
end

local function post(url, job, body)
  local answer = http.post(url, { json = body, idempotency_key = name_of(job) .. "/" .. body.status,
    headers = { Authorization = config.api_key } })
  if answer.status == 429 or answer.status >= 500 then
    error(("%s answered %d"):format(url, answer.status))
  end
  return answer
end

--- A runner that refuses the job ends it.
local function start(job, jobs_table)
  local status = once("start/" .. name_of(job), function()
    return post(config.start_url, job, job).status
  end, { store = config.once_table })
  if status >= 400 then
    dynamodb.transition(jobs_table, key_of(job), "status", "active", "failed",
      { set = { reason = "the runner answered " .. status } })
  end
end

local function finish(job, jobs_table)
  release(job)
  schedule(job.customer, jobs_table)
  if config.notify_url then
    once("notify/" .. name_of(job), function()
      post(config.notify_url, job, { customer = job.customer, jobId = job.jobId, status = job.status })
    end, { store = config.once_table })
  end
end

return {
  stream = "jobs",
  settings = {
    start_url = "required", notify_url = "optional", api_key = "optional", slots_table = "required",
    once_table = "required", customer_slots = 2, repository_slots = 1,
  },
  tables = {
    { "record.table", "Query", "UpdateItem" },
    { config.slots_table, "UpdateItem" },
    { config.once_table, "GetItem", "PutItem", "UpdateItem", "DeleteItem" },
  },

  on_insert = function(record)
    if record.new.status == "pending" then
      schedule(record.new.customer, record.table)
    end
  end,

  on_modify = function(record)
    local before, job = record.old.status, record.new
    if before == job.status then
      return
    end
    if job.status == "pending" then -- put again by a late webhook: it is what it was
      dynamodb.transition(record.table, record.keys, "status", "pending", before)
    elseif job.status == "active" and before == "pending" then
      start(job, record.table)
    elseif job.status == "passed" or job.status == "failed" then
      finish(job, record.table)
    end
  end,

  on_remove = function(record)
    release(record.old)
    schedule(record.old.customer, record.table)
  end,
}
