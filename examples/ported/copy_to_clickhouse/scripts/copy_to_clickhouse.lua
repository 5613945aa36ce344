--- Rows for a ReplacingMergeTree(version, deleted) with the columns id, data, version, deleted: of rows with one id the
--- last version counts, so that repeated ones change nothing. A batch is an insert.
local config, crypto, dynamodb, http, json = require "tidemill.config", require "tidemill.crypto", require "tidemill.dynamodb", require "tidemill.http", require "tidemill.json"

return {
  batch_size = 500,
  batch_window = "1s",
  tables = {},

  on_batch = function(records)
    local rows, digest = {}, {}
    for i, record in ipairs(records) do
      rows[i] = json.encode { id = dynamodb.key_text(record.keys), data = json.encode(record.new or record.keys),
        version = record.sequence, deleted = record.event == "REMOVE" and 1 or 0 }
      digest[i] = record.id
    end
    local answer = http.post(config.url, { body = table.concat(rows, "\n"), timeout = 30, query = {
      query = ("INSERT INTO %s FORMAT JSONEachRow"):format(records[1].table:lower()),
      insert_deduplication_token = crypto.hex(crypto.sha256(table.concat(digest, " "))) } })
    if not answer:ok() then
      error(("ClickHouse answered %d: %s"):format(answer.status, answer.body:sub(1, 200)))
    end
  end,
}
