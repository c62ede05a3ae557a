"""An entry of a log in Redis: its id and its fields.

The classes here and the Lua of ``scripts`` recognise the entries of this package by the
same rules. All other entries in the stream were written by another program. This module
does not know connections.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from ...events.address import Address
from ...events.record import Cursor, Record
from .. import codec
from ..base import PAGE_BYTES

# An entry's id is the time in milliseconds and a number; both fit into one offset. The
# number is drawn at random, so that two servers that each believe to be the master do
# not give the same id.
NUMBER_BITS = 18
MAX_FIRST_NUMBER = 2**17

# How many entries the first read asks for, and how many each read asks for at most:
# enough to keep up with any publisher.
_FIRST_ENTRIES = 4
_PAGE_ENTRIES = 256

# The fields of an entry of this package. The scripts write and accept the same forms.
# An epoch is sent to clients unchanged, so only safe characters are allowed. A number
# has at most 15 digits, because Lua counts exactly up to there.
_EPOCH = re.compile(rb"[0-9a-z]{1,32}")
_NUMBER = re.compile(rb"[0-9]{1,15}")
_ENTRY_ID = re.compile(rb"(?=.{3,41}\Z)[0-9]+-[0-9]+")


class Entry(NamedTuple):
    """An entry of the stream that this package wrote.

    ``before`` is the cursor of the entry before it. ``start`` counts the bytes of all
    entries before it, and ``stop`` its own bytes too.
    """

    cursor: Cursor
    before: Cursor
    start: int
    stop: int
    body: bytes

    @property
    def time(self) -> float:
        """The time of its append, in seconds since 1970."""
        return _time(self.cursor.offset)

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
            int(start) + int(size),
            body,
        )


# An entry as redis-py returns it: its id and its fields.
Raw = tuple[bytes, dict[bytes, bytes]]


class PageSize:
    """How many entries to ask for: Redis counts entries, and pages have bytes."""

    def __init__(self) -> None:
        self.entries = _FIRST_ENTRIES

    def learn(self, read: Sequence[Raw]) -> None:
        """Choose the next page's size by the size of the entries that were read."""
        size = sum(sum(map(len, fields.values())) for _, fields in read)
        if size:
            fitting = len(read) * PAGE_BYTES // size
            self.entries = max(1, min(2 * self.entries, fitting, _PAGE_ENTRIES))


class Chain(NamedTuple):
    """Entries that follow a cursor with none missing, and the cursor after them.

    An entry of another program is a link of the chain too, because the next entry of
    this package names it. ``foreign`` counts such entries.
    """

    entries: list[Entry]
    cursor: Cursor
    foreign: int

    @classmethod
    def of(cls, raw: Iterable[Raw], after: Cursor, *, stop: int | None = None) -> Self:
        """Follow the chain from a cursor up to the first entry that is missing.

        With ``stop``, the bytes of all entries up to the cursor, control records may be
        missing: they have no bytes, and each event has some.
        """
        entries, foreign = [], 0
        for entry_id, fields in raw:
            entry = Entry.of(entry_id, fields)
            if entry is None:
                foreign += 1
                after = Cursor(after.epoch, offset_of(entry_id))
            elif entry.before == after or entry.start == stop:
                entries.append(entry)
                after = entry.cursor
                if stop is not None:
                    stop = entry.stop
            else:
                break
        return cls(entries, after, foreign)


def kept_record(field: bytes, value: bytes) -> Record | None:
    """Read a record of the state, with its one address. Returns None without one."""
    head, _, body = value.partition(b"\n")
    try:
        entry_id, epoch, _ = head.split(b" ")
        cursor = Cursor(epoch.decode(), offset_of(entry_id))
        record = codec.decode(body, cursor=cursor, time=_time(cursor.offset))
    except (ValueError, codec.Malformed):
        return None
    return record.kept_at(Address(field.partition(b"\n")[0].decode()))


def _time(offset: int) -> float:
    return (offset >> NUMBER_BITS) / 1000


def cursor_of(answer: bytes) -> Cursor:
    """Return the cursor in an answer of a script."""
    (cursor,) = cursors_of(answer)
    return cursor


def cursors_of(answer: bytes) -> list[Cursor]:
    """Return the cursors in an answer of the script that appends."""
    epoch, *ids = answer.split(b" ")
    return [Cursor(epoch.decode(), offset_of(entry_id)) for entry_id in ids]


def offset_of(entry_id: bytes) -> int:
    """Return the offset for an entry's id."""
    ms, _, number = entry_id.partition(b"-")
    # The number of another program's id may be too large for an offset. It is cut, so
    # that the offset still lies before that of every later entry of this package.
    return (int(ms) << NUMBER_BITS) + min(int(number), 1 << NUMBER_BITS)


def id_of(offset: int) -> str:
    """Return the entry's id for an offset."""
    return f"{offset >> NUMBER_BITS}-{offset & (1 << NUMBER_BITS) - 1}"
