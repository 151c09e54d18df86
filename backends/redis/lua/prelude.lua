-- What the scripts that make owners share.  It stands where a script says
-- "--include prelude", after the clock; there KEYS are lock, fence, queue, waiters,
-- and a table `cfg` has claim (ms, as text) and inbox (what a client's channel starts
-- with).  To make these functions costs as much as four commands do.
--
--   lock     "1", a flag, the owner's op id, and who that is; expires with the
--            lease.  Flag: "-" nobody queues; "q" somebody may; "g" a grant that was
--            not claimed yet; "m" released, and kept for nobody until it expires.
--   fence    the last fence given; while somebody may queue, "q" before it; while a
--            grant was not claimed, a blank and its client behind it.
--   queue    zset: op id by number of arrival.
--   waiters  hash: op id -> "renewed lease client" and who; "#" the last number;
--            "!<client>" when that client let a grant run out, and then "!", too.  All
--            in ms, of the server's clock.
--   Who: " host pid thread label", or nothing; for people.
--
-- Invariant: while the queue has a live waiter, the lock has an owner, or a
-- waiter that polls will find it free and grant it.
local FENCE_END = 9007199254740990

local function text_of(number)
  return number == now and stamp or string.format('%.0f', number)
end

-- The number, whether somebody may queue, and the client of a grant that was not
-- claimed; or nil and what is wrong.
local function last_fence()
  local text = redis.call('GET', KEYS[2])
  if not text then return 0, false end
  local last, client = tonumber(text), nil
  local flagged = not last
  if flagged then
    text, client = string.match(text, '^q(%S+) ?(%x*)$')
    last = tonumber(text or '')
    if not last then return nil, 'STILEKIND the fence is not a number' end
  end
  -- This way round, since nan is neither.
  if not (last >= 0 and last < FENCE_END) then
    return nil, 'STILEFENCE the fence has reached its end'
  end
  return last, flagged, client ~= '' and client
end

local function put_fence(number, flagged, lease, client)
  local ttl = lease <= 86340000 and '86400000' or string.format('%.0f', lease + 60000)
  local text = text_of(number)
  if flagged then text = 'q' .. text end
  if client then text = text .. ' ' .. client end
  redis.call('SET', KEYS[2], text, 'PX', ttl)
end

local function next_fence(last)
  return math.max(last + 1, now)
end

-- What is left of the owner's lease; a key that somebody made permanent has long.
local function left_ms()
  local left = redis.call('PTTL', KEYS[1])
  if left == -1 then return 2147483647 end
  return math.max(left, 0)
end

-- The fence of the owner that is there; one that was evicted is given anew.
local function owner_fence(last, flagged)
  if last == 0 then
    last = next_fence(last)
    put_fence(last, flagged, left_ms())
  end
  return last
end

-- The client of a waiter that counts, and who it is; nil for one that does not.
local function live(op)
  local seen = redis.call('HMGET', KEYS[4], op, '!')
  local renewed, lease, client, who = string.match(seen[1] or '', '^(%d+) (%d+) (%x+)(.*)$')
  if not client or renewed + lease <= now_ms then return nil end
  local dead = seen[2] and redis.call('HGET', KEYS[4], '!' .. client)
  if dead and tonumber(dead) > tonumber(renewed) then return nil end
  return client, who
end

-- Makes the first of the queue the owner, if it lives.  Returns the fence, and whether
-- it has heard of it.
local function grant(op, last)
  local client, who = live(op)
  if not client then
    redis.call('ZREM', KEYS[3], op)
    redis.call('HDEL', KEYS[4], op)
    return last, false
  end
  local given = next_fence(last)
  local fence, claim, inbox = text_of(given), cfg.claim, cfg.inbox
--include grant
  return given, heard ~= 0
end

-- Passes the lock, which is free or given back, to the first live waiter.  last is the
-- last fence.  Returns whether there may be more to do: most dead waiters, or 32, are
-- enough for once.
local function grant_next(last, most)
  for _ = 1, most or 32 do
    local op = redis.call('ZRANGE', KEYS[3], '0', '0')[1]
    if not op then
      redis.call('HLEN', KEYS[4])
      redis.call('DEL', KEYS[1], KEYS[4])
      put_fence(last, false, 0)
      return false
    end
    local heard
    last, heard = grant(op, last)
    if heard then return false end
  end
  redis.call('DEL', KEYS[1])
  put_fence(last, true, 0)
  return true
end

-- The lock is free though somebody may queue: its lease ran out, or a release
-- gave up after many dead waiters.  A grant that nobody claimed, that of client, speaks
-- against all waiters of that client.
local function reap(last, client)
  -- What the queue and the hash are is seen before anything is written.
  if client and redis.call('ZCARD', KEYS[3]) > 0 then
    redis.call('HSET', KEYS[4], '!' .. client, stamp_ms, '!', '1')
    if redis.call('PTTL', KEYS[4]) < 0 then redis.call('PEXPIRE', KEYS[4], '65000') end
  end
  return grant_next(last)
end
