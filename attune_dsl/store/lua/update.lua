-- What an agent says of itself changes. An ended agent is never revived.
-- KEYS  agent:<id>
-- ARGV  owner progressed field value …
-- Returns 'updated', 'fenced' or 'ended'.
if not owns(KEYS[1], ARGV[1]) then return 'fenced' end
if redis.call('HEXISTS', KEYS[1], 'ended_at') == 1 then return 'ended' end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'progress_at', fmt(clock())) end
redis.call('EXPIRE', KEYS[1], AGENT_TTL)
return 'updated'
