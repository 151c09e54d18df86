-- Takes the lock, or queues for it.
--
-- KEYS  lock, fence, queue, waiters
-- ARGV  op id [who], client id, lease, not_after, waiter lease, claim (ms), inbox,
--       queue number it had before, or 0; 1 if it may queue
-- Returns {1, server ms, remaining ms, fence, 1 if it was granted and not claimed}:
-- owner; {2, server ms, owner's remaining ms if rank is 0, number, rank}: queued; {0,
-- server ms}: taken, and it may not queue; {-1, server ms}: too late.
-- Invariant: a second run with the same op id changes nothing but deadlines.
local op, who = string.sub(ARGV[1], 1, 32), string.sub(ARGV[1], 33)
local client, place = ARGV[2], ARGV[8]
--include clock
local value = redis.call('GET', KEYS[1]) or ''
if value ~= '' and string.sub(value, 1, 1) ~= '1' then
  return redis.error_reply('STILEKIND the key is not a lock of this version')
end
-- Types are seen before anything is written: that of the queue by its first command.
local marks = redis.call('HMGET', KEYS[4], '#', '!' .. client)
local late = now_ms > tonumber(ARGV[4])
local flag = string.sub(value, 2, 2)

-- All but the usual: another has it, and others have queued before.
if flag == '' or flag == '-' or flag == 'm' or string.sub(value, 3, 34) == op then
  local cfg = {claim = ARGV[6], inbox = ARGV[7]}
--include prelude
  local last, flagged, pending = last_fence()
  if not last then return redis.error_reply(flagged) end
  local queued = redis.call('ZCARD', KEYS[3])
  if value == '' and not late then
    if queued > 0 then
      reap(last, pending)
      last, flagged = last_fence()
      value = redis.call('GET', KEYS[1]) or ''
    end
    if value == '' and redis.call('EXISTS', KEYS[3]) == 0 then
      last = next_fence(last)
      redis.call('SET', KEYS[1], '1-' .. ARGV[1], 'PX', ARGV[3])
      put_fence(last, false, tonumber(ARGV[3]))
      return {1, now_ms, tonumber(ARGV[3]), last, 0}
    end
  end
  if string.sub(value, 3, 34) == op then
    local granted = string.sub(value, 2, 2) == 'g'
    return {1, now_ms, left_ms(), owner_fence(last, flagged), granted and 1 or 0}
  end
  if not late and ARGV[9] == '1' then
    if string.sub(value, 2, 2) == '-' then
      redis.call('SET', KEYS[1], '1q' .. string.sub(value, 3), 'KEEPTTL')
    end
    if not flagged then put_fence(last, true, left_ms()) end
  end
end
if late then return {-1, now_ms} end
if ARGV[9] ~= '1' then return {0, now_ms} end

local number, top = place, tonumber(marks[1] or 0)
if place == '0' then number = now > top and stamp or string.format('%.0f', top + 1) end
local added = redis.call('ZADD', KEYS[3], 'NX', number, op)
if added == 0 then number = redis.call('ZSCORE', KEYS[3], op) end
local entry = stamp_ms .. ' ' .. ARGV[5] .. ' ' .. client .. who
if added == 1 and place == '0' then
  redis.call('HSET', KEYS[4], '#', number, op, entry)
else
  redis.call('HSET', KEYS[4], op, entry)
end
if marks[2] then redis.call('HDEL', KEYS[4], '!' .. client) end
local rank = redis.call('ZRANK', KEYS[3], op)
-- Looks keep the keys alive.  Who never waits long enough for one does so now and then:
-- one in four, by the digits of its number.
if rank == 0 or added == 0 or place ~= '0' or number % 4 == 0 then
  local ttl = string.format('%.0f', ARGV[5] + 60000)
  redis.call('PEXPIRE', KEYS[3], ttl)
  redis.call('PEXPIRE', KEYS[4], ttl)
end
local left = rank == 0 and redis.call('PTTL', KEYS[1]) or 0
if left == -1 then left = 2147483647 end
return {2, now_ms, math.max(left, 0), tonumber(number), rank}
