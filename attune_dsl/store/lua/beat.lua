-- One beat for all agents of a hub: leases, the hub's inbox, and what the hub has read of it.
-- KEYS  leases inbox:<link>
-- ARGV  hub_ttl_ms read_up_to (ttl_ms member)*
-- Returns {now, inbox_exists, positions of members whose lease is gone}. XX: a lease that was taken over or removed is
-- never brought back by a late beat.
local now, hub_ttl = clock(), ARGV[1]
local members, beats, lost = {}, {}, {}
for i = 3, #ARGV, 2 do
  beats[#beats + 1] = fmt(now + tonumber(ARGV[i]))
  beats[#beats + 1] = ARGV[i + 1]
  members[#members + 1] = ARGV[i + 1]
end
if #members > 0 then
  for position, score in ipairs(redis.call('ZMSCORE', KEYS[1], unpack(members))) do
    if not score then lost[#lost + 1] = position end
  end
  redis.call('ZADD', KEYS[1], 'XX', unpack(beats))
  if #lost < #members then keep_until(KEYS[1], now + AGENT_TTL * 1000) end
end
if ARGV[2] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2]) end
return { fmt(now), redis.call('PEXPIRE', KEYS[2], hub_ttl), lost }
