-- An agent waits for one other and does nothing else meanwhile. Does that close a cycle of agents that wait so for each
-- other? Then the wait that would be over first ends now: nothing of it is kept. Else it is, for those that come to wait.
-- KEYS  agent:<id> waits leases broadcast
-- ARGV  owner id prefix record
-- The record is JSON: epoch, since (its first epoch), wait (a number), source, types, mail and broadcast (orders received
-- so far), deadline (ms of the server's clock, 0: none).
-- Returns the cycle as {agent, source, its types as JSON, …}, empty if there is none, or if it is another's wait that
-- ends: that one's hub is told through its inbox.
-- What is kept is the namespace's order when the wait began, when that was, when its hub last told of it and was last
-- asked to do so again, and the record: '<order> <began_at> <told_at> <asked_at> <record>'. A cycle is certain only while
-- all its members are fresh: one whose link broke may have given up. The hubs of the others are asked, and tell anew.
if not owns(KEYS[1], ARGV[1]) then return {} end
local now, prefix, unread = clock(), ARGV[3], CYCLE_SCAN

-- Whether an entry may be what ends the wait. It has expired, perhaps, but may have been delivered before.
local function sought(wait, entry, is_broadcast)
  if is_broadcast then
    if wait.source == wait.id then return false end
    local order, late = string.match(field(entry, 'head'), '^(%d+) %d+ %d+ (%d)')
    if late == '0' and tonumber(order) < tonumber(wait.epoch) then return false end
  end
  local readable, signal = pcall(cjson.decode, field(entry, 'signal'))
  if not readable or type(signal) ~= 'table' then return true end
  if signal.source ~= wait.source then return false end
  for _, kind in ipairs(wait.types) do
    if kind == signal.type then return true end
  end
  return #wait.types == 0
end

-- Whether something that fits has come which the agent has not received yet; so does more than can be looked at.
local function has_come(wait, stream, after, taken)
  local last, count = '+', 1
  while true do
    local chunk = redis.call('XREVRANGE', stream, last, '-', 'COUNT', count)
    for _, entry in ipairs(chunk) do
      local order = order_of(entry)
      if order > 0 then
        if order <= after then return false end
        unread = unread - 1 - math.floor(#field(entry, 'signal') / 1024)
        if unread < 0 then return true end
        if sought(wait, entry, taken) and not (taken and redis.call('ZSCORE', taken, fmt(order))) then return true end
      end
    end
    if #chunk < count then return false end
    last, count = '(' .. chunk[#chunk][1], 20
  end
end

-- What an agent is blocked by. `awaited` is the order when the one began that waits for it: has it
-- ended since then, that wait ends.
local function blocked(id, text, awaited)
  local readable, wait = pcall(cjson.decode, text or '')
  if not readable or type(wait) ~= 'table' then return nil end
  wait.id = id
  if wait.deadline ~= 0 and wait.deadline <= now + CLOSE then return nil end
  local held = redis.call('HMGET', prefix .. 'agent:' .. id, 'epoch', 'prior', 'extended')
  if held[1] ~= wait.epoch or (tonumber(held[2] or '') or 0) >= awaited then return nil end
  local lease = tonumber(redis.call('ZSCORE', KEYS[3], id .. '#' .. wait.epoch) or '')
  if not lease or lease <= now or tonumber(held[3] or '') == lease then return nil end
  if has_come(wait, prefix .. 'mail:' .. id, wait.mail)
    or has_come(wait, KEYS[4], wait.broadcast, prefix .. 'seen:' .. id) then return nil end
  return wait
end

-- The one that gives up first ends the deadlock anyway, and its wait is in vain: it is told now, the others wait on. Of
-- those that would give up at the same time, or never, it is the one that comes last.
local function first_to_end(waits)
  local function ends_at(wait) return wait.deadline == 0 and math.huge or wait.deadline end
  local first = waits[1]
  for _, wait in ipairs(waits) do
    local at, than = ends_at(wait), ends_at(first)
    if at < than or (at == than and wait.began_at > first.began_at) then first = wait end
  end
  return first
end

local function spelled_out(waits, first)
  local cycle, start = {}, 1
  for i, wait in ipairs(waits) do
    if wait == first then start = i end
  end
  for i = start, start + #waits - 1 do
    local wait = waits[(i - 1) % #waits + 1]
    cycle[#cycle + 1], cycle[#cycle + 2], cycle[#cycle + 3] = wait.id, wait.source, cjson.encode(wait.types)
  end
  return cycle
end

local function tell(wait, kind, ...)
  local link = link_of(redis.call('HGET', prefix .. 'agent:' .. wait.id, 'owner'))
  -- pcall: what somebody put in the place of its inbox must not keep the wait of the caller from being known.
  if link then
    pcall(post, prefix .. 'inbox:' .. link, kind, wait.id, 'epoch', wait.epoch, 'wait',
      fmt(tonumber(wait.wait) or 0), ...)
  end
end

local function keep(id, kept)
  redis.call('HSET', KEYS[2], id, string.format('%.0f %.0f %.0f %.0f %s', kept.order, kept.began_at, kept.told_at,
    kept.asked_at, kept.text))
  redis.call('EXPIRE', KEYS[2], AGENT_TTL)
end

local function kept_of(id)
  local order, began_at, told_at, asked_at, text = string.match(redis.call('HGET', KEYS[2], id) or '',
    '^(%d+) (%d+) (%d+) (%d+) (.*)$')
  return { order = tonumber(order or '') or 0, began_at = tonumber(began_at or '') or 0,
    told_at = tonumber(told_at or '') or 0, asked_at = tonumber(asked_at or '') or 0, text = text }
end

local function is_fresh(kept) return now - kept.told_at <= FRESH end

-- Whether all who wait are known to do so still; the hubs of those of which that is not known are asked.
local function are_fresh(waits)
  local fresh = true
  for _, wait in ipairs(waits) do
    if not is_fresh(wait.kept) then
      fresh, wait.kept.asked_at = false, now
      keep(wait.id, wait.kept)
      tell(wait, 'confirm')
    end
  end
  return fresh
end

local own = cjson.decode(ARGV[4])
local kept = { order = tonumber(redis.call('GET', prefix .. 'order') or '0'), began_at = now, told_at = now, asked_at = 0,
  text = ARGV[4] }
local before = kept_of(ARGV[2])
local readable, same = pcall(cjson.decode, before.text or '')
if readable and type(same) == 'table' and same.epoch == own.epoch and same.wait == own.wait then
  kept.order, kept.began_at = before.order, before.began_at
end
local id, text, order, awaited, waits = ARGV[2], ARGV[4], math.huge, math.huge, {}
local walked = kept
for _ = 1, CYCLE_COUNT do
  local readable, wait = pcall(blocked, id, text, awaited)
  if not readable or not wait then break end
  wait.kept, wait.began_at = walked, walked.began_at
  -- One that was asked just now tells anew, and walks on from there.
  if not is_fresh(walked) and now - walked.asked_at <= CONFIRM then break end
  waits[#waits + 1] = wait
  id, awaited = wait.source, order
  if id == ARGV[2] then
    if (tonumber(redis.call('HGET', KEYS[1], 'prior') or '') or 0) >= awaited then break end
    if not are_fresh(waits) then break end
    local first = first_to_end(waits)
    local cycle = spelled_out(waits, first)
    redis.call('HDEL', KEYS[2], first.id)
    if first == waits[1] then return cycle end
    tell(first, 'cycle', 'path', cjson.encode(cycle))
    break
  end
  walked = kept_of(id)
  order, text = walked.order, walked.text
end
-- Its own wait may be about to end, too: it has not been told yet that its source ended.
local ended = redis.call('HGET', prefix .. 'agent:' .. own.source, 'ended_order')
if ended and tonumber(ended) >= own.since then
  redis.call('HDEL', KEYS[2], ARGV[2])
else
  keep(ARGV[2], kept)
end
return {}
