"""The part of the script that appends about records with a ttl.

They have no bytes in the log, like control records, and leave it from between events.
"""

# KEYS[10]  the ids of the short-lived entries in the log with their sizes, a stream
# KEYS[11]  the same ids by the millisecond at which their time is over, a sorted set
# ARGV[22]  how many milliseconds the record lives; empty: it has no ttl
# ARGV[23]  its size in bytes
# ARGV[24-25] how many short-lived entries and how many bytes of them to keep
#
# `removed-short` in the notes beside the log is the newest one that has left from
# between others, and `missed` the newest of those that left before their time. A log
# that has never had a short-lived entry needs none of the commands for sorted sets.
#
# An entry that could not be appended after all may be in the stream and in the sorted
# set. It leaves them when its time is over.
SHORT_LIVED = """
-- Note an id under a name, unless a later one is noted there.
local function note_later(name, id)
  local known = redis.call('HGET', notes, name)
  if not known or is_later(id, known) then redis.call('HSET', notes, name, id) end
end

-- Note that entries have left from between others before their time.
local function note_lost(lost)
  if #lost == 0 then return end
  note(lost, true)
  for _, name in ipairs({'missed', 'removed'}) do note_later(name, lost[#lost][1]) end
end

local short, ending, is_short = KEYS[10], KEYS[11], ARGV[22] ~= ''
local shorts, short_bytes = redis.call('XLEN', short), 0
if not tail and shorts > 0 then
  redis.call('UNLINK', short, ending)
  shorts = 0
end
if shorts > 0 then
  short_bytes = tonumber(redis.call('HGET', notes, 'short-bytes') or 0)
end
local bytes_before = short_bytes

local function forget_short(entry)
  redis.call('XDEL', short, entry[1])
  redis.call('ZREM', ending, entry[1])
  shorts = shorts - 1
  short_bytes = shorts == 0 and 0 or math.max(0, short_bytes - entry[2][2])
end

-- Forget the short-lived entries that left the log at its beginning.
local function recount_shorts()
  while shorts > 0 do
    local oldest = redis.call('XRANGE', short, '-', '+', 'COUNT', 1)[1]
    if #redis.call('XRANGE', log, oldest[1], oldest[1], 'COUNT', 1) == 1 then return end
    forget_short(oldest)
  end
end

-- Remove the short-lived entries whose time is over, then the oldest beyond the bounds,
-- but not the newest entry of the log, and at most 100 of each: the next call goes on.
local function trim_shorts()
  local newest_gone, lost = nil, {}
  local function remove(entry)
    length = length - redis.call('XDEL', log, entry[1])
    forget_short(entry)
    if not newest_gone or is_later(entry[1], newest_gone) then
      newest_gone = entry[1]
    end
  end
  local over = redis.call(
    'ZRANGEBYSCORE', ending, '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
  for _, id in ipairs(over) do
    local entry = redis.call('XRANGE', short, id, id, 'COUNT', 1)[1]
    if not entry then
      redis.call('ZREM', ending, id)
    elseif id ~= tail.id then
      remove(entry)
    end
  end
  local more = is_short and 1 or 0
  local size = is_short and tonumber(ARGV[23]) or 0
  for _ = 1, 100 do
    if shorts == 0 or (shorts + more <= tonumber(ARGV[24])
                       and short_bytes + size <= tonumber(ARGV[25])) then break end
    local oldest = redis.call('XRANGE', short, '-', '+', 'COUNT', 1)[1]
    if oldest[1] == tail.id then break end
    local entry = redis.call('XRANGE', log, oldest[1], oldest[1], 'COUNT', 1)[1]
    if entry and #addresses_of(entry) > 0 then table.insert(lost, entry) end
    remove(oldest)
  end
  if newest_gone then note_later('removed-short', newest_gone) end
  note_lost(lost)
end

if shorts > 0 then
  recount_shorts()
  trim_shorts()
  tail.length = length
  if short_bytes ~= bytes_before then
    redis.call('HSET', notes, 'short-bytes', string.format('%.0f', short_bytes))
  end
end

local function index_short(id)
  redis.call('ZADD', ending, string.format('%.0f', ms_of(id) + ARGV[22]), id)
  redis.call('XADD', short, id, 's', ARGV[23])
  redis.call(
    'HSET', notes, 'short-bytes', string.format('%.0f', short_bytes + ARGV[23]))
end
"""
