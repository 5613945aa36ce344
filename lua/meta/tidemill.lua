---@meta
--- What a handler sees, for editors. Nothing here runs.

---@class tidemill.Record
---@field id string the event's id, the same at every delivery
---@field event "INSERT"|"MODIFY"|"REMOVE"
---@field keys table<string, any>
---@field old table<string, any>|nil the item before, where the view type has it
---@field new table<string, any>|nil the item after, where the view type has it
---@field sequence string
---@field time integer seconds since 1970, as DynamoDB gives it
---@field table string
---@field stream string|string[] the stream's name in the INI, or several
---@field shard string
---@field size integer bytes
---@field view string
---@field expired boolean removed by time to live
---@field attempt integer from 1, across restarts
---@field epoch integer grows with every change of the shard's owner among hosts, also from parent to child; 0: one host has the state alone
---@field replayed boolean out of an archive, by `tidemill replay`
---@field redriven boolean out of the dead letters: newer records of its item may have been handled
---@field age number seconds since it was written
---@field raw table the record as DynamoDB JSON, in the shape Lambda hands over
local Record = {}

--- Did the attribute change, appear or disappear?
---@param attribute string
---@return boolean
function Record:changed(attribute) end

---@class tidemill.Handler
---@field stream string
---@field filter? table an event pattern
---@field on_insert? fun(record: tidemill.Record)
---@field on_modify? fun(record: tidemill.Record)
---@field on_remove? fun(record: tidemill.Record)
---@field on_record? fun(record: tidemill.Record)
---@field on_batch? fun(records: tidemill.Record[]): tidemill.Record[]? instead of those above; returns what failed
---@field on_window? fun(state: any, records: tidemill.Record[], final: boolean, window: tidemill.Window): any instead of those above; returns the state
---@field batch_size? integer records in a call of on_batch or on_window
---@field batch_window? string how long a batch that is not full waits for more
---@field tumbling_window? string the length of on_window's windows
---@field ordering? "item"|"shard"
---@field concurrency? integer
---@field retries? integer
---@field backoff? string such as "200ms..60s"
---@field max_age? string
---@field on_failure? string "dead", "discard", or the name of a [target]
---@field timeout? string
---@field cpu_limit? string
---@field memory? string
---@field rate? string at most so many calls, over all hosts: "100/s", "30/m"
---@field allow_hosts? string where tidemill.http may go: names, *.example.com; empty: anywhere
---@field calls? (string|nil)[][] what it calls through tidemill.aws, for tidemill policy: { { "*", "states:StartExecution" } }
---@field formerly? string the name that it had before: it goes on where that one stands
---@field settings? table<string, string|number|boolean> which settings of its own it has in its [handler] section: "required", "optional", or the default; others are then an error. Defaults and types hold once the script has returned: read them in its functions
---@field targets? string[] where it emits to; then it may emit nowhere else
---@field tables? (string|nil)[][] what it does with which DynamoDB tables, for tidemill policy: { { "Orders", "PutItem" } }

---@class tidemill.Window
---@field start integer seconds since 1970
---@field finish integer the first second behind it
---@field shard string
---@field table string

---@class tidemill.json
local json = {}
json.null = nil
--- Raises on functions, cycles, binaries and NaN, naming the path to it.
---@param value any
---@return string
function json.encode(value) end
--- Raises with the byte offset on what is not JSON. Numbers keep all their digits.
---@param text string
---@return any
function json.decode(text) end

---@class tidemill.log
local log = {}
---@param message any
---@param fields? table
function log.debug(message, fields) end
---@param message any
---@param fields? table
function log.info(message, fields) end
---@param message any
---@param fields? table
function log.warn(message, fields) end
---@param message any
---@param fields? table
function log.error(message, fields) end

---@class tidemill.config the keys of the [handler] section that are the script's own, as strings
---@field [string] string

---@class tidemill.pattern
local pattern = {}
--- An event pattern, as a table or as JSON text. Raises with the path to what is wrong in it.
---@param pattern_or_json table|string
---@return fun(value: any): boolean matcher also takes a record
function pattern.compile(pattern_or_json) end

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

---@class tidemill.crypto
local crypto = {}
---@param data string
---@return string digest 32 bytes
function crypto.sha256(data) end
--- HMAC-SHA256.
---@param key string
---@param data string
---@return string digest 32 bytes
function crypto.hmac(key, data) end
---@param data string
---@return string
function crypto.hex(data) end
---@param text string
---@return string
function crypto.unhex(text) end
---@param data string
---@return string
function crypto.base64(data) end
---@param text string
---@return string
function crypto.unbase64(text) end
--- RFC 4648's alphabet for URLs, without padding.
---@param data string
---@return string
function crypto.base64url(data) end
---@param text string with or without padding
---@return string
function crypto.unbase64url(text) end
--- A signature as RFC 7518 has it, over SHA-256; crypto.jwt makes whole tokens.
---@param algorithm "RS256"|"ES256"
---@param key string a private key as PEM, without a passphrase
---@param data string
---@return string
function crypto.sign(algorithm, key, data) end
---@return string
function crypto.uuid() end
--- In a time that does not depend on where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end
