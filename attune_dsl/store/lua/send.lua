-- A targeted signal: fence, lane, caps, mailbox, inbox of the target's hub.
-- KEYS  agent:<sender> lanes:<hub> order mail:<target> mail-info:<target> agent:<target> [once:<sender>:<key>]
-- ARGV  owner lane seq id ttl_ms signal inbox_prefix target
-- Returns {'stored', id}, {'full', ''} or {'fenced', ''}.
local owner, lane, seq, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not owns(KEYS[1], owner) then return { 'fenced', '' } end
local known = retried(KEYS[2], lane, seq)
if known then return { known, id } end
if KEYS[7] then
  local stored = redis.call('GET', KEYS[7])
  if stored then return { 'stored', stored } end
end
local now, ttl, signal = clock(), tonumber(ARGV[5]), ARGV[6]
local number, at, expires = append(KEYS[4], KEYS[5], KEYS[3], now, { id = id, ttl = ttl, signal = signal, late = '1' })
if not number then return refuse(KEYS[2], lane, seq) end
advance(KEYS[2], lane, seq)
if KEYS[7] then redis.call('SET', KEYS[7], id, 'PX', fmt(ttl)) end

local link = string.match(redis.call('HGET', KEYS[6], 'owner') or '', '@(.+)$')
if link then
  local inbox = ARGV[7] .. link
  if redis.call('XLEN', inbox) >= INBOX_COUNT then
    redis.call('XTRIM', inbox, 'MAXLEN', 0)
    redis.call('XADD', inbox, 'NOMKSTREAM', '*', 'resync', '1')
  elseif #signal > INLINE_BYTES then
    redis.call('XADD', inbox, 'NOMKSTREAM', '*', 'agent', ARGV[8], 'order', number)
  else
    redis.call('XADD', inbox, 'NOMKSTREAM', '*', 'agent', ARGV[8], 'at', at, 'order', number, 'id', id,
      'sent', fmt(now), 'expires', fmt(expires), 'signal', signal)
  end
end
return { 'stored', id }
