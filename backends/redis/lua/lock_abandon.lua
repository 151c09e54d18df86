-- Undoes whatever an operation has reached: queued, it leaves; owner, it
-- releases; neither, nothing.
--
-- KEYS  lock, fence, queue, waiters
-- ARGV  op id, claim (ms), inbox
-- Returns 0: it had nothing; 1: it was queued, or the owner.
-- Invariant: afterwards the op id is nowhere in the state.
local cfg = {claim = tonumber(ARGV[2]), inbox = ARGV[3]}
local t = redis.call('TIME')
cfg.now = t[1] * 1000000 + t[2]
--include prelude
local last, wrong = last_fence()
if not last then return redis.error_reply(wrong) end
local value = redis.call('GET', KEYS[1])
redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[4])
local left = redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
if value and string.sub(value, 1, 1) == '1' and string.sub(value, 3, 34) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('HDEL', KEYS[4], '!pending')
  grant_next(last)
  return 1
end
if not value and redis.call('EXISTS', KEYS[3]) == 1 then reap(last) end
return left
