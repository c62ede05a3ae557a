"""The records of hooks: the deliveries that wait, and the worker that makes them.

A hook waits in the state of the log, at a key of its own, until it is delivered or
given up. One more key has the courier: the worker that delivers. Does not know how
records are folded.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final

from ...events import address
from ...events.event import Event
from ...events.record import UNPLACED, Cursor, Record

_HOOK = "hook"
_COURIER: Final = "courier"

# Ids of workers are hexadecimal, so no worker has this one.
_ADDRESS = address.worker("hooks")

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Hook:
    """One delivery to one URL.

    ``name`` is the id of a user or the name of a channel. ``time`` is that of the
    change, in seconds since 1970.
    """

    type: str
    name: str
    time: float
    url: str

    @property
    def id(self) -> str:
        """The id that receivers see, the same for all URLs and attempts."""
        return f"{self.type}-{_hash(self.type, self.name, self.time)}"

    @property
    def subject(self) -> tuple[str, str]:
        """The user or channel, whose hooks are delivered in their order."""
        return self.type.partition("_")[0], self.name

    @property
    def key(self) -> str:
        """The key of the hook in the state of the log."""
        return f"hook-{_hash(self.type, self.name, self.time, self.url)}"


@dataclass(frozen=True, slots=True)
class Claim:
    """The worker that delivers hooks from this place in the log on."""

    worker: str = ""
    place: Cursor = UNPLACED


def due(hook: Hook) -> Record:
    """Return the record of a hook that waits. All workers may append it: one counts."""
    return Record(
        (_ADDRESS,),
        Event(_encoder.encode(asdict(hook)), type=_HOOK),
        key=hook.key,
        idempotency_key=hook.key,
    )


def done(hook: Hook) -> Record:
    """Return the record of a hook that waits no longer."""
    event = Event(_encoder.encode(asdict(hook)), type=_HOOK)
    return Record((_ADDRESS,), event, key=hook.key, deletes=True)


def claim(worker: str, *, before: Claim) -> Record:
    """Return the record by which a worker becomes the courier.

    The worker of the claim before is gone. All others may append such a record: the
    first one counts.
    """
    return Record(
        (_ADDRESS,),
        Event(_encoder.encode({"worker": worker}), type=_HOOK),
        key=_COURIER,
        idempotency_key=f"courier-after-{before.place}",
    )


def read(record: Record) -> Hook | Claim | None:
    """Return the content of a record, None if it is not about hooks.

    Raises ValueError, TypeError and LookupError for a record that another program has
    written.
    """
    content = record.content
    if _ADDRESS not in record.addresses or not isinstance(content, Event):
        return None
    if content.type != _HOOK:
        return None
    found = json.loads(content.data)
    if record.key == _COURIER:
        return Claim(str(found["worker"]), record.cursor)
    hook = Hook(
        str(found["type"]), str(found["name"]), float(found["time"]), str(found["url"])
    )
    if hook.key != record.key:
        raise ValueError("its key is another one")
    return hook


def _hash(*facts: object) -> str:
    return hashlib.sha256(_encoder.encode(facts).encode()).hexdigest()[:32]
