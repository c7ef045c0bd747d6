-- An agent joins, or joins again over a new link. At most one live owner per id.
-- KEYS  agent:<id> leases order ended pulse timeline stages:<id>
-- ARGV  id link ttl_ms known_epoch ('0': a new incarnation) takeover hub prefix by token
--       field value …
-- takeover is '0', '1', or '#' and the epoch of an owner whose process the caller knows to be gone; `by` is told to
-- the owner that is replaced.
-- Returns {'joined', epoch, now, died_at, abort_reason or '', abort_by or ''} or {'taken', host, pid, machine, epoch}.
-- died_at is when an earlier incarnation that did not end properly was last alive ('0': there is none): what came before
-- may have been taken by it; and if it was asked to stop, so is this one.
local id, link, ttl, known, takeover, hub = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local now = clock()
steady(KEYS[2], KEYS[5], ARGV[7], now)
local held = redis.call('HMGET', KEYS[1], 'epoch', 'ended_at', 'host', 'pid', 'died_at', 'hub', 'machine', 'extended',
  'owner', 'ttl', 'status', 'beat_at', 'keep', 'stage', 'progress', 'interval', 'abort_reason', 'abort_by',
  'token')
local epoch, ended_at, died_at, is_newcomer = held[1], held[2], held[5] or '0', false
local reason, by = held[17] or '', held[18] or ''
-- The same agent comes back, or lost the answer to its last join; or this is another run of that process, and the one
-- before it has ended, though the store was not told.
local is_same = held[6] == hub and (known ~= '0' or (held[19] or '') == ARGV[9])
if held[6] == hub and not is_same then reason = '' end
-- A takeover is always a new incarnation.
if not (epoch and not ended_at and is_same and takeover ~= '1') then
  -- One that comes back may find that somebody else had its id meanwhile.
  if epoch and known ~= '0' and epoch ~= known and held[6] ~= hub then
    return { 'taken', held[3], held[4], held[7] or '', epoch }
  end
  local lease = epoch and tonumber(redis.call('ZSCORE', KEYS[2], id .. '#' .. epoch) or '')
  local extended = lease and tonumber(held[8] or '') == lease
  local alive = lease and lease > now and not extended
  if lease and not alive then
    -- What a silence of all has spared, or will at the next look, is a proof of life only if somebody has come back.
    local pulse = redis.call('HMGET', KEYS[5], 'from', 'until', 'witnessed')
    local from, till = tonumber(pulse[1] or '') or 0, tonumber(pulse[2] or '') or 0
    local ttl, interval = tonumber(held[10] or '') or 0, tonumber(held[16] or '') or 0
    local spared = lease > now or not extended and now <= till and swallowed(lease, ttl, interval, from, till)
    alive = spared and pulse[3] == '1'
  end
  if alive and held[6] ~= hub and takeover ~= '1' and takeover ~= '#' .. epoch then
    return { 'taken', held[3], held[4], held[7] or '', epoch }
  end
  if epoch and not ended_at then
    if alive and takeover == '1' then
      note(KEYS[6], 'fenced', id, epoch, now)
      local old = link_of(held[9])
      if old then pcall(post, ARGV[7] .. 'inbox:' .. old, 'fenced', id, 'epoch', epoch, 'by', ARGV[8]) end
      break_all(ARGV[7], id, 'taken over', '', '')
      died_at, reason = fmt(now), ''
    else
      local beat_at = extended and tonumber(held[12]) or (lease or now) - (tonumber(held[10] or '') or 0)
      died_at = fmt(math.min(now, lease or now))
      lose(KEYS[2], KEYS[4], KEYS[6], ARGV[7], id, epoch, now, beat_at,
        { keep = held[13], stage = held[14], progress = held[15] })
    end
  elseif held[11] == 'lost' then
    -- One that was lost and comes back itself knows what it took.
    local lapsed = (tonumber(held[12] or '') or 0) + (tonumber(held[10] or '') or 0)
    if not is_same then died_at = fmt(math.min(tonumber(ended_at), lapsed)) end
  else
    -- Not `died_at`: what one that died may have taken, and one that ended in order has left alone, is still there.
    reason = ''
  end
  if epoch then
    redis.call('ZREM', KEYS[2], id .. '#' .. epoch)
    redis.call('ZREM', KEYS[4], id .. '#' .. epoch)
  end
  local past = redis.call('HMGET', KEYS[1], 'ended_order', 'prior', 'events')
  redis.call('DEL', KEYS[1])
  if not is_same then redis.call('DEL', KEYS[7]) end
  epoch = tostring(redis.call('INCR', KEYS[3]))
  redis.call('HSET', KEYS[1], 'started_at', fmt(now), 'progress_at', fmt(now), 'prior', past[1] or past[2] or '0')
  if reason ~= '' then redis.call('HSET', KEYS[1], 'abort_reason', reason, 'abort_by', by) end
  -- It goes on with the numbers of what it has told in the timeline.
  if is_same and past[3] then redis.call('HSET', KEYS[1], 'events', past[3]) end
  is_newcomer = true
  -- Those who wait for it have to look when its lease lapses.
  for _, waiting in ipairs(redis.pcall('SMEMBERS', ARGV[7] .. 'waited:' .. id)) do
    pcall(post, ARGV[7] .. 'inbox:' .. waiting, 'here', id, 'ttl', fmt(ttl))
  end
end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', epoch .. '@' .. link, 'died_at', died_at, 'hub', hub, unpack(ARGV, 10))
if is_newcomer then note(KEYS[6], 'joined', id, epoch, now, 'ttl', fmt(ttl)) end
redis.pcall('HDEL', ARGV[7] .. 'waits', id)
redis.call('EXPIRE', KEYS[1], AGENT_TTL)
redis.call('EXPIRE', KEYS[7], AGENT_TTL)
redis.call('ZADD', KEYS[2], fmt(now + ttl), id .. '#' .. epoch)
keep_until(KEYS[2], now + AGENT_TTL * 1000)
return { 'joined', epoch, fmt(now), died_at, reason, by }
