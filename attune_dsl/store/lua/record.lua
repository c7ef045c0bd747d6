-- What an agent took and did, told ahead of its next command: marks first, then entries of the timeline.
-- What it has taken leaves its mailbox, and a broadcast is not shown to it again.
-- KEYS  agent:<id> mail:<id> mail-info:<id> seen:<id> timeline
-- ARGV  owner id mail_count broadcast_count (at size)* (order expires_ms)* [run workflow first (kind at_ms stage data)*]
-- The entries are numbered, from `first` on, and the agent's hash remembers the last number, so that none is written
-- twice; with 0 they have no numbers.
-- Returns 'noted' or 'fenced'.
local held = redis.call('HMGET', KEYS[1], 'owner', 'events')
if held[1] ~= ARGV[1] then return 'fenced' end
local mails = 4 + 2 * tonumber(ARGV[3])
local broadcasts, freed = mails + 2 * tonumber(ARGV[4]), 0
for i = 5, mails, 2 do
  -- pcall: what a forged copy gave as its place must not keep the others from being marked.
  if redis.pcall('XDEL', KEYS[2], ARGV[i]) == 1 then freed = freed + tonumber(ARGV[i + 1]) end
end
if freed > 0 and redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HINCRBY', KEYS[3], 'bytes', fmt(-freed)) end
if broadcasts > mails then
  for i = mails + 1, broadcasts, 2 do
    redis.call('ZADD', KEYS[4], ARGV[i + 1], ARGV[i])
    keep_until(KEYS[4], tonumber(ARGV[i + 1]))
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', '(' .. fmt(clock()))
end
if #ARGV <= broadcasts then return 'noted' end

local run, workflow, number = ARGV[broadcasts + 1], ARGV[broadcasts + 2], tonumber(ARGV[broadcasts + 3])
local epoch, last = string.match(ARGV[1], '^%d+'), tonumber(held[2] or '') or 0
local most, is_numbered = timeline_cap(KEYS[5]), number > 0
for i = broadcasts + 4, #ARGV, 4 do
  if not is_numbered or number > last then
    redis.call('XADD', KEYS[5], 'MAXLEN', '~', most, '*', 'kind', ARGV[i], 'agent', ARGV[2], 'epoch', epoch,
      'at', ARGV[i + 1], 'run', run, 'workflow', workflow, 'stage', ARGV[i + 2], 'data', ARGV[i + 3])
  end
  number = number + 1
end
redis.call('EXPIRE', KEYS[5], TIMELINE_TTL)
if is_numbered and number - 1 > last then redis.call('HSET', KEYS[1], 'events', fmt(number - 1)) end
return 'noted'
