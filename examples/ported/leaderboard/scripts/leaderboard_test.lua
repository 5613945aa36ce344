local test, dynamodb = require "tidemill.test", require "tidemill.dynamodb"
test.deployment "../tidemill.ini"

test("the board follows the items, and points count once", function()
  local board, points, failures = {}, 0, 0
  test.redis(function(command)
    if command[1] == "ZADD" then
      board[command[4]] = tonumber(command[3])
    elseif command[1] == "ZREM" then
      board[command[3]] = nil
    elseif command[1] == "ZINCRBY" then
      failures = failures + 1
      if failures == 1 then
        return { err = "LOADING Redis is loading the dataset in memory" }
      end
      points = points + tonumber(command[3])
    end
    return 1
  end)
  for _, score in ipairs { 10, 25, 20 } do
    dynamodb.put("Scores", { game = "chess", player = "ada", score = score })
  end
  dynamodb.put("Scores", { game = "chess", player = "bob", score = 5 })
  dynamodb.delete("Scores", { game = "chess", player = "bob" })
  test.settle()
  test.equal(board, { ada = 20 })
  test.equal(points, 10 + 15 + 5)
end)
