--- Keeps a search service in step with a table, in batches: upsert on INSERT and MODIFY, delete on REMOVE. The item's key
--- is the document's id, so a repetition changes nothing; of a batch only what was refused is tried again.
--- Settings: `service` = algolia, meilisearch, opensearch or typesense; `url`; `index`; `api_key` (OpenSearch: the Authorization
--- header, such as Basic ..., or `signed = es` for the host's own credentials); `application` (Algolia's id).
--- Without Lua, and safe from older records too: a route to a target of type opensearch.
local config = require "tidemill.config"
local dynamodb = require "tidemill.dynamodb"
local http = require "tidemill.http"
local json = require "tidemill.json"

local function call(path, options)
  options.url, options.method, options.timeout = config.url:gsub("/+$", "") .. path, "POST", 30
  local answer = http.request(options)
  if not answer:ok() then
    error(("%s answered %d: %s"):format(config.service, answer.status, answer.body:sub(1, 200)))
  end
  return answer
end

-- Each takes changes, a list of { id =, document = or nil }, and returns what was refused: place -> why.
local services = {}

function services.algolia(changes)
  local requests = {}
  for i, change in ipairs(changes) do
    local body = change.document or {}
    body.objectID = change.id
    requests[i] = { action = change.document and "updateObject" or "deleteObject", body = body }
  end
  call(("/1/indexes/%s/batch"):format(http.escape(config.index)), {
    json = { requests = requests },
    headers = { ["X-Algolia-API-Key"] = config.api_key, ["X-Algolia-Application-Id"] = config.application },
  })
  return {} -- all of them, or none
end

function services.opensearch(changes)
  local lines = {}
  for _, change in ipairs(changes) do
    lines[#lines + 1] = json.encode { [change.document and "index" or "delete"] = { _id = change.id } }
    lines[#lines + 1] = change.document and json.encode(change.document)
  end
  local answer = call(("/%s/_bulk"):format(http.escape(config.index)), {
    body = table.concat(lines, "\n") .. "\n",
    headers = { ["Content-Type"] = "application/x-ndjson", Authorization = config.api_key },
    signed = config.signed,
  })
  local refused, said = {}, answer:json()
  if type(said.items) ~= "table" or #said.items ~= #changes then
    error("opensearch did not answer for each document: " .. answer.body:sub(1, 200))
  end
  for i, item in ipairs(said.items) do
    local _, result = next(item)
    if result.error then
      refused[i] = ("%s: %s"):format(result.error.type, result.error.reason)
    end
  end
  return refused
end

-- Its ids have letters, digits, - and _ alone.
local function plain_id(id)
  return (id:gsub("[^%w-]", function(c) return ("_%02X"):format(c:byte()) end))
end

function services.meilisearch(changes)
  local documents, gone = {}, {}
  for _, change in ipairs(changes) do
    if change.document then
      change.document.id = plain_id(change.id)
      documents[#documents + 1] = change.document
    else
      gone[#gone + 1] = plain_id(change.id)
    end
  end
  local path = ("/indexes/%s/documents"):format(http.escape(config.index))
  local headers = { Authorization = config.api_key and "Bearer " .. config.api_key }
  if #documents > 0 then
    call(path, { query = { primaryKey = "id" }, json = documents, headers = headers })
  end
  if #gone > 0 then
    call(path .. "/delete-batch", { json = gone, headers = headers })
  end
  return {}
end

function services.typesense(changes)
  local documents = ("/collections/%s/documents"):format(http.escape(config.index))
  local headers = { ["X-TYPESENSE-API-KEY"] = config.api_key }
  local lines, places, refused = {}, {}, {}
  for i, change in ipairs(changes) do
    if change.document then
      change.document.id = change.id
      lines[#lines + 1], places[#places + 1] = json.encode(change.document), i
    else
      local answer = http.delete(("%s%s/%s"):format(config.url, documents, http.escape(change.id)), { headers = headers })
      refused[i] = not answer:ok() and answer.status ~= 404 and ("status %d"):format(answer.status) or nil
    end
  end
  if #lines > 0 then
    local answer, n = call(documents .. "/import", { query = { action = "upsert" }, body = table.concat(lines, "\n"), headers = headers }), 0
    for line in answer.body:gmatch("[^\n]+") do
      n = n + 1
      local result = json.decode(line)
      refused[places[n]] = not result.success and result.error or nil
    end
  end
  return refused
end

return {
  stream = "users",
  settings = { service = "algolia", url = "required", index = "required", api_key = "optional", application = "optional", signed = "optional" },
  batch_size = 500,
  batch_window = "200ms",
  tables = {},
  calls = config.signed and { { "*", "es:ESHttpPost" } } or nil,

  on_batch = function(records)
    local send = services[config.service] or error("service: algolia, meilisearch, opensearch or typesense expected, got " .. config.service)
    local last, changes, of = {}, {}, {} -- of an item's changes in a batch the last one is what it is
    for i, record in ipairs(records) do
      last[dynamodb.key_text(record.keys)] = i
    end
    for i, record in ipairs(records) do
      local id = dynamodb.key_text(record.keys)
      if last[id] == i then
        changes[#changes + 1] = { id = id, document = record.new }
        of[#of + 1] = record
      end
    end
    local failed, why = {}, nil
    for i, problem in pairs(send(changes)) do
      failed[#failed + 1], why = of[i], problem
    end
    if #failed > 0 and #failed == #records then -- in halves, then, until each has its own reason
      error(("%s: %s"):format(config.service, why))
    end
    return failed
  end,
}
