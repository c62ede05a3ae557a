"""One connection to a log in Redis: appending, reading and finding gaps.

A log is one stream. Each entry holds the epoch, the id of the entry before it, and the
bytes of all entries before it. A reader thereby proves that no entry is missing. Every
call here may wait for the network. One object is used by one thread.
"""

import random
import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis

from ...errors import BrokerUnavailable
from ...events.event import Event
from ...events.record import Cursor, GapReason, Record, Retention
from .. import codec
from ..base import IDEMPOTENCY_KEYS, IDEMPOTENCY_SECONDS, LogBatch, Replay
from .entry import (
    APPEND,
    MAX_FIRST_NUMBER,
    NUMBER_BITS,
    Chain,
    Entry,
    Raw,
    cursor_of,
    first_of_ours,
    id_of,
    offset_of,
)
from .url import Connect

# How many entries one read returns: enough to keep up with any publisher.
_PAGE_ENTRIES = 256

# A record without addresses, which begins a new log. A log always has an entry, because
# its epoch is stored only in its entries.
_NOBODY = Record((), Event(""))


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
        # The braces are a hash tag: Redis Cluster puts all keys of one log on one node.
        self._key = f"sse-hub:{{{name}}}:"
        self._log = self._key + "log"
        self._retention = retention
        self._clock = clock
        self._client = connect(timeout)
        self._script = self._client.register_script(APPEND)

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        self._client.connection_pool.disconnect()

    def append(self, records: Sequence[Record]) -> list[Cursor | BrokerUnavailable]:
        """Append records in one round trip.

        Returns the cursor of each record, or the error that kept it out of the log.
        """
        with _translated():
            answers = self._append(records)
            for at, answer in enumerate(answers):
                if isinstance(answer, redis.exceptions.NoScriptError):
                    # Redis has restarted and lost the script. The script did not run,
                    # so sending the record again cannot publish it twice.
                    answers[at] = self._append([records[at]], load=True)[0]
        return [
            _unavailable(answer) if isinstance(answer, Exception) else cursor_of(answer)
            for answer in answers
        ]

    def _append(self, records: Sequence[Record], *, load: bool = False) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for record in records:
            if load:
                pipeline.eval(APPEND, 4, *self._arguments(record))
            else:
                pipeline.evalsha(self._script.sha, 4, *self._arguments(record))
        return list(pipeline.execute(raise_on_error=False))

    def _tell_retention(self) -> None:
        """Note in the log how much of it to keep; a Publisher has no setting for it."""
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
            random.randrange(MAX_FIRST_NUMBER),
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
        most = 2**53  # Lua's numbers are exact up to here
        return min(keep.events, most), int(keep.seconds * 1000), min(keep.bytes, most)

    def read(self, after: Cursor, *, wait: float) -> LogBatch | None:
        """Return the next batch after a cursor.

        Waits for up to ``wait`` seconds. Returns None if no entry arrived.
        """
        with _translated():
            answer = self._client.xread(
                {self._log: id_of(after.offset)},
                count=_PAGE_ENTRIES,
                block=round(wait * 1000),
            )
            chain = Chain.of(answer[0][1] if answer else (), after)
            if chain.cursor == after:
                gap, head = self._judge(after)
                if answer:
                    # The first entry does not follow the cursor: entries between them
                    # are lost, even if the cursor's own entry is still there.
                    gap = gap or GapReason.EPOCH
                if gap is None:
                    return None
                # Another process may have begun a new log, which lacks the retention.
                self._tell_retention()
                return LogBatch((), head, gap)
        records = tuple(_records(chain.entries))
        malformed = chain.foreign + len(chain.entries) - len(records)
        return LogBatch(records, chain.cursor, malformed=malformed)

    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return up to ``page`` records after a cursor."""
        found: list[Record] = []
        cursor = after
        with _translated():
            gap, head = self._judge(after)
            if gap is not None:
                return Replay((), head, gap)
            while cursor != head:
                first = f"({id_of(cursor.offset)}"
                chain = Chain.of(self._range(first, _PAGE_ENTRIES), cursor)
                if chain.cursor == cursor:
                    if found:
                        # The chain has a gap here. The next page reports it.
                        break
                    gap, head = self._judge(cursor)
                    return Replay((), head, gap or GapReason.EPOCH)
                for record in _records(chain.entries):
                    found.append(record)
                    if len(found) == page:
                        return Replay(tuple(found), record.cursor)
                cursor = chain.cursor
                if cursor.offset > head.offset:
                    break
        return Replay(tuple(found), cursor)

    def head(self) -> Cursor:
        """Return the cursor of the newest entry; begin a new log if there is none."""
        with _translated():
            return self._head()

    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about ``max_bytes`` of the log remain."""
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
                # A bisection by the cumulative size of entries. It takes many round
                # trips, but only where the log is larger than a worker's memory.
                places = range(oldest, last.cursor.offset + 1)
                oldest = places[0] + bisect_left(places, x=True, key=fits)
            found = self._at_or_after(oldest)
            return Cursor(head.epoch, found.before.offset) if found else head

    def _head(self) -> Cursor:
        newest = self._last()
        if newest is not None:
            return newest[1]
        arguments = self._arguments(_NOBODY, only_begin=True)
        return cursor_of(self._client.eval(APPEND, 4, *arguments))

    def _judge(self, after: Cursor) -> tuple[GapReason | None, Cursor]:
        """Return the reason why records after a cursor are missing, and the head.

        The reason is None if the log has every record after the cursor.
        """
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
        entry_id = id_of(after.offset)
        if after in (floor, head) or self._range(entry_id, 1, last=entry_id):
            return None, head
        # The cursor lies between the first entry and the head, but has no entry: the
        # log has lost that record, in a failover for example.
        return GapReason.EPOCH, head

    def _oldest_offset(self) -> int:
        if self._retention is None:
            return 0
        oldest_ms = (self._clock() - self._retention.seconds) * 1000
        return max(0, int(oldest_ms)) << NUMBER_BITS

    def _first(self) -> Entry | None:
        return self._at_or_after(0)

    def _at_or_after(self, offset: int) -> Entry | None:
        first, count = id_of(offset), 1
        while raw := self._range(first, count):
            found = first_of_ours(raw)
            if found is not None:
                return found
            first, count = f"({raw[-1][0].decode()}", _PAGE_ENTRIES
        return None

    def _last(self) -> tuple[Entry, Cursor] | None:
        """Return the newest entry of this package and the head; None if empty."""
        for count in (1, _PAGE_ENTRIES):
            raw: list[Raw] = self._client.xrevrange(self._log, count=count)
            if not raw:
                return None
            found = first_of_ours(raw)
            if found is not None:
                return found, Cursor(found.cursor.epoch, offset_of(raw[0][0]))
        raise redis.DataError("the newest entries were not written by this package")

    def _range(self, first: str, count: int, *, last: str = "+") -> list[Raw]:
        return list(self._client.xrange(self._log, first, last, count=count))


def _records(entries: Iterable[Entry]) -> Iterator[Record]:
    for entry in entries:
        with suppress(codec.Malformed):
            yield codec.decode(entry.body, cursor=entry.cursor, time=entry.time)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors of redis-py into BrokerUnavailable."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> BrokerUnavailable:
    text = str(error)
    remedy = ""
    if "XTRIM" in text or "syntax error" in text:
        remedy = "; use Redis 6.2 or later"
    elif "OOM" in text:
        remedy = "; Redis has reached its maxmemory: raise it or keep less history"
    elif "WRONGTYPE" in text or isinstance(error, redis.DataError):
        remedy = (
            "; another program uses the key of this log: choose another SSE_HUB_NAME"
        )
    elif isinstance(error, redis.ReadOnlyError):
        remedy = (
            "; this server is a replica: give the URL of its master or its Sentinels"
        )
    return BrokerUnavailable(f"Redis: {text}{remedy}")
