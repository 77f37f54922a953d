-- ARGV: failed home agent, claimer, its token, now, "force" or "", most nodes to claim (-1: all).
-- Returns "lease-lost"; "lease-held" and when that lease expires; or "claimed" and for each binding, or node without
-- one: identity, node, when it had traffic ("": unknown), home address, binding (both "" without one).
local failed, by, token, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local function ends(of) return tonumber(of.expires) or 0 end  -- what is no time is long past
local mine = lease_of(by)
if not mine or mine.token ~= token or ends(mine) <= tonumber(now) then return {'lease-lost'} end
local lease = lease_of(failed)
if lease and ends(lease) > tonumber(now) and ARGV[5] == '' then return {'lease-held', lease.expires} end
if failed == by then return {'claimed'} end

local claimed = {'claimed'}
local function add(...)
  for _, text in ipairs({...}) do claimed[#claimed + 1] = text end
end
local last = tonumber(ARGV[6])
for _, identity in ipairs(redis.call('ZRANGE', base .. 'members:' .. failed, 0, last < 0 and -1 or last - 1)) do
  local node = redis.call('HGET', base .. 'nodes:' .. failed, identity) or ''
  node = node:gsub('^%d+', token, 1)
  redis.call('HSET', base .. 'node-owners', identity, failed)  -- whatever stood there: it has to leave `members`
  put_node(by, identity, node)
  local homes = redis.call('HGET', base .. 'addresses:' .. failed, identity)
  local traffic = redis.call('HGET', base .. 'traffic', identity) or ''
  local bound = false
  for home in (homes or ''):gmatch('%S+') do
    local binding = redis.call('HGET', base .. 'bindings:' .. failed, home)
    if binding then
      redis.call('HDEL', base .. 'bindings:' .. failed, home)
      redis.call('HSET', base .. 'bindings:' .. by, home, binding)
      redis.call('HSET', base .. 'binding-owners', home, by)
      put_address(by, identity, home)
      add(identity, node, traffic, home, binding)
      bound = true
    end
  end
  redis.call('HDEL', base .. 'addresses:' .. failed, identity)
  if not bound then add(identity, node, traffic, '', '') end
end

if redis.call('ZCARD', base .. 'members:' .. failed) > 0 then
  -- Fenced out from the first part on; still listed as dead, should this claimer die before the last one.
  if lease then
    local expires = ends(lease) > tonumber(now) and now or lease.expires
    redis.call('HSET', base .. 'leases', failed, table.concat({next_token(now), expires, lease.rest}, ' '))
  end
else
  redis.call('HDEL', base .. 'leases', failed)
  -- Left are bindings of nodes that meanwhile registered elsewhere under another home address.
  for _, home in ipairs(redis.call('HKEYS', base .. 'bindings:' .. failed)) do drop_binding(failed, home) end
  redis.call('DEL', base .. 'bindings:' .. failed, base .. 'addresses:' .. failed)
end
return claimed
