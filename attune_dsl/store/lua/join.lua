-- An agent joins, or joins again over a new link. At most one live owner per id.
-- KEYS  agent:<id> leases order ended
-- ARGV  id link ttl_ms known_epoch ('0': a new incarnation) takeover hub field value …
-- Returns {'joined', epoch, now, died_at} or {'taken', host, pid}; died_at is when an earlier incarnation that did not
-- end properly was last alive ('0': there is none): what came before may have been taken by it.
local id, link, ttl, known = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local now = clock()
local held = redis.call('HMGET', KEYS[1], 'epoch', 'ended_at', 'host', 'pid', 'died_at', 'hub')
local epoch, died_at = held[1], held[5] or '0'
-- The same hub asking for a new incarnation lost the answer to its first join. A takeover is always a new one.
local again = epoch == known or (known == '0' and ARGV[5] ~= '1')
if not (epoch and not held[2] and held[6] == ARGV[6] and again) then
  local lease = epoch and redis.call('ZSCORE', KEYS[2], id .. '#' .. epoch)
  if lease and tonumber(lease) > now and ARGV[5] ~= '1' then return { 'taken', held[3], held[4] } end
  if epoch and not held[2] then died_at = fmt(math.min(now, tonumber(lease or now))) else died_at = '0' end
  if epoch then
    redis.call('ZREM', KEYS[2], id .. '#' .. epoch)
    redis.call('ZREM', KEYS[4], id .. '#' .. epoch)
  end
  redis.call('DEL', KEYS[1])
  epoch = tostring(redis.call('INCR', KEYS[3]))
  redis.call('HSET', KEYS[1], 'started_at', fmt(now), 'progress_at', fmt(now))
end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', epoch .. '@' .. link, 'died_at', died_at, 'hub', unpack(ARGV, 6))
redis.call('EXPIRE', KEYS[1], AGENT_TTL)
redis.call('ZADD', KEYS[2], fmt(now + ttl), id .. '#' .. epoch)
keep_until(KEYS[2], now + AGENT_TTL * 1000)
return { 'joined', epoch, fmt(now), died_at }
