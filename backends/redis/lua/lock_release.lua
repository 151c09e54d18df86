-- Gives the lock back and grants it to the first who queues.
--
-- KEYS  lock; then fence, queue, waiters, or nothing
-- ARGV  op id; then claim (ms), inbox, or nothing
-- Returns 1: released; 0: the op id is not the owner, and nothing of the owner was
-- touched; 2: released, and there may be more to reap; 3, with one key alone: the queue
-- may have a say, and nothing was done.
-- Invariant: only the owner's own op id frees the lock.
local value = redis.call('GET', KEYS[1])
if value == '1-' .. ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 1
end
local mine = value and string.sub(value, 3) == ARGV[1]
if value and not mine then return 0 end
if not KEYS[2] then return 3 end
local cfg = {claim = ARGV[2], inbox = ARGV[3]}
--include clock
--include prelude
local last, flagged, pending = last_fence()
if not last then return redis.error_reply(flagged) end
if not mine then
  if redis.call('ZCARD', KEYS[3]) > 0 then reap(last, pending) end
  return 0
end
return grant_next(last) and 2 or 1
