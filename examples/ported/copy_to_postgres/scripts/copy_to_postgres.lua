--- CREATE TABLE orders (id text PRIMARY KEY, data jsonb NOT NULL, version numeric NOT NULL);
--- CREATE TABLE spent (customer text PRIMARY KEY, total numeric NOT NULL);
local dynamodb, postgres = require "tidemill.dynamodb", require "tidemill.postgres"

local UPSERT = [[INSERT INTO orders VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE
  SET data = excluded.data, version = excluded.version WHERE orders.version < excluded.version]]
local ADD = "INSERT INTO spent VALUES ($1, $2) ON CONFLICT (customer) DO UPDATE SET total = spent.total + excluded.total"

local function total(image)
  return dynamodb.decimal(image and image.total or 0)
end

return {
  stream = "orders",
  tables = {},

  on_record = function(record)
    local id = dynamodb.key_text(record.keys)
    local row = record.new and { UPSERT, id, record.new, record.sequence }
      or { "DELETE FROM orders WHERE id = $1 AND version < $2", id, record.sequence }
    -- The row and the sum change together, or not at all; and the sum once, however often the record comes.
    postgres.once(record.id, { row, { ADD, (record.new or record.old).customer, total(record.new) - total(record.old) } })
  end,
}
