"""The scripts that run in Redis: appending, judging a cursor, finding a tail.

They answer with ids, never with bodies. They need Redis 6.2. Redis has ended a script
at any command that it refuses, so each script is safe to end at every one of its lines.

A note beside the log describes its newest entry, so that an append does not have to
read that entry's body. The note counts only if the log has as many entries as it says,
and none after the entry that it names.
"""

from .bounded import BOUNDED
from .short_lived import SHORT_LIVED
from .state import STATE
from .trimming import COMMON, TRIM

# The script that trims the log and appends an entry, or a run of them. It returns the
# epoch and the ids of the entries, with spaces between them.
#
# KEYS[5]   the newer idempotency keys, a hash
# KEYS[6]   the older idempotency keys, a hash
# KEYS[7]   the ids of the control records in the log, a stream
# KEYS[8]   the addresses of the sessions that ended last, a stream
# ARGV[1]   the body
# ARGV[2]   the size that retention counts, in bytes; 0 for a control record, and for an
#           event with a ttl or with bounds of its channel
# ARGV[3]   the epoch, if a new log is begun
# ARGV[4]   a random number for the id
# ARGV[5-7] the events, milliseconds and bytes to keep; empty: as KEYS[2] says
# ARGV[8]   an idempotency key; empty: none
# ARGV[9]   how many milliseconds an idempotency key is remembered
# ARGV[10]  how many idempotency keys one hash holds
# ARGV[11]  1: only begin a log if there is none, and return the head otherwise
# ARGV[12]  how many control records to keep
# ARGV[13]  1: refuse a log for which no app has noted what to keep
# ARGV[14]  the addresses of the sessions that this record ends, one a line; empty: none
# ARGV[15]  how many of these records to remember
# ARGV[16]  how many notes about trimmed entries one hash holds
#
# The modules ``state``, ``short_lived`` and ``bounded`` list the other keys and
# arguments.
#
# ARGV[30-] for an event without a key of state: the bodies and sizes of the events that
#           follow it in a run. None of a run has a key, a ttl or bounds of its channel.
#
# A run pays once for all that an append costs beside XADD. A run that is longer than
# the bounds stays whole until the next append.
#
# XADD is the last command. If Redis refuses a command, because of the user's rights or
# of its memory, nothing was appended, and the idempotency key is taken back.
#
# The log is trimmed first: at Redis's maxmemory, this makes the room for the entry. A
# trim that removes nothing is left out, because Redis refuses no command for want of
# memory once the script has written. The newest entry stays until XADD, since the epoch
# is stored only in entries. XADD replaces it if it is beyond the bounds too.
#
# Control records, short-lived ones and those with bounds do not count as events. The
# oldest ones beyond their own number are removed from between events. They have no
# bytes, so a reader still proves by the bytes that no event is missing between two
# entries. An event trims the log; they remove only others of their kind.
#
# Two hashes bound the idempotency keys by time and by number. When the newer hash is a
# day old or full, it replaces the older one. Each key is thereby remembered for long
# enough. One Redis key for each idempotency key would bound them by time alone.
#
# If the newest id is so high that a cursor has no room for a later one, nothing could
# be appended, so the script begins a new log.
APPEND = (
    COMMON
    + "local most_notes = tonumber(ARGV[16])"
    + TRIM
    + """
local size, ms, number = tonumber(ARGV[2]), now, tonumber(ARGV[4])
local sizes, following = size, 0
if ARGV[17] == '' then
  for at = 31, #ARGV, 2 do
    sizes, following = sizes + ARGV[at], following + 1
  end
end

-- Return an id that is later than another one.
local function id_after(last)
  local last_ms, last_number = string.match(last, '(%d+)-(%d+)')
  if tonumber(last_ms) >= ms then
    ms = tonumber(last_ms)
    number = last_number + 1 + number % 64
    if number >= 262144 then
      ms = ms + 1
      number = 1 + number % 64
    end
  end
  return string.format('%.0f-%.0f', ms, number)
end

local epoch, before, total, length = ARGV[3], '0-0', 0, 0
local key = ARGV[8]
local index, is_control = KEYS[7], ARGV[2] == '0' and ARGV[22] == '' and ARGV[26] == ''
if ARGV[13] == '1' and not redis.call('HGET', notes, 'events') then
  return redis.error_reply('ERR no app has begun this log')
end
local tail = newest()
if tail and ARGV[11] == '1' then
  if not tail.epoch then return foreign() end
  return tail.epoch .. ' ' .. tail.id
end
if tail and ms_of(tail.id) >= 3814697265625 then
  redis.call('DEL', log)
  tail = nil
end
if tail then
  before, length = tail.id, tail.length
  epoch, total = tail.epoch or epoch, tail.stop or 0
  -- Idempotency keys may outlive their log. A key of another epoch names an event that
  -- is lost, so the record is appended.
  local known = key ~= ''
    and (redis.call('HGET', KEYS[5], key) or redis.call('HGET', KEYS[6], key))
  if known and string.sub(known, 1, #epoch) == epoch then return known end
end
local id = id_after(before)
local ids = {id}
for at = 2, 1 + following do ids[at] = id_after(ids[at - 1]) end

"""
    + STATE
    + SHORT_LIVED
    + """
local keep = {ARGV[5], ARGV[6], ARGV[7]}
if keep[1] == '' then
  keep = redis.call('HMGET', notes, 'events', 'ms', 'bytes')
end
local most = keep[1] and tonumber(keep[1])
"""
    + BOUNDED
    + """
local first, start = id, total
if tail then first, start = tail.first, tail.start end

-- Count the control records in the log: those that left it at its beginning leave the
-- index too. Their bodies are short.
local controls = redis.call('XLEN', index)
local function recount()
  while controls > 0 do
    local oldest = redis.call('XRANGE', index, '-', '+', 'COUNT', 1)[1][1]
    if #redis.call('XRANGE', log, oldest, oldest, 'COUNT', 1) == 1 then return end
    redis.call('XDEL', index, oldest)
    controls = controls - 1
  end
end

local replaces = false
if tail and is_control then
  recount()
  local excess = controls - ARGV[12] + 1
  if excess > 0 then
    local oldest = redis.call('XRANGE', index, '-', '+', 'COUNT', excess)
    local removed = redis.call('HGET', notes, 'removed') or '0-0'
    if is_later(oldest[#oldest][1], removed) then
      redis.call('HSET', notes, 'removed', oldest[#oldest][1])
    end
    for _, entry in ipairs(oldest) do
      length = length - redis.call('XDEL', log, entry[1])
      redis.call('XDEL', index, entry[1])
    end
  end
elseif tail and most and not is_short and not is_bounded then
  recount()
  local oldest, beyond = now - keep[2], total + sizes - keep[3]
  local others, events = most - 1 - following
  length, events, first, start =
    trim(tail, length - controls - shorts - boundeds, others, oldest, beyond)
  recount()
  replaces = length == 1
    and (events > others or ms_of(first) < oldest or start < beyond)
end

local answer = epoch .. ' ' .. table.concat(ids, ' ')
local has_key = false
local function write()
  if replaces then
    note(redis.call('XRANGE', log, '-', '+', 'COUNT', 1))
    length, first, start = 0, id, total
  end
  redis.call('HSET', notes, 'tail', string.format('%s %s %.0f %.0f %s %.0f',
    epoch, ids[#ids], total + sizes, length + #ids, first, start))
  if not tail then
    redis.call('HSET', notes, 'removed', '0-0', 'removed-short', '0-0', 'missed', '0-0')
  end
  if ARGV[5] ~= '' and not redis.call('HGET', notes, 'events') then
    redis.call('HSET', notes, 'events', ARGV[5], 'ms', ARGV[6], 'bytes', ARGV[7],
      'state-keys', ARGV[20], 'state-bytes', ARGV[21])
  end
  if key ~= '' then
    local held = redis.call('HLEN', KEYS[5])
    if held > 0 and (held >= tonumber(ARGV[10])
                     or redis.call('PTTL', KEYS[5]) <= tonumber(ARGV[9])) then
      redis.call('UNLINK', KEYS[6])
      redis.call('RENAME', KEYS[5], KEYS[6])
      held = 0
    end
    redis.call('HSET', KEYS[5], key, answer)
    has_key = true
    if held == 0 then redis.call('PEXPIRE', KEYS[5], 2 * ARGV[9]) end
  end
  if is_control then redis.call('XADD', index, id, 'c', '') end
  if is_short then index_short(id) end
  if is_bounded then index_bounded(id) end
  if ARGV[14] ~= '' then
    redis.call('XADD', KEYS[8], 'MAXLEN', '=', ARGV[15], '*', 'a', ARGV[14])
  end
  change_state(id)
  if replaces then
    redis.call('XADD', log, 'MAXLEN', '=', 1, id, 'e', epoch, 'p', before, 't',
      string.format('%.0f', total), 's', ARGV[2], 'b', ARGV[1])
  else
    redis.call('XADD', log, id, 'e', epoch, 'p', before, 't',
      string.format('%.0f', total), 's', ARGV[2], 'b', ARGV[1])
  end
  total = total + size
  for at = 2, #ids do
    local event_size = ARGV[27 + 2 * at]
    redis.call('XADD', log, ids[at], 'e', epoch, 'p', ids[at - 1], 't',
      string.format('%.0f', total), 's', event_size, 'b', ARGV[26 + 2 * at])
    total = total + event_size
  end
end

local done, problem = pcall(write)
if done then return answer end
-- Redis has just allowed HSET, and may not allow HDEL. An empty value names no event.
if has_key then redis.call('HSET', KEYS[5], key, '') end
if #kept > 0 then restore_state() end
if type(problem) == 'string' then return redis.error_reply(problem) end
return problem
"""
)

# The script that tells where a cursor lies in the log. It returns the epoch and the id
# of the head, and nothing else if the cursor is the head. Otherwise it also returns the
# id of the first entry of this package; the id before the first one that is young
# enough; whether the cursor's own entry is there, 1 or 0; the bytes of all entries up
# to the cursor; and the id of the newest record that was removed from between others
# and may be missed: a control record, or a short-lived one before its time. Its place
# is a good cursor. An empty text stands for an entry that does not exist. Returns
# nothing at all if the log is empty.
#
# ARGV[1]   the epoch of the cursor
# ARGV[2]   the id of the cursor
# ARGV[3]   the milliseconds to keep; empty: all
JUDGE = (
    COMMON
    + """
local tail = newest()
if not tail then return {} end
if not tail.epoch then return foreign() end
if tail.epoch == ARGV[1] and tail.id == ARGV[2] then return {tail.epoch, tail.id} end
local first = from('-')
local known = redis.call('HMGET', notes, 'removed', 'removed-short', 'unknown')
local removed = known[1] or ''

-- Return the last entry of this package before an id.
local function before(id)
  local count = 1
  while true do
    local entries = redis.call('XREVRANGE', log, '(' .. id, '-', 'COUNT', count)
    for _, entry in ipairs(entries) do
      if ours(entry) then return entry end
    end
    if #entries < count then return nil end
    id, count = entries[#entries][1], 256
  end
end

-- Tell whether an id before an entry is most likely that of a short-lived entry that
-- has left. An id that was lost in a failover is doubted.
local function was_short(id, following)
  if not known[2] or is_later(id, known[2]) then return false end
  if not is_later(id, known[3] or '0-0') then return false end
  local entry = before(id)
  return entry and entry[1] ~= following[2][4]
    and entry[2][6] + entry[2][8] == tonumber(following[2][6])
end

if not first then return {tail.epoch, tail.id, '', '', 0, '', removed} end
local young = first
if ARGV[3] ~= '' and ms_of(first[1]) < now - ARGV[3] then
  young = from(string.format('%.0f', now - ARGV[3]))
end
local stop, there = '', 0
local entry = redis.call('XRANGE', log, ARGV[2], ARGV[2], 'COUNT', 1)[1]
if entry then
  there = 1
  if ours(entry) then stop = string.format('%.0f', entry[2][6] + entry[2][8]) end
else
  local following = from('(' .. ARGV[2])
  if following and (ARGV[2] == removed or following[2][4] == ARGV[2]
                    or was_short(ARGV[2], following)) then
    stop, there = following[2][6], 1
  end
end
local floor = young and young[2][4] or ''
return {tail.epoch, tail.id, first[1], floor, there, stop, removed}
"""
)

# The script that finds the place after which some bytes of the log remain. It returns
# the epoch and the id of the place, with a space between them, or an empty text if the
# log is empty.
#
# ARGV[1]   the most bytes
# ARGV[2]   the milliseconds to keep; empty: all
#
# A bisection by the bytes before each entry. A place after which at least three
# quarters of the bytes remain is good enough: each step reads a body, in Redis. The
# number of steps is bounded.
TAIL = (
    COMMON
    + """
local tail = newest()
if not tail then return '' end
if not tail.epoch then return foreign() end
local most = tonumber(ARGV[1])
local base = 0
if ARGV[2] ~= '' then base = math.max(0, now - ARGV[2]) end

local function bytes(entry)
  if not entry then return 0 end
  return tail.stop - entry[2][6]
end

local found = from(string.format('%.0f', base))
if found and bytes(found) > most then
  base = ms_of(found[1])
  local function place(id)
    local ms, number = string.match(id, '(%d+)-(%d+)')
    return (ms - base) * 262144 + math.min(tonumber(number), 262144)
  end
  local low, high = place(found[1]) + 1, place(tail.id) + 1
  found = nil
  for _ = 1, 64 do
    if low >= high then break end
    local middle = math.floor((low + high) / 2)
    local entry = from(string.format(
      '%.0f-%.0f', base + math.floor(middle / 262144), middle % 262144))
    if bytes(entry) > most then
      low = place(entry[1]) + 1
    else
      high, found = middle, entry
      if 4 * bytes(entry) >= 3 * most then break end
    end
  end
end
-- Before a control record that was removed a follower would begin with a gap.
local start = found and found[2][4] or tail.id
local removed = redis.call('HGET', notes, 'removed')
if removed then
  local ms, number = string.match(removed, '(%d+)-(%d+)')
  local start_ms, start_number = string.match(start, '(%d+)-(%d+)')
  if tonumber(ms) > tonumber(start_ms)
     or (ms == start_ms and tonumber(number) > tonumber(start_number)) then
    start = removed
  end
end
return tail.epoch .. ' ' .. start
"""
)

# The script that returns a page of the sessions that ended last: the id of the page's
# last entry, and the addresses, one a line. Both are empty after the last page. One
# text is read a hundred times faster than as many entries.
#
# KEYS[1]   the addresses of the sessions that ended last, a stream
# ARGV[1]   the id of the last entry of the page before
# ARGV[2]   how many entries a page has
ENDED = """
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
local addresses = {}
for at, entry in ipairs(entries) do addresses[at] = entry[2][2] end
local last = entries[#entries]
return {last and last[1] or '', table.concat(addresses, '\\n')}
"""
