--- Keeps a search service in step with a table: upsert on INSERT and MODIFY, delete on REMOVE. The item's key is
--- the document's id, so a repetition changes nothing.
--- Settings: `service` = algolia, opensearch or typesense; `url`; `index`; `api_key`; `application` (Algolia's id).
local config = require "tidemill.config"
local dynamodb = require "tidemill.dynamodb"
local http = require "tidemill.http"

local function escape(text)
  return (text:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local services = {}

function services.algolia(id)
  return config.url .. "/1/indexes/" .. escape(config.index) .. "/" .. escape(id), "PUT", "objectID",
    { ["X-Algolia-API-Key"] = config.api_key, ["X-Algolia-Application-Id"] = config.application }
end

function services.opensearch(id)
  return config.url .. "/" .. escape(config.index) .. "/_doc/" .. escape(id), "PUT", nil,
    { Authorization = config.api_key }
end

function services.typesense(id, removed)
  local documents = config.url .. "/collections/" .. escape(config.index) .. "/documents"
  return removed and documents .. "/" .. escape(id) or documents .. "?action=upsert", "POST", "id",
    { ["X-TYPESENSE-API-KEY"] = config.api_key }
end

local function send(record, document)
  local service = services[config.service or "algolia"] or error(tidemill.permanent("unknown service " .. config.service))
  local id = dynamodb.key_text(record.keys)
  local url, method, id_field, headers = service(id, not document)
  if document and id_field then
    document[id_field] = id
  end
  local answer = http.request { method = document and method or "DELETE", url = url, headers = headers, json = document }
  local gone = not document and answer.status == 404
  if not answer:ok() and not gone then
    error(("%s answered %d: %s"):format(config.service or "algolia", answer.status, answer.body:sub(1, 200)))
  end
end

local function upsert(record)
  send(record, record.new)
end

return {
  stream = "users",
  settings = { service = "algolia", url = "required", index = "required", api_key = "optional", application = "optional" },
  on_insert = upsert,
  on_modify = upsert,
  on_remove = function(record)
    send(record, nil)
  end,
}
