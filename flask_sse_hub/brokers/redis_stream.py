"""One connection to a log in Redis: appending, reading, and where it has gaps.

A log is one stream. Each entry names the epoch, the entry before it, and the bytes of
all before it, so that whoever reads on can prove that nothing is missing. Everything
here waits for the network. One object is used by one thread.
"""

import random
import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import redis

from ..address import Address
from ..errors import BrokerUnavailable
from ..event import Event
from ..history import Cursor, GapReason, Record, Retention
from . import codec
from .base import IDEMPOTENCY_KEYS, IDEMPOTENCY_SECONDS, Batch, Replay, addressed
from .redis_url import Connect

# An entry's id is the time in milliseconds and a number, drawn so that two servers that
# each believe to be the only one do not give the same id; both fit into one offset.
_NUMBER_BITS = 18
_MAX_FIRST_NUMBER = 2**17

# Entries read in one piece: enough to keep up with any publisher.
_PAGE_ENTRIES = 256

# A record for nobody. A log always has an entry, so that its epoch is never lost.
_NOBODY = Record((), Event(""))

# KEYS: the log, its retention, the newer and the older idempotency keys. ARGV: the
# body, its size, an epoch for a new log, a number for the id, then events, milliseconds
# and bytes to be kept (empty: as the log says), an idempotency key (empty: none), for
# how many milliseconds and among how many keys it holds, and 1 if this is only to begin
# a log that is not there.
#
# A Redis key for each idempotency key would bound them by time alone. Of two hashes the
# newer one becomes the older when it is a day old or full: so each holds for long
# enough, and both together are bounded.
_APPEND = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ms, number = now, tonumber(ARGV[4])
local epoch, before, total = ARGV[3], '0-0', 0
local key = ARGV[8]
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  local fields = last[2]
  before = last[1]
  if fields[1] == 'e' then
    epoch = fields[2]
    total = fields[6] + fields[8]
  end
  if ARGV[11] == '1' then return epoch .. ' ' .. before end
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
      number = number % 64
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
    if first[1] == id or first[2][1] == 'e' and first[2][6] + 0 >= beyond then break end
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
    def of(cls, entry: tuple[bytes, dict[bytes, bytes]]) -> Self:
        """Read an entry. Raises redis.DataError for one that is not of this package."""
        entry_id, fields = entry
        try:
            epoch = fields[b"e"].decode()
            return cls(
                Cursor(epoch, _offset(entry_id)),
                Cursor(epoch, _offset(fields[b"p"])),
                int(fields[b"t"]),
                int(fields[b"s"]),
                fields[b"b"],
            )
        except (KeyError, ValueError) as error:
            raise redis.DataError(
                f"the entry {entry_id!r} was written by something else"
            ) from error


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
        #: Records that could not be read, and were passed over.
        self.malformed = 0
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
                pipeline.eval(_APPEND, 4, *self._arguments(record))
            else:
                pipeline.evalsha(self._script.sha, 4, *self._arguments(record))
        return list(pipeline.execute(raise_on_error=False))

    def _tell_retention(self) -> None:
        """Note in the log how much of it is kept, for those that only publish."""
        if self._retention is not None:
            keep = zip(("events", "ms", "bytes"), self._kept(), strict=True)
            self._client.hset(self._key + "retention", mapping=dict(keep))

    def _arguments(self, record: Record, *, only_begin: bool = False) -> list[Any]:
        return [
            self._log,
            self._key + "retention",
            self._key + "keys",
            self._key + "keys-before",
            codec.encode(record),
            record.size,
            secrets.token_hex(6),
            random.randrange(_MAX_FIRST_NUMBER),
            *self._kept(),
            record.idempotency_key or "",
            int(IDEMPOTENCY_SECONDS * 1000),
            IDEMPOTENCY_KEYS,
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
            entries = [_Entry.of(entry) for entry in answer[0][1]] if answer else []
            if not entries or entries[0].before != after:
                gap, head = self._judge(after)
                if entries:
                    # Whatever came in between is gone, though the cursor may be there.
                    gap = gap or GapReason.EPOCH
                if gap is None:
                    return None
                # Perhaps of a new log, which somebody else began.
                self._tell_retention()
                return Batch((), head, gap)
        return Batch(tuple(self._records(entries)), entries[-1].cursor)

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
                entries = self._range(f"({_entry_id(cursor)}", "+", _PAGE_ENTRIES)
                if not entries or entries[0].before != cursor:
                    if found:
                        # Who reads on is told.
                        break
                    gap, head = self._judge(cursor)
                    return Replay((), head, gap or GapReason.EPOCH)
                for record in addressed(self._records(entries), addresses):
                    found.append(record)
                    if len(found) == page:
                        return Replay(tuple(found), record.cursor)
                cursor = entries[-1].cursor
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
            last = self._last()
            if last is None:
                return self._head()
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
            return found.before if found else last.cursor

    def _head(self) -> Cursor:
        last = self._last()
        if last is not None:
            return last.cursor
        arguments = self._arguments(_NOBODY, only_begin=True)
        return _cursor(self._client.eval(_APPEND, 4, *arguments))

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
        if after in (floor, head) or self._range(entry_id, entry_id, 1):
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
        return next(iter(self._range(_id_of(offset), "+", 1)), None)

    def _last(self) -> _Entry | None:
        return next(map(_Entry.of, self._client.xrevrange(self._log, count=1)), None)

    def _range(self, first: str, last: str, count: int) -> list[_Entry]:
        return [
            _Entry.of(entry)
            for entry in self._client.xrange(self._log, first, last, count=count)
        ]

    def _records(self, entries: Sequence[_Entry]) -> Iterator[Record]:
        for entry in entries:
            try:
                yield codec.decode(entry.body, cursor=entry.cursor, time=entry.time)
            except codec.Malformed:
                self.malformed += 1


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
    return int(ms) << _NUMBER_BITS | int(number)


def _entry_id(cursor: Cursor) -> str:
    return _id_of(cursor.offset)


def _id_of(offset: int) -> str:
    return f"{offset >> _NUMBER_BITS}-{offset & (1 << _NUMBER_BITS) - 1}"
