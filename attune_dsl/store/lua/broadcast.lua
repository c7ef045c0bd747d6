-- A signal to every agent of the namespace: fence, retry, caps, the broadcast stream, which every hub reads.
-- KEYS  agent:<sender> order broadcast broadcast-info [once:<sender>:<key>]
-- ARGV  owner lane seq id ttl_ms signal late
-- Returns {'stored', id}, {'full', ''} or {'fenced', ''}.
local owner, lane, seq, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local sender = redis.call('HMGET', KEYS[1], 'owner', 'lane', 'seq', 'refused')
local answer = answered(sender, owner, lane, seq, id)
if answer then return answer end
if KEYS[5] then
  local stored = redis.call('GET', KEYS[5])
  if stored then return { 'stored', stored } end
end
local ttl = tonumber(ARGV[5])
local at = append(KEYS[3], KEYS[4], KEYS[2], { id = id, ttl = ttl, signal = ARGV[6], late = ARGV[7] })
if not at then return refuse(KEYS[1], lane, seq, sender[4]) end
redis.call('HSET', KEYS[1], 'lane', lane, 'seq', seq)
if KEYS[5] then redis.call('SET', KEYS[5], id, 'PX', fmt(ttl)) end
return { 'stored', id }
