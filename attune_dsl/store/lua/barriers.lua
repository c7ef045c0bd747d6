-- Barriers: put before the scripts that end a wait at one, behind common.lua.

-- Who stands at a barrier, in the order of arrival.
local function arrived(barrier)
  local held, ids = redis.call('HGETALL', barrier), {}
  for i = 1, #held, 2 do
    local id = string.match(held[i], '^at:(.*)$')
    if id then ids[#ids + 1] = { id, tonumber(held[i + 1]) or 0 } end
  end
  table.sort(ids, function(a, b) return a[2] < b[2] end)
  for i, pair in ipairs(ids) do ids[i] = pair[1] end
  return ids
end

-- A generation of a barrier is over: all who stand there are told how, and the next begins. Returns where in the
-- namespace's order that is.
local function settle(prefix, name, outcome, ids, generation)
  local barrier, order = prefix .. 'barrier:' .. name, fmt(redis.call('INCR', prefix .. 'order'))
  redis.call('HSET', barrier, 'generation', fmt(generation + 1), 'count', '0', 'outcome:' .. fmt(generation), outcome,
    'order:' .. fmt(generation), order)
  redis.call('HDEL', barrier, 'outcome:' .. fmt(generation - OUTCOME_COUNT), 'order:' .. fmt(generation - OUTCOME_COUNT))
  for _, id in ipairs(ids) do
    redis.call('HDEL', barrier, 'at:' .. id)
    redis.pcall('SREM', prefix .. 'barriers:' .. id, name)
    local owner = redis.pcall('HMGET', prefix .. 'agent:' .. id, 'owner')[1] or ''
    local epoch, link = string.match(owner, '^(%d+)@(.+)$')
    if link then
      pcall(post, prefix .. 'inbox:' .. link, 'barrier', name, 'of', id, 'epoch', epoch, 'generation', fmt(generation),
        'outcome', outcome, 'order', order)
    end
  end
  return order
end

-- A barrier breaks: `by` is the agent because of which.
local function break_barrier(prefix, name, reason, by, detail)
  local barrier = prefix .. 'barrier:' .. name
  local generation = tonumber(redis.pcall('HMGET', barrier, 'generation')[1] or '')
  if not generation then return end
  local outcome = table.concat({ 'broken', reason, by, detail }, '\n')
  local order = settle(prefix, name, outcome, arrived(barrier), generation)
  redis.call('HSET', barrier, 'broken', fmt(generation), 'broken_order', order)
  redis.call('EXPIRE', barrier, AGENT_TTL)
end

-- An agent has ended: what it stands at breaks.
local function break_all(prefix, id, status, stage, error)
  local detail = table.concat({ status, stage, error }, '\n')
  local standing = prefix .. 'barriers:' .. id
  for _, name in ipairs(redis.pcall('SMEMBERS', standing)) do break_barrier(prefix, name, 'peer_gone', id, detail) end
  redis.call('DEL', standing)
end
