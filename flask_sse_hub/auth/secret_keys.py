"""The app's secret keys for signing and verifying, rotated like Flask's sessions."""

from collections.abc import Sequence
from typing import Any

from flask import current_app

from ..errors import ConfigurationError


def secret_keys(what: str) -> list[Any]:
    """Return the app's keys, the newest last. The last one signs; all of them verify.

    Raises ConfigurationError if the app has no SECRET_KEY, or an unusable list of older
    keys. ``what`` names the signed thing in the error's text.
    """
    key = current_app.secret_key
    if not key:
        raise ConfigurationError(no_secret_key(what))
    return [*older_keys(current_app.config.get("SECRET_KEY_FALLBACKS")), key]


def no_secret_key(what: str) -> str:
    """Return the error's text for something that an app without a SECRET_KEY signs."""
    return (
        f"{what} is signed with the app's SECRET_KEY, and none is set: set it to"
        " the same random value in every process"
    )


def older_keys(value: Any) -> Sequence[Any]:
    """Return the keys of SECRET_KEY_FALLBACKS. Raises ConfigurationError.

    Each letter of a str would pass for a key, and anybody can sign with one letter.
    """
    if not value:
        return ()
    if not isinstance(value, list | tuple) or not all(
        isinstance(key, str | bytes) and key for key in value
    ):
        # The error ends up in a log, where no key belongs.
        raise ConfigurationError(
            "SECRET_KEY_FALLBACKS is invalid: a list of keys is needed, each of them a"
            f" str or bytes that is not empty, and this is a {type(value).__name__}. In"
            " the environment write it in JSON: FLASK_SECRET_KEY_FALLBACKS='[\"key\"]'"
        )
    return value
