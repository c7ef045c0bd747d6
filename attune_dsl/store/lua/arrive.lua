-- An agent arrives at a barrier, or asks again how that stands. The last one releases all.
-- KEYS  agent:<id> barrier:<name> barriers:<id> order
-- ARGV  owner id name parties since generation ('': it arrives) prefix
-- `since` is up to where in the namespace's order the agent knows how the barrier fared.
-- Returns {'waiting', generation}, {'over', generation, outcome, order}, {'parties', count} or {'fenced'}.
local id, name, parties, prefix = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[7]
if not owns(KEYS[1], ARGV[1]) then return { 'fenced' } end
local held = redis.call('HMGET', KEYS[2], 'generation', 'parties', 'broken', 'broken_order')
local generation = tonumber(held[1] or '1')
local asked = tonumber(ARGV[6])
if asked and asked ~= generation then
  return { 'over', fmt(asked), redis.call('HGET', KEYS[2], 'outcome:' .. fmt(asked)) or '', redis.call('GET', KEYS[4]) or '' }
end
-- One that was there when it broke, and comes only now, has to learn of it like the others.
if not asked and held[4] and tonumber(ARGV[5]) < tonumber(held[4]) then
  return { 'over', held[3], redis.call('HGET', KEYS[2], 'outcome:' .. held[3]) or '', held[4] }
end
local count = #arrived(KEYS[2])
if count > 0 and parties ~= tonumber(held[2]) then return { 'parties', held[2] } end
if redis.call('HSETNX', KEYS[2], 'at:' .. id, fmt(count)) == 1 then count = count + 1 end
redis.call('HSET', KEYS[2], 'generation', fmt(generation), 'parties', fmt(parties))
redis.call('SADD', KEYS[3], name)
redis.call('EXPIRE', KEYS[2], AGENT_TTL)
redis.call('EXPIRE', KEYS[3], AGENT_TTL)
if count < parties then return { 'waiting', fmt(generation) } end
local ids = arrived(KEYS[2])
local outcome = 'released\n' .. table.concat(ids, '\n')
local order = settle(prefix, name, outcome, ids, generation)
return { 'over', fmt(generation), outcome, order }
