local test, dynamodb, json = require "tidemill.test", require "tidemill.dynamodb", require "tidemill.json"

test.deployment [[
[table Users]
key = userId

[stream users]
table = Users

[handler search_index]
service = opensearch
url     = http://search.test
index   = users
backoff = 1s..60s
]]

-- What the index has, as its bulk requests say; `refuse` says of an id and its document what is wrong with it.
local function index(refuse)
  local there = {}
  test.http(function(request)
    local pending, items, errors = nil, {}, false
    local function apply(verb, id, document)
      local problem = refuse and refuse(id)
      if not problem then
        there[id] = document and document.name
      end
      errors = errors or problem ~= nil
      items[#items + 1] = { [verb] = { status = problem and 400 or 200, error = problem and { type = "refused", reason = problem } } }
    end
    for line in request.body:gmatch("[^\n]+") do
      local read = json.decode(line)
      if pending then
        apply("index", pending, read)
        pending = nil
      elseif read.delete then
        apply("delete", read.delete._id)
      else
        pending = read.index._id
      end
    end
    return { errors = errors, items = items }
  end)
  return there
end

test("upserts and deletes", function()
  local there = index()
  dynamodb.put("Users", { userId = "u 1", name = "first" })
  dynamodb.put("Users", { userId = "u 1", name = "second" })
  dynamodb.put("Users", { userId = "u2", name = "other" })
  test.settle()
  test.equal(there, { ["u 1"] = "second", u2 = "other" })
  test.equal(test.requests()[1].url, "http://search.test/users/_bulk")
  dynamodb.delete("Users", { userId = "u 1" })
  test.settle()
  test.equal(there, { u2 = "other" })
end)

test("of a batch only what was refused is tried again", function()
  local refusals = 0
  local there = index(function(id)
    if id == "ill" and refusals < 2 then
      refusals = refusals + 1
      return "not now"
    end
  end)
  for _, id in ipairs { "a", "ill", "b" } do
    dynamodb.put("Users", { userId = id, name = id })
  end
  test.settle()
  test.equal(there, { a = "a", b = "b", ill = "ill" })
  local _, documents = test.requests()[2].body:gsub("_id", "")
  test.equal(documents, 1)
end)

test("a service that stumbles gets the changes later", function()
  local calls = 0
  local there = index()
  test.http(function(request)
    calls = calls + 1
    if calls == 1 then
      return nil -- the connection breaks
    elseif calls < 4 then
      return 503
    end
    there.u = request.body:match('"name":"(%w+)"')
    return { errors = false, items = { { index = { status = 200 } } } }
  end)
  dynamodb.put("Users", { userId = "u", name = "first" })
  dynamodb.put("Users", { userId = "u", name = "second" })
  test.settle()
  test.equal(there.u, "second")
end)

test("what the service refuses for good becomes a dead letter", function()
  test.http(function() return 400, "no such field" end)
  dynamodb.put("Users", { userId = "u" })
  test.settle()
  test.contains(test.dead_letters()[1].error, "no such field")
end)
