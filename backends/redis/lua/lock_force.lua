-- Takes the lock from whoever has it and grants it to the first who queues.
--
-- KEYS  lock, fence, queue, waiters
-- ARGV  claim (ms), inbox
-- Returns 1: taken from its owner; 0: nobody had it; 2: taken, and there may be more to
-- reap.
-- Invariant: afterwards the owner there was has nothing.
local cfg = {claim = ARGV[1], inbox = ARGV[2]}
--include clock
--include prelude
local last, flagged, pending = last_fence()
if not last then return redis.error_reply(flagged) end
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, 1) ~= '1' then
  return redis.error_reply('STILEKIND the key is not a lock of this version')
end
local queued = redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[4])
if not value then
  if queued > 0 then reap(last, pending) end
  return 0
end
return grant_next(last) and 2 or 1
