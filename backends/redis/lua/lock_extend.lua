-- Adds to the owner's lease.
--
-- KEYS  lock, fence
-- ARGV  op id, ms to add, most that may remain
-- Returns the remaining ms, or 0: the op id is not the owner.
-- Invariant: never shortens, never revives; needs no memory.
local value = redis.call('GET', KEYS[1])
if not value or string.sub(value, 3, 34) ~= ARGV[1] then return 0 end
local left = redis.call('PTTL', KEYS[1])
local want = math.min(left + tonumber(ARGV[2]), tonumber(ARGV[3]))
if want > left then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', want))
  left = want
end
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', math.max(86400000, left + 60000)))
return left
