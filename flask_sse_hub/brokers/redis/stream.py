"""One connection to a log in Redis: appending, reading and finding gaps.

A log is one stream. Each entry holds the epoch, the id of the entry before it, and the
bytes of all entries before it. A reader thereby proves that no entry is missing. Every
call here may wait for the network. One object is used by one thread.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import redis
from redis.commands.core import Script

from ...errors import SSEHubError
from ...events.address import Address
from ...events.event import Event
from ...events.record import Cursor, GapReason, Record, Retention
from ...runtime.per_process import Home
from .. import codec
from ..base import PAGE_BYTES, LogBatch, LogState, Replay
from .arguments import (
    append_arguments,
    append_keys,
    bridge_arguments,
    kept,
    kept_state,
    runs,
)
from .entry import (
    Chain,
    Entry,
    PageSize,
    cursor_of,
    cursors_of,
    id_of,
    kept_record,
    offset_of,
)
from .refusals import refusal, translated
from .scripts import APPEND, ENDED, JUDGE, TAIL
from .trimming import BRIDGE
from .url import Connect

# How many ended sessions one call reads: Redis is busy for some milliseconds.
_PAGE_ENDED = 5_000

# A connection that was silent for this long is asked for a PONG before it is used. NATs
# and load balancers forget a silent connection without a word. The answer may take this
# long: far longer than a round trip, and short enough that a caller still has the time
# for a new connection.
_IDLE_SECONDS = 2.0
_PING_SECONDS = 0.4

# A record without addresses, which begins a new log. A log always has an entry, because
# its epoch is stored only in its entries.
_NOBODY = Record((), Event(""))

# How many keys of a log the script about trimming needs.
_TRIM_KEYS = 4


class _Place(NamedTuple):
    """The place of a cursor in the log, and the head of the log.

    ``gap`` is the reason why events after the cursor are missing, None if all are
    there. ``stop`` counts the bytes of all entries up to the cursor, if they are known.
    Control records, or short-lived ones before their time, may be missing after a
    cursor before ``removed``.
    """

    gap: GapReason | None
    head: Cursor
    stop: int | None = None
    removed: int = 0


class StreamLog:
    """One connection to the stream of a log."""

    def __init__(
        self,
        connect: Connect,
        retention: Retention | None,
        *,
        name: str,
        timeout: float,
        create: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # The braces are a hash tag: Redis Cluster puts all keys of one log on one node.
        self._key = f"sse-hub:{{{name}}}:"
        self._keys = append_keys(self._key)
        self._log, self._notes = self._keys[:2]
        self._state = self._key + "state"
        self._page = PageSize()
        self._home = Home()
        self._retention = retention
        self._create = create
        self._clock = clock
        self._client = connect(timeout)
        # The time of the last call, None before the first one.
        self._used: float | None = None
        self._appending = self._client.register_script(APPEND)
        self._bridging = self._client.register_script(BRIDGE)
        self._judging = self._client.register_script(JUDGE)
        self._tailing = self._client.register_script(TAIL)
        self._listing = self._client.register_script(ENDED)

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        self._client.connection_pool.disconnect()

    def _freshen(self) -> None:
        """Replace a connection that was silent for some time and answers no PING.

        Nothing of the call has been sent yet, so a new connection loses and repeats
        nothing.
        """
        now = self._clock()
        used, self._used = self._used, now
        if used is None or now - used < _IDLE_SECONDS:
            return
        pool = self._client.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_command("PING", check_health=False)
            if not connection.can_read(timeout=_PING_SECONDS):
                connection.disconnect()
            else:
                connection.read_response()
        except (redis.RedisError, OSError):
            connection.disconnect()
        finally:
            pool.release(connection)

    def append(self, records: Sequence[Record]) -> list[Cursor | SSEHubError]:
        """Append records in one round trip.

        Returns the cursor of each record, or the error that kept it out of the log.
        """
        found: list[Cursor | SSEHubError] = []
        with translated():
            self._freshen()
            together = list(runs(records))
            for run, answer in zip(together, self._append(together), strict=True):
                if isinstance(answer, redis.exceptions.NoScriptError):
                    # Redis has restarted and lost the script. The script did not run,
                    # so sending the records again cannot publish them twice.
                    (answer,) = self._append([run], load=True)
                if isinstance(answer, Exception):
                    found += [refusal(answer)] * len(run)
                else:
                    found += cursors_of(answer)
        return found

    def _append(self, runs: list[list[Record]], *, load: bool = False) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for record, *following in runs:
            arguments = append_arguments(
                record, self._retention, create=self._create, following=following
            )
            keys = len(self._keys)
            if load:
                pipeline.eval(APPEND, keys, *self._keys, *arguments)
            else:
                pipeline.evalsha(self._appending.sha, keys, *self._keys, *arguments)
        return list(pipeline.execute(raise_on_error=False))

    def _tell_retention(self) -> None:
        """Note in the log how much of it to keep; a Publisher has no setting for it."""
        if self._retention is not None:
            names = ("events", "ms", "bytes", "state-keys", "state-bytes")
            keep = zip(
                names,
                (*kept(self._retention), *kept_state(self._retention)),
                strict=True,
            )
            self._client.hset(self._notes, mapping=dict(keep))

    def _doubt_notes(self) -> None:
        """Note that nothing is known of the records trimmed so far.

        The log has lost records, in a failover for example. Another server may have
        given ids before a client's own id to records that the client does not have.
        """
        seconds, micros = self._client.time()
        now = f"{seconds * 1000 + micros // 1000}-0"
        self._client.hset(self._notes, "unknown", now)

    def read(self, after: Cursor, *, wait: float) -> LogBatch | None:
        """Return the next batch after a cursor.

        Waits for up to ``wait`` seconds. Returns None if no entry arrived.
        """
        with translated():
            answer = self._client.xread(
                {self._log: id_of(after.offset)},
                count=self._page.entries,
                block=round(wait * 1000),
            )
            if self._home.left:
                # A forked child has copied a read. The answer may be that of a later
                # read of its parent, and says nothing about the log.
                return None
            read = answer[0][1] if answer else ()
            self._page.learn(read)
            chain = Chain.of(read, after)
            if chain.cursor == after:
                place = self._judge(after)
                gap = place.gap
                if gap is None and after.offset >= place.removed:
                    # Short-lived records whose time was over may have left.
                    chain = Chain.of(read, after, stop=place.stop)
                if gap is None and answer and chain.cursor == after:
                    # The first entry does not follow the cursor: entries between them
                    # are lost, even if the cursor's own entry is still there.
                    is_trimmed = after.offset < place.removed
                    gap = GapReason.EXPIRED if is_trimmed else GapReason.EPOCH
                if gap is not None:
                    # Another process may have begun a new log, which lacks the
                    # retention.
                    self._tell_retention()
                    if gap is not GapReason.EXPIRED:
                        self._doubt_notes()
                    return LogBatch((), place.head, gap)
                if chain.cursor == after:
                    return None
        records = tuple(_records(chain.entries))
        malformed = chain.foreign + len(chain.entries) - len(records)
        return LogBatch(records, chain.cursor, malformed=malformed)

    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return up to ``page`` records after a cursor."""
        found: list[Record] = []
        size = 0
        cursor = after
        with translated():
            self._freshen()
            gap, head, stop, missed = self._judge(after)
            if gap is not None:
                return Replay((), head, gap)
            while cursor != head:
                first = f"({id_of(cursor.offset)}"
                read = self._client.xrange(self._log, first, count=self._page.entries)
                self._page.learn(read)
                chain = Chain.of(read, cursor, stop=stop)
                if chain.cursor == cursor:
                    if found:
                        # The chain has a gap here. The next page reports it.
                        break
                    place = self._judge(cursor)
                    return Replay((), place.head, place.gap or GapReason.EPOCH)
                if chain.entries:
                    stop = chain.entries[-1].stop
                for record in _records(chain.entries):
                    found.append(record)
                    size += record.size
                    if len(found) == page or size >= PAGE_BYTES:
                        return Replay(tuple(found), record.cursor, missed=missed)
                cursor = chain.cursor
                if cursor.offset > head.offset:
                    break
        return Replay(tuple(found), cursor, missed=missed)

    def bridge(self, after: Cursor, addresses: Sequence[Address]) -> Cursor | None:
        """Return where a reader of some addresses goes on after a trim."""
        with translated():
            self._freshen()
            answer = self._run(
                self._bridging,
                _TRIM_KEYS,
                *self._keys[:_TRIM_KEYS],
                *bridge_arguments(after, addresses, self._retention),
            )
        return cursor_of(answer) if answer else None

    def state(self) -> LogState:
        """Return the newest record of each address and key, in log order."""
        with translated():
            self._freshen()
            head = self._head()
            # A user with rights from before there was a state may read an empty one.
            held = self._client.hlen(self._state)
            read = self._client.hgetall(self._state) if held else {}
        records = (kept_record(field, value) for field, value in read.items())
        found = [each for each in records if each and each.cursor.epoch == head.epoch]
        return LogState(tuple(sorted(found, key=lambda each: each.cursor)), head)

    def head(self) -> Cursor:
        """Return the cursor of the newest entry; begin a new log if there is none."""
        with translated():
            self._freshen()
            return self._head()

    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about ``max_bytes`` of the log remain."""
        with translated():
            self._freshen()
            self._tell_retention()
            young = kept(self._retention)[1]
            answer = self._run(
                self._tailing, 2, self._log, self._notes, max_bytes, young
            )
            return cursor_of(answer) if answer else self._head()

    def ended(self, after: str) -> tuple[str, list[Address]]:
        """Return the next sessions that ended, and the place of the next page.

        The place is empty after the last page.
        """
        with translated():
            self._freshen()
            last, text = self._run(
                self._listing, 1, self._key + "ended", after, _PAGE_ENDED
            )
        return last.decode(), [Address(each) for each in text.decode().split("\n")]

    def _head(self) -> Cursor:
        arguments = append_arguments(
            _NOBODY, self._retention, create=self._create, only_begin=True
        )
        keys = self._keys
        return cursor_of(self._run(self._appending, len(keys), *keys, *arguments))

    def _judge(self, after: Cursor) -> _Place:
        """Tell where a cursor lies in the log, and whether events after it are lost."""
        entry_id = id_of(after.offset)
        answer = self._run(
            self._judging,
            2,
            self._log,
            self._notes,
            after.epoch,
            entry_id,
            kept(self._retention)[1],
        )
        if not answer:
            return _Place(GapReason.EPOCH, self._head())
        epoch, head_id, *places = answer
        head = Cursor(epoch.decode(), offset_of(head_id))
        if not places:
            return _Place(None, head)
        first_id, floor_id, is_there, stop, removed_id = places
        removed = offset_of(removed_id) if removed_id else 0
        if not first_id or after.epoch != head.epoch:
            return _Place(GapReason.EPOCH, head)
        if after.offset > head.offset:
            return _Place(GapReason.AHEAD, head)
        floor = offset_of(floor_id) if floor_id else head.offset
        if after.offset < floor:
            return _Place(GapReason.EXPIRED, head)
        if after.offset in (floor, head.offset) or is_there:
            return _Place(None, head, int(stop) if stop else None, removed)
        # The cursor lies between the first entry and the head, but has no entry. It may
        # be that of a control record that was removed. Or the log has lost a record, in
        # a failover for example.
        was_removed = after.offset < removed
        return _Place(GapReason.EXPIRED if was_removed else GapReason.EPOCH, head)

    def clock_ahead(self) -> float:
        """Return by how many seconds Redis's clock is ahead of this machine's."""
        with translated():
            sent = time.time()
            seconds, micros = self._client.time()
            return float(seconds + micros / 1e6 - (sent + time.time()) / 2)

    def evicts(self) -> str | None:
        """Return the policy by which this Redis evicts keys, None if it evicts none.

        None too if it does not say: a user may lack the right to ask, and some services
        have no such command.
        """
        with translated():
            try:
                memory = self._client.info("memory")
            except redis.ResponseError:
                return None
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        return policy if memory.get("maxmemory") and policy != "noeviction" else None

    def evicted(self) -> int:
        """Return how many keys this Redis has evicted since its start."""
        with translated():
            return int(self._client.info("stats").get("evicted_keys", 0))

    def _run(self, script: Script, keys: int, *arguments: Any) -> Any:
        """Run a script that may run twice. Loads it if Redis does not know it."""
        try:
            return self._client.evalsha(script.sha, keys, *arguments)
        except redis.exceptions.NoScriptError:
            return self._client.eval(script.script, keys, *arguments)


def _records(entries: Iterable[Entry]) -> Iterator[Record]:
    for entry in entries:
        with suppress(codec.Malformed):
            yield codec.decode(entry.body, cursor=entry.cursor, time=entry.time)
