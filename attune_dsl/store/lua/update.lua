-- What an agent says of itself changes. An ended agent is never revived. That it is stalled, or is no longer, is told
-- once, though the message is repeated.
-- KEYS  agent:<id> timeline stages:<id>
-- ARGV  owner id kind ('updated', 'stalled' or 'resumed') stage_count (stage row)* field value …
-- Returns 'updated', 'fenced' or 'ended'.
if not owns(KEYS[1], ARGV[1]) then return 'fenced' end
if redis.call('HEXISTS', KEYS[1], 'ended_at') == 1 then return 'ended' end
local rows, kind = 2 * tonumber(ARGV[4]), ARGV[3]
if kind ~= 'updated' then
  local was_stalled = (redis.call('HGET', KEYS[1], 'stalled_at') or '') ~= ''
  if was_stalled == (kind == 'stalled') then kind = 'updated' end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 5 + rows))
redis.call('EXPIRE', KEYS[1], AGENT_TTL)
if rows > 0 then
  redis.call('HSET', KEYS[3], unpack(ARGV, 5, 4 + rows))
  redis.call('EXPIRE', KEYS[3], AGENT_TTL)
end
note(KEYS[2], kind, ARGV[2], string.match(ARGV[1], '^%d+'), clock())
return 'updated'
