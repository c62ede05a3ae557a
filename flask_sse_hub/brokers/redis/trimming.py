"""The scripts of the log in Redis about trimming; and what all scripts have in common.

A trim notes how far it went, for each address (``events.trimming`` has the rule), and
for each pattern that covers a channel (``events.channel_patterns``).
"""

from ...events.channel_patterns import MAX_DOTS

# KEYS[1]   the log, a stream
# KEYS[2]   notes beside the log, a hash: what to keep, the newest entry, and the newest
#           control record that was removed from between others
#
# Entries of other programs are passed over: the epoch is read from the newest entry of
# this package among the last 256.
COMMON = """
local log, notes = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function ours(entry)
  local fields = entry[2]
  return #fields == 10 and fields[1] == 'e' and fields[3] == 'p'
    and fields[5] == 't' and fields[7] == 's' and fields[9] == 'b'
    and #fields[2] <= 32 and string.match(fields[2], '^[0-9a-z]+$')
    and #fields[4] <= 41 and string.match(fields[4], '^[0-9]+%-[0-9]+$')
    and #fields[6] <= 15 and string.match(fields[6], '^[0-9]+$')
    and #fields[8] <= 15 and string.match(fields[8], '^[0-9]+$')
end

local function ms_of(id)
  return tonumber(string.match(id, '%d+'))
end

local function is_later(a, b)
  local a_ms, a_number = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_number = string.match(b, '(%d+)-(%d+)')
  if a_ms ~= b_ms then return tonumber(a_ms) > tonumber(b_ms) end
  return tonumber(a_number) > tonumber(b_number)
end

-- Return the first entry of this package from an id on.
local function from(id)
  local count = 1
  while true do
    local entries = redis.call('XRANGE', log, id, '+', 'COUNT', count)
    for _, entry in ipairs(entries) do
      if ours(entry) then return entry end
    end
    if #entries < count then return nil end
    id, count = '(' .. entries[#entries][1], 256
  end
end

-- Describe the end of the log: its newest id and its length; its epoch and the bytes of
-- all entries so far, if an entry of this package is found; and the note's oldest entry
-- with its start. Entries only ever leave the log, so its oldest entry is never before
-- the one in the note.
local function newest()
  local length = redis.call('XLEN', log)
  if length == 0 then return nil end
  local noted = redis.call('HGET', notes, 'tail')
  if noted then
    local epoch, id, stop, count, first, start = string.match(
      noted, '^(%w+) (%d+%-%d+) (%d+) (%d+) (%d+%-%d+) (%d+)$')
    if tonumber(count) == length
       and #redis.call('XRANGE', log, '(' .. id, '+', 'COUNT', 1) == 0 then
      return {id = id, length = length, epoch = epoch, stop = tonumber(stop),
              first = first, start = tonumber(start)}
    end
  end
  local entries = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  local tail = {id = entries[1][1], length = length, first = '0-0', start = 0}
  if not ours(entries[1]) then
    entries = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 256)
  end
  for _, entry in ipairs(entries) do
    if ours(entry) then
      tail.epoch, tail.stop = entry[2][2], entry[2][6] + entry[2][8]
      if tail.stop > 999999999999999 then tail.stop = 0 end
      break
    end
  end
  return tail
end

local function foreign()
  return redis.error_reply('ERR the newest entries were not written by this package')
end
"""

# Trimming, and the notes about trimmed entries: the id of the last one of each address.
#
# KEYS[3]   the newer notes, a hash
# KEYS[4]   the older notes, a hash
#
# When the newer hash has `most_notes`, it replaces the older one. Nothing is known any
# more of the entries up to the last one that was noted in the older hash: `unknown` in
# the notes beside the log. `noted` there has the bytes of all entries that were trimmed
# with a note, and before. A program with an earlier version of these scripts trims
# without notes. Then the oldest entry has more bytes before it. Entries that are apart
# have no bytes, and may leave without a note. `missed` is the newest entry that has
# left from between others before its time.
#
# The entries leave first, and are noted then: at Redis's maxmemory this makes the room
# for the notes. If a script ends in between, `noted` tells so.
#
# A program with an earlier version of these scripts has no notes for patterns. Then
# `trimmed`, the newest entry that was noted, is not `patterned`. Nothing is known for
# patterns up to the entry `unknown-patterns`.
TRIM = (
    f"""
local most_dots = {MAX_DOTS}
"""
    """
-- Control records, short-lived ones and those with bounds of their channel have no
-- bytes, and bounds of their own.
local function is_apart(entry)
  return ours(entry) and entry[2][8] == '0'
end

-- Return the head of an event's stored form; nil for any other form.
local function head_of(body)
  local read, head = pcall(cjson.decode, string.match(body, '^[^\\n]*'))
  if read and type(head) == 'table' and type(head.to) == 'table' and head.event then
    return head
  end
end

-- Return addresses and the patterns that cover their channels, each once.
local function heard_at(addresses)
  local found, seen = {}, {}
  local function add(address)
    if not seen[address] then
      seen[address] = true
      table.insert(found, address)
    end
  end
  for _, address in ipairs(addresses) do
    add(address)
    if string.sub(address, 1, 2) == 'c:' then
      local dot, dots = string.find(address, '.', 4, true), 0
      while dot and dots < most_dots do
        add(string.sub(address, 1, dot) .. '*')
        dot, dots = string.find(address, '.', dot + 1, true), dots + 1
      end
    end
  end
  return found
end

-- Return the addresses that lose an event by the trim of its entry.
local function addresses_of(entry)
  local head = ours(entry) and head_of(entry[2][10])
  if not head then return {} end
  local ttl = tonumber(head.ttl)
  if ttl and (ttl == 0 or ms_of(entry[1]) + ttl * 1000 <= now) then return {} end
  local to = {}
  for _, address in ipairs(head.to) do
    if type(address) == 'string' then table.insert(to, address) end
  end
  return heard_at(to)
end

-- Note that entries have left, from the beginning of the log or from between others.
local function note(gone, is_between)
  local known = redis.call(
    'HMGET', notes, 'noted', 'unknown', 'moved', 'trimmed', 'missed', 'patterned',
    'unknown-patterns')
  local noted, unknown = tonumber(known[1] or 0), known[2] or '0-0'
  local moved, last = known[3] or '0-0', known[4] or '0-0'
  local unknown_patterns = known[7] or '0-0'
  if (known[6] or '0-0') ~= last then unknown_patterns = last end
  -- An address may have a note already, of a later entry that has left from between
  -- others.
  local missed = known[5] or '0-0'
  local function has_later(address, id)
    if is_later(id, missed) then return false end
    local found = redis.call('HGET', KEYS[3], address)
    return found and is_later(found, id)
  end
  local held = redis.call('HLEN', KEYS[3])
  for _, entry in ipairs(gone) do
    local args = {}
    if ours(entry) then
      if not is_between then
        if tonumber(entry[2][6]) ~= noted and is_later(entry[2][4], unknown) then
          unknown = entry[2][4]
        end
        noted = entry[2][6] + entry[2][8]
      end
      for _, address in ipairs(addresses_of(entry)) do
        if not has_later(address, entry[1]) then
          table.insert(args, address)
          table.insert(args, entry[1])
        end
      end
    end
    if held > 0 and held + #args / 2 > most_notes then
      redis.call('UNLINK', KEYS[4])
      redis.call('RENAME', KEYS[3], KEYS[4])
      if is_later(moved, unknown) then unknown = moved end
      moved, held = last, 0
    end
    for at = 1, #args, 1000 do
      held = held + redis.call(
        'HSET', KEYS[3], unpack(args, at, math.min(at + 999, #args)))
    end
    if is_later(entry[1], last) then last = entry[1] end
  end
  redis.call('HSET', notes, 'noted', string.format('%.0f', noted),
    'unknown', unknown, 'moved', moved, 'trimmed', last,
    'patterned', last, 'unknown-patterns', unknown_patterns)
end

-- Trim the oldest entries beyond the bounds, but not the newest entry of all, and at
-- most 500: the next call goes on. `events` are all entries that are not apart. Return
-- the new length and number of events, an id and a start that are not beyond those of
-- the oldest entry, and how many entries have left.
local function trim(tail, events, most, oldest, beyond)
  local length, first, start = tail.length, tail.first, tail.start
  local function is_due()
    return events > most or ms_of(first) < oldest or start < beyond
  end
  local gone, from, count, ended = {}, '-', 1, false
  while not ended and is_due() and #gone < 500 do
    local entries = redis.call('XRANGE', log, from, '+', 'COUNT', count)
    ended = #entries < count
    for _, entry in ipairs(entries) do
      first, start = entry[1], ours(entry) and tonumber(entry[2][6]) or 0
      if first == tail.id or not is_due() then
        ended = true
        break
      end
      table.insert(gone, entry)
      length = length - 1
      if not is_apart(entry) then events = events - 1 end
    end
    from, count = '(' .. first, 50
  end
  if #gone > 0 then
    redis.call('XTRIM', log, 'MAXLEN', length)
    note(gone)
  end
  return length, events, first, start, #gone
end
"""
)

# The script that finds the place where a reader of some addresses goes on after a trim.
# It returns the epoch and the id of the place, with a space between them, or an empty
# text if an event for the reader was trimmed, or may have been.
#
# ARGV[1]    the epoch of the reader's cursor
# ARGV[2]    the id of the reader's cursor
# ARGV[3]    the milliseconds to keep; empty: all
# ARGV[4]    how many notes about trimmed entries one hash holds
# ARGV[5-]   the reader's addresses
BRIDGE = (
    COMMON
    + "local most_notes = tonumber(ARGV[4])"
    + TRIM
    + """
local tail = newest()
if not tail or tail.epoch ~= ARGV[1] or is_later(ARGV[2], tail.id) then return '' end
local oldest = ARGV[3] ~= '' and now - ARGV[3] or 0
local function place(id)
  return tail.epoch .. ' ' .. (is_later(ARGV[2], id) and ARGV[2] or id)
end
-- Entries that are too old are trimmed only when one is appended.
local left, _
repeat
  tail.length, _, tail.first, tail.start, left = trim(tail, 0, 0, oldest, 0)
until left == 0
local first = from('-')
if not first then return '' end
local known = redis.call(
  'HMGET', notes, 'noted', 'unknown', 'trimmed', 'patterned', 'unknown-patterns')
local unknown_patterns = known[5] or '0-0'
if (known[4] or '0-0') ~= (known[3] or '0-0') then unknown_patterns = known[3] end
if is_later(known[2] or '0-0', ARGV[2])
   or (is_later(first[2][4], ARGV[2])
       and tonumber(first[2][6]) ~= tonumber(known[1] or 0)) then return '' end
local wanted = {}
for at = 5, #ARGV, 1000 do
  local names = {unpack(ARGV, at, math.min(at + 999, #ARGV))}
  for _, key in ipairs({KEYS[3], KEYS[4]}) do
    for _, last in ipairs(redis.call('HMGET', key, unpack(names))) do
      if last and is_later(last, ARGV[2]) then return '' end
    end
  end
  for _, name in ipairs(names) do
    local is_pattern = string.sub(name, 1, 2) == 'c:' and string.sub(name, -2) == '.*'
    if is_pattern and is_later(unknown_patterns, ARGV[2]) then return '' end
    wanted[name] = true
  end
end
if ms_of(first[1]) >= oldest then return place(first[2][4]) end
-- The newest entry is too old as well. It stays, since it holds the epoch.
if is_later(first[1], ARGV[2]) then
  for _, address in ipairs(addresses_of(first)) do
    if wanted[address] then return '' end
  end
end
return place(first[1])
"""
)
