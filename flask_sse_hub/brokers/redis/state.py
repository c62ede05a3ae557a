"""The part of the script that appends about the state: the newest value of each key.

The state is a hash: for each address and key the id, epoch, size and body of the newest
record. It belongs to one epoch. An empty value is no state.
"""

# KEYS[9]   the state, a hash
# KEYS[12]  the values with a ttl, each with its id, by the millisecond at which their
#           time is over: a sorted set
# ARGV[17]  the key of which the record is the state; empty: none
# ARGV[18]  1: the record ends that state
# ARGV[19]  the size that the state counts for each address, in bytes
# ARGV[20-21] the keys and bytes of state to keep; empty: as KEYS[2] says
# ARGV[30-] the addresses of a record with a key
#
# A state that has never had a value with a ttl needs none of the commands for sorted
# sets: `state-ends` in the notes beside the log tells.
STATE = """
-- The fields of the state that change, with their values so far.
local kept, kept_before, kept_after = {}, 0, 0
local state_ends = false

local function size_of(value)
  return tonumber(string.match(value, '^%S+ %S+ (%d+)\\n') or 0)
end

-- Return a field's member of the sorted set, and the end of its value; nil without one.
local function ending_of(field, value)
  local value_id, body = string.match(value, '^(%S+) [^\\n]*\\n(.*)$')
  local head = value_id and head_of(body)
  local ttl = head and tonumber(head.ttl)
  if ttl then return field .. '\\n' .. value_id, ms_of(value_id) + ttl * 1000 end
end

-- Remove the values whose time is over: at most 100, the next call goes on.
local function end_state()
  local over = redis.call(
    'ZRANGEBYSCORE', KEYS[12], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
  for _, member in ipairs(over) do
    local field, value_id = string.match(member, '^(.*)\\n([^\\n]*)$')
    local value = redis.call('HGET', KEYS[9], field)
    -- A program with an earlier version may have set another value.
    if value and string.sub(value, 1, #value_id + 1) == value_id .. ' ' then
      kept_before = kept_before - size_of(value)
      redis.call('HDEL', KEYS[9], field)
    end
    redis.call('ZREM', KEYS[12], member)
  end
  if #over > 0 then
    redis.call('HSET', notes, 'state-size', string.format('%.0f', kept_before))
  end
end

if ARGV[17] ~= '' then
  local keys = 0
  if tail then
    local known = redis.call('HMGET', notes, 'state-size', 'state-ends')
    kept_before, state_ends = tonumber(known[1] or 0), known[2] == '1'
    if state_ends then end_state() end
    keys = redis.call('HLEN', KEYS[9])
    kept_after = kept_before
  end
  for at = 30, #ARGV do
    local field = ARGV[at] .. '\\n' .. ARGV[17]
    local old = tail and redis.call('HGET', KEYS[9], field)
    if old then
      keys = keys - 1
      kept_after = kept_after - size_of(old)
    end
    table.insert(kept, {field, old or ''})
  end
  if ARGV[18] ~= '1' then
    keys, kept_after = keys + #kept, kept_after + #kept * ARGV[19]
    local most_kept = {ARGV[20], ARGV[21]}
    if most_kept[1] == '' then
      most_kept = redis.call('HMGET', notes, 'state-keys', 'state-bytes')
    end
    if most_kept[1] and (keys > tonumber(most_kept[1])
                         or kept_after > tonumber(most_kept[2])) then
      return redis.error_reply('STATEFULL the state has no room')
    end
  end
end

local function set_value(field, value)
  local member, ends = ending_of(field, value)
  if member then
    redis.call('HSET', notes, 'state-ends', '1')
    redis.call('ZADD', KEYS[12], string.format('%.0f', ends), member)
  end
  redis.call('HSET', KEYS[9], field, value)
end

local function change_state(id)
  if not tail then redis.call('UNLINK', KEYS[9], KEYS[12]) end
  for _, each in ipairs(kept) do
    local member = state_ends and ending_of(each[1], each[2])
    if member then redis.call('ZREM', KEYS[12], member) end
    if ARGV[18] == '1' then
      redis.call('HDEL', KEYS[9], each[1])
    else
      set_value(each[1], id .. ' ' .. epoch .. ' ' .. ARGV[19] .. '\\n' .. ARGV[1])
    end
  end
  if #kept > 0 or not tail then
    redis.call('HSET', notes, 'state-size', string.format('%.0f', kept_after))
  end
end

local function restore_state()
  for _, each in ipairs(kept) do set_value(each[1], each[2]) end
  redis.call('HSET', notes, 'state-size', string.format('%.0f', kept_before))
end
"""
