-- Shared by all scripts: put before each of them when it is loaded. Only locals: a global would break later scripts.
-- Every redis.call costs about a microsecond, so what belongs together is kept in one field or one hash.

local function fmt(number) return string.format('%.0f', number) end

-- The server's clock in milliseconds: the only clock of leases and TTLs.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whether the caller is the live owner of the agent over its present link. An owner that was replaced, and bytes that
-- arrive late over an old connection, are refused by this.
local function owns(agent, owner) return redis.call('HGET', agent, 'owner') == owner end

-- Let a key live at least until `at`. GT sets nothing on a key that has no TTL, hence NX first.
local function keep_until(key, at)
  if redis.call('PEXPIREAT', key, fmt(at), 'NX') == 0 then redis.call('PEXPIREAT', key, fmt(at), 'GT') end
end

local function field(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
  return ''
end

-- The head of an entry is 'order sent expires late id'; what is malformed has order 0 and has expired.
local function order_of(entry) return tonumber(string.match(field(entry, 'head'), '^(%d+) ') or 0) end
local function expiry_of(entry) return tonumber(string.match(field(entry, 'head'), '^%d+ %d+ (%d+) ') or 0) end

-- How many entries a timeline keeps, about.
local function timeline_cap(timeline)
  return tonumber(redis.pcall('GET', timeline .. '-cap') or '') or TIMELINE_COUNT
end

-- Tell in the timeline that a signal was stored. Of a long one only what `short` says.
local function tell_sent(timeline, sender, owner, now, id, signal, agent, stage, short)
  redis.call('XADD', timeline, 'MAXLEN', '~', timeline_cap(timeline), '*', 'kind', 'signal.sent', 'agent', agent,
    'epoch', string.match(owner, '^%d+'), 'at', fmt(now), 'run', sender[5] or '', 'workflow', sender[6] or '',
    'stage', stage, 'id', id, 'data', short == '' and signal or short)
  redis.call('EXPIRE', timeline, TIMELINE_TTL)
end

-- Tell in the timeline that signals have expired in a mailbox. Of very many at once only how many there were.
local function tell_expired(told, entries, now)
  if not told or #entries == 0 then return end
  local most = timeline_cap(told.timeline)
  for i = 1, math.min(#entries, EXPIRED_COUNT) do
    local id = string.match(field(entries[i], 'head'), '^%d+ %d+ %d+ %d (.*)$')
    local head = string.match(string.sub(field(entries[i], 'signal'), 1, TOLD_BYTES), '^(.-),"payload":')
    redis.call('XADD', told.timeline, 'MAXLEN', '~', most, '*', 'kind', 'signal.expired', 'agent', told.target,
      'at', fmt(now), 'id', id or '', 'data', head and head .. '}' or '{"type":""}')
  end
  if #entries > EXPIRED_COUNT then
    local gap = { why = 'too many signals expired at once', dropped = #entries - EXPIRED_COUNT }
    redis.call('XADD', told.timeline, 'MAXLEN', '~', most, '*', 'kind', 'timeline.gap', 'agent', told.target,
      'at', fmt(now), 'data', cjson.encode(gap))
  end
  redis.call('EXPIRE', told.timeline, TIMELINE_TTL)
end

-- Remove what has expired from a stream of signals, at most once per known earliest expiry. `told` says where to tell of
-- it: the timeline, and whose mailbox this is; nil for broadcasts, which have done their work until then.
-- Returns the bytes that the stream holds and its earliest expiry (nil where it is empty).
local function purge(stream, info, bytes, due, now, told)
  if due and due > now then return bytes or 0, due end
  local expired = {}
  bytes, due = 0, nil
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+')) do
    local expires = expiry_of(entry)
    if expires <= now then
      redis.call('XDEL', stream, entry[1])
      expired[#expired + 1] = entry
    else
      bytes = bytes + #field(entry, 'signal')
      if not due or expires < due then due = expires end
    end
  end
  redis.call('HSET', info, 'bytes', fmt(bytes), 'due', due and fmt(due) or '')
  tell_expired(told, expired, now)
  return bytes, due
end

-- Append a signal to a stream within its caps. Returns the entry's id and head, and the time, or nil where it is full.
local function append(stream, info, order, message, told)
  local now = clock()
  local known = redis.call('HMGET', info, 'bytes', 'due', 'until')
  local bytes, due = purge(stream, info, tonumber(known[1] or ''), tonumber(known[2] or ''), now, told)
  local size, expires = #message.signal, now + message.ttl
  if bytes + size > MAIL_BYTES or redis.call('XLEN', stream) >= MAIL_COUNT then return nil end
  local head = string.format('%.0f %.0f %.0f %s %s', redis.call('INCR', order), now, expires, message.late, message.id)
  local at = redis.call('XADD', stream, '*', 'head', head, 'signal', message.signal)
  local is_first = not due or expires < due
  if is_first then due = expires end
  local kept = tonumber(known[3] or '')
  if kept and kept >= expires then
    -- Most signals change the one field.
    if is_first then
      redis.call('HSET', info, 'bytes', fmt(bytes + size), 'due', fmt(due))
    else
      redis.call('HSET', info, 'bytes', fmt(bytes + size))
    end
  else
    -- Longer than needed, so that the keys' own expiry is not moved at every signal, and that what has expired is told.
    kept = expires + math.max(message.ttl, EXPIRY_LINGER)
    redis.call('HSET', info, 'bytes', fmt(bytes + size), 'due', fmt(due), 'until', fmt(kept))
    redis.call('PEXPIREAT', stream, fmt(kept))
    redis.call('PEXPIREAT', info, fmt(kept))
  end
  if is_first and told then
    redis.call('ZADD', told.expiries, fmt(due), told.target)
    keep_until(told.expiries, kept)
  end
  return at, head, now
end

-- The link of an agent's hub, which its inbox bears, from the `owner` in the agent's hash; nil where there is none.
local function link_of(owner) return string.match(owner or '', '@(.+)$') end

-- Put an entry into a hub's inbox of that length, if it has one. A full one is replaced by a word that its hub has to look
-- for itself.
local function put(inbox, length, ...)
  if length < INBOX_COUNT then return redis.call('XADD', inbox, 'NOMKSTREAM', '*', ...) end
  redis.call('XTRIM', inbox, 'MAXLEN', 0)
  return redis.call('XADD', inbox, 'NOMKSTREAM', '*', 'resync', '1')
end

local function post(inbox, ...) return put(inbox, redis.call('XLEN', inbox), ...) end

-- Messages are numbered per lane, and an agent's hash remembers the last number of its present lane: what was stored
-- is not stored again, and what was refused is refused again. Returns the answer to a retry, or nil for a new message.
-- The caller has read `owner`, `lane`, `seq` and `refused` from the sender's hash.
local function answered(sender, owner, lane, seq, id)
  if sender[1] ~= owner then return { 'fenced', '' } end
  if sender[2] ~= lane or tonumber(seq) > tonumber(sender[3]) then return nil end
  if string.find(sender[4] or '', ',' .. seq .. ',', 1, true) then return { 'full', '' } end
  return { 'stored', id }
end

local function refuse(agent, lane, seq, refused)
  refused = string.sub((refused or ',') .. seq .. ',', -REFUSED_LENGTH)
  redis.call('HSET', agent, 'lane', lane, 'seq', seq, 'refused', refused)
  return { 'full', '' }
end
