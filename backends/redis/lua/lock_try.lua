-- Takes a lock that is free and that nobody queues for.
--
-- KEYS  lock, fence
-- ARGV  op id [who], lease (ms), not_after (server ms), fence ttl (ms)
-- Returns the fence, which is the server's time in us: taken; {fence, server ms}:
-- taken, and earlier fences were ahead of that time; {0, server ms}: not now; {-1,
-- server ms}: too late; {-2, server ms}: this is for lock_acquire, since the queue has a
-- say or the op id is the owner already.
-- Invariant: never queues; a lock that somebody queues for is left to the queue.
local text = redis.call('GET', KEYS[2])
local t = redis.call('TIME')
-- As text, since to print a number costs more than this.
local stamp = t[1] .. string.sub('000000', #t[2] + 1) .. t[2]
local now = stamp + 0
local now_ms = (now - now % 1000) / 1000
if now_ms > ARGV[3] + 0 then return {-1, now_ms} end
local last = tonumber(text or 0)
if not last then
  if string.sub(text, 1, 1) ~= 'q' then
    return redis.error_reply('STILEKIND the fence is not a number')
  end
  local owner = redis.call('GET', KEYS[1])
  local mine = owner and string.sub(owner, 3, 34) == string.sub(ARGV[1], 1, 32)
  return {(mine or not owner) and -2 or 0, now_ms}
end
-- This way round, since nan is neither.
if not (last >= 0 and last < 9007199254740990) then
  return redis.error_reply('STILEFENCE the fence has reached its end')
end
if not redis.call('SET', KEYS[1], '1-' .. ARGV[1], 'NX', 'PX', ARGV[2]) then
  local owner = redis.call('GET', KEYS[1])
  if string.sub(owner, 1, 1) ~= '1' then
    return redis.error_reply('STILEKIND the key is not a lock of this version')
  end
  return {string.sub(owner, 3, 34) == string.sub(ARGV[1], 1, 32) and -2 or 0, now_ms}
end
if last < now then
  redis.call('SET', KEYS[2], stamp, 'PX', ARGV[4])
  return now
end
redis.call('SET', KEYS[2], string.format('%.0f', last + 1), 'PX', ARGV[4])
return {last + 1, now_ms}
