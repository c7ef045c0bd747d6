-- An agent waits at a barrier no longer: unless all have come by now, it breaks for everybody.
-- KEYS  agent:<id> barrier:<name> order
-- ARGV  owner id name generation ('': wherever it stands) prefix reason by detail
-- Returns {'over', generation, outcome, order} or {'fenced'}.
local id, name, generation = ARGV[2], ARGV[3], ARGV[4]
if not owns(KEYS[1], ARGV[1]) then return { 'fenced' } end
local present = redis.call('HGET', KEYS[2], 'generation')
if generation == '' then generation = present or '' end
if present == generation and redis.call('HEXISTS', KEYS[2], 'at:' .. id) == 1 then
  break_barrier(ARGV[5], name, ARGV[6], ARGV[7], ARGV[8])
end
return over(KEYS[2], KEYS[3], generation)
