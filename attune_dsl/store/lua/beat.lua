-- A hub's beat, behind the ZADD that renews its agents' leases: its inbox, what it has read of that, and a look for leases
-- that have lapsed and for signals that have expired.
-- KEYS  leases inbox:<link> pulse ended timeline
-- ARGV  prefix interval_ms own_at_ms down_at_ms asked_at_ms hub_ttl_ms read_up_to
-- Returns {now, inbox_exists, earliest expiry or ''}.
local now = clock()
local from, till = silence(KEYS[1], KEYS[3], ARGV[1], now, tonumber(ARGV[2]), tonumber(ARGV[3]),
  tonumber(ARGV[4]), tonumber(ARGV[5]))
local earliest = sweep(KEYS[1], KEYS[4], KEYS[5], ARGV[1], now, from, till)
purge_lapsed(ARGV[1], KEYS[5], now)
if earliest ~= '' then keep_until(KEYS[1], now + AGENT_TTL * 1000) end
if ARGV[7] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', ARGV[7]) end
return { fmt(now), redis.call('PEXPIRE', KEYS[2], ARGV[6]), earliest }
