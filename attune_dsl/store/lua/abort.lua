-- Agents are asked to stop: kept with each of them until it ends, and told to its hub.
-- KEYS  leases timeline [agent:<sender>]
-- ARGV  prefix owner ('': nobody who is an agent) by reason name …
-- A name is an agent id, or a member of `leases` where only that incarnation is meant.
-- Returns the ids of those that were asked, or 'fenced'.
if KEYS[3] and not owns(KEYS[3], ARGV[2]) then return 'fenced' end
local prefix, by, reason, now, asked = ARGV[1], ARGV[3], ARGV[4], clock(), {}
for i = 5, #ARGV do
  local id, epoch = ARGV[i], nil
  local held = redis.pcall('HMGET', prefix .. 'agent:' .. id, 'epoch', 'ended_at', 'owner')
  if not held[1] then
    id, epoch = string.match(ARGV[i], '^(.*)#(%d+)$')
    held = redis.pcall('HMGET', prefix .. 'agent:' .. (id or ''), 'epoch', 'ended_at', 'owner')
  end
  if held[1] and not held[2] and (not epoch or epoch == held[1])
    and redis.call('ZSCORE', KEYS[1], id .. '#' .. held[1]) then
    local agent, link = prefix .. 'agent:' .. id, string.match(held[3] or '', '@(.+)$')
    -- The first one counts: it may have been acted on.
    if redis.call('HSETNX', agent, 'abort_reason', reason) == 1 then redis.call('HSET', agent, 'abort_by', by) end
    if link then post(prefix .. 'inbox:' .. link, 'abort', id, 'epoch', held[1], 'by', by, 'reason', reason) end
    note(KEYS[2], 'updated', id, held[1], now)
    asked[#asked + 1] = id
  end
end
return asked
