-- A hub waits for what an agent sends: it will be told when that ends. How does it stand?
-- KEYS  agent:<source> waited:<source> leases pulse
-- ARGV  link source
-- Returns {epoch or '', ended_at or '', status, stage, error, alive}; alive is 1 or 0.
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], AGENT_TTL)
local held = redis.call('HMGET', KEYS[1], 'epoch', 'ended_at', 'status', 'stage', 'error', 'extended')
local alive = 0
if held[1] and not held[2] then
  local lease = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[2] .. '#' .. held[1]) or '')
  local extended = lease and tonumber(held[6] or '') == lease
  if lease and lease > clock() and (not extended or redis.call('HGET', KEYS[4], 'witnessed') == '1') then alive = 1 end
end
return { held[1] or '', held[2] or '', held[3] or '', held[4] or '', held[5] or '', alive }
