-- Gives the lock back and grants it to the first who queues.
--
-- KEYS  lock, fence, queue, waiters
-- ARGV  op id, claim (ms), inbox; ms to keep it for nobody, or nothing
-- Returns 1: released; 0: the op id is not the owner, and nothing of the owner was
-- touched; 2: released, and there may be more to reap.
-- Invariant: only the owner's own op id frees the lock.
local value = redis.call('GET', KEYS[1])
local mine = value and string.sub(value, 3, 34) == ARGV[1]
if mine and not ARGV[4] and string.sub(value, 2, 2) == '-' then
  redis.call('DEL', KEYS[1])
  return 1
end
if value and not mine then return 0 end
local cfg = {claim = tonumber(ARGV[2]), inbox = ARGV[3]}
local t = redis.call('TIME')
cfg.now = t[1] * 1000000 + t[2]
--include prelude
local last, wrong = last_fence()
if not last then return redis.error_reply(wrong) end
local queued = redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[4])
if not mine then
  if queued > 0 then reap(last) end
  return 0
end
if ARGV[4] and tonumber(ARGV[4]) > 0 then
  -- First what a full server never refuses.
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('SET', KEYS[1], '1m' .. string.rep('0', 32) .. string.sub(value, 35), 'KEEPTTL')
  redis.call('HDEL', KEYS[4], '!pending')
  -- Who is first has seen a longer lease, and looks again at a grant of no length.
  local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
  local client = first and live(first, math.floor(cfg.now / 1000))
  if client then redis.pcall('PUBLISH', cfg.inbox .. client, first .. ' 0 0 0') end
  return 1
end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[4], '!pending')
return grant_next(last) and 2 or 1
