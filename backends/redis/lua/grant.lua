-- Makes a waiter the owner: op, client, who, and its fence as text; last is the fence
-- before.  First comes a write that a full server does not refuse, and it refuses no other
-- then.  Who includes this sees by `heard` whether the message has reached anybody.
redis.call('ZREM', KEYS[3], op)
redis.call('HDEL', KEYS[4], op)
redis.call('SET', KEYS[1], '1g' .. op .. who, 'PX', claim)
-- Once in ten seconds is enough for a day.
if last < now - now % 10000000 or last >= now then
  redis.call('SET', KEYS[2], 'q' .. fence .. ' ' .. client, 'PX', '86400000')
else
  redis.call('SET', KEYS[2], 'q' .. fence .. ' ' .. client, 'KEEPTTL')
end
local heard = redis.pcall('PUBLISH', inbox .. client,
  op .. ' ' .. fence .. ' ' .. stamp_ms .. ' ' .. claim)
