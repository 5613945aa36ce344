---@meta tidemill.time
--- Clocks and dates. In tests time is virtual, and passes by test.advance and test.settle.

---@class tidemill.time
local time = {}
---@return number seconds since 1970
function time.now() end
---@param seconds? number since 1970; now
---@return string
function time.iso8601(seconds) end
--- Raises on what is no such time.
---@param text string by RFC 3339, such as "2026-01-31T23:59:59Z" or "2026-02-01T01:59:59+02:00"
---@return number seconds since 1970, below 0 before
function time.parse(text) end
--- Suspends the handler, not the thread; counts towards its timeout.
---@param seconds number
function time.sleep(seconds) end


return time
