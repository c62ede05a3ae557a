"""Client ids: signed by the app, and bound to the user and session of their page.

Any worker verifies an id, with nothing shared but the app's secret key. Does not know
streams.
"""

import base64
import hashlib
import secrets

from flask import current_app
from itsdangerous import BadSignature, TimestampSigner, base64_decode, base64_encode

from ..hub.clients.client import Identity
from .secret_keys import secret_keys

# A page may be open for a working day and its stream still keep the page's client id.
_CLIENT_ID_SECONDS = 24 * 3600

_SALT = "flask-sse-hub.client-id"


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
    return TimestampSigner(secret_keys("a client id"), salt=_SALT)
