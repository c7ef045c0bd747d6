-- A hub opens a fresh inbox and a lane. They exist from here on, because senders never create an inbox.
-- KEYS  inbox:<link> broadcast lanes:<hub>
-- ARGV  hub_ttl_ms lane
-- Returns {now, id of the inbox's first entry, id of the newest broadcast}: where the hub's reading starts.
local first = redis.call('XADD', KEYS[1], '*', 'open', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[2], '0')
redis.call('PEXPIRE', KEYS[3], ARGV[1])
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return { fmt(clock()), first, newest[1] and newest[1][1] or '0-0' }
