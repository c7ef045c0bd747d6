-- An agent ends: its final status, once and for all, and its lease goes.
-- KEYS  agent:<id> leases ended
-- ARGV  owner id epoch field value …
-- Returns 'left', 'fenced' or 'ended'.
if not owns(KEYS[1], ARGV[1]) then return 'fenced' end
if redis.call('HEXISTS', KEYS[1], 'ended_at') == 1 then return 'ended' end
local member, now = ARGV[2] .. '#' .. ARGV[3], clock()
redis.call('HSET', KEYS[1], 'ended_at', fmt(now), 'owner', ARGV[3], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ENDED_TTL)
redis.call('ZREM', KEYS[2], member)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', fmt(now))
redis.call('ZADD', KEYS[3], fmt(now + ENDED_TTL * 1000), member)
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -ENDED_COUNT - 1)
keep_until(KEYS[3], now + ENDED_TTL * 1000)
return 'left'
