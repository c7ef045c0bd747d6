-- A signal to every agent of the namespace: fence, lane, caps, the broadcast stream, which every hub reads.
-- KEYS  agent:<sender> lanes:<hub> order broadcast broadcast-info [once:<sender>:<key>]
-- ARGV  owner lane seq id ttl_ms signal late
-- Returns {'stored', id}, {'full', ''} or {'fenced', ''}.
local owner, lane, seq, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not owns(KEYS[1], owner) then return { 'fenced', '' } end
local known = retried(KEYS[2], lane, seq)
if known then return { known, id } end
if KEYS[6] then
  local stored = redis.call('GET', KEYS[6])
  if stored then return { 'stored', stored } end
end
local ttl = tonumber(ARGV[5])
local number = append(KEYS[4], KEYS[5], KEYS[3], clock(), { id = id, ttl = ttl, signal = ARGV[6], late = ARGV[7] })
if not number then return refuse(KEYS[2], lane, seq) end
advance(KEYS[2], lane, seq)
if KEYS[6] then redis.call('SET', KEYS[6], id, 'PX', fmt(ttl)) end
return { 'stored', id }
