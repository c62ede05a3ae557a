"""An entry of a log in Redis: its id, its fields and the script that appends it.

The Lua script and the classes here recognise the entries of this package by the same
rules. All other entries in the stream were written by another program. This module does
not know connections.
"""

import re
from collections.abc import Iterable
from itertools import starmap
from typing import NamedTuple, Self

from ...events.record import Cursor

# An entry's id is the time in milliseconds and a number; both fit into one offset. The
# number is drawn at random, so that two servers that each believe to be the master do
# not give the same id.
NUMBER_BITS = 18
MAX_FIRST_NUMBER = 2**17

# The fields of an entry of this package. The script below writes and accepts the same
# forms. An epoch is sent to clients unchanged, so only safe characters are allowed. A
# number has at most 15 digits, because Lua counts exactly up to there.
_EPOCH = re.compile(rb"[0-9a-z]{1,32}")
_NUMBER = re.compile(rb"[0-9]{1,15}")
_ENTRY_ID = re.compile(rb"(?=.{3,41}\Z)[0-9]+-[0-9]+")

# The script that appends an entry and trims the log. It returns the epoch and the id of
# the entry, with a space between them.
#
# KEYS[1]   the log, a stream
# KEYS[2]   the retention that the app has noted, a hash
# KEYS[3]   the newer idempotency keys, a hash
# KEYS[4]   the older idempotency keys, a hash
# ARGV[1]   the body
# ARGV[2]   the size that retention counts, in bytes
# ARGV[3]   the epoch, if a new log is begun
# ARGV[4]   a random number for the id
# ARGV[5-7] the events, milliseconds and bytes to keep; empty: as KEYS[2] says
# ARGV[8]   an idempotency key; empty: none
# ARGV[9]   how many milliseconds an idempotency key is remembered
# ARGV[10]  how many idempotency keys one hash holds
# ARGV[11]  1: only begin a log if there is none, and return the head otherwise
#
# Two hashes bound the idempotency keys by time and by number. When the newer hash is a
# day old or full, it replaces the older one. Each key is thereby remembered for long
# enough. One Redis key for each idempotency key would bound them by time alone.
#
# Entries of other programs are passed over: the epoch is read from the newest entry of
# this package among the last 256. If the newest id is so high that a cursor has no room
# for a later one, nothing could be appended, so the script begins a new log.
APPEND = """
local function ours(entry)
  local fields = entry[2]
  return #fields == 10 and fields[1] == 'e' and fields[3] == 'p'
    and fields[5] == 't' and fields[7] == 's' and fields[9] == 'b'
    and #fields[2] <= 32 and string.match(fields[2], '^[0-9a-z]+$')
    and #fields[4] <= 41 and string.match(fields[4], '^[0-9]+%-[0-9]+$')
    and #fields[6] <= 15 and string.match(fields[6], '^[0-9]+$')
    and #fields[8] <= 15 and string.match(fields[8], '^[0-9]+$')
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ms, number = now, tonumber(ARGV[4])
local epoch, before, total = ARGV[3], '0-0', 0
local key = ARGV[8]
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local last = newest[1]
if last and tonumber(string.match(last[1], '%d+')) >= 3814697265625 then
  redis.call('DEL', KEYS[1])
  last = nil
end
if last then
  before = last[1]
  if not ours(last) then
    newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 256)
  end
  for _, entry in ipairs(newest) do
    if ours(entry) then
      epoch = entry[2][2]
      total = entry[2][6] + entry[2][8]
      if total > 999999999999999 then total = 0 end
      if ARGV[11] == '1' then return epoch .. ' ' .. before end
      break
    end
  end
  -- Idempotency keys may outlive their log. A key of another epoch names an event that
  -- is lost, so the record is appended.
  local known = key ~= ''
    and (redis.call('HGET', KEYS[3], key) or redis.call('HGET', KEYS[4], key))
  if known and string.sub(known, 1, #epoch) == epoch then return known end
  local last_ms, last_number = string.match(before, '(%d+)-(%d+)')
  if tonumber(last_ms) >= ms then
    ms = tonumber(last_ms)
    number = last_number + 1 + number % 64
    if number >= 262144 then
      ms = ms + 1
      number = 1 + number % 64
    end
  end
end

if not last and ARGV[5] ~= '' then
  redis.call('HSET', KEYS[2], 'events', ARGV[5], 'ms', ARGV[6], 'bytes', ARGV[7])
end

local id = string.format('%.0f-%.0f', ms, number)
redis.call('XADD', KEYS[1], id, 'e', epoch, 'p', before,
           't', string.format('%.0f', total), 's', ARGV[2], 'b', ARGV[1])

local keep = {ARGV[5], ARGV[6], ARGV[7]}
if keep[1] == '' then
  keep = redis.call('HMGET', KEYS[2], 'events', 'ms', 'bytes')
end
if keep[1] then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', keep[1])
  local oldest = math.max(0, now - keep[2])
  redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', oldest))
  local beyond = total + ARGV[2] - keep[3]
  while beyond > 0 do
    local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    if first[1] == id or ours(first) and first[2][6] + 0 >= beyond then break end
    redis.call('XDEL', KEYS[1], first[1])
  end
end

local cursor = epoch .. ' ' .. id
if key ~= '' then
  local held = redis.call('HLEN', KEYS[3])
  if held > 0 and (held >= tonumber(ARGV[10])
                   or redis.call('PTTL', KEYS[3]) <= tonumber(ARGV[9])) then
    redis.call('UNLINK', KEYS[4])
    redis.call('RENAME', KEYS[3], KEYS[4])
    held = 0
  end
  redis.call('HSET', KEYS[3], key, cursor)
  if held == 0 then redis.call('PEXPIRE', KEYS[3], 2 * ARGV[9]) end
end
return cursor
"""


class Entry(NamedTuple):
    """An entry of the stream that this package wrote.

    ``before`` is the cursor of the entry before it. ``start`` is the bytes of all
    entries before it, and ``size`` is its own.
    """

    cursor: Cursor
    before: Cursor
    start: int
    size: int
    body: bytes

    @property
    def time(self) -> float:
        """The time of its append, in seconds since 1970."""
        return (self.cursor.offset >> NUMBER_BITS) / 1000

    @classmethod
    def of(cls, entry_id: bytes, fields: dict[bytes, bytes]) -> Self | None:
        """Read an entry. Returns None if this package did not write it."""
        if tuple(fields) != (b"e", b"p", b"t", b"s", b"b"):
            return None
        name, before_id, start, size, body = fields.values()
        if not (
            _EPOCH.fullmatch(name)
            and _ENTRY_ID.fullmatch(before_id)
            and _NUMBER.fullmatch(start)
            and _NUMBER.fullmatch(size)
        ):
            return None
        epoch = name.decode()
        return cls(
            Cursor(epoch, offset_of(entry_id)),
            Cursor(epoch, offset_of(before_id)),
            int(start),
            int(size),
            body,
        )


# An entry as redis-py returns it: its id and its fields.
Raw = tuple[bytes, dict[bytes, bytes]]


class Chain(NamedTuple):
    """Entries that follow a cursor with none missing, and the cursor after them.

    An entry of another program is a link of the chain too, because the next entry of
    this package names it. ``foreign`` counts such entries.
    """

    entries: list[Entry]
    cursor: Cursor
    foreign: int

    @classmethod
    def of(cls, raw: Iterable[Raw], after: Cursor) -> Self:
        """Follow the chain from a cursor up to the first entry that is missing."""
        entries, foreign = [], 0
        for entry_id, fields in raw:
            entry = Entry.of(entry_id, fields)
            if entry is None:
                foreign += 1
                after = Cursor(after.epoch, offset_of(entry_id))
            elif entry.before == after:
                entries.append(entry)
                after = entry.cursor
            else:
                break
        return cls(entries, after, foreign)


def first_of_ours(raw: Iterable[Raw]) -> Entry | None:
    """Return the first entry of this package, or None if there is none."""
    return next(filter(None, starmap(Entry.of, raw)), None)


def cursor_of(answer: bytes) -> Cursor:
    """Return the cursor in an answer of the script."""
    epoch, _, entry_id = answer.partition(b" ")
    return Cursor(epoch.decode(), offset_of(entry_id))


def offset_of(entry_id: bytes) -> int:
    """Return the offset for an entry's id."""
    ms, _, number = entry_id.partition(b"-")
    # The number of another program's id may be too large for an offset. It is cut, so
    # that the offset still lies before that of every later entry of this package.
    return (int(ms) << NUMBER_BITS) + min(int(number), 1 << NUMBER_BITS)


def id_of(offset: int) -> str:
    """Return the entry's id for an offset."""
    return f"{offset >> NUMBER_BITS}-{offset & (1 << NUMBER_BITS) - 1}"
