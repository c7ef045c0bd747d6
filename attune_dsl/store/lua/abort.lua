-- Agents are asked to stop: kept with each of them until it ends, and told to its hub.
-- KEYS  leases timeline [agent:<sender>]
-- ARGV  prefix owner ('': nobody who is an agent) by reason leases name …
-- A name is an agent id; where `leases` is '1' a member of `leases`, of which only that incarnation is meant.
-- Returns the ids of those that were asked, or 'fenced'.
if KEYS[3] and not owns(KEYS[3], ARGV[2]) then return 'fenced' end
local prefix, by, reason, now, asked = ARGV[1], ARGV[3], ARGV[4], clock(), {}
for i = 6, #ARGV do
  local id, epoch = ARGV[i], nil
  if ARGV[5] == '1' then id, epoch = string.match(id, '^(.*)#(%d+)$') end
  local agent = prefix .. 'agent:' .. (id or '')
  local held = redis.pcall('HMGET', agent, 'epoch', 'ended_at', 'owner', 'abort_reason', 'abort_by')
  if id and held[1] and not held[2] and (not epoch or epoch == held[1])
    and redis.call('ZSCORE', KEYS[1], id .. '#' .. held[1]) then
    -- The first one counts: it may have been acted on. Its hub may have missed it, so that is what it is told.
    local why, who, link = held[4] or reason, held[4] and held[5] or by, link_of(held[3])
    redis.call('HSET', agent, 'abort_reason', why, 'abort_by', who)
    -- pcall: what somebody put in the place of an inbox must not keep the others from being asked.
    if link then pcall(post, prefix .. 'inbox:' .. link, 'abort', id, 'epoch', held[1], 'by', who, 'reason', why) end
    if not held[4] then note(KEYS[2], 'aborted', id, held[1], now, 'by', by, 'reason', reason) end
    note(KEYS[2], 'updated', id, held[1], now)
    asked[#asked + 1] = id
  end
end
return asked
