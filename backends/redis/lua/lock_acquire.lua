-- Takes the lock, or queues for it.
--
-- KEYS  lock, fence, queue, waiters
-- ARGV  op id, what stands behind the time in the hash of the waiters, lease, not_after,
--       claim (ms), inbox, queue number it had before, or 0; then "try" if it may not
--       queue
-- Returns {1, server ms, remaining ms, fence, 1 if it was granted and not claimed}:
-- owner; {2, server ms, owner's remaining ms if rank is 0, number, rank}: queued; the
-- number alone, which is the server's time in us: queued behind others; {0, server ms}:
-- taken, and it may not queue; {-1, server ms}: too late.
-- Invariant: a second run with the same op id changes nothing but deadlines.
local op, place, queues = ARGV[1], ARGV[7], not ARGV[8]
--include clock
local value = redis.call('GET', KEYS[1]) or ''
-- Types are seen before anything is written: that of the queue by its first command.
local marks = redis.call('HMGET', KEYS[4], '#', '!')
local late = now_ms > tonumber(ARGV[4])
local head = string.sub(value, 1, 2)

-- All but the usual: another has it, and others have queued before.
if (head ~= '1g' and head ~= '1q') or string.sub(value, 3, 34) == op then
  if value ~= '' and string.sub(value, 1, 1) ~= '1' then
    return redis.error_reply('STILEKIND the key is not a lock of this version')
  end
  local cfg = {claim = ARGV[5], inbox = ARGV[6]}
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
      local who = string.match(ARGV[2], '^%d+ %x+(.*)$')
      last = next_fence(last)
      redis.call('SET', KEYS[1], '1-' .. op .. who, 'PX', ARGV[3])
      put_fence(last, false, tonumber(ARGV[3]))
      return {1, now_ms, tonumber(ARGV[3]), last, 0}
    end
  end
  if string.sub(value, 3, 34) == op then
    local granted = string.sub(value, 2, 2) == 'g'
    return {1, now_ms, left_ms(), owner_fence(last, flagged), granted and 1 or 0}
  end
  if not late and queues then
    if string.sub(value, 2, 2) == '-' then
      redis.call('SET', KEYS[1], '1q' .. string.sub(value, 3), 'KEEPTTL')
    end
    if not flagged then put_fence(last, true, left_ms()) end
  end
end
if late then return {-1, now_ms} end
if not queues then return {0, now_ms} end

local number, first = place, redis.call('EXISTS', KEYS[3]) == 0
local top = tonumber(marks[1] or 0)
if place == '0' then
  number = now > top and stamp or string.format('%.0f', top + 1)
end
local entry = stamp_ms .. ' ' .. ARGV[2]
local added = redis.call('ZADD', KEYS[3], 'NX', number, op)
local new = added == 1 and place == '0'
if new then
  redis.call('HSET', KEYS[4], '#', number, op, entry)
else
  redis.call('HSET', KEYS[4], op, entry)
end
if marks[2] then redis.call('HDEL', KEYS[4], '!' .. string.match(ARGV[2], ' (%x+)')) end
-- Looks keep the keys alive; where nobody waits long enough for one, who comes first in
-- each ten seconds does.
if first or not new or top < now - now % 10000000 or top >= now then
  local ttl = string.format('%.0f', string.match(ARGV[2], '^%d+') + 60000)
  redis.call('PEXPIRE', KEYS[3], ttl)
  redis.call('PEXPIRE', KEYS[4], ttl)
end
if new and not first and number == stamp then return now end
number = redis.call('ZSCORE', KEYS[3], op)
local rank = redis.call('ZRANK', KEYS[3], op)
local left = rank == 0 and redis.call('PTTL', KEYS[1]) or 0
if left == -1 then left = 2147483647 end
return {2, now_ms, math.max(left, 0), tonumber(number), rank}
