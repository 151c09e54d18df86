-- Gives the lock back and grants it to the first who queues.
--
-- KEYS  lock; then fence, queue, waiters, or nothing
-- ARGV  op id; then claim (ms), inbox; then ms to keep it for nobody; or nothing
-- Returns 1: released; 0: the op id is not the owner, and nothing of the owner was
-- touched; 2: released, and there may be more to reap; 3, with one key alone: the queue
-- may have a say, and nothing was done.
-- Invariant: only the owner's own op id frees the lock.
local value = redis.call('GET', KEYS[1])
local mine = value and string.sub(value, 3, 34) == ARGV[1]
if mine and not ARGV[4] and string.sub(value, 1, 2) == '1-' then
  redis.call('DEL', KEYS[1])
  return 1
end
if value and not mine then return 0 end
if not KEYS[2] then return 3 end
--include clock
local unheard
if mine and not ARGV[4] then
  -- The usual: the fence is behind the clock, the first who queues lives, and no client has
  -- let a grant run out.  Types are seen before anything is written.
  local text = redis.call('GET', KEYS[2]) or ''
  local op = redis.call('ZRANGE', KEYS[3], '0', '0')[1]
  local seen = op and redis.call('HMGET', KEYS[4], op, '!') or {}
  local last = tonumber(string.match(text, '^q(%d+) ?%x*$') or '')
  local renewed, lease, client, who = string.match(seen[1] or '', '^(%d+) (%d+) (%x+)(.*)$')
  if last and last < now and client and renewed + lease > now_ms and not seen[2] then
    local fence, claim, inbox = stamp, ARGV[2], ARGV[3]
--include grant
    if heard ~= 0 then return 1 end
    unheard = true
  end
end
local cfg = {claim = ARGV[2], inbox = ARGV[3]}
--include prelude
local last, flagged, pending = last_fence()
if not last then return redis.error_reply(flagged) end
if not mine then
  if redis.call('ZCARD', KEYS[3]) > 0 then reap(last, pending) end
  return 0
end
if ARGV[4] and tonumber(ARGV[4]) > 0 then
  -- What the queue and the hash are is seen before anything is written.
  local first = redis.call('ZRANGE', KEYS[3], '0', '0')[1]
  local client = first and live(first)
  -- First what a full server never refuses.
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('SET', KEYS[1], '1m' .. string.rep('0', 32) .. string.sub(value, 35), 'KEEPTTL')
  if pending then put_fence(last, true, tonumber(ARGV[4])) end
  -- Who is first has seen a longer lease, and looks again at a grant of no length.
  if client then redis.pcall('PUBLISH', cfg.inbox .. client, first .. ' 0 0 0') end
  return 1
end
return grant_next(last, unheard and 31) and 2 or 1
