-- What all scripts share; put before each of them. KEYS[1] is what all keys begin with.
--
--   leases            hash: home agent -> "token expires_at capacity address"
--   token             the last fencing token
--   node-owners       hash: identity -> home agent
--   binding-owners    hash: home address -> home agent
--   agents            set: home agents that have, or had, nodes
--   traffic           hash: identity -> when it had traffic last
--   tries:CONNECTION  the number of the last try to run a script that came from there; for an hour
--   certificates      hash: identity -> the certificates it has proved itself with, as msgpack
--   members:AGENT     sorted set of identities, in their byte order
--   nodes:AGENT       hash: identity -> "fence last_seen home_address care_of_address" ("-": none)
--   bindings:AGENT    hash: home address -> "care_of_address home_agent_address expires_at sequence k identity", where
--                     k is "0" or "1", of a mobile router followed by its prefixes, each after a comma
--   addresses:AGENT   hash: identity -> its home addresses in bindings:AGENT, separated by spaces
--
-- Times and addresses pass through as the text they came as: Lua's numbers would round the times.
local base = KEYS[1]

-- ARGV begins with a connection and the number of this try in it; each script finds what is its own in the rest. A try
-- that hung on a way which was given up must not undo what has been done since. To note the number may fail, for want
-- of memory, as long as what frees memory still works.
do
  local connection, number = table.remove(ARGV, 1), table.remove(ARGV, 1)
  local last = tonumber(redis.call('GET', base .. 'tries:' .. connection) or '')
  if last and last > tonumber(number) then
    return redis.error_reply('LATE a later try has come before')
  end
  redis.pcall('SET', base .. 'tries:' .. connection, number, 'EX', 3600)
end

local function lease_of(agent)
  local value = redis.call('HGET', base .. 'leases', agent)
  if not value then return nil end
  local token, expires, rest = value:match('^(%d+) (%S+) (.*)$')
  if not token then return nil end
  return {token = token, expires = expires, rest = rest}
end

local function next_token(now)
  -- Never below the time in milliseconds: tokens grow even where everything was wiped in between.
  local token = math.max(redis.call('INCR', base .. 'token'), math.floor(tonumber(now) * 1000))
  local text = string.format('%.0f', token)
  redis.call('SET', base .. 'token', text)
  return text
end

local function holds(agent, token)
  local lease = lease_of(agent)
  return lease ~= nil and lease.token == token
end

local function put_address(agent, identity, home)
  local homes = redis.call('HGET', base .. 'addresses:' .. agent, identity)
  redis.call('HSET', base .. 'addresses:' .. agent, identity, homes and (homes .. ' ' .. home) or home)
end

local function drop_binding(agent, home)
  local value = redis.call('HGET', base .. 'bindings:' .. agent, home)
  redis.call('HDEL', base .. 'bindings:' .. agent, home)
  if redis.call('HGET', base .. 'binding-owners', home) == agent then
    redis.call('HDEL', base .. 'binding-owners', home)
  end
  local identity = value and value:match('^%S+ %S+ %S+ %S+ %S+ (.*)$')
  local homes = identity and redis.call('HGET', base .. 'addresses:' .. agent, identity)
  if not homes then return end
  local left = {}
  for other in homes:gmatch('%S+') do
    if other ~= home then left[#left + 1] = other end
  end
  if #left > 0 then
    redis.call('HSET', base .. 'addresses:' .. agent, identity, table.concat(left, ' '))
  else
    redis.call('HDEL', base .. 'addresses:' .. agent, identity)
  end
end

local function put_node(agent, identity, value)
  local owner = redis.call('HGET', base .. 'node-owners', identity)
  if owner and owner ~= agent then
    redis.call('HDEL', base .. 'nodes:' .. owner, identity)
    redis.call('ZREM', base .. 'members:' .. owner, identity)
  end
  redis.call('SADD', base .. 'agents', agent)
  redis.call('HSET', base .. 'node-owners', identity, agent)
  redis.call('HSET', base .. 'nodes:' .. agent, identity, value)
  redis.call('ZADD', base .. 'members:' .. agent, 0, identity)
end
