"""Questions about presence, asked in the same way inside the app and outside it."""

import time
from abc import ABC, abstractmethod
from typing import Protocol

from ...brokers import Broker
from ...events import address
from ...events.address import HasId, Name
from ...events.record import is_beyond
from ...runtime.arguments import explaining
from ..folds import Folds
from ..members import Members
from .attendance import PresenceList
from .fold import Changes, PresenceFold


class KnowsPeople(Protocol):
    """An object that knows who is present."""

    def people(self, channel: str) -> PresenceList:
        """Return the people in a channel."""

    def channels(self, user: str) -> list[str]:
        """Return the channels in which a user is."""


class AnswersPresence(ABC):
    """The methods ``present()``, ``is_present()`` and ``present_channels()``."""

    @explaining("present(channel)", words={})
    def present(self, channel: str) -> PresenceList:
        """Return the people who have streams of a channel, on all workers.

        Each person is listed once, whatever the number of tabs, in the order of their
        coming. A person who has left is listed for SSE_HUB_PRESENCE_GRACE.

        A worker that serves streams answers from its memory. Any other process reads
        the state of the log for each call. A stream that has just opened is listed a
        few milliseconds later.

        For example::

            names = [person.data.get("name") for person in sse_hub.present("room.7")]

        Args:
            channel: The name of a channel, not a pattern.

        Returns:
            A list of Presence with two attributes: ``anonymous`` is the number of
            streams without a user, and ``stale`` tells whether the worker cannot read
            the log, so that the list may be out of date.

        Raises:
            ConfigurationError: The channel has no presence: SSE_HUB_PRESENCE does not
                name it.
            InvalidName: The channel's name is not usable.
            BrokerUnavailable: This process does not follow the log, and cannot read it.

        """
        name = address.checked_channel(channel)
        return self._people(name).people(name)

    @explaining("is_present(user)", words={})
    def is_present(self, user: Name | HasId) -> bool:
        """Tell whether a user is in any channel with presence.

        For example::

            if not sse_hub.is_present(42):
                send_mail(42)

        Args:
            user: The id of a user, or a user object.

        Raises:
            ConfigurationError: No channel has presence.
            InvalidName: The user's id is not usable.
            BrokerUnavailable: This process does not follow the log, and cannot read it.

        """
        return bool(self.present_channels(user))

    @explaining("present_channels(user)", words={})
    def present_channels(self, user: Name | HasId) -> list[str]:
        """Return the names of the channels in which a user is present.

        For example::

            rooms = sse_hub.present_channels(current_user)

        Args:
            user: The id of a user, or a user object.

        Returns:
            The names, without order.

        Raises:
            ConfigurationError: No channel has presence.
            InvalidName: The user's id is not usable.
            BrokerUnavailable: This process does not follow the log, and cannot read it.

        """
        checked = address.checked_id(address.user_id_of(user), what="a user's id")
        return self._people(None).channels(checked)

    @abstractmethod
    def _people(self, channel: str | None) -> KnowsPeople:
        """Return an object that knows the people in a channel, or in all of them."""


def look_up(broker: Broker) -> KnowsPeople:
    """Return the people as the state of a log has them now, for one question.

    Raises BrokerUnavailable.
    """
    members = Members(append=broker.publish)
    fold = PresenceFold(
        members.own_id,
        is_member=members.__contains__,
        changes=Changes(*[lambda *_: None] * 4),
        clock=time.monotonic,
    )
    folds = Folds()
    folds.add(members)
    folds.add(fold)
    found = broker.state()
    upto = found.cursor
    if found.records and is_beyond(found.records[-1].cursor, upto):
        upto = found.records[-1].cursor
    folds.begin(found.records, (), upto=upto)
    return fold
