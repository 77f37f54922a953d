-- ARGV: home agent, token; then for each node: identity, time. Returns "fenced-out" if the lease is void.
if not holds(ARGV[1], ARGV[2]) then return {'fenced-out'} end
for i = 3, #ARGV, 2 do
  if redis.call('HGET', base .. 'node-owners', ARGV[i]) == ARGV[1] then
    redis.call('HSET', base .. 'traffic', ARGV[i], ARGV[i + 1])
  end
end
return {'done'}
