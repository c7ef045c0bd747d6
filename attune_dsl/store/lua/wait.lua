-- A hub waits for what an agent sends: it will be told when that ends. How does it stand?
-- KEYS  agent:<source> waited:<source> leases pulse
-- ARGV  link source prefix
-- Returns {epoch or '', ended_at or '', ended_order, status, stage, error, alive, expiry of its lease or ''}; alive is 1
-- or 0.
-- Hubs that are gone would pile up where an agent never ends: with each that comes, two are looked at.
for _, link in ipairs(redis.call('SRANDMEMBER', KEYS[2], 2)) do
  if redis.call('EXISTS', ARGV[3] .. 'inbox:' .. link) == 0 then redis.call('SREM', KEYS[2], link) end
end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], AGENT_TTL)
local held = redis.call('HMGET', KEYS[1], 'epoch', 'ended_at', 'ended_order', 'status', 'stage', 'error', 'extended')
local alive, lease = 0, nil
if held[1] and not held[2] then
  lease = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[2] .. '#' .. held[1]) or '')
  local extended = lease and tonumber(held[7] or '') == lease
  if lease and lease > clock() and (not extended or redis.call('HGET', KEYS[4], 'witnessed') == '1') then alive = 1 end
end
return { held[1] or '', held[2] or '', held[3] or '', held[4] or '', held[5] or '', held[6] or '', alive,
  lease and fmt(lease) or '' }
