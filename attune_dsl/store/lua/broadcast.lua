-- A signal to every agent of the namespace: fence, retry, caps, the timeline, the broadcast stream, which every hub
-- reads.
-- KEYS  agent:<sender> order broadcast broadcast-info timeline [once:<sender>:<key>]
-- ARGV  owner lane seq id ttl_ms signal late sender stage short
-- Returns {'stored', id}, {'full', ''} or {'fenced', ''}.
local owner, lane, seq, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local sender = redis.call('HMGET', KEYS[1], 'owner', 'lane', 'seq', 'refused', 'run_id', 'workflow')
local answer = answered(sender, owner, lane, seq, id)
if answer then return answer end
if KEYS[6] then
  local stored = redis.call('GET', KEYS[6])
  if stored then return { 'stored', stored } end
end
local ttl = tonumber(ARGV[5])
local at, _, now = append(KEYS[3], KEYS[4], KEYS[2], { id = id, ttl = ttl, signal = ARGV[6], late = ARGV[7] })
if not at then return refuse(KEYS[1], lane, seq, sender[4]) end
redis.call('HSET', KEYS[1], 'lane', lane, 'seq', seq)
if KEYS[6] then redis.call('SET', KEYS[6], id, 'PX', fmt(ttl)) end
tell_sent(KEYS[5], sender, owner, now, id, ARGV[6], ARGV[8], ARGV[9], ARGV[10])
return { 'stored', id }
