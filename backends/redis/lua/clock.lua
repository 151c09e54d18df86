-- The server's clock, read once: in us and in ms, as texts and as numbers.  Scripts
-- that make owners run at every change of hands, where printing a number of 16 digits
-- costs as much as a command: so the texts.
local t = redis.call('TIME')
local stamp = t[1] .. string.sub('000000', #t[2] + 1) .. t[2]
local stamp_ms = string.sub(stamp, 1, -4)
local now = tonumber(stamp)
local now_ms = (now - now % 1000) / 1000
