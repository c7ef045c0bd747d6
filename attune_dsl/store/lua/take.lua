-- The mark: what an agent has taken leaves its mailbox, and a broadcast is not shown to it again.
-- KEYS  agent:<id> mail:<id> mail-info:<id> seen:<id>
-- ARGV  owner mail_count (at size)* (order expires_ms)*
-- Returns 'taken' or 'fenced'.
if not owns(KEYS[1], ARGV[1]) then return 'fenced' end
local mails, freed = tonumber(ARGV[2]), 0
for i = 3, 2 + 2 * mails, 2 do
  -- pcall: what a forged copy gave as its place must not keep the others from being marked.
  if redis.pcall('XDEL', KEYS[2], ARGV[i]) == 1 then freed = freed + tonumber(ARGV[i + 1]) end
end
if freed > 0 and redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HINCRBY', KEYS[3], 'bytes', fmt(-freed)) end
if #ARGV > 2 + 2 * mails then
  for i = 3 + 2 * mails, #ARGV, 2 do
    redis.call('ZADD', KEYS[4], ARGV[i + 1], ARGV[i])
    keep_until(KEYS[4], tonumber(ARGV[i + 1]))
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', '(' .. fmt(clock()))
end
return 'taken'
