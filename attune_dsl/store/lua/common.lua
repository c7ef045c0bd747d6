-- Shared by all scripts: put before each of them when it is loaded. Only locals: a global would break later scripts.

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
  return false
end

-- Remove what has expired from a stream of signals, at most once per known earliest expiry.
-- Returns the bytes that the stream holds and its earliest expiry (nil where it is empty).
local function purge(stream, info, now)
  local known = redis.call('HMGET', info, 'bytes', 'due')
  local bytes, due = tonumber(known[1] or 0) or 0, tonumber(known[2] or '')
  if due and due > now then return bytes, due end
  bytes, due = 0, nil
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+')) do
    local expires = tonumber(field(entry, 'expires') or 0) or 0
    if expires <= now then
      redis.call('XDEL', stream, entry[1])
    else
      bytes = bytes + #(field(entry, 'signal') or '')
      if not due or expires < due then due = expires end
    end
  end
  redis.call('HSET', info, 'bytes', fmt(bytes), 'due', due and fmt(due) or '')
  return bytes, due
end

-- What the lane says of a message that may have been stored before: 'stored', 'full', or nil for a new one.
local function retried(lanes, lane, seq)
  local last = redis.call('HGET', lanes, lane)
  if not last or tonumber(seq) > tonumber(last) then return nil end
  if redis.call('HEXISTS', lanes, lane .. '!' .. seq) == 1 then return 'full' end
  return 'stored'
end

local function advance(lanes, lane, seq) redis.call('HSET', lanes, lane, seq) end

local function refuse(lanes, lane, seq)
  if redis.call('HLEN', lanes) < REFUSED_LANES then redis.call('HSET', lanes, lane .. '!' .. seq, '1') end
  advance(lanes, lane, seq)
  return { 'full', '' }
end

-- Append a signal to a stream within its caps. Returns order, stream id and time, or nil where it is full.
local function append(stream, info, order, now, message)
  local bytes, due = purge(stream, info, now)
  local size = #message.signal
  if redis.call('XLEN', stream) >= MAIL_COUNT or bytes + size > MAIL_BYTES then return nil end
  local expires = now + message.ttl
  local number = redis.call('INCR', order)
  local at = redis.call('XADD', stream, '*', 'order', number, 'id', message.id, 'sent', fmt(now),
    'expires', fmt(expires), 'late', message.late, 'signal', message.signal)
  if not due or expires < due then due = expires end
  redis.call('HSET', info, 'bytes', fmt(bytes + size), 'due', fmt(due))
  keep_until(stream, expires)
  keep_until(info, expires)
  return number, at, expires
end
