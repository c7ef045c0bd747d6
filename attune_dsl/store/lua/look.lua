-- What is in the mailbox and among the broadcasts beyond what the agent has received: newest first, until known.
-- KEYS  mail:<id> broadcast seen:<id> order
-- ARGV  after_mail after_broadcast (both orders)
-- Returns {now, highest order, mail entries, broadcast entries}, the entries in sending order; broadcasts that the agent
-- took are left out.
local function reversed(list)
  local turned = {}
  for i = #list, 1, -1 do turned[#turned + 1] = list[i] end
  return turned
end

local function newer(stream, after, wanted)
  local found, last = {}, '+'
  while true do
    local chunk = redis.call('XREVRANGE', stream, last, '-', 'COUNT', 100)
    for _, entry in ipairs(chunk) do
      local order = order_of(entry)
      if order <= after and order > 0 then return reversed(found) end
      if wanted(order) then found[#found + 1] = entry end
    end
    if #chunk < 100 then return reversed(found) end
    last = '(' .. chunk[#chunk][1]
  end
end

local mail = newer(KEYS[1], tonumber(ARGV[1]), function() return true end)
local broadcasts = newer(KEYS[2], tonumber(ARGV[2]), function(order)
  return not redis.call('ZSCORE', KEYS[3], fmt(order))
end)
return { fmt(clock()), fmt(tonumber(redis.call('GET', KEYS[4]) or '') or 0), mail, broadcasts }
