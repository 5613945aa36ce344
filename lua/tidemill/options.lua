---@meta tidemill.options
--- Of the library's own modules: what their functions take as options.

--- The options, or an empty table for nil; raises where they are no table or have a name that is not `known`.
---@param what string the function, for the sentence: "s3.get"
---@param options table|nil
---@param known table<string, true>
---@param level integer who is blamed: 1 for the caller of this
---@return table
return function(what, options, known, level)
  if options == nil then
    return {}
  end
  if type(options) ~= "table" then
    error(what .. ": options: a table expected, got " .. type(options), level + 1)
  end
  for name in pairs(options) do
    if not known[name] then
      error(what .. ": unknown option '" .. tostring(name) .. "'", level + 1)
    end
  end
  return options
end
