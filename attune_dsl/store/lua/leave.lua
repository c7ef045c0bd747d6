-- An agent ends: its final status, once and for all, and its lease goes.
-- KEYS  agent:<id> leases ended timeline stages:<id>
-- ARGV  owner id epoch status prefix stage_count (stage row)* field value …
-- Returns 'left', 'fenced' or 'ended'.
if not owns(KEYS[1], ARGV[1]) then
  -- It may have ended so before: the answer was lost, and this is the same end once more.
  local held = redis.call('HMGET', KEYS[1], 'epoch', 'status', 'ended_at')
  return held[1] == ARGV[3] and held[2] == ARGV[4] and held[3] and 'left' or 'fenced'
end
if redis.call('HEXISTS', KEYS[1], 'ended_at') == 1 then return 'ended' end
local id, epoch, now, rows = ARGV[2], ARGV[3], clock(), 2 * tonumber(ARGV[6])
redis.call('HSET', KEYS[1], 'status', ARGV[4], 'ended_at', fmt(now), 'owner', epoch, 'beat_at', '',
  unpack(ARGV, 7 + rows))
if rows > 0 then redis.call('HSET', KEYS[5], unpack(ARGV, 7, 6 + rows)) end
local said = redis.call('HMGET', KEYS[1], 'keep', 'stage', 'error')
local order = retire(KEYS[2], KEYS[3], ARGV[5], id, id .. '#' .. epoch, now, kept(said[1]))
tell_waiters(ARGV[5], id, epoch, now, order, ARGV[4], said[2], said[3])
note(KEYS[4], 'ended', id, epoch, now, 'status', ARGV[4])
return 'left'
