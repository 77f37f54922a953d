-- ARGV: home agent, token, time the nodes were heard; then for each binding: home address, its value, identity,
-- home agent address, care-of address. Returns "fenced-out" if the lease is void.
local agent, token, seen = ARGV[1], ARGV[2], ARGV[3]
if not holds(agent, token) then return 'fenced-out' end
for i = 4, #ARGV, 5 do
  local home, value, identity, address, care_of = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  -- Claimed bindings of the node that this one takes the place of, perhaps under another home address.
  for other in (redis.call('HGET', base .. 'addresses:' .. agent, identity) or ''):gmatch('%S+') do
    local claimed = redis.call('HGET', base .. 'bindings:' .. agent, other)
    if other ~= home and claimed and claimed:match('^%S+ (%S+)') ~= address then drop_binding(agent, other) end
  end
  local owner = redis.call('HGET', base .. 'binding-owners', home)
  if owner then drop_binding(owner, home) end
  redis.call('HSET', base .. 'binding-owners', home, agent)
  redis.call('HSET', base .. 'bindings:' .. agent, home, value)
  put_address(agent, identity, home)
  local last_seen = seen
  local known_at = redis.call('HGET', base .. 'node-owners', identity)
  local known = known_at and redis.call('HGET', base .. 'nodes:' .. known_at, identity)
  local before = known and known:match('^%d+ (%S+)')
  if before and (tonumber(before) or 0) > tonumber(seen) then last_seen = before end
  put_node(agent, identity, table.concat({token, last_seen, home, care_of}, ' '))
end
return 'done'
