"""What the app signs for its clients and knows again later: client ids and tickets.

Any worker verifies them, with nothing shared but the app's secret key; its rotation is
that of Flask's sessions. Knows neither requests nor what is opened with them.
"""

import base64
import hashlib
import math
import secrets
from dataclasses import dataclass
from typing import Any

from flask import current_app
from itsdangerous import (
    BadData,
    BadSignature,
    TimestampSigner,
    URLSafeSerializer,
    base64_decode,
    base64_encode,
)

from ..errors import ConfigurationError, InvalidTicket
from ..events import address
from ..events.address import Names
from ..events.event import checked_name
from ..hub.clients.client import Identity

# A page may be open for a working day and its stream still keep the page's client id.
_CLIENT_ID_SECONDS = 24 * 3600

_CLIENT_ID_SALT = "flask-sse-hub.client-id"
_TICKET_SALT = "flask-sse-hub.ticket"


def mint_client_id(identity: Identity) -> str:
    """Return a new client id, signed, and bound to who asks for it.

    Raises ConfigurationError where the app has no secret key.
    """
    value = f"{secrets.token_urlsafe(9)}~{_binding(identity)}"
    return _client_ids().sign(value).decode()


def is_client_id(client_id: str) -> bool:
    """Tell whether a client id was minted by this app, for whomever and whenever."""
    return _client_ids().validate(client_id) and _is_as_minted(client_id)


def owns_client_id(client_id: str, identity: Identity) -> bool:
    """Tell whether a client id was minted for this user and session, not long ago.

    Nobody in particular, with neither of them, owns none: it would be everybody's.
    """
    if identity == Identity() or not current_app.secret_key:
        return False
    try:
        value = _client_ids().unsign(client_id, max_age=_CLIENT_ID_SECONDS).decode()
    except (BadSignature, UnicodeEncodeError):
        # JSON can say what no encoding can.
        return False
    is_theirs = value.partition("~")[2] == _binding(identity)
    return is_theirs and _is_as_minted(client_id)


def _is_as_minted(client_id: str) -> bool:
    """Tell whether an id whose signature is good is also written as it was minted.

    What is not base64 in a signature is read as if it were not there: the same client
    would have any number of ids, with any characters in them.
    """
    # In bytes, as it was verified: text that is not ASCII is padded otherwise.
    signature = client_id.encode().rpartition(b".")[2]
    return base64_encode(base64_decode(signature)) == signature


def _binding(identity: Identity) -> str:
    digest = hashlib.sha256(repr((identity.user, identity.session)).encode()).digest()
    return base64.urlsafe_b64encode(digest[:9]).decode()


def _client_ids() -> TimestampSigner:
    return TimestampSigner(_secret_keys("a client id"), salt=_CLIENT_ID_SALT)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket opens: the streams of somebody, with these channels.

    Raises InvalidName, InvalidTarget and InvalidTicket.
    """

    identity: Identity
    channels: tuple[str, ...]
    #: When it is no longer good, in seconds since 1970.
    expires_at: float

    @classmethod
    def lasting(
        cls, seconds: float, *, now: float, identity: Identity, channels: Names
    ) -> "Ticket":
        """Return a ticket that is good from now on for so many seconds."""
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise InvalidTicket(
                f"expires is a number of seconds, not {type(seconds).__name__}"
            )
        if not 0 < seconds < math.inf:
            raise InvalidTicket(f"expires ({seconds}) must be a finite number above 0")
        names = tuple(
            checked_name(name, what="a channel's name")
            for name in address.each_name(channels, what="channels")
        )
        return cls(identity, names, now + seconds)

    def sign(self) -> str:
        """Return the text for ``?ticket=``. Raises ConfigurationError."""
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
        """Return the ticket that a text is, None if it is forged or has expired."""
        if not current_app.secret_key:
            # The app can have made none.
            return None
        try:
            user, session, channels, expires_at = _tickets().loads(text)
        except BadData:
            return None
        if now >= expires_at:
            return None
        return cls(Identity(user, session), tuple(channels), expires_at)


def _tickets() -> URLSafeSerializer:
    return URLSafeSerializer(_secret_keys("a ticket"), salt=_TICKET_SALT)


def _secret_keys(what: str) -> list[Any]:
    key = current_app.secret_key
    if not key:
        raise ConfigurationError(f"{what} is signed, which needs the app's SECRET_KEY")
    # The newest key comes last: it signs, and all of them verify.
    return [*(current_app.config.get("SECRET_KEY_FALLBACKS") or ()), key]
