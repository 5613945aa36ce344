---@meta
--- What on_request is called with, for an [intake NAME] of the INI: a request from outside whose sender is known (`verify`).
--- What it returns is the answer: nothing (200), a text, or a table with `status`, `headers` and either `json` or `body`. An
--- error is answered with 500 and logged, a handler that takes longer than its `timeout` with 504; senders of webhooks
--- then send once more, with the same `id`. So let what must happen once depend on it: `dynamodb.create` with `id` as the
--- key, or `once("hook " .. request.id, ...)`. What takes long is better written into a table, whose stream has it done.
--- Nothing here runs.
---
---     return {
---       intake = "github",
---       on_request = function(request)
---         local push = request:json()
---         local new = dynamodb.create("Jobs",
---           { id = request.id, ref = push.ref })
---         return { status = 202, json = { queued = new ~= false } }
---       end,
---     }

---@class tidemill.Request
---@field id string the sender's delivery id, the same when it comes again; where there is none, the SHA-256 of the body
---@field method string
---@field path string unescaped, without its query
---@field query table<string, string> decoded; of a name that comes twice the first value
---@field query_string string as it was sent
---@field headers table<string, string> names in lower case
---@field body string
---@field remote string the address that it came from
---@field intake string
local Request = {}

--- The body, decoded. Raises on what is no JSON.
---@return any
function Request:json() end

---@class tidemill.Answer
---@field status? integer 200
---@field headers? table<string, string>
---@field json? any
---@field body? string
