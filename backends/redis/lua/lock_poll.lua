-- Looks again for waiters of one client: renews their places, reaps, and tells
-- what became of each.
--
-- KEYS  lock, fence, queue, waiters
-- ARGV  client id, waiter lease, claim (ms), inbox, then op ids, at most 100
-- Returns {server ms, 1 if there may be more to reap, then for each op id: 1,
-- remaining ms, fence: owner; 2, owner's remaining ms, rank: queued; 0, 0, 0:
-- absent}.
-- Invariant: who polls is alive; the lock is not free afterwards while a live
-- waiter queues, unless the answer says there is more.
local cfg = {claim = ARGV[3], inbox = ARGV[4]}
--include clock
--include prelude
local last, flagged, pending = last_fence()
if not last then return redis.error_reply(flagged) end
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, 1) ~= '1' then
  return redis.error_reply('STILEKIND the key is not a lock of this version')
end
redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[4])

local ttl = string.format('%.0f', tonumber(ARGV[2]) + 60000)
redis.call('PEXPIRE', KEYS[3], ttl)
redis.call('PEXPIRE', KEYS[4], ttl)
local entry = stamp_ms .. ' ' .. ARGV[2] .. ' ' .. ARGV[1]
for i = 5, #ARGV do
  if redis.call('ZSCORE', KEYS[3], ARGV[i]) then
    local was = redis.call('HGET', KEYS[4], ARGV[i]) or ''
    redis.call('HSET', KEYS[4], ARGV[i], entry .. string.match(was, '^%d* ?%d* ?%x*(.*)'))
  end
end
redis.call('HDEL', KEYS[4], '!' .. ARGV[1])

local more = false
if redis.call('EXISTS', KEYS[3]) == 1 then
  if not value then
    more = reap(last, pending)
    value = redis.call('GET', KEYS[1])
    last = last_fence()
  elseif string.sub(value, 2, 2) == '-' then
    -- Taken after the lease ran out, by who did not see the queue.
    value = '1q' .. string.sub(value, 3)
    redis.call('SET', KEYS[1], value, 'KEEPTTL')
  end
end

local answer = {now_ms, more and 1 or 0}
local left = value and left_ms() or 0
for i = 5, #ARGV do
  local rank = redis.call('ZRANK', KEYS[3], ARGV[i])
  local n = #answer
  if value and string.sub(value, 3, 34) == ARGV[i] then
    answer[n + 1], answer[n + 2], answer[n + 3] = 1, left, owner_fence(last, true)
  elseif rank then
    answer[n + 1], answer[n + 2], answer[n + 3] = 2, left, rank
  else
    answer[n + 1], answer[n + 2], answer[n + 3] = 0, 0, 0
  end
end
return answer
