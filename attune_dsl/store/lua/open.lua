-- A hub opens a fresh inbox. It exists from here on, because senders never create one.
-- KEYS  inbox:<link> broadcast timeline
-- ARGV  hub_ttl_ms
-- Returns {now, id of the inbox's first entry, ids of the newest broadcast and of the newest entry of the timeline}:
-- where the hub's reading starts.
local first = redis.call('XADD', KEYS[1], '*', 'open', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local function newest(stream)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  return last[1] and last[1][1] or '0-0'
end
return { fmt(clock()), first, newest(KEYS[2]), newest(KEYS[3]) }
