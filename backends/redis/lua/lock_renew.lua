-- Renews the owner's lease; the first renewal of a grant claims it.
--
-- KEYS  lock, fence, waiters
-- ARGV  op id, lease (ms), 1 if this is the claim
-- Returns the remaining ms, or 0: the op id is not the owner.
-- Invariant: never shortens, never revives; needs no memory.
local value = redis.call('GET', KEYS[1])
if not value or string.sub(value, 3, 34) ~= ARGV[1] then return 0 end
local claimed = ARGV[3] == '1' and string.sub(value, 2, 2) == 'g'
-- First, since it sees the type of what is there before anything is written.
if claimed then redis.call('HDEL', KEYS[3], '!pending') end
local left = redis.call('PTTL', KEYS[1])
local lease = tonumber(ARGV[2])
if left < lease then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = lease
end
if claimed then redis.call('SET', KEYS[1], '1q' .. string.sub(value, 3), 'KEEPTTL') end
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', math.max(86400000, left + 60000)))
return left
