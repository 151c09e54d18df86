-- Tells who has the lock and who queues, and changes nothing.
--
-- KEYS  lock, fence, queue, waiters
-- ARGV  how many waiters to list
-- Returns {1 if somebody has it, its remaining ms or -1 for no end, last fence, number
-- of waiters, who has it, then for each waiter its number of arrival and who it is}.
-- Invariant: who is listed would be granted in this order.
local cfg = {}
--include clock
--include prelude
local last, wrong = last_fence()
if not last then return redis.error_reply(wrong) end
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, 1) ~= '1' then
  return redis.error_reply('STILEKIND the key is not a lock of this version')
end
local count = redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[4])
-- What others wrote may be of any length, an answer may not.
local function cut(who) return string.sub(who, 1, 400) end
local answer = {value and 1 or 0, value and redis.call('PTTL', KEYS[1]) or 0, last, 0,
  value and cut(string.sub(value, 35)) or ''}
local limit, at = 5 + 2 * tonumber(ARGV[1]), 0
while #answer < limit do
  local page = redis.call('ZRANGE', KEYS[3], at, at + 99, 'WITHSCORES')
  if #page == 0 then break end
  for i = 1, #page, 2 do
    local client, who = live(page[i])
    if not client then
      count = count - 1
    elseif #answer < limit then
      answer[#answer + 1] = tonumber(page[i + 1])
      answer[#answer + 1] = cut(who)
    end
  end
  at = at + 100
end
answer[4] = count
return answer
