-- ARGV: home agent, now, expires_at, capacity, address. Returns the new token.
local token = next_token(ARGV[2])
redis.call('HSET', base .. 'leases', ARGV[1], table.concat({token, ARGV[3], ARGV[4], ARGV[5]}, ' '))
return token
