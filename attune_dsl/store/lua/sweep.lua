-- A look for lapsed leases by somebody who lists the agents.
-- KEYS  leases pulse ended timeline
-- ARGV  prefix interval_ms own_at_ms down_at_ms asked_at_ms
-- Returns {now, earliest expiry or '', witnessed}: witnessed is 0 while nobody who beat before a silence of all has come
-- back; a lease that was extended because of it then proves nothing.
local now = clock()
local from, till, witnessed = silence(KEYS[1], KEYS[2], ARGV[1], now, tonumber(ARGV[2]), tonumber(ARGV[3]),
  tonumber(ARGV[4]), tonumber(ARGV[5]))
local earliest = sweep(KEYS[1], KEYS[3], KEYS[4], ARGV[1], now, from, till)
return { fmt(now), earliest, witnessed and 1 or 0 }
