"""Readers of the stored log that share no code with the package.

They know the stored form of each broker from its documentation alone. A run is thus
checked against the stored log, and not against the package's own view of it.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from redis.exceptions import RedisError

# Redis counts from 0 within a millisecond; this many bits of an offset hold the count.
_SEQUENCE_BITS = 18

# Seconds between two reads of a recorder. The log must not trim all of itself in them.
_READ_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; ``place`` orders the entries of one log, across its epochs too.

    ``data`` is empty for a control record, which no client ever sees.
    """

    place: int
    id: str
    data: str
    addresses: frozenset[str]
    exclude: frozenset[str]
    is_control: bool
    key: str | None = None
    deletes: bool = False

    @property
    def name(self) -> tuple[str, str]:
        """The channel and the key, as the fields of an event tell them.

        The channel is empty if the entry is not for one channel alone.
        """
        kind, _, channel = next(iter(self.addresses)).partition(":")
        is_for_one = len(self.addresses) == 1 and kind == "c"
        return channel if is_for_one else "", self.key or ""

    @classmethod
    def stored(cls, body: str | bytes, *, epoch: str, place: int) -> Self:
        """Return the entry that a body stores."""
        text = body if isinstance(body, str) else body.decode()
        head, _, data = text.partition("\n")
        stored = json.loads(head)
        return cls(
            place=place,
            id=f"{epoch}-{place}",
            data=data,
            addresses=frozenset(stored["to"]),
            exclude=frozenset(stored.get("not", ())),
            is_control="disconnect" in stored,
            key=stored.get("key"),
            deletes=stored.get("deletes", False),
        )


@dataclass(frozen=True, slots=True)
class Floor:
    """The place of the oldest event that a log still had at a time, or soon after."""

    time: float
    place: int


@dataclass(frozen=True, slots=True)
class Log:
    """Entries, oldest first, and the last place of each epoch's ids.

    The entries are those that the log has, or all that a Recorder has read. ``floors``
    then tells when it had trimmed them.
    """

    entries: tuple[Entry, ...]
    epochs: Mapping[str, int]
    floors: tuple[Floor, ...] = ()

    def place(self, event_id: str) -> int | None:
        """Return the place of an id, or None if no entry of this log ever had the id.

        A new epoch continues the places of the last one, so one place can have ids of
        several epochs.
        """
        epoch, _, number = event_id.rpartition("-")
        if not number.isdecimal() or int(number) > self.epochs.get(epoch, -1):
            return None
        return int(number)

    def floor_at(self, time: float) -> int:
        """Return the place before which all events may have been trimmed at a time."""
        later = (floor.place for floor in self.floors if floor.time >= time)
        return next(later, 0)


class Recorder:
    """All records of a log, also those that it trims, with the times of their trims.

    The log is read as long as the block lasts.
    """

    def __init__(self, read: Callable[[], Log]) -> None:
        self._read = read
        self._entries: dict[int, Entry] = {}
        self._epochs: dict[str, int] = {}
        self._floors: list[Floor] = []
        # Guards what was read: an older log must not be noted as a newer one.
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        # A gap stays one, so the last read fails too.
        while not self._end.wait(_READ_SECONDS):
            with suppress(sqlite3.Error, RedisError, OSError, AssertionError):
                self.read()

    def read(self) -> Log:
        """Read the log, and return all of it so far, with what it has trimmed."""
        with self._lock:
            # Noted before the read, so that everything trimmed until then is missing in
            # it. A busy process may notice the end of a read much later.
            began = time.monotonic()
            log = self._read()
            floor = next(each.place for each in log.entries if not each.is_control)
            newest = max(self._entries, default=floor)
            assert floor <= newest, "the log trimmed entries that were never read"
            self._entries |= {entry.place: entry for entry in log.entries}
            self._epochs |= log.epochs
            self._floors.append(Floor(began, floor))
            entries = tuple(self._entries[place] for place in sorted(self._entries))
            return Log(entries, dict(self._epochs), tuple(self._floors))


def read_sqlite(path: Path) -> Log:
    """Return the log in a file, as it is at one moment."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        file.execute("BEGIN")
        (epoch,) = file.execute("SELECT epoch FROM state").fetchone()
        rows = file.execute("SELECT offset, body FROM record ORDER BY offset")
        entries = tuple(
            Entry.stored(body, epoch=epoch, place=offset) for offset, body in rows
        )
        past = dict(file.execute("SELECT epoch, last FROM past"))
    last = entries[-1].place if entries else 0
    return Log(entries, past | {epoch: last})


def read_redis(client: Any, name: str) -> Log:
    """Return the log in Redis of the hub with this name."""
    return _of_stream(client.xrange(f"sse-hub:{{{name}}}:log"))


def _of_stream(found: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Log:
    entries = []
    epochs = {}
    for stream_id, fields in found:
        milliseconds, _, sequence = stream_id.decode().partition("-")
        place = int(milliseconds) << _SEQUENCE_BITS | int(sequence)
        epoch = fields[b"e"].decode()
        entries.append(Entry.stored(fields[b"b"], epoch=epoch, place=place))
        epochs[epoch] = place
    return Log(tuple(entries), epochs)
