"""The records of presence: what one worker tells the others, and clients.

=========  ======================  ====================================================
kind       addresses               meaning
=========  ======================  ====================================================
``join``   presence, own worker    a user came, and this worker has a stream of theirs
``update`` presence                the description of a user has changed
``leave``  presence, own worker    a user left, some time after the last stream ended
``here``   own worker              this worker has streams of a user, and how many
``gone``   own worker              this worker has no streams of a user any more
=========  ======================  ====================================================

Clients receive the first three. The newest record of each address stays in the state of
the log, at a key that stands for the channel and the user. Does not know how records
are folded.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...events import address
from ...events.event import MAX_NAME_CHARS, Event
from ...events.record import Record

#: The type of all events of presence.
PRESENCE = "presence"

JOIN = "join"
UPDATE = "update"
LEAVE = "leave"
HERE = "here"
GONE = "gone"

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
# An app describes its users with any text, also with one that UTF-8 cannot encode.
_describer = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class Said(NamedTuple):
    """The content of a record. Each field is there for the kinds that have it."""

    kind: str
    channel: str = ""
    user: str | None = None
    since: float = 0.0
    data: str = "{}"
    devices: int = 0


def key_of(channel: str, user: str | None) -> str:
    """Return the key that stands for a user in a channel."""
    text = _encoder.encode([channel, user])
    return text if len(text) <= MAX_NAME_CHARS else _hash(text)


def read(record: Record) -> Said | None:
    """Return the content of a record, None if it is not about presence.

    Raises ValueError, TypeError and LookupError for a record that another program has
    written.
    """
    content = record.content
    if record.key is None or not isinstance(content, Event) or content.type != PRESENCE:
        return None
    found = json.loads(content.data)
    kind = found["type"]
    if kind == GONE:
        return Said(kind)
    channel, user = found["channel"], found["user"]
    if not isinstance(user, str | None) or key_of(channel, user) != record.key:
        raise ValueError("its key is another one")
    if kind == HERE:
        return Said(kind, channel, user, devices=int(found["devices"]))
    since = float(found["since"])
    if kind == LEAVE:
        return Said(kind, channel, user, since)
    if kind not in (JOIN, UPDATE):
        raise ValueError(f"its kind {kind!r:.20} is unknown")
    return Said(kind, channel, user, since, described(found["data"]), devices=1)


def join(worker: str, said: Said) -> Record:
    """Return the record of a user who came, with the first stream on a worker."""
    return _visible(JOIN, said, address.worker(worker))


def update(said: Said) -> Record:
    """Return the record of a user whose description has changed."""
    return _visible(UPDATE, said)


def leave(worker: str, said: Said) -> Record:
    """Return the record of a user who left, as a worker has found."""
    return _visible(LEAVE, said, address.worker(worker), deletes=True)


def here(worker: str, channel: str, user: str | None, devices: int) -> Record:
    """Return the record of the streams that a worker has of a user."""
    data = {"type": HERE, "channel": channel, "user": user, "devices": devices}
    return Record((address.worker(worker),), _event(data), key=key_of(channel, user))


def gone(worker: str, key: str) -> Record:
    """Return the record of a worker that has no streams of a user any more."""
    event = _event({"type": GONE})
    return Record((address.worker(worker),), event, key=key, deletes=True)


def described(data: Mapping[str, Any]) -> str:
    """Return the description of a user as text. Raises ValueError for NaN."""
    return _describer.encode(dict(data))


def once(*facts: object) -> str:
    """Return an idempotency key that stands for some facts."""
    return "presence-" + _hash(_encoder.encode(facts))


def _visible(
    kind: str, said: Said, *workers: address.Address, deletes: bool = False
) -> Record:
    text = _encoder.encode(
        {
            "type": kind,
            "channel": said.channel,
            "user": said.user,
            "since": said.since,
        }
    )
    if not deletes:
        text = f'{text[:-1]},"data":{said.data}}}'
    return Record(
        (address.presence(said.channel), *workers),
        Event(text, type=PRESENCE),
        key=key_of(said.channel, said.user),
        deletes=deletes,
    )


def _event(data: dict[str, Any]) -> Event:
    return Event(_encoder.encode(data), type=PRESENCE)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
