-- A hub opens a fresh inbox. It exists from here on, because senders never create one.
-- KEYS  inbox:<link> broadcast
-- ARGV  hub_ttl_ms
-- Returns {now, id of the inbox's first entry, id of the newest broadcast}: where the hub's reading starts.
local first = redis.call('XADD', KEYS[1], '*', 'open', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return { fmt(clock()), first, newest[1] and newest[1][1] or '0-0' }
