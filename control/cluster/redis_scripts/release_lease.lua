-- ARGV: home agent, token.
if holds(ARGV[1], ARGV[2]) then redis.call('HDEL', base .. 'leases', ARGV[1]) end
return 'done'
