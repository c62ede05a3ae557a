"""A stream in channels with presence, or one that may enter them.

Streams of apps without presence pay nothing for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from ...events import address
from ...events.record import PresencePart
from .client import Client


class Seat(NamedTuple):
    """The place of a stream's user in one channel, as others see it.

    A user of None is anonymous, and only counted. ``data`` is the app's description of
    the user, as the text of a JSON object.
    """

    channel: str
    user: str | None
    data: str = "{}"


class PresentClient(Client):
    """One open stream of an app with presence.

    ``sees`` are the channels of whose people the client hears. With ``lists`` it
    receives a list of them too, whenever it begins to hear of them.
    """

    __slots__ = ("_lists", "counted", "seats")

    def __init__(
        self,
        client_id: str,
        *,
        seats: Sequence[Seat] = (),
        sees: Sequence[str] = (),
        lists: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(client_id, **options)
        #: The user's places in the channels of this stream.
        self.seats = tuple(seats)
        #: The places that count for others. None once the stream has ended. The roster
        #: sets it.
        self.counted: tuple[Seat, ...] | None = ()
        self._lists = lists
        # The owners stay at the end.
        self.addresses = (*map(address.presence, sees), *self.addresses)

    @property
    def _sees(self) -> list[str]:
        seen = takewhile(address.is_presence, self.addresses)
        return list(map(address.name_of, seen))

    @property
    def lists(self) -> Sequence[str]:
        """The channels whose people the client receives in a list."""
        return self._sees if self._lists else ()

    def listen(
        self, channels: tuple[str, ...], presence: Sequence[PresencePart] = ()
    ) -> None:
        """Listen to other channels, with this part in the presence of new ones."""
        parts = {each.channel: each for each in presence if each.channel in channels}
        kept = set(channels).difference(parts)
        seen = self._sees
        self.addresses = self.addresses[len(seen) :]
        super().listen(channels)
        sees = [name for name in seen if name in kept]
        sees += [each.channel for each in parts.values() if each.sees]
        self.addresses = (*map(address.presence, sees), *self.addresses)
        self.seats = (
            *(each for each in self.seats if each.channel in kept),
            *seats_of(self.user, parts.values()),
        )


def seats_of(user: str | None, parts: Iterable[PresencePart]) -> Iterator[Seat]:
    """Yield the places of a user in channels, but for those where nobody sees it."""
    for each in parts:
        if each.data is not None:
            yield Seat(each.channel, user, each.data)
