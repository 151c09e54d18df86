-- Takes the lock, or queues for it.
--
-- KEYS  lock, fence, queue, waiters
-- ARGV  op id [who], client id, lease, not_after, waiter lease, claim (ms), inbox,
--       queue number it had before, or 0; 1 if it may queue
-- Returns {1, server ms, remaining ms, fence, 1 if it was granted and not claimed}:
-- owner; {2, server ms, owner's remaining ms, number, rank}: queued; {0, server ms}:
-- taken, and it may not queue; {-1, server ms}: too late.
-- Invariant: a second run with the same op id changes nothing but deadlines.
local cfg = {claim = tonumber(ARGV[6]), inbox = ARGV[7]}
local t = redis.call('TIME')
cfg.now = t[1] * 1000000 + t[2]
local now_ms = math.floor(cfg.now / 1000)
--include prelude
local op, who = string.sub(ARGV[1], 1, 32), string.sub(ARGV[1], 33)
local client, lease = ARGV[2], tonumber(ARGV[3])

-- Types are seen before anything is written.
local last, flagged = last_fence()
if not last then return redis.error_reply(flagged) end
local number = redis.call('ZSCORE', KEYS[3], op)
redis.call('HLEN', KEYS[4])

local function owner()
  local value = redis.call('GET', KEYS[1])
  if value and string.sub(value, 1, 1) ~= '1' then
    return nil, 'STILEKIND the key is not a lock of this version'
  end
  return value or ''
end

local value, wrong = owner()
if not value then return redis.error_reply(wrong) end
if value == '' and now_ms <= tonumber(ARGV[4]) then
  if redis.call('EXISTS', KEYS[3]) == 1 then
    reap(last)
    last, flagged = last_fence()
    value = owner()
  end
  if value == '' and redis.call('EXISTS', KEYS[3]) == 0 then
    last = next_fence(last)
    redis.call('SET', KEYS[1], '1-' .. ARGV[1], 'PX', ARGV[3])
    put_fence(last, false, lease)
    return {1, now_ms, lease, last, 0}
  end
end
if string.sub(value, 3, 34) == op then
  local granted = string.sub(value, 2, 2) == 'g'
  return {1, now_ms, left_ms(), owner_fence(last, flagged), granted and 1 or 0}
end
if now_ms > tonumber(ARGV[4]) then return {-1, now_ms} end
if ARGV[9] ~= '1' then return {0, now_ms} end

if number then
  number = tonumber(number)
else
  number = tonumber(ARGV[8])
  if number == 0 then
    number = math.max((tonumber(redis.call('HGET', KEYS[4], '#')) or 0) + 1, cfg.now)
  end
  -- The command that a full server refuses comes first.
  redis.call('ZADD', KEYS[3], string.format('%.0f', number), op)
  if tonumber(ARGV[8]) == 0 then
    redis.call('HSET', KEYS[4], '#', string.format('%.0f', number))
  end
end
redis.call('HSET', KEYS[4], op,
  string.format('%.0f %.0f %s', now_ms + tonumber(ARGV[5]), now_ms, client) .. who)
redis.call('HDEL', KEYS[4], '!' .. client)
local ttl = string.format('%.0f', tonumber(ARGV[5]) + 60000)
redis.call('PEXPIRE', KEYS[3], ttl)
redis.call('PEXPIRE', KEYS[4], ttl)
if string.sub(value, 2, 2) == '-' then
  redis.call('SET', KEYS[1], '1q' .. string.sub(value, 3), 'KEEPTTL')
end
if not flagged then put_fence(last, true, left_ms()) end
return {2, now_ms, left_ms(), number, redis.call('ZRANK', KEYS[3], op)}
