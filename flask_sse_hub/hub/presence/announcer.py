"""The announcer: tells the app of the people and channels that have changed.

By signals, in the one process that has written the record, and by hooks, which all
workers note until one of them is in the log. Does not know how either is sent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .changes import PresenceChange


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The app's functions for people and channels. Each is called in one process."""

    user_came: Callable[[str], object]
    user_left: Callable[[str], object]
    channel_occupied: Callable[[str], object]
    channel_vacated: Callable[[str], object]


class NotesHooks(Protocol):
    """A part that sends hooks."""

    def note(self, type: str, name: str, *, time: float, is_own: bool) -> None:
        """Note a hook that is due: its type, and the id of a user or a channel."""


class Announcer:
    """Announce each change to the app.

    ``tell`` makes a call of the app's code in another thread. ``arrivals`` is None
    without any.
    """

    def __init__(
        self,
        *,
        tell: Callable[..., object],
        arrivals: Arrivals | None,
        hooks: NotesHooks,
    ) -> None:
        self._tell = tell
        self._arrivals = arrivals
        self._hooks = hooks

    def came(self, change: PresenceChange) -> None:
        """Announce the arrival of a user in a channel."""
        if change.of_channel:
            self._announce("channel_occupied", change.channel, change)
        if change.of_user:
            self._announce("user_came", change.user, change)

    def left(self, change: PresenceChange) -> None:
        """Announce the departure of a user from a channel."""
        if change.of_user:
            self._announce("user_left", change.user, change)
        if change.of_channel:
            self._announce("channel_vacated", change.channel, change)

    def _announce(self, type: str, name: str, change: PresenceChange) -> None:
        self._hooks.note(type, name, time=change.time, is_own=change.is_own)
        if self._arrivals is not None and change.is_own:
            self._tell(getattr(self._arrivals, type), name)
