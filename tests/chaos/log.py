"""Readers of the stored log that share no code with the package.

They know the stored form of each broker from its documentation alone. A run is thus
checked against the stored log, and not against the package's own view of it.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

# Redis counts from 0 within a millisecond; this many bits of an offset hold the count.
_SEQUENCE_BITS = 18


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
        )


@dataclass(frozen=True, slots=True)
class Log:
    """All retained entries, oldest first, and the last place of each epoch's ids."""

    entries: tuple[Entry, ...]
    epochs: Mapping[str, int]

    def place(self, event_id: str) -> int | None:
        """Return the place of an id, or None if no entry of this log ever had the id.

        A new epoch continues the places of the last one, so one place can have ids of
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
