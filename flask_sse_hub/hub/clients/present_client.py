"""A stream in a channel with presence. Streams elsewhere pay nothing for it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...events import address
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
    """One open stream in channels with presence."""

    __slots__ = ("lists", "seats")

    def __init__(
        self,
        client_id: str,
        *,
        seats: Sequence[Seat] = (),
        sees: Sequence[str] = (),
        lists: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(client_id, **options)
        #: The user's places in the channels of this stream.
        self.seats = tuple(seats)
        #: The channels whose people ``connected`` and ``reset`` list.
        self.lists = tuple(lists)
        # The owners stay at the end.
        self.addresses = (*map(address.presence, sees), *self.addresses)
