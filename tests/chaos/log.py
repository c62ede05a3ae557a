"""The log itself, read by code of its own.

Knows how each broker stores a log, from its documented form alone: it shares no code
with the package, so that a run is checked against what was kept and not against what
the package says was kept.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

# Redis counts within a millisecond from 0; so many bits of an event's number are that.
_SEQUENCE_BITS = 18


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; ``place`` orders those of one log, across its epochs too.

    ``data`` is empty for a control record, which no client gets to see.
    """

    place: int
    id: str
    data: str
    addresses: frozenset[str]
    exclude: frozenset[str]
    is_control: bool

    @classmethod
    def stored(cls, body: str | bytes, *, epoch: str, place: int) -> Self:
        """Return the entry whose stored form this is."""
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
        )


@dataclass(frozen=True, slots=True)
class Log:
    """Everything retained, oldest first, and up to which place each epoch's ids go."""

    entries: tuple[Entry, ...]
    epochs: Mapping[str, int]

    def place(self, event_id: str) -> int | None:
        """Return the place that an id names, None if it was never given in this log.

        A log that goes on in a new epoch keeps its places, so one place can have ids of
        several epochs.
        """
        epoch, _, number = event_id.rpartition("-")
        if not number.isdecimal() or int(number) > self.epochs.get(epoch, -1):
            return None
        return int(number)


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
    """Return the log that a hub of this name has in Redis."""
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
