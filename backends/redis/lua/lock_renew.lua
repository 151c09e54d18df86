-- Renews the owner's lease; the first renewal of a grant claims it.
--
-- KEYS  lock, fence
-- ARGV  op id, lease (ms), 1 if this is the claim
-- Returns the remaining ms, or 0: the op id is not the owner.
-- Invariant: never revives, and shortens only what it claims; needs no memory.
local value = redis.call('GET', KEYS[1])
if not value or string.sub(value, 3, 34) ~= ARGV[1] then return 0 end
local claimed = ARGV[3] == '1' and string.sub(value, 2, 2) == 'g'
local fence = claimed and redis.call('GET', KEYS[2])
local left = redis.call('PTTL', KEYS[1])
local lease = tonumber(ARGV[2])
if claimed or left < lease then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = lease
end
-- A full server refuses this one never, and what follows no more.
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', math.max(86400000, left + 60000)))
if claimed then redis.call('SET', KEYS[1], '1q' .. string.sub(value, 3), 'KEEPTTL') end
if fence then redis.call('SET', KEYS[2], string.match(fence, '^%S*'), 'KEEPTTL') end
return left
