"""Tickets: signed by the app for clients that have no cookie.

Any worker can verify a ticket: workers share only the app's secret key. Does not know
how a stream is opened with a ticket.
"""

from dataclasses import dataclass

from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from ..errors import InvalidTicket
from ..events import address
from ..events.address import Target
from ..events.channel_patterns import checked_subscription
from ..events.seconds import checked_seconds
from ..hub.clients.client import Identity
from .secret_keys import secret_keys

_SALT = "flask-sse-hub.ticket"


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to open streams of one identity, with these channels, for a while."""

    identity: Identity
    channels: tuple[str, ...]
    #: When the ticket expires, in seconds since 1970.
    expires_at: float

    @classmethod
    def lasting(
        cls, seconds: float, *, now: float, identity: Identity, channels: Target
    ) -> "Ticket":
        """Return a ticket that expires after this many seconds.

        Raises InvalidName, InvalidTarget and InvalidTicket.
        """
        checked_seconds(seconds, what="expires", above=0.0, error=InvalidTicket)
        names = tuple(
            checked_subscription(name)
            for name in address.each_name(channels, what="channels")
        )
        return cls(identity, names, now + seconds)

    def sign(self) -> str:
        """Return the text for ``?ticket=``.

        Raises ConfigurationError if the app has no secret key.
        """
        return str(
            _tickets().dumps(
                [
                    self.identity.user,
                    self.identity.session,
                    self.channels,
                    round(self.expires_at, 3),
                ]
            )
        )

    @classmethod
    def read(cls, text: str, *, now: float) -> "Ticket | None":
        """Return the ticket in a text, None if it is forged or has expired."""
        if not current_app.secret_key:
            # Without a key the app cannot have signed any ticket.
            return None
        try:
            user, session, channels, expires_at = _tickets().loads(text)
        except BadData:
            return None
        if now >= expires_at:
            return None
        return cls(Identity(user, session), tuple(channels), expires_at)


def _tickets() -> URLSafeSerializer:
    return URLSafeSerializer(secret_keys("a ticket"), salt=_SALT)
