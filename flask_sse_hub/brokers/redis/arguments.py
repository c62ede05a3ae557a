"""The keys and arguments of the scripts that append and bridge, in their order.

Does not know connections.
"""

import random
import secrets
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import Any

from ...events.address import Address
from ...events.record import FAN_OUT_SECONDS, Cursor, Record, Retention
from ...events.trimming import NOTED_ADDRESSES
from .. import codec
from ..base import (
    CHANNEL_SECONDS,
    CONTROL_RECORDS,
    ENDED_SESSIONS,
    IDEMPOTENCY_KEYS,
    IDEMPOTENCY_SECONDS,
    SHORT_LIVED_BYTES,
    SHORT_LIVED_RECORDS,
)
from .entry import MAX_FIRST_NUMBER, id_of

# How many records and bytes one call of the script appends at most. Redis does nothing
# else meanwhile.
_RUN_RECORDS = 64
_RUN_BYTES = 256 * 1024


def append_keys(prefix: str) -> tuple[str, ...]:
    """Return the keys of a log: those of its records first, which trimming needs."""
    names = (
        "log",
        "retention",
        "trimmed",
        "trimmed-before",
        "keys",
        "keys-before",
        "control",
        "ended",
        "state",
        "short-lived",
        "short-lived-ends",
        "state-ends",
        "bounded",
        "bounded-channels",
    )
    return tuple(prefix + name for name in names)


def append_arguments(
    record: Record,
    retention: Retention | None,
    *,
    create: bool,
    only_begin: bool = False,
    following: Iterable[Record] = (),
) -> list[Any]:
    """Return the arguments for a record, and for the others of a run."""
    is_short = record.ttl is not None
    bounds = record.bounds
    is_apart = record.is_control or is_short or bounds is not None
    return [
        codec.encode(record),
        0 if is_apart else _size(record),
        secrets.token_hex(6),
        random.randrange(MAX_FIRST_NUMBER),
        *kept(retention),
        record.idempotency_key or "",
        int(IDEMPOTENCY_SECONDS * 1000),
        IDEMPOTENCY_KEYS,
        int(only_begin),
        CONTROL_RECORDS,
        int(not create),
        "\n".join(record.ended),
        ENDED_SESSIONS,
        NOTED_ADDRESSES,
        record.key or "",
        int(not record.sets_state),
        record.kept_size,
        *kept_state(retention),
        int((record.ttl or FAN_OUT_SECONDS) * 1000) if is_short else "",
        record.size,
        SHORT_LIVED_RECORDS,
        SHORT_LIVED_BYTES,
        "" if bounds is None else record.addresses[0],
        "" if bounds is None or bounds.events is None else bounds.events,
        "" if bounds is None or bounds.seconds is None else int(bounds.seconds * 1000),
        int(CHANNEL_SECONDS * 1000),
        *(record.addresses if record.key is not None else ()),
        *chain.from_iterable((codec.encode(each), _size(each)) for each in following),
    ]


def runs(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield lists of records, in order: each for one call of the script.

    A record with anything beside its event is alone in its list.
    """
    for is_plain, group in groupby(records, _is_plain):
        run: list[Record] = []
        size = 0
        for record in group:
            is_full = len(run) == _RUN_RECORDS or size + record.size > _RUN_BYTES
            if run and (is_full or not is_plain):
                yield run
                run, size = [], 0
            run.append(record)
            size += record.size
        yield run


def _is_plain(record: Record) -> bool:
    return not (
        record.is_control
        or record.ttl is not None
        or record.bounds is not None
        or record.key is not None
        or record.idempotency_key is not None
    )


def _size(record: Record) -> int:
    """Return the size that retention counts: some, so that a lost event is missed."""
    return max(1, record.size)


def bridge_arguments(
    after: Cursor, addresses: Iterable[Address], retention: Retention | None
) -> list[Any]:
    """Return the arguments of the script that bridges a trim."""
    place = id_of(after.offset)
    return [after.epoch, place, kept(retention)[1], NOTED_ADDRESSES, *addresses]


def kept(keep: Retention | None) -> tuple[int | str, int | str, int | str]:
    """Return the events, milliseconds and bytes to keep; empty: as the log says."""
    if keep is None:
        return "", "", ""
    most = 2**53  # Lua's numbers are exact up to here
    return min(keep.events, most), int(keep.seconds * 1000), min(keep.bytes, most)


def kept_state(keep: Retention | None) -> tuple[int | str, int | str]:
    """Return the keys and bytes of state to keep; empty: as the log says."""
    return ("", "") if keep is None else (keep.state_keys, keep.state_bytes)
