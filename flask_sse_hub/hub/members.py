"""Members: the processes of one log that have something running, and which are gone.

A member writes a small record, its beat, every few seconds for as long as it needs the
others to know that it lives. The other members read it. A member that is silent while
another one has written three beats is written off, once, by a record in the log. So a
clock is compared with no other clock. While the log cannot be reached nobody is written
off, because no beats come.
"""

import contextlib
import secrets
import threading
from collections.abc import Callable, Collection
from typing import Protocol

from ..errors import BrokerUnavailable, StateFull
from ..events import address
from ..events.event import Event
from ..events.record import Cursor, Record
from ..runtime.closing import Closed
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog

log = CodedLog(__name__)

#: The seconds between two beats of a member.
BEAT_SECONDS = 5.0

#: A member is gone after this many beats of another member without one of its own.
MISSED_BEATS = 3

# How long a beat stays in the log: records with a ttl push out no others. All members
# may begin again meanwhile, and learn which ones were there.
_TTL_SECONDS = 60.0

# The type of a beat, and its key: only the newest one of each member is kept.
_BEAT = "beat"


class Cause(Protocol):
    """A part that lets its worker beat, and hears of members that are gone."""

    def needs_members(self) -> bool:
        """Tell whether this worker has to beat: for itself, or to look at others."""

    def member_left(self, member_id: str) -> None:
        """Note that a member is gone. Called in the order of the log."""


def beat_of(member_id: str) -> Record:
    """Return the record that says that a member lives."""
    return Record(
        (address.worker(member_id),),
        Event("", type=_BEAT),
        key=_BEAT,
        ttl=_TTL_SECONDS,
    )


def farewell_of(member_id: str, *, idempotency_key: str | None = None) -> Record:
    """Return the record that says that a member is gone."""
    return Record(
        (address.worker(member_id),),
        Event("", type=_BEAT),
        key=_BEAT,
        deletes=True,
        ttl=_TTL_SECONDS,
        idempotency_key=idempotency_key,
    )


class Members:
    """The members of one log, as one worker knows them, and the worker's own beats.

    ``append`` appends a record to the log. It raises BrokerUnavailable.
    """

    kinds: Collection[str] = ("w",)

    def __init__(self, *, append: Callable[[Record], Cursor]) -> None:
        #: The id of this worker among the members.
        self.own_id = secrets.token_hex(8)
        self._append = append
        self._rare_log = RareLog(log)
        self._causes: list[Cause] = []
        self._last_words: list[Callable[[], None]] = []
        # Guards the fields below.
        self._lock = threading.Lock()
        # The beats of this worker that came since the last one of each member, and the
        # place of that last one.
        self._silence: dict[str, int] = {}
        self._last: dict[str, Cursor] = {}
        # Whether this worker's beat may be lost with a part of the log, or was taken
        # back by another member.
        self._is_lost = False
        # Held while this worker says that it lives, or that it is gone. Otherwise a
        # part that begins could need the beat that is being taken back.
        self._saying = threading.Lock()
        # Whether this worker has said that it lives, and not yet that it is gone.
        self._said = False

    def serve(self, cause: Cause) -> None:
        """Beat for a part of this worker from now on, whenever it needs that."""
        self._causes.append(cause)

    def before_leaving(self, function: Callable[[], None]) -> None:
        """Have a function called when this worker drains, before it says that."""
        self._last_words.append(function)

    def __contains__(self, member_id: str) -> bool:
        """Tell whether a process is a member that is not known to be gone."""
        return member_id in self._silence

    # The fold

    def restart(self) -> None:
        """Forget all members. Those that live beat again soon."""
        with self._lock:
            self._silence.clear()
            self._last.clear()
            self._is_lost = True

    def take(self, record: Record) -> None:
        """Take the beat or the end of a member."""
        if record.key != _BEAT:
            return
        member_id = address.name_of(record.addresses[0])
        with self._lock:
            if record.deletes:
                was_there = self._silence.pop(member_id, None) is not None
                self._last.pop(member_id, None)
                if member_id == self.own_id:
                    self._is_lost = True
            else:
                self._silence[member_id] = 0
                self._last[member_id] = record.cursor
                if member_id == self.own_id:
                    self._is_lost = False
                    for each in self._silence.keys() - {member_id}:
                        self._silence[each] += 1
        if record.deletes and was_there:
            for cause in self._causes:
                cause.member_left(member_id)

    def caught_up(self) -> None:
        """Begin to count from here: the beats before are older than this worker."""
        with self._lock:
            self._silence = dict.fromkeys(self._silence, 0)

    # The beats

    def run(self, closed: Closed) -> None:
        """Beat every few seconds, until ``closed`` is set."""
        while not closed.wait(BEAT_SECONDS):
            # Without room in the state of keys, the next beat tries again.
            with contextlib.suppress(BrokerUnavailable, StateFull):
                self.beat()

    def enter(self) -> None:
        """Say that this worker lives, unless the log still has an earlier beat.

        For a part that needs the members from now on. More beats than one every few
        seconds would write others off. Raises BrokerUnavailable.
        """
        with self._saying:
            if not self._said or self._is_lost:
                # First: the others may take this beat back at once.
                self._is_lost = False
                try:
                    self._append(beat_of(self.own_id))
                except BaseException:
                    self._is_lost = True
                    raise
                self._said = True

    def beat(self) -> None:
        """Say that this worker lives if that is needed, and write off the silent ones.

        Raises BrokerUnavailable.
        """
        with self._saying:
            if not any(cause.needs_members() for cause in self._causes):
                self._leave()
                return
            self._said = True
            self._append(beat_of(self.own_id))
        for member_id, last in self._silent():
            self._rare_log.warning(
                "SSE-1211", "the worker %s is gone: its part is written off", member_id
            )
            # The key belongs to the last beat: all members write the same record, and
            # one of them appends it.
            key = f"gone-{member_id}-{last}"
            self._append(farewell_of(member_id, idempotency_key=key))

    def _silent(self) -> list[tuple[str, Cursor]]:
        with self._lock:
            return [
                (member_id, self._last[member_id])
                for member_id, beats in self._silence.items()
                if beats > MISSED_BEATS
            ]

    def leave(self) -> None:
        """Say that this worker is gone, if it has said before that it lives.

        Raises BrokerUnavailable.
        """
        for function in self._last_words:
            function()
        with self._saying:
            self._leave()

    def _leave(self) -> None:
        if self._said:
            self._said = False
            self._append(farewell_of(self.own_id))
