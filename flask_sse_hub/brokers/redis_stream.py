"""One connection to a log in Redis: appending, reading, and where it has gaps.

A log is one stream. Each entry names the epoch, the entry before it, and the bytes of
all before it, so that whoever reads on can prove that nothing is missing. Everything
here waits for the network. One object is used by one thread.
"""

import random
import re
import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import starmap
from typing import Any, NamedTuple, Self

import redis

from ..address import Address
from ..errors import BrokerUnavailable
from ..event import Event
from ..history import Cursor, GapReason, Record, Retention
from . import codec
from .base import Batch, Replay, addressed
from .redis_url import Connect

# An entry's id is the time in milliseconds and a number, drawn so that two servers that
# each believe to be the only one do not give the same id; both fit into one offset.
_NUMBER_BITS = 18
_MAX_FIRST_NUMBER = 2**17

# Entries read in one piece: enough to keep up with any publisher.
_PAGE_ENTRIES = 256

# What the script below lets pass as an entry of this package, and writes. An epoch goes
# to clients as it is; Lua counts exactly up to 15 digits.
_EPOCH = re.compile(rb"[0-9a-z]{1,32}")
_NUMBER = re.compile(rb"[0-9]{1,15}")
_ENTRY_ID = re.compile(rb"(?=.{3,41}\Z)[0-9]+-[0-9]+")

# For how long the second publish with the same idempotency key returns the first id.
_IDEMPOTENCY_MS = 300_000

# A record for nobody. A log always has an entry, so that its epoch is never lost.
_NOBODY = Record((), Event(""))

# KEYS: the log, its retention, an idempotency key. ARGV: the body, its size, an epoch
# for a new log, a number for the id, then events, milliseconds and bytes to be kept
# (empty: as the log says), how long the key holds in milliseconds (0: there is none),
# and 1 if this is only to begin a log that is not there.
#
# What somebody else has written is passed over: of the last 256 entries the newest of
# ours tells the epoch. An id so high that a cursor has no room for what comes after it
# would be the end of the log, so a new one is begun.
_APPEND = """
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
local holds = tonumber(ARGV[8])
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
      if ARGV[9] == '1' then return epoch .. ' ' .. before end
      break
    end
  end
  -- A key that outlived its log names an event that is lost.
  local known = holds > 0 and redis.call('GET', KEYS[3])
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
if holds > 0 then redis.call('SET', KEYS[3], cursor, 'PX', ARGV[8]) end
return cursor
"""


class _Entry(NamedTuple):
    """An entry of the stream."""

    cursor: Cursor
    before: Cursor
    start: int
    size: int
    body: bytes

    @property
    def time(self) -> float:
        return (self.cursor.offset >> _NUMBER_BITS) / 1000

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
            Cursor(epoch, _offset(entry_id)),
            Cursor(epoch, _offset(before_id)),
            int(start),
            int(size),
            body,
        )


# As redis-py returns an entry: its id and its fields.
_Raw = tuple[bytes, dict[bytes, bytes]]


class _Chain(NamedTuple):
    """Entries that follow a cursor with nothing missing between, and where they lead.

    What is not of this package is a link too: the entry after it names it.
    """

    entries: list[_Entry]
    cursor: Cursor
    foreign: int

    @classmethod
    def of(cls, raw: Iterable[_Raw], after: Cursor) -> Self:
        """Follow the chain from a cursor on, as far as it holds."""
        entries, foreign = [], 0
        for entry_id, fields in raw:
            entry = _Entry.of(entry_id, fields)
            if entry is None:
                foreign += 1
                after = Cursor(after.epoch, _offset(entry_id))
            elif entry.before == after:
                entries.append(entry)
                after = entry.cursor
            else:
                break
        return cls(entries, after, foreign)


class StreamLog:
    """One connection to the stream of a log."""

    def __init__(
        self,
        connect: Connect,
        retention: Retention | None,
        *,
        name: str,
        clock: Callable[[], float],
        timeout: float,
    ) -> None:
        # In braces: a cluster keeps all keys of one log together.
        self._key = f"sse-hub:{{{name}}}:"
        self._log = self._key + "log"
        self._retention = retention
        self._clock = clock
        self._client = connect(timeout)
        self._script = self._client.register_script(_APPEND)

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        self._client.connection_pool.disconnect()

    def append(self, records: Sequence[Record]) -> list[Cursor | BrokerUnavailable]:
        """Append records, in one round trip; return where each is, or what failed."""
        with _translated():
            answers = self._append(records)
            for at, answer in enumerate(answers):
                if isinstance(answer, redis.exceptions.NoScriptError):
                    # Restarted since. It has done nothing, so it may be sent again.
                    answers[at] = self._append([records[at]], load=True)[0]
        return [
            _unavailable(answer) if isinstance(answer, Exception) else _cursor(answer)
            for answer in answers
        ]

    def _append(self, records: Sequence[Record], *, load: bool = False) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for record in records:
            if load:
                pipeline.eval(_APPEND, 3, *self._arguments(record))
            else:
                pipeline.evalsha(self._script.sha, 3, *self._arguments(record))
        return list(pipeline.execute(raise_on_error=False))

    def _tell_retention(self) -> None:
        """Note in the log how much of it is kept, for those that only publish."""
        if self._retention is not None:
            keep = zip(("events", "ms", "bytes"), self._kept(), strict=True)
            self._client.hset(self._key + "retention", mapping=dict(keep))

    def _arguments(self, record: Record, *, only_begin: bool = False) -> list[Any]:
        key = record.idempotency_key
        return [
            self._log,
            self._key + "retention",
            f"{self._key}once:{key}" if key is not None else self._log,
            codec.encode(record),
            record.size,
            secrets.token_hex(6),
            random.randrange(_MAX_FIRST_NUMBER),
            *self._kept(),
            _IDEMPOTENCY_MS if key is not None else 0,
            int(only_begin),
        ]

    def _kept(self) -> tuple[int | str, int | str, int | str]:
        keep = self._retention
        if keep is None:
            return "", "", ""
        most = 2**53  # Lua's numbers are exact up to there
        return min(keep.events, most), int(keep.seconds * 1000), min(keep.bytes, most)

    def read(self, after: Cursor, *, wait: float) -> Batch | None:
        """Return what comes after a cursor, waiting for it; None if nothing came."""
        with _translated():
            answer = self._client.xread(
                {self._log: _entry_id(after)},
                count=_PAGE_ENTRIES,
                block=round(wait * 1000),
            )
            chain = _Chain.of(answer[0][1] if answer else (), after)
            if chain.cursor == after:
                gap, head = self._judge(after)
                if answer:
                    # Whatever came in between is gone, though the cursor may be there.
                    gap = gap or GapReason.EPOCH
                if gap is None:
                    return None
                # Perhaps of a new log, which somebody else began.
                self._tell_retention()
                return Batch((), head, gap)
        records = tuple(_records(chain.entries))
        malformed = chain.foreign + len(chain.entries) - len(records)
        return Batch(records, chain.cursor, malformed=malformed)

    def replay(
        self, after: Cursor, *, addresses: Sequence[Address] | None, page: int
    ) -> Replay:
        """Return up to ``page`` records after a cursor for any of these addresses."""
        found: list[Record] = []
        cursor = after
        with _translated():
            gap, head = self._judge(after)
            if gap is not None:
                return Replay((), head, gap)
            while cursor != head:
                first = f"({_entry_id(cursor)}"
                chain = _Chain.of(self._range(first, _PAGE_ENTRIES), cursor)
                if chain.cursor == cursor:
                    if found:
                        # Who reads on is told.
                        break
                    gap, head = self._judge(cursor)
                    return Replay((), head, gap or GapReason.EPOCH)
                for record in addressed(_records(chain.entries), addresses):
                    found.append(record)
                    if len(found) == page:
                        return Replay(tuple(found), record.cursor)
                cursor = chain.cursor
                if cursor.offset > head.offset:
                    break
        return Replay(tuple(found), cursor)

    def head(self) -> Cursor:
        """Return the cursor of the newest entry, of a new log if there is none."""
        with _translated():
            return self._head()

    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about so many bytes remain."""
        with _translated():
            self._tell_retention()
            newest = self._last()
            if newest is None:
                return self._head()
            last, head = newest
            end = last.start + last.size

            def fits(offset: int) -> bool:
                first = self._at_or_after(offset)
                return first is None or end - first.start <= max_bytes

            first = self._first()
            oldest = max(first.cursor.offset if first else 0, self._oldest_offset())
            if not fits(oldest):
                # Only a log that is longer than a worker's memory takes so many looks.
                places = range(oldest, last.cursor.offset + 1)
                oldest = places[0] + bisect_left(places, x=True, key=fits)
            found = self._at_or_after(oldest)
            return Cursor(head.epoch, found.before.offset) if found else head

    def _head(self) -> Cursor:
        newest = self._last()
        if newest is not None:
            return newest[1]
        arguments = self._arguments(_NOBODY, only_begin=True)
        return _cursor(self._client.eval(_APPEND, 3, *arguments))

    def _judge(self, after: Cursor) -> tuple[GapReason | None, Cursor]:
        """Tell whether everything after a cursor is here, or why not, and the head."""
        first = self._first()
        head = self._head()
        if first is None or after.epoch != head.epoch:
            return GapReason.EPOCH, head
        if after.offset > head.offset:
            return GapReason.AHEAD, head
        young = self._at_or_after(max(first.cursor.offset, self._oldest_offset()))
        floor = young.before if young else head
        if after.offset < floor.offset:
            return GapReason.EXPIRED, head
        entry_id = _entry_id(after)
        if after in (floor, head) or self._range(entry_id, 1, last=entry_id):
            return None, head
        # It lies among what is here, but the log has lost it.
        return GapReason.EPOCH, head

    def _oldest_offset(self) -> int:
        if self._retention is None:
            return 0
        oldest_ms = (self._clock() - self._retention.seconds) * 1000
        return max(0, int(oldest_ms)) << _NUMBER_BITS

    def _first(self) -> _Entry | None:
        return self._at_or_after(0)

    def _at_or_after(self, offset: int) -> _Entry | None:
        first, count = _id_of(offset), 1
        while raw := self._range(first, count):
            found = _first_of_ours(raw)
            if found is not None:
                return found
            first, count = f"({raw[-1][0].decode()}", _PAGE_ENTRIES
        return None

    def _last(self) -> tuple[_Entry, Cursor] | None:
        """Return the newest entry of ours, and the head; None for an empty stream."""
        for count in (1, _PAGE_ENTRIES):
            raw: list[_Raw] = self._client.xrevrange(self._log, count=count)
            if not raw:
                return None
            found = _first_of_ours(raw)
            if found is not None:
                return found, Cursor(found.cursor.epoch, _offset(raw[0][0]))
        raise redis.DataError("its newest entries were written by something else")

    def _range(self, first: str, count: int, *, last: str = "+") -> list[_Raw]:
        return list(self._client.xrange(self._log, first, last, count=count))


def _first_of_ours(raw: Iterable[_Raw]) -> _Entry | None:
    return next(filter(None, starmap(_Entry.of, raw)), None)


def _records(entries: Iterable[_Entry]) -> Iterator[Record]:
    for entry in entries:
        with suppress(codec.Malformed):
            yield codec.decode(entry.body, cursor=entry.cursor, time=entry.time)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise BrokerUnavailable for what redis-py raises."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> BrokerUnavailable:
    text = str(error)
    remedy = ""
    if "XTRIM" in text or "syntax error" in text:
        remedy = "; Redis 6.2 or later is needed"
    elif "OOM" in text:
        remedy = "; Redis has reached its maxmemory"
    elif "WRONGTYPE" in text or isinstance(error, redis.DataError):
        remedy = (
            "; something else uses the key of this log: choose another SSE_HUB_NAME"
        )
    elif isinstance(error, redis.ReadOnlyError):
        remedy = "; this is a replica: name its master, or its Sentinels"
    return BrokerUnavailable(f"Redis: {text}{remedy}")


def _cursor(answer: bytes) -> Cursor:
    epoch, _, entry_id = answer.partition(b" ")
    return Cursor(epoch.decode(), _offset(entry_id))


def _offset(entry_id: bytes) -> int:
    ms, _, number = entry_id.partition(b"-")
    # A number that is not ours has no room; what comes after it does.
    return (int(ms) << _NUMBER_BITS) + min(int(number), 1 << _NUMBER_BITS)


def _entry_id(cursor: Cursor) -> str:
    return _id_of(cursor.offset)


def _id_of(offset: int) -> str:
    return f"{offset >> _NUMBER_BITS}-{offset & (1 << _NUMBER_BITS) - 1}"
