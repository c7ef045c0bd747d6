-- An agent arrives at a barrier, or asks again how that stands. The last one releases all.
-- KEYS  agent:<id> barrier:<name> barriers:<id> order
-- ARGV  owner id name parties since generation ('': it arrives) prefix again
-- `parties` is how many there are; where they are named, ':' and a digest of the names follow. `since` is up to where in
-- the namespace's order the agent knows how the barrier fared. `again` is '1' if it may have arrived already.
-- Returns {'waiting', generation}, {'over', generation, outcome, order}, {'parties', parties} or {'fenced'}.
local id, name, parties, since, prefix = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[7]
if not owns(KEYS[1], ARGV[1]) then return { 'fenced' } end
local held = redis.call('HMGET', KEYS[2], 'generation', 'parties', 'broken', 'broken_order', 'count')
local generation = tonumber(held[1] or '1')
local asked = tonumber(ARGV[6])
if asked and asked ~= generation then
  return over(KEYS[2], KEYS[4], fmt(asked))
end
-- The reply to its arrival was lost; what came of that is not: it was released, or it broke.
if ARGV[8] == '1' and redis.call('HEXISTS', KEYS[2], 'at:' .. id) == 0 then
  local broke
  for past = generation - 1, generation - OUTCOME_COUNT, -1 do
    local how = redis.call('HMGET', KEYS[2], 'outcome:' .. fmt(past), 'order:' .. fmt(past))
    if how[1] and how[2] and since < tonumber(how[2]) then
      local over = { 'over', fmt(past), how[1], how[2] }
      if string.find(how[1], '^broken\n') then
        broke = broke or over
      elseif string.find(how[1] .. '\n', '\n' .. id .. '\n', 1, true) then
        return over
      end
    end
  end
  if broke then return broke end
end
-- One that was there when it broke, and comes only now, has to learn of it like the others.
if not asked and held[4] and since < tonumber(held[4]) then
  return { 'over', held[3], redis.call('HGET', KEYS[2], 'outcome:' .. held[3]) or '', held[4] }
end
local count = tonumber(held[5] or '') or 0
if count > 0 and parties ~= held[2] then return { 'parties', held[2] } end
redis.call('SADD', KEYS[3], name)
if redis.call('HSETNX', KEYS[2], 'at:' .. id, fmt(count)) == 1 then count = count + 1 end
redis.call('HSET', KEYS[2], 'generation', fmt(generation), 'parties', parties, 'count', fmt(count))
redis.call('EXPIRE', KEYS[2], AGENT_TTL)
redis.call('EXPIRE', KEYS[3], AGENT_TTL)
if count < tonumber(string.match(parties, '^%d+')) then return { 'waiting', fmt(generation) } end
local ids = arrived(KEYS[2])
local outcome = 'released\n' .. table.concat(ids, '\n')
-- Who was not among these has nothing to do with an earlier break.
redis.call('HDEL', KEYS[2], 'broken', 'broken_order')
return { 'over', fmt(generation), outcome, settle(prefix, name, outcome, ids, generation) }
