"""People who come to channels and leave them without a stream, for tests.

Writes the records of a worker of their own. Does not know streams.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask

from ..errors import InvalidOption
from ..events import address
from ..events.address import HasId, Name
from ..hub.members import beat_of
from ..hub.presence import records
from ..hub.presence.records import Said
from .hubs import state_of


class People:
    """People whom a test lets come to channels with presence, and leave, by hand.

    They have no streams. A leave has no grace. Clients of the app receive the events,
    and ``present()`` lists the people, until the app's hub is replaced. For example::

        people = People(app)
        people.join("42", "room.7", data={"name": "Ada"})
        assert sse_hub.is_present("42")
        people.leave("42", "room.7")

    Args:
        app: The app with the hub.

    """

    def __init__(self, app: Flask) -> None:
        self._state = state_of(app)
        self._worker = secrets.token_hex(8)

    def join(
        self,
        user: Name | HasId,
        channel: str,
        *,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Let a user come to a channel, with a description.

        A second call for the same user changes the description.

        Args:
            user: The id of a user, or a user object.
            channel: A channel with presence.
            data: The description, as ``@sse_hub.describe_presence`` returns it.

        Raises:
            InvalidName: A name is not usable.
            InvalidOption: The channel has no presence.

        """
        said = self._said(user, channel)._replace(data=records.described(data or {}))
        broker = self._state.broker
        broker.publish(beat_of(self._worker))
        broker.publish(records.join(self._worker, said))

    def leave(self, user: Name | HasId, channel: str) -> None:
        """Let a user leave a channel at once.

        Args:
            user: The id of a user, or a user object.
            channel: A channel with presence.

        Raises:
            InvalidName: A name is not usable.
            InvalidOption: The channel has no presence.

        """
        said = self._said(user, channel)
        self._state.broker.publish(records.leave(self._worker, said))

    def _said(self, user: Name | HasId, channel: str) -> Said:
        name = address.checked_channel(channel)
        if not self._state.config.has_presence(name):
            raise InvalidOption(
                f"the channel {name!r:.60} has no presence: add a pattern to"
                " SSE_HUB_PRESENCE"
            )
        user_id = address.checked_id(address.user_id_of(user), what="a user's id")
        now = round(self._state.time_of_day(), 3)
        return Said(records.JOIN, name, user_id, now)
