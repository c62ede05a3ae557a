"""Client ids: signed by the app, and bound to the user and session of their page.

Any worker can verify an id: workers share only the app's secret key. Does not know
streams.
"""

import base64
import hashlib
import secrets
from functools import lru_cache
from typing import Any

from flask import current_app
from itsdangerous import BadSignature, TimestampSigner, base64_decode, base64_encode

from ..hub.clients.client import Identity
from .secret_keys import secret_keys

# A page may stay open for a working day. Its stream keeps the page's client id that
# long, over any number of reconnects.
_CLIENT_ID_SECONDS = 24 * 3600

_SALT = "flask-sse-hub.client-id"


def mint_client_id(identity: Identity) -> str:
    """Return a new signed client id that is bound to an identity.

    Raises ConfigurationError if the app has no secret key.
    """
    value = f"{secrets.token_urlsafe(9)}~{_binding(identity)}"
    return _client_ids().sign(value).decode()


def is_client_id(client_id: str) -> bool:
    """Tell whether this app minted a client id, for any identity and at any time."""
    return _client_ids().validate(client_id) and _is_as_minted(client_id)


def owns_client_id(client_id: str, identity: Identity, *, grace: float = 0.0) -> bool:
    """Tell whether a client id was minted for this identity in the last 24 hours.

    ``grace`` are further seconds, in which a stream may still have the id.

    An identity with neither user nor session owns no id: every anonymous visitor would
    own it.
    """
    if identity == Identity() or not current_app.secret_key:
        return False
    try:
        age = _CLIENT_ID_SECONDS + grace
        value = _client_ids().unsign(client_id, max_age=int(age)).decode()
    except (BadSignature, UnicodeEncodeError):
        # JSON can contain lone surrogates, which UTF-8 cannot encode.
        return False
    is_theirs = value.partition("~")[2] == _binding(identity)
    return is_theirs and _is_as_minted(client_id)


def _is_as_minted(client_id: str) -> bool:
    """Tell whether an id with a valid signature is spelled exactly as it was minted.

    The decoder skips characters that are not base64. Without this check one client
    would have any number of ids, with any characters in them.
    """
    # Compare bytes, as the verification did: text that is not ASCII would be padded
    # differently.
    signature = client_id.encode().rpartition(b".")[2]
    return base64_encode(base64_decode(signature)) == signature


def _binding(identity: Identity) -> str:
    digest = hashlib.sha256(repr((identity.user, identity.session)).encode()).digest()
    return base64.urlsafe_b64encode(digest[:9]).decode()


def _client_ids() -> TimestampSigner:
    return _signer(tuple(secret_keys("a client id")))


# Making one takes as long as signing with it. An app has one list of keys; tests of one
# process have several.
@lru_cache(maxsize=8)
def _signer(keys: tuple[Any, ...]) -> TimestampSigner:
    return TimestampSigner(keys, salt=_SALT)
