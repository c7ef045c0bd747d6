-- Barriers: put before the scripts that end a wait at one, behind common.lua.

-- Who stands at a barrier, in the order of arrival.
local function arrived(barrier)
  local held, ids = redis.call('HGETALL', barrier), {}
  for i = 1, #held, 2 do
    local id = string.match(held[i], '^at:(.*)$')
    -- Digits only: by what is no number a table cannot be sorted.
    if id then ids[#ids + 1] = { id, tonumber(string.match(held[i + 1], '^%d+$') or '0') } end
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
  local links, standing = {}, {}
  for _, id in ipairs(ids) do
    redis.call('HDEL', barrier, 'at:' .. id)
    redis.pcall('SREM', prefix .. 'barriers:' .. id, name)
    local link = link_of(redis.pcall('HMGET', prefix .. 'agent:' .. id, 'owner')[1])
    if link and not standing[link] then
      links[#links + 1], standing[link] = link, {}
    end
    if link then table.insert(standing[link], id) end
  end
  -- Once a hub: the outcome names all, and a thousand times that would be too much.
  for _, link in ipairs(links) do
    pcall(post, prefix .. 'inbox:' .. link, 'barrier', name, 'of', table.concat(standing[link], '\n'),
      'generation', fmt(generation), 'outcome', outcome, 'order', order)
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

-- An agent has ended: what it stands at breaks. Whether it does is asked of the barrier, which may have expired alone. pcall:
-- what somebody put in the place of one must not keep the end from being told to the others.
local function break_all(prefix, id, status, stage, error)
  local detail = table.concat({ status, stage, error }, '\n')
  local standing = prefix .. 'barriers:' .. id
  for _, name in ipairs(redis.pcall('SMEMBERS', standing)) do
    if redis.pcall('HEXISTS', prefix .. 'barrier:' .. name, 'at:' .. id) == 1 then
      pcall(break_barrier, prefix, name, 'peer_gone', id, detail)
    end
  end
  redis.call('DEL', standing)
end

-- How a generation ended, and where in the namespace's order: who knows that may still have to learn of a later break.
local function over(barrier, counter, generation)
  local how = redis.call('HMGET', barrier, 'outcome:' .. generation, 'order:' .. generation)
  return { 'over', generation, how[1] or '', how[2] or redis.call('GET', counter) or '' }
end
