-- A targeted signal: fence, retry, caps, mailbox, inbox of the target's hub.
-- KEYS  agent:<sender> order mail:<target> mail-info:<target> agent:<target> [once:<sender>:<key>]
-- ARGV  owner lane seq id ttl_ms signal inbox_prefix target
-- Returns {'stored', id}, {'full', ''} or {'fenced', ''}.
local owner, lane, seq, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local sender = redis.call('HMGET', KEYS[1], 'owner', 'lane', 'seq', 'refused')
local answer = answered(sender, owner, lane, seq, id)
if answer then return answer end
if KEYS[6] then
  local stored = redis.call('GET', KEYS[6])
  if stored then return { 'stored', stored } end
end
local ttl, signal = tonumber(ARGV[5]), ARGV[6]
local at, head = append(KEYS[3], KEYS[4], KEYS[2], { id = id, ttl = ttl, signal = signal, late = '1' })
if not at then return refuse(KEYS[1], lane, seq, sender[4]) end
if sender[2] == lane then
  redis.call('HSET', KEYS[1], 'seq', seq)
else
  redis.call('HSET', KEYS[1], 'lane', lane, 'seq', seq)
end
if KEYS[6] then redis.call('SET', KEYS[6], id, 'PX', fmt(ttl)) end

local link = link_of(redis.call('HGET', KEYS[5], 'owner'))
if link then
  local inbox = ARGV[7] .. link
  local length = redis.call('XLEN', inbox)
  if #signal > INLINE_BYTES or length >= INLINE_COUNT then
    put(inbox, length, 'agent', ARGV[8], 'head', head)
  else
    put(inbox, length, 'agent', ARGV[8], 'at', at, 'head', head, 'signal', signal)
  end
end
return { 'stored', id }
