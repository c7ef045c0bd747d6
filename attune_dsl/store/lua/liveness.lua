-- Who lives and who is lost: put before the scripts that decide it, behind common.lua.

-- Tell in the timeline what happened to an agent; more fields may follow.
local function note(timeline, kind, id, epoch, now, ...)
  local who = redis.pcall('HMGET', string.gsub(timeline, 'timeline$', 'agent:') .. id, 'run_id', 'workflow')
  redis.call('XADD', timeline, 'MAXLEN', '~', timeline_cap(timeline), '*', 'kind', 'agent.' .. kind, 'agent', id,
    'epoch', epoch, 'at', fmt(now), 'run', who[1] or '', 'workflow', who[2] or '', ...)
  redis.call('EXPIRE', timeline, TIMELINE_TTL)
end

-- An incarnation has ended, whatever its status: its lease goes, its history begins. Returns where in the namespace's
-- order it ended: whoever has a lower epoch had joined by then, which times could not tell within a millisecond.
local function retire(leases, ended, prefix, id, member, now, keep)
  local order = redis.call('GET', prefix .. 'order') or '0'
  redis.call('HSET', prefix .. 'agent:' .. id, 'ended_order', order)
  redis.call('PEXPIRE', prefix .. 'agent:' .. id, fmt(keep))
  redis.call('PEXPIRE', prefix .. 'stages:' .. id, fmt(keep))
  redis.call('ZREM', leases, member)
  redis.pcall('HDEL', prefix .. 'waits', id)
  redis.call('ZREMRANGEBYSCORE', ended, '-inf', fmt(now))
  redis.call('ZADD', ended, fmt(now + keep), member)
  redis.call('ZREMRANGEBYRANK', ended, 0, -ENDED_COUNT - 1)
  keep_until(ended, now + keep)
  return order
end

-- Tell the hubs that wait for an agent, for what it sends or at a barrier, that nothing more will come of it. pcall: what
-- somebody put in the place of a key must not keep the end from being told to the others.
local function tell_waiters(prefix, id, epoch, now, order, status, stage, error)
  local waited = prefix .. 'waited:' .. id
  for _, link in ipairs(redis.pcall('SMEMBERS', waited)) do
    pcall(post, prefix .. 'inbox:' .. link, 'gone', id, 'epoch', epoch, 'at', fmt(now), 'order', order,
      'status', status, 'stage', stage or '', 'error', error or '')
  end
  redis.call('DEL', waited)
  break_all(prefix, id, status, stage or '', error or '')
end

-- How long the history of an agent is kept: as long as it said, if that is a time.
local function kept(value)
  local keep = tonumber(value or '')
  if keep and keep >= 0 and keep < 1e15 then return keep end
  return ENDED_TTL * 1000
end

-- Let a lease live until `till` that nobody has renewed. Half a millisecond sets it apart from what any beat makes of it.
local function extend(leases, agent, member, till)
  local expiry = string.format('%.1f', math.floor(till) + 0.5)
  redis.call('HSET', agent, 'extended', expiry)
  redis.call('ZADD', leases, expiry, member)
end

-- After a step back of the server's clock every lease has as much time left as before. One that ends within its own ttl
-- stays as it is: its owner may have known of the step already, and would be lost by another. Owners reckon with a time
-- that is ahead by as much as a command takes.
local function shift(leases, prefix, now, step)
  local first, ahead = 0, math.min(step / 2, LATE)
  while true do
    local chunk = redis.call('ZRANGE', leases, first, first + 999, 'WITHSCORES')
    if #chunk == 0 then return end
    for i = 1, #chunk, 2 do
      local member, score = chunk[i], tonumber(chunk[i + 1])
      local agent = prefix .. 'agent:' .. (string.match(member, '^(.*)#%d+$') or '')
      local held = redis.pcall('HMGET', agent, 'ttl', 'extended')
      if score > now + (tonumber(held[1] or '') or 0) + ahead then
        if tonumber(held[2] or '') == score then
          extend(leases, agent, member, score - step)
        else
          redis.call('ZADD', leases, fmt(score - step), member)
        end
      end
    end
    first = first + 1000
  end
end

-- Notice a step back of the server's clock, at the first command after it. Returns when the last beat was.
local function steady(leases, pulse, prefix, now)
  local known = redis.call('HMGET', pulse, 'at', 'from', 'until')
  local at = tonumber(known[1] or '')
  if not at or now >= at - CLOCK_STEP then return at end
  local step = at - now
  shift(leases, prefix, now, step)
  redis.call('HSET', pulse, 'at', fmt(now), 'from', fmt((tonumber(known[2] or '') or 0) - step),
    'until', fmt((tonumber(known[3] or '') or 0) - step))
  return now
end

-- Whether nobody looked when the first lease lapsed. Whoever beats knows when that is, so somebody would have, within the
-- interval that a loss may take to be found.
local function unattended(leases, prefix, now, at)
  local first = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
  local score = tonumber(first[2] or '')
  if not score or score <= at or score > now then return false end
  local agent = prefix .. 'agent:' .. (string.match(first[1], '^(.*)#%d+$') or '')
  local held = redis.pcall('HMGET', agent, 'interval')
  return now - score > (tonumber(held[1] or '') or LATE)
end

-- Was everybody silent? Then leases have lapsed of agents that live: the server was away, or the machine asleep, or a
-- clock was set. Four things tell: nobody beat for two intervals, nobody beat while the caller had no link (`down_at`),
-- the caller's command took too long (`asked_at`), nobody looked when a lease lapsed. Keeps the silence, and whether
-- somebody has come back who beat before it (`own_at`): only that proves that it was not simply the end of all.
local function silence(leases, pulse, prefix, now, interval, own_at, down_at, asked_at)
  local at = steady(leases, pulse, prefix, now)
  local known = redis.call('HMGET', pulse, 'from', 'until', 'witnessed')
  local from, till = tonumber(known[1] or '') or 0, tonumber(known[2] or '') or 0
  local witnessed = known[3] == '1'
  if at and (now - at > 2 * interval or (down_at > 0 and at <= down_at) or now - asked_at > LATE
      or unattended(leases, prefix, now, at)) then
    if at > till then from, witnessed = at, false end
    till, witnessed = now + interval + RETURN, witnessed or own_at > 0
    redis.call('HSET', pulse, 'from', fmt(from), 'until', fmt(till), 'witnessed', witnessed and '1' or '0')
  elseif not witnessed and own_at > 0 and own_at <= from then
    witnessed = true
    redis.call('HSET', pulse, 'witnessed', '1')
  end
  redis.call('HSET', pulse, 'at', fmt(now))
  redis.call('EXPIRE', pulse, AGENT_TTL)
  return from, till, witnessed
end

-- Declare a lapsed incarnation lost, for the whole namespace and once; what it last said of itself stays.
local function lose(leases, ended, timeline, prefix, id, epoch, now, beat_at, known)
  redis.call('HSET', prefix .. 'agent:' .. id, 'status', 'lost', 'ended_at', fmt(now), 'owner', epoch,
    'beat_at', fmt(beat_at))
  local order = retire(leases, ended, prefix, id, id .. '#' .. epoch, now, kept(known.keep))
  tell_waiters(prefix, id, epoch, now, order, 'lost', known.stage)
  note(timeline, 'lost', id, epoch, now, 'beat_at', fmt(beat_at), 'stage', known.stage or '',
    'progress', known.progress or '')
end

-- Whether the silence may have swallowed the beats of a lease that has lapsed. Not if the first of them was overdue well
-- before; and behind it each owner has its interval, and some time, to come back.
local function swallowed(score, ttl, interval, from, till)
  return score <= till + interval and score - ttl + interval + LATE >= from
end

-- Go through the leases that have lapsed. One whose beats the silence may have swallowed gets one more TTL, once; and if
-- that is short, the time that its owner may need to come back.
local function sweep(leases, ended, timeline, prefix, now, from, till)
  local lapsed = redis.call('ZRANGEBYSCORE', leases, '-inf', fmt(now), 'WITHSCORES', 'LIMIT', 0, SWEEP_COUNT)
  for i = 1, #lapsed, 2 do
    local member, score = lapsed[i], tonumber(lapsed[i + 1])
    local id, epoch = string.match(member, '^(.*)#(%d+)$')
    local agent = prefix .. 'agent:' .. (id or '')
    -- pcall: what somebody put in the place of an agent's hash must not keep the others from being looked at.
    local held = redis.pcall('HMGET', agent, 'epoch', 'ended_at', 'ttl', 'interval', 'extended', 'beat_at', 'keep',
      'stage', 'progress')
    if not id or held[1] ~= epoch or held[2] then
      redis.call('ZREM', leases, member)
    else
      local ttl, interval = tonumber(held[3]) or 0, tonumber(held[4]) or 0
      local extended = tonumber(held[5] or '') == score
      if not extended and swallowed(score, ttl, interval, from, till) then
        redis.call('HSET', agent, 'beat_at', fmt(score - ttl))
        extend(leases, agent, member, now + math.max(ttl, interval + RETURN))
      else
        local beat_at = extended and tonumber(held[6]) or score - ttl
        lose(leases, ended, timeline, prefix, id, epoch, now, beat_at,
          { keep = held[7], stage = held[8], progress = held[9] })
      end
    end
  end
  local first = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
  return first[2] or ''
end

-- Remove signals that have expired from mailboxes into which nobody sends any more, and tell of them.
local function purge_lapsed(prefix, timeline, now)
  local expiries = prefix .. 'expiries'
  for _, id in ipairs(redis.pcall('ZRANGEBYSCORE', expiries, '-inf', fmt(now), 'LIMIT', 0, PURGE_COUNT)) do
    local mail, info = prefix .. 'mail:' .. id, prefix .. 'mail-info:' .. id
    local known, due = redis.pcall('HMGET', info, 'bytes', 'due'), nil
    if redis.call('EXISTS', info) == 1 and not known.err then
      local told = { timeline = timeline, target = id, expiries = expiries }
      _, due = purge(mail, info, tonumber(known[1] or ''), tonumber(known[2] or ''), now, told)
    end
    if due then redis.call('ZADD', expiries, fmt(due), id) else redis.call('ZREM', expiries, id) end
  end
end
