-- ARGV: home agent, token; then for each node: identity, certificates. Returns "fenced-out" if the lease is void.
if not holds(ARGV[1], ARGV[2]) then return {'fenced-out'} end
for i = 3, #ARGV, 2 do redis.call('HSET', base .. 'certificates', ARGV[i], ARGV[i + 1]) end
return {'done'}
