-- A process that acts for an agent of another process proves that it may, and tells that process something.
-- KEYS  agent:<id>
-- ARGV  id token inbox_prefix field value …
-- Returns {'told', owner}, {'refused', ''} or {'away', owner}: the agent's process has no inbox at the
-- moment, or does not come to read it.
local held = redis.call('HMGET', KEYS[1], 'owner', 'token', 'ended_at')
if not held[2] or held[2] == '' or held[2] ~= ARGV[2] or held[3] then return { 'refused', '' } end
local link = link_of(held[1])
if #ARGV == 3 then return { 'told', held[1] } end
local inbox = ARGV[3] .. (link or '')
if not link or redis.call('XLEN', inbox) >= INBOX_COUNT
  or not redis.call('XADD', inbox, 'NOMKSTREAM', '*', 'agent', ARGV[1], unpack(ARGV, 4)) then
  return { 'away', held[1] }
end
return { 'told', held[1] }
