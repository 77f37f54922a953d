-- ARGV: home agent, token, time the nodes were heard, "all" or "missing" (leave alone what is another agent's); then
-- for each binding: home address, its value, identity, home agent address, care-of address.
-- Returns "fenced-out" if the lease is void, else "done" and the home addresses that were left alone.
local agent, token, seen, which = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not holds(agent, token) then return {'fenced-out'} end

local function is_another(owners, field)
  local owner = redis.call('HGET', base .. owners, field)
  return owner and owner ~= agent
end

local function write(home, value, identity, address, care_of)
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

local result = {'done'}
for i = 5, #ARGV, 5 do
  local home, identity = ARGV[i], ARGV[i + 2]
  if which == 'missing' and (is_another('binding-owners', home) or is_another('node-owners', identity)) then
    result[#result + 1] = home
  else
    write(home, ARGV[i + 1], identity, ARGV[i + 3], ARGV[i + 4])
  end
end
return result
