-- Undoes whatever an operation has reached: queued, it leaves; owner, it
-- releases; neither, nothing.
--
-- KEYS  lock, fence, queue, waiters
-- ARGV  op id, claim (ms), inbox
-- Returns 0: it had nothing; 1: it was queued, or the owner.
-- Invariant: afterwards the op id is nowhere in the state.
local cfg = {claim = ARGV[2], inbox = ARGV[3]}
--include clock
--include prelude
local last, flagged, pending = last_fence()
if not last then return redis.error_reply(flagged) end
local value = redis.call('GET', KEYS[1])
redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[4])
local left = redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
if value and string.sub(value, 1, 1) == '1' and string.sub(value, 3, 34) == ARGV[1] then
  if string.sub(value, 2, 2) == '-' then
    -- Taken without a look at the queue: a grant that is pending still is older.
    reap(last, pending)
  else
    grant_next(last)
  end
  return 1
end
if not value and redis.call('EXISTS', KEYS[3]) == 1 then reap(last, pending) end
return left
