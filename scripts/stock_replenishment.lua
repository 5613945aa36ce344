--- When a product's stock falls from at or above its reorder threshold to below it, create one
--- replenishment order. The order's id is the change's own, so however often the change is delivered, the
--- order is there once.
local dynamodb = require "tidemill.dynamodb"
local config = require "tidemill.config"
local log = require "tidemill.log"

return {
  stream = "products",
  settings = { replenishment_table = "required" },
  filter = { eventName = { "MODIFY" } },
  tables = { { config.replenishment_table, "PutItem" } },

  on_modify = function(record)
    local old, new = record.old, record.new
    if not (old.stock >= old.reorderThreshold and new.stock < new.reorderThreshold) then
      return
    end
    local created = dynamodb.create(config.replenishment_table, {
      orderId = record.id,
      productId = new.productId,
      amount = new.amountToReplenish,
    })
    log.info(created and "replenishment ordered" or "replenishment was ordered before",
      { product = new.productId, amount = new.amountToReplenish })
  end,
}
