--- Keeps a CRM's contacts in step with a table of customers. Each is enriched by an HTTP call before it is saved; when
--- that fails the contact is saved without. A removed customer is marked as deleted, not forgotten.
--- Settings: `crm_url`, to which /contacts/ID is added; `api_key`; `enrich_url` (none: nothing is asked), to which the
--- e-mail address is added; `id` (customerId) and `email` (email), the attributes' names.
local config = require "tidemill.config"
local http = require "tidemill.http"
local log = require "tidemill.log"
local time = require "tidemill.time"

local function escape(text)
  return (tostring(text):gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function id_of(record)
  return record.keys[config.id or "customerId"]
    or error(tidemill.permanent("the key has no " .. (config.id or "customerId")))
end

--- What is known of the address, or nil.
local function enrich(email)
  if not email or not config.enrich_url then
    return nil
  end
  local ok, found = pcall(function()
    local answer = http.get(config.enrich_url .. escape(email), { timeout = 3 })
    return answer:ok() and answer:json() or error("the answer was " .. answer.status)
  end)
  if ok and type(found) == "table" then
    return found
  end
  log.warn("saved without enrichment", { reason = tostring(found) })
end

local function send(record, method, contact)
  local answer = http.request {
    method = method,
    url = ("%s/contacts/%s"):format(config.crm_url, escape(id_of(record))),
    headers = { Authorization = config.api_key },
    json = contact,
    idempotency_key = record.id,
  }
  if answer.status == 429 or answer.status >= 500 then
    error("the CRM answered " .. answer.status)
  elseif not answer:ok() and not (method == "PATCH" and answer.status == 404) then
    error(tidemill.permanent(("the CRM refused the contact: %d %s"):format(answer.status, answer.body:sub(1, 200))))
  end
end

local function save(record)
  local contact = record.new
  contact.enrichment = enrich(contact[config.email or "email"])
  send(record, "PUT", contact)
end

return {
  stream = "customers",
  settings = { crm_url = "required", api_key = "optional", enrich_url = "optional", id = "customerId", email = "email" },
  on_insert = save,
  on_modify = save,
  on_remove = function(record)
    send(record, "PATCH", { deleted = true, deletedAt = time.iso8601(record.time) })
  end,
}
