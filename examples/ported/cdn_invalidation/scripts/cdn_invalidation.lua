--- The records' ids are CloudFront's CallerReference: a repetition makes no second invalidation.
local aws, config, crypto, template = require "tidemill.aws", require "tidemill.config", require "tidemill.crypto", require "tidemill.template"

local BODY = template.compile [[
<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><CallerReference>{{reference}}</CallerReference><Paths><Quantity>{{count}}</Quantity><Items>{{#paths}}<Path>{{.}}</Path>{{/paths}}</Items></Paths></InvalidationBatch>]]

return {
  stream = "pages",
  batch_size = 100,
  batch_window = "2s",
  calls = { { "*", "cloudfront:CreateInvalidation" } },

  on_batch = function(records)
    local paths, ids, seen = {}, {}, {}
    for _, record in ipairs(records) do
      ids[#ids + 1] = record.id
      if not seen[record.keys.path] then
        seen[record.keys.path] = true
        paths[#paths + 1] = record.keys.path
      end
    end
    aws.request { service = "cloudfront", operation = "CreateInvalidation", method = "POST", headers = { ["Content-Type"] = "application/xml" },
      path = "/2020-05-31/distribution/" .. config.distribution .. "/invalidation",
      body = BODY { reference = crypto.hex(crypto.sha256(table.concat(ids, " "))), count = #paths, paths = paths } }
  end,
}
