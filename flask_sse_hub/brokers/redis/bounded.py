"""The part of the script that appends about records with bounds of their channel.

They have no bytes in the log, like control records, and leave it from between events.
"""

# KEYS[13]  the ids of these entries in the log with their sizes and channels, a stream
# KEYS[14]  for each of them its channel and its id with leading zeros, a sorted set
#           without scores
# ARGV[26]  the address of the record's channel; empty: it has no bounds
# ARGV[27]  how many entries of the channel to keep; empty: as many as the log
# ARGV[28]  for how many milliseconds; empty: as long as the log
# ARGV[29]  for how many milliseconds an entry stays in any case
#
# All of them together have the bounds of the log once more. A log that has never had
# such an entry needs none of the commands for sorted sets.
#
# An entry that could not be appended after all may be in the stream and in the sorted
# set. It leaves them when it is the oldest one of its channel.
BOUNDED = """
local bounded, by_channel, is_bounded = KEYS[13], KEYS[14], ARGV[26] ~= ''
local boundeds, bounded_bytes = redis.call('XLEN', bounded), 0
if not tail and boundeds > 0 then
  redis.call('UNLINK', bounded, by_channel)
  boundeds = 0
end
if boundeds > 0 then
  bounded_bytes = tonumber(redis.call('HGET', notes, 'bounded-bytes') or 0)
end
local bounded_before = bounded_bytes

local function member_of(channel, entry_id)
  local entry_ms, entry_number = string.match(entry_id, '(%d+)-(%d+)')
  return string.format('%s\\n%015.0f-%020.0f', channel, entry_ms, entry_number)
end

local function forget_bounded(entry)
  redis.call('XDEL', bounded, entry[1])
  redis.call('ZREM', by_channel, member_of(entry[2][4], entry[1]))
  boundeds = boundeds - 1
  bounded_bytes = boundeds == 0 and 0 or math.max(0, bounded_bytes - entry[2][2])
end

-- Forget the entries that left the log at its beginning.
local function recount_bounded()
  while boundeds > 0 do
    local oldest = redis.call('XRANGE', bounded, '-', '+', 'COUNT', 1)[1]
    if #redis.call('XRANGE', log, oldest[1], oldest[1], 'COUNT', 1) == 1 then return end
    forget_bounded(oldest)
  end
end

local function remove_bounded(index_entry, lost)
  local entry = redis.call('XRANGE', log, index_entry[1], index_entry[1], 'COUNT', 1)[1]
  if entry then
    table.insert(lost, entry)
    length = length - redis.call('XDEL', log, entry[1])
  end
  forget_bounded(index_entry)
end

-- Remove the oldest entries of the record's channel beyond its bounds, then the oldest
-- of all, but not the newest entry of the log, and at most 100 of each: the next call
-- goes on.
local function trim_bounded(most, most_bytes)
  local lost = {}
  local low, high = '[' .. ARGV[26] .. '\\n', '(' .. ARGV[26] .. '\\n:'
  local excess, oldest_ms = 0, 0
  if ARGV[27] ~= '' then
    excess = redis.call('ZLEXCOUNT', by_channel, low, high) + 1 - ARGV[27]
  end
  if ARGV[28] ~= '' then oldest_ms = now - ARGV[28] end
  local members = redis.call('ZRANGEBYLEX', by_channel, low, high, 'LIMIT', 0, 100)
  for at, member in ipairs(members) do
    local id_ms, id_number = string.match(member, '\\n0*(%d+)%-0*(%d+)$')
    local id = id_ms .. '-' .. id_number
    if id == tail.id or tonumber(id_ms) > now - ARGV[29]
       or (at > excess and tonumber(id_ms) >= oldest_ms) then break end
    local index_entry = redis.call('XRANGE', bounded, id, id, 'COUNT', 1)[1]
    if index_entry then
      remove_bounded(index_entry, lost)
    else
      redis.call('ZREM', by_channel, member)
    end
  end
  for _ = 1, 100 do
    if boundeds == 0 or (boundeds < most
                         and bounded_bytes + ARGV[23] <= most_bytes) then break end
    local oldest = redis.call('XRANGE', bounded, '-', '+', 'COUNT', 1)[1]
    if oldest[1] == tail.id then break end
    remove_bounded(oldest, lost)
  end
  if #lost > 0 then
    table.sort(lost, function(a, b) return is_later(b[1], a[1]) end)
    note_later('removed-short', lost[#lost][1])
    note_lost(lost)
  end
end

if boundeds > 0 then
  recount_bounded()
  if is_bounded and most then trim_bounded(most, tonumber(keep[3])) end
  tail.length = length
  if bounded_bytes ~= bounded_before then
    redis.call('HSET', notes, 'bounded-bytes', string.format('%.0f', bounded_bytes))
  end
end

local function index_bounded(id)
  redis.call('ZADD', by_channel, 0, member_of(ARGV[26], id))
  redis.call('XADD', bounded, id, 's', ARGV[23], 'c', ARGV[26])
  redis.call('HSET', notes, 'bounded-bytes',
    string.format('%.0f', bounded_bytes + ARGV[23]))
end
"""
