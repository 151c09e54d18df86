-- What the scripts that make owners share.  It stands where a script says
-- "--include prelude"; there KEYS are lock, fence, queue, waiters, and a table
-- `cfg` has claim (ms), inbox (what a client's channel starts with) and now (us).
--
--   lock     "1", a flag, the owner's op id, and who that is; expires with the
--            lease.  Flag: "-" nobody queues; "q" somebody may; "g" a grant that was
--            not claimed yet; "m" released, and kept for nobody until it expires.
--   fence    the last fence given, "q" before it while somebody may queue.
--   queue    zset: op id by number of arrival.
--   waiters  hash: op id -> "deadline renewed client" and who; "#" the last number;
--            "!pending" the client of an unclaimed grant; "!<client>" when that
--            client let a grant run out.  All in ms of the server's clock.
--   Who: " host pid thread label", or nothing; for people.
--
-- Invariant: while the queue has a live waiter, the lock has an owner, or a
-- waiter that polls will find it free and grant it.
local FENCE_END = 9007199254740990

local function last_fence()
  local text = redis.call('GET', KEYS[2])
  if not text then return 0, false end
  local flagged = string.sub(text, 1, 1) == 'q'
  local last = tonumber(flagged and string.sub(text, 2) or text)
  if not last then return nil, 'STILEKIND the fence is not a number' end
  -- This way round, since nan is neither.
  if not (last >= 0 and last < FENCE_END) then
    return nil, 'STILEFENCE the fence has reached its end'
  end
  return last, flagged
end

local function put_fence(number, flagged, lease)
  local ttl = math.max(86400000, lease + 60000)
  redis.call('SET', KEYS[2], (flagged and 'q' or '') .. string.format('%.0f', number), 'PX',
    string.format('%.0f', ttl))
end

local function next_fence(last)
  return math.max(last + 1, cfg.now)
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
local function live(op, now_ms)
  local deadline, renewed, client, who =
    string.match(redis.call('HGET', KEYS[4], op) or '', '^(%d+) (%d+) (%x+)(.*)$')
  if not client or tonumber(deadline) <= now_ms then return nil end
  local dead = redis.call('HGET', KEYS[4], '!' .. client)
  if dead and tonumber(dead) > tonumber(renewed) then return nil end
  return client, who
end

-- Grants the free lock to the first live waiter.  last is the last fence.
-- Returns whether there may be more to do: 32 dead waiters are enough for once.
local function grant_next(last)
  local now_ms = math.floor(cfg.now / 1000)
  for _ = 1, 32 do
    local op = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
    if not op then
      redis.call('DEL', KEYS[4])
      put_fence(last, false, 0)
      return false
    end
    local client, who = live(op, now_ms)
    redis.call('ZREM', KEYS[3], op)
    redis.call('HDEL', KEYS[4], op)
    if client then
      last = next_fence(last)
      redis.call('SET', KEYS[1], '1g' .. op .. who, 'PX', cfg.claim)
      redis.call('HSET', KEYS[4], '!pending', client)
      -- The field before it may have been the last, and the key's time with it.
      if redis.call('PTTL', KEYS[4]) < 0 then redis.call('PEXPIRE', KEYS[4], 65000) end
      put_fence(last, true, 0)
      local heard = redis.pcall('PUBLISH', cfg.inbox .. client, table.concat({op,
        string.format('%.0f', last), string.format('%.0f', now_ms + cfg.claim), cfg.claim}, ' '))
      if heard ~= 0 then return false end
      redis.call('DEL', KEYS[1])
      redis.call('HDEL', KEYS[4], '!pending')
    end
  end
  return true
end

-- The lock is free though somebody may queue: its lease ran out, or a release
-- gave up after many dead waiters.  A grant that nobody claimed speaks against
-- all waiters of that client.
local function reap(last)
  local client = redis.call('HGET', KEYS[4], '!pending')
  if client then
    redis.call('HDEL', KEYS[4], '!pending')
    redis.call('HSET', KEYS[4], '!' .. client, string.format('%.0f', math.floor(cfg.now / 1000)))
  end
  return grant_next(last)
end
