"""An entry of a log in Redis: its ids, its fields, the script that appends it.

What the script and the classes here take for an entry of this package is the same;
whatever else stands in the stream, somebody else has written. Knows no connection.
"""

import re
from collections.abc import Iterable
from itertools import starmap
from typing import NamedTuple, Self

from ...events.record import Cursor

# An entry's id is the time in milliseconds and a number, drawn so that two servers that
# each believe to be the only one do not give the same id; both fit into one offset.
NUMBER_BITS = 18
MAX_FIRST_NUMBER = 2**17

# What the script below lets pass as an entry of this package, and writes. An epoch goes
# to clients as it is; Lua counts exactly up to 15 digits.
_EPOCH = re.compile(rb"[0-9a-z]{1,32}")
_NUMBER = re.compile(rb"[0-9]{1,15}")
_ENTRY_ID = re.compile(rb"(?=.{3,41}\Z)[0-9]+-[0-9]+")

# KEYS: the log, its retention, the newer and the older idempotency keys. ARGV: the
# body, its size, an epoch for a new log, a number for the id, then events, milliseconds
# and bytes to be kept (empty: as the log says), an idempotency key (empty: none), for
# how many milliseconds and among how many keys it holds, and 1 if this is only to begin
# a log that is not there.
#
# A Redis key for each idempotency key would bound them by time alone. Of two hashes the
# newer one becomes the older when it is a day old or full: so each holds for long
# enough, and both together are bounded.
#
# What somebody else has written is passed over: of the last 256 entries the newest of
# ours tells the epoch. An id so high that a cursor has no room for what comes after it
# would be the end of the log, so a new one is begun.
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
  -- A key that outlived its log names an event that is lost.
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
    """An entry of the stream."""

    cursor: Cursor
    before: Cursor
    start: int
    size: int
    body: bytes

    @property
    def time(self) -> float:
        """When it was appended, in seconds since 1970."""
        return (self.cursor.offset >> NUMBER_BITS) / 1000

    @classmethod
    def of(cls, entry_id: bytes, fields: dict[bytes, bytes]) -> Self | None:
        """Read an entry; None for one that is not of this package."""
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


# As redis-py returns an entry: its id and its fields.
Raw = tuple[bytes, dict[bytes, bytes]]


class Chain(NamedTuple):
    """Entries that follow a cursor with nothing missing between, and where they lead.

    What is not of this package is a link too: the entry after it names it.
    """

    entries: list[Entry]
    cursor: Cursor
    foreign: int

    @classmethod
    def of(cls, raw: Iterable[Raw], after: Cursor) -> Self:
        """Follow the chain from a cursor on, as far as it holds."""
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
    """Return the first entry of this package, None if there is none."""
    return next(filter(None, starmap(Entry.of, raw)), None)


def cursor_of(answer: bytes) -> Cursor:
    """Return the cursor that the script answers with."""
    epoch, _, entry_id = answer.partition(b" ")
    return Cursor(epoch.decode(), offset_of(entry_id))


def offset_of(entry_id: bytes) -> int:
    """Return the offset that stands for an entry's id."""
    ms, _, number = entry_id.partition(b"-")
    # A number that is not ours has no room; what comes after it does.
    return (int(ms) << NUMBER_BITS) + min(int(number), 1 << NUMBER_BITS)


def id_of(offset: int) -> str:
    """Return the id of the entry that an offset stands for."""
    return f"{offset >> NUMBER_BITS}-{offset & (1 << NUMBER_BITS) - 1}"
