--- The board has each player's score, as the item has it: setting it again changes nothing. The week's points are
--- added up, so each record counts once: its marker is set in the same step.
local redis = require "tidemill.redis"

return {
  stream = "scores",
  on_record = function(record)
    local game, player = record.keys.game, record.keys.player
    local before, now = record.old and record.old.score or 0, record.new and record.new.score
    if now then
      redis.call("ZADD", "board:" .. game, now, player)
    else
      redis.call("ZREM", "board:" .. game, player)
    end
    if now and now > before then
      local week = ("week:%s:%d"):format(game, record.time // (7 * 86400))
      redis.once(record.id, { { "ZINCRBY", week, now - before, player }, { "EXPIRE", week, 30 * 86400 } })
    end
  end,
}
