-- A targeted signal: fence, retry, caps, mailbox, timeline, inbox of the target's hub.
-- KEYS  agent:<sender> order mail:<target> mail-info:<target> agent:<target> timeline [once:<sender>:<key>]
-- ARGV  owner lane seq id ttl_ms signal prefix target sender stage short
-- `short` is what the timeline tells of the signal where that is too long for it: {type, target, size} as JSON.
-- Returns {'stored', id}, {'full', ''} or {'fenced', ''}.
local owner, lane, seq, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local sender = redis.call('HMGET', KEYS[1], 'owner', 'lane', 'seq', 'refused', 'run_id', 'workflow')
local answer = answered(sender, owner, lane, seq, id)
if answer then return answer end
if KEYS[7] then
  local stored = redis.call('GET', KEYS[7])
  if stored then return { 'stored', stored } end
end
local ttl, signal, prefix, target = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
local at, head, now = append(KEYS[3], KEYS[4], KEYS[2], { id = id, ttl = ttl, signal = signal, late = '1' },
  { timeline = KEYS[6], target = target, expiries = prefix .. 'expiries' })
if not at then return refuse(KEYS[1], lane, seq, sender[4]) end
if sender[2] == lane then
  redis.call('HSET', KEYS[1], 'seq', seq)
else
  redis.call('HSET', KEYS[1], 'lane', lane, 'seq', seq)
end
if KEYS[7] then redis.call('SET', KEYS[7], id, 'PX', fmt(ttl)) end
tell_sent(KEYS[6], sender, owner, now, id, signal, ARGV[9], ARGV[10], ARGV[11])

local link = link_of(redis.call('HGET', KEYS[5], 'owner'))
if link then
  local inbox = prefix .. 'inbox:' .. link
  local length = redis.call('XLEN', inbox)
  if #signal > INLINE_BYTES or length >= INLINE_COUNT then
    put(inbox, length, 'agent', target, 'head', head)
  else
    put(inbox, length, 'agent', target, 'at', at, 'head', head, 'signal', signal)
  end
end
return { 'stored', id }
