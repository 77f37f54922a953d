-- ARGV: home agent, token, home addresses. Returns "fenced-out" if the lease is void.
if not holds(ARGV[1], ARGV[2]) then return {'fenced-out'} end
for i = 3, #ARGV do
  if redis.call('HGET', base .. 'binding-owners', ARGV[i]) == ARGV[1] then drop_binding(ARGV[1], ARGV[i]) end
end
return {'done'}
