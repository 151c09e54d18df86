-- Makes a waiter the owner: op, client, who, its fence as text.  First comes a write that
-- a full server does not refuse, and it refuses no other then.  Whether the message was
-- heard is for who includes this.
redis.call('ZREM', KEYS[3], op)
redis.call('HDEL', KEYS[4], op)
redis.call('SET', KEYS[1], '1g' .. op .. who, 'PX', claim)
redis.call('SET', KEYS[2], 'q' .. fence .. ' ' .. client, 'PX', '86400000')
local heard = redis.pcall('PUBLISH', inbox .. client,
  op .. ' ' .. fence .. ' ' .. stamp_ms .. ' ' .. claim)
