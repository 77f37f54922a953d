-- ARGV: home agent, token, expires_at. Returns "lease-lost" if the lease is void.
local lease = lease_of(ARGV[1])
if not lease or lease.token ~= ARGV[2] then return 'lease-lost' end
redis.call('HSET', base .. 'leases', ARGV[1], table.concat({lease.token, ARGV[3], lease.rest}, ' '))
return 'done'
